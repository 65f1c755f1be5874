//! Components as solvers. The guest runs on a thread of its own; model and latents stay on the caller's, where every
//! tensor operation happens.

use crossbeam_channel::unbounded;
use tch::Tensor;
use wasmtime::component::Resource;

use super::bindings::guest;
use super::entry::{Entry, Running, call};
use super::limits::{CALL_FUEL, DENOISE_FUEL};
use super::report::refused;
use super::session::{Budget, Job, Refusal, Session};
use crate::diffusion::{Denoise, Sampler};
use crate::error::{ComponentError, ErrorCode};

type Guest = guest::sampling::GuestIndices;
type GuestFunctions = guest::sampling::Guest;

/// A configured solver.
pub struct WasmSampler {
    entry: Entry<Guest>,
}

impl WasmSampler {
    pub fn new(entry: Entry<Guest>) -> Self {
        Self { entry }
    }

    fn broken(&self, code: ErrorCode, message: impl Into<String>) -> ComponentError {
        ComponentError::new(self.entry.name(), code, message)
    }

    fn budget(&self, running: &mut Running<GuestFunctions>, num_steps: u32) -> Result<Budget, ComponentError> {
        let cost =
            call(&mut running.store, CALL_FUEL, "estimate", |store| running.guest.call_estimate(store, num_steps))?;
        let guest::sampling::Cost { denoise_calls, live_latents, draws_noise } = cost;
        let budget = Budget { denoise_calls, live_latents, draws_noise };
        budget.admit(num_steps).map_err(|message| self.broken(ErrorCode::BudgetExhausted, message))
    }

    /// What came of a run: the model's own failure and the user's wish to stop come before the guest's words.
    fn conclude(
        &self,
        session: &mut Session<'_>,
        returned: Result<u32, ComponentError>,
        shape: &[i64],
    ) -> Result<Tensor, ComponentError> {
        if let Some(failure) = session.failure.take() {
            return Err(failure);
        }
        if session.cancelled {
            return Err(self.broken(ErrorCode::Cancelled, "the run was stopped"));
        }
        let sample = session.remove(returned?);
        let sample = sample.ok_or_else(|| self.broken(ErrorCode::Internal, "returned a latent that does not exist"))?;
        if sample.size() != shape {
            let message = format!("returned a latent of shape {:?} for one of shape {shape:?}", sample.size());
            return Err(self.broken(ErrorCode::Internal, message));
        }
        let finite = sample.isfinite().all().int64_value(&[]) != 0;
        if finite { Ok(sample) } else { Err(self.broken(ErrorCode::Numeric, "the sample is not finite")) }
    }
}

impl Sampler for WasmSampler {
    fn sample(&mut self, x: Tensor, sigmas: &[f64], model: &mut dyn Denoise) -> Result<Tensor, ComponentError> {
        if sigmas.len() < 2 {
            return Err(self.broken(ErrorCode::InvalidArgument, format!("{} sigmas make no step", sigmas.len())));
        }
        // A run takes an instance and does not give it back, so that nothing of it is left for the next run.
        let mut running = self.entry.take()?;
        let budget = self.budget(&mut running, sigmas.len() as u32 - 1)?;
        let shape = x.size();
        let mut session = Session::new(model, budget, sigmas[0]);
        let first = match session.insert(x) {
            Ok(id) => id,
            Err(Refusal::Error(code, message)) => return Err(self.broken(code, message)),
            Err(Refusal::Stop(message)) => return Err(self.broken(ErrorCode::Internal, message)),
        };
        let (jobs, requests) = unbounded::<Job>();
        running.store.data_mut().session = Some(jobs);
        let fuel = CALL_FUEL + DENOISE_FUEL * u64::from(budget.denoise_calls);
        let name = self.entry.name();
        let returned = std::thread::scope(|scope| {
            let guest = std::thread::Builder::new()
                .name("wasm-sampler".to_owned())
                .spawn_scoped(scope, move || run_guest(running, name, first, sigmas, fuel))
                .map_err(|error| ComponentError::new(name, ErrorCode::Internal, error.to_string()))?;
            // The guest's thread owns the other end, and drops it when it returns.
            for job in requests {
                job(&mut session);
            }
            guest.join().unwrap_or_else(|_| Err(ComponentError::new(name, ErrorCode::Internal, "its thread panicked")))
        });
        self.conclude(&mut session, returned, &shape)
    }
}

/// Runs the solver to its end, on its own thread. The store goes with it.
fn run_guest(
    mut running: Running<GuestFunctions>,
    name: &str,
    first: u32,
    sigmas: &[f64],
    fuel: u64,
) -> Result<u32, ComponentError> {
    let result = call(&mut running.store, fuel, "sample", |store| {
        running.guest.call_sample(store, Resource::new_own(first), sigmas, Resource::new_borrow(0))
    })?;
    result.map(|latent| latent.rep()).map_err(|error| refused(name, error))
}
