//! Weightings of the loss.

use anneal::config::PluginKind;
use anneal::error::ErrorCode;
use anneal::plugin::Runtime;
use anneal::plugin::wasm::{Asked, Question};
use tch::{Kind, Tensor};

use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::subject::{Subject, same_bits};
use crate::trial::{Batch, Given, Trial, values};

/// How far weights of a native weighting may be apart that are computed beside different others: vector code and the code
/// of what is left over round differently.
const NATIVE_TOLERANCE: f64 = 1e-6;

const OF: Scope = Scope::Kind(PluginKind::Weighting);

pub const CHECKS: &[Check] = &[
    Check::new("X01", "length", Level::L1, OF, "There is one weight a sigma.", length),
    Check::new(
        "X02",
        "finite-not-negative",
        Level::L1,
        OF,
        "Weights are finite and not below zero, for 400 sigmas from 0.0001 to 10,000.",
        finite,
    ),
    Check::new(
        "X03",
        "elementwise",
        Level::L1,
        OF,
        "A weight depends on its own sigma alone: sigmas in another order give the same bits in that order; to one part in a \
         million if native.",
        elementwise,
    ),
    Check::new("X04", "no-sigmas", Level::L1, OF, "No sigmas give no weights, without a trap.", no_sigmas),
    Check::new(
        "X05",
        "split-invariant",
        Level::L2,
        OF,
        "Sigmas give the same bits together, in parts, again, and in another instance; to one part in a million if native.",
        split,
    ),
    Check::new(
        "X06",
        "sigma-zero",
        Level::L3,
        OF,
        "A sigma of zero is refused or has a weight, without a trap.",
        |subject| odd_sigma(subject, 0.0),
    ),
    Check::new(
        "X07",
        "not-a-number",
        Level::L3,
        OF,
        "A sigma that is no number is refused, or its weight is none either: it never becomes an ordinary weight.",
        |subject| odd_sigma(subject, f64::NAN),
    ),
    Check::new(
        "X08",
        "no-blow-up",
        Level::L1,
        OF,
        "The largest weight between sigmas of 0.01 and 100 is less than ten billion times the smallest above zero.",
        blow_up,
    )
    .advisory(),
];

/// A weighting of either runtime.
enum Weigher {
    Wasm(Box<Asked>),
    Native(Box<Trial>),
}

impl Weigher {
    fn new(subject: &mut Subject) -> Result<Self, Finding> {
        Ok(match subject.runtime()? {
            Runtime::Wasm => Self::Wasm(Box::new(subject.asked()?)),
            Runtime::Native => Self::Native(Box::new(subject.trial(Kind::Float, false)?)),
        })
    }

    /// Weights that have to come.
    fn weights(&mut self, subject: &Subject, sigmas: &[f64]) -> Result<Vec<f64>, Finding> {
        match self {
            Self::Wasm(asked) => subject.values(asked, Question::Weights(sigmas)),
            Self::Native(trial) => weigh(subject, trial, sigmas).map_err(|error| Finding::fail(error.to_string())),
        }
    }

    /// Weights that may be refused, without breaking the plugin.
    fn may_refuse(&mut self, subject: &Subject, sigmas: &[f64]) -> Result<Option<Vec<f64>>, Finding> {
        match self {
            Self::Wasm(asked) => subject.may_refuse(asked, Question::Weights(sigmas)),
            Self::Native(trial) => match weigh(subject, trial, sigmas) {
                Ok(weights) => Ok(Some(weights)),
                Err(error) if error.code == ErrorCode::Internal => Err(Finding::fail(error.to_string())),
                Err(_) => Ok(None),
            },
        }
    }

    /// Demands the same weights, as far as the runtime can give them.
    fn same(&self, what: &str, one: &[f64], other: &[f64]) -> Found {
        match self {
            Self::Wasm(_) => same_bits(what, one, other),
            Self::Native(_) => {
                let apart = |(a, b): (&f64, &f64)| (a - b).abs() / a.abs().max(b.abs()).max(f64::MIN_POSITIVE);
                let worst = one.iter().zip(other).map(apart).fold(0.0, f64::max);
                demand!(one.len() == other.len(), "{what}: {} weights once and {} then", one.len(), other.len());
                demand!(worst <= NATIVE_TOLERANCE, "{what}: weights differ by {worst:.1e} of themselves");
                Ok(())
            }
        }
    }
}

