//! Embedders that multiply `[n, 4]` numbers by a parameter and have a fault that only libtorch's own interface allows.

use plugin_api::tch;
use plugin_api::tch::prelude::*;

/// Nothing to set.
#[derive(Config)]
pub struct Nothing {}

/// None.
pub const GOOD: u8 = 0;
/// It draws from libtorch's generator, and throws away what it drew.
pub const DRAWS_BY_ITSELF: u8 = 1;
/// Its embedding asks for a gradient whatever the host says.
pub const NEVER_FROZEN: u8 = 2;
/// It records for autograd though the host does not.
pub const IGNORES_GRAD_MODE: u8 = 3;
/// It leaves autograd off.
pub const LEAVES_GRAD_MODE: u8 = 4;
/// It leaves libtorch with more threads.
pub const CHANGES_THREADS: u8 = 5;
/// It writes to its input where libtorch does not count writes.
pub const WRITES_UNSEEN: u8 = 6;
/// It panics at tensors of another rank.
pub const PANICS_AT_ANOTHER_RANK: u8 = 7;

/// An embedder with a fault.
pub struct Saboteur<const FAULT: u8> {
    weight: Param,
}

impl<const FAULT: u8> Embedder<Tensor> for Saboteur<FAULT> {
    type Config = Nothing;

    fn new(_: Nothing, params: &mut Params) -> Result<Self> {
        Ok(Self { weight: params.declare("weight", &[4], Init::Ones) })
    }

    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let (input, weight) = (inputs.tensor()?, call.param(self.weight));
        if FAULT == PANICS_AT_ANOTHER_RANK {
            assert_eq!(input.dim(), 2, "told to panic");
        }
        if FAULT == WRITES_UNSEEN && input.is_floating_point() {
            let _ = input.f_data()?.f_clamp_(-0.5, 0.5)?;
        }
        let product = match FAULT {
            IGNORES_GRAD_MODE => tch::with_grad(|| input.f_mul(weight))?,
            _ => input.f_mul(weight)?,
        };
        match FAULT {
            DRAWS_BY_ITSELF => drop(product.f_rand_like()?),
            LEAVES_GRAD_MODE => std::mem::forget(tch::no_grad_guard()),
            CHANGES_THREADS => tch::set_num_threads(tch::get_num_threads() + 1),
            NEVER_FROZEN if !product.requires_grad() => return Ok(Outputs::by_rank(product.set_requires_grad(true))),
            _ => {}
        }
        Ok(Outputs::by_rank(product))
    }
}
