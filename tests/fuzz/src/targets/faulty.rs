//! Targets that do what none may, by which the watch is held to see it.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use super::target;
use crate::Target;

/// Each does its worst with inputs that begin with `!`.
pub const FAULTY: [Target; 5] = [
    target("faulty-panic", panics, 1 << 20, 1, 200),
    target("faulty-memory", hoards, 1 << 20, 1, 200),
    target("faulty-hang", hangs, 1 << 20, 1, 200),
    target("faulty-recursion", recurses, 1 << 20, 1, 200),
    target("faulty-silence", says_nothing, 1 << 20, 1, 200),
];

fn panics(data: &[u8]) {
    assert!(!data.starts_with(b"!"), "a faulty target");
}

fn hoards(data: &[u8]) {
    if data.starts_with(b"!") {
        black_box(vec![1_u8; 2 << 20]);
    }
}

fn hangs(data: &[u8]) {
    while data.starts_with(b"!") {
        thread::sleep(Duration::from_secs(1));
    }
}

fn recurses(data: &[u8]) {
    fn deeper(depth: u64) -> u64 {
        black_box([depth; 64])[0] + if black_box(true) { deeper(depth + 1) } else { 0 }
    }
    if data.starts_with(b"!") {
        black_box(deeper(0));
    }
}

fn says_nothing(data: &[u8]) {
    crate::files::said(if data.starts_with(b"!") { Err("") } else { Ok(()) });
}
