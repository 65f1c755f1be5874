//! Single faults put into configs. Each is one by its making: what a mutator writes is never right, whatever else the config
//! says. The reason stands with each mutator.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use toml_edit::Value;

use super::house::twin;
use super::range::out_of_range;
use super::shape::shapes_that_do_not_fit;
use super::sites::{Site, headers, line_of, sites};

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    TypoInKey,
    TypoInValue,
    WrongType,
    OutOfRange,
    MissingFile,
    MissingPlugin,
    Shape,
    Checkpoint,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::TypoInKey,
        Kind::TypoInValue,
        Kind::WrongType,
        Kind::OutOfRange,
        Kind::MissingFile,
        Kind::MissingPlugin,
        Kind::Shape,
        Kind::Checkpoint,
    ];

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::TypoInKey => "typo in a key",
            Kind::TypoInValue => "typo in a value",
            Kind::WrongType => "wrong type",
            Kind::OutOfRange => "out of range",
            Kind::MissingFile => "missing file",
            Kind::MissingPlugin => "missing plugin",
            Kind::Shape => "shape that does not fit",
            Kind::Checkpoint => "keys of a checkpoint",
        }
    }
}

/// A config with one fault.
#[derive(Debug, Clone)]
pub struct Mutation {
    pub kind: Kind,
    /// The shipped config, below `configs/`.
    pub config: String,
    /// The text with the fault.
    pub text: String,
    /// What was written in place of what.
    pub what: String,
    /// The keys that may be blamed: the one that was changed, and those that it does not go with.
    pub keys: Vec<String>,
    /// The line of the change.
    pub line: usize,
}

/// A shipped config and its settings.
pub struct Shipped<'a> {
    pub name: &'a str,
    pub text: &'a str,
    pub sites: Vec<Site>,
}

impl Shipped<'_> {
    /// The config with `new` written at a place, which is the setting `key`'s.
    pub fn with(&self, kind: Kind, key: &str, at: &Range<usize>, new: &str) -> Mutation {
        let old = &self.text[at.clone()];
        let text = format!("{}{new}{}", &self.text[..at.start], &self.text[at.end..]);
        // A part of a list of lists or of a table may be long.
        let short = |text: &str| text.lines().next().unwrap_or_default().chars().take(60).collect::<String>();
        Mutation {
            kind,
            config: self.name.to_owned(),
            text,
            what: format!("{key}: {} -> {}", short(old), short(new)),
            keys: vec![key.to_owned()],
            line: line_of(self.text, at.start),
        }
    }

    /// The config with `new` as the value of a setting.
    pub fn value(&self, kind: Kind, site: &Site, new: &str) -> Mutation {
        self.with(kind, &site.key, &site.at, new)
    }
}

impl Mutation {
    /// The same, where the fault is that two settings do not go together: either may be blamed.
    pub fn or(mut self, keys: impl IntoIterator<Item = String>) -> Self {
        self.keys.extend(keys);
        self
    }
}

/// All faults that the mutators know for the shipped config `name`.
pub fn mutations(name: &str, text: &str, vocabulary: &HashSet<String>) -> Vec<Mutation> {
    let shipped = Shipped { name, text, sites: sites(text) };
    let mut all = typos_in_keys(&shipped, vocabulary);
    all.extend(typos_in_values(&shipped).into_iter().map(|typo| with_tables_of_line(&shipped, typo)));
    all.extend(wrong_types(&shipped));
    all.extend(out_of_range(&shipped));
    all.extend(missing_files(&shipped));
    all.extend(missing_plugins(&shipped));
    all.extend(shapes_that_do_not_fit(&shipped));
    all.extend(checkpoints(&shipped));
    all
}

/// Words written wrongly: two letters swapped, one left out, one doubled. None of them is the word.
fn misspelt(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let middle = letters.len() / 2;
    let text = |letters: &[char]| letters.iter().collect::<String>();
    let mut swapped = letters.clone();
    let at = (1..letters.len()).find(|&at| letters[at] != letters[at - 1]).unwrap_or(0);
    swapped.swap(at, at.saturating_sub(1));
    let short = [&letters[..middle], &letters[(middle + 1).min(letters.len())..]].concat();
    let doubled = [&letters[..=middle.min(letters.len() - 1)], &letters[middle.min(letters.len() - 1)..]].concat();
    let all = [text(&swapped), text(&short), text(&doubled)];
    all.into_iter().filter(|wrong| wrong != word && !wrong.is_empty()).collect()
}

