//! A compiled plugin: it tells about itself, checks settings, and becomes configured entries.

use std::sync::Arc;

use serde_json::{Map, Value};
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::bindings::anneal::plugin::types::Severity;
use super::bindings::guest;
use super::entry::{Entry, Interface, Open, call, open};
use super::limits::{CALL_FUEL, MEMORY_MIB, MEMORY_MIB_MAX};
use super::sampler::WasmSampler;
use super::schedules::Scheduled;
use super::state::HostState;
use crate::diffusion::{Discretization, Guidance, LearningRate, Sampler, SigmaSampler, Weighting};
use crate::error::{ComponentError, ErrorCode};

/// Something a plugin has to say about settings that its schema cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the settings cannot be used; otherwise it is a warning.
    pub is_error: bool,
    /// JSON pointer into the settings; empty for all of them.
    pub path: String,
    /// What it is about.
    pub message: String,
}

/// A compiled WASM plugin. Clones share the compiled code.
#[derive(Clone)]
pub struct WasmPlugin {
    id: String,
    ready: Arc<InstancePre<HostState>>,
    memory_mib: u32,
}

impl WasmPlugin {
    pub(super) fn new(id: &str, ready: InstancePre<HostState>) -> Self {
        Self { id: id.to_owned(), ready: Arc::new(ready), memory_mib: MEMORY_MIB }
    }

    /// With the linear memory its manifest asks for, at most 512 MiB.
    #[must_use]
    pub fn with_memory_mib(mut self, mib: u32) -> Self {
        self.memory_mib = mib.min(MEMORY_MIB_MAX);
        self
    }

    pub(super) fn name(&self, entry: &str) -> String {
        format!("{}/{entry}", self.id)
    }

    pub(super) fn ready(&self) -> &InstancePre<HostState> {
        &self.ready
    }

    pub(super) fn memory_mib(&self) -> u32 {
        self.memory_mib
    }

    /// What the component tells about itself: `{ "sdk", "entries": [{ "name", "kind", "schema" }] }`.
    ///
    /// # Errors
    /// When the component fails, or what it tells is no JSON.
    pub fn describe(&self) -> Result<Value, ComponentError> {
        let text = self.ask_lifecycle(&self.id, "describe", |lifecycle, store| lifecycle.call_describe(store))?;
        serde_json::from_str(&text).map_err(|error| {
            ComponentError::new(&self.id, ErrorCode::Internal, format!("`describe` returned no JSON: {error}"))
        })
    }

    /// What the plugin has to say about settings of an entry.
    ///
    /// # Errors
    /// When the component fails.
    pub fn check_config(&self, entry: &str, config: &Map<String, Value>) -> Result<Vec<Diagnostic>, ComponentError> {
        let json = json(config);
        let told = self.ask_lifecycle(&self.name(entry), "check-config", |lifecycle, store| {
            lifecycle.call_check_config(store, entry, &json)
        })?;
        let diagnostic = |told: super::bindings::anneal::plugin::types::Diagnostic| Diagnostic {
            is_error: told.severity == Severity::Error,
            path: told.path,
            message: told.message,
        };
        Ok(told.into_iter().map(diagnostic).collect())
    }

    fn ask_lifecycle<R>(
        &self,
        name: &str,
        function: &'static str,
        ask: impl FnOnce(&guest::lifecycle::Guest, &mut Store<HostState>) -> wasmtime::Result<R>,
    ) -> Result<R, ComponentError> {
        let Open { mut store, lifecycle, .. } = open(self, name)?;
        call(&mut store, CALL_FUEL, function, |store| ask(&lifecycle, store))
    }

    fn entry<I: Interface>(&self, entry: &str, config: &Map<String, Value>) -> Result<Entry<I>, ComponentError> {
        Entry::start(self.clone(), self.name(entry), entry, json(config))
    }

    /// The entry as a grid of sigmas.
    ///
    /// # Errors
    /// When it is of another kind, refuses the settings, or fails.
    pub fn discretization(
        &self,
        entry: &str,
        config: &Map<String, Value>,
    ) -> Result<Box<dyn Discretization>, ComponentError> {
        let entry = self.entry::<guest::discretization::GuestIndices>(entry, config)?;
        Ok(Box::new(Scheduled::new(entry)))
    }

    /// The entry as a distribution of sigma.
    ///
    /// # Errors
    /// When it is of another kind, refuses the settings, or fails.
    pub fn sigma_sampler(
        &self,
        entry: &str,
        config: &Map<String, Value>,
    ) -> Result<Box<dyn SigmaSampler>, ComponentError> {
        let entry = self.entry::<guest::sigma_sampling::GuestIndices>(entry, config)?;
        Ok(Box::new(super::schedules::SigmaDraws::new(entry)?))
    }

    /// The entry as a weight of the loss.
    ///
    /// # Errors
    /// When it is of another kind, refuses the settings, or fails.
    pub fn weighting(&self, entry: &str, config: &Map<String, Value>) -> Result<Box<dyn Weighting>, ComponentError> {
        let entry = self.entry::<guest::weighting::GuestIndices>(entry, config)?;
        Ok(Box::new(Scheduled::new(entry)))
    }

    /// The entry as a scale of guidance.
    ///
    /// # Errors
    /// When it is of another kind, refuses the settings, or fails.
    pub fn guidance(&self, entry: &str, config: &Map<String, Value>) -> Result<Box<dyn Guidance>, ComponentError> {
        let entry = self.entry::<guest::guidance::GuestIndices>(entry, config)?;
        Ok(Box::new(Scheduled::new(entry)))
    }

    /// The entry as a multiplier of the learning rate.
    ///
    /// # Errors
    /// When it is of another kind, refuses the settings, or fails.
    pub fn learning_rate(
        &self,
        entry: &str,
        config: &Map<String, Value>,
    ) -> Result<Box<dyn LearningRate>, ComponentError> {
        let entry = self.entry::<guest::learning_rate::GuestIndices>(entry, config)?;
        Ok(Box::new(Scheduled::new(entry)))
    }

    /// The entry as a solver.
    ///
    /// # Errors
    /// When it is of another kind, refuses the settings, or fails.
    pub fn sampler(&self, entry: &str, config: &Map<String, Value>) -> Result<Box<dyn Sampler>, ComponentError> {
        let entry = self.entry::<guest::sampling::GuestIndices>(entry, config)?;
        Ok(Box::new(WasmSampler::new(entry)))
    }
}

pub(super) fn json(config: &Map<String, Value>) -> String {
    // Serialising a map writes it as `{...}`; `Value` has no other representation that could fail.
    Value::Object(config.clone()).to_string()
}
