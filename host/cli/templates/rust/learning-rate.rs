//! {{description}}.

use plugin_api::wasm::prelude::*;

/// A linear warm-up to 1, then the inverse square root of the step.
#[derive(Config)]
struct Settings {
    /// Steps of the warm-up: the first has the factor `1 / warm_up_steps`, the last 1.
    #[config(default = 100, min = 1)]
    warm_up_steps: u64,
}

impl LearningRate for Settings {
    fn factor(&self, step: u64) -> Result<f64> {
        let (step, warm_up) = ((step + 1) as f64, self.warm_up_steps as f64);
        Ok(if step < warm_up { step / warm_up } else { (warm_up / step).sqrt() })
    }
}

export_plugin! { learning_rate "{{entry}}" => Settings }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_files_are_those_of_the_settings() {
        PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
    }

    #[test]
    fn the_factor_rises_to_1_and_falls() {
        let settings = Settings { warm_up_steps: 4 };
        let factors: Vec<f64> = [0, 3, 15].iter().map(|step| settings.factor(*step).unwrap()).collect();
        assert_eq!(factors, [0.25, 1.0, 0.5]);
    }
}
