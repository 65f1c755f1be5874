//! Pictures of a run: inputs, reconstructions, conditions and samples of a fixed batch.

use std::path::Path;

use tch::Tensor;

use super::{Ema, TrainError};
use crate::config::ClipFormat;
use crate::data::Batch;
use crate::diffusion::{Model, Sampling};
use crate::error::ComponentError;
use crate::logging::{Row, clip_frames, contact_sheet, write_clip, write_png};

/// What is drawn, and how.
pub struct Preview {
    /// The scenes.
    pub batch: Batch,
    /// How samples are made.
    pub sampling: Sampling,
    /// Sample with the moving average where there is one.
    pub use_ema: bool,
    /// Format of clips.
    pub format: ClipFormat,
    /// Frames a second of clips.
    pub fps: f64,
}

impl Preview {
    /// Samples the scenes and writes `sheet.png`, and for scenes of several frames `clip.gif` or `clip.webp`.
    ///
    /// # Errors
    /// When a component fails or a file cannot be written.
    pub fn write(&mut self, model: &Model, ema: Option<&mut Ema>, seed: u64, dir: &Path) -> Result<(), TrainError> {
        let reconstructions = model.first_stage.decode(&model.encode(&self.batch, seed)?, self.batch.frames_per_scene);
        let samples = match ema.filter(|_| self.use_ema) {
            Some(ema) => ema.with_averages(|| self.sample(model, seed))?,
            None => self.sample(model, seed)?,
        };
        let inputs = model.input(&self.batch)?;
        let mut rows = vec![
            Row { label: "inputs", pictures: inputs },
            Row { label: "reconstructions", pictures: &reconstructions },
        ];
        let conditions = condition_pictures(model, &self.batch);
        rows.extend(conditions.iter().map(|(label, pictures)| Row { label, pictures }));
        rows.push(Row { label: "samples", pictures: &samples });
        let scenes = self.batch.sample_ids.len();
        write_png(&contact_sheet(&rows, &captions(&self.batch), scenes), &dir.join("sheet.png"))?;
        if self.batch.frames_per_scene > 1 {
            let moving = [Row { label: "inputs", pictures: inputs }, Row { label: "samples", pictures: &samples }];
            let path = dir.join("clip").with_extension(self.format.extension());
            write_clip(&clip_frames(&moving, scenes), self.fps, self.format, &path)?;
        }
        Ok(())
    }

    fn sample(&mut self, model: &Model, seed: u64) -> Result<Tensor, ComponentError> {
        let latents = self.sampling.run(model, &self.batch, seed, &mut |_, _, _| true)?;
        Ok(model.first_stage.decode(&latents, self.batch.frames_per_scene))
    }
}

/// The entries that embedders read and that are pictures, grey or in colour, by name, each once.
pub fn condition_pictures(model: &Model, batch: &Batch) -> Vec<(String, Tensor)> {
    let mut keys: Vec<&String> = Vec::new();
    for key in model.conditioner.uses().iter().flat_map(|used| used.input_keys.iter()) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let is_picture = |t: &&Tensor| t.dim() == 4 && matches!(t.size()[1], 1 | 3);
    let keys = keys.into_iter();
    keys.filter_map(|key| Some((key.clone(), batch.tensors.get(key).filter(is_picture)?.shallow_clone()))).collect()
}

/// The texts of each scene, a line each.
pub fn captions(batch: &Batch) -> Vec<String> {
    let of_scene = |scene: usize| {
        let lines = batch.texts.iter().map(|(name, texts)| format!("{name}: {}", texts[scene]));
        lines.collect::<Vec<_>>().join("\n")
    };
    (0..batch.sample_ids.len()).map(of_scene).collect()
}
