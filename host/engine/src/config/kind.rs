//! The two kinds of run: of a diffusion model, and of an autoencoder to be its first stage.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::check::{self, Finding};
use super::components::PluginRef;
use super::schema::{AUTOENCODER_RUN_SCHEMA, RUN_SCHEMA};
use super::{
    AutoencoderRunConfig, DataConfig, DenoiserConfig, OptimizerConfig, PluginKind, PluginsConfig, RunConfig,
    RunSection, SourceConfig,
};

/// The table that only configs of autoencoders have.
pub(super) const AUTOENCODER: &str = "autoencoder";

/// A kind of run, by the type of its config.
pub trait RunKind: Clone + Serialize + DeserializeOwned {
    /// What runs of this kind are called: `a diffusion model`.
    const NAME: &'static str;

    /// The JSON Schema of its configs, references resolved and without null.
    fn schema() -> &'static Value;

    /// Settings that are right each by itself but do not fit each other, in the sections of `value` that can be read.
    fn findings(value: &Value) -> Vec<Finding>;

    /// Every plugin that the config names, in the order of the sections.
    fn plugin_refs(&self) -> Vec<PluginRef<'_>>;

    /// The batch entries that the config names, each with the JSON pointer of the setting.
    fn batch_entries(&self) -> Vec<(String, String)>;

    /// Where and how the run happens.
    fn run(&self) -> &RunSection;

    /// Where plugins are looked for.
    fn plugins(&self) -> &PluginsConfig;

    /// Where batches come from.
    fn data(&self) -> &DataConfig;

    /// Where scenes of validation come from, if they are others.
    fn held_out(&self) -> Option<&SourceConfig>;
}

/// A kind of run, by what its config holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindOfRun {
    /// The config has a `[model]`: a diffusion model is trained.
    Diffusion,
    /// The config has an `[autoencoder]`, which is trained.
    Autoencoder,
}

impl RunKind for RunConfig {
    const NAME: &'static str = "a diffusion model";

    fn schema() -> &'static Value {
        &RUN_SCHEMA
    }

    fn findings(value: &Value) -> Vec<Finding> {
        check::of_diffusion(value)
    }

    fn plugin_refs(&self) -> Vec<PluginRef<'_>> {
        let one = PluginRef::new;
        let mut refs = Vec::new();
        if let DenoiserConfig::Discrete { discretization, .. } = &self.model.denoiser {
            refs.push(one("/model/denoiser/discretization", PluginKind::Discretization, discretization));
        }
        refs.extend(self.model.embedders.iter().enumerate().map(|(idx, embedder)| PluginRef {
            pointer: format!("/model/embedders/{idx}"),
            kind: PluginKind::Embedder,
            name: &embedder.plugin,
            params: &embedder.params,
        }));
        refs.push(one("/loss/sigma_sampling", PluginKind::SigmaSampling, &self.loss.sigma_sampling));
        refs.push(one("/loss/weighting", PluginKind::Weighting, &self.loss.weighting));
        refs.extend(schedule("/optimizer", &self.optimizer));
        refs.push(one("/sampling/sampler", PluginKind::Sampler, &self.sampling.sampler));
        refs.push(one("/sampling/discretization", PluginKind::Discretization, &self.sampling.discretization));
        let guidance = self.sampling.guidance.iter();
        refs.extend(guidance.map(|used| one("/sampling/guidance", PluginKind::Guidance, used)));
        refs
    }

    fn batch_entries(&self) -> Vec<(String, String)> {
        let mut named = vec![("/model/input_key".to_owned(), self.model.input_key.clone())];
        for (i, key) in self.model.extra_inputs.iter().enumerate() {
            named.push((format!("/model/extra_inputs/{i}"), key.clone()));
        }
        for (i, embedder) in self.model.embedders.iter().enumerate() {
            if let Some(key) = &embedder.input_key {
                named.push((format!("/model/embedders/{i}/input_key"), key.clone()));
            }
            for (j, key) in embedder.input_keys.iter().flatten().enumerate() {
                named.push((format!("/model/embedders/{i}/input_keys/{j}"), key.clone()));
            }
        }
        named
    }

    fn run(&self) -> &RunSection {
        &self.run
    }

    fn plugins(&self) -> &PluginsConfig {
        &self.plugins
    }

    fn data(&self) -> &DataConfig {
        &self.data
    }

    fn held_out(&self) -> Option<&SourceConfig> {
        self.validation.as_ref()?.source.as_ref()
    }
}

impl RunKind for AutoencoderRunConfig {
    const NAME: &'static str = "an autoencoder";

    fn schema() -> &'static Value {
        &AUTOENCODER_RUN_SCHEMA
    }

    fn findings(value: &Value) -> Vec<Finding> {
        check::of_autoencoder(value)
    }

    fn plugin_refs(&self) -> Vec<PluginRef<'_>> {
        let adversary = self.loss.discriminator.iter();
        let adversary = adversary.flat_map(|used| schedule("/loss/discriminator/optimizer", &used.optimizer));
        schedule("/optimizer", &self.optimizer).into_iter().chain(adversary).collect()
    }

    fn batch_entries(&self) -> Vec<(String, String)> {
        vec![("/autoencoder/input_key".to_owned(), self.autoencoder.input_key.clone())]
    }

    fn run(&self) -> &RunSection {
        &self.run
    }

    fn plugins(&self) -> &PluginsConfig {
        &self.plugins
    }

    fn data(&self) -> &DataConfig {
        &self.data
    }

    fn held_out(&self) -> Option<&SourceConfig> {
        self.validation.as_ref()?.source.as_ref()
    }
}

/// The schedule of an optimizer at `pointer`, if it has one.
fn schedule<'a>(pointer: &str, optimizer: &'a OptimizerConfig) -> Option<PluginRef<'a>> {
    optimizer.schedule().map(|used| PluginRef::new(&format!("{pointer}/schedule"), PluginKind::LearningRate, used))
}
