//! Scalar functions: scalings of the host, and weightings, grids, sigma sampling and learning rates through their plugins.

use anneal::config::{PluginUse, ScalingConfig};
use anneal::diffusion::{DrawKind, LossWeighting};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use crate::case::{Case, Outputs};
use crate::options::Options;
use crate::plugins;

/// Runs a case of a scalar function.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let config = case.config()?;
    let outputs = match case.kind.split('.').next().unwrap_or_default() {
        "scaling" => scaling_factors(case, scaling(&config)?)?,
        "weighting" => {
            let used = weighting(&config)?;
            let weights =
                plugins::with(|registry| match registry.weighting(&used).map_err(|error| error.to_string())? {
                    LossWeighting::Scalar(mut weighting) => {
                        weighting.weights(&case.numbers("sigma")?).map_err(|error| error.to_string())
                    }
                    LossWeighting::Tensor { weighting, .. } => {
                        Err(format!("{} is no scalar function", weighting.name()))
                    }
                })?;
            Outputs::from([("out.weight".to_owned(), row(&weights))])
        }
        "discretization" => {
            let used = discretization(&config)?;
            let [append_zero, flip] = [case.call.or("do_append_zero", true)?, case.call.or("flip", false)?];
            let sigmas = grid(&used, case.call.get("n")?, append_zero, flip)?;
            Outputs::from([("out.sigmas".to_owned(), row(&sigmas))])
        }
        "sigma_sampling" => {
            let sigmas = draw_sigmas(case, &sigma_sampling(&config)?, "")?;
            Outputs::from([("out.sigma".to_owned(), row(&sigmas))])
        }
        _ => {
            let used = learning_rate(&config)?;
            let factors = plugins::with(|registry| {
                let mut schedule = registry.learning_rate(&used).map_err(|error| error.to_string())?;
                let steps = case.numbers("steps")?;
                let factor = |step: &f64| schedule.factors(*step as u64, 1).map(|factors| factors[0]);
                steps.iter().map(factor).collect::<Result<Vec<f64>, _>>().map_err(|error| error.to_string())
            })?;
            Outputs::from([("out.factor".to_owned(), row(&factors))])
        }
    };
    config.finish()?;
    Ok(outputs)
}

fn scaling_factors(case: &Case, scaling: ScalingConfig) -> Result<Outputs, String> {
    let factors: Vec<_> = case.numbers("sigma")?.into_iter().map(|sigma| scaling.factors(sigma)).collect();
    let column = |name: &str, f: fn(&anneal::diffusion::Factors) -> f64| {
        (format!("out.{name}"), row(&factors.iter().map(f).collect::<Vec<f64>>()))
    };
    Ok(Outputs::from([
        column("c_skip", |f| f.c_skip),
        column("c_out", |f| f.c_out),
        column("c_in", |f| f.c_in),
        column("c_noise", |f| f.c_noise),
    ]))
}

/// Upstream's scaling as ours.
pub fn scaling(config: &Options) -> Result<ScalingConfig, String> {
    let scaling = match config.kind()?.as_str() {
        "edm" => ScalingConfig::Edm { sigma_data: config.or("sigma_data", 0.5)? },
        "eps" => ScalingConfig::Eps,
        "v" => ScalingConfig::V,
        "v_edm_cnoise" => ScalingConfig::VEdmCnoise,
        other => return Err(format!("no scaling is called `{other}`")),
    };
    config.finish()?;
    Ok(scaling)
}

/// Upstream's weighting as a use of ours.
pub fn weighting(config: &Options) -> Result<PluginUse, String> {
    let name = config.kind()?;
    used(&name, config, &["unit", "edm", "v", "eps"])
}

/// Upstream's discretization as a use of ours.
pub fn discretization(config: &Options) -> Result<PluginUse, String> {
    let name = config.kind()?;
    used(&name, config, &["edm", "legacy_ddpm"])
}

