//! Repetition: the same again, in another process, for long, with little memory.

use anneal::config::PluginKind as Kind;
use anneal::plugin::wasm::{Asked, NoAnswer, Question};

use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::subject::{Subject, said};
use crate::work::transcript_elsewhere;

pub const CHECKS: &[Check] = &[
    Check::new(
        "R01",
        "two-processes",
        Level::L2,
        Scope::Numbers,
        "Two processes give the same bits for the same 200 calls.",
        two_processes,
    ),
    Check::new(
        "R02",
        "two-machines",
        Level::L2,
        Scope::Settings,
        "The same calls give what they gave on the machine whose transcript the manifest's first example holds.",
        two_machines,
    )
    .advisory(),
    Check::new(
        "R03",
        "same-fuel",
        Level::L2,
        Scope::Numbers,
        "The same calls of two fresh instances take the same fuel, so that limits hold on every machine alike.",
        same_fuel,
    ),
    Check::new(
        "R04",
        "little-memory",
        Level::L3,
        Scope::Numbers,
        "With hardly more memory than it starts with, the plugin answers rightly or is stopped: it never answers wrongly.",
        little_memory,
    ),
    Check::new(
        "R05",
        "long-run",
        Level::L2,
        Scope::Numbers,
        "After 20,000 calls the answers are the same, and memory is no more than after the first 2,000.",
        long_run,
    ),
    Check::new(
        "R06",
        "as-new-after-a-trap",
        Level::L3,
        Scope::Numbers,
        "After an instance was stopped in the middle of a call, for memory or for what it was asked, a fresh one answers as \
         one that was never stopped.",
        as_new_after_a_trap,
    ),
];

fn as_new_after_a_trap(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    let wanted = numbers(subject, &mut asked, 20)?;
    let (component, config, name, kind) = (subject.component()?, subject.config()?, subject.name(), subject.kind());
    let many: Vec<f64> = (0..200_000).map(|i| 0.001 + f64::from(i) * 1e-6).collect();
    let question = match kind {
        Kind::Discretization => Question::Sigmas(200_000),
        Kind::SigmaSampling => Question::Sample(&many),
        Kind::Weighting => Question::Weights(&many),
        Kind::Guidance => Question::Scales { sigmas: &many, num_frames: 8, num_views: 1 },
        _ => Question::Factors { first: 0, count: 200_000 },
    };
    for mib in [1, 2, 4] {
        subject.trace(format!("more than fits into {mib} MiB"));
        // Whether it stops or answers, the next must not know of it.
        if let Ok(mut poor) = component.clone().with_memory_mib(mib).asked(kind, &name, &config) {
            let _ = poor.ask(question);
        }
        let mut fresh = subject.asked()?;
        demand!(numbers(subject, &mut fresh, 20)? == wanted, "a fresh instance gives other answers than the first");
    }
    Ok(())
}

/// The answers to so many rounds of questions, as bits.
pub fn numbers(subject: &Subject, asked: &mut Asked, rounds: u32) -> Result<Vec<u64>, Finding> {
    let mut bits = Vec::new();
    for round in 0..rounds {
        let values = one_round(subject.kind(), round, &mut |question| {
            asked.ask(question).map(|answer| answer.values).map_err(|problem| Finding::fail(said(&problem)))
        })?;
        bits.extend(values.into_iter().map(f64::to_bits));
    }
    Ok(bits)
}

