//! Guidance scales.

use anneal::config::PluginKind;
use anneal::plugin::wasm::Question;

use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::subject::{Subject, same_bits};

const OF: Scope = Scope::Kind(PluginKind::Guidance);

pub const CHECKS: &[Check] = &[
    Check::new(
        "G01",
        "shape",
        Level::L1,
        OF,
        "There is one scale for each sigma and frame, for 1 to 50 steps and 1 to 21 frames, one view or several.",
        shape,
    ),
    Check::new("G02", "finite", Level::L1, OF, "All scales are finite.", finite),
    Check::new(
        "G05",
        "odd-views",
        Level::L3,
        OF,
        "Views that do not divide the frames, and none of either, are refused or answered, without a trap.",
        odd_views,
    ),
    Check::new(
        "G06",
        "pure",
        Level::L2,
        OF,
        "The same question gives the same bits, after other questions and in another instance.",
        pure,
    ),
];

/// Steps, frames and views of runs that occur.
const RUNS: [(u32, u32, u32); 6] = [(1, 1, 1), (50, 1, 1), (1, 14, 1), (25, 21, 1), (20, 40, 8), (20, 48, 4)];

fn sigmas(steps: u32) -> Vec<f64> {
    (0..steps).map(|i| 80.0 * 0.85f64.powi(i as i32)).collect()
}

/// A run, and its scales.
type Scaled = ((u32, u32, u32), Vec<f64>);

fn scales(subject: &mut Subject) -> Result<Vec<Scaled>, Finding> {
    let mut asked = subject.asked()?;
    RUNS.iter()
        .map(|&(steps, num_frames, num_views)| {
            let question = Question::Scales { sigmas: &sigmas(steps), num_frames, num_views };
            Ok(((steps, num_frames, num_views), subject.values(&mut asked, question)?))
        })
        .collect()
}

fn shape(subject: &mut Subject) -> Found {
    for ((steps, frames, views), scales) in scales(subject)? {
        let wanted = (steps * frames) as usize;
        let got = scales.len();
        demand!(got == wanted, "{got} scales for {steps} sigmas and {frames} frames of {views} views");
    }
    Ok(())
}

fn finite(subject: &mut Subject) -> Found {
    for ((steps, frames, _), scales) in scales(subject)? {
        if let Some(scale) = scales.iter().find(|scale| !scale.is_finite()) {
            return Err(Finding::fail(format!("a scale is {scale} for {steps} sigmas and {frames} frames")));
        }
    }
    Ok(())
}

fn odd_views(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    let some = sigmas(5);
    for (sigmas, num_frames, num_views) in [(&some[..], 7, 3), (&some, 4, 0), (&some, 0, 1), (&[], 4, 1), (&some, 2, 9)]
    {
        subject.may_refuse(&mut asked, Question::Scales { sigmas, num_frames, num_views })?;
    }
    Ok(())
}

fn pure(subject: &mut Subject) -> Found {
    let first = scales(subject)?;
    let mut asked = subject.asked()?;
    for ((steps, num_frames, num_views), scales) in first.iter().rev() {
        let sigmas = sigmas(*steps);
        let question = Question::Scales { sigmas: &sigmas, num_frames: *num_frames, num_views: *num_views };
        for what in ["the other way round, in another instance", "at once again"] {
            same_bits(what, scales, &subject.values(&mut asked, question)?)?;
        }
    }
    Ok(())
}
