//! `anneal plugin call`: one function of a WASM entry, called as the host does.

use std::path::{Path, PathBuf};

use anneal::assemble::plugins;
use anneal::config::{Environment, PluginKind};
use anneal::diffusion::DrawKind;
use anneal::plugin::wasm::{Answer, Asked, CodeCache, Cost, Diagnostic, NoAnswer, Question, WasmRuntime};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use tch::Tensor;

use super::plot::Curves;
use crate::PluginArgs;
use crate::exit::{Exit, Failure};

/// Arguments of `plugin call`.
#[derive(Debug, Args)]
pub struct Call {
    /// The entry: `vendor.name/entry`, or its short name.
    entry: String,
    /// The function.
    function: Function,
    /// Its arguments: sigmas N; weights SIGMA..; scales SIGMA.. (with --frames); factors FIRST COUNT; sample N.
    #[arg(required = true, allow_negative_numbers = true, value_name = "ARGS")]
    arguments: Vec<f64>,
    /// The settings: a JSON object, TOML such as `rho=5`, or a file of either.
    #[arg(long, value_name = "JSON|TOML", default_value = "{}")]
    config: String,
    /// Frames of a scene, for `scales`.
    #[arg(long, default_value_t = 1, value_name = "N")]
    frames: u32,
    /// Views among the frames, for `scales`.
    #[arg(long, default_value_t = 1, value_name = "N")]
    views: u32,
    /// Draw the result into this PNG file.
    #[arg(long, value_name = "PNG")]
    plot: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plugins: PluginArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Function {
    /// A discretization's grid of N sigmas.
    Sigmas,
    /// A weighting's weight of each sigma.
    Weights,
    /// A guidance's scale for each sigma and frame.
    Scales,
    /// A learning rate's factors of COUNT steps from FIRST.
    Factors,
    /// A sigma sampling's N quantiles.
    Sample,
}

impl Function {
    fn kind(self) -> PluginKind {
        match self {
            Self::Sigmas => PluginKind::Discretization,
            Self::Weights => PluginKind::Weighting,
            Self::Scales => PluginKind::Guidance,
            Self::Factors => PluginKind::LearningRate,
            Self::Sample => PluginKind::SigmaSampling,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sigmas => "sigmas",
            Self::Weights => "weights",
            Self::Scales => "scales",
            Self::Factors => "factors",
            Self::Sample => "sample",
        }
    }
}

impl Call {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let env = Environment::read();
        let registry = plugins(&self.plugins.plugin_dirs, &env)?;
        let entry = registry.find(self.function.kind(), &self.entry)?;
        let settings = settings(&self.config)?;
        let component = entry.plugin().component(&WasmRuntime::new()?.with_cache(CodeCache::of_user(&env)))?;
        refuse(&entry.full_name(), &component.check_config(entry.name(), &settings)?)?;
        let mut asked = component.asked(entry.kind(), entry.name(), &settings).map_err(no_answer)?;
        let (curves, cost) = self.ask(&mut asked)?;
        if let Some(path) = &self.plot {
            curves
                .save(path)
                .map_err(|error| Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display())))?;
        }
        match self.json {
            true => println!("{:#}", self.as_json(&entry.full_name(), &curves, &cost)),
            false => print(&curves, &cost),
        }
        Ok(Exit::Done)
    }

    fn ask(&self, asked: &mut Asked) -> Result<(Curves, Cost), Failure> {
        let arguments = self.arguments.as_slice();
        let draws;
        let (question, x_name, y_name, x) = match self.function {
            Function::Sigmas => {
                let [n] = self.counts()?;
                (Question::Sigmas(n), "n", "sigma", indices(0, n))
            }
            Function::Weights => (Question::Weights(arguments), "sigma", "weight", arguments.to_vec()),
            Function::Scales => {
                let (num_frames, num_views) = (self.frames, self.views);
                let question = Question::Scales { sigmas: arguments, num_frames, num_views };
                (question, "frame", "scale", indices(0, num_frames))
            }
            Function::Factors => {
                let [first, count] = self.counts()?;
                (Question::Factors { first: first.into(), count }, "step", "factor", indices(first, count))
            }
            Function::Sample => {
                let [n] = self.counts()?;
                let kind = asked.draw_kind().map_err(no_answer)?;
                draws = quantiles(kind.unwrap_or(DrawKind::Uniform), n);
                (Question::Sample(&draws), "draw", "sigma", draws.clone())
            }
        };
        let Answer { values, cost } = asked.ask(question).map_err(no_answer)?;
        let lines = match self.function {
            Function::Scales => {
                let rows = values.chunks(self.frames.max(1) as usize).map(<[f64]>::to_vec);
                arguments.iter().map(|sigma| format!("sigma {sigma}")).zip(rows).collect()
            }
            _ => vec![(String::new(), values)],
        };
        Ok((Curves { x_name, y_name, x, lines }, cost))
    }

    /// The arguments as `N` counts.
    fn counts<const N: usize>(&self) -> Result<[u32; N], Failure> {
        let is_count = |value: &f64| value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(value);
        let counts: Vec<u32> =
            self.arguments.iter().filter(|value| is_count(value)).map(|value| *value as u32).collect();
        let wanted = if N == 2 { "FIRST and COUNT" } else { "one N" };
        counts.try_into().ok().filter(|_| self.arguments.len() == N).ok_or_else(|| {
            let what = format!("`{}` takes {wanted}, whole numbers", self.function.name());
            Failure::new(Exit::Usage, what)
        })
    }

    fn as_json(&self, entry: &str, curves: &Curves, cost: &Cost) -> Value {
        let values: Value = match (self.function, curves.lines.as_slice()) {
            (Function::Scales, rows) => rows.iter().map(|row| json!(row.1)).collect(),
            (_, lines) => json!(lines.iter().flat_map(|line| line.1.clone()).collect::<Vec<_>>()),
        };
        let mut told = json!({
            "entry": entry,
            "function": self.function.name(),
            curves.x_name: curves.x,
            "values": values,
            "fuel": cost.fuel,
            "guest_time_us": cost.guest_time.as_secs_f64() * 1e6,
        });
        if self.function == Function::Scales {
            told["sigma"] = json!(self.arguments);
        }
        told
    }
}

