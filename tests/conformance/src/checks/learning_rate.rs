//! Schedules of the learning rate.

use anneal::config::PluginKind;
use anneal::plugin::wasm::Question;

use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::subject::{Subject, same_bits};

const OF: Scope = Scope::Kind(PluginKind::LearningRate);

pub const CHECKS: &[Check] = &[
    Check::new(
        "L01",
        "finite-not-negative",
        Level::L1,
        OF,
        "Factors are finite and not below zero, for the first 2000 steps and around the millionth.",
        finite,
    ),
    Check::new(
        "L02",
        "block-invariant",
        Level::L1,
        OF,
        "Steps give the same bits together and in blocks: a run that is resumed goes on as it was.",
        blocks,
    ),
    Check::new(
        "L03",
        "any-step",
        Level::L3,
        OF,
        "A step far away, up to the last that can be counted, is answered or refused, without a trap.",
        any_step,
    ),
    Check::new("L04", "no-steps", Level::L1, OF, "No steps give no factors, without a trap.", no_steps),
    Check::new(
        "L05",
        "any-order",
        Level::L2,
        OF,
        "Steps give the same bits in any order of calls and in any instance.",
        any_order,
    ),
    Check::new("L06", "length", Level::L1, OF, "There is one factor a step.", length),
];

fn length(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    for count in [1, 7, 1024] {
        let factors = subject.values(&mut asked, Question::Factors { first: 3, count })?;
        demand!(factors.len() == count as usize, "{} factors for {count} steps", factors.len());
    }
    Ok(())
}

fn finite(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    for (first, count) in [(0, 2000), (999_990, 20)] {
        let factors = subject.values(&mut asked, Question::Factors { first, count })?;
        if let Some(at) = factors.iter().position(|factor| !(factor.is_finite() && *factor >= 0.0)) {
            return Err(Finding::fail(format!("the factor of step {} is {}", first + at as u64, factors[at])));
        }
    }
    Ok(())
}

fn blocks(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    let whole = subject.values(&mut asked, Question::Factors { first: 0, count: 1000 })?;
    let mut parts = Vec::new();
    for (first, count) in [(0, 1), (1, 99), (100, 400), (500, 500)] {
        parts.extend(subject.values(&mut asked, Question::Factors { first, count })?);
    }
    same_bits("1000 steps at once and in blocks", &whole, &parts)
}

fn any_step(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    for first in [1_000_000, 1 << 40, 1 << 63, u64::MAX - 1, u64::MAX] {
        subject.may_refuse(&mut asked, Question::Factors { first, count: 2 })?;
    }
    Ok(())
}

fn no_steps(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    let factors = subject.values(&mut asked, Question::Factors { first: 5, count: 0 })?;
    demand!(factors.is_empty(), "{factors:?} for no steps");
    Ok(())
}

fn any_order(subject: &mut Subject) -> Found {
    let (mut asked, mut other) = (subject.asked()?, subject.asked()?);
    let spans = [(0, 16), (5000, 16), (100, 16), (1_000_000, 16)];
    let mut first = Vec::new();
    for (start, count) in spans {
        first.push(subject.values(&mut asked, Question::Factors { first: start, count })?);
    }
    for ((start, count), factors) in spans.into_iter().zip(&first).rev() {
        let question = Question::Factors { first: start, count };
        same_bits(&format!("steps from {start}, again"), factors, &subject.values(&mut asked, question)?)?;
        same_bits(&format!("steps from {start}, elsewhere"), factors, &subject.values(&mut other, question)?)?;
    }
    Ok(())
}
