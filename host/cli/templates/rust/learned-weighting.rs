//! {{description}}.

use plugin_api::native::prelude::*;

/// The loss of a row becomes `weight / exp(u) * distance + u`, with EDM's weight and `u = a + b ln(sigma)`: `a` and `b` are
/// learned, and `u` on its own keeps the weights from vanishing.
#[derive(Config)]
pub struct Settings {
    /// Standard deviation of clean latents.
    #[config(default = 0.5, exclusive_min = 0.0)]
    pub sigma_data: f64,
}

/// `a` and `b`.
pub struct Line {
    a: Param,
    b: Param,
    settings: Settings,
}

impl Weighting for Line {
    type Config = Settings;

    /// Declares the parameters; the host allocates, trains and saves them.
    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let (a, b) = (params.declare("a", &[1], Init::Zeros), params.declare("b", &[1], Init::Zeros));
        Ok(Self { a, b, settings })
    }

    /// # Shapes
    /// - sigmas: `[n]`
    /// - weights, offsets: `[n]`
    fn weigh(&self, call: &Call<'_>, sigmas: &Tensor) -> Result<Weighed> {
        let u = op::add(&op::mul(&op::log(sigmas)?, call.param(self.b))?, call.param(self.a))?;
        // (sigma^2 + sigma_data^2) / (sigma * sigma_data)^2
        let edm = op::add_scalar(&op::pow(sigmas, -2.0)?, self.settings.sigma_data.powi(-2))?;
        let weights = op::mul(&edm, &op::exp(&op::neg(&u)?)?)?;
        Ok(Weighed::weights(weights).with_offsets(u))
    }
}

export_plugin! {
    weighting "{{entry}}" => Line,
}

#[cfg(test)]
mod tests {
    use plugin_api::config::assert_schema;

    use super::*;

    #[test]
    fn the_schema_file_is_that_of_the_settings() {
        assert_schema(&Settings::schema(), concat!(env!("CARGO_MANIFEST_DIR"), "/schema/{{entry}}.json"));
    }
}
