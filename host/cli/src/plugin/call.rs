//! `anneal plugin call`: one function of a WASM entry, called as the host does.

use std::path::{Path, PathBuf};

use anneal::assemble::plugins;
use anneal::config::{Environment, PluginKind, PluginUse};
use anneal::diffusion::DrawKind;
use anneal::error::ComponentError;
use anneal::plugin::{Registry, wasm};
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

/// The cost of a call.
struct Spent {
    fuel: u64,
    micros: f64,
}

impl Call {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let mut registry = plugins(&self.plugins.plugin_dirs, &Environment::read())?;
        let used = PluginUse {
            plugin: registry.find(self.function.kind(), &self.entry)?.full_name(),
            params: settings(&self.config)?,
        };
        let (curves, spent) = self.call(&mut registry, &used)?;
        if let Some(path) = &self.plot {
            curves
                .save(path)
                .map_err(|error| Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display())))?;
        }
        match self.json {
            true => println!("{:#}", self.as_json(&used.plugin, &curves, &spent)),
            false => print(&curves, &spent),
        }
        Ok(Exit::Done)
    }

    fn call(&self, registry: &mut Registry, used: &PluginUse) -> Result<(Curves, Spent), Failure> {
        let arguments = self.arguments.as_slice();
        let line = |values: Vec<f64>| vec![(String::new(), values)];
        let curves = |x_name, y_name, x, lines| Curves { x_name, y_name, x, lines };
        Ok(match self.function {
            Function::Sigmas => {
                let n = self.counts::<1>()?[0];
                let mut grid = registry.discretization(used)?;
                let (sigmas, spent) = measured(|| grid.sigmas(n))?;
                (curves("n", "sigma", indices(0, n), line(sigmas)), spent)
            }
            Function::Weights => {
                let mut weighting = registry.weighting(used)?;
                let (weights, spent) = measured(|| weighting.weights(arguments))?;
                (curves("sigma", "weight", arguments.to_vec(), line(weights)), spent)
            }
            Function::Scales => {
                let mut guidance = registry.guidance(used)?;
                let (scales, spent) = measured(|| guidance.scales(arguments, self.frames, self.views))?;
                let rows = scales.chunks(self.frames.max(1) as usize).map(<[f64]>::to_vec);
                let names = arguments.iter().map(|sigma| format!("sigma {sigma}"));
                (curves("frame", "scale", indices(0, self.frames), names.zip(rows).collect()), spent)
            }
            Function::Factors => {
                let [first, count] = self.counts()?;
                let mut rate = registry.learning_rate(used)?;
                let (factors, spent) = measured(|| rate.factors(first.into(), count))?;
                (curves("step", "factor", indices(first, count), line(factors)), spent)
            }
            Function::Sample => {
                let n = self.counts::<1>()?[0];
                let mut sampler = registry.sigma_sampler(used)?;
                let draws = quantiles(sampler.draw_kind(), n);
                let (sigmas, spent) = measured(|| sampler.sample(&draws))?;
                (curves("draw", "sigma", draws, line(sigmas)), spent)
            }
        })
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

    fn as_json(&self, entry: &str, curves: &Curves, spent: &Spent) -> Value {
        let values: Value = match (self.function, curves.lines.as_slice()) {
            (Function::Scales, rows) => rows.iter().map(|row| json!(row.1)).collect(),
            (_, lines) => json!(lines.iter().flat_map(|line| line.1.clone()).collect::<Vec<_>>()),
        };
        let mut told = json!({
            "entry": entry,
            "function": self.function.name(),
            curves.x_name: curves.x,
            "values": values,
            "fuel": spent.fuel,
            "guest_time_us": spent.micros,
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

/// The result of a call, and what the guest burnt for it.
fn measured<R>(call: impl FnOnce() -> Result<R, ComponentError>) -> Result<(R, Spent), ComponentError> {
    let before = wasm::stats();
    let result = call()?;
    let after = wasm::stats();
    Ok((result, Spent { fuel: after.fuel - before.fuel, micros: (after.time - before.time).as_secs_f64() * 1e6 }))
}

fn print(curves: &Curves, spent: &Spent) {
    let names = curves.lines.iter().map(|(name, _)| if name.is_empty() { curves.y_name } else { name });
    println!("{:<12}  {}", curves.x_name, names.map(|name| format!("{name:<20}")).collect::<String>().trim_end());
    for (i, x) in curves.x.iter().enumerate() {
        let values: String = curves.lines.iter().map(|(_, values)| format!("{:<20}", values[i])).collect();
        println!("{x:<12}  {}", values.trim_end());
    }
    println!("fuel {}, guest time {:.1} us", spent.fuel, spent.micros);
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
