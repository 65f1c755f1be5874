//! `engine_train.*` and `engine_sample.*`: optimizer steps in the trainer's order, and samples under guidance.

use std::collections::BTreeMap;

use anneal::conditioner::{Conditions, Pass};
use anneal::diffusion::{Denoise, ExtraInputs, Guider};
use anneal::error::ComponentError;
use anneal::trainer::{AdamSettings, Ema, Optimizer, OptimizerSettings, Schedule, SgdSettings};
use tch::{Kind, Tensor};

use super::loss::{Objective, Parts};
use super::{ema, first_stage, guider, model, sampler, schedule};
use crate::case::{Case, Outputs};
use crate::options::Options;
use crate::plugins;

/// Runs a case of training.
pub fn train(case: &Case) -> Result<Outputs, String> {
    let config = case.config()?;
    let parts = Parts::new(case, &config)?;
    let mut objective = Objective::new(case, &config.table("loss_fn_config")?)?;
    let settings = optimizer(config.maybe_table("optimizer_config")?)?;
    let scheduler = config.maybe_table("scheduler_config")?.map(|table| schedule::learning_rate(&table)).transpose()?;
    let decay = ema::of_engine(&config)?;
    let first_stage = first_stage::codec(case, &config)?;
    let input_key: String = config.or("input_key", "jpg".to_owned())?;
    // How it would be sampled changes nothing in training.
    config.raw("sampler_config");
    check_engine(&config)?;

    let learning_rate = scheduler
        .map(|used| plugins::with(|registry| registry.learning_rate(&used).map_err(|error| error.to_string())))
        .transpose()?;
    let mut schedule_of_run = Schedule::new(case.call.get("learning_rate")?, learning_rate);
    let named: Vec<_> = parts.trained.iter().map(|(key, t)| (key.clone(), t.shallow_clone())).collect();
    let mut optimizer = Optimizer::new(named, settings);
    let mut averages = decay.map(|decay| Ema::new(optimizer.params(), parts.num_network, decay, true));
    let (mut losses, mut rates, mut norms) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..case.call.get::<u64>("steps")? {
        let prefix = format!("step.{step}.");
        parts.recorded.load(case, &prefix);
        let clean = first_stage.encode(&case.input(&format!("{prefix}batch.{input_key}"))?, &parts.recorded)?;
        let rate = schedule_of_run.at(step).map_err(|error| error.to_string())?;
        optimizer.zero_grad();
        let loss = objective.evaluate(case, &parts, &prefix, &clean)?.of_rows.mean(Kind::Float);
        loss.backward();
        optimizer.collect_grads();
        losses.push(loss.double_value(&[]));
        rates.push(rate);
        norms.push(optimizer.grad_norm());
        optimizer.step(rate, 1.0).map_err(|error| error.to_string())?;
        if let Some(averages) = &mut averages {
            averages.update();
        }
    }
    let rows = [("out.loss", losses), ("out.lr", rates), ("out.grad_norm", norms)];
    let mut outputs: Outputs =
        rows.into_iter().map(|(name, values)| (name.to_owned(), schedule::row(&values))).collect();
    outputs.extend(parts.trained.iter().map(|(key, t)| (format!("out.w.{key}"), t.detach().copy())));
    if let (Some(averages), Some(decay)) = (&averages, decay) {
        // Upstream names them within `model`.
        let buffers = ema::buffers("out.ema.", averages, decay, true);
        outputs.extend(buffers.into_iter().map(|(name, t)| (name.replacen("out.ema.model", "out.ema.", 1), t)));
    }
    Ok(outputs)
}

/// Settings of upstream's engine that change no number here.
fn check_engine(config: &Options) -> Result<(), String> {
    if config.kind()? != "diffusion_engine" {
        return Err("only the diffusion engine is known".to_owned());
    }
    let _: bool = config.or("disable_first_stage_autocast", false)?;
    let _: Option<Vec<String>> = config.optional("log_keys")?;
    let _: bool = config.or("no_cond_log", false)?;
    let _: bool = config.or("compile_model", false)?;
    config.finish()
}

/// Upstream's optimizer; torch's defaults where it names none.
fn optimizer(config: Option<Options>) -> Result<OptimizerSettings, String> {
    let Some(config) = config else {
        let config = Options::new("optimizer_config", &serde_json::json!({ "type": "adamw" }))?;
        return optimizer(Some(config));
    };
    let kind = config.kind()?;
    let settings = match kind.as_str() {
        "adamw" => OptimizerSettings::AdamW(adam(&config, 0.01)?),
        // The two are one in torch, too.
        "adam" if config.or("decoupled_weight_decay", false)? => OptimizerSettings::AdamW(adam(&config, 0.0)?),
        "adam" => OptimizerSettings::Adam(adam(&config, 0.0)?),
        "sgd" => OptimizerSettings::Sgd(SgdSettings {
            momentum: config.or("momentum", 0.0)?,
            dampening: config.or("dampening", 0.0)?,
            weight_decay: config.or("weight_decay", 0.0)?,
            nesterov: config.or("nesterov", false)?,
        }),
        other => return Err(format!("no optimizer is called `{other}`")),
    };
    // Which of torch's loops it takes changes no number.
    for key in ["fused", "foreach", "capturable", "differentiable"] {
        let _: Option<bool> = config.optional(key)?;
    }
    if config.or("maximize", false)? {
        return Err("an optimizer that goes up the gradient is not known".to_owned());
    }
    config.finish()?;
    Ok(settings)
}

