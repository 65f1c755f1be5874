//! The transformer that open_clip's towers share.

use plugin_api::tch::prelude::*;

use crate::layers::{Activation, Attend, LayerNorm, Linear, attention};
use crate::tree::Tree;

/// open_clip's layer norms all have PyTorch's epsilon.
pub const EPS: f64 = 1e-5;

/// Sizes of a tower's transformer.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Width of a token.
    pub width: i64,
    /// Number of heads.
    pub num_heads: i64,
    /// Width inside the feed-forward network, in widths of a token.
    pub mlp_ratio: f64,
    /// Its non-linearity.
    pub act: Activation,
    /// Scale each branch by a learned factor a channel.
    pub layer_scale: bool,
}

/// `x + attn(ln_1(x))`, then `x + mlp(ln_2(x))`.
pub struct Block {
    ln_1: LayerNorm,
    in_proj: (Param, Param),
    out_proj: Linear,
    ls_1: Option<Param>,
    ln_2: LayerNorm,
    c_fc: Linear,
    c_proj: Linear,
    ls_2: Option<Param>,
    sizes: Sizes,
}

/// What open_clip's towers with a layer scale start theirs from is a setting of training there; published weights
/// replace it, so the start is that of a plain block.
fn scale(mut at: Tree<'_>, sizes: Sizes) -> Option<Param> {
    sizes.layer_scale.then(|| at.param("gamma", &[sizes.width], Init::Ones))
}

impl Block {
    /// Keys as in open_clip's `ResidualAttentionBlock`.
    pub fn new(mut at: Tree<'_>, sizes: Sizes) -> Self {
        let width = sizes.width;
        let hidden = (width as f64 * sizes.mlp_ratio) as i64;
        let std = (width as f64).powf(-0.5);
        let ln_1 = LayerNorm::new(at.sub("ln_1"), width, EPS);
        let mut attn = at.sub("attn");
        let in_proj = (
            attn.param("in_proj_weight", &[3 * width, width], Init::Normal { std }),
            attn.param("in_proj_bias", &[3 * width], Init::Zeros),
        );
        let out_proj = Linear::new(attn.sub("out_proj"), width, width, true);
        Self {
            ln_1,
            in_proj,
            out_proj,
            ls_1: scale(at.sub("ls_1"), sizes),
            ln_2: LayerNorm::new(at.sub("ln_2"), width, EPS),
            c_fc: Linear::new(at.sub("mlp").sub("c_fc"), width, hidden, true),
            c_proj: Linear::new(at.sub("mlp").sub("c_proj"), hidden, width, true),
            ls_2: scale(at.sub("ls_2"), sizes),
            sizes,
        }
    }

    /// # Shapes
    /// - `x` and result: `[n, s, d]`
    pub fn forward(&self, call: &Call<'_>, x: &Tensor, attend: &Attend<'_>) -> Result<Tensor> {
        let scaled = |branch: Tensor, scale: Option<Param>| match scale {
            Some(gamma) => branch * call.param(gamma),
            None => branch,
        };
        let (weight, bias) = self.in_proj;
        let qkv = self.ln_1.forward(call, x)?.f_linear(call.param(weight), Some(call.param(bias)))?.chunk(3, -1);
        let attended = attention(&qkv[0], &qkv[1], &qkv[2], self.sizes.num_heads, attend)?;
        let x = x + scaled(self.out_proj.forward(call, &attended)?, self.ls_1);
        let hidden = self.sizes.act.apply(&self.c_fc.forward(call, &self.ln_2.forward(call, &x)?)?);
        Ok(&x + scaled(self.c_proj.forward(call, &hidden)?, self.ls_2))
    }
}
