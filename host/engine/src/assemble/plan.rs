//! What a run will hold in memory and on disk, before anything is allocated.

use std::collections::HashSet;

use super::activations::activations;
use super::autoencoder_activations::activations as autoencoder_activations;
use super::weighting::own_weighting;
use super::weights_file::num_of_lpips;
use super::{
    Activations, AssembleError, FIRST_STAGE_PREFIX, NETWORK_PREFIX, Place, Project, WEIGHTING_PREFIX, build_model,
};
use crate::config::{AutoencoderRunConfig, OptimizerConfig, Precision, RunConfig, TrainConfig};
use crate::weights::Named;

/// Bytes of a parameter, a gradient or an average: all are f32.
const BYTES: u64 = 4;

/// Parameters of a part of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPart {
    /// `network`, `embedder 0 (open-clip-image-prediction)`, `first stage`.
    pub name: String,
    /// Values in its parameters and buffers.
    pub parameters: u64,
    /// Of them, those that are optimised.
    pub trained: u64,
}

/// What a run will hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The parts.
    pub parts: Vec<PlannedPart>,
    /// Bytes of all weights; those that embedders share count once.
    pub weights: u64,
    /// Bytes of the gradients.
    pub gradients: u64,
    /// Bytes of the optimizer's moments.
    pub moments: u64,
    /// Bytes of the moving average.
    pub ema: u64,
    /// Bytes of one checkpoint on disk.
    pub checkpoint: u64,
    /// Most bytes that writing a checkpoint takes at a time, in main memory: a copy of all of it, or of its largest tensor
    /// where training waits.
    pub checkpoint_peak: u64,
    /// What a step allocates on top of that, or why it is not known.
    pub activations: Result<Activations, String>,
    /// Optimizer steps of the run.
    pub steps: u64,
    /// Scenes that the run sees.
    pub scenes: u64,
    /// Checkpoints that are on disk at the end.
    pub checkpoints: u64,
}

impl Plan {
    /// Bytes of the state that stays for the whole run; activations come on top.
    pub fn state(&self) -> u64 {
        self.weights + self.gradients + self.moments + self.ema
    }

    /// Bytes of all tensors at most, where what comes on top is known.
    pub fn peak(&self) -> Option<u64> {
        let on_top = self.activations.as_ref().ok()?;
        Some(self.state() + on_top.step.max(on_top.preview.unwrap_or(0)))
    }
}

/// A part as it is to be counted.
struct Part<'a> {
    name: String,
    /// What its keys begin with.
    prefix: String,
    optimizer: &'a OptimizerConfig,
}

impl<'a> Part<'a> {
    fn new(name: impl Into<String>, prefix: impl Into<String>, optimizer: &'a OptimizerConfig) -> Self {
        Self { name: name.into(), prefix: prefix.into(), optimizer }
    }
}

impl Project<RunConfig> {
    /// The plan of a diffusion model's run. The model is built without values, so its size does not matter.
    ///
    /// # Errors
    /// When a plugin cannot be loaded or refuses its settings.
    pub fn plan(&mut self) -> Result<Plan, AssembleError> {
        let mut config = self.loaded.config.clone();
        // Autocast knows no tensors without values.
        config.run.precision = Precision::F32;
        let mut built = build_model(&config, &mut self.registry, Place::Meta)?;
        let mut weighting = self.registry.weighting(&config.loss.weighting)?;
        own_weighting(&mut weighting, &mut built, Place::Meta, config.run.seed)?;
        self.check_patterns(&built)?;
        self.groups("/optimizer", &config.optimizer, &built.trained, built.num_network)?;
        let optimizer = &config.optimizer;
        let mut parts = vec![Part::new("network", NETWORK_PREFIX, optimizer)];
        for (i, used) in config.model.embedders.iter().enumerate() {
            let name = format!("embedder {i} ({})", used.plugin);
            parts.push(Part::new(name, format!("conditioner.embedders.{i}."), optimizer));
        }
        parts.push(Part::new("first stage", FIRST_STAGE_PREFIX, optimizer));
        parts.push(Part::new("weighting", WEIGHTING_PREFIX, optimizer));
        let averaged = config.ema.as_ref().map_or(&[][..], |_| &built.trained[..built.num_network]);
        let runs = (&config.train, config.data.batch_size);
        let mut plan = plan(&parts, &built.weights, &built.trained, averaged, runs, activations(&config, &built));
        plan.weights -= built.num_shared * BYTES;
        Ok(plan)
    }
}

