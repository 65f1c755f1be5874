//! `anneal bench ops`: what the border between the host and its native plugins costs.

use std::hint::black_box;
use std::time::Instant;

use anneal::assemble::plugins;
use anneal::conditioner::{Draws, Embedder, EmbedderCall, EmbedderInput};
use anneal::config::{EmbedderConfig, Environment};
use anneal::error::ComponentError;
use anneal_torch::dispatch::{Op, Place, Value};
use clap::Args;
use serde_json::{Value as Json, json};
use tch::{Device, Kind, Tensor};

use crate::PluginArgs;
use crate::exit::{Exit, Failure};

/// Arguments of `bench ops`.
#[derive(Debug, Args)]
pub struct Ops {
    /// Elements of the tensors that are added.
    #[arg(long, default_value_t = 4)]
    elements: i64,
    /// Timed calls of each kind, of which the fastest of ten parts counts.
    #[arg(long, default_value_t = 20_000)]
    calls: u32,
    /// An embedder of labels with `n_classes` and `dim` to call, too. May be repeated.
    #[arg(long = "embedder", value_name = "NAME")]
    embedders: Vec<String>,
    #[command(flatten)]
    plugins: PluginArgs,
}

/// Parts that the calls are timed in.
const PARTS: u32 = 10;

/// Embedders of labels draw nothing.
struct NoDraws;

impl Draws for NoDraws {
    fn normal(&mut self, purpose: &str, shape: &[i64]) -> Result<Tensor, ComponentError> {
        let code = anneal::error::ErrorCode::Unsupported;
        Err(ComponentError::new("bench", code, format!("no draws for `{purpose}` of shape {shape:?}")))
    }
}

impl Ops {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let options = (Kind::Float, Device::Cpu);
        let (a, b) = (Tensor::ones([self.elements], options), Tensor::ones([self.elements], options));
        let trained = a.copy().set_requires_grad(true);
        let add = Op::find(c"aten::add", c"Tensor").map_err(internal)?;
        let by_name = |a: &Tensor| add.tensor(Place::CPU, &[Value::tensor(a), Value::tensor(&b)]).map_err(internal);
        let mut line = json!({
            "engine": "anneal",
            "elements": self.elements,
            "threads": tch::get_num_threads(),
            "direct_us": self.time(|| Ok(black_box(&a + &b)))?,
            "op_us": self.time(|| by_name(&a))?,
            "direct_with_grad_us": self.time(|| Ok(black_box(&trained + &b)))?,
            "op_with_grad_us": self.time(|| by_name(&trained))?,
        });
        for name in &self.embedders {
            line[name.as_str()] = self.embedder(name)?;
        }
        println!("{line}");
        Ok(Exit::Done)
    }

    fn time<T>(&self, call: impl FnMut() -> Result<T, Failure>) -> Result<f64, Failure> {
        fastest(self.calls, call)
    }

    /// A call of an embedder of 8 labels, its table frozen and trained.
    fn embedder(&self, name: &str) -> Result<Json, Failure> {
        let config = json!({ "plugin": name, "input_key": "label", "n_classes": 10, "dim": 64 });
        let config: EmbedderConfig = serde_json::from_value(config).map_err(internal)?;
        let embedder = plugins(&self.plugins.plugin_dirs, &Environment::read())?.embedder(&config)?;
        let table = Tensor::ones([10, 64], (Kind::Float, Device::Cpu));
        let trained = table.copy().set_requires_grad(true);
        let labels = Tensor::arange(8, (Kind::Int64, Device::Cpu));
        Ok(json!({
            "us": self.time(|| forward(embedder.as_ref(), &labels, std::slice::from_ref(&table)))?,
            "with_grad_us": self.time(|| forward(embedder.as_ref(), &labels, std::slice::from_ref(&trained)))?,
        }))
    }
}

/// Microseconds of a call, in the fastest of ten parts.
pub fn fastest<T>(calls: u32, mut call: impl FnMut() -> Result<T, Failure>) -> Result<f64, Failure> {
    let calls = (calls / PARTS).max(1);
    let mut fastest = f64::INFINITY;
    for _ in 0..PARTS {
        let start = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        fastest = fastest.min(start.elapsed().as_secs_f64() / f64::from(calls));
    }
    Ok((fastest * 1e9).round() / 1e3)
}

fn forward(embedder: &dyn Embedder, labels: &Tensor, params: &[Tensor]) -> Result<(), Failure> {
    let inputs = [EmbedderInput::Tensor { name: "label", tensor: labels }];
    let mut draws = NoDraws;
    let mut about = EmbedderCall { num_scenes: 8, frames_per_scene: 1, training: true, draws: &mut draws };
    black_box(embedder.forward(&inputs, params, &mut about)?);
    Ok(())
}

/// What should not happen.
pub fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, error.to_string())
}
