//! The Gaussian over latents that an encoder gives.

use tch::{Kind, Tensor};

/// Axes of one row.
const ROW: [i64; 3] = [1, 2, 3];

/// A Gaussian with a mean and a variance for each value.
#[derive(Debug)]
pub struct DiagonalGaussian {
    /// `[n, c, h, w]`.
    pub mean: Tensor,
    /// Logarithm of the variance, clamped to `[-30, 20]`: `[n, c, h, w]`.
    pub logvar: Tensor,
}

impl DiagonalGaussian {
    /// # Shapes
    /// - `moments`: `[n, 2*c, h, w]`, means then log-variances
    pub fn new(moments: &Tensor) -> Self {
        let parts = moments.chunk(2, 1);
        Self { mean: parts[0].shallow_clone(), logvar: parts[1].clamp(-30.0, 20.0) }
    }

    /// Standard deviations: `[n, c, h, w]`.
    pub fn std(&self) -> Tensor {
        (&self.logvar * 0.5).exp()
    }

    /// Variances: `[n, c, h, w]`.
    pub fn var(&self) -> Tensor {
        self.logvar.exp()
    }

    /// The sample that `noise` draws.
    ///
    /// # Shapes
    /// - `noise`: `[n, c, h, w]`, standard normal
    /// - result: `[n, c, h, w]`
    pub fn sample(&self, noise: &Tensor) -> Tensor {
        &self.mean + self.std() * noise
    }

    /// The most likely latent: `[n, c, h, w]`.
    pub fn mode(&self) -> Tensor {
        self.mean.shallow_clone()
    }

    /// Divergence from the standard normal, summed over a row: `[n]`, in nats.
    pub fn kl(&self) -> Tensor {
        let each = self.mean.square() + self.var() - 1.0 - &self.logvar;
        each.sum_dim_intlist(ROW.as_slice(), false, None::<Kind>) * 0.5
    }

    /// Divergence from `other`, summed over a row: `[n]`, in nats.
    pub fn kl_from(&self, other: &Self) -> Tensor {
        let var = other.var();
        let each = (&self.mean - &other.mean).square() / &var + self.var() / var - 1.0 - &self.logvar + &other.logvar;
        each.sum_dim_intlist(ROW.as_slice(), false, None::<Kind>) * 0.5
    }

    /// Negative log-likelihood of `sample`, summed over a row.
    ///
    /// # Shapes
    /// - `sample`: `[n, c, h, w]`
    /// - result: `[n]`, in nats
    pub fn nll(&self, sample: &Tensor) -> Tensor {
        let distance = (sample - &self.mean).square() / self.var();
        let each = distance + &self.logvar + std::f64::consts::TAU.ln();
        each.sum_dim_intlist(ROW.as_slice(), false, None::<Kind>) * 0.5
    }
}

/// Divergence of one Gaussian from another, value by value, in nats.
///
/// # Shapes
/// - all: of one shape, or broadcast to one
pub fn normal_kl(mean1: &Tensor, logvar1: &Tensor, mean2: &Tensor, logvar2: &Tensor) -> Tensor {
    let distance = (mean1 - mean2).square() * (-logvar2).exp();
    (logvar2 - logvar1 + (logvar1 - logvar2).exp() + distance - 1.0) * 0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{F32, close};

    fn moments() -> Tensor {
        Tensor::from_slice(&[1f32, -2.0, 0.0, 1.0]).view([1, 2, 1, 2])
    }

    #[test]
    fn equals_the_closed_forms() {
        let posterior = DiagonalGaussian::new(&moments());
        let e = std::f64::consts::E;
        // Means 1 and -2, log-variances 0 and 1.
        let kl = 0.5 * ((1.0 + 1.0 - 1.0) + (4.0 + e - 1.0 - 1.0));
        assert!((posterior.kl().double_value(&[0]) - kl).abs() < 1e-5);
        assert!(posterior.kl_from(&DiagonalGaussian::new(&moments())).double_value(&[0]).abs() < 1e-6);
        let standard = DiagonalGaussian::new(&Tensor::zeros([1, 2, 1, 2], F32));
        close(&posterior.kl_from(&standard), &posterior.kl(), 1e-5);
        let nll = 0.5 * (2.0 * std::f64::consts::TAU.ln() + 1.0);
        assert!((posterior.nll(&posterior.mode()).double_value(&[0]) - nll).abs() < 1e-5);
        let each = normal_kl(&posterior.mean, &posterior.logvar, &standard.mean, &standard.logvar);
        close(&each.sum_dim_intlist(ROW.as_slice(), false, Kind::Float), &posterior.kl(), 1e-5);
        let drawn = posterior.sample(&Tensor::ones([1, 1, 1, 2], F32));
        assert!((drawn.double_value(&[0, 0, 0, 1]) - (-2.0 + 0.5f64.exp())).abs() < 1e-6);
    }

    #[test]
    fn log_variances_are_clamped() {
        let wild = Tensor::from_slice(&[0f32, 0.0, -100.0, 100.0]).view([1, 2, 1, 2]);
        let logvar = Vec::<f32>::try_from(DiagonalGaussian::new(&wild).logvar.view([2])).unwrap();
        assert_eq!(logvar, [-30.0, 20.0]);
    }
}
