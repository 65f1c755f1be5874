//! Settings that are right each by itself but do not fit each other. Needs no plugin and no data.

use anneal_nn::Lpips;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::PathPattern;
use super::ValidationConfig;
use super::{AutoencoderLossConfig, AutoencoderSection, AutoencoderValidationConfig, FirstStageConfig, LossConfig};
use super::{
    DataConfig, FrechetConfig, LoraConfig, ModelConfig, Moments, OptimizerConfig, PluginsConfig, SamplingConfig,
    SourceConfig,
};

mod autoencoder;
mod diffusion;
mod source;
mod train;

/// Where the source of training is set.
const TRAINING: &str = "/data/source";

/// A fault, and the JSON pointer of the setting to blame.
#[derive(Debug, PartialEq)]
pub struct Finding {
    pub(super) pointer: String,
    pub(super) message: String,
    pub(super) help: String,
}

fn finding(pointer: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Finding {
    Finding { pointer: pointer.into(), message: message.into(), help: help.into() }
}

/// A section that can be read in spite of faults elsewhere, so that what does not fit is found in the same go.
fn section<T: DeserializeOwned>(config: &Value, name: &str) -> Option<T> {
    serde_json::from_value(config.get(name)?.clone()).ok()
}

/// A place in the config where a source of data is set, and its settings.
struct DataSource {
    at: &'static str,
    settings: SourceConfig,
    /// LPIPS compares its images in validation.
    is_compared: bool,
}

/// The source of training and, where it is another, of validation.
fn sources(training: Option<DataConfig>, held_out: Option<SourceConfig>, is_compared: bool) -> Vec<DataSource> {
    let training = training.map(|data| data.source);
    let all = match held_out {
        Some(settings) => vec![
            training.map(|settings| DataSource { at: TRAINING, settings, is_compared: false }),
            Some(DataSource { at: "/validation/source", settings, is_compared }),
        ],
        None => vec![training.map(|settings| DataSource { at: TRAINING, settings, is_compared })],
    };
    all.into_iter().flatten().collect()
}

/// Channels of the images that are trained on; of colour where that cannot be read.
fn image_channels(sources: &[DataSource]) -> u32 {
    sources.iter().find(|source| source.at == TRAINING).map_or(3, |source| source::channels(&source.settings))
}

/// Everything that does not fit in the config of a diffusion model, within sections and between them.
pub(super) fn of_diffusion(config: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    let validation: Option<ValidationConfig> = section(config, "validation");
    if let Some(frechet) = validation.as_ref().and_then(|validation| validation.frechet.as_ref()) {
        distances_of_clips(frechet, validation.as_ref().is_some_and(|validation| validation.sample), &mut found);
    }
    let (held_out, is_compared) =
        validation.map_or((None, false), |validation| (validation.source, validation.lpips.is_some()));
    let sources = sources(section(config, "data"), held_out, is_compared);
    common(config, &sources, &mut found);
    let model: Option<ModelConfig> = section(config, "model");
    if let Some(model) = &model {
        diffusion::embedders(&model.embedders, &mut found);
        diffusion::network(model, &mut found);
        patterns("/model/trainable", model.trainable.as_deref(), &mut found);
        if let Some(lora) = &model.lora {
            adapters(lora, &mut found);
        }
        if let Some(source) = sources.iter().find(|source| source.at == TRAINING) {
            diffusion::channels(&source.settings, model, &mut found);
        }
        let channels = image_channels(&sources);
        first_stage("/model/first_stage", &model.first_stage, channels, &mut found);
        for source in &sources {
            diffusion::frames(source.at, &source.settings, model, &mut found);
            diffusion::classes(source.at, &source.settings, model, &mut found);
            diffusion::pixels(source.at, &source.settings, model, &mut found);
        }
    }
    if let (Some(model), Some(loss)) = (&model, section::<LossConfig>(config, "loss")) {
        diffusion::perceptual(model, &loss, &mut found);
        if let Some(source) = sources.iter().find(|source| source.at == TRAINING && loss.lpips.is_some()) {
            large_enough("/loss/lpips", &source.settings, &mut found);
        }
    }
    if let Some(sampling) = section::<SamplingConfig>(config, "sampling") {
        diffusion::additional_cond_keys(&sampling, &mut found);
        if let Some(model) = &model {
            diffusion::force_uc_zero(model, &sampling, &mut found);
        }
    }
    found
}

/// Everything that does not fit in the config of an autoencoder, within sections and between them.
pub(super) fn of_autoencoder(config: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    let validation: Option<AutoencoderValidationConfig> = section(config, "validation");
    if let Some(frechet) = validation.as_ref().and_then(|validation| validation.frechet.as_ref()) {
        distances_of_clips(frechet, true, &mut found);
    }
    let (held_out, is_compared) =
        validation.map_or((None, false), |validation| (validation.source, validation.lpips.is_some()));
    let sources = sources(section(config, "data"), held_out, is_compared);
    common(config, &sources, &mut found);
    let trained: Option<AutoencoderSection> = section(config, "autoencoder");
    let loss: Option<AutoencoderLossConfig> = section(config, "loss");
    if let Some(trained) = &trained {
        autoencoder::network(trained, image_channels(&sources), &mut found);
        for source in &sources {
            autoencoder::pixels(source.at, &source.settings, trained, &mut found);
        }
    }
    if let Some(adversary) = loss.as_ref().and_then(|loss| loss.discriminator.as_ref()) {
        optimizer("/loss/discriminator/optimizer", &adversary.optimizer, &mut found);
    }
    if let (Some(trained), Some(loss)) = (&trained, &loss) {
        autoencoder::terms(trained, loss, &mut found);
    }
    if let (Some(source), Some(loss)) = (sources.iter().find(|source| source.at == TRAINING), &loss) {
        if loss.lpips.is_some() {
            large_enough("/loss/lpips", &source.settings, &mut found);
        }
        autoencoder::adversary(&source.settings, loss, &mut found);
    }
    found
}

/// What the configs of all kinds of run have.
fn common(config: &Value, sources: &[DataSource], found: &mut Vec<Finding>) {
    if let Some(plugins) = section(config, "plugins") {
        versions(&plugins, found);
    }
    for source in sources {
        source::ranges(source.at, &source.settings, found);
        if source.is_compared {
            large_enough("/validation/lpips", &source.settings, found);
        }
    }
    if let Some(settings) = section(config, "optimizer") {
        optimizer("/optimizer", &settings, found);
    }
    train::kept(config, found);
}

/// The images of `source` have something left after VGG16's halvings.
fn large_enough(at: &str, source: &SourceConfig, found: &mut Vec<Finding>) {
    let smallest = source::sides(source).into_iter().min().map(i64::from);
    if smallest.is_some_and(|side| !Lpips::fits(side, side)) {
        let message = format!("images of {} pixels are too small for VGG16's five levels", smallest.unwrap_or(0));
        found.push(finding(at, message, format!("use images of at least {} pixels", Lpips::SMALLEST)));
    }
}

/// There is something to compare, in values that tell black from white.
fn distances_of_clips(frechet: &FrechetConfig, is_sampled: bool, found: &mut Vec<Finding>) {
    if !is_sampled {
        let help = "write sample = true, or take it out";
        found.push(finding("/validation/frechet", "is of samples, and none are made", help));
    }
    let [black, white] = frechet.range;
    if black == white {
        let help = "give the values of black and of white, like [-1.0, 1.0] or [0.0, 255.0]";
        found.push(finding("/validation/frechet/range", format!("black and white are both {black}"), help));
    }
}

fn patterns(at: &str, patterns: Option<&[String]>, found: &mut Vec<Finding>) {
    for (idx, _) in patterns.iter().copied().flatten().enumerate().filter(|(_, text)| PathPattern::new(text).is_none())
    {
        found.push(finding(format!("{at}/{idx}"), "is empty", "write a pattern of keys, as \"*.attn1.*\""));
    }
}

fn adapters(lora: &LoraConfig, found: &mut Vec<Finding>) {
    patterns("/model/lora/targets", Some(&lora.targets), found);
    if lora.targets.is_empty() {
        let help = "name layers, as \"*.attn1.*\" or \"temporal\"; or take it out for those of all attention";
        found.push(finding("/model/lora/targets", "names no layer", help));
    }
}

fn versions(plugins: &PluginsConfig, found: &mut Vec<Finding>) {
    for (id, version) in &plugins.require {
        if let Err(error) = semver::VersionReq::parse(version) {
            let pointer = format!("/plugins/require/{}", id.replace('~', "~0").replace('/', "~1"));
            let message = format!("{version:?} is no version requirement: {error}");
            found.push(finding(pointer, message, "write it as Cargo does: \"^1.2\", \"=1.2.3\", \">=1, <3\""));
        }
    }
}

fn optimizer(pointer: &str, optimizer: &OptimizerConfig, found: &mut Vec<Finding>) {
    for (idx, group) in optimizer.groups().iter().enumerate() {
        let at = format!("{pointer}/groups/{idx}");
        patterns(&format!("{at}/parameters"), Some(&group.parameters), found);
        if group.parameters.is_empty() {
            found.push(finding(format!("{at}/parameters"), "names no parameter", "write patterns, as \"*.bias\""));
        }
        if group.learning_rate_factor == 1.0 && group.weight_decay.is_none() {
            let help = "add `learning_rate_factor` or `weight_decay`, or take the group out";
            found.push(finding(at, "is moved as all others are", help));
        }
    }
    if optimizer.num_moments() == 0 && optimizer.moments() != Moments::F32 {
        let help = "set `momentum` above 0, or take `moments` out";
        found.push(finding(format!("{pointer}/moments"), "there are none without momentum", help));
    }
    match optimizer {
        OptimizerConfig::Adamw { betas, .. } | OptimizerConfig::Adam { betas, .. } => {
            for (idx, beta) in betas.iter().enumerate().filter(|(_, beta)| !(0.0..1.0).contains(*beta)) {
                let message = format!("{beta} is no decay rate");
                found.push(finding(format!("{pointer}/betas/{idx}"), message, "give a number from 0 to below 1"));
            }
        }
        OptimizerConfig::Sgd { nesterov: true, momentum, dampening, .. } => {
            if *momentum == 0.0 {
                let help = "set `momentum` above 0, or take `nesterov` out";
                found.push(finding(format!("{pointer}/nesterov"), "needs momentum", help));
            }
            if *dampening != 0.0 {
                let help = "take `dampening` or `nesterov` out";
                found.push(finding(format!("{pointer}/dampening"), "does not go with `nesterov`", help));
            }
        }
        OptimizerConfig::Sgd { .. } => {}
    }
}

fn first_stage(at: &str, settings: &FirstStageConfig, channels: u32, found: &mut Vec<Finding>) {
    let Some(autoencoder) = settings.autoencoder() else { return };
    for problem in autoencoder.check() {
        let pointer = format!("{at}/{}", problem.key.replace('.', "/"));
        found.push(finding(pointer, problem.message, problem.help));
    }
    if let Some(encoded) = autoencoder.encoded_pixels().filter(|encoded| *encoded != channels) {
        let message = format!("encodes {encoded} channels, but images have {channels}");
        found.push(finding(at, message, format!("write in_channels = {channels}")));
    }
}
