//! Patterns over the paths of parameters that take in none, which only the built model shows.

use anneal_nn::adapted_layer;

use super::model::Built;
use super::{NETWORK_PREFIX, Project};
use crate::config::{
    GroupConfig, Loaded, OptimizerConfig, PathPattern, Problem, Problems, RunConfig, RunKind, lora_takes, near_segment,
};
use crate::trainer::{GroupRates, Groups, Optimizer};
use crate::weights::Named;

impl Project<RunConfig> {
    /// Whether every pattern of the model's settings takes in something of the network.
    ///
    /// # Errors
    /// Those that do not, each with what may have been meant.
    pub(super) fn check_patterns(&self, built: &Built) -> Result<(), Problems> {
        let model = &self.config().model;
        let paths: Vec<String> =
            built.weights.iter().filter_map(|(name, _)| name.strip_prefix(NETWORK_PREFIX).map(str::to_owned)).collect();
        let mut problems =
            unmatched(&self.loaded, "/model/trainable", model.trainable.as_deref().unwrap_or(&[]), &paths, {
                |text| PathPattern::new(text).is_some_and(|pattern| paths.iter().any(|path| pattern.matches(path)))
            });
        if let Some(lora) = &model.lora {
            let adapted =
                |text: &str| paths.iter().filter_map(|path| adapted_layer(path)).any(|path| lora_takes(text, path));
            // Targets that were not written are not to blame one by one.
            if lora.targets.iter().any(|text| adapted(text)) {
                let written = unmatched(&self.loaded, "/model/lora/targets", &lora.targets, &paths, adapted);
                problems.extend(if lora.has_default_targets() { Vec::new() } else { written });
            } else {
                let help = help(lora.targets.first().map_or("", String::as_str), &paths);
                problems.push(self.loaded.problem("/model/lora/targets", "match no linear layer of the network", help));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }
}

impl<C: RunKind> Project<C> {
    /// The groups of the optimizer at `pointer` over `trained`, whose first `num_first` are to lie before all others.
    ///
    /// # Errors
    /// Patterns that take in none of them.
    pub(super) fn groups(
        &self,
        pointer: &str,
        optimizer: &OptimizerConfig,
        trained: &[Named],
        num_first: usize,
    ) -> Result<Groups, Problems> {
        let bare = |(name, _): &Named| name.strip_prefix(NETWORK_PREFIX).unwrap_or(name).to_owned();
        let paths: Vec<String> = trained.iter().map(bare).collect();
        let mut of = vec![None; paths.len()];
        let mut problems = Vec::new();
        for (i, group) in optimizer.groups().iter().enumerate() {
            for (j, text) in group.parameters.iter().enumerate() {
                let Some(pattern) = PathPattern::new(text) else { continue };
                let taken: Vec<usize> = (0..paths.len()).filter(|&k| pattern.matches(&paths[k])).collect();
                let at = format!("{pointer}/groups/{i}/parameters/{j}");
                if taken.is_empty() {
                    let message = format!("{text:?} matches no trained parameter");
                    problems.push(self.loaded.problem(&at, message, help(text, &paths)));
                } else if taken.iter().all(|&k| of[k].is_some_and(|of| of < i)) {
                    let help = "the first group that takes a parameter in has it; put this one before that";
                    let message = format!("all that {text:?} matches is of earlier groups");
                    problems.push(self.loaded.problem(&at, message, help));
                }
                taken.into_iter().for_each(|k| of[k] = of[k].or(Some(i)));
            }
        }
        let rates = |group: &GroupConfig| GroupRates {
            learning_rate_factor: group.learning_rate_factor,
            weight_decay: group.weight_decay,
        };
        let rates = optimizer.groups().iter().map(rates).collect();
        if problems.is_empty() { Ok(Groups { rates, of, num_first }) } else { Err(Problems(problems)) }
    }

    /// The optimizer of `trained` that the settings at `pointer` describe; see [`Project::groups`].
    ///
    /// # Errors
    /// As [`Project::groups`].
    pub(super) fn optimizer(
        &self,
        pointer: &str,
        settings: &OptimizerConfig,
        trained: Vec<Named>,
        num_first: usize,
    ) -> Result<Optimizer, Problems> {
        let groups = self.groups(pointer, settings, &trained, num_first)?;
        Ok(Optimizer::with_groups(trained, settings.into(), settings.moments(), groups))
    }
}

/// The patterns at `pointer` for which `takes` says no.
fn unmatched<C: RunKind>(
    loaded: &Loaded<C>,
    pointer: &str,
    patterns: &[String],
    paths: &[String],
    takes: impl Fn(&str) -> bool,
) -> Vec<Problem> {
    let unmatched = patterns.iter().enumerate().filter(|(_, text)| !takes(text));
    unmatched
        .map(|(i, text)| {
            loaded.problem(&format!("{pointer}/{i}"), format!("{text:?} matches no parameter"), help(text, paths))
        })
        .collect()
}

fn help(pattern: &str, paths: &[String]) -> String {
    match near_segment(pattern, paths) {
        Some((part, near)) => format!("did you mean `{near}` by `{part}`?"),
        None => {
            let example = paths.get(paths.len() / 2).map_or("", String::as_str);
            format!("patterns are of whole paths, like `{example}`; `*` stands for anything")
        }
    }
}
