//! The conformance suite: bundled plugins reach its highest level, and it finds every fault of the saboteurs, and blames
//! them for nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::run::{Ran, anneal, path};

/// Faults, and the checks that each is meant to fail.
const SABOTEURS: &[(&str, &[&str])] = &[
    ("one-too-few", &["D01", "D05", "D08"]),
    ("not-a-number", &["D02", "D08"]),
    ("below-zero", &["D02", "D08"]),
    ("rising", &["D03", "D08"]),
    ("flat-in-32-bits", &["D03", "D08"]),
    ("panics-at-none", &["D04"]),
    ("eats-memory-at-many", &["D05"]),
    ("counts-its-calls", &["D07", "R05"]),
    ("wrong-ends", &["D06"]),
    ("loops", &["W09"]),
    ("panics", &["W09"]),
    ("eats-memory", &["W09"]),
    ("recurses", &["W09"]),
    ("floods-the-log", &["W09"]),
    ("answers-too-much", &["W09"]),
    ("init-loops", &["W06"]),
    ("init-panics", &["W06"]),
    ("init-refuses", &["W06"]),
    ("leaks", &["R05"]),
    ("breaks-with-other-settings", &["D08"]),
    ("no-weight-below", &["X02"]),
    ("negative-weight", &["X02"]),
    ("minds-its-neighbour", &["R05", "X03", "X05"]),
    ("zero-panics", &["X06"]),
    ("blows-up", &["X08"]),
    ("takes-anything", &["C09", "C10", "C11"]),
    ("open-schema", &["C02"]),
    ("wrong-default", &["C03"]),
    ("undocumented", &["C05"]),
    ("panics-at-odd-settings", &["C08"]),
    ("points-nowhere", &["C14"]),
    ("endless-at-extremes", &["S04"]),
    ("negative-sigma", &["S02", "S04"]),
    ("draws-by-itself", &["R05", "S05"]),
    ("of-another-machine", &["R02"]),
    ("goes-up-and-down", &["S07"]),
    ("leaves-its-range", &["S03"]),
    ("forgets-frames", &["G01"]),
    ("infinite-scale", &["G02"]),
    ("divides-by-views", &["G05"]),
    ("grows-with-use", &["G06", "R05"]),
    ("negative-rate", &["L01"]),
    ("counts-blocks", &["L02", "L05", "R05"]),
    ("ends-early", &["L03"]),
    ("hands-back-noise", &["M01", "M02"]),
    ("stops-half-way", &["M01", "M02"]),
    ("claims-too-much", &["M03"]),
    ("bends", &["M04"]),
    ("asks-at-zero", &["M08"]),
    ("asks-too-often", &["M08"]),
    ("keeps-latents", &["M08"]),
    ("asks-for-ever", &["M08"]),
    ("swallows-errors", &["M12"]),
    ("tells-nothing", &["M13", "M18"]),
    ("halves-the-noise", &["M09"]),
];

/// Plugins of components that come with anneal.
const BUNDLED: [&str; 6] =
    ["discretizations", "guidance", "learning-rates", "samplers", "sigma-sampling", "weightings"];

/// Checks that are not met, by entry; those of a plugin as a whole under no name.
pub fn unmet(report: &Value) -> BTreeMap<String, Vec<String>> {
    let mut unmet: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for result in report["plugins"].as_array().unwrap().iter().flat_map(|plugin| plugin["results"].as_array().unwrap())
    {
        let of_entry = unmet.entry(result["entry"].as_str().unwrap_or_default().to_owned()).or_default();
        if !["pass", "skip"].contains(&result["status"].as_str().unwrap()) {
            of_entry.push(result["id"].as_str().unwrap().to_owned());
        }
    }
    unmet.values_mut().for_each(|ids| ids.sort());
    unmet
}

pub fn check(folders: &[&str], more: &[&str]) -> Ran {
    anneal(&[&["plugin", "check"], folders, more].concat())
}

