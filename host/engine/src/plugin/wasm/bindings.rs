//! Bindings of the WIT files, generated when the host is compiled.

#![allow(missing_docs)]

/// A latent in a component's hands: its number in the session that samples.
pub struct LatentId;

/// The noise of a session in a component's hands.
pub struct NoiseId;

wasmtime::component::bindgen!({
    path: "../../plugin-api/wit/v1",
    inline: "
        package anneal:host;
        world every-kind {
            include anneal:plugin/discretization-plugin@1.0.0;
            include anneal:plugin/sigma-sampling-plugin@1.0.0;
            include anneal:plugin/guidance-plugin@1.0.0;
            include anneal:plugin/learning-rate-plugin@1.0.0;
            include anneal:plugin/weighting-plugin@1.0.0;
            include anneal:plugin/sampler-plugin@1.0.0;
        }
    ",
    world: "anneal:host/every-kind",
    imports: { default: trappable },
    with: {
        "anneal:plugin/tensors.latent": LatentId,
        "anneal:plugin/tensors.noise": NoiseId,
    },
});

pub use anneal::plugin::types::{ErrorCode as WireCode, PluginError};
pub use exports::anneal::plugin as guest;
