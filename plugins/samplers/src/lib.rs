//! Solvers of the probability flow ODE and SDE. Each step is a linear combination of latents that the host holds.

mod ancestral;
mod churn;
mod edm;
mod multistep;

use ancestral::{Dpmpp2sAncestral, EulerAncestral};
use edm::{EulerEdm, HeunEdm};
use multistep::{Dpmpp2m, LinearMultistep};
use plugin_api::wasm::prelude::*;

export_plugin! {
    sampler
        "euler-edm" => EulerEdm,
        "heun-edm" => HeunEdm,
        "euler-ancestral" => EulerAncestral,
        "dpmpp-2s-ancestral" => Dpmpp2sAncestral,
        "dpmpp-2m" => Dpmpp2m,
        "linear-multistep" => LinearMultistep,
}

#[cfg(test)]
mod tests;
