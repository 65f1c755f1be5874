//! Distributions of sigma in training.

use plugin_api::wasm::{ddpm, prelude::*};

/// Log-normal: `ln(sigma)` has mean `p_mean` and standard deviation `p_std` (Karras et al. 2022, table 1).
#[derive(Config)]
struct Edm {
    /// Mean of `ln(sigma)`.
    #[config(default = -1.2, min = -20.0, max = 20.0)]
    p_mean: f64,
    /// Standard deviation of `ln(sigma)`.
    #[config(default = 1.2, min = 0.0, max = 20.0)]
    p_std: f64,
}

impl SigmaSampling for Edm {
    fn draw_kind(&self) -> DrawKind {
        DrawKind::Gaussian
    }

    fn sigma(&self, draw: f64) -> Result<f64> {
        Ok((self.p_mean + self.p_std * draw).exp())
    }
}

/// Nearly no noise, for fine-tuning a decoder and the like: sigma is always 1e-5.
#[derive(Config)]
struct Zero {}

impl SigmaSampling for Zero {
    fn draw_kind(&self) -> DrawKind {
        DrawKind::Gaussian
    }

    fn sigma(&self, _: f64) -> Result<f64> {
        Ok(1e-5)
    }
}

/// Grids that a table is made of.
#[derive(Config, Clone, Copy, PartialEq, Eq)]
enum Grid {
    /// The steps of a DDPM.
    LegacyDdpm,
    /// The grid of Karras et al. 2022, equation 5.
    Edm,
}

/// Uniform over a table of sigmas.
#[derive(Config)]
#[config(check = Self::check)]
struct DiscreteConfig {
    /// The table's grid.
    #[config(default = Grid::LegacyDdpm)]
    discretization: Grid,
    /// Smallest sigma of the EDM grid.
    #[config(default = 0.002, exclusive_min = 0.0)]
    sigma_min: f64,
    /// Largest sigma of the EDM grid.
    #[config(default = 80.0, exclusive_min = 0.0)]
    sigma_max: f64,
    /// Exponent of the EDM grid: the higher, the more sigmas are small.
    #[config(default = 7.0, min = 0.1, max = 100.0)]
    rho: f64,
    /// Number of sigmas to choose from.
    #[config(default = 1000, min = 1, max = 100_000)]
    num_idx: u32,
    /// First beta.
    #[config(default = 0.00085, exclusive_min = 0.0, exclusive_max = 1.0)]
    linear_start: f64,
    /// Last beta.
    #[config(default = 0.012, exclusive_min = 0.0, exclusive_max = 1.0)]
    linear_end: f64,
    /// Steps of the whole schedule; at least `num_idx`.
    #[config(default = 1000, min = 1, max = 100_000)]
    num_timesteps: u32,
    /// Put a 0 behind the smallest sigma. As in the reference an index is still drawn out of `num_idx`, so the last of
    /// the then `num_idx` + 1 entries is never drawn: the largest sigma, or without `flip` the 0.
    #[config(default = false)]
    do_append_zero: bool,
    /// Whether index 0 is the smallest sigma, as networks of discrete steps count.
    #[config(default = true)]
    flip: bool,
}

impl DiscreteConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if self.discretization == Grid::Edm || self.num_idx <= self.num_timesteps {
            return Ok(());
        }
        let message = format!("{} is more than num_timesteps = {}", self.num_idx, self.num_timesteps);
        Err(ConfigError::new("/num_idx", message))
    }
}

struct Discrete {
    sigmas: Vec<f64>,
    /// How many of them are drawn from.
    num_idx: usize,
}

impl Entry for Discrete {
    type Config = DiscreteConfig;

