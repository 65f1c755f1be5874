//! Discretizations: grids of sigmas.

use anneal::config::PluginKind;
use anneal::plugin::wasm::Question;
use serde_json::Value;

use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::settings;
use crate::subject::{Subject, same_bits, shown};

const OF: Scope = Scope::Kind(PluginKind::Discretization);

pub const CHECKS: &[Check] = &[
    Check::new("D01", "length", Level::L1, OF, "There are exactly n sigmas, for n from 1 to 1000.", length),
    Check::new("D02", "finite-positive", Level::L1, OF, "All sigmas are finite and above zero.", finite_positive),
    Check::new(
        "D03",
        "strictly-decreasing",
        Level::L1,
        OF,
        "Sigmas decrease strictly, also when they are rounded to 32 bits.",
        decreasing,
    ),
    Check::new(
        "D04",
        "none-asked",
        Level::L1,
        OF,
        "A grid of no sigmas is empty or refused, without a trap.",
        none_asked,
    ),
    Check::new(
        "D05",
        "many-asked",
        Level::L3,
        OF,
        "A grid of 100,000 sigmas is made or refused, without a trap.",
        many_asked,
    ),
    Check::new(
        "D06",
        "end-points",
        Level::L1,
        OF,
        "The first and the last sigma are those of the settings that sigma-range names, to one part in a million.",
        end_points,
    ),
    Check::new(
        "D07",
        "pure",
        Level::L2,
        OF,
        "The same n gives the same bits, in any order of calls and in any instance.",
        pure,
    ),
    Check::new(
        "D08",
        "other-settings",
        Level::L1,
        OF,
        "Grids are complete, positive and decreasing with other settings that the schema allows, too.",
        other_settings,
    ),
    Check::new(
        "D09",
        "grows-with-its-end",
        Level::L1,
        OF,
        "A higher setting for the first sigma, as sigma-range names it, does not make the first sigma lower.",
        grows_with_its_end,
    )
    .advisory(),
];

const SIZES: [u32; 6] = [1, 2, 3, 10, 50, 1000];

fn grids(subject: &mut Subject) -> Result<Vec<(u32, Vec<f64>)>, Finding> {
    let mut asked = subject.asked()?;
    SIZES.iter().map(|&n| Ok((n, subject.values(&mut asked, Question::Sigmas(n))?))).collect()
}

fn length(subject: &mut Subject) -> Found {
    for (n, sigmas) in grids(subject)? {
        demand!(sigmas.len() == n as usize, "{} sigmas for n = {n}", sigmas.len());
    }
    Ok(())
}

fn finite_positive(subject: &mut Subject) -> Found {
    for (n, sigmas) in grids(subject)? {
        all_positive(n, &sigmas)?;
    }
    Ok(())
}

fn all_positive(n: u32, sigmas: &[f64]) -> Found {
    match sigmas.iter().position(|sigma| !(sigma.is_finite() && *sigma > 0.0)) {
        Some(at) => Err(Finding::fail(format!("sigma {at} of {n} is {}", sigmas[at]))),
        None => Ok(()),
    }
}

fn decreasing(subject: &mut Subject) -> Found {
    for (n, sigmas) in grids(subject)? {
        all_decrease(n, &sigmas)?;
    }
    Ok(())
}

/// NaN is not D03's business.
fn all_decrease(n: u32, sigmas: &[f64]) -> Found {
    match sigmas.windows(2).position(|pair| pair[1] as f32 >= pair[0] as f32) {
        Some(at) => Err(Finding::fail(format!("of {n}, {} is followed by {} at {at}", sigmas[at], sigmas[at + 1]))),
        None => Ok(()),
    }
}

fn none_asked(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    let sigmas = subject.may_refuse(&mut asked, Question::Sigmas(0))?;
    demand!(sigmas.as_ref().is_none_or(Vec::is_empty), "{sigmas:?} for n = 0");
    Ok(())
}

fn many_asked(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    match subject.may_refuse(&mut asked, Question::Sigmas(100_000))? {
        Some(sigmas) => {
            demand!(sigmas.len() == 100_000, "{} sigmas for n = 100000", sigmas.len());
            Ok(())
        }
        None => Ok(()),
    }
}