fn weigh(subject: &Subject, trial: &Trial, sigmas: &[f64]) -> Result<Vec<f64>, anneal::error::ComponentError> {
    subject.trace(format!("weights of {} sigmas", sigmas.len()));
    let name = trial.example.inputs[0].name.clone();
    let given = Given::Tensor(Tensor::from_slice(sigmas).to_kind(Kind::Float));
    let batch = Batch { scenes: (0..sigmas.len() as u64).collect(), inputs: vec![(name, given)] };
    Ok(values(&trial.embed(&batch)?[0].tensor))
}

/// 400 sigmas, evenly in their logarithm.
fn grid() -> Vec<f64> {
    (0..400).map(|i| 10f64.powf(-4.0 + 8.0 * f64::from(i) / 399.0)).collect()
}

fn length(subject: &mut Subject) -> Found {
    let (mut weigher, grid) = (Weigher::new(subject)?, grid());
    for count in [1, 7, 400] {
        let weights = weigher.weights(subject, &grid[..count])?;
        demand!(weights.len() == count, "{} weights for {count} sigmas", weights.len());
    }
    Ok(())
}

fn finite(subject: &mut Subject) -> Found {
    let (mut weigher, grid) = (Weigher::new(subject)?, grid());
    let weights = weigher.weights(subject, &grid)?;
    match weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        Some(at) => Err(Finding::fail(format!("the weight of sigma {:?} is {}", grid.get(at), weights[at]))),
        None => Ok(()),
    }
}

fn elementwise(subject: &mut Subject) -> Found {
    let (mut weigher, grid) = (Weigher::new(subject)?, grid());
    let weights = weigher.weights(subject, &grid)?;
    let turned: Vec<f64> = grid.iter().rev().copied().collect();
    let mut again = weigher.weights(subject, &turned)?;
    again.reverse();
    weigher.same("400 sigmas, and the other way round", &weights, &again)
}

fn no_sigmas(subject: &mut Subject) -> Found {
    let mut weigher = Weigher::new(subject)?;
    let weights = weigher.weights(subject, &[])?;
    demand!(weights.is_empty(), "{weights:?} for no sigmas");
    Ok(())
}

fn split(subject: &mut Subject) -> Found {
    let (mut weigher, mut other, grid) = (Weigher::new(subject)?, Weigher::new(subject)?, grid());
    let whole = weigher.weights(subject, &grid)?;
    let mut parts = Vec::new();
    for part in [&grid[..1], &grid[1..200], &grid[200..]] {
        parts.extend(weigher.weights(subject, part)?);
    }
    weigher.same("400 sigmas at once and in parts", &whole, &parts)?;
    let again = weigher.weights(subject, &grid)?;
    weigher.same("again", &whole, &again)?;
    weigher.same("in another instance", &whole, &other.weights(subject, &grid)?)
}

fn odd_sigma(subject: &mut Subject, sigma: f64) -> Found {
    let mut weigher = Weigher::new(subject)?;
    let Some(weights) = weigher.may_refuse(subject, &[1.0, sigma])? else { return Ok(()) };
    let weight = weights.get(1).copied();
    demand!(!sigma.is_nan() || weight.is_none_or(f64::is_nan), "its weight is {weight:?}");
    Ok(())
}

fn blow_up(subject: &mut Subject) -> Found {
    let (mut weigher, grid) = (Weigher::new(subject)?, grid());
    let usual: Vec<f64> = grid.into_iter().filter(|sigma| (0.01..=100.0).contains(sigma)).collect();
    let weights = weigher.weights(subject, &usual)?;
    let most = weights.iter().copied().fold(0.0, f64::max);
    let least = weights.iter().copied().filter(|weight| *weight > 0.0).fold(f64::INFINITY, f64::min);
    demand!(most <= 1e10 * least, "weights go from {least} to {most}");
    Ok(())
}
