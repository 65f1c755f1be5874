//! The checks, by what they are about.

mod component;
mod discretization;
mod embedder;
mod embedder_repeat;
mod gradient;
mod guidance;
mod learning_rate;
mod library;
mod package;
mod repeat;
mod sampler;
mod settings;
mod sigma_sampling;
mod weighting;

use anneal::plugin::Runtime;

use crate::check::{Check, Finding};
use crate::subject::Subject;

/// The hash of what comes of calls that are the same in every process.
pub fn transcript(subject: &mut Subject) -> Result<String, Finding> {
    match subject.runtime()? {
        Runtime::Native => embedder_repeat::transcript(subject),
        Runtime::Wasm => repeat::transcript(subject),
    }
}

/// All checks, in the order they are made.
pub fn catalogue() -> Vec<Check> {
    [
        package::CHECKS,
        component::CHECKS,
        library::CHECKS,
        settings::CHECKS,
        discretization::CHECKS,
        sigma_sampling::CHECKS,
        weighting::CHECKS,
        guidance::CHECKS,
        learning_rate::CHECKS,
        sampler::CHECKS,
        embedder::CHECKS,
        gradient::CHECKS,
        embedder_repeat::CHECKS,
        repeat::CHECKS,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_every_check_says_what_it_demands() {
        let checks = super::catalogue();
        let ids: BTreeSet<&str> = checks.iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), checks.len());
        for check in checks {
            assert!(check.demands.ends_with('.') && check.demands.len() > 20, "{}: {}", check.id, check.demands);
        }
    }
}
