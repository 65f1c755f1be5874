//! `class`: a learned row for each class.

use plugin_api::tch::prelude::*;

/// A table of `n_classes` rows, of which each label takes one.
#[derive(Config)]
pub struct Settings {
    /// Number of classes; labels are `0` to `n_classes - 1`.
    #[config(default = 1000, min = 1)]
    pub n_classes: i64,
    /// Width of a row.
    #[config(min = 1)]
    pub dim: i64,
    /// Make the row a context of one token, for cross-attention, instead of a vector.
    #[config(default)]
    pub add_sequence_dim: bool,
}

/// Upstream's `ClassEmbedder`.
pub struct Class {
    table: Param,
    settings: Settings,
}

impl Embedder<Tensor> for Class {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let shape = [settings.n_classes, settings.dim];
        Ok(Self { table: params.declare("embedding.weight", &shape, Init::Normal { std: 1.0 }), settings })
    }

    /// # Shapes
    /// - input: labels `[n]`, integers
    /// - output: vector `[n, dim]`, or crossattn `[n, 1, dim]`
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        self.embed(call, inputs.tensor()?)
    }
}

impl Class {
    /// The rows of labels; shapes as in [`Embedder::forward`].
    pub fn embed(&self, call: &Call<'_>, labels: &Tensor) -> Result<Outputs> {
        if labels.dim() != 1 || labels.numel() == 0 || labels.is_floating_point() {
            let message =
                format!("wants labels of shape [n], integers; got {:?} of {:?}", labels.size(), labels.kind());
            return Err(Error::argument(message));
        }
        // On a GPU a label out of range would end the process instead of returning an error.
        let (low, high) = (labels.min().int64_value(&[]), labels.max().int64_value(&[]));
        if low < 0 || high >= self.settings.n_classes {
            let message =
                format!("labels reach from {low} to {high}, classes from 0 to {}", self.settings.n_classes - 1);
            return Err(Error::argument(message));
        }
        let rows = Tensor::f_embedding(call.param(self.table), &labels.to_kind(Kind::Int64), -1, false, false)?;
        Ok(match self.settings.add_sequence_dim {
            true => Outputs::to(Slot::Crossattn, rows.unsqueeze(1)), // [n, d] -> [n, s=1, d]
            false => Outputs::to(Slot::Vector, rows),
        })
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::testing::Fixture;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_label_takes_its_row_and_gives_it_its_gradient() {
        let mut fixture = Fixture::<Class>::new(json!({ "n_classes": 3, "dim": 2 })).unwrap();
        assert_eq!(fixture.declared()[0].shape, [3, 2]);
        let table = Tensor::from_slice2(&[[0_f32, 1.0], [2.0, 3.0], [4.0, 5.0]]).set_requires_grad(true);
        *fixture.param("embedding.weight") = table.shallow_clone();
        let outputs = fixture.train(&[&Tensor::from_slice(&[2_i64, 0, 2])]).unwrap();
        assert_eq!(outputs[0].0, Some(Slot::Vector));
        assert_eq!(Vec::<f32>::try_from(outputs[0].1.flatten(0, -1)).unwrap(), [4.0, 5.0, 0.0, 1.0, 4.0, 5.0]);
        outputs[0].1.sum(Kind::Float).backward();
        assert_eq!(Vec::<f32>::try_from(table.grad().flatten(0, -1)).unwrap(), [1.0, 1.0, 0.0, 0.0, 2.0, 2.0]);
    }

    #[test]
    fn a_row_can_be_a_token() {
        let fixture = Fixture::<Class>::new(json!({ "n_classes": 3, "dim": 2, "add_sequence_dim": true })).unwrap();
        let outputs = fixture.train(&[&Tensor::from_slice(&[1_i64, 1])]).unwrap();
        assert_eq!((outputs[0].0, outputs[0].1.size()), (Some(Slot::Crossattn), vec![2, 1, 2]));
    }

    #[test]
    fn labels_that_are_no_classes_are_refused() {
        let fixture = Fixture::<Class>::new(json!({ "n_classes": 3, "dim": 2 })).unwrap();
        let message = |labels: &Tensor| fixture.train(&[labels]).unwrap_err().message;
        assert_eq!(message(&Tensor::from_slice(&[0_i64, 3])), "labels reach from 0 to 3, classes from 0 to 2");
        assert!(message(&Tensor::from_slice(&[-1_i64])).contains("-1"));
        assert!(message(&Tensor::from_slice(&[1_f32])).contains("integers"));
    }
}
