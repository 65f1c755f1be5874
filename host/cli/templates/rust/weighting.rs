//! {{description}}.

use plugin_api::wasm::prelude::*;

/// `min(1 / sigma^2, gamma)`: the weight of the noise's squared error, clamped at small sigmas (Hang et al. 2023).
#[derive(Config)]
struct Settings {
    /// The largest weight.
    #[config(default = 5.0, exclusive_min = 0.0)]
    gamma: f64,
}

impl Weighting for Settings {
    /// The weight of the squared error of the denoised against the clean latent.
    fn weight(&self, sigma: f64) -> Result<f64> {
        Ok(sigma.powi(-2).min(self.gamma))
    }
}

export_plugin! { weighting "{{entry}}" => Settings }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_files_are_those_of_the_settings() {
        PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
    }

    #[test]
    fn small_sigmas_have_the_largest_weight() {
        let settings = Settings { gamma: 5.0 };
        assert_eq!((settings.weight(0.0).unwrap(), settings.weight(2.0).unwrap()), (5.0, 0.25));
    }
}
