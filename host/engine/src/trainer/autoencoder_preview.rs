//! Pictures of an autoencoder's training: inputs, reconstructions, and how they differ.

use std::path::Path;

use anneal_torch::grad_mode;
use tch::Tensor;

use super::{Ema, TrainError, captions};
use crate::autoencoding::AutoencoderModel;
use crate::data::Batch;
use crate::logging::{Row, contact_sheet, write_png};

/// Differences are drawn so many times as strong, around grey.
const BOOST: f64 = 3.0;

/// What is drawn.
#[derive(Debug)]
pub struct AutoencoderPreview {
    /// The scenes.
    pub batch: Batch,
}

impl AutoencoderPreview {
    /// Writes `sheet.png`: of each scene its inputs, their reconstructions and the boosted difference; with a moving
    /// average also the reconstructions by the averaged weights.
    ///
    /// # Errors
    /// When a component fails or the file cannot be written.
    pub fn write(
        &self,
        model: &AutoencoderModel,
        ema: Option<&mut Ema>,
        seed: u64,
        dir: &Path,
    ) -> Result<(), TrainError> {
        let _no_grad = grad_mode::no_grad();
        let now = model.reconstruct(&self.batch, seed, false)?;
        let averaged = ema.map(|ema| ema.with_averages(|| model.reconstruct(&self.batch, seed, false))).transpose()?;
        let difference = ((&now.output - &now.input) * BOOST).clamp(-1.0, 1.0);
        let rows: [(&str, Option<&Tensor>); 4] = [
            ("inputs", Some(&now.input)),
            ("reconstructions", Some(&now.output)),
            ("averaged", averaged.as_ref().map(|averaged| &averaged.output)),
            ("difference x3", Some(&difference)),
        ];
        let rows: Vec<Row> =
            rows.into_iter().filter_map(|(label, pictures)| Some(Row { label, pictures: pictures? })).collect();
        let scenes = self.batch.sample_ids.len();
        write_png(&contact_sheet(&rows, &captions(&self.batch), scenes), &dir.join("sheet.png"))?;
        Ok(())
    }
}
