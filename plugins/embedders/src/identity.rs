//! `identity`: batch entries that are embeddings already.

use plugin_api::tch::prelude::*;

/// Nothing to set.
#[derive(Config)]
pub struct Settings {}

/// Upstream's `IdentityEncoder`.
pub struct Identity;

impl Embedder<Tensor> for Identity {
    type Config = Settings;

    fn new(_: Settings, _: &mut Params) -> Result<Self> {
        Ok(Self)
    }

    /// # Shapes
    /// - inputs: `[n, d]`, `[n, s, d]` or `[n, c, h, w]`
    /// - outputs: the same; rank decides where they go
    fn forward(&self, _: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        inputs.iter().map(|input| Ok(input.tensor()?.shallow_clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::Device;
    use plugin_api::tch::testing::Fixture;
    use serde_json::json;

    use super::*;

    #[test]
    fn inputs_come_out_in_order_and_without_a_slot() {
        let fixture = Fixture::<Identity>::new(json!({})).unwrap();
        let (a, b) =
            (Tensor::ones([2, 3], (Kind::Float, Device::Cpu)), Tensor::zeros([2, 1, 4, 4], (Kind::Float, Device::Cpu)));
        let outputs = fixture.train(&[&a, &b]).unwrap();
        let got: Vec<_> = outputs.iter().map(|(slot, tensor)| (*slot, tensor.size())).collect();
        assert_eq!(got, [(None, vec![2, 3]), (None, vec![2, 1, 4, 4])]);
        assert_eq!(outputs[0].1, a);
    }
}
