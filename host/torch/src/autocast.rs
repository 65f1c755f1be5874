//! Autocast: operations choose a lower precision by themselves while a guard lives.

use std::marker::PhantomData;

use tch::{Device, Kind};

use crate::ffi::{self, AutocastState};

/// While it lives, operations of this thread on the device run under autocast. Restores the former state, also on panic.
#[derive(Debug)]
pub struct Autocast {
    cuda: bool,
    old: Option<AutocastState>,
    not_send: PhantomData<*const ()>,
}

impl Autocast {
    /// Autocast to `kind` (bf16 or f16) for `device`.
    pub fn new(device: Device, kind: Kind) -> Self {
        Self::push(device, ffi::scalar_type(kind))
    }

    /// No autocast for `device`.
    pub fn disabled(device: Device) -> Self {
        Self::push(device, -1)
    }

    fn push(device: Device, kind: i32) -> Self {
        let cuda = device.is_cuda();
        let mut old = AutocastState::default();
        // SAFETY: `old` outlives the call.
        let pushed = ffi::check(unsafe { ffi::anneal_torch_autocast_push(cuda.into(), kind, &raw mut old) });
        Self { cuda, old: pushed.is_ok().then_some(old), not_send: PhantomData }
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        if let Some(old) = &self.old {
            // SAFETY: `old` is the state that push filled.
            let _ = unsafe { ffi::anneal_torch_autocast_pop(self.cuda.into(), old) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    #[test]
    fn layers_follow_the_guard_also_after_another_one() {
        drop(Autocast::new(Device::Cpu, Kind::BFloat16));
        let weight = Tensor::randn([4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let kernel = Tensor::randn([4, 4, 1, 1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let x = Tensor::randn([2, 4, 3, 4], (Kind::Float, Device::Cpu));
        let _guard = Some(Kind::BFloat16).map(|kind| Autocast::new(x.device(), kind));
        assert_eq!(x.linear(&weight, None::<&Tensor>).kind(), Kind::BFloat16);
        assert_eq!(x.conv2d(&kernel, None::<&Tensor>, [1, 1], [0, 0], [1, 1], 1).kind(), Kind::BFloat16);
    }

    #[test]
    fn matmul_follows_the_guard_and_gradients_stay_f32() {
        let a = Tensor::randn([3, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        {
            let _guard = Autocast::new(Device::Cpu, Kind::BFloat16);
            let product = a.matmul(&a);
            assert_eq!(product.kind(), Kind::BFloat16);
            {
                let _off = Autocast::disabled(Device::Cpu);
                assert_eq!(a.matmul(&a).kind(), Kind::Float);
            }
            assert_eq!(a.matmul(&a).kind(), Kind::BFloat16);
            product.to_kind(Kind::Float).sum(Kind::Float).backward();
        }
        assert_eq!(a.grad().kind(), Kind::Float);
        assert_eq!(a.matmul(&a).kind(), Kind::Float);
    }
}
