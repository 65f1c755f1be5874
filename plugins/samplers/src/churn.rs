//! Noise added before a step (Karras et al. 2022, algorithm 2, lines 4 to 6).

use plugin_api::wasm::prelude::*;

/// How much noise is added, and where.
pub struct Churn {
    /// Total amount, spread over the steps.
    pub s_churn: f64,
    /// No noise below this sigma.
    pub s_tmin: f64,
    /// No noise above this sigma.
    pub s_tmax: f64,
    /// Standard deviation of the noise.
    pub s_noise: f64,
}

impl Churn {
    /// Raises `x` from the noise level of step `i` to a higher one, which is returned.
    pub fn raise(&self, x: &mut Latent, i: usize, sigmas: &[f64], run: &Run) -> Result<f64> {
        let sigma = sigmas[i];
        let num_steps = (sigmas.len() - 1) as f64;
        let gamma = (self.s_churn / num_steps).min(std::f64::consts::SQRT_2 - 1.0);
        if gamma <= 0.0 || sigma < self.s_tmin || sigma > self.s_tmax {
            return Ok(sigma);
        }
        let raised = sigma * (gamma + 1.0);
        let noise = run.gaussian()?;
        x.update(1.0, &[(self.s_noise * (raised * raised - sigma * sigma).sqrt(), &noise)])?;
        Ok(raised)
    }
}
