//! The errors that cross module borders of the engine.

use thiserror::Error;

/// A failure of one configured component: a plugin, a data source, a sampler.
#[derive(Debug, Error, Clone)]
#[error("{component}: {message}")]
pub struct ComponentError {
    /// The component as the config names it, `anneal.samplers/euler-edm` or `mesh-orbit`.
    pub component: String,
    /// What went wrong, in one or more lines.
    pub message: String,
    /// JSON pointer into the component's own config, where the error is about a setting.
    pub config_path: Option<String>,
    /// What class of failure it is, for exit codes and policies.
    pub code: ErrorCode,
}

/// Classes of component failure. The first seven are also what a WASM plugin may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The component's own config is wrong.
    InvalidConfig,
    /// An argument of the call is wrong.
    InvalidArgument,
    /// The component cannot do what was asked.
    Unsupported,
    /// A result is not finite, or breaks the contract of its kind (length, sign, order).
    Numeric,
    /// Fuel, memory, calls or time ran out.
    BudgetExhausted,
    /// The user asked to stop.
    Cancelled,
    /// The component failed inside: a trap, a panic, a libtorch error.
    Internal,
}

impl ComponentError {
    /// An error of `component` with a message and no config path.
    pub fn new(component: impl Into<String>, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { component: component.into(), message: message.into(), config_path: None, code }
    }

    /// The same error, pointing at a setting (JSON pointer).
    #[must_use]
    pub fn at(mut self, config_path: impl Into<String>) -> Self {
        self.config_path = Some(config_path.into());
        self
    }
}
