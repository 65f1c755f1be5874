//! Weightings of the loss.

use anneal::config::PluginKind;
use anneal::plugin::wasm::Question;

use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::subject::{Subject, same_bits};

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
        "A weight depends on its own sigma alone: sigmas in another order give the same bits in that order.",
        elementwise,
    ),
    Check::new("X04", "no-sigmas", Level::L1, OF, "No sigmas give no weights, without a trap.", no_sigmas),
    Check::new(
        "X05",
        "split-invariant",
        Level::L2,
        OF,
        "Sigmas give the same bits together, in parts, again, and in another instance.",
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

/// 400 sigmas, evenly in their logarithm.
fn grid() -> Vec<f64> {
    (0..400).map(|i| 10f64.powf(-4.0 + 8.0 * f64::from(i) / 399.0)).collect()
}

fn length(subject: &mut Subject) -> Found {
    let (mut asked, grid) = (subject.asked()?, grid());
    for count in [1, 7, 400] {
        let weights = subject.values(&mut asked, Question::Weights(&grid[..count]))?;
        demand!(weights.len() == count, "{} weights for {count} sigmas", weights.len());
    }
    Ok(())
}

fn finite(subject: &mut Subject) -> Found {
    let (mut asked, grid) = (subject.asked()?, grid());
    let weights = subject.values(&mut asked, Question::Weights(&grid))?;
    match weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        Some(at) => Err(Finding::fail(format!("the weight of sigma {:?} is {}", grid.get(at), weights[at]))),
        None => Ok(()),
    }
}

fn elementwise(subject: &mut Subject) -> Found {
    let (mut asked, grid) = (subject.asked()?, grid());
    let weights = subject.values(&mut asked, Question::Weights(&grid))?;
    let turned: Vec<f64> = grid.iter().rev().copied().collect();
    let mut again = subject.values(&mut asked, Question::Weights(&turned))?;
    again.reverse();
    same_bits("400 sigmas, and the other way round", &weights, &again)
}

fn no_sigmas(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    let weights = subject.values(&mut asked, Question::Weights(&[]))?;
    demand!(weights.is_empty(), "{weights:?} for no sigmas");
    Ok(())
}

fn split(subject: &mut Subject) -> Found {
    let (mut asked, mut other, grid) = (subject.asked()?, subject.asked()?, grid());
    let whole = subject.values(&mut asked, Question::Weights(&grid))?;
    let mut parts = Vec::new();
    for part in [&grid[..1], &grid[1..200], &grid[200..]] {
        parts.extend(subject.values(&mut asked, Question::Weights(part))?);
    }
    same_bits("400 sigmas at once and in parts", &whole, &parts)?;
    same_bits("again", &whole, &subject.values(&mut asked, Question::Weights(&grid))?)?;
    same_bits("in another instance", &whole, &subject.values(&mut other, Question::Weights(&grid))?)
}

fn odd_sigma(subject: &mut Subject, sigma: f64) -> Found {
    let mut asked = subject.asked()?;
    let Some(weights) = subject.may_refuse(&mut asked, Question::Weights(&[1.0, sigma]))? else { return Ok(()) };
    let weight = weights.get(1).copied();
    demand!(!sigma.is_nan() || weight.is_none_or(f64::is_nan), "its weight is {weight:?}");
    Ok(())
}

fn blow_up(subject: &mut Subject) -> Found {
    let (mut asked, grid) = (subject.asked()?, grid());
    let usual: Vec<f64> = grid.into_iter().filter(|sigma| (0.01..=100.0).contains(sigma)).collect();
    let weights = subject.values(&mut asked, Question::Weights(&usual))?;
    let most = weights.iter().copied().fold(0.0, f64::max);
    let least = weights.iter().copied().filter(|weight| *weight > 0.0).fold(f64::INFINITY, f64::min);
    demand!(most <= 1e10 * least, "weights go from {least} to {most}");
    Ok(())
}
