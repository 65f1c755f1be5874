//! {{description}}.

use plugin_api::wasm::prelude::*;

/// Euler's method with ancestral noise.
#[derive(Config)]
struct Settings {
    /// Share of the noise that is replaced in a step; 0 makes the solver deterministic.
    #[config(default = 1.0, min = 0.0, max = 1.0)]
    eta: f64,
}

impl Sampler for Settings {
    /// Upper bounds of a run, which the host enforces.
    fn estimate(&self, num_steps: u32) -> Cost {
        Cost { denoise_calls: num_steps, live_latents: 2, draws_noise: self.eta > 0.0 }
    }

    fn sample(&self, mut x: Latent, sigmas: &[f64], run: &Run) -> Result<Latent> {
        for i in 0..sigmas.len() - 1 {
            let (sigma, next) = (sigmas[i], sigmas[i + 1]);
            // The step ends below `next`, and noise of standard deviation `up` leads back up to it.
            let (sigma2, next2) = (sigma * sigma, next * next);
            let up = next.min(self.eta * (next2 * (sigma2 - next2) / sigma2).sqrt());
            let down = (next2 - up * up).sqrt();
            // x + (x - denoised) / sigma * (down - sigma)
            let h = (down - sigma) / sigma;
            let denoised = x.denoise(sigma)?;
            x.update(1.0 + h, &[(-h, &denoised)])?;
            drop(denoised);
            if up > 0.0 {
                let noise = run.gaussian()?;
                x.update(1.0, &[(up, &noise)])?;
            }
            run.progress(i, sigmas)?;
        }
        Ok(x)
    }
}

export_plugin! { sampler "{{entry}}" => Settings }

#[cfg(test)]
mod tests {
    use plugin_api::wasm::testing::Host;

    use super::*;

    #[test]
    fn the_schema_files_are_those_of_the_settings() {
        PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
    }

    #[test]
    fn a_model_that_knows_the_answer_is_followed_to_it() {
        let sigmas = [4.0, 2.0, 1.0, 0.0];
        let exact = Host::new(|x, _| vec![3.0; x.len()]);
        let outcome = exact.sample(&Settings { eta: 0.0 }, vec![9.0, -5.0], &sigmas).unwrap();
        assert_eq!((outcome.values, outcome.draws), (vec![3.0, 3.0], 0));
        let noisy = Host::new(|x, _| vec![3.0; x.len()]).with_noise([vec![1.0], vec![1.0]]);
        let outcome = noisy.sample(&Settings { eta: 1.0 }, vec![9.0], &sigmas).unwrap();
        assert_eq!((outcome.values, outcome.draws), (vec![3.0], 2));
    }
}