impl Project<AutoencoderRunConfig> {
    /// The plan of an autoencoder's run. It is built without values, so its size does not matter.
    ///
    /// # Errors
    /// When the autoencoder cannot be built.
    pub fn plan(&mut self) -> Result<Plan, AssembleError> {
        let config = self.loaded.config.clone();
        let mut built = self.build(Place::Meta)?;
        let optimizer = &config.optimizer;
        self.groups("/optimizer", optimizer, &built.trained, built.num_autoencoder)?;
        if let Some(used) = &config.loss.discriminator {
            self.groups("/loss/discriminator/optimizer", &used.optimizer, &built.of_adversary, 0)?;
        }
        let adversary = config.loss.discriminator.as_ref().map_or(optimizer, |used| &used.optimizer);
        let mut parts = vec![Part::new("discriminator", "loss.discriminator.", adversary)];
        for name in ["encoder", "quant_conv", "regularization", "post_quant_conv", "decoder", "loss"] {
            parts.push(Part::new(name, format!("{name}."), optimizer));
        }
        let averaged: Vec<Named> = match config.ema {
            Some(_) => {
                built.trained[..built.num_autoencoder].iter().map(|(k, t)| (k.clone(), t.shallow_clone())).collect()
            }
            None => Vec::new(),
        };
        // Autocast knows no tensors without values.
        built.model.compute = None;
        let activations = autoencoder_activations(&config, &built);
        built.trained.append(&mut built.of_adversary);
        let runs = (&config.train, config.data.batch_size);
        let mut plan = plan(&parts, &built.weights, &built.trained, &averaged, runs, activations);
        let validation = config.validation.as_ref().and_then(|validation| validation.lpips.as_ref());
        // These stay in memory, but no checkpoint has them.
        for (name, used) in [("LPIPS", config.loss.lpips.as_ref()), ("LPIPS of validation", validation)] {
            if used.is_some() {
                let parameters = num_of_lpips();
                plan.weights += parameters * BYTES;
                plan.parts.push(PlannedPart { name: name.to_owned(), parameters, trained: 0 });
            }
        }
        Ok(plan)
    }
}

/// Counts the tensors of each part; a tensor is of the first part whose prefix it has.
fn plan(
    parts: &[Part<'_>],
    weights: &[Named],
    trained: &[Named],
    averaged: &[Named],
    (train, batch_size): (&TrainConfig, usize),
    activations: Result<Activations, String>,
) -> Plan {
    let sum = |named: &[Named]| named.iter().map(|(_, tensor)| tensor.numel() as u64).sum::<u64>();
    let is_trained: HashSet<&str> = trained.iter().map(|(name, _)| name.as_str()).collect();
    let mut counted: Vec<PlannedPart> =
        parts.iter().map(|part| PlannedPart { name: part.name.clone(), parameters: 0, trained: 0 }).collect();
    let mut moments = 0;
    for (name, tensor) in weights {
        let count = tensor.numel() as u64;
        let Some(i) = parts.iter().position(|part| name.starts_with(&part.prefix)) else { continue };
        counted[i].parameters += count;
        if is_trained.contains(name.as_str()) {
            counted[i].trained += count;
            let optimizer = parts[i].optimizer;
            moments += optimizer.moments().bytes(count) * optimizer.num_moments();
        }
    }
    let (all, gradients, ema) = (sum(weights), sum(trained), sum(averaged));
    let saved = train.steps.div_ceil(train.checkpoint_every_steps);
    let checkpoint = (all + ema) * BYTES + moments;
    let largest = weights.iter().map(|(_, tensor)| tensor.numel() as u64 * BYTES).max().unwrap_or(0);
    Plan {
        parts: counted.into_iter().filter(|part| part.parameters > 0).collect(),
        weights: all * BYTES,
        gradients: gradients * BYTES,
        moments,
        ema: ema * BYTES,
        activations,
        checkpoint,
        checkpoint_peak: if train.background_saves { checkpoint } else { largest },
        steps: train.steps,
        scenes: train.steps * u64::from(train.accumulate_batches) * batch_size as u64,
        checkpoints: train.keep_last.map_or(saved, |kept| saved.min(kept as u64)),
    }
}
