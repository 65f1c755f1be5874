//! Whether the model of a config fits its data, its embedders and the weights that it names.

use super::faults::{Area, Faults, of_component};
use super::headers::Headers;
use super::tried::{Tried, tried};
use crate::assemble::autoencoder::{DECODER_PREFIX, LOSS_PREFIX};
use crate::assemble::weighting::{learns_nothing, own_weighting};
use crate::assemble::{
    AssembleError, FIRST_STAGE_PREFIX, NETWORK_PREFIX, Place, Project, build_model, check_frames, check_widths,
};
use crate::config::{AutoencoderRunConfig, LoraConfig, Problems, RunConfig};
use crate::data::Batch;
use crate::weights::{Shaped, shapes};

/// See [`super::Fits::misfits`].
pub(super) fn of_diffusion(project: &mut Project<RunConfig>, batch: Option<&Batch>, faults: &mut Faults) {
    let config = project.config().clone();
    let mut built = match build_model(&config, &mut project.registry, Place::Meta) {
        Ok(built) => built,
        Err(error) => return unbuilt(project, &error, faults),
    };
    // What a weighting says to its settings is told with what other components do.
    if let Ok(mut weighting) = project.registry.weighting(&config.loss.weighting) {
        faults.add_all(learns_nothing(&project.loaded, &weighting).map(|problem| Problems(vec![problem])));
        let owned = own_weighting(&mut weighting, &mut built, Place::Meta, config.run.seed);
        faults.add_all(owned.err().map(|error| {
            Problems(vec![project.loaded.problem("/loss/weighting", error.to_string(), "see the message")])
        }));
    }
    faults.add_all(project.check_patterns(&built).err());
    faults.add_all(project.groups("/optimizer", &config.optimizer, &built.trained, built.num_network).err());

    let model = shapes(&built.weights);
    let mut headers = Headers::new(&project.loaded);
    for (i, used) in config.model.embedders.iter().enumerate() {
        headers.embedder(i, used, &below(&model, &format!("conditioner.embedders.{i}.")), faults);
    }
    if let Some((path, prefix)) = config.model.first_stage.weights() {
        let own = below(&model, FIRST_STAGE_PREFIX);
        headers.file("/model/first_stage", path, prefix, &own, "the first stage", faults);
    }
    let validation = config.validation.as_ref().and_then(|validation| validation.lpips.as_ref());
    for (at, networks) in [("/loss/lpips", config.loss.lpips.as_ref()), ("/validation/lpips", validation)] {
        networks.into_iter().for_each(|networks| headers.lpips(at, networks, faults));
    }
    headers.start(config.train.init_from.as_deref(), &model, NETWORK_PREFIX, faults);
    if let Some(LoraConfig { weights: Some(path), .. }) = &config.model.lora {
        headers.is_readable("/model/lora/weights", path, faults);
    }

    let Some(batch) = batch else { return };
    faults.add_all(Some(Problems(check_frames(&project.loaded, batch))));
    let latent = built.model.latent_shape(batch);
    let uses = built.model.conditioner.into_uses();
    let Tried { conditions, parts, is_whole } = tried(&project.loaded, &project.registry, uses, batch, faults);
    match latent {
        Ok([_, c, h, w]) if is_whole => {
            faults.add_all(Some(Problems(check_widths(&project.loaded, [c, h, w], &conditions, &parts))));
        }
        Ok(_) => {}
        Err(error) => {
            let problem = project.loaded.problem("/model/input_key", error.message, "name an entry of pictures");
            faults.add(Area::Config, problem);
        }
    }
}

/// Why a model cannot be built: what its embedders say to their settings, or else what building it said.
fn unbuilt(project: &mut Project<RunConfig>, error: &AssembleError, faults: &mut Faults) {
    let mut is_told = false;
    for (i, used) in project.loaded.config.model.embedders.clone().iter().enumerate() {
        if let Err(error) = project.registry.embedder(used) {
            let help = format!("`anneal plugin info` shows the settings of `{}`", used.plugin);
            let pointer = format!("/model/embedders/{i}");
            faults.add_following(Area::Config, of_component(&project.loaded, &pointer, &error, &help));
            is_told = true;
        }
    }
    if !is_told {
        faults.add(Area::Config, project.loaded.problem("/model", error.to_string(), "see the message"));
    }
}

/// See [`super::Fits::misfits`].
pub(super) fn of_autoencoder(project: &mut Project<AutoencoderRunConfig>, faults: &mut Faults) {
    let config = project.config().clone();
    let built = match project.build(Place::Meta) {
        Ok(built) => built,
        Err(AssembleError::Config(problems)) => return faults.add_all(Some(problems)),
        Err(error) => {
            let problem = project.loaded.problem("/autoencoder", error.to_string(), "see the message");
            return faults.add(Area::Config, problem);
        }
    };
    faults.add_all(project.groups("/optimizer", &config.optimizer, &built.trained, built.num_autoencoder).err());
    if let Some(used) = &config.loss.discriminator {
        let at = "/loss/discriminator/optimizer";
        faults.add_all(project.groups(at, &used.optimizer, &built.of_adversary, 0).err());
    }
    let model = shapes(&built.weights);
    let mut headers = Headers::new(&project.loaded);
    if let Some((path, prefix)) = config.autoencoder.network.weights() {
        let own: Vec<Shaped> = model.iter().filter(|(name, _)| !name.starts_with(LOSS_PREFIX)).cloned().collect();
        headers.file("/autoencoder/network", path, prefix, &own, "the autoencoder", faults);
    }
    let validation = config.validation.as_ref().and_then(|validation| validation.lpips.as_ref());
    for (at, networks) in [("/loss/lpips", config.loss.lpips.as_ref()), ("/validation/lpips", validation)] {
        networks.into_iter().for_each(|networks| headers.lpips(at, networks, faults));
    }
    headers.start(config.train.init_from.as_deref(), &model, DECODER_PREFIX, faults);
}

/// Those whose keys begin with `prefix`, without it.
fn below(model: &[Shaped], prefix: &str) -> Vec<Shaped> {
    let bare = |(name, shape): &Shaped| Some((name.strip_prefix(prefix)?.to_owned(), shape.clone()));
    model.iter().filter_map(bare).collect()
}
