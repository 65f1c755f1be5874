//! Two linear layers with a SiLU between them, as embeddings of noise levels, vectors and frame indices use them.

use tch::Tensor;

use super::{Linear, LinearConfig};
use crate::params::Path;

/// Linear, SiLU, linear; keys `0` and `2`.
#[derive(Debug)]
pub struct Mlp {
    first: Linear,
    second: Linear,
}

impl Mlp {
    /// Widths `inputs -> hidden -> outputs`.
    pub fn new(path: &Path, inputs: i64, hidden: i64, outputs: i64) -> Self {
        Self {
            first: Linear::new(&path.sub(0), LinearConfig::new(inputs, hidden)),
            second: Linear::new(&path.sub(2), LinearConfig::new(hidden, outputs)),
        }
    }

    /// # Shapes
    /// - `x`: `[..., inputs]`
    /// - result: `[..., outputs]`
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.second.forward(&self.first.forward(x, train).silu(), train)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    #[test]
    fn keys_skip_the_activation() {
        let params = Params::meta();
        Mlp::new(&params.root().sub("time_embed"), 4, 16, 8);
        let entries = params.into_entries();
        let found: Vec<(&str, Vec<i64>)> = entries.iter().map(|p| (p.path.as_str(), p.tensor.size())).collect();
        assert_eq!(found[0], ("time_embed.0.weight", vec![16, 4]));
        assert_eq!(found[2], ("time_embed.2.weight", vec![8, 16]));
    }
}
