//! One copy of the weights that several frozen embedders start from.

use std::collections::HashMap;
use std::path::PathBuf;

use tch::Tensor;

use crate::conditioner::ParamDecl;
use crate::config::EmbedderConfig;

/// Where a parameter comes from: a file, a key in it, the parameter's shape.
type Origin = (PathBuf, String, Vec<i64>);

/// Parameters of frozen embedders by their origin.
///
/// Nobody writes to them after they are loaded, so all that come from one place can be one. Each is still a tensor of its
/// own, which can part from the others' memory: a checkpoint may hold different values for them.
#[derive(Default)]
pub(super) struct SharedWeights {
    held: HashMap<Origin, Tensor>,
    shared: u64,
}

impl SharedWeights {
    /// The parameter `decl` of an embedder: on the memory of one from the same place if there is one, or else as `make`
    /// makes it.
    ///
    /// # Errors
    /// Those of `make`.
    pub(super) fn get<E>(
        &mut self,
        used: &EmbedderConfig,
        decl: &ParamDecl,
        make: impl FnOnce() -> Result<Tensor, E>,
    ) -> Result<Tensor, E> {
        let Some(origin) = origin(used, decl) else { return make() };
        match self.held.get(&origin) {
            Some(held) => {
                self.shared += held.numel() as u64;
                Ok(held.detach())
            }
            None => {
                let tensor = make()?;
                self.held.insert(origin, tensor.shallow_clone());
                Ok(tensor)
            }
        }
    }
}

impl SharedWeights {
    /// Values that were not made again.
    pub(super) fn num_shared(&self) -> u64 {
        self.shared
    }
}

/// Where a parameter of a frozen embedder comes from, if it comes from a file.
fn origin(used: &EmbedderConfig, decl: &ParamDecl) -> Option<Origin> {
    let path = used.weights.as_ref().filter(|_| !used.is_trainable)?;
    let rest = decl.name.strip_prefix(used.weights_at.as_str())?;
    // A run that is sampled from may have outlived the file.
    let path = path.canonicalize().unwrap_or_else(|_| path.clone());
    Some((path, format!("{}{rest}", used.weights_prefix), decl.shape.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tch::{Device, Kind};

    use super::*;
    use crate::conditioner::Init;

    fn used(file: Option<&str>, prefix: &str, at: &str, is_trainable: bool) -> EmbedderConfig {
        let mut config = json!({
            "plugin": "x", "input_key": "a", "weights_prefix": prefix, "weights_at": at, "is_trainable": is_trainable,
        });
        if let Some(file) = file {
            config["weights"] = json!(file);
        }
        serde_json::from_value(config).unwrap()
    }

    /// Whether a parameter of the second embedder lies where that of the first lies.
    fn share(first: (&EmbedderConfig, &str, &[i64]), second: (&EmbedderConfig, &str, &[i64])) -> bool {
        let mut shared = SharedWeights::default();
        let [first, second] = [first, second].map(|(used, name, shape)| {
            let decl = ParamDecl { name: name.to_owned(), shape: shape.to_vec(), init: Init::Zeros, buffer: false };
            let make = || Ok::<_, std::convert::Infallible>(Tensor::zeros(shape, (Kind::Float, Device::Cpu)));
            shared.get(used, &decl, make).unwrap()
        });
        first.data_ptr() == second.data_ptr()
    }

    #[test]
    fn frozen_parameters_of_one_place_are_one() {
        let a = used(Some("/w"), "", "", false);
        assert!(share((&a, "x.weight", &[2]), (&a.clone(), "x.weight", &[2])));
        // The same key of the file under other names.
        let inner = used(Some("/w"), "", "open_clip.", false);
        assert!(share((&a, "x.weight", &[2]), (&inner, "open_clip.x.weight", &[2])));
        let whole = used(Some("/w"), "x.", "", false);
        assert!(share((&a, "x.weight", &[2]), (&whole, "weight", &[2])));
    }

    #[test]
    fn what_is_trained_or_comes_from_elsewhere_is_not() {
        let a = used(Some("/w"), "", "", false);
        for (other, name, shape) in [
            (used(Some("/w"), "", "", true), "x.weight", &[2][..]),
            (used(Some("/v"), "", "", false), "x.weight", &[2]),
            (used(Some("/w"), "y.", "", false), "x.weight", &[2]),
            (used(Some("/w"), "", "", false), "x.bias", &[2]),
            (used(Some("/w"), "", "", false), "x.weight", &[1, 2]),
            (used(None, "", "", false), "x.weight", &[2]),
        ] {
            assert!(!share((&a, "x.weight", &[2]), (&other, name, shape)), "{other:?} {name}");
        }
        let trained = used(Some("/w"), "", "", true);
        assert!(!share((&trained, "x.weight", &[2]), (&trained.clone(), "x.weight", &[2])));
    }
}