    fn new(config: DiscreteConfig) -> Result<Self> {
        let n = config.num_idx;
        let mut sigmas = match config.discretization {
            Grid::LegacyDdpm => ddpm::sigmas(n, config.num_timesteps, config.linear_start, config.linear_end)?,
            Grid::Edm => {
                let [high, low] = [config.sigma_max, config.sigma_min].map(|sigma| sigma.powf(1.0 / config.rho));
                let last = f64::from(n.max(2) - 1);
                (0..n).map(|i| (high + f64::from(i) / last * (low - high)).powf(config.rho)).collect()
            }
        };
        if config.do_append_zero {
            sigmas.push(0.0);
        }
        if config.flip {
            sigmas.reverse();
        }
        Ok(Self { sigmas, num_idx: n as usize })
    }
}

impl SigmaSampling for Discrete {
    fn draw_kind(&self) -> DrawKind {
        DrawKind::Uniform
    }

    fn sigma(&self, draw: f64) -> Result<f64> {
        // A draw just below 1 can round up to the length.
        let idx = (draw * self.num_idx as f64) as usize;
        Ok(self.sigmas[idx.min(self.num_idx - 1)])
    }
}

export_plugin! { sigma_sampling "edm" => Edm, "discrete" => Discrete, "zero" => Zero }

#[cfg(test)]
mod tests {
    use plugin_api::wasm::build;
    use serde_json::json;

    use super::*;

    #[test]
    fn edm_is_the_references() {
        let edm: Edm = build(json!({}).as_object().unwrap()).unwrap();
        for (draw, expected) in [(-0.8174921, 0.1129296), (0.839322, 0.8246356), (2.294605, 4.7281127)] {
            assert!((edm.sigma(draw).unwrap() / expected - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn discrete_maps_the_unit_interval_onto_the_table() {
        let table: Discrete = build(json!({}).as_object().unwrap()).unwrap();
        for (idx, expected) in [(0, 0.0291672), (349, 0.9838172), (858, 6.7348995), (999, 14.6146412)] {
            let middle = (f64::from(idx) + 0.5) / 1000.0;
            assert!((table.sigma(middle).unwrap() / expected - 1.0).abs() < 2e-6, "{idx}");
        }
        assert_eq!(table.sigma(f64::EPSILON).unwrap(), table.sigmas[0]);
        assert_eq!(table.sigma(1.0 - f64::EPSILON / 2.0).unwrap(), table.sigmas[999]);
    }

    #[test]
    fn a_table_may_be_edms_and_zero_is_nearly_that() {
        let table: Discrete = build(json!({ "discretization": "edm", "num_idx": 3 }).as_object().unwrap()).unwrap();
        assert!((table.sigma(0.0).unwrap() - 0.002).abs() < 1e-9 && (table.sigma(0.99).unwrap() - 80.0).abs() < 1e-9);
        let zero: Zero = build(json!({}).as_object().unwrap()).unwrap();
        assert_eq!(zero.sigma(3.0).unwrap(), 1e-5);
    }

    #[test]
    fn unflipped_tables_count_from_the_largest_sigma() {
        let table: Discrete = build(json!({ "flip": false, "num_idx": 5 }).as_object().unwrap()).unwrap();
        assert!((table.sigma(0.1).unwrap() - 14.61464).abs() < 1e-4);
        assert!((table.sigma(0.9).unwrap() - 0.56928).abs() < 1e-4);
        assert!(build::<Discrete>(json!({ "num_idx": 1001 }).as_object().unwrap()).is_err());
    }

    #[test]
    fn an_appended_zero_shifts_the_table_but_not_the_number_of_draws() {
        let table = |flip: bool| -> Discrete {
            build(json!({ "num_idx": 4, "do_append_zero": true, "flip": flip }).as_object().unwrap()).unwrap()
        };
        let plain: Discrete = build(json!({ "num_idx": 4 }).as_object().unwrap()).unwrap();
        let drawn = |table: &Discrete| [0.1, 0.3, 0.6, 0.9].map(|draw| table.sigma(draw).unwrap());
        let [a, b, c, d] = drawn(&plain);
        assert_eq!(drawn(&table(true)), [0.0, a, b, c]);
        assert_eq!(drawn(&table(false)), [d, c, b, a]);
    }

    #[test]
    fn committed_schemas_are_those_of_the_settings() {
        PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
    }
}
