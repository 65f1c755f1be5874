//! Counter-based random streams: every draw is keyed, none depends on another.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Open01, StandardNormal};
use sha2::{Digest, Sha256};
use tch::Tensor;

/// A stream of random numbers, told apart from all others by seed, purpose, sample and step.
///
/// Two streams of the same key give the same numbers, whatever else was drawn before, in whatever thread.
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of a key. `purpose` names the use (`"noise"`, `"sigma"`, `"init/out.2.weight"`).
    pub fn new(seed: u64, purpose: &str, sample: u64, step: u64) -> Self {
        let mut key = Sha256::new();
        key.update(seed.to_le_bytes());
        key.update(sample.to_le_bytes());
        key.update(step.to_le_bytes());
        key.update(purpose.as_bytes());
        Self(ChaCha8Rng::from_seed(key.finalize().into()))
    }

    /// The next standard normal number.
    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// The next number uniform in `(0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        Open01.sample(&mut self.0)
    }

    /// A 64-bit number, for seeding what cannot be handed a stream.
    pub fn bits(&mut self) -> u64 {
        use rand::Rng;
        self.0.next_u64()
    }

    /// A permutation of `0..n` (Fisher and Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            let j = (self.uniform() * (i + 1) as f64) as usize;
            order.swap(i, j.min(i));
        }
        order
    }

    /// A tensor of standard normal numbers, f32 on the CPU.
    pub fn normal_tensor(&mut self, shape: &[i64]) -> Tensor {
        let n = shape.iter().product::<i64>() as usize;
        let values: Vec<f32> = (0..n).map(|_| StandardNormal.sample(&mut self.0)).collect();
        Tensor::from_slice(&values).reshape(shape)
    }

    /// A tensor of numbers uniform in `(0, 1)`, f32 on the CPU.
    pub fn uniform_tensor(&mut self, shape: &[i64]) -> Tensor {
        let n = shape.iter().product::<i64>() as usize;
        let values: Vec<f32> = (0..n).map(|_| Open01.sample(&mut self.0)).collect();
        Tensor::from_slice(&values).reshape(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_the_same_numbers_and_another_key_others() {
        let draw = |seed, purpose: &str, sample, step| -> Vec<f64> {
            let mut stream = Stream::new(seed, purpose, sample, step);
            (0..4).map(|_| stream.normal()).collect()
        };
        let first = draw(1, "noise", 2, 3);
        assert_eq!(first, draw(1, "noise", 2, 3));
        for other in [draw(2, "noise", 2, 3), draw(1, "sigma", 2, 3), draw(1, "noise", 3, 3), draw(1, "noise", 2, 4)] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut stream = Stream::new(7, "test", 0, 0);
        let normal = stream.normal_tensor(&[200, 500]);
        let (mean, std) = (normal.mean(tch::Kind::Double).double_value(&[]), normal.std(true).double_value(&[]));
        assert!(mean.abs() < 0.015 && (std - 1.0).abs() < 0.01, "{mean} {std}");
        let uniform = stream.uniform_tensor(&[100_000]);
        assert!((uniform.mean(tch::Kind::Double).double_value(&[]) - 0.5).abs() < 0.005);
        assert!(uniform.min().double_value(&[]) > 0.0 && uniform.max().double_value(&[]) < 1.0);
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = Stream::new(7, "order", 0, 0).permutation(1000);
        assert_ne!(order[..10], (0..10).collect::<Vec<_>>()[..]);
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }
}