/// No schema of any kind of run or plugin knows a setting of that name, and every table of a config knows its settings.
fn typos_in_keys(shipped: &Shipped<'_>, vocabulary: &HashSet<String>) -> Vec<Mutation> {
    let named = shipped.sites.iter().filter_map(|site| Some((site.key.clone(), site.name.clone()?)));
    let mut all = Vec::new();
    for (key, place) in named.chain(headers(shipped.text)) {
        let word = &shipped.text[place.clone()];
        for wrong in misspelt(word).into_iter().filter(|wrong| !vocabulary.contains(wrong)) {
            let wrong_key = format!("{}{wrong}", &key[..key.len() - word.len()]);
            all.push(Mutation { keys: vec![wrong_key], ..shipped.with(Kind::TypoInKey, &key, &place, &wrong) });
        }
    }
    all
}

/// Settings whose texts are of a list that the program or the data has: names of kinds, choices, entries of a batch,
/// animations. Names that a config makes up itself (of classes) are none of them, and paths and plugins have mutators of their
/// own.
const CHOICES: [&str; 29] = [
    "kind",
    "device",
    "precision",
    "on_bad_sample",
    "cond_view",
    "polar",
    "distance",
    "sigma_per",
    "ucg_per",
    "num_classes",
    "merge_strategy",
    "time_block_merge_strategy",
    "attn_type",
    "loss",
    "arch",
    "input_key",
    "extra_inputs",
    "force_uc_zero",
    "additional_cond_keys",
    "entries",
    "animations",
    "frozen_encoders",
    "clip_format",
    "input",
    "over",
    "moments",
    "layer",
    "latent",
    "copied_key",
];

/// A misspelt choice is none; a misspelt `true` or a number with a letter in it is no TOML, nor is a text without its end.
fn typos_in_values(shipped: &Shipped<'_>) -> Vec<Mutation> {
    let mut all = Vec::new();
    for site in &shipped.sites {
        let written = &shipped.text[site.at.clone()];
        match &site.value {
            Value::String(text) if CHOICES.contains(&site.bare()) => {
                let wrong = misspelt(text.value()).into_iter().map(|wrong| format!("{wrong:?}"));
                all.extend(wrong.map(|wrong| shipped.value(Kind::TypoInValue, site, &wrong)));
                if site.name.is_some() {
                    all.push(shipped.value(Kind::TypoInValue, site, written.trim_end_matches('"')));
                }
            }
            Value::Boolean(_) => {
                all.extend(misspelt(written).iter().map(|wrong| shipped.value(Kind::TypoInValue, site, wrong)));
            }
            Value::Integer(_) | Value::Float(_) if site.name.is_some() => {
                all.push(shipped.value(Kind::TypoInValue, site, &format!("{written}O")));
                all.push(shipped.value(Kind::TypoInValue, site, &format!("{written} {written}")));
            }
            _ => {}
        }
    }
    all
}

/// Where a table is written on one line and is no TOML, the table may be blamed.
fn with_tables_of_line(shipped: &Shipped<'_>, typo: Mutation) -> Mutation {
    let (key, line) = (typo.keys[0].clone(), typo.line);
    let on_line = |site: &&Site| line_of(shipped.text, site.at.start) == line;
    let tables = shipped.sites.iter().filter(on_line).filter(|site| key.starts_with(&format!("{}.", site.key)));
    typo.or(tables.map(|site| site.key.clone()))
}

/// No setting takes both numbers or lists and texts, or texts and booleans, but a `legacy_ucg_value`, which takes anything.
fn wrong_types(shipped: &Shipped<'_>) -> Vec<Mutation> {
    let mut all = Vec::new();
    for site in shipped.sites.iter().filter(|site| site.bare() != "legacy_ucg_value") {
        let written = &shipped.text[site.at.clone()];
        let wrong = match &site.value {
            Value::String(_) => vec!["true".to_owned(), "{}".to_owned()],
            Value::Boolean(_) => vec![format!("\"{written}\""), "1".to_owned()],
            Value::Integer(_) | Value::Float(_) => vec![format!("\"{written}\""), "false".to_owned()],
            Value::Array(_) => vec!["true".to_owned(), "\"none\"".to_owned()],
            Value::InlineTable(_) => vec!["\"none\"".to_owned(), "3".to_owned()],
            Value::Datetime(_) => Vec::new(),
        };
        all.extend(wrong.iter().map(|wrong| shipped.value(Kind::WrongType, site, wrong)));
    }
    all
}

/// Whether the setting is the path of something that has to be there.
fn is_path(site: &Site) -> bool {
    let in_source = site.is_in("data.source") || site.is_in("validation.source");
    match site.bare() {
        "path" | "images" | "labels" | "files" | "shards" => in_source,
        "weights" | "tokenizer" | "init_from" | "extends" | "dirs" => true,
        _ => false,
    }
}

