//! {{description}}.

use plugin_api::native::prelude::*;

/// A table of `n_classes` rows, of which each label takes one.
#[derive(Config)]
pub struct Settings {
    /// Number of classes; labels are `0` to `n_classes - 1`.
    #[config(default = 1000, min = 1)]
    pub n_classes: i64,
    /// Width of a row.
    #[config(min = 1)]
    pub dim: i64,
}

/// A learned row for each class.
pub struct Rows {
    table: Param,
    settings: Settings,
}

impl Embedder for Rows {
    type Config = Settings;

    /// Declares the parameters; the host allocates, trains and saves them.
    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let table = params.declare("table", &[settings.n_classes, settings.dim], Init::Normal { std: 1.0 });
        Ok(Self { table, settings })
    }

    /// # Shapes
    /// - input: labels `[n]`, integers
    /// - output: vector `[n, dim]`
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let labels = inputs.tensor()?;
        if labels.dim()? != 1 || labels.dtype()?.is_floating_point() {
            return Err(Error::argument(format!("wants integers of shape [n]; got {labels:?}")));
        }
        let labels = op::to_dtype(labels, Dtype::I64)?;
        // On a GPU a label out of range would end the process instead of returning an error. The host first calls with
        // tensors that have shapes and no values, to see whether what comes out fits the network.
        if !labels.is_meta()? {
            let (low, high) = (op::min(&labels)?.to_vec::<i64>()?[0], op::max(&labels)?.to_vec::<i64>()?[0]);
            if low < 0 || high >= self.settings.n_classes {
                let message = format!("labels reach from {low} to {high}, there are {}", self.settings.n_classes);
                return Err(Error::argument(message));
            }
        }
        Ok(Outputs::to(Slot::Vector, op::embedding(call.param(self.table), &labels)?))
    }
}

export_plugin! {
    embedder "{{entry}}" => Rows,
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
