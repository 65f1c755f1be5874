//! Layers of anneal-nn over parameters that the host owns.

use anneal_nn::{Init as NnInit, ParamKind, Params as NnParams, Path};
use plugin_api::tch::prelude::*;

use crate::tree::Tree;

/// The declared parameters of layers of anneal-nn, by their paths.
pub struct Declared(Vec<(String, Param)>);

impl Declared {
    /// Declares at `at` what `build` makes layers of.
    ///
    /// # Errors
    /// When a parameter starts in a way that the plugin interface does not know.
    pub fn new(mut at: Tree<'_>, build: impl FnOnce(&Path)) -> Result<Self> {
        let params = NnParams::meta();
        build(&params.root());
        let entries = params.into_entries().into_iter();
        let declared = entries.map(|entry| {
            let (path, shape) = (entry.path, entry.tensor.size());
            let init = start(entry.init)?;
            let param = match entry.kind {
                ParamKind::Trained => at.param(&path, &shape, init),
                ParamKind::Buffer => at.buffer(&path, &shape, init),
            };
            Ok((path, param))
        });
        Ok(Self(declared.collect::<Result<_>>()?))
    }

    /// The parameters of a call, to build the same layers of again: they are handles, so nothing is copied.
    pub fn of(&self, call: &Call<'_>) -> NnParams {
        NnParams::given(self.0.iter().map(|(path, param)| (path.clone(), call.param(*param).shallow_clone())))
    }
}

fn start(init: NnInit) -> Result<Init> {
    match init {
        NnInit::Const(0.0) => Ok(Init::Zeros),
        NnInit::Const(1.0) => Ok(Init::Ones),
        NnInit::Const(value) => Err(Error::config("", format!("a parameter cannot start as {value} everywhere"))),
        NnInit::NormalAround { mean, .. } => {
            Err(Error::config("", format!("a parameter cannot start as a Gaussian around {mean}")))
        }
        NnInit::Normal { std } => Ok(Init::Normal { std }),
        NnInit::Uniform { bound } => Ok(Init::Uniform { bound }),
    }
}
