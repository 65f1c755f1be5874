//! A weighting that does what a weighting must not do, one fault at a time.

use plugin_api::wasm::prelude::*;

/// Which fault it has.
#[derive(Config, Clone, Copy, PartialEq)]
enum Fault {
    None,
    Loops,
    GrowsMemory,
    Panics,
    Overflows,
    Nan,
    Negative,
    Fails,
}

/// What the weighting does.
#[derive(Config)]
struct Faulty {
    /// Which fault it has.
    #[config(default = Fault::None)]
    fault: Fault,
}

impl Weighting for Faulty {
    fn weight(&self, sigma: f64) -> Result<f64> {
        match self.fault {
            Fault::None => Ok(1.0),
            Fault::Loops => {
                let mut sum = sigma;
                while sum.is_finite() {
                    sum = (sum + 1.0).sin();
                }
                Ok(sum)
            }
            Fault::GrowsMemory => {
                let mut kept: Vec<Vec<f64>> = Vec::new();
                loop {
                    kept.push(vec![sigma; 1 << 20]);
                    if kept.len() > 1 << 20 {
                        return Ok(kept.len() as f64);
                    }
                }
            }
            Fault::Panics => panic!("told to panic at sigma {sigma}"),
            Fault::Overflows => Ok(deeper(sigma, 0)),
            Fault::Nan => Ok(f64::NAN),
            Fault::Negative => Ok(-1.0),
            Fault::Fails => Err(Error::invalid_config("/fault", "told to fail")),
        }
    }
}

/// Calls itself until the stack is full.
fn deeper(sigma: f64, depth: u64) -> f64 {
    let here = [sigma; 64];
    if depth == u64::MAX { 0.0 } else { here[(depth % 64) as usize] + deeper(sigma, depth + 1) }
}

export_plugin! { weighting "faulty" => Faulty }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_schemas_are_those_of_the_settings() {
        PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
    }
}
