//! How a case of each kind is built and run.

mod autoencoder_block;
mod block;
mod conditioner;
mod denoiser;
mod ema;
mod embedder;
mod encoders;
mod engine;
mod first_stage;
mod frame_encoders;
mod guider;
mod loss;
mod model;
mod network;
mod recorded;
mod sampler;
mod schedule;

use crate::case::{Case, Outputs};

/// Builds what the case describes, runs it, and returns its outputs.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let (family, name) = case.kind.split_once('.').unwrap_or((&case.kind, ""));
    match family {
        "block" if !name.starts_with("ae") => block::run(case),
        "network" => network::run(case),
        "scaling" | "weighting" | "discretization" | "sigma_sampling" | "lr" => schedule::run(case),
        "block" => autoencoder_block::run(case),
        "first_stage" => first_stage::run(case),
        "denoiser" => denoiser::run(case),
        "sampler" => sampler::run(case),
        "guider" => guider::run(case),
        "conditioner" => conditioner::run(case),
        "embedder" => embedder::run(case),
        "ema" => ema::run(case),
        "loss" => loss::run(case),
        "engine_train" => engine::train(case),
        "engine_sample" => engine::sample(case),
        _ => Err(format!("no case of kind `{}` is known", case.kind)),
    }
}
