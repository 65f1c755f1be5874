//! Parameters by formula, so that another program can have the same ones.

use plugin_api::tch::Device;
use plugin_api::tch::prelude::*;
use plugin_api::tch::testing::Fixture;

/// Fills the `i`th parameter in order of names with `0.4*sin(0.3*i + 0.7*j)` at its `j`th value; norms start from 1.
pub fn fill<E: Embedder<Tensor>>(fixture: &mut Fixture<E>) {
    let mut decls = fixture.declared().to_vec();
    decls.sort_by(|a, b| a.name.cmp(&b.name));
    for (i, decl) in decls.iter().enumerate() {
        let count = decl.shape.iter().product::<i64>();
        let wave = Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.7 + 0.3 * i as f64;
        let wave = wave.sin().reshape(&decl.shape) * 0.4;
        *fixture.param(&decl.name) = if decl.name.ends_with("layer_norm.weight") { wave + 1.0 } else { wave };
    }
}

/// Compares the first and the last token of the only row, and the mean square of all.
pub fn check(got: &Tensor, first: [f32; 8], last: [f32; 8], mean_square: f64) {
    for (row, want) in [(0, first), (-1, last)] {
        let off = (got.get(0).get(row) - Tensor::from_slice(&want)).abs().max().double_value(&[]);
        assert!(off < 1e-5, "token {row} is off by {off}");
    }
    assert!((got.square().mean(Kind::Float).double_value(&[]) - mean_square).abs() < 1e-5);
}
