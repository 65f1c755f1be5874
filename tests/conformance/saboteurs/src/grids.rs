//! Grids that are none.

use plugin_api::wasm::prelude::*;

use crate::misfits::{calls, eat_memory, loop_for_ever, recurse};

/// What a grid should be: from 80 down to 0.02.
pub fn grid(n: u32) -> Vec<f64> {
    let last = f64::from(n.max(2) - 1);
    (0..n).map(|i| 80.0 * (0.02_f64 / 80.0).powf(f64::from(i) / last)).collect()
}

/// Grids without settings.
macro_rules! grids {
    ($($(#[$about:meta])* $name:ident |$n:ident| $sigmas:expr;)+) => {$(
        $(#[$about])*
        #[derive(Config)]
        pub struct $name {}

        impl Discretization for $name {
            fn sigmas(&self, $n: u32) -> Result<Vec<f64>> {
                Ok($sigmas)
            }
        }
    )+};
}

grids! {
    /// Breaks nothing.
    GoodGrid |n| grid(n);
    /// One sigma less than asked for.
    OneTooFew |n| grid(n).into_iter().skip(1).collect();
    /// A sigma that is no number.
    NotANumber |n| grid(n).into_iter().enumerate().map(|(i, sigma)| if i == 1 { f64::NAN } else { sigma }).collect();
    /// The last sigma is below zero.
    BelowZero |n| grid(n).into_iter().map(|sigma| sigma - 0.03).collect();
    /// From low to high.
    Rising |n| grid(n).into_iter().rev().collect();
    /// Sigmas that differ in 64 bits alone.
    FlatIn32Bits |n| (0..n).map(|i| 2.0 - f64::from(i) * 1e-12).collect();
    /// Does not expect that nothing is asked for.
    PanicsAtNone |n| { let sigmas = grid(n); assert!(sigmas[0] > 0.0); sigmas };
    /// Takes memory by the square of what is asked for.
    EatsMemoryAtMany |n| { if n > 10_000 { eat_memory(); } grid(n) };
    /// A grid that depends on how often it was asked for.
    CountsItsCalls |n| { let raised = 1.0 + calls() as f64 * 1e-9; grid(n).into_iter().map(|sigma| sigma * raised).collect() };
    /// Computes for ever.
    Loops |n| { loop_for_ever(); grid(n) };
    /// Panics with a message.
    Panics |n| { assert!(n == u32::MAX, "told to panic at n = {n}"); grid(n) };
    /// Takes all memory there is.
    EatsMemory |n| { eat_memory(); grid(n) };
    /// Fills the stack.
    Recurses |n| { let deep = recurse(0); grid(n).into_iter().map(|sigma| sigma + deep * 0.0).collect() };
    /// Logs without an end.
    FloodsTheLog |n| { for i in 0..10_000_000_u32 { log::write(log::Level::Info, &format!("line {i}")); } grid(n) };
    /// Ten million numbers, whatever is asked for.
    AnswersTooMuch |_n| grid(10_000_000);
    /// Keeps a little of each call for ever.
    Leaks |n| { std::mem::forget(std::hint::black_box(vec![1_u8; 4096])); grid(n) };
}

/// Grids whose start fails.
macro_rules! starts {
    ($($(#[$about:meta])* $name:ident $settings:ident $start:expr;)+) => {$(
        $(#[$about])*
        pub struct $name;

        #[doc = concat!("Settings of `", stringify!($name), "`.")]
        #[derive(Config)]
        pub struct $settings {}

        impl Entry for $name {
            type Config = $settings;

            fn new(_: $settings) -> Result<Self> {
                $start
            }
        }

        impl Discretization for $name {
            fn sigmas(&self, n: u32) -> Result<Vec<f64>> {
                Ok(grid(n))
            }
        }
    )+};
}

starts! {
    /// Its start takes for ever.
    InitLoops InitLoopsSettings { loop_for_ever(); Ok(Self) };
    /// Its start panics.
    InitPanics InitPanicsSettings panic!("told to panic in init");
    /// Refuses its own defaults.
    InitRefuses InitRefusesSettings Err(Error::invalid_config("", "told to refuse"));
}

/// Does not end where its settings say.
#[derive(Config)]
pub struct WrongEnds {
    /// The lowest sigma.
    #[config(default = 0.002, exclusive_min = 0.0, max = 0.01)]
    sigma_min: f64,
    /// The highest sigma.
    #[config(default = 80.0, min = 1.0, max = 1000.0)]
    sigma_max: f64,
}

impl Discretization for WrongEnds {
    fn sigmas(&self, n: u32) -> Result<Vec<f64>> {
        let last = f64::from(n.max(2));
        Ok((0..n).map(|i| self.sigma_max * (self.sigma_min / self.sigma_max).powf(f64::from(i) / last)).collect())
    }
}

/// Right with its default alone.
#[derive(Config)]
pub struct BreaksWithOtherSettings {
    /// The exponent.
    #[config(default = 7.0, min = 1.0, max = 10.0)]
    rho: f64,
}

impl Discretization for BreaksWithOtherSettings {
    fn sigmas(&self, n: u32) -> Result<Vec<f64>> {
        Ok(grid(n).into_iter().map(|sigma| if self.rho < 5.0 { -sigma } else { sigma }).collect())
    }
}
