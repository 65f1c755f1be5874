//! Trained parameters as views of one flat tensor, their gradients as views of another.
//!
//! Clipping, the optimizer and the moving average then are one operation each, however many parameters there are.

use anneal_torch::{grad_mode, tensor as raw};
use tch::{Kind, Tensor};

use crate::weights::Named;

/// Where a parameter lies in the flat tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its checkpoint key.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
    /// Its first element.
    pub offset: i64,
    /// Its number of elements.
    pub len: i64,
    /// Elements from its first to that of whichever comes next: its own, and what fills up its last block.
    pub room: i64,
}

/// How parameters lie in flat storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlatLayout {
    /// Of each parameter, in order: those of a lower rank come first, so that those of one rank lie side by side.
    pub ranks: Vec<usize>,
    /// A parameter begins at a multiple of so many elements.
    pub block: i64,
}

/// Trained parameters in flat storage.
///
/// A parameter that backward has never reached has no gradient, as in PyTorch: the optimizer leaves it alone.
#[derive(Debug)]
pub struct FlatParams {
    places: Vec<Place>,
    // The places as they lie in memory.
    in_memory: Vec<usize>,
    params: Vec<Tensor>,
    values: Tensor,
    grads: Tensor,
    reached: Vec<bool>,
}

impl FlatParams {
    /// Moves the storage of `params`, f32 leaves on one device, into one tensor, side by side in their order.
    pub fn new(params: Vec<Named>) -> Self {
        let ranks = vec![0; params.len()];
        Self::laid_out(params, &FlatLayout { ranks, block: 1 })
    }

    /// As [`FlatParams::new`], laid out as `layout` says. What fills up blocks stays zero.
    pub fn laid_out(params: Vec<Named>, layout: &FlatLayout) -> Self {
        let _no_grad = grad_mode::no_grad();
        let mut places: Vec<Place> = params
            .iter()
            .map(|(name, param)| {
                let len = param.numel() as i64;
                let room = (len + layout.block - 1) / layout.block * layout.block;
                Place { name: name.clone(), shape: param.size(), offset: 0, len, room }
            })
            .collect();
        let mut in_memory: Vec<usize> = (0..places.len()).collect();
        in_memory.sort_by_key(|&i| layout.ranks[i]);
        let mut offset = 0;
        for &i in &in_memory {
            places[i].offset = offset;
            offset += places[i].room;
        }
        let device = params.first().map_or(tch::Device::Cpu, |(_, param)| param.device());
        let values = Tensor::zeros([offset], (Kind::Float, device));
        let grads = Tensor::zeros([offset], (Kind::Float, device));
        let mut tensors = Vec::with_capacity(params.len());
        for (place, (_, mut param)) in places.iter().zip(params) {
            let view = place.view(&values);
            view.shallow_clone().copy_(&param);
            param.set_data(&view);
            // A view of the parameter's own shape, kind and device is always accepted.
            let kept = raw::keep_grad_in(&param, &place.view(&grads));
            debug_assert!(kept.is_ok(), "{kept:?}");
            tensors.push(param);
        }
        let reached = vec![false; places.len()];
        Self { places, in_memory, params: tensors, values, grads, reached }
    }

    /// Places of all parameters, in order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Indices of all parameters as they lie in the flat tensors, first to last.
    pub fn in_memory(&self) -> &[usize] {
        &self.in_memory
    }

    /// All values, `[numel]`.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// All gradients, `[numel]`; after [`FlatParams::collect`], zero where none arrived.
    pub fn grads(&self) -> &Tensor {
        &self.grads
    }

    /// Which parameters have ever had a gradient, in order.
    pub fn reached(&self) -> &[bool] {
        &self.reached
    }

    /// Declares which parameters have had a gradient, as a checkpoint says.
    pub fn set_reached(&mut self, reached: Vec<bool>) {
        self.reached = reached;
        self.zero_grad();
    }

