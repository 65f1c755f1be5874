//! Native entries again and again: the same bits, in other processes and threads, with nothing left behind.

use std::time::{Duration, Instant};

use anneal::plugin::TorchLink;
use anneal::plugin::native::probe;
use anneal_torch::memory;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use super::embedder::{embed, same};
use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::process_state::ProcessState;
use crate::subject::Subject;
use crate::trial::{Batch, Trial, values};
use crate::work::transcript_elsewhere;

/// Memory that a call may leave behind, bytes: less than a tensor's, more than what the allocator keeps for itself.
const LEFT_MAX: f64 = 256.0;
/// What malloc's own count may grow by in a tenth of the calls, bytes: its caches fill and slivers of blocks are given
/// with them, in the first thousand calls or so, however few bytes a call leaves (up to 5 KiB were seen).
const DRIFT_MAX: f64 = 8192.0;
/// Time for calls that look for leaks.
const LEAK_TIME: Duration = Duration::from_secs(10);
/// Scenes of such a call: many, so that what is left of each is seen, or few where hundreds of calls would last longer.
const LEAK_SCENES: [u64; 2] = [32, 4];

pub const CHECKS: &[Check] = &[
    Check::new(
        "E15",
        "two-processes",
        Level::L2,
        Scope::Native,
        "Two processes declare the same parameters and give the same bits for the same calls.",
        two_processes,
    ),
    Check::new(
        "E16",
        "generators-are-left-alone",
        Level::L2,
        Scope::Native,
        "libtorch's random generator is after a call where it was before, and has no influence on results.",
        generators,
    ),
    Check::new(
        "E18",
        "process-is-left-alone",
        Level::L1,
        Scope::Native,
        "After calls grad mode, threads, processes, open files, environment, working directory, signal handlers, umask, rounding and \
         libtorch's default kind are as they were.",
        process_state,
    ),
    Check::new(
        "E22",
        "nothing-is-left-behind",
        Level::L2,
        Scope::Native,
        "Hundreds of calls leave no handle and less than 256 bytes of memory each behind.",
        leaks,
    ),
    Check::new(
        "E23",
        "two-instances-in-two-threads",
        Level::L2,
        Scope::Native,
        "Two instances give, called at the same time in two threads, what each gives alone.",
        two_threads,
    ),
];

/// The hash of what an entry declares and of what comes of some calls.
pub fn transcript(subject: &mut Subject) -> Result<String, Finding> {
    let trial = subject.trial(Kind::Float, true)?;
    let mut hash = Sha256::new();
    for decl in trial.embedder.params() {
        hash.update(format!("{decl:?}"));
    }
    for first in 0..8 {
        for output in embed(subject, &trial, &trial.batch(&[first, first + 3, first + 9]))? {
            hash.update(format!("{:?} {:?}", output.slot, output.tensor.size()));
            values(&output.tensor).iter().for_each(|value| hash.update(value.to_bits().to_le_bytes()));
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn two_processes(subject: &mut Subject) -> Found {
    let here = transcript(subject)?;
    subject.trace("the same in another process");
    let there = transcript_elsewhere(subject)?;
    demand!(here == there, "what is declared and computed differs between two processes: {here} and {there}");
    Ok(())
}

fn generators(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, true)?;
    let batch = trial.batch(&[1, 2, 3]);
    let draw = || Tensor::rand([8], (Kind::Double, Device::Cpu));
    tch::manual_seed(11);
    let undisturbed = values(&draw());
    let forward = |seed: i64, training: bool| {
        tch::manual_seed(seed);
        subject.trace(format!("forward, training: {training}"));
        trial.embed_with(&batch, &trial.params, training).map_err(|error| Finding::fail(error.to_string()))
    };
    let first = forward(11, false)?;
    demand!(values(&draw()) == undisturbed, "a call in sampling draws from libtorch's generator");
    forward(11, true)?;
    demand!(values(&draw()) == undisturbed, "a call in training draws from libtorch's generator");
    same("calls with libtorch's generator seeded differently", &first, &forward(12, false)?, 0.0)
}

fn process_state(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, true)?;
    let batch = trial.batch(&[1, 2, 3]);
    probe::take_left_changed();
    let before = ProcessState::now();
    for training in [true, false, true] {
        subject.trace(format!("forward, training: {training}"));
        let outputs = trial.embed_with(&batch, &trial.params, training);
        outputs.map_err(|error| Finding::fail(error.to_string()))?;
    }
    // These the host sets right itself, so the state is as it was.
    let left = probe::take_left_changed();
    demand!(left.is_empty(), "forward left {} changed", left[0]);
    match before.change(&ProcessState::now()) {
        Some(change) => Err(Finding::fail(format!("forward changed {change}"))),
        None => Ok(()),
    }
}

fn leaks(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, true)?;
    subject.trace("calls that look for leaks");
    let enough = (DRIFT_MAX / LEFT_MAX) as usize;
    let [many, few] = LEAK_SCENES.map(|scenes| trial.batch(&(0..scenes).collect::<Vec<_>>()));
    let mut batch = many;
    let mut block = calls_in_a_tenth(&trial, &batch)?;
    if block < enough {
        batch = few;
        block = calls_in_a_tenth(&trial, &batch)?;
    }
    call(&trial, &batch, 2 * block)?;
    let handles = probe::live_handles();
    let mut held = vec![memory::allocated() as f64];
    for _ in 0..8 {
        call(&trial, &batch, block)?;
        held.push(memory::allocated() as f64);
    }
    // A plugin with a libtorch of its own makes handles that the host does not see.
    if *subject.plugin()?.torch() == TorchLink::None {
        let left = probe::live_handles() - handles;
        demand!(left == 0, "after {} calls {left} handles more are held than before", 8 * block);
    }
    let growth = typical_growth(&held);
    let each = growth / block as f64;
    demand!(growth < DRIFT_MAX || each < LEFT_MAX, "each call leaves {each:.0} bytes behind");
    Ok(())
}

