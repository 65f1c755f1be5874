//! Multistep solvers: earlier answers of the model make up for fewer calls.

use std::collections::VecDeque;

use plugin_api::wasm::prelude::*;

/// DPM-Solver++(2M) (Lu et al. 2022, algorithm 2). The first and the last step are of first order.
#[derive(Config)]
pub struct Dpmpp2m {}

impl Sampler for Dpmpp2m {
    fn estimate(&self, num_steps: u32) -> Cost {
        Cost { denoise_calls: num_steps, live_latents: 3, draws_noise: false }
    }

    fn sample(&self, mut x: Latent, sigmas: &[f64], run: &Run) -> Result<Latent> {
        let mut earlier: Option<Latent> = None;
        for i in 0..sigmas.len() - 1 {
            let (sigma, next) = (sigmas[i], sigmas[i + 1]);
            let denoised = x.denoise(sigma)?;
            // h is the step in t = -ln(sigma); at next = 0 it is infinite, and the weight of the model's answer is 1.
            let h = (sigma / next).ln();
            let weight = -(-h).exp_m1();
            match earlier.as_ref().filter(|_| next > 0.0) {
                Some(earlier) => {
                    let r = (sigmas[i - 1] / sigma).ln() / h;
                    let slope = weight / (2.0 * r);
                    x.update(next / sigma, &[(weight + slope, &denoised), (-slope, earlier)])?;
                }
                None => x.update(next / sigma, &[(weight, &denoised)])?,
            }
            earlier = Some(denoised);
            run.progress(i, sigmas)?;
        }
        Ok(x)
    }
}

/// Adams-Bashforth in sigma, on its uneven grid.
#[derive(Config)]
pub struct LinearMultistep {
    /// Slopes that a step is made of.
    #[config(default = 4, min = 1, max = 8)]
    order: u32,
}

impl Sampler for LinearMultistep {
    fn estimate(&self, num_steps: u32) -> Cost {
        Cost { denoise_calls: num_steps, live_latents: 1 + self.order.min(num_steps), draws_noise: false }
    }

    fn sample(&self, mut x: Latent, sigmas: &[f64], run: &Run) -> Result<Latent> {
        // The latest slope comes first.
        let mut slopes: VecDeque<Latent> = VecDeque::new();
        for i in 0..sigmas.len() - 1 {
            slopes.truncate(self.order as usize - 1);
            let mut slope = x.denoise(sigmas[i])?;
            slope.update(-sigmas[i].recip(), &[(sigmas[i].recip(), &x)])?;
            slopes.push_front(slope);
            let coefficients = coefficients(sigmas, i, slopes.len());
            let terms: Vec<(f64, &Latent)> = coefficients.into_iter().zip(&slopes).collect();
            x.update(1.0, &terms)?;
            run.progress(i, sigmas)?;
        }
        Ok(x)
    }
}

/// Nodes and weights of Gauss-Legendre quadrature on `[-1, 1]`, exact up to degree 7; the polynomials have degree
/// `order - 1`.
const QUADRATURE: [(f64, f64); 4] = [
    (-0.861_136_311_594_052_6, 0.347_854_845_137_453_9),
    (-0.339_981_043_584_856_3, 0.652_145_154_862_546_1),
    (0.339_981_043_584_856_3, 0.652_145_154_862_546_1),
    (0.861_136_311_594_052_6, 0.347_854_845_137_453_9),
];

/// For each of the `order` latest slopes, latest first, the integral over the step from `sigmas[i]` to `sigmas[i + 1]`
/// of its Lagrange polynomial.
fn coefficients(sigmas: &[f64], i: usize, order: usize) -> Vec<f64> {
    let (middle, half) = ((sigmas[i + 1] + sigmas[i]) / 2.0, (sigmas[i + 1] - sigmas[i]) / 2.0);
    let lagrange = |j: usize, at: f64| -> f64 {
        let others = (0..order).filter(|&k| k != j);
        others.map(|k| (at - sigmas[i - k]) / (sigmas[i - j] - sigmas[i - k])).product()
    };
    let integral =
        |j| half * QUADRATURE.iter().map(|(node, weight)| weight * lagrange(j, middle + half * node)).sum::<f64>();
    (0..order).map(integral).collect()
}

#[cfg(test)]
mod tests {
    use super::coefficients;

    #[test]
    fn coefficients_integrate_polynomials_exactly() {
        let sigmas = [9.0, 7.5, 4.0, 3.0, 2.9, 1.0, 0.5, 0.2, 0.0];
        for (order, i) in [(1, 0), (2, 1), (4, 5), (8, 7)] {
            let weights = coefficients(&sigmas, i, order);
            for degree in 0..order as i32 {
                let got: f64 = weights.iter().enumerate().map(|(j, weight)| weight * sigmas[i - j].powi(degree)).sum();
                let primitive = |at: f64| at.powi(degree + 1) / f64::from(degree + 1);
                let expected = primitive(sigmas[i + 1]) - primitive(sigmas[i]);
                assert!((got / expected - 1.0).abs() < 1e-6, "order {order}, degree {degree}: {got} is not {expected}");
            }
        }
    }
}
