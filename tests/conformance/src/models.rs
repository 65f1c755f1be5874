//! Models whose answer is known, for solvers to be tried on.

use anneal::diffusion::Denoise;
use anneal::error::{ComponentError, ErrorCode};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tch::{Kind, Tensor};

/// What a model estimates.
pub trait Estimate {
    fn estimate(&self, x: &Tensor, sigma: f64) -> Tensor;
}

/// Always the same.
pub struct Constant(pub Tensor);

impl Estimate for Constant {
    fn estimate(&self, x: &Tensor, _: f64) -> Tensor {
        self.0.expand_as(x).copy()
    }
}

/// The exact denoiser of data that are normal with standard deviation `s`: `x s^2 / (s^2 + sigma^2)` (Karras et al. 2022,
/// appendix B).
pub struct Gaussian(pub f64);

impl Estimate for Gaussian {
    fn estimate(&self, x: &Tensor, sigma: f64) -> Tensor {
        x * (self.0 * self.0 / (self.0 * self.0 + sigma * sigma))
    }
}

/// A model that writes down what it is asked, fails and stops where it is told to.
pub struct Model<E> {
    pub estimate: E,
    pub shape: Vec<i64>,
    pub sigmas: Vec<f64>,
    pub progress: Vec<(u32, u32)>,
    pub noise: u64,
    pub fails_at: Option<usize>,
    pub stops_at: Option<usize>,
    pub calls_after_stop: usize,
}

impl<E: Estimate> Model<E> {
    pub fn new(estimate: E, shape: &[i64]) -> Self {
        Self {
            estimate,
            shape: shape.to_vec(),
            sigmas: Vec::new(),
            progress: Vec::new(),
            noise: 0,
            fails_at: None,
            stops_at: None,
            calls_after_stop: 0,
        }
    }
}

impl<E: Estimate> Denoise for Model<E> {
    fn denoise(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor, ComponentError> {
        self.sigmas.push(sigma);
        if self.stops_at.is_some_and(|at| self.progress.len() > at) {
            self.calls_after_stop += 1;
        }
        if self.fails_at == Some(self.sigmas.len()) {
            return Err(ComponentError::new("the model", ErrorCode::Numeric, "told to fail"));
        }
        Ok(self.estimate.estimate(x, sigma))
    }

    fn gaussian(&mut self) -> Tensor {
        self.noise += 1;
        normal(self.noise, &self.shape)
    }

    fn progress(&mut self, step: u32, total: u32, _: f64) -> bool {
        self.progress.push((step, total));
        self.stops_at.is_none_or(|at| self.progress.len() <= at)
    }
}

/// Normal numbers that are a function of `which`.
pub fn normal(which: u64, shape: &[i64]) -> Tensor {
    let mut random = ChaCha8Rng::seed_from_u64(which);
    let mut uniform = || random.random::<f64>().max(1e-300);
    let count = shape.iter().product::<i64>();
    let values: Vec<f64> =
        (0..count).map(|_| (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()).collect();
    Tensor::from_slice(&values).to_kind(Kind::Float).view(shape)
}
