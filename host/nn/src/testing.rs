//! What the tests of layers and blocks share.

use anneal_torch::grad_mode;
use anneal_torch::random::Stream;
use tch::{Device, Kind, Tensor};

use crate::params::{ParamKind, Params};

pub(crate) const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Adds noise to every parameter, the same for the same path, so that zero-initialised layers and norms show.
pub(crate) fn randomise(params: &Params) {
    let _no_grad = grad_mode::no_grad();
    for param in params.entries() {
        let noise = Stream::new(7, &param.path, 0, 0).normal_tensor(&param.tensor.size()) * 0.1;
        let _ = param.tensor.shallow_clone().g_add_(&noise);
    }
}

/// Gives every trained parameter values that other programs can make, too: those of the `i`-th one (by place in the
/// order of construction) are `sin(0.37 * j + i)` for `j` from 0, times `2/sqrt(fan_in)`.
pub(crate) fn formula(params: &Params) {
    let _no_grad = grad_mode::no_grad();
    let trained = params.entries().into_iter().filter(|param| param.kind == ParamKind::Trained);
    for (i, param) in trained.enumerate() {
        let shape = param.tensor.size();
        let fan_in = shape.iter().skip(1).product::<i64>().max(1) as f64;
        let j = Tensor::arange(param.tensor.numel() as i64, (Kind::Double, Device::Cpu));
        let values = (j * 0.37 + i as f64).sin() * (2.0 / fan_in.sqrt());
        param.tensor.shallow_clone().copy_(&values.view(&shape[..]).to_kind(Kind::Float));
    }
}

/// Paths and shapes in order.
pub(crate) fn keys(params: &Params) -> Vec<String> {
    params.entries().iter().map(|p| format!("{} {:?}", p.path, p.tensor.size())).collect()
}

/// Same shape, and no value differs by more than `tolerance`.
pub(crate) fn close(got: &Tensor, want: &Tensor, tolerance: f64) {
    assert_eq!(got.size(), want.size());
    let worst = (got - want).abs().max().double_value(&[]);
    assert!(worst <= tolerance, "{worst}");
}
