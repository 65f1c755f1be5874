//! Between a component's exports and the traits: what `export_plugin!` calls.

use std::cell::OnceCell;
use std::sync::Once;
use std::thread::LocalKey;

pub use super::bindings::anneal::plugin::types::{Diagnostic, PluginError};
use super::bindings::anneal::plugin::types::{ErrorCode as WireCode, Severity};
pub use super::bindings::exports::anneal::plugin::{
    discretization, guidance, learning_rate, lifecycle, sampling, sigma_sampling, weighting,
};
use super::entry::build;
use super::{
    Discretization, DrawKind, Entry, Error, ErrorCode, Guidance, Latent, LearningRate, Plugin, Result, Run, Sampler,
    SigmaSampling, Weighting, log,
};
use crate::config::{Map, NESTED, Value, is_nested_deeper};

/// The entry an instance serves, for one kind; `init` fills it once.
pub struct Slot<T: ?Sized>(OnceCell<Box<T>>);

macro_rules! slots {
    ($($name:ident: $kind:ident),*) => {
        thread_local! {$(
            #[doc = concat!("The entry that serves as ", stringify!($kind), ".")]
            pub static $name: Slot<dyn $kind> = const { Slot(OnceCell::new()) };
        )*}
    };
}

slots!(DISCRETIZATION: Discretization, SIGMA_SAMPLING: SigmaSampling, GUIDANCE: Guidance, LEARNING_RATE: LearningRate,
    WEIGHTING: Weighting, SAMPLER: Sampler);

impl<T: ?Sized> Slot<T> {
    fn get(&self) -> Result<&T> {
        let missing = || Error::new(ErrorCode::Internal, "called for a kind that init did not start");
        self.0.get().map(Box::as_ref).ok_or_else(missing)
    }
}

/// Builds an entry from settings and keeps it.
pub fn start<T: ?Sized, E: Entry>(
    slot: &'static LocalKey<Slot<T>>,
    config: &Map<String, Value>,
    erase: fn(E) -> Box<T>,
) -> Result<()> {
    let entry = erase(build(config)?);
    slot.with(|slot| slot.0.set(entry).map_err(|_| Error::new(ErrorCode::Internal, "init was called twice")))
}

/// Sends a panic's message to the host: all it sees by itself is `unreachable`.
fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        wit_bindgen::rt::maybe_link_cabi_realloc();
        std::panic::set_hook(Box::new(|panic| log::write(log::Level::Error, &panic.to_string())));
    });
}

/// `lifecycle.describe`.
pub fn describe(plugin: &Plugin) -> String {
    install_panic_hook();
    plugin.describe().to_string()
}

fn parse(config: &str) -> Result<Map<String, Value>> {
    if is_nested_deeper(config, NESTED) {
        return Err(Error::invalid_argument(format!("settings are nested more than {NESTED} levels deep")));
    }
    serde_json::from_str(config)
        .map_err(|error| Error::invalid_argument(format!("settings are not a JSON object: {error}")))
}

/// `lifecycle.check-config`.
pub fn check_config(plugin: &Plugin, entry: &str, config: &str) -> Vec<Diagnostic> {
    install_panic_hook();
    let diagnostic = |path: String, message: String| Diagnostic { severity: Severity::Error, path, message };
    let checked = plugin.entry(entry).and_then(|entry| Ok(entry.check(&parse(config)?)));
    match checked {
        Ok(errors) => errors.into_iter().map(|error| diagnostic(error.path, error.message)).collect(),
        Err(error) => vec![diagnostic(String::new(), error.message)],
    }
}

/// `lifecycle.init`.
pub fn init(config: &str, start: impl FnOnce(&Map<String, Value>) -> Result<()>) -> Result<(), PluginError> {
    install_panic_hook();
    Ok(start(&parse(config)?)?)
}

/// What every component exports; `export_plugin!` picks the kinds it has.
pub struct Component;

impl discretization::Guest for Component {
    fn sigmas(n: u32) -> Result<Vec<f64>, PluginError> {
        Ok(DISCRETIZATION.with(|slot| slot.get()?.sigmas(n))?)
    }
}