    /// Forgets all gradients.
    pub fn zero_grad(&mut self) {
        self.params.iter().for_each(raw::clear_grad);
    }

    /// Takes note of whom backward reached. Call it after each backward.
    pub fn collect(&mut self) {
        let _no_grad = grad_mode::no_grad();
        for ((param, place), reached) in self.params.iter().zip(&self.places).zip(&mut self.reached) {
            if raw::has_grad(param) {
                *reached = true;
            } else if *reached {
                // What is left there is an earlier step's.
                let _ = place.view(&self.grads).zero_();
            }
        }
    }
}

impl Place {
    /// The part of `flat` that is this parameter's.
    pub fn view(&self, flat: &Tensor) -> Tensor {
        flat.narrow(0, self.offset, self.len).view(&self.shape[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_nn::{Init, Params};
    use anneal_torch::count::count;
    use tch::Device;

    #[test]
    fn parameters_and_gradients_share_flat_storage() {
        let leaf =
            |value: f64, shape: &[i64]| Tensor::full(shape, value, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let (a, b, unused) = (leaf(2.0, &[2, 2]), leaf(3.0, &[3]), leaf(4.0, &[1]));
        let named = [("a", &a), ("u", &unused), ("b", &b)];
        let mut flat = FlatParams::new(named.iter().map(|(n, t)| ((*n).to_owned(), t.shallow_clone())).collect());
        flat.zero_grad();
        for _ in 0..2 {
            (a.sum(Kind::Float) * b.sum(Kind::Float)).backward();
            flat.collect();
        }
        assert_eq!(flat.reached(), [true, false, true]);
        let grads = Vec::<f32>::try_from(flat.grads()).unwrap();
        assert_eq!(grads, [18.0, 18.0, 18.0, 18.0, 0.0, 16.0, 16.0, 16.0]);
        // Writing to the flat tensor moves the parameter, and the other way round.
        let _ = flat.values().shallow_clone().fill_(7.0);
        assert_eq!(f64::try_from(b.get(1)).unwrap(), 7.0);
        flat.zero_grad();
        (&a * 1.0).sum(Kind::Float).backward();
        flat.collect();
        let grads = Vec::<f32>::try_from(flat.grads()).unwrap();
        assert_eq!(grads, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], "nothing is left of an earlier step");
        assert!(!raw::has_grad(&unused));
    }

    #[test]
    fn nothing_stays_of_the_storage_that_parameters_had() {
        let inits =
            [Init::fan_in(4), Init::Const(0.5), Init::Normal { std: 1.0 }, Init::NormalAround { mean: 1.0, std: 1.0 }];
        let (flat, counted) = count(|| {
            let params = Params::new(Device::Cpu, 0);
            let held = inits.map(|init| params.root().param(&format!("{init:?}"), &[5, 25], init));
            let flat = FlatParams::new(held.iter().map(|param| (String::new(), param.shallow_clone())).collect());
            (flat, held)
        })
        .unwrap();
        assert_eq!(counted.kept, 2 * 4 * 500, "values and gradients");
        drop(flat);
    }

    #[test]
    fn a_layout_groups_and_aligns() {
        let leaf = |len: i64| Tensor::ones([len], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let named = ["a", "b", "c", "d"].iter().zip([3, 5, 4, 1]).map(|(name, len)| ((*name).to_owned(), leaf(len)));
        let flat = FlatParams::laid_out(named.collect(), &FlatLayout { ranks: vec![1, 0, 1, 0], block: 4 });
        let offsets: Vec<i64> = flat.places().iter().map(|place| place.offset).collect();
        assert_eq!(offsets, [12, 0, 16, 8]);
        assert_eq!((flat.in_memory(), flat.values().size()), (&[1, 3, 0, 2][..], vec![20]));
        assert_eq!(flat.values().sum(Kind::Float).double_value(&[]), 13.0, "what fills up blocks is zero");
    }
}
