//! What a check works on: a plugin's folder, one of its entries, and a place to leave traces.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anneal::conditioner::Embedder;
use anneal::config::{Environment, PluginKind};
use anneal::diffusion::TensorWeighting;
use anneal::error::{ComponentError, ErrorCode};
use anneal::plugin::native::NativeLibrary;
use anneal::plugin::native::probe::Table;
use anneal::plugin::wasm::{Answer, Asked, CodeCache, NoAnswer, Question, WasmPlugin, WasmRuntime};
use anneal::plugin::{EntryRef, Example, Plugin, Runtime};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Map, Value, json};
use tch::Kind;

use crate::check::{Finding, Found};
use crate::settings;
use crate::trial::{AsEmbedder, Trial, sigmas_example};
use crate::work::Request;

/// What a check works on.
pub struct Subject {
    folder: PathBuf,
    entry: Option<(PluginKind, String)>,
    seed: u64,
    traces: PathBuf,
    plugin: Option<Plugin>,
    component: Option<WasmPlugin>,
    library: Option<NativeLibrary>,
}

impl Subject {
    pub fn new(folder: PathBuf, entry: Option<(PluginKind, String)>, seed: u64, traces: PathBuf) -> Self {
        Self { folder, entry, seed, traces, plugin: None, component: None, library: None }
    }

    /// The plugin's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A request to do another check of the same.
    pub fn request(&self, check: &str, results: &Path) -> Request {
        Request {
            folder: self.folder.clone(),
            entry: self.entry.clone(),
            check: check.to_owned(),
            seed: self.seed,
            results: results.to_owned(),
        }
    }

    /// Leaves word of what is about to be done, for the case that it is the last.
    pub fn trace(&self, doing: impl Into<String>) {
        let line = json!({ "doing": doing.into() });
        // A trace that cannot be left is missed only where the plugin breaks everything, and then the check fails anyway.
        let file = OpenOptions::new().append(true).create(true).open(&self.traces);
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }

    /// The plugin, read.
    pub fn plugin(&mut self) -> Result<&Plugin, Finding> {
        if self.plugin.is_none() {
            self.trace("reading the manifest");
            self.plugin = Some(Plugin::read(&self.folder).map_err(Finding::Fail)?);
        }
        self.plugin.as_ref().ok_or_else(|| Finding::fail("the plugin cannot be read"))
    }

