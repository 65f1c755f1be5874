//! Weights of the loss by sigma. All weigh the squared error of the denoised against the clean latent.

use plugin_api::wasm::prelude::*;

/// The same weight at every sigma.
#[derive(Config)]
struct Unit {}

impl Weighting for Unit {
    fn weight(&self, _sigma: f64) -> Result<f64> {
        Ok(1.0)
    }
}

/// `(sigma^2 + sigma_data^2) / (sigma * sigma_data)^2`: the network's own output counts the same at every sigma
/// (Karras et al. 2022, table 1).
#[derive(Config)]
struct Edm {
    /// Standard deviation of clean latents.
    #[config(default = 0.5, exclusive_min = 0.0)]
    sigma_data: f64,
}

impl Weighting for Edm {
    fn weight(&self, sigma: f64) -> Result<f64> {
        Ok((sigma * sigma + self.sigma_data * self.sigma_data) / (sigma * self.sigma_data).powi(2))
    }
}

/// `(sigma^2 + 1) / sigma^2`: the squared error of v, for latents of unit variance.
#[derive(Config)]
struct V {}

impl Weighting for V {
    fn weight(&self, sigma: f64) -> Result<f64> {
        Ok((sigma * sigma + 1.0) / (sigma * sigma))
    }
}

/// `1 / sigma^2`: the squared error of the noise.
#[derive(Config)]
struct Eps {}

impl Weighting for Eps {
    fn weight(&self, sigma: f64) -> Result<f64> {
        Ok(sigma.powi(-2))
    }
}

/// `min(1 / sigma^2, gamma)`: the noise weighting, clamped at small sigmas (Hang et al. 2023, in the form for the error
/// of the denoised latent; a signal-to-noise ratio of 1 / sigma^2 means latents of unit variance).
#[derive(Config)]
struct MinSnr {
    /// The largest weight.
    #[config(default = 5.0, exclusive_min = 0.0)]
    gamma: f64,
}

impl Weighting for MinSnr {
    fn weight(&self, sigma: f64) -> Result<f64> {
        Ok(sigma.powi(-2).min(self.gamma))
    }
}

/// `1 / (sigma^2 + 1 / gamma)`: min-SNR without its corner (Crowson et al. 2024, section 4.4; their
/// `1 / (sigma^2 + sigma_data^2)` has `gamma = 1 / sigma_data^2`).
#[derive(Config)]
struct SoftMinSnr {
    /// The weight that small sigmas tend to.
    #[config(default = 4.0, exclusive_min = 0.0)]
    gamma: f64,
}

impl Weighting for SoftMinSnr {
    fn weight(&self, sigma: f64) -> Result<f64> {
        Ok((sigma * sigma + self.gamma.recip()).recip())
    }
}

export_plugin! {
    weighting "unit" => Unit, "edm" => Edm, "v" => V, "eps" => Eps, "min-snr" => MinSnr, "soft-min-snr" => SoftMinSnr
}

#[cfg(test)]
mod tests {
    use plugin_api::wasm::build;
    use serde_json::json;

    use super::*;

    fn weight<W: Weighting + Entry>(config: serde_json::Value, sigma: f64) -> f64 {
        build::<W>(config.as_object().unwrap()).unwrap().weight(sigma).unwrap()
    }

    #[test]
    fn weights_at_two_are_the_references() {
        assert_eq!(weight::<Unit>(json!({}), 2.0), 1.0);
        assert_eq!(weight::<Edm>(json!({}), 2.0), 4.25);
        assert_eq!(weight::<V>(json!({}), 2.0), 1.25);
        assert_eq!(weight::<Eps>(json!({}), 2.0), 0.25);
    }

    #[test]
    fn v_is_edm_at_unit_variance() {
        for sigma in [1e-3, 0.7, 80.0] {
            let edm = weight::<Edm>(json!({ "sigma_data": 1.0 }), sigma);
            assert!((weight::<V>(json!({}), sigma) / edm - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn min_snr_clamps_where_the_signal_is_strong() {
        assert_eq!(weight::<MinSnr>(json!({}), 2.0), 0.25);
        assert_eq!(weight::<MinSnr>(json!({}), 0.1), 5.0);
        assert_eq!(weight::<MinSnr>(json!({ "gamma": 1 }), 0.5), 1.0);
    }

    #[test]
    fn soft_min_snr_has_the_same_ends_and_no_corner() {
        assert!((weight::<SoftMinSnr>(json!({}), 1e-6) - 4.0).abs() < 1e-9);
        assert!((weight::<SoftMinSnr>(json!({}), 100.0) * 1e4 - 1.0).abs() < 1e-4);
        assert_eq!(weight::<SoftMinSnr>(json!({}), 0.5), 2.0);
    }

    #[test]
    fn committed_schemas_are_those_of_the_settings() {
        PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
    }
}
