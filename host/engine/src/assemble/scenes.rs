//! The scenes that a run is scored on, and the encoder that compares all of them together.

use std::sync::Arc;

use tch::Device;

use super::{AssembleError, Project, check_entries};
use crate::config::{DataConfig, FrechetConfig, Problems, RunKind, SourceConfig};
use crate::data::{self, Batch, DataError, Source};
use crate::evaluation::{ClipSetError, FeatureEncoder, Frechet, Protocol, SceneForm};

/// Scenes on a device, a batch each, read one by one.
pub(super) struct Scenes {
    /// The first is read ahead, for what is asked of all.
    first: Option<Batch>,
    rest: Box<dyn Iterator<Item = Result<Batch, DataError>>>,
    device: Device,
}

impl Scenes {
    /// The first scene, on the CPU; none if there are none, or it has been taken.
    pub(super) fn first(&self) -> Option<&Batch> {
        self.first.as_ref()
    }
}

impl Iterator for Scenes {
    type Item = Result<Batch, AssembleError>;

    fn next(&mut self) -> Option<Self::Item> {
        let scene = self.first.take().map(Ok).or_else(|| self.rest.next())?;
        Some(scene.map(|scene| scene.to_device(self.device)).map_err(AssembleError::from))
    }
}

impl<C: RunKind> Project<C> {
    /// The scenes of a validation, on `device`: of `held_out`, or else of the training's own `source`.
    ///
    /// # Errors
    /// When the source cannot be opened, its first scene cannot be read, or lacks entries.
    pub(super) fn validation_scenes(
        &self,
        held_out: Option<&SourceConfig>,
        source: &Arc<dyn Source>,
        num_scenes: usize,
        device: Device,
    ) -> Result<Scenes, AssembleError> {
        let (data, seed) = (self.config().data(), self.config().run().seed);
        let source = match held_out {
            None => source.clone(),
            Some(held_out) => {
                let held_out = DataConfig { source: held_out.clone(), ..data.clone() };
                data::open(&held_out).map_err(|error| self.of_held_out(error))?
            }
        };
        let mut rest = data::single_scenes(source, data, seed, num_scenes);
        let first = rest.next().transpose()?;
        let problems = match &first {
            Some(first) if held_out.is_some() => check_entries(&self.loaded, first),
            _ => Vec::new(),
        };
        if !problems.is_empty() {
            return Err(Problems(problems).into());
        }
        Ok(Scenes { first, rest: Box::new(rest), device })
    }

    /// A source's error blames the training's settings; that of held-out scenes has settings of its own.
    fn of_held_out(&self, error: DataError) -> AssembleError {
        match error {
            DataError::Setting { key, reason } => {
                let pointer = format!("/validation/source/{key}");
                Problems(vec![self.loaded.problem(&pointer, reason, "the source of validation has its own")]).into()
            }
            other => other.into(),
        }
    }

    /// The distances of all scenes together, tried on the form of the first; none if there are no scenes.
    ///
    /// # Errors
    /// When the encoder cannot be used, or scenes have no such clips or too few.
    pub(super) fn frechet(
        &self,
        settings: &FrechetConfig,
        scenes: &Scenes,
        num_scenes: usize,
        input_key: &str,
        device: Device,
    ) -> Result<Option<Frechet>, AssembleError> {
        let Some((first, pictures)) = scenes.first().and_then(|first| Some((first, first.tensors.get(input_key)?)))
        else {
            return Ok(None);
        };
        let [rows, image @ ..] = &pictures.size()[..] else { return Ok(None) };
        let Ok(image) = <[i64; 3]>::try_from(image) else { return Ok(None) };
        let num_views = first.integers.get("num_views").copied().unwrap_or(1).max(1);
        let form = SceneForm { num_times: rows / num_views, num_views, image };
        let encoder = FeatureEncoder::load(settings, device).map_err(ClipSetError::from);
        let frechet = encoder.and_then(|encoder| Frechet::new(encoder, form, num_scenes));
        let frechet = frechet.map_err(|error| {
            let pointer = match error.key() {
                Some(key) => format!("/validation/frechet/{key}"),
                None => "/validation/scenes".to_owned(),
            };
            Problems(vec![self.loaded.problem(&pointer, error.to_string(), error.help())])
        })?;
        Ok(Some(frechet))
    }
}

/// Says how the distances of a training's validations are taken; `anneal evaluate` has it in what it gives.
pub(super) fn name_protocol(protocol: &Protocol) {
    tracing::info!("{protocol}");
    if let Some(warning) = protocol.warning() {
        tracing::warn!("validation.frechet: {warning}");
    }
}
