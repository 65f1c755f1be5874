//! What saboteurs misbehave with.

use std::cell::Cell;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// How often it was called in this instance, this call included.
pub fn calls() -> u64 {
    CALLS.with(|calls| {
        calls.set(calls.get() + 1);
        calls.get()
    })
}

/// Takes memory until there is none.
pub fn eat_memory() -> f64 {
    let mut kept: Vec<Vec<f64>> = Vec::new();
    loop {
        kept.push(vec![1.0; 1 << 17]);
        if kept.len() > 1 << 24 {
            return kept.iter().map(|page| page[0]).sum();
        }
    }
}

/// Computes until it is stopped.
pub fn loop_for_ever() -> f64 {
    let mut sum = 1.0_f64;
    while sum.is_finite() {
        sum = (sum + 1.0).sin();
    }
    sum
}

/// Calls itself until the stack is full.
pub fn recurse(depth: u64) -> f64 {
    let here = [depth as f64; 64];
    if depth == u64::MAX { 0.0 } else { here[(depth % 64) as usize] + recurse(depth + 1) }
}
