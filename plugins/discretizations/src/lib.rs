//! Grids of sigmas for sampling.

use plugin_api::wasm::{ddpm, prelude::*};

/// Equal steps in `sigma^(1/rho)` (Karras et al. 2022, equation 5).
#[derive(Config)]
#[config(check = Self::check)]
struct Edm {
    /// Smallest sigma.
    #[config(default = 0.002, exclusive_min = 0.0)]
    sigma_min: f64,
    /// Largest sigma.
    #[config(default = 80.0, exclusive_min = 0.0)]
    sigma_max: f64,
    /// Exponent: the higher, the more steps at small sigmas.
    #[config(default = 7.0, min = 0.1, max = 100.0)]
    rho: f64,
}

impl Edm {
    fn check(&self) -> Result<(), ConfigError> {
        if self.sigma_min < self.sigma_max {
            return Ok(());
        }
        let message = format!("sigma_max = {} must be above sigma_min = {}", self.sigma_max, self.sigma_min);
        Err(ConfigError::new("", message))
    }
}

impl Discretization for Edm {
    fn sigmas(&self, n: u32) -> Result<Vec<f64>> {
        let (high, low) = (self.sigma_max.powf(self.rho.recip()), self.sigma_min.powf(self.rho.recip()));
        let last = f64::from(n.max(2) - 1);
        Ok((0..n).map(|i| (high + f64::from(i) / last * (low - high)).powf(self.rho)).collect())
    }
}

/// The steps of a DDPM with betas linear in their square roots, as Stable Diffusion uses them.
#[derive(Config)]
#[config(check = Self::check)]
struct LegacyDdpm {
    /// First beta.
    #[config(default = 0.00085, exclusive_min = 0.0, exclusive_max = 1.0)]
    linear_start: f64,
    /// Last beta.
    #[config(default = 0.012, exclusive_min = 0.0, exclusive_max = 1.0)]
    linear_end: f64,
    /// Steps of the whole schedule; fewer sigmas are a subset.
    #[config(default = 1000, min = 1, max = 100_000)]
    num_timesteps: u32,
}

impl LegacyDdpm {
    fn check(&self) -> Result<(), ConfigError> {
        let all = ddpm::sigmas(self.num_timesteps, self.num_timesteps, self.linear_start, self.linear_end);
        // Sigmas become 32-bit numbers beside the latents.
        let finite = all.is_ok_and(|sigmas| sigmas.iter().all(|sigma| (*sigma as f32).is_finite()));
        if finite { Ok(()) } else { Err(ConfigError::new("", "these betas leave no signal: a sigma is not finite")) }
    }
}

impl Discretization for LegacyDdpm {
    fn sigmas(&self, n: u32) -> Result<Vec<f64>> {
        ddpm::sigmas(n, self.num_timesteps, self.linear_start, self.linear_end)
    }
}

/// The optimised grids of Sabour et al. 2024 (Align Your Steps), interpolated linearly in the logarithm of sigma.
#[derive(Config)]
struct AlignYourSteps {
    /// The family of models that the grid was optimised for.
    model: Family,
}

/// A family of models with a published grid.
#[derive(Config)]
enum Family {
    Sd15,
    Sdxl,
    Svd,
}

impl Family {
    /// The published grid of ten steps. Its last value is where the tenth step would end if not at zero.
    fn grid(&self) -> [f64; 11] {
        match self {
            Self::Sd15 => [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029],
            Self::Sdxl => [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029],
            Self::Svd => [700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002],
        }
    }
}

impl Discretization for AlignYourSteps {
    /// The first `n` of `n + 1` sigmas, for the last one becomes the final zero.
    fn sigmas(&self, n: u32) -> Result<Vec<f64>> {
        let grid = self.model.grid();
        Ok((0..n)
            .map(|i| {
                let at = f64::from(i) * (grid.len() - 1) as f64 / f64::from(n);
                let idx = at as usize;
                let weight = at - idx as f64;
                (grid[idx].ln() * (1.0 - weight) + grid[idx + 1].ln() * weight).exp()
            })
            .collect())
    }
}

export_plugin! { discretization "edm" => Edm, "legacy-ddpm" => LegacyDdpm, "align-your-steps" => AlignYourSteps }

#[cfg(test)]
mod tests {
    use plugin_api::wasm::build;
    use serde_json::{Value, json};

    use super::*;

    fn entry<D: Entry>(config: Value) -> Result<D> {
        build(config.as_object().unwrap())
    }

    fn assert_close(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() <= 1e-4 * expected, "{got} is not {expected}");
        }
    }

    #[test]
    fn edm_is_the_references() {
        let svd: Edm = entry(json!({ "sigma_max": 700 })).unwrap();
        assert_close(&svd.sigmas(5).unwrap(), &[700.0, 134.8545, 15.5900, 0.6781, 0.002]);
        let default: Edm = entry(json!({})).unwrap();
        let ten =
            [79.99998, 42.41518, 21.10867, 9.7232008, 4.066123, 1.5017415, 0.4699788, 0.1166385, 0.0204353, 0.002];
        assert_close(&default.sigmas(10).unwrap(), &ten);
        assert_close(&default.sigmas(1).unwrap(), &[80.0]);
    }

    #[test]
    fn edm_refuses_a_range_upside_down() {
        let error = entry::<Edm>(json!({ "sigma_min": 3, "sigma_max": 2 })).err().unwrap();
        assert_eq!(error.message, "sigma_max = 2 must be above sigma_min = 3");
    }

    #[test]
    fn legacy_ddpm_is_the_references() {
        let ddpm: LegacyDdpm = entry(json!({})).unwrap();
        assert_close(&ddpm.sigmas(5).unwrap(), &[14.61464, 5.08776, 2.27646, 1.16058, 0.56928]);
        assert_eq!(ddpm.sigmas(1001).unwrap_err().code, plugin_api::wasm::ErrorCode::Unsupported);
        assert!(entry::<LegacyDdpm>(json!({ "linear_end": 0.9999, "num_timesteps": 100_000 })).is_err());
    }

    #[test]
    fn align_your_steps_passes_through_the_published_grid() {
        let grid: AlignYourSteps = entry(json!({ "model": "svd" })).unwrap();
        assert_close(&grid.sigmas(10).unwrap(), &Family::Svd.grid()[..10]);
        // Twice the steps: every other one is the grid's, and those between are geometric means.
        let twenty = grid.sigmas(20).unwrap();
        assert_close(&twenty[..3], &[700.0, (700.0_f64 * 54.5).sqrt(), 54.5]);
        assert_close(&twenty[19..], &[(0.034_f64 * 0.002).sqrt()]);
        assert!(entry::<AlignYourSteps>(json!({})).is_err());
    }

    #[test]
    fn every_grid_decreases_strictly() {
        let grids: [Box<dyn Discretization>; 4] = [
            Box::new(entry::<Edm>(json!({})).unwrap()),
            Box::new(entry::<LegacyDdpm>(json!({})).unwrap()),
            Box::new(entry::<AlignYourSteps>(json!({ "model": "sdxl" })).unwrap()),
            Box::new(entry::<AlignYourSteps>(json!({ "model": "sd15" })).unwrap()),
        ];
        for grid in grids {
            for n in [1, 2, 3, 10, 50, 1000] {
                let sigmas = grid.sigmas(n).unwrap();
                assert_eq!(sigmas.len(), n as usize);
                assert!(sigmas.windows(2).all(|pair| pair[0] > pair[1]) && sigmas[n as usize - 1] > 0.0);
            }
        }
    }

    #[test]
    fn committed_schemas_are_those_of_the_settings() {
        PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
    }
}
