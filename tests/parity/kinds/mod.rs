//! How a case of each kind is built and run.

mod block;
mod network;
mod schedule;

use crate::case::{Case, Outputs};

/// Builds what the case describes, runs it, and returns its outputs.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let (family, name) = case.kind.split_once('.').unwrap_or((&case.kind, ""));
    match family {
        "block" if !name.starts_with("ae") => block::run(case),
        "network" => network::run(case),
        "scaling" | "weighting" | "discretization" | "sigma_sampling" | "lr" => schedule::run(case),
        _ => Err(format!("no case of kind `{}` is known", case.kind)),
    }
}