fn call(trial: &Trial, batch: &Batch, count: usize) -> Result<(), Finding> {
    (0..count).try_for_each(|_| trial.embed(batch).map(drop).map_err(|error| Finding::fail(error.to_string())))
}

/// How many calls a tenth of the time for leaks is enough for, after some that warm up.
fn calls_in_a_tenth(trial: &Trial, batch: &Batch) -> Result<usize, Finding> {
    call(trial, batch, 5)?;
    let start = Instant::now();
    call(trial, batch, 20)?;
    let each = start.elapsed().as_secs_f64() / 20.0;
    Ok(((LEAK_TIME.as_secs_f64() / each / 10.0) as usize).clamp(5, 300))
}

/// The median of what comes from one value to the next: a jump or two do not count.
fn typical_growth(values: &[f64]) -> f64 {
    let mut growth: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
    growth.sort_by(f64::total_cmp);
    growth[growth.len() / 2]
}

fn two_threads(subject: &mut Subject) -> Found {
    let (one, other) = (subject.trial(Kind::Float, false)?, subject.trial(Kind::Float, false)?);
    let scenes = [[1, 2, 3], [7, 8, 9]];
    let alone = [embed(subject, &one, &one.batch(&scenes[0]))?, embed(subject, &other, &other.batch(&scenes[1]))?];
    subject.trace("two instances in two threads");
    let run = |trial: Trial, scenes: [u64; 3]| -> Result<Vec<_>, String> {
        let batch = trial.batch(&scenes);
        (0..20).map(|_| trial.embed(&batch).map_err(|error| error.to_string())).collect()
    };
    let both = std::thread::scope(|scope| {
        let threads = [scope.spawn(|| run(one, scenes[0])), scope.spawn(|| run(other, scenes[1]))];
        threads.map(|thread| thread.join().unwrap_or_else(|_| Err("its thread panicked".to_owned())))
    });
    for (alone, results) in alone.iter().zip(both) {
        for result in results.map_err(Finding::Fail)? {
            same("an instance alone and beside another", alone, &result, 0.0)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_no_growth() {
        for at in 1..9 {
            let values: Vec<f64> = (0..9).map(|i| if i < at { 0.0 } else { 9e9 }).collect();
            assert_eq!(typical_growth(&values), 0.0);
        }
        assert_eq!(typical_growth(&[0.0, 2.0, 4.0, 6.0, 8.0]), 2.0);
    }
}