    /// The entry.
    pub fn entry(&mut self) -> Result<EntryRef<'_>, Finding> {
        let Some((kind, name)) = self.entry.clone() else { return Err(Finding::fail("no entry was named")) };
        let plugin = self.plugin()?;
        let found = plugin.entries().find(|entry| entry.kind() == kind && entry.name() == name);
        found.ok_or_else(|| Finding::fail(format!("there is no {kind} `{name}`")))
    }

    /// The entry's kind.
    pub fn kind(&self) -> PluginKind {
        self.entry.as_ref().map_or(PluginKind::Weighting, |(kind, _)| *kind)
    }

    /// What runs the entry.
    pub fn runtime(&mut self) -> Result<Runtime, Finding> {
        Ok(self.entry()?.runtime())
    }

    /// The entry's name.
    pub fn name(&self) -> String {
        self.entry.as_ref().map(|(_, name)| name.clone()).unwrap_or_default()
    }

    /// The compiled component.
    pub fn component(&mut self) -> Result<WasmPlugin, Finding> {
        if let Some(component) = &self.component {
            return Ok(component.clone());
        }
        let component = self.fresh_component()?;
        self.component = Some(component.clone());
        Ok(component)
    }

    /// The component, compiled by an engine of its own.
    pub fn fresh_component(&mut self) -> Result<WasmPlugin, Finding> {
        let plugin = self.plugin()?;
        let runtime = WasmRuntime::new().map_err(|error| Finding::fail(error.to_string()))?;
        let runtime = runtime.with_cache(CodeCache::of_user(&Environment::read()));
        plugin.component(&runtime).map_err(|error| Finding::fail(error.to_string()))
    }

    /// The native library, started on a host that counts what it holds.
    pub fn library(&mut self) -> Result<NativeLibrary, Finding> {
        if let Some(library) = self.library {
            return Ok(library);
        }
        self.plugin()?;
        self.trace("loading the library");
        let library = self.plugin()?.library(Table::Counting).map_err(|error| Finding::fail(error.to_string()))?;
        self.library = Some(library);
        Ok(library)
    }

    /// The native entry with these settings, if it takes them; a weighting as an embedder of sigmas.
    pub fn embedder(
        &mut self,
        config: &Map<String, Value>,
    ) -> Result<Result<Box<dyn Embedder>, ComponentError>, Finding> {
        if self.kind() == PluginKind::Weighting {
            let made = self.weighting(config)?;
            return Ok(made.map(|weighting| Box::new(AsEmbedder(weighting)) as Box<dyn Embedder>));
        }
        let (library, name) = (self.library()?, self.name());
        self.trace(format!("create with {}", shown(config)));
        Ok(library.embedder(&name, config))
    }

    /// The native weighting with these settings, if it takes them.
    pub fn weighting(
        &mut self,
        config: &Map<String, Value>,
    ) -> Result<Result<Box<dyn TensorWeighting>, ComponentError>, Finding> {
        let (library, name) = (self.library()?, self.name());
        self.trace(format!("create with {}", shown(config)));
        Ok(library.weighting(&name, config))
    }

    /// What the native entry is tried with: its first example.
    pub fn example(&mut self) -> Result<Example, Finding> {
        if self.kind() == PluginKind::Weighting {
            return Ok(sigmas_example(self.config()?));
        }
        let example = self.entry()?.examples().first().cloned().filter(|example| !example.inputs.is_empty());
        example.ok_or_else(|| {
            Finding::fail("the manifest does not say what the entry is given: add [[entry.example]] with inputs")
        })
    }

    /// The native entry with the settings of its first example, with parameters, ready to be called.
    pub fn trial(&mut self, kind: Kind, trained: bool) -> Result<Trial, Finding> {
        let example = self.example()?;
        let embedder = self.embedder(&example.config)?.map_err(|error| Finding::fail(error.to_string()))?;
        Ok(Trial::new(embedder, example, kind, trained))
    }

    /// Starts the entry with these settings, and lets go of it.
    pub fn start_with(&mut self, config: &Map<String, Value>) -> Result<(), NoAnswer> {
        let runtime = self.runtime().map_err(|finding| stopped(self.name(), finding))?;
        if runtime == Runtime::Wasm {
            return self.asked_with(config).map(drop);
        }
        let made = self.embedder(config).map_err(|finding| stopped(self.name(), finding))?;
        made.map(drop).map_err(|error| match error.code {
            ErrorCode::Internal => NoAnswer::Stopped(error),
            _ => NoAnswer::Refused(error),
        })
    }

    /// The schema of the entry's settings.
    pub fn schema(&mut self) -> Result<Value, Finding> {
        Ok(self.entry()?.schema().clone())
    }

    /// Settings that are meant to work: those of the first example, or none where all have defaults.
    pub fn config(&mut self) -> Result<Map<String, Value>, Finding> {
        let entry = self.entry()?;
        match entry.examples().first() {
            Some(example) => Ok(example.config.clone()),
            None => Ok(settings::required(entry.schema())),
        }
    }

    /// Random numbers that are the same in every run with the same seed.
    pub fn random(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed)
    }

    /// An instance of the entry with the settings of [`Subject::config`].
    pub fn asked(&mut self) -> Result<Asked, Finding> {
        let config = self.config()?;
        self.asked_with(&config)
            .map_err(|problem| Finding::fail(format!("with {}: {}", shown(&config), said(&problem))))
    }

    /// An instance of the entry with other settings.
    pub fn asked_with(&mut self, config: &Map<String, Value>) -> Result<Asked, NoAnswer> {
        let (kind, name) = (self.kind(), self.name());
        self.trace(format!("init with {}", shown(config)));
        let component = self.component().map_err(|finding| stopped(name.clone(), finding))?;
        component.asked(kind, &name, config)
    }

    /// An answer that has to come.
    pub fn answer(&self, asked: &mut Asked, question: Question<'_>) -> Result<Answer, Finding> {
        self.trace(told(&question));
        asked.ask(question).map_err(|problem| Finding::fail(format!("{}: {}", told(&question), said(&problem))))
    }

    /// The numbers of an answer that has to come.
    pub fn values(&self, asked: &mut Asked, question: Question<'_>) -> Result<Vec<f64>, Finding> {
        Ok(self.answer(asked, question)?.values)
    }

    /// Puts a question that may be refused, but must not stop the plugin.
    pub fn may_refuse(&self, asked: &mut Asked, question: Question<'_>) -> Result<Option<Vec<f64>>, Finding> {
        self.trace(told(&question));
        match asked.ask(question) {
            Ok(answer) => Ok(Some(answer.values)),
            Err(NoAnswer::Refused(_)) => Ok(None),
            Err(NoAnswer::Stopped(error)) => Err(Finding::fail(format!("{}: {}", told(&question), error.message))),
        }
    }
}

fn stopped(name: String, finding: Finding) -> NoAnswer {
    let (Finding::Fail(message) | Finding::NotDeclared(message)) = finding;
    NoAnswer::Stopped(ComponentError::new(name, ErrorCode::Internal, message))
}

/// What a plugin says or ends with instead of an answer.
pub fn said(problem: &NoAnswer) -> String {
    match problem {
        NoAnswer::Refused(error) => format!("refused: {}", error.message),
        NoAnswer::Stopped(error) => error.message.clone(),
    }
}

/// A question as a person reads it.
pub fn told(question: &Question<'_>) -> String {
    let few = |values: &[f64]| match values {
        [first, .., last] if values.len() > 3 => format!("{} values from {first} to {last}", values.len()),
        _ => format!("{values:?}"),
    };
    match question {
        Question::Sigmas(n) => format!("sigmas({n})"),
        Question::Sample(draws) => format!("sample({})", few(draws)),
        Question::Weights(sigmas) => format!("weights({})", few(sigmas)),
        Question::Scales { sigmas, num_frames, num_views } => {
            format!("scales({}, {num_frames} frames, {num_views} views)", few(sigmas))
        }
        Question::Factors { first, count } => format!("factors({first}, {count})"),
    }
}

/// Settings as a person reads them, cut where they are long.
pub fn shown(config: &Map<String, Value>) -> String {
    let text = Value::Object(config.clone()).to_string();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Demands the same bits.
pub fn same_bits(what: &str, one: &[f64], other: &[f64]) -> Found {
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    if bits(one) == bits(other) {
        return Ok(());
    }
    let at = one.iter().zip(other).position(|(a, b)| a.to_bits() != b.to_bits());
    Err(Finding::fail(match at {
        Some(at) => format!("{what}: number {at} is {} once and {} then", one[at], other[at]),
        None => format!("{what}: {} numbers once and {} then", one.len(), other.len()),
    }))
}