impl sigma_sampling::Guest for Component {
    fn draw() -> sigma_sampling::DrawKind {
        match SIGMA_SAMPLING.with(|slot| slot.get().map(SigmaSampling::draw_kind)) {
            Ok(DrawKind::Gaussian) => sigma_sampling::DrawKind::Gaussian,
            Ok(DrawKind::Uniform) | Err(_) => sigma_sampling::DrawKind::Uniform,
        }
    }

    fn sample(draws: Vec<f64>) -> Result<Vec<f64>, PluginError> {
        Ok(SIGMA_SAMPLING.with(|slot| {
            let entry = slot.get()?;
            draws.into_iter().map(|draw| entry.sigma(draw)).collect::<Result<_>>()
        })?)
    }
}

impl guidance::Guest for Component {
    fn scales(sigmas: Vec<f64>, num_frames: u32, num_views: u32) -> Result<Vec<f64>, PluginError> {
        Ok(GUIDANCE.with(|slot| slot.get()?.scales(&sigmas, num_frames, num_views))?)
    }
}

impl learning_rate::Guest for Component {
    fn factors(first: u64, count: u32) -> Result<Vec<f64>, PluginError> {
        let past_the_end = || Error::invalid_argument("the block of steps ends past the last u64");
        let end = first.checked_add(count.into()).ok_or_else(past_the_end)?;
        Ok(LEARNING_RATE.with(|slot| {
            let entry = slot.get()?;
            (first..end).map(|step| entry.factor(step)).collect::<Result<_>>()
        })?)
    }
}

impl weighting::Guest for Component {
    fn weights(sigmas: Vec<f64>) -> Result<Vec<f64>, PluginError> {
        Ok(WEIGHTING.with(|slot| {
            let entry = slot.get()?;
            let weight = |sigma: f64| match sigma.is_nan() {
                true => Err(Error::invalid_argument("a sigma is no number")),
                false => entry.weight(sigma),
            };
            sigmas.into_iter().map(weight).collect::<Result<_>>()
        })?)
    }
}

impl sampling::Guest for Component {
    fn estimate(num_steps: u32) -> sampling::Cost {
        // An instance that was not started can do nothing, and that is its cost.
        let cost = SAMPLER.with(|slot| slot.get().map(|entry| entry.estimate(num_steps)));
        let (denoise_calls, live_latents, draws_noise) =
            cost.map_or((0, 0, false), |cost| (cost.denoise_calls, cost.live_latents, cost.draws_noise));
        sampling::Cost { denoise_calls, live_latents, draws_noise }
    }

    fn sample(x: sampling::Latent, sigmas: Vec<f64>, rng: &sampling::Noise) -> Result<sampling::Latent, PluginError> {
        let (x, run) = (Latent::from_host(x), Run::from_host(rng));
        Ok(SAMPLER.with(|slot| slot.get()?.sample(x, &sigmas, &run))?.into_host())
    }
}

impl From<Error> for PluginError {
    fn from(error: Error) -> Self {
        let code = match error.code {
            ErrorCode::InvalidConfig => WireCode::InvalidConfig,
            ErrorCode::InvalidArgument => WireCode::InvalidArgument,
            ErrorCode::Unsupported => WireCode::Unsupported,
            ErrorCode::Numeric => WireCode::Numeric,
            ErrorCode::BudgetExhausted => WireCode::BudgetExhausted,
            ErrorCode::Cancelled => WireCode::Cancelled,
            ErrorCode::Internal => WireCode::Internal,
        };
        Self { code, message: error.message, path: error.path }
    }
}

impl From<PluginError> for Error {
    fn from(error: PluginError) -> Self {
        let code = match error.code {
            WireCode::InvalidConfig => ErrorCode::InvalidConfig,
            WireCode::InvalidArgument => ErrorCode::InvalidArgument,
            WireCode::Unsupported => ErrorCode::Unsupported,
            WireCode::Numeric => ErrorCode::Numeric,
            WireCode::BudgetExhausted => ErrorCode::BudgetExhausted,
            WireCode::Cancelled => ErrorCode::Cancelled,
            WireCode::Internal => ErrorCode::Internal,
        };
        Self { code, message: error.message, path: error.path }
    }
}