/// A question that depends on the round, as a run might put it.
fn one_round<R>(kind: Kind, round: u32, ask: &mut dyn FnMut(Question<'_>) -> Result<R, Finding>) -> Result<R, Finding> {
    let part = f64::from(round % 97) / 97.0;
    let draws = [0.01 + 0.9 * part, 0.5, 0.99 - 0.9 * part];
    let sigmas = [0.01 + part, 1.0 + part, 50.0 * (1.0 + part)];
    match kind {
        Kind::Discretization => ask(Question::Sigmas(2 + round % 40)),
        Kind::SigmaSampling => ask(Question::Sample(&draws)),
        Kind::Weighting => ask(Question::Weights(&sigmas)),
        Kind::Guidance => ask(Question::Scales { sigmas: &sigmas, num_frames: 1 + round % 8, num_views: 1 }),
        Kind::LearningRate => ask(Question::Factors { first: u64::from(round) * 37, count: 8 }),
        Kind::Sampler | Kind::Embedder => Err(Finding::NotDeclared("it does not answer with numbers".to_owned())),
    }
}

fn two_processes(subject: &mut Subject) -> Found {
    let here = transcript(subject)?;
    subject.trace("the same in another process");
    let there = transcript_elsewhere(subject)?;
    demand!(here == there, "the answers to 200 calls differ between two processes: {here} and {there}");
    Ok(())
}

fn two_machines(subject: &mut Subject) -> Found {
    let recorded = subject.entry()?.examples().first().and_then(|example| example.transcript.clone());
    let here = super::transcript(subject)?;
    match recorded {
        None => Err(Finding::NotDeclared(format!("the manifest holds no transcript; here it is {here}"))),
        Some(recorded) => {
            demand!(here == recorded, "the transcript is {here} here, and {recorded} in the manifest");
            Ok(())
        }
    }
}

/// The hash of 200 answers.
pub fn transcript(subject: &mut Subject) -> Result<String, Finding> {
    use sha2::{Digest, Sha256};
    let mut asked = subject.asked()?;
    let mut hash = Sha256::new();
    for bits in numbers(subject, &mut asked, 200)? {
        hash.update(bits.to_le_bytes());
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn same_fuel(subject: &mut Subject) -> Found {
    let fuel = |subject: &mut Subject| -> Result<Vec<u64>, Finding> {
        let mut asked = subject.asked()?;
        (0..50)
            .map(|round| {
                one_round(subject.kind(), round, &mut |question| Ok(subject.answer(&mut asked, question)?.cost.fuel))
            })
            .collect()
    };
    let (one, other) = (fuel(subject)?, fuel(subject)?);
    let differs = one.iter().zip(&other).position(|(a, b)| a != b);
    match differs {
        Some(at) => Err(Finding::fail(format!("call {at} took {} units of fuel once and {} then", one[at], other[at]))),
        None => Ok(()),
    }
}

fn little_memory(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    let wanted = numbers(subject, &mut asked, 20)?;
    let (component, config, name, kind) = (subject.component()?, subject.config()?, subject.name(), subject.kind());
    for mib in [1, 2, 4] {
        subject.trace(format!("with {mib} MiB of memory"));
        let Ok(mut poor) = component.clone().with_memory_mib(mib).asked(kind, &name, &config) else { continue };
        let mut got = Vec::new();
        for round in 0..20 {
            let answer = one_round(kind, round, &mut |question| match poor.ask(question) {
                Ok(answer) => Ok(Some(answer.values)),
                Err(NoAnswer::Stopped(_) | NoAnswer::Refused(_)) => Ok(None),
            })?;
            let Some(values) = answer else { break };
            got.extend(values.into_iter().map(f64::to_bits));
        }
        demand!(wanted.starts_with(&got), "with {mib} MiB of memory it gives other numbers");
    }
    Ok(())
}

fn long_run(subject: &mut Subject) -> Found {
    let mut asked = subject.asked()?;
    let first = numbers(subject, &mut asked, 97)?;
    let mut memory = 0;
    for round in 0..20_000 {
        let cost = one_round(subject.kind(), round, &mut |question| {
            asked
                .ask(question)
                .map(|answer| answer.cost)
                .map_err(|problem| Finding::fail(format!("call {round}: {}", said(&problem))))
        })?;
        if round == 2000 {
            memory = cost.memory;
        }
        let now = cost.memory;
        demand!(round <= 2000 || now <= memory, "{memory} bytes after 2000 calls, {now} after {round}");
    }
    demand!(numbers(subject, &mut asked, 97)? == first, "the answers are no longer what they were");
    Ok(())
}
