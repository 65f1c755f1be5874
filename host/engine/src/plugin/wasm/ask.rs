//! Questions to a configured entry, one function a question, with what each answer took. Results are not checked: this
//! is how authors poke their plugins, and how conformance finds out what they do.

use serde_json::{Map, Value};

use super::bindings::guest;
use super::component::{WasmPlugin, json};
use super::entry::{Cost, Entry, Interface};
use crate::config::PluginKind;
use crate::diffusion::DrawKind;
use crate::error::{ComponentError, ErrorCode};

/// A question to an entry of the kind it is named for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Question<'a> {
    /// The grid of `n` sigmas of a discretization.
    Sigmas(u32),
    /// The sigmas that draws become in a sigma sampling.
    Sample(&'a [f64]),
    /// The weights of sigmas.
    Weights(&'a [f64]),
    /// The guidance scales of sigmas and frames.
    Scales {
        /// The noise levels.
        sigmas: &'a [f64],
        /// Frames of a scene.
        num_frames: u32,
        /// Views of a scene.
        num_views: u32,
    },
    /// The factors of `count` optimizer steps.
    Factors {
        /// The first step.
        first: u64,
        /// How many.
        count: u32,
    },
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub enum NoAnswer {
    /// The plugin said no, with an error of its own.
    Refused(ComponentError),
    /// It trapped or ran into a limit.
    Stopped(ComponentError),
}

impl NoAnswer {
    /// The error, whosever it is.
    pub fn error(&self) -> &ComponentError {
        match self {
            Self::Refused(error) | Self::Stopped(error) => error,
        }
    }
}

/// An answer, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The numbers.
    pub values: Vec<f64>,
    /// What the call took.
    pub cost: Cost,
}

/// A configured entry that questions are put to.
pub struct Asked {
    entry: AnyEntry,
}

enum AnyEntry {
    Discretization(Entry<guest::discretization::GuestIndices>),
    SigmaSampling(Entry<guest::sigma_sampling::GuestIndices>),
    Weighting(Entry<guest::weighting::GuestIndices>),
    Guidance(Entry<guest::guidance::GuestIndices>),
    LearningRate(Entry<guest::learning_rate::GuestIndices>),
}

impl WasmPlugin {
    /// The entry of a kind with these settings, for questions. Kinds without a function of numbers have none.
    ///
    /// # Errors
    /// When it is of another kind, refuses the settings, or is stopped.
    pub fn asked(&self, kind: PluginKind, entry: &str, config: &Map<String, Value>) -> Result<Asked, NoAnswer> {
        let entry = match kind {
            PluginKind::Discretization => AnyEntry::Discretization(self.start(entry, config)?),
            PluginKind::SigmaSampling => AnyEntry::SigmaSampling(self.start(entry, config)?),
            PluginKind::Weighting => AnyEntry::Weighting(self.start(entry, config)?),
            PluginKind::Guidance => AnyEntry::Guidance(self.start(entry, config)?),
            PluginKind::LearningRate => AnyEntry::LearningRate(self.start(entry, config)?),
            PluginKind::Sampler | PluginKind::Embedder => {
                let message = format!("a {kind} has no function of numbers");
                return Err(NoAnswer::Refused(ComponentError::new(entry, ErrorCode::Unsupported, message)));
            }
        };
        Ok(Asked { entry })
    }

    fn start<I: Interface>(&self, entry: &str, config: &Map<String, Value>) -> Result<Entry<I>, NoAnswer> {
        let started = Entry::try_start(self.clone(), self.name(entry), entry, json(config));
        started.map_err(NoAnswer::Stopped)?.map_err(NoAnswer::Refused)
    }
}

impl Asked {
    /// Puts a question.
    ///
    /// # Errors
    /// When the plugin refuses, is stopped, or is of another kind than the question.
    pub fn ask(&mut self, question: Question<'_>) -> Result<Answer, NoAnswer> {
        let asked = match (&mut self.entry, question) {
            (AnyEntry::Discretization(entry), Question::Sigmas(n)) => {
                entry.try_call("sigmas", |guest, store| guest.call_sigmas(store, n))
            }
            (AnyEntry::SigmaSampling(entry), Question::Sample(draws)) => {
                entry.try_call("sample", |guest, store| guest.call_sample(store, draws))
            }
            (AnyEntry::Weighting(entry), Question::Weights(sigmas)) => {
                entry.try_call("weights", |guest, store| guest.call_weights(store, sigmas))
            }
            (AnyEntry::Guidance(entry), Question::Scales { sigmas, num_frames, num_views }) => {
                entry.try_call("scales", |guest, store| guest.call_scales(store, sigmas, num_frames, num_views))
            }
            (AnyEntry::LearningRate(entry), Question::Factors { first, count }) => {
                entry.try_call("factors", |guest, store| guest.call_factors(store, first, count))
            }
            (_, question) => {
                let message = format!("{question:?} is not a question to its kind");
                return Err(NoAnswer::Refused(ComponentError::new("question", ErrorCode::InvalidArgument, message)));
            }
        };
        let (values, cost) = asked.map_err(NoAnswer::Stopped)?;
        Ok(Answer { values: values.map_err(NoAnswer::Refused)?, cost })
    }

    /// The draws that a sigma sampling wants; none of another kind.
    ///
    /// # Errors
    /// When the plugin is stopped.
    pub fn draw_kind(&mut self) -> Result<Option<DrawKind>, NoAnswer> {
        let AnyEntry::SigmaSampling(entry) = &mut self.entry else { return Ok(None) };
        let asked = entry.call("draw", |guest, store| guest.call_draw(store).map(Ok)).map_err(NoAnswer::Stopped)?;
        Ok(Some(match asked {
            guest::sigma_sampling::DrawKind::Uniform => DrawKind::Uniform,
            guest::sigma_sampling::DrawKind::Gaussian => DrawKind::Gaussian,
        }))
    }
}
