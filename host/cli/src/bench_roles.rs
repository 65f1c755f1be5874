//! `anneal bench roles`: what a component costs: to compile, to start, and to ask for one number, sixteen and a thousand.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anneal::config::{Environment, PluginKind};
use anneal::plugin::wasm::{CodeCache, Question, WasmRuntime};
use anneal::plugin::{EntryRef, Plugin, Runtime};
use clap::Args;
use serde_json::{Value, json};

use crate::bench_ops::{fastest, internal};
use crate::exit::{Exit, Failure};

/// Arguments of `bench roles`.
#[derive(Debug, Args)]
pub struct Roles {
    /// Folders of plugins; of each kind in one the first entry is asked that has an example or can do without
    /// settings.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Timed calls of each question, of which the fastest of ten parts counts.
    #[arg(long, default_value_t = 2000)]
    calls: u32,
}

/// How many numbers are asked for.
const COUNTS: [u32; 3] = [1, 16, 1000];

impl Roles {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        for folder in &self.folders {
            let plugin = Plugin::read(folder).map_err(|error| Failure::new(Exit::Config, error))?;
            if plugin.artifact(Runtime::Wasm).is_none() {
                continue;
            }
            let compiled = compile(&plugin)?;
            let mut asked: Vec<PluginKind> = Vec::new();
            for entry in plugin.entries().filter(|entry| entry.runtime() == Runtime::Wasm) {
                // A solver's cost is that of its model's calls. What has to be set and what with, nobody says here.
                let has_to_be_set = entry.schema()["required"].as_array().is_some_and(|names| !names.is_empty());
                let is_told = !has_to_be_set || !entry.examples().is_empty();
                if entry.kind() == PluginKind::Sampler || asked.contains(&entry.kind()) || !is_told {
                    continue;
                }
                asked.push(entry.kind());
                println!("{}", self.entry(&plugin, entry, &compiled)?);
            }
        }
        Ok(Exit::Done)
    }

    fn entry(&self, plugin: &Plugin, entry: EntryRef<'_>, compiled: &Value) -> Result<Value, Failure> {
        let component = plugin.component(&WasmRuntime::new()?)?;
        let config = entry.examples().first().map(|example| example.config.clone()).unwrap_or_default();
        let start =
            || component.asked(entry.kind(), entry.name(), &config).map_err(|problem| internal(problem.error()));
        let mut line = json!({
            "entry": entry.full_name(),
            "kind": entry.kind().to_string(),
            "compile": compiled,
            "start_us": fastest(self.calls.min(500), || start().map(drop))?,
        });
        let mut instance = start()?;
        for count in COUNTS {
            let values: Vec<f64> = (1..=count).map(|i| f64::from(i) / f64::from(count + 1)).collect();
            let question = match entry.kind() {
                PluginKind::Discretization => Question::Sigmas(count),
                PluginKind::SigmaSampling => Question::Sample(&values),
                PluginKind::Weighting => Question::Weights(&values),
                PluginKind::Guidance => Question::Scales { sigmas: &values, num_frames: 1, num_views: 1 },
                _ => Question::Factors { first: 0, count },
            };
            let mut fuel = 0;
            let us = fastest(self.calls, || {
                let answer = instance.ask(question).map_err(|problem| internal(problem.error()))?;
                fuel = answer.cost.fuel;
                black_box(answer);
                Ok(())
            })?;
            line[format!("values_{count}")] = json!({ "us": us, "fuel": fuel });
        }
        Ok(line)
    }
}

/// Milliseconds to compile a component, and to find it compiled.
fn compile(plugin: &Plugin) -> Result<Value, Failure> {
    let folder = tempfile::tempdir().map_err(internal)?;
    let home = |name: &str| Some(Path::new(folder.path()).join(name));
    let env = Environment { cache_home: home("cache"), config_home: home("config"), ..Environment::default() };
    let timed = || -> Result<f64, Failure> {
        let runtime = WasmRuntime::new()?.with_cache(CodeCache::of_user(&env));
        let start = Instant::now();
        black_box(plugin.component(&runtime)?);
        Ok((start.elapsed().as_secs_f64() * 1e5).round() / 1e2)
    };
    Ok(json!({ "cold_ms": timed()?, "cached_ms": timed()? }))
}
