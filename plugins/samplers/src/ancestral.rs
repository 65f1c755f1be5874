//! Ancestral solvers: a deterministic step below the next sigma, and noise back up to it.

use plugin_api::wasm::prelude::*;

/// Settings of the ancestral solvers.
#[derive(Config)]
pub struct Ancestral {
    /// Share of the noise that is replaced in a step; 0 makes the solver deterministic.
    #[config(default = 1.0, min = 0.0, max = 1.0)]
    eta: f64,
    /// Standard deviation of the added noise.
    #[config(default = 1.0, min = 0.0)]
    s_noise: f64,
}

impl Ancestral {
    /// Where the deterministic step ends, and the standard deviation of the noise from there to `next`.
    fn split(&self, sigma: f64, next: f64) -> (f64, f64) {
        let (sigma2, next2) = (sigma * sigma, next * next);
        let up = next.min(self.eta * (next2 * (sigma2 - next2) / sigma2).sqrt());
        ((next2 - up * up).sqrt(), up)
    }

    /// Draws on every step that has noise, also on the last, whose draw is dropped: so a seed gives the same sample as
    /// in the reference.
    fn renoise(&self, x: &mut Latent, next: f64, up: f64, run: &Run) -> Result<()> {
        if self.eta == 0.0 {
            return Ok(());
        }
        let noise = run.gaussian()?;
        if next > 0.0 {
            x.update(1.0, &[(self.s_noise * up, &noise)])?;
        }
        Ok(())
    }
}

/// Euler's method with ancestral noise.
pub struct EulerAncestral(Ancestral);

impl Entry for EulerAncestral {
    type Config = Ancestral;

    fn new(config: Ancestral) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Sampler for EulerAncestral {
    fn estimate(&self, num_steps: u32) -> Cost {
        Cost { denoise_calls: num_steps, live_latents: 2, draws_noise: self.0.eta > 0.0 }
    }

    fn sample(&self, mut x: Latent, sigmas: &[f64], run: &Run) -> Result<Latent> {
        for i in 0..sigmas.len() - 1 {
            let (down, up) = self.0.split(sigmas[i], sigmas[i + 1]);
            euler(&mut x, sigmas[i], down)?;
            self.0.renoise(&mut x, sigmas[i + 1], up, run)?;
            run.progress(i, sigmas)?;
        }
        Ok(x)
    }
}

/// One step of Euler's method.
fn euler(x: &mut Latent, sigma: f64, next: f64) -> Result<()> {
    let denoised = x.denoise(sigma)?;
    let h = (next - sigma) / sigma;
    x.update(1.0 + h, &[(-h, &denoised)])
}

/// DPM-Solver++(2S) (Lu et al. 2022, algorithm 1) with ancestral noise.
pub struct Dpmpp2sAncestral(Ancestral);

impl Entry for Dpmpp2sAncestral {
    type Config = Ancestral;

    fn new(config: Ancestral) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Sampler for Dpmpp2sAncestral {
    fn estimate(&self, num_steps: u32) -> Cost {
        Cost { denoise_calls: (2 * num_steps).saturating_sub(1), live_latents: 3, draws_noise: self.0.eta > 0.0 }
    }

    fn sample(&self, mut x: Latent, sigmas: &[f64], run: &Run) -> Result<Latent> {
        for i in 0..sigmas.len() - 1 {
            let sigma = sigmas[i];
            let (down, up) = self.0.split(sigma, sigmas[i + 1]);
            if down == 0.0 {
                euler(&mut x, sigma, 0.0)?;
            } else {
                // In t = -ln(sigma) the step has length h, and its midpoint is the geometric mean of its ends.
                let h = (sigma / down).ln();
                let middle = (sigma * down).sqrt();
                let halfway = {
                    let denoised = x.denoise(sigma)?;
                    Latent::lincomb(&[(middle / sigma, &x), (-(-0.5 * h).exp_m1(), &denoised)])?
                };
                let denoised = halfway.denoise(middle)?;
                x.update(down / sigma, &[(-(-h).exp_m1(), &denoised)])?;
            }
            self.0.renoise(&mut x, sigmas[i + 1], up, run)?;
            run.progress(i, sigmas)?;
        }
        Ok(x)
    }
}
