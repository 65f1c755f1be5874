//! The host functions a component may import.

use wasmtime::component::Resource;

use super::bindings::anneal::plugin::{log, tensors, types};
use super::bindings::{LatentId, NoiseId, PluginError, WireCode};
use super::session::{Answer, Refusal};
use super::state::HostState;
use crate::error::ErrorCode;

/// A result for the guest, inside a result that stops it.
type Reply<T> = wasmtime::Result<Result<T, PluginError>>;

impl types::Host for HostState {}

impl log::Host for HostState {
    fn enabled(&mut self, level: log::Level) -> wasmtime::Result<bool> {
        Ok(match level {
            log::Level::Trace => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
            log::Level::Debug => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
            log::Level::Info => tracing::enabled!(target: "plugin", tracing::Level::INFO),
            log::Level::Warn => tracing::enabled!(target: "plugin", tracing::Level::WARN),
            log::Level::Error => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
        })
    }

    fn write(&mut self, level: log::Level, message: String, fields: String) -> wasmtime::Result<()> {
        self.write_log(level, &message, &fields);
        Ok(())
    }
}

impl tensors::Host for HostState {
    fn progress(&mut self, step: u32, total: u32, sigma: f64) -> wasmtime::Result<bool> {
        self.ask(move |session| session.progress(step, total, sigma))
    }
}

impl tensors::HostLatent for HostState {
    fn denoise(&mut self, latent: Resource<LatentId>, sigma: f64) -> Reply<Resource<LatentId>> {
        let id = latent.rep();
        let answer = self.ask(move |session| session.denoise(id, sigma))?;
        handle(answer)
    }

    fn fork(&mut self, latent: Resource<LatentId>) -> Reply<Resource<LatentId>> {
        let id = latent.rep();
        let answer = self.ask(move |session| session.fork(id))?;
        handle(answer)
    }

    fn lincomb(&mut self, terms: Vec<(f64, Resource<LatentId>)>) -> Reply<Resource<LatentId>> {
        let terms = ids(terms);
        let answer = self.ask(move |session| session.lincomb(&terms))?;
        handle(answer)
    }

    fn update(&mut self, latent: Resource<LatentId>, scale: f64, terms: Vec<(f64, Resource<LatentId>)>) -> Reply<()> {
        let (id, terms) = (latent.rep(), ids(terms));
        let answer = self.ask(move |session| session.update(id, scale, &terms))?;
        reply(answer)
    }

    fn rms(&mut self, latent: Resource<LatentId>) -> Reply<f64> {
        let id = latent.rep();
        let answer = self.ask(move |session| session.rms(id))?;
        reply(answer)
    }

    fn error_ratio(
        &mut self,
        latent: Resource<LatentId>,
        reference: Resource<LatentId>,
        atol: f64,
        rtol: f64,
    ) -> Reply<f64> {
        let (id, reference) = (latent.rep(), reference.rep());
        let answer = self.ask(move |session| session.error_ratio(id, reference, atol, rtol))?;
        reply(answer)
    }

    fn shape(&mut self, latent: Resource<LatentId>) -> wasmtime::Result<Vec<u32>> {
        let id = latent.rep();
        match self.ask(move |session| session.shape(id))? {
            Ok(shape) => Ok(shape),
            Err(Refusal::Error(_, message) | Refusal::Stop(message)) => Err(wasmtime::Error::msg(message)),
        }
    }

    fn drop(&mut self, latent: Resource<LatentId>) -> wasmtime::Result<()> {
        let id = latent.rep();
        self.tell(move |session| drop(session.remove(id)))
    }
}

impl tensors::HostNoise for HostState {
    fn gaussian(&mut self, _noise: Resource<NoiseId>) -> Reply<Resource<LatentId>> {
        let answer = self.ask(|session| session.gaussian())?;
        handle(answer)
    }

    fn drop(&mut self, _noise: Resource<NoiseId>) -> wasmtime::Result<()> {
        Ok(())
    }
}

fn ids(terms: Vec<(f64, Resource<LatentId>)>) -> Vec<(f64, u32)> {
    terms.into_iter().map(|(coefficient, latent)| (coefficient, latent.rep())).collect()
}

fn handle(answer: Answer<u32>) -> Reply<Resource<LatentId>> {
    reply(answer.map(Resource::new_own))
}

fn reply<T>(answer: Answer<T>) -> Reply<T> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(Refusal::Error(code, message)) => Ok(Err(PluginError { code: wire_code(code), message, path: None })),
        Err(Refusal::Stop(message)) => Err(wasmtime::Error::msg(message)),
    }
}

fn wire_code(code: ErrorCode) -> WireCode {
    match code {
        ErrorCode::InvalidConfig => WireCode::InvalidConfig,
        ErrorCode::InvalidArgument => WireCode::InvalidArgument,
        ErrorCode::Unsupported => WireCode::Unsupported,
        ErrorCode::Numeric => WireCode::Numeric,
        ErrorCode::BudgetExhausted => WireCode::BudgetExhausted,
        ErrorCode::Cancelled => WireCode::Cancelled,
        ErrorCode::Internal => WireCode::Internal,
    }
}