fn adam(config: &Options, weight_decay: f64) -> Result<AdamSettings, String> {
    Ok(AdamSettings {
        betas: config.or("betas", [0.9, 0.999])?,
        eps: config.or("eps", 1e-8)?,
        weight_decay: config.or("weight_decay", weight_decay)?,
        amsgrad: config.or("amsgrad", false)?,
    })
}

/// A guided model as a sampler sees it.
struct Guided<'a> {
    parts: &'a Parts,
    cond: Conditions,
    uncond: Conditions,
    extra: ExtraInputs,
    guider: Option<Guider>,
    noise: std::vec::IntoIter<Tensor>,
}

impl Guided<'_> {
    fn call(&self, x: &Tensor, sigma: f64, c: &Conditions, extra: &ExtraInputs) -> Result<Tensor, ComponentError> {
        let sigmas = vec![sigma; x.size()[0] as usize];
        self.parts.denoiser.denoise(&self.parts.network, x, &sigmas, c, extra, false)
    }
}

impl Denoise for Guided<'_> {
    fn denoise(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor, ComponentError> {
        let Some(guider) = &self.guider else { return self.call(x, sigma, &self.cond, &self.extra) };
        let doubled = guider.double(x, &self.cond, &self.uncond, &self.extra)?;
        Ok(guider.blend(&self.call(&doubled.x, sigma, &doubled.conditions, &doubled.extra)?, sigma))
    }

    fn gaussian(&mut self) -> Tensor {
        self.noise.next().unwrap_or_else(|| Tensor::from(f32::NAN))
    }

    fn progress(&mut self, _: u32, _: u32, _: f64) -> bool {
        true
    }
}

/// Runs a case of sampling.
pub fn sample(case: &Case) -> Result<Outputs, String> {
    let config = case.config()?;
    let mut parts = Parts::new(case, &config)?;
    let has_averages = ema::of_engine(&config)?.is_some();
    if has_averages {
        let averages = averages(case, &parts)?;
        if case.call.or("ema_scope", false)? {
            let network = config.table("network_config")?;
            parts.network = model::wrapper_of(&network, "model.diffusion_model.", averages)?.0;
        }
    }
    let first_stage = first_stage::codec(case, &config)?;
    let _: String = config.or("input_key", "jpg".to_owned())?;
    let sampler_config = config.table("sampler_config")?;
    let (used, sigmas) = sampler::sampler(&sampler_config)?;
    let guidance = sampler_config.maybe_table("guider_config")?.map(|table| guider::guidance(&table)).transpose()?;
    check_engine(&config)?;

    let x0 = case.input("x0")?;
    let rows = x0.size()[0];
    let _: i64 = case.call.get("batch_size")?;
    let _: Vec<i64> = case.call.get("shape")?;
    let batch = model::batch(case, "batch", rows, false)?;
    parts.recorded.load(case, "");
    let force_zero: Vec<String> = case.call.or("force_uc_zero_embeddings", Vec::new())?;
    let embed = |force_zero: &[String]| {
        let pass = Pass { seed: 0, training: false, force_zero };
        parts.conditioner.embed(&batch, pass).map_err(|error| error.to_string())
    };
    let (cond, uncond) = (embed(&[])?, embed(&force_zero)?);
    let mut outputs = model::conditions("out.c", &cond);
    outputs.extend(model::conditions("out.uc", &uncond));
    let grid = &sigmas[..sigmas.len() - 1];
    let guider = guidance.map(|guidance| guidance.guider(grid)).transpose()?.flatten().map(|(guider, _)| guider);
    let extra = extra(case)?;
    let frames = extra.num_video_frames.unwrap_or(rows);
    let noise = parts.recorded.rest_of_noise().into_iter();
    let mut guided = Guided { parts: &parts, cond, uncond, extra, guider, noise };
    // Unlike tch's, this guard is undone by a panic too, which would otherwise spoil the cases that follow.
    let no_grad = anneal_torch::grad_mode::no_grad();
    let samples = sampler::solve(&used, &x0, &sigmas, &mut guided)?;
    drop(no_grad);
    outputs.insert("out.decoded".to_owned(), first_stage.decode(&samples, frames));
    outputs.insert("out.samples".to_owned(), samples);
    Ok(outputs)
}

/// Upstream's averages by the keys of the network, whose dots their names lack.
fn averages(case: &Case, parts: &Parts) -> Result<BTreeMap<String, Tensor>, String> {
    let mut stored = case.weights("model_ema.");
    stored.remove("decay");
    stored.remove("num_updates");
    let prefix = "model.diffusion_model.";
    let mut averages = case.weights(prefix);
    for (key, _) in &parts.trained[..parts.num_network] {
        let name = key.trim_start_matches("model.").replace('.', "");
        let average = stored.remove(&name).ok_or_else(|| format!("no average {name}"))?;
        averages.insert(key[prefix.len()..].to_owned(), average);
    }
    if stored.is_empty() { Ok(averages) } else { Err(format!("{} averages are left over", stored.len())) }
}

/// What the network is given besides conditions. Upstream's caller doubles it by hand, ours does so itself.
fn extra(case: &Case) -> Result<ExtraInputs, String> {
    let mut extra = ExtraInputs::default();
    if let Some(given) = case.call.maybe_table("sample_kwargs")? {
        extra.num_video_frames = given.optional("num_video_frames")?;
        given.finish()?;
    }
    if let Some(indicator) = case.optional("image_only_indicator") {
        let half = indicator.narrow(0, 0, indicator.size()[0] / 2);
        extra.tensors.insert("image_only_indicator".to_owned(), half);
    }
    Ok(extra)
}
