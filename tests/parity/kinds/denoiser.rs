//! `denoiser.*`: the denoiser around a stub network, which records what it is given.

use std::sync::{Arc, Mutex};

use anneal::conditioner::Conditions;
use anneal::diffusion::{ExtraInputs, Wrapper};
use anneal_nn::{Network, NetworkInput};
use tch::Tensor;

use super::model;
use crate::case::{Case, Outputs};

/// `0.3 * x + 0.1 * c_noise`.
struct Stub(Arc<Mutex<Outputs>>);

impl Network for Stub {
    fn forward(&self, input: &NetworkInput<'_>) -> Tensor {
        let mut seen = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.insert("out.net_x".to_owned(), input.x.copy());
        seen.insert("out.net_c_noise".to_owned(), input.c_noise.copy());
        let mut shape = vec![1; input.x.dim()];
        shape[0] = -1;
        input.x * 0.3 + input.c_noise.reshape(&shape[..]) * 0.1
    }
}

/// Runs a case.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let denoiser = model::denoiser(&case.config()?)?;
    let seen = Arc::new(Mutex::new(Outputs::new()));
    let wrapper = Wrapper::new(Box::new(Stub(seen.clone())), None);
    let (x, sigmas) = (case.input("x")?, case.numbers("sigma")?);
    let denoised = denoiser
        .denoise(&wrapper, &x, &sigmas, &Conditions::default(), &ExtraInputs::default(), false)
        .map_err(|error| error.to_string())?;
    let mut outputs = std::mem::take(&mut *seen.lock().map_err(|error| error.to_string())?);
    outputs.insert("out.denoised".to_owned(), denoised);
    Ok(outputs)
}
