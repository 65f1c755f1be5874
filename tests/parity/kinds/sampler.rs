//! `sampler.*`: solvers around a denoiser of a Gaussian, whose answer is known in closed form.

use anneal::config::PluginUse;
use anneal::diffusion::Denoise;
use anneal::error::{ComponentError, ErrorCode};
use serde_json::Value;
use tch::Tensor;

use super::schedule;
use crate::case::{Case, Outputs};
use crate::options::Options;
use crate::plugins;

/// The denoiser of data with mean `mu` and deviation `s`.
struct Gaussian {
    mu: f64,
    s: f64,
    noise: std::vec::IntoIter<Tensor>,
    sigmas: Vec<f64>,
}

impl Denoise for Gaussian {
    fn denoise(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor, ComponentError> {
        self.sigmas.push(sigma);
        let variance = self.s * self.s;
        Ok((x - self.mu) * (variance / (sigma * sigma + variance)) + self.mu)
    }

    fn gaussian(&mut self) -> Tensor {
        // More noise than the case has is a NaN in the samples, and with that a failure.
        self.noise.next().unwrap_or_else(|| Tensor::from(f32::NAN))
    }

    fn progress(&mut self, _: u32, _: u32, _: f64) -> bool {
        true
    }
}

/// Runs a case.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let config = case.config()?;
    let (used, sigmas) = sampler(&config)?;
    config.finish()?;
    let noise = case.numbered("noise").into_iter();
    let mut model = Gaussian { mu: case.call.get("mu")?, s: case.call.get("s")?, noise, sigmas: Vec::new() };
    let samples = solve(&used, &case.input("x0")?, &sigmas, &mut model)?;
    let evaluated = schedule::row(&model.sigmas);
    Ok(Outputs::from([("out.samples".to_owned(), samples), ("out.sigma_evals".to_owned(), evaluated)]))
}

/// Upstream's sampler as a use of ours, and its grid with the final zero. Its guider is left to the caller.
pub fn sampler(config: &Options) -> Result<(PluginUse, Vec<f64>), String> {
    let grid = schedule::discretization(&config.table("discretization_config")?)?;
    let sigmas = schedule::grid(&grid, config.get("num_steps")?, true, false)?;
    // These change no number.
    let _: bool = config.or("verbose", false)?;
    let _: Option<String> = config.optional("device")?;
    let name = match config.kind()?.as_str() {
        "euler_edm" => "euler-edm",
        "heun_edm" => "heun-edm",
        "euler_ancestral" => "euler-ancestral",
        "dpmpp2s_ancestral" => "dpmpp-2s-ancestral",
        "dpmpp2m" => "dpmpp-2m",
        "linear_multistep" => "linear-multistep",
        other => return Err(format!("no sampler is called `{other}`")),
    };
    config.raw("guider_config");
    let Value::Object(params) = config.rest() else { return Err("options are no table".to_owned()) };
    Ok((plugins::named(name, params), sigmas))
}

/// Solves from unit noise.
pub fn solve(used: &PluginUse, x0: &Tensor, sigmas: &[f64], model: &mut dyn Denoise) -> Result<Tensor, String> {
    let x = x0 * (1.0 + sigmas[0] * sigmas[0]).sqrt();
    plugins::with(|registry| {
        let mut sampler = registry.sampler(used).map_err(|error| error.to_string())?;
        sampler.sample(x, sigmas, model).map_err(|error| match error.code {
            ErrorCode::InvalidConfig => format!("settings: {error}"),
            _ => error.to_string(),
        })
    })
}
