//! {{description}}.

use plugin_api::wasm::prelude::*;

/// Equal steps in `sigma^(1/rho)` (Karras et al. 2022, equation 5).
#[derive(Config)]
#[config(check = Self::check)]
struct Settings {
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

impl Settings {
    fn check(&self) -> Result<(), ConfigError> {
        if self.sigma_min < self.sigma_max {
            return Ok(());
        }
        Err(ConfigError::new("/sigma_max", format!("{} is not above sigma_min", self.sigma_max)))
    }
}

impl Discretization for Settings {
    fn sigmas(&self, n: u32) -> Result<Vec<f64>> {
        let (high, low) = (self.sigma_max.powf(self.rho.recip()), self.sigma_min.powf(self.rho.recip()));
        let last = f64::from(n.max(2) - 1);
        Ok((0..n).map(|i| (high + f64::from(i) / last * (low - high)).powf(self.rho)).collect())
    }
}

export_plugin! { discretization "{{entry}}" => Settings }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_files_are_those_of_the_settings() {
        PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
    }

    #[test]
    fn the_grid_goes_from_the_largest_sigma_to_the_smallest() {
        let sigmas = Settings { sigma_min: 0.01, sigma_max: 10.0, rho: 3.0 }.sigmas(5).unwrap();
        assert!((sigmas[0] - 10.0).abs() < 1e-9 && (sigmas[4] - 0.01).abs() < 1e-9, "{sigmas:?}");
        assert!(sigmas.is_sorted_by(|a, b| a > b));
    }
}