/// Nothing in the house has a name with `gone` in it.
fn missing_files(shipped: &Shipped<'_>) -> Vec<Mutation> {
    let mut all = Vec::new();
    for site in shipped.sites.iter().filter(|site| is_path(site)) {
        let Value::String(text) = &site.value else { continue };
        let (folder, name) = text.value().rsplit_once('/').unwrap_or((".", text.value()));
        let wrong = [format!("{folder}/gone-{name}"), format!("{folder}/gone/{name}")];
        all.extend(wrong.iter().map(|wrong| shipped.value(Kind::MissingFile, site, &format!("{wrong:?}"))));
    }
    all
}

/// A plugin of the kind that each of the settings wants, for those that want another.
const PLUGINS: [&str; 7] = ["scalar", "min-snr", "legacy-ddpm", "discrete", "triangle", "warm-up-cosine", "euler-edm"];

/// No plugin is called so, or the one that is is of another kind: of the seven, one is of each.
fn missing_plugins(shipped: &Shipped<'_>) -> Vec<Mutation> {
    let mut all = Vec::new();
    for site in shipped.sites.iter().filter(|site| site.bare() == "plugin") {
        let Value::String(text) = &site.value else { continue };
        let of_kind = match site.key.trim_end_matches(".plugin").rsplit('.').next().unwrap_or_default() {
            "weighting" => "min-snr",
            "discretization" => "legacy-ddpm",
            "sigma_sampling" => "discrete",
            "guidance" => "triangle",
            "schedule" => "warm-up-cosine",
            "sampler" => "euler-edm",
            _ => "scalar",
        };
        let mut wrong = misspelt(text.value());
        wrong.push(format!("vendor.none/{}", text.value()));
        // A name that several kinds have is right for each of them, so no such one is taken.
        wrong.extend(PLUGINS.iter().filter(|name| **name != of_kind).take(2).map(|name| (*name).to_owned()));
        all.extend(wrong.iter().map(|wrong| shipped.value(Kind::MissingPlugin, site, &format!("{wrong:?}"))));
    }
    all
}

/// The file is of no such keys or of other shapes, or no weights; no key stands behind a misspelt prefix.
fn checkpoints(shipped: &Shipped<'_>) -> Vec<Mutation> {
    let mut all = Vec::new();
    let by_key: BTreeMap<&str, &Site> = shipped.sites.iter().map(|site| (site.key.as_str(), site)).collect();
    for site in &shipped.sites {
        let Value::String(text) = &site.value else { continue };
        let table = site.key.rsplit_once('.').map_or("", |(table, _)| table);
        let beside = |name: &str| by_key.contains_key(format!("{table}.{name}").as_str());
        match site.bare() {
            "weights" | "init_from" => {
                let up = if shipped.name.contains('/') { "../../weights" } else { "../weights" };
                let wider = twin(std::path::Path::new(text.value()));
                for wrong in
                    [wider.display().to_string(), format!("{up}/other.safetensors"), format!("{up}/words.safetensors")]
                {
                    let keys = ["prefix", "weights_prefix"].into_iter().filter(|name| beside(name));
                    let keys: Vec<String> = keys.map(|name| format!("{table}.{name}")).collect();
                    all.push(shipped.value(Kind::Checkpoint, site, &format!("{wrong:?}")).or(keys));
                }
            }
            "prefix" | "weights_prefix" | "weights_at" => {
                let wrong = misspelt(text.value()).into_iter().chain([format!("model.{}", text.value())]);
                let file = format!("{table}.weights");
                all.extend(
                    wrong.map(|wrong| shipped.value(Kind::Checkpoint, site, &format!("{wrong:?}")).or([file.clone()])),
                );
            }
            _ => {}
        }
    }
    all.extend(architectures(shipped));
    all
}

/// One more residual block at each level has keys that the file has not.
fn architectures(shipped: &Shipped<'_>) -> Vec<Mutation> {
    let blocks = shipped.sites.iter().filter(|site| site.bare() == "num_res_blocks" && site.key.starts_with("model."));
    let weights = |table: &str| {
        let table = table.to_owned();
        let named = shipped.sites.iter().find(|site| site.bare() == "weights" && site.is_in(&table));
        named.map(|site| site.key.clone())
    };
    let mut all = Vec::new();
    for site in blocks {
        let Some(number) = site.value.as_integer() else { continue };
        let table = match site.key.strip_prefix("model.embedders.") {
            Some(rest) => format!("model.embedders.{}", rest.split('.').next().unwrap_or_default()),
            None if site.is_in("model.first_stage") => "model.first_stage".to_owned(),
            None => continue,
        };
        if let Some(file) = weights(&table) {
            all.push(shipped.value(Kind::Checkpoint, site, &(number + 1).to_string()).or([file]));
        }
    }
    all
}
