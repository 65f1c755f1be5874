//! Frozen weights that lie in the CPU's memory between uses.

use anneal_torch::grad_mode;
use tch::{Device, Tensor};

/// Tensors that are on another device only while they are used. Whoever holds one of them sees it move.
#[derive(Debug, Default)]
pub struct OffLoaded {
    tensors: Vec<Tensor>,
    place: Option<Device>,
}

/// While it lives, the tensors are where they are used.
#[must_use]
pub struct Present<'a>(Vec<(&'a Tensor, Tensor)>);

impl OffLoaded {
    /// Tensors, on the CPU and without gradients, that are used on `place`.
    pub fn new(tensors: Vec<Tensor>, place: Device) -> Self {
        Self { tensors, place: Some(place) }
    }

    /// Moves the tensors to where they are used. Where that is the CPU, they are there.
    pub fn present(&self) -> Present<'_> {
        match self.place {
            None | Some(Device::Cpu) => Present(Vec::new()),
            Some(place) => self.present_as(|tensor| tensor.to_device(place)),
        }
    }

    fn present_as(&self, moved: impl Fn(&Tensor) -> Tensor) -> Present<'_> {
        let _no_grad = grad_mode::no_grad();
        let present = |tensor: &'_ Tensor| {
            let home = tensor.detach();
            tensor.shallow_clone().set_data(&moved(&home));
            home
        };
        Present(self.tensors.iter().map(|tensor| (tensor, present(tensor))).collect())
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        // Nothing has written to them, so what is at home is what they are.
        for (tensor, home) in &self.0 {
            tensor.shallow_clone().set_data(home);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn tensors_are_away_and_come_home_also_after_a_panic() {
        let weight = Tensor::from_slice(&[1.0_f32, 2.0]);
        let held = weight.shallow_clone();
        let home = weight.data_ptr();
        let off_loaded = OffLoaded::new(vec![weight], Device::Cpu);
        {
            let _present = off_loaded.present_as(Tensor::copy);
            assert!(held.data_ptr() != home && held.double_value(&[1]) == 2.0);
        }
        assert_eq!(held.data_ptr(), home);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _present = off_loaded.present_as(Tensor::copy);
            panic!("while they are away");
        }));
        assert!(panicked.is_err() && held.data_ptr() == home);
        let _present = off_loaded.present();
        assert_eq!(held.data_ptr(), home, "on the CPU nothing moves");
    }
}
