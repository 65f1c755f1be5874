//! {{description}}.

use plugin_api::wasm::prelude::*;

/// From `min_scale` at the first frame to `max_scale` at the last.
#[derive(Config)]
struct Settings {
    /// Scale of the first frame; 1 is the conditional model alone.
    #[config(default = 1.0)]
    min_scale: f64,
    /// Scale of the last frame.
    #[config(default = 2.5)]
    max_scale: f64,
}

impl Guidance for Settings {
    /// A row for each sigma, a column for each frame. `num_frames` counts all frames of a scene.
    fn scales(&self, sigmas: &[f64], num_frames: u32, _num_views: u32) -> Result<Vec<f64>> {
        let last = f64::from(num_frames.max(2) - 1);
        let row = (0..num_frames).map(|i| self.min_scale + f64::from(i) / last * (self.max_scale - self.min_scale));
        Ok(sigmas.iter().flat_map(|_| row.clone()).collect())
    }
}

export_plugin! { guidance "{{entry}}" => Settings }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_files_are_those_of_the_settings() {
        PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
    }

    #[test]
    fn every_sigma_has_the_same_row() {
        let settings = Settings { min_scale: 1.0, max_scale: 3.0 };
        assert_eq!(settings.scales(&[2.0, 1.0], 3, 1).unwrap(), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    }
}
