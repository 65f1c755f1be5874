//! Sigma samplings: the noise levels of training.

use anneal::config::PluginKind;
use anneal::diffusion::DrawKind;
use anneal::plugin::wasm::{Asked, Question};
use rand::RngExt;

use super::discretization::{setting, sigma_range};
use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::subject::{Subject, said, same_bits};

const OF: Scope = Scope::Kind(PluginKind::SigmaSampling);

pub const CHECKS: &[Check] = &[
    Check::new("S01", "length", Level::L1, OF, "There is one sigma a draw, for 1 to 4096 draws.", length),
    Check::new("S02", "finite", Level::L1, OF, "All sigmas are finite and not below zero.", finite),
    Check::new(
        "S03",
        "range",
        Level::L1,
        OF,
        "No sigma is below or above the settings that sigma-range names.",
        range,
    ),
    Check::new(
        "S04",
        "extreme-draws",
        Level::L1,
        OF,
        "The most extreme draws that occur give finite sigmas that are not below zero.",
        extreme_draws,
    ),
    Check::new(
        "S05",
        "split-invariant",
        Level::L2,
        OF,
        "Draws give the same bits together and in parts: what a run draws does not depend on how it asks.",
        split,
    ),
    Check::new(
        "S07",
        "monotone",
        Level::L1,
        OF,
        "From the lowest draw to the highest, sigmas never fall or never rise, so that draws spread evenly spread sigmas evenly.",
        monotone,
    )
    .advisory(),
    Check::new("S06", "no-draws", Level::L3, OF, "No draws give no sigmas, or are refused, without a trap.", no_draws),
];

fn draws(subject: &Subject, asked: &mut Asked, count: usize) -> Result<Vec<f64>, Finding> {
    let kind = asked.draw_kind().map_err(|problem| Finding::fail(said(&problem)))?;
    let mut random = subject.random();
    let mut uniform = || random.random::<f64>().clamp(2f64.powi(-53), 1.0 - 2f64.powi(-53));
    Ok((0..count)
        .map(|_| match kind {
            // Box and Muller's.
            Some(DrawKind::Gaussian) => (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos(),
            _ => uniform(),
        })
        .collect())
}

fn length(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    for count in [1, 7, 64, 4096] {
        let draws = draws(subject, &mut asked, count)?;
        let sigmas = subject.values(&mut asked, Question::Sample(&draws))?;
        demand!(sigmas.len() == count, "{} sigmas for {count} draws", sigmas.len());
    }
    Ok(())
}

fn all_finite(draws: &[f64], sigmas: &[f64]) -> Found {
    match sigmas.iter().position(|sigma| !(sigma.is_finite() && *sigma >= 0.0)) {
        Some(at) => Err(Finding::fail(format!("the draw {:?} gives the sigma {}", draws.get(at), sigmas[at]))),
        None => Ok(()),
    }
}

fn finite(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    let draws = draws(subject, &mut asked, 4096)?;
    all_finite(&draws, &subject.values(&mut asked, Question::Sample(&draws))?)
}

fn range(subject: &mut Subject) -> Found {
    let [low, high] = sigma_range(subject)?;
    let (low, high) = (setting(subject, &low)?, setting(subject, &high)?);
    let mut asked = subject.asked()?;
    let draws = draws(subject, &mut asked, 4096)?;
    let sigmas = subject.values(&mut asked, Question::Sample(&draws))?;
    let odd = sigmas.iter().find(|sigma| **sigma < low * (1.0 - 1e-9) || **sigma > high * (1.0 + 1e-9));
    demand!(odd.is_none(), "a sigma is {:?}, where {low} to {high} are set", odd);
    Ok(())
}

fn extreme_draws(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    let kind = asked.draw_kind().map_err(|problem| Finding::fail(said(&problem)))?;
    let extremes = match kind {
        Some(DrawKind::Gaussian) => [-8.3, 8.3],
        _ => [2f64.powi(-53), 1.0 - 2f64.powi(-53)],
    };
    all_finite(&extremes, &subject.values(&mut asked, Question::Sample(&extremes))?)
}

fn split(subject: &mut Subject) -> Found {
    let (mut asked, mut other) = (subject.asked()?, subject.asked()?);
    let draws = draws(subject, &mut asked, 64)?;
    let whole = subject.values(&mut asked, Question::Sample(&draws))?;
    let mut parts = Vec::new();
    for part in [&draws[..1], &draws[1..32], &draws[32..]] {
        parts.extend(subject.values(&mut asked, Question::Sample(part))?);
    }
    same_bits("64 draws at once and in parts", &whole, &parts)?;
    same_bits("in another instance", &whole, &subject.values(&mut other, Question::Sample(&draws))?)
}

fn monotone(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    let mut draws = draws(subject, &mut asked, 1000)?;
    draws.sort_by(f64::total_cmp);
    let sigmas = subject.values(&mut asked, Question::Sample(&draws))?;
    let (rises, falls) = (sigmas.is_sorted(), sigmas.is_sorted_by(|a, b| a >= b));
    demand!(rises || falls, "sigmas of draws in their order go up and down");
    Ok(())
}

fn no_draws(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    let sigmas = subject.may_refuse(&mut asked, Question::Sample(&[]))?;
    demand!(sigmas.as_ref().is_none_or(Vec::is_empty), "{sigmas:?} for no draws");
    Ok(())
}
