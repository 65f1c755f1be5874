//! Values by formula, and comparison with numbers that were computed elsewhere.

use anneal_torch::grad_mode;
use tch::{Device, Kind, Tensor};

use crate::autoencoder::Latent;
use crate::params::{Params, Path};
use crate::testing::F32;

/// `sin(a + b*i)` for the index `i` of a value.
pub(crate) fn wave(a: f64, b: f64, shape: &[i64]) -> Tensor {
    (Tensor::arange(shape.iter().product::<i64>(), F32) * b + a).sin().reshape(shape)
}

/// An input, and the parameters of what it goes through.
pub(crate) struct Check {
    pub(crate) params: Params,
    pub(crate) z: Tensor,
}

impl Check {
    pub(crate) fn new() -> Self {
        let z = wave(0.3, 0.6, &[2, 3, 1, 2]).set_requires_grad(true);
        Self { params: Params::new(Device::Cpu, 1), z }
    }

    pub(crate) fn root(&self) -> Path {
        self.params.root()
    }

    pub(crate) fn param(&self, path: &str) -> Tensor {
        self.params.entries().into_iter().find(|param| param.path == path).unwrap().tensor
    }

    pub(crate) fn set(&mut self, path: &str, value: Tensor) {
        let _no_grad = grad_mode::no_grad();
        self.param(path).copy_(&value);
    }

    /// The gradients of the latent weighed by a formula, and of the first term.
    pub(crate) fn backward(&self, latent: &Latent, weight: f64) {
        ((&latent.z * wave(0.5, 0.9, &[2, 3, 1, 2])).sum(Kind::Float) + &latent.terms[0].1 * weight).backward();
    }

    pub(crate) fn scalar(&self, latent: &Latent, name: &str, want: f64) {
        let (_, got) = latent.terms.iter().find(|(term, _)| term == name).unwrap();
        assert!(got.size().is_empty() && (got.double_value(&[]) - want).abs() < 2e-6, "{name}: {got}");
    }

    pub(crate) fn close(&self, what: &str, got: &Tensor, want: &[f32]) {
        let worst = (got.flatten(0, -1) - Tensor::from_slice(want)).abs().max().double_value(&[]);
        assert!(got.numel() == want.len() && worst < 2e-5, "{what} is off by {worst}");
    }

    pub(crate) fn close_grad(&self, path: &str, want: &[f32]) {
        self.close(path, &self.param(path).grad(), want);
    }
}
