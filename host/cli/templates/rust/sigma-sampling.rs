//! {{description}}.

use plugin_api::wasm::prelude::*;

/// Log-normal: `ln(sigma)` has mean `p_mean` and standard deviation `p_std` (Karras et al. 2022, table 1).
#[derive(Config)]
struct Settings {
    /// Mean of `ln(sigma)`.
    #[config(default = -1.2, min = -20.0, max = 20.0)]
    p_mean: f64,
    /// Standard deviation of `ln(sigma)`.
    #[config(default = 1.2, min = 0.0, max = 20.0)]
    p_std: f64,
}

impl SigmaSampling for Settings {
    /// The host draws, so that a run can be repeated; this says what it draws.
    fn draw_kind(&self) -> DrawKind {
        DrawKind::Gaussian
    }

    fn sigma(&self, draw: f64) -> Result<f64> {
        Ok((self.p_mean + self.p_std * draw).exp())
    }
}

export_plugin! { sigma_sampling "{{entry}}" => Settings }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_files_are_those_of_the_settings() {
        PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
    }

    #[test]
    fn the_median_is_the_exponential_of_the_mean() {
        let settings = Settings { p_mean: 0.5, p_std: 2.0 };
        assert_eq!(settings.sigma(0.0).unwrap(), 0.5_f64.exp());
        assert!(settings.sigma(-1.0).unwrap() < settings.sigma(1.0).unwrap());
    }
}
