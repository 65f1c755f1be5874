//! The moving average of the network's weights (upstream's `LitEma`).

use anneal_torch::grad_mode;
use tch::Tensor;

use super::FlatParams;
use crate::weights::Named;

/// `shadow <- shadow + (1 - d) * (weight - shadow)`, with `d = min(decay, (1 + n) / (10 + n))` at update `n`.
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    warm_up: bool,
    num_updates: u64,
    shadow: Tensor,
    // A view of the flat values where the network's lie: those of embedders, which are not averaged, come after them.
    weights: Tensor,
    names: Vec<(String, Tensor)>,
}

impl Ema {
    /// An average that starts at the first `num_params` parameters of `params`, which lie before all others in memory. Make
    /// it after weights are loaded.
    pub fn new(params: &FlatParams, num_params: usize, decay: f64, warm_up: bool) -> Self {
        let _no_grad = grad_mode::no_grad();
        let places = &params.places()[..num_params];
        let len = places.iter().map(|place| place.offset + place.room).max().unwrap_or(0);
        let weights = params.values().narrow(0, 0, len);
        let shadow = weights.copy();
        let names = places.iter().map(|place| (place.name.clone(), place.view(&shadow))).collect();
        Self { decay, warm_up, num_updates: 0, shadow, weights, names }
    }

    /// Moves the average towards the weights as they are.
    pub fn update(&mut self) {
        let _no_grad = grad_mode::no_grad();
        self.num_updates += 1;
        let n = self.num_updates as f64;
        let decay = if self.warm_up { self.decay.min((1.0 + n) / (10.0 + n)) } else { self.decay };
        let _ = self.shadow.lerp_(&self.weights, 1.0 - decay);
    }

    /// Updates so far.
    pub fn num_updates(&self) -> u64 {
        self.num_updates
    }

    /// Sets the number of updates, as a checkpoint says.
    pub fn set_num_updates(&mut self, num_updates: u64) {
        self.num_updates = num_updates;
    }

    /// Starts again at the weights as they are.
    pub fn reset(&mut self) {
        let _no_grad = grad_mode::no_grad();
        self.shadow.copy_(&self.weights);
        self.num_updates = 0;
    }

    /// The averages by checkpoint key, as views.
    pub fn shadows(&self) -> Vec<Named> {
        self.names.iter().map(|(name, view)| (name.clone(), view.shallow_clone())).collect()
    }

    /// Runs `f` with the averages in place of the weights, and puts the weights back, also on panic.
    pub fn with_averages<R>(&mut self, f: impl FnOnce() -> R) -> R {
        struct PutBack<'a> {
            weights: &'a mut Tensor,
            saved: Tensor,
        }
        impl Drop for PutBack<'_> {
            fn drop(&mut self) {
                let _no_grad = grad_mode::no_grad();
                self.weights.copy_(&self.saved);
            }
        }
        let saved = {
            let _no_grad = grad_mode::no_grad();
            let saved = self.weights.copy();
            self.weights.copy_(&self.shadow);
            saved
        };
        let _put_back = PutBack { weights: &mut self.weights, saved };
        f()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn params() -> (Tensor, FlatParams) {
        let weight = Tensor::zeros([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let embedder = Tensor::zeros([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let named = vec![("w".to_owned(), weight.shallow_clone()), ("e".to_owned(), embedder)];
        (weight, FlatParams::new(named))
    }

    /// The figures of upstream's LitEma for a constant 1 averaged from 0.
    #[test]
    fn warm_up_is_upstreams() {
        let (_, params) = params();
        let mut ema = Ema::new(&params, 1, 0.9999, true);
        let _ = params.values().shallow_clone().fill_(1.0);
        for expected in [0.818_182, 0.954_545, 0.986_014, 0.995_005, 0.998_002] {
            ema.update();
            let got = ema.shadows()[0].1.double_value(&[0]);
            assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
        assert_eq!(ema.shadows().len(), 1);
    }

    #[test]
    fn averages_stand_in_for_weights_and_leave_again() {
        let (weight, params) = params();
        let mut ema = Ema::new(&params, 1, 0.5, false);
        let _ = params.values().shallow_clone().fill_(4.0);
        ema.update();
        let inside = ema.with_averages(|| weight.double_value(&[1]));
        assert_eq!((inside, weight.double_value(&[1])), (2.0, 4.0));
        ema.reset();
        assert_eq!((ema.shadows()[0].1.double_value(&[0]), ema.num_updates()), (4.0, 0));
    }
}