/// Upstream's schedule of the learning rate as a use of ours.
pub fn learning_rate(config: &Options) -> Result<PluginUse, String> {
    // Both only say how often to print.
    let _: u32 = config.or("verbosity_interval", 0)?;
    match config.kind()?.as_str() {
        "warm_up_cosine2" => used("warm-up-cosine-2", config, &["warm-up-cosine-2"]),
        name => used(name, config, &["warm_up_cosine", "linear"]),
    }
}

/// Upstream's sigma sampling as a use of ours.
pub fn sigma_sampling(config: &Options) -> Result<PluginUse, String> {
    match config.kind()?.as_str() {
        "discrete" => {
            let num_idx: u64 = config.get("num_idx")?;
            let flip: bool = config.or("flip", true)?;
            let append_zero: bool = config.or("do_append_zero", false)?;
            let grid = discretization(&config.table("discretization_config")?)?;
            config.finish()?;
            let mut params = grid.params;
            params.insert("discretization".to_owned(), json!(grid.plugin));
            params.insert("num_idx".to_owned(), json!(num_idx));
            params.insert("do_append_zero".to_owned(), json!(append_zero));
            params.insert("flip".to_owned(), json!(flip));
            Ok(plugins::named("discrete", params))
        }
        name => used(name, config, &["edm", "zero"]),
    }
}

/// The sigmas that a sampler makes of the case's draws: `in.PREFIXrand`, or the indices of a table `in.PREFIXrand_idx`.
pub fn draw_sigmas(case: &Case, used: &PluginUse, prefix: &str) -> Result<Vec<f64>, String> {
    let name = [format!("{prefix}rand_idx"), format!("{prefix}rand")].into_iter().find(|name| case.has(name));
    let draws = case.numbers(&name.ok_or("the case has no draw of sigma")?)?;
    sigmas_of(&draws, used)
}

/// The sigmas that a sampler makes of draws: Gaussian numbers, or indices of a table.
pub fn sigmas_of(draws: &[f64], used: &PluginUse) -> Result<Vec<f64>, String> {
    plugins::with(|registry| {
        let mut sampler = registry.sigma_sampler(used).map_err(|error| error.to_string())?;
        let draws = match sampler.draw_kind() {
            DrawKind::Gaussian => draws.to_vec(),
            // The case holds upstream's indices; a draw in the middle of an index's interval gives that index.
            DrawKind::Uniform => {
                let length = used.params.get("num_idx").and_then(Value::as_f64).ok_or("a table without num_idx")?;
                draws.iter().map(|index| (index + 0.5) / length).collect()
            }
        };
        sampler.sample(&draws).map_err(|error| error.to_string())
    })
}

/// Upstream's `Discretization.__call__`: the grid of a plugin, with zero appended and turned round as asked.
pub fn grid(used: &PluginUse, n: u32, append_zero: bool, flip: bool) -> Result<Vec<f64>, String> {
    let mut sigmas = plugins::with(|registry| {
        let mut discretization = registry.discretization(used).map_err(|error| error.to_string())?;
        discretization.sigmas(n).map_err(|error| error.to_string())
    })?;
    if append_zero {
        sigmas.push(0.0);
    }
    if flip {
        sigmas.reverse();
    }
    Ok(sigmas)
}

/// A use of the entry of upstream's name, with all options that are left; the plugin's schema refuses unknown ones.
fn used(name: &str, config: &Options, known: &[&str]) -> Result<PluginUse, String> {
    if !known.contains(&name) {
        return Err(format!("`{name}` is not one of {}", known.join(", ")));
    }
    let Value::Object(params) = config.rest() else { return Err("options are no table".to_owned()) };
    let params: Map<String, Value> = params;
    Ok(plugins::named(&name.replace('_', "-"), params))
}

/// Numbers as a row of f32.
pub fn row(values: &[f64]) -> Tensor {
    Tensor::from_slice(values).to_kind(Kind::Float)
}