pub fn is_valid(report: &Value) {
    let schema = anneal(&["plugin", "checks", "--report-schema"]).succeeds().out;
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = validator.iter_errors(report).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn every_saboteur_is_caught_and_blamed_for_its_own_fault_alone() {
    let dir = tempfile::tempdir().unwrap();
    let junit = dir.path().join("report.xml").display().to_string();
    let ran = check(
        &[&path("target/test-plugins/test.saboteurs")],
        &["--format", "json", "--report", &format!("junit:{junit}")],
    );
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    is_valid(&report);
    let mut unmet = unmet(&report);
    assert_eq!(unmet.remove(""), Some(Vec::new()));
    let missed: Vec<String> = SABOTEURS
        .iter()
        .filter_map(|(entry, meant)| {
            let found = unmet.remove(*entry);
            (found.as_deref() != Some(&meant.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()[..]))
                .then(|| format!("{entry}: {found:?}, meant are {meant:?}"))
        })
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
    // What is left are entries without a fault.
    assert!(
        unmet.len() == 6 && unmet.iter().all(|(entry, ids)| entry.starts_with("good-") && ids.is_empty()),
        "{unmet:?}"
    );
    let junit = fs::read_to_string(junit).unwrap();
    assert!(junit.contains("anneal.discretization.L1") && junit.contains("type=\"fail\""), "{junit}");
}

#[test]
fn bundled_components_reach_the_highest_level() {
    let folders: Vec<String> = BUNDLED.iter().map(|name| path(&format!("target/plugins/anneal.{name}"))).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let ran = check(&folders, &["--format", "json"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    is_valid(&report);
    let unmet: Vec<_> = unmet(&report).into_iter().filter(|(_, ids)| !ids.is_empty()).collect();
    assert!(ran.code == Some(0) && unmet.is_empty(), "{unmet:?}");
    for plugin in report["plugins"].as_array().unwrap() {
        for verdict in plugin["verdicts"].as_array().unwrap() {
            assert_eq!(verdict["level"], "L3", "{verdict}");
        }
    }
}

/// A copy of a bundled plugin, changed.
fn changed(change: impl FnOnce(&Path)) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("anneal.weightings");
    fs::create_dir_all(folder.join("schema")).unwrap();
    let bundled = path("target/plugins/anneal.weightings");
    for part in ["", "schema"] {
        for file in fs::read_dir(Path::new(&bundled).join(part)).unwrap().map(|file| file.unwrap().path()) {
            if file.is_file() {
                fs::copy(&file, folder.join(part).join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    change(&folder);
    check(&[&folder.display().to_string()], &["--only", "X01"])
}

fn replaced(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn packages_that_lie_or_are_no_plugins_are_not_executed() {
    let manifest = |folder: &Path| folder.join("plugin.toml");
    let wasm = |folder: &Path| folder.join("anneal_weightings.wasm");
    let without_hash = |folder: &Path| {
        let text = fs::read_to_string(manifest(folder)).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("sha256")).collect();
        fs::write(manifest(folder), lines.join("\n")).unwrap();
    };
    let fault = |id: &str, words: &str, ran: Ran| {
        assert_eq!(ran.code, Some(3), "{id}: {ran:#?}");
        assert!(ran.out.contains(&format!("FAIL     {id}")) && ran.out.contains(words), "{id} {words}: {ran:#?}");
    };
    fault("P01", "no key of a manifest", changed(|f| replaced(&manifest(f), "description", "descripton")));
    fault("P01", "sha", changed(|f| fs::write(wasm(f), b"\0asm").unwrap()));
    fault("P01", "schema", changed(|f| fs::remove_file(f.join("schema/edm.json")).unwrap()));
    fault(
        "W01",
        "no component",
        changed(|f| {
            without_hash(f);
            fs::write(wasm(f), b"\0asm\x01\0\0\0").unwrap();
        }),
    );
    fault(
        "W01",
        "does not have",
        changed(|f| {
            without_hash(f);
            replaced(&manifest(f), "name = \"eps\"", "name = \"epsilon\"");
        }),
    );
    fault(
        "W01",
        "is not the schema",
        changed(|f| {
            without_hash(f);
            replaced(&f.join("schema/edm.json"), "Standard", "Normal");
        }),
    );
    let ran = changed(|f| std::os::unix::fs::symlink("/etc/hostname", f.join("notes")).unwrap());
    assert!(ran.out.contains("FAIL     P04") && ran.out.contains("is a link"), "{ran:#?}");
    let ran = changed(|f| fs::write(f.join("anneal_weightings.cwasm"), b"code").unwrap());
    assert!(ran.out.contains("FAIL     P04") && ran.out.contains("compiled code"), "{ran:#?}");
    assert_eq!(changed(|_| ()).code, Some(0));
}

#[test]
fn expectations_and_arguments_are_checked() {
    let expected = |text: &str| {
        changed(|folder| {
            fs::write(folder.join("anneal-check.toml"), format!("version = 1\n{text}")).unwrap();
        })
    };
    // What passes though it is expected to fail is red, and what is skipped is not reached.
    assert_eq!(expected("[[test]]\nid = \"X01\"\nreason = \"not yet\"\n").code, Some(1));
    let skipped = expected("[[test]]\nid = \"X01\"\naction = \"skip\"\nreason = \"slow\"\n");
    assert!(skipped.code == Some(1) && skipped.out.contains(" L0 "), "{skipped:#?}");
    expected("[[test]]\nid = \"Z99\"\nreason = \"no\"\n").fails(2, &["no check `Z99`"]);
    let folder = path("target/plugins/anneal.weightings");
    check(&[&folder], &["--only", "Z99"]).fails(2, &["no check `Z99`"]);
    check(&["no-such-folder"], &[]).fails(2, &["no-such-folder"]);
    check(&[&folder], &["--report", "xml:out"]).fails(2, &["no format"]);
}
