//! What a run really holds: two steps and the pictures of it, counted.

use anneal::assemble::AnyProject;
use anneal::trainer::{StepSettings, Trainer, train_step};
use anneal_torch::count::count;
use tempfile::TempDir;

use super::internal;
use crate::exit::Failure;

/// What is set for the measurement alone: tensors are counted where they are made by this thread, on the CPU.
pub const SETS: [&str; 2] = ["run.device=cpu", "data.workers=0"];

/// Settings of an adversary that takes part at once.
pub const ADVERSARY_SETS: [&str; 1] = ["loss.discriminator.start_step=0"];

/// Settings of a solver whose buffers are all there after a few steps.
pub const SAMPLING_SETS: [&str; 1] = ["sampling.num_steps=3"];

/// Bytes of tensors that were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Those that stay for the whole run.
    pub state: u64,
    /// Most on top of that in a step.
    pub step: u64,
    /// Most on top of that while pictures are made; none if the run makes none.
    pub preview: Option<u64>,
}

/// Does two steps of the run, and its pictures where it makes any.
pub fn measure(project: &mut AnyProject) -> Result<Measured, Failure> {
    let (built, held) = count(|| project.trainer(false)).map_err(internal)?;
    let (mut trainer, mut loader) = built?;
    let Trainer { objective, state, rates, settings, seed, .. } = &mut trainer;
    let settings = StepSettings {
        seed: *seed,
        accumulate_batches: settings.accumulate_batches,
        clip_grad_norm: settings.clip_grad_norm,
    };
    let mut step = || {
        let mut next = || loader.next_batch();
        let (done, counted) =
            count(|| train_step(state, objective.as_mut(), rates, &settings, &mut next)).map_err(internal)?;
        done.map(|_| counted).map_err(Failure::from)
    };
    // What the first step makes and keeps, such as libtorch's own buffers, is not of the second.
    step()?;
    let step = step()?;
    let preview = match trainer.preview_every_steps {
        None => None,
        Some(_) => {
            let folder = TempDir::new().map_err(internal)?;
            let ema = trainer.state.ema.as_mut();
            let (done, counted) =
                count(|| trainer.objective.preview(ema, trainer.seed, folder.path())).map_err(internal)?;
            done.map_err(Failure::from)?;
            Some(counted.peak)
        }
    };
    Ok(Measured { state: held.kept, step: step.peak, preview })
}