/// The settings that the manifest names as the lowest and the highest sigma.
pub fn sigma_range(subject: &mut Subject) -> Result<[String; 2], Finding> {
    let range = subject.entry()?.sigma_range().cloned();
    range.ok_or_else(|| Finding::NotDeclared("the manifest gives no sigma-range".to_owned()))
}

/// The number that a JSON pointer of the manifest leads to: a setting, or its default.
pub fn setting(subject: &mut Subject, pointer: &str) -> Result<f64, Finding> {
    let (schema, config) = (subject.schema()?, Value::Object(subject.config()?));
    let default = schema["properties"].get(pointer.trim_start_matches('/')).map(|property| &property["default"]);
    let value = config.pointer(pointer).or(default).and_then(Value::as_f64);
    value.ok_or_else(|| Finding::fail(format!("sigma-range names {pointer}, which is no number")))
}

fn end_points(subject: &mut Subject) -> Found {
    let [low, high] = sigma_range(subject)?;
    let (low, high) = (setting(subject, &low)?, setting(subject, &high)?);
    let mut asked = subject.asked()?;
    let sigmas = subject.values(&mut asked, Question::Sigmas(10))?;
    let near = |got: Option<&f64>, wanted: f64| got.is_some_and(|got| (got / wanted - 1.0).abs() <= 1e-6);
    demand!(near(sigmas.first(), high), "the first of 10 sigmas is {:?}, where {high} is set", sigmas.first());
    demand!(near(sigmas.last(), low), "the last of 10 sigmas is {:?}, where {low} is set", sigmas.last());
    Ok(())
}

fn grows_with_its_end(subject: &mut Subject) -> Found {
    let [_, pointer] = sigma_range(subject)?;
    let (name, high) = (pointer.trim_start_matches('/').to_owned(), setting(subject, &pointer)?);
    let mut last: Option<(f64, f64)> = None;
    for factor in [1.0, 1.25, 2.0, 4.0] {
        let mut config = subject.config()?;
        config.insert(name.clone(), Value::from(high * factor));
        // Where the schema ends, so does the question.
        let Ok(mut asked) = subject.asked_with(&config) else { break };
        let first = subject.values(&mut asked, Question::Sigmas(10))?.first().copied().unwrap_or_default();
        if let Some((before, sigma)) = last {
            demand!(
                first >= sigma,
                "with {name} = {before} the first sigma is {sigma}, with {} {first}",
                high * factor
            );
        }
        last = Some((high * factor, first));
    }
    Ok(())
}

fn pure(subject: &mut Subject) -> Found {
    let first = grids(subject)?;
    let (mut asked, mut other) = (subject.asked()?, subject.asked()?);
    for (n, sigmas) in first.iter().rev() {
        let again = subject.values(&mut asked, Question::Sigmas(*n))?;
        same_bits(&format!("n = {n}, the other way round"), sigmas, &again)?;
        let twice = subject.values(&mut asked, Question::Sigmas(*n))?;
        same_bits(&format!("n = {n}, at once again"), sigmas, &twice)?;
        let elsewhere = subject.values(&mut other, Question::Sigmas(*n))?;
        same_bits(&format!("n = {n}, in another instance"), sigmas, &elsewhere)?;
    }
    Ok(())
}

fn other_settings(subject: &mut Subject) -> Found {
    let (schema, base, mut random) = (subject.schema()?, subject.config()?, subject.random());
    for _ in 0..30 {
        let config = settings::valid(&schema, &base, &mut random);
        // Settings that only together make no sense may be refused; check-config is looked at elsewhere.
        let Ok(mut asked) = subject.asked_with(&config) else { continue };
        for n in [2, 10] {
            let within = |finding| match finding {
                Finding::Fail(message) => Finding::Fail(format!("with {}: {message}", shown(&config))),
                other => other,
            };
            let Some(sigmas) = subject.may_refuse(&mut asked, Question::Sigmas(n)).map_err(within)? else { continue };
            demand!(sigmas.len() == n as usize, "with {}: {} sigmas for n = {n}", shown(&config), sigmas.len());
            all_positive(n, &sigmas).map_err(within)?;
            all_decrease(n, &sigmas).map_err(within)?;
        }
    }
    Ok(())
}
