//! The solvers of Karras et al. 2022: Euler's method and Heun's, with optional churn.

use plugin_api::wasm::prelude::*;

use crate::churn::Churn;

/// Settings of the EDM solvers.
#[derive(Config)]
#[config(check = Self::check)]
pub struct EdmConfig {
    /// Amount of noise added over all steps; 0 makes the solver deterministic.
    #[config(default = 0.0, min = 0.0)]
    s_churn: f64,
    /// Noise is added at this sigma and above.
    #[config(default = 0.0, min = 0.0)]
    s_tmin: f64,
    /// Noise is added at this sigma and below; without it at every sigma.
    #[config(min = 0.0)]
    s_tmax: Option<f64>,
    /// Standard deviation of the added noise.
    #[config(default = 1.0, min = 0.0)]
    s_noise: f64,
}

impl EdmConfig {
    fn check(&self) -> Result<(), ConfigError> {
        match self.s_tmax {
            Some(s_tmax) if s_tmax < self.s_tmin => {
                Err(ConfigError::new("/s_tmax", format!("{s_tmax} is below s_tmin = {}", self.s_tmin)))
            }
            _ => Ok(()),
        }
    }

    fn churn(self) -> Churn {
        let s_tmax = self.s_tmax.unwrap_or(f64::INFINITY);
        Churn { s_churn: self.s_churn, s_tmin: self.s_tmin, s_tmax, s_noise: self.s_noise }
    }
}

/// Euler's method.
pub struct EulerEdm(Churn);

impl Entry for EulerEdm {
    type Config = EdmConfig;

    fn new(config: EdmConfig) -> Result<Self> {
        Ok(Self(config.churn()))
    }
}

impl Sampler for EulerEdm {
    fn estimate(&self, num_steps: u32) -> Cost {
        Cost { denoise_calls: num_steps, live_latents: 2, draws_noise: self.0.s_churn > 0.0 }
    }

    fn sample(&self, mut x: Latent, sigmas: &[f64], run: &Run) -> Result<Latent> {
        for i in 0..sigmas.len() - 1 {
            let sigma = self.0.raise(&mut x, i, sigmas, run)?;
            let denoised = x.denoise(sigma)?;
            // x + (x - denoised) / sigma * (next - sigma)
            let h = (sigmas[i + 1] - sigma) / sigma;
            x.update(1.0 + h, &[(-h, &denoised)])?;
            run.progress(i, sigmas)?;
        }
        Ok(x)
    }
}

/// Heun's method: Euler's step, and the mean of the slopes at its two ends. The step to sigma 0 is Euler's.
pub struct HeunEdm(Churn);

impl Entry for HeunEdm {
    type Config = EdmConfig;

    fn new(config: EdmConfig) -> Result<Self> {
        Ok(Self(config.churn()))
    }
}

impl Sampler for HeunEdm {
    fn estimate(&self, num_steps: u32) -> Cost {
        Cost { denoise_calls: (2 * num_steps).saturating_sub(1), live_latents: 4, draws_noise: self.0.s_churn > 0.0 }
    }

    fn sample(&self, mut x: Latent, sigmas: &[f64], run: &Run) -> Result<Latent> {
        for i in 0..sigmas.len() - 1 {
            let sigma = self.0.raise(&mut x, i, sigmas, run)?;
            let next = sigmas[i + 1];
            let denoised = x.denoise(sigma)?;
            let h = (next - sigma) / sigma;
            if next == 0.0 {
                x.update(1.0 + h, &[(-h, &denoised)])?;
            } else {
                let euler = Latent::lincomb(&[(1.0 + h, &x), (-h, &denoised)])?;
                let corrected = euler.denoise(next)?;
                let (a, b) = (h / 2.0, (next - sigma) / (2.0 * next));
                x.update(1.0 + a, &[(-a, &denoised), (b, &euler), (-b, &corrected)])?;
            }
            run.progress(i, sigmas)?;
        }
        Ok(x)
    }
}
