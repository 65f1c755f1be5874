//! The checks, by what they are about.

mod component;
mod discretization;
mod guidance;
mod learning_rate;
mod package;
mod repeat;
mod sampler;
mod settings;
mod sigma_sampling;
mod weighting;

pub use repeat::transcript as repeat_transcript;

use crate::check::Check;

/// All checks, in the order they are made.
pub fn catalogue() -> Vec<Check> {
    [
        package::CHECKS,
        component::CHECKS,
        settings::CHECKS,
        discretization::CHECKS,
        sigma_sampling::CHECKS,
        weighting::CHECKS,
        guidance::CHECKS,
        learning_rate::CHECKS,
        sampler::CHECKS,
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
