//! `class-for-multi-cond`: a learned row for the first of several labels.

use plugin_api::tch::prelude::*;

use crate::class::{Class, Settings};

/// Upstream's `ClassEmbedderForMultiCond`, which looks up the first of a list of conditions; its base class had lost the
/// arguments it calls it with.
pub struct ClassForMultiCond(Class);

impl Embedder<Tensor> for ClassForMultiCond {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        Class::new(settings, params).map(Self)
    }

    /// # Shapes
    /// - input: labels `[n, conditions]`, of which the first are taken, or `[n]`; integers
    /// - output: vector `[n, dim]`, or crossattn `[n, 1, dim]`
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let labels = inputs.tensor()?;
        match labels.size()[..] {
            [_, conditions] if conditions > 0 => self.0.embed(call, &labels.select(1, 0)),
            _ => self.0.embed(call, labels),
        }
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::testing::Fixture;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_label_takes_its_row() {
        let mut fixture = Fixture::<ClassForMultiCond>::new(json!({ "n_classes": 3, "dim": 2 })).unwrap();
        *fixture.param("embedding.weight") = Tensor::from_slice2(&[[0_f32, 1.0], [2.0, 3.0], [4.0, 5.0]]);
        let rows =
            |labels: &Tensor| Vec::<f32>::try_from(fixture.sample(&[labels]).unwrap()[0].1.flatten(0, -1)).unwrap();
        // What stands behind the first is of another condition, and may be out of range.
        assert_eq!(rows(&Tensor::from_slice2(&[[2_i64, 7], [0, 9]])), [4.0, 5.0, 0.0, 1.0]);
        assert_eq!(rows(&Tensor::from_slice(&[1_i64])), [2.0, 3.0]);
        assert!(fixture.sample(&[&Tensor::from_slice2(&[[3_i64, 0]])]).unwrap_err().message.contains("from 3 to 3"));
    }
}
