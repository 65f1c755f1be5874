//! `uncertainty`: every noise level as a task of its own, whose weight is learned.

use std::f64::consts::{PI, SQRT_2};

use plugin_api::native::prelude::*;

/// The loss becomes `weight / exp(u) * distance + u`, with EDM's weight and a learned `u` of sigma (Karras et al. 2024,
/// equation 14, after Kendall et al. 2018): the model gives most to the noise levels that it knows best, and the gradient is
/// as large at all of them. `u` starts at 0, where the loss is that of `edm`.
#[derive(Config)]
pub struct Settings {
    /// Standard deviation of clean latents.
    #[config(default = 0.5, exclusive_min = 0.0)]
    pub sigma_data: f64,
    /// Random Fourier features of `ln(sigma) / 4` that `u` is a linear function of.
    #[config(default = 128, min = 1, max = 4096)]
    pub channels: i64,
}

/// A linear function of random Fourier features, as `u` of EDM2, without the scaling of its weights.
pub struct Uncertainty {
    sigma_data: f64,
    frequencies: Param,
    phases: Param,
    weight: Param,
}

impl Weighting for Uncertainty {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let channels = [settings.channels];
        Ok(Self {
            sigma_data: settings.sigma_data,
            frequencies: params.buffer("fourier.freqs", &channels, Init::Normal { std: 2.0 * PI }),
            phases: params.buffer("fourier.phases", &channels, Init::Uniform { bound: PI }),
            weight: params.declare("linear.weight", &[1, settings.channels], Init::Zeros),
        })
    }

    /// # Shapes
    /// - `sigmas`: `[n]`
    /// - weights, offsets: `[n]`
    fn weigh(&self, call: &Call, sigmas: &Tensor) -> Result<Weighed> {
        let u = self.uncertainty(call, sigmas)?;
        // (sigma^2 + sigma_data^2) / (sigma * sigma_data)^2
        let edm = op::add_scalar(&op::pow(sigmas, -2.0)?, self.sigma_data.powi(-2))?;
        let weights = op::mul(&edm, &op::exp(&op::neg(&u)?)?)?;
        Ok(Weighed::weights(weights).with_offsets(u))
    }
}

impl Uncertainty {
    /// `u`, `[n]`.
    fn uncertainty(&self, call: &Call, sigmas: &Tensor) -> Result<Tensor> {
        let noise = op::unsqueeze(&op::mul_scalar(&op::log(sigmas)?, 0.25)?, 1)?;
        let angles = op::add(&op::mul(&noise, call.param(self.frequencies))?, call.param(self.phases))?;
        let features = op::mul_scalar(&op::cos(&angles)?, SQRT_2)?;
        op::squeeze(&op::linear(&features, call.param(self.weight), None)?, 1)
    }
}