fn indices(first: u32, count: u32) -> Vec<f64> {
    (0..count).map(|i| f64::from(first) + f64::from(i)).collect()
}

/// Numbers that stand for draws: the middles of `n` equally likely parts of their distribution.
fn quantiles(kind: DrawKind, n: u32) -> Vec<f64> {
    let uniform: Vec<f64> = (0..n).map(|i| (f64::from(i) + 0.5) / f64::from(n)).collect();
    match kind {
        DrawKind::Uniform => uniform,
        DrawKind::Gaussian => {
            let normal = Tensor::from_slice(&uniform).special_ndtri();
            (0..i64::from(n)).map(|i| normal.double_value(&[i])).collect()
        }
    }
}

fn no_answer(error: NoAnswer) -> Failure {
    error.error().clone().into()
}

/// All that the plugin finds wrong with its settings.
fn refuse(entry: &str, told: &[Diagnostic]) -> Result<(), Failure> {
    let errors = told.iter().filter(|diagnostic| diagnostic.is_error);
    let lines: Vec<String> = errors.map(|error| format!("{entry}: {}: {}", error.path, error.message)).collect();
    if lines.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Config, lines.join("\n"))) }
}

fn print(curves: &Curves, cost: &Cost) {
    let names = curves.lines.iter().map(|(name, _)| if name.is_empty() { curves.y_name } else { name });
    println!("{:<12}  {}", curves.x_name, names.map(|name| format!("{name:<20}")).collect::<String>().trim_end());
    let longest = curves.lines.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    // A plugin may return more or fewer numbers than were asked for, and then this shows it.
    for i in 0..longest.max(curves.x.len()) {
        let text = |values: &[f64]| values.get(i).map_or_else(|| "-".to_owned(), f64::to_string);
        let values: String = curves.lines.iter().map(|(_, values)| format!("{:<20}", text(values))).collect();
        println!("{:<12}  {}", text(&curves.x), values.trim_end());
    }
    println!("fuel {}, guest time {:.1} us", cost.fuel, cost.guest_time.as_secs_f64() * 1e6);
}

/// Settings as JSON, as TOML, or from a file of either.
fn settings(given: &str) -> Result<Map<String, Value>, Failure> {
    let is_file = Path::new(given).is_file();
    let text = match is_file {
        true => std::fs::read_to_string(given)
            .map_err(|error| Failure::new(Exit::Config, format!("cannot read {given}: {error}")))?,
        false => given.to_owned(),
    };
    let parsed = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(&text).map_err(|error| error.to_string()),
        false => toml::from_str(&text).map_err(|error: toml::de::Error| error.to_string()),
    };
    parsed.map_err(|problem| Failure::new(Exit::Config, format!("--config is neither JSON nor TOML: {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_json_or_toml() {
        let expected = json!({ "rho": 5, "model": "svd" });
        for text in [r#"{"rho": 5, "model": "svd"}"#, "rho=5\nmodel=\"svd\""] {
            assert_eq!(Value::Object(settings(text).unwrap()), expected);
        }
        assert!(settings("{}").unwrap().is_empty());
        assert!(settings("rho: 5").unwrap_err().message.contains("neither JSON nor TOML"));
    }

    #[test]
    fn quantiles_are_symmetric_about_the_middle() {
        assert_eq!(quantiles(DrawKind::Uniform, 2), [0.25, 0.75]);
        let normal = quantiles(DrawKind::Gaussian, 3);
        assert!(normal[1].abs() < 1e-12 && (normal[2] - 0.967_421_566_101_701).abs() < 1e-9, "{normal:?}");
    }
}
