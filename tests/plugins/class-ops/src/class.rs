//! `class-ops`: what the bundled `class` does, without libtorch.

use plugin_api::native::prelude::*;

/// A table of `n_classes` rows, of which each label takes one.
#[derive(Config)]
pub struct Settings {
    /// Number of classes; labels are `0` to `n_classes - 1`.
    #[config(min = 1)]
    pub n_classes: i64,
    /// Width of a row.
    #[config(min = 1)]
    pub dim: i64,
}

/// A learned row for each class.
pub struct Class {
    table: Param,
    n_classes: i64,
}

impl Embedder for Class {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let shape = [settings.n_classes, settings.dim];
        let table = params.declare("embedding.weight", &shape, Init::Normal { std: 1.0 });
        Ok(Self { table, n_classes: settings.n_classes })
    }

    /// # Shapes
    /// - input: labels `[n]`, integers
    /// - output: vector `[n, dim]`
    fn forward(&self, call: &Call, inputs: &Inputs) -> Result<Outputs> {
        let labels = inputs.tensor()?;
        // On a GPU a label out of range would end the process instead of returning an error. In a dry run there are none.
        if !labels.is_meta()? {
            let (low, high) = (op::min(labels)?.to_vec::<i64>()?[0], op::max(labels)?.to_vec::<i64>()?[0]);
            if low < 0 || high >= self.n_classes {
                let last = self.n_classes - 1;
                return Err(Error::argument(format!("labels reach from {low} to {high}, classes from 0 to {last}")));
            }
        }
        Ok(Outputs::to(Slot::Vector, op::embedding(call.param(self.table), labels)?))
    }
}
