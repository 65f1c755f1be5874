//! How a case of each kind is built and run.

mod schedule;

use crate::case::{Case, Outputs};

/// Builds what the case describes, runs it, and returns its outputs.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let (family, _) = case.kind.split_once('.').unwrap_or((&case.kind, ""));
    match family {
        "scaling" | "weighting" | "discretization" | "sigma_sampling" | "lr" => schedule::run(case),
        _ => Err(format!("no case of kind `{}` is known", case.kind)),
    }
}
