//! What is found wrong, put at the settings that are to blame.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::assemble::AssembleError;
use crate::config::{Loaded, Problem, Problems, RunKind};
use crate::data::DataError;
use crate::error::ComponentError;
use crate::plugin::PluginError;

/// What a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// The config itself, and what in it does not fit.
    Config,
    /// Plugins that cannot be had.
    Plugins,
    /// Data that cannot be read.
    Data,
}

/// All that is found wrong.
#[derive(Debug, Default)]
pub struct Faults {
    areas: BTreeSet<Area>,
    problems: Vec<Problem>,
    /// Those that may follow from others.
    following: Vec<(Area, Problem)>,
}

impl Faults {
    /// Adds a fault, unless it is known.
    pub(super) fn add(&mut self, area: Area, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.areas.insert(area);
            self.problems.push(problem);
        }
    }

    /// Adds faults of the config.
    pub(super) fn add_all(&mut self, found: Option<Problems>) {
        found.into_iter().flat_map(|Problems(found)| found).for_each(|problem| self.add(Area::Config, problem));
    }

    /// Adds what a component says to its settings, or a source to its files. It counts where none of them is known to be wrong.
    pub(super) fn add_following(&mut self, area: Area, problem: Problem) {
        self.following.push((area, problem));
    }

    /// Whether nothing of that area is wrong.
    pub(super) fn is_empty_of(&self, area: Area) -> bool {
        !self.areas.contains(&area)
    }

    /// All of them as one error, in the order of the files and of their lines.
    pub(super) fn into_error(mut self) -> Option<AssembleError> {
        for (area, problem) in std::mem::take(&mut self.following) {
            let below = format!("{}.", problem.key);
            if !self.problems.iter().any(|known| known.key == problem.key || known.key.starts_with(&below)) {
                self.add(area, problem);
            }
        }
        let problems = Problems::sorted(self.problems);
        let areas: Vec<Area> = self.areas.into_iter().collect();
        match areas[..] {
            [] => None,
            [Area::Plugins] => Some(AssembleError::PluginsAt(problems)),
            [Area::Data] => Some(AssembleError::DataAt(problems)),
            _ => Some(AssembleError::Config(problems)),
        }
    }
}

/// What a component says, at its table (`/sampling/sampler`) or the setting in it that it names.
pub(super) fn of_component<C: RunKind>(
    loaded: &Loaded<C>,
    pointer: &str,
    error: &ComponentError,
    help: &str,
) -> Problem {
    let setting = error.config_path.as_deref().unwrap_or_default();
    loaded.problem(&format!("{pointer}{setting}"), error.to_string(), help)
}

/// Why there are no plugins to choose from.
pub(super) fn of_plugins<C: RunKind>(loaded: &Loaded<C>, error: &PluginError) -> Problem {
    let pointer = match error {
        PluginError::Required { id, .. } | PluginError::BadRequirement { id, .. } => {
            format!("/plugins/require/{}", id.replace('~', "~0").replace('/', "~1"))
        }
        _ => "/plugins/dirs".to_owned(),
    };
    loaded.problem(&pointer, error.to_string(), error.help())
}

/// Why the source that is set at `pointer` gives no sample: at the setting that the error names, or whose file it is about.
pub(super) fn of_data<C: RunKind>(loaded: &Loaded<C>, pointer: &str, error: &DataError) -> Problem {
    let config = serde_json::to_value(&loaded.config).unwrap_or_default();
    let settings = config.pointer(pointer).unwrap_or(&Value::Null);
    let (reason, named) = match error {
        DataError::Setting { key, reason } => (reason.clone(), Some(format!("/{key}"))),
        DataError::UnknownAnimation { .. } => (error.to_string(), Some("/animations".to_owned())),
        other => (other.to_string(), None),
    };
    let mut texts = Vec::new();
    collect_texts(settings, "", &mut texts);
    let of_named = |at: &str| named.as_ref().is_none_or(|named| at == named || at.starts_with(&format!("{named}/")));
    // What is quoted says most; of paths it is the longest, as a folder's name is a part of those of its files.
    let is_quoted = |text: &str| reason.contains(&format!("{text:?}"));
    let is_named = |text: &str| is_quoted(text) || text.starts_with('/') && reason.contains(text);
    let mentioned = texts.iter().filter(|(at, text)| of_named(at) && is_named(text));
    let best = mentioned.max_by_key(|(_, text)| (is_quoted(text), text.len()));
    let at = best.map(|(at, _)| at.clone()).or(named).unwrap_or_default();
    let help = "`anneal data preview` draws what the source gives; docs/data.md says what it reads";
    loaded.problem(&format!("{pointer}{at}"), reason, help)
}

/// All texts below `value`, each with its JSON pointer.
fn collect_texts<'a>(value: &'a Value, at: &str, texts: &mut Vec<(String, &'a str)>) {
    match value {
        Value::String(text) => texts.push((at.to_owned(), text)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| collect_texts(item, &format!("{at}/{i}"), texts));
        }
        Value::Object(members) => {
            for (key, member) in members {
                collect_texts(member, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), texts);
            }
        }
        _ => {}
    }
}
