//! This repository, held against each rule.

use std::path::Path;

use anneal_tidy::{Repository, Rule, docs, machines, modules, packages, places, sources};

fn hold(rule: Rule) {
    let repository = Repository::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap();
    assert!(repository.get("README.md").is_some(), "this is not the repository's root");
    let findings: Vec<String> = rule(&repository).iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn modules_use_only_what_stands_above() {
    hold(modules::use_only_what_stands_above);
}

#[test]
fn packages_use_only_lower_floors() {
    hold(packages::use_only_lower_floors);
}

#[test]
fn packages_inherit_lints() {
    hold(packages::inherit_lints);
}

#[test]
fn sources_open_with_a_sentence() {
    hold(sources::open_with_a_sentence);
}

#[test]
fn sources_are_not_too_long() {
    hold(sources::are_not_too_long);
}

#[test]
fn places_unsafe_stays_in_its_places() {
    hold(places::unsafe_stays_in_its_places);
}

#[test]
fn places_only_commands_print() {
    hold(places::only_commands_print);
}

#[test]
fn places_only_config_reads_the_environment() {
    hold(places::only_config_reads_the_environment);
}

#[test]
fn machines_are_not_named() {
    hold(machines::are_not_named);
}

#[test]
fn docs_links_lead_somewhere() {
    hold(docs::links_lead_somewhere);
}

#[test]
fn docs_anchors_are_headings() {
    hold(docs::anchors_are_headings);
}

#[test]
fn docs_every_config_is_named() {
    hold(docs::every_config_is_named);
}
