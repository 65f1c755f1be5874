//! What a run really holds: two steps and the pictures of it, counted by libtorch's allocator.

use anneal::assemble::{AnyProject, Start, device};
use anneal::trainer::{StepSettings, Trainer, train_step};
use anneal_torch::count::{Counted, count};
use anneal_torch::cuda;
use tch::Device;
use tempfile::TempDir;

use super::internal;
use crate::exit::Failure;

/// What is set for the measurement alone: on a CPU those tensors are counted that this thread makes.
pub const SETS: [&str; 1] = ["data.workers=0"];

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
    let device = device(project.run())?;
    let (built, held) = held_by(device, || project.trainer(Start::New))?;
    let (mut trainer, mut loader) = built?;
    let Trainer { objective, state, rates, settings, seed, guard, .. } = &mut trainer;
    let settings = StepSettings {
        seed: *seed,
        accumulate_batches: settings.accumulate_batches,
        clip_grad_norm: settings.clip_grad_norm,
    };
    let mut step = || {
        let mut next = || loader.next_batch();
        let (done, counted) =
            held_by(device, || train_step(state, objective.as_mut(), rates, &settings, guard, &mut next))?;
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
            let (done, counted) = held_by(device, || trainer.objective.preview(ema, trainer.seed, folder.path()))?;
            done.map_err(Failure::from)?;
            Some(counted.peak)
        }
    };
    Ok(Measured { state: held.kept, step: step.peak, preview })
}

/// Runs `f` and says what it held: on a CPU what this thread allocates, on a GPU what all do.
fn held_by<R>(device: Device, f: impl FnOnce() -> R) -> Result<(R, Counted), Failure> {
    let Device::Cuda(index) = device else { return count(f).map_err(internal) };
    let before = cuda::memory(index).map_err(internal)?.held;
    cuda::reset_peak(index).map_err(internal)?;
    let result = f();
    let after = cuda::memory(index).map_err(internal)?;
    let beyond = |bytes: u64| bytes.saturating_sub(before);
    Ok((result, Counted { peak: beyond(after.peak), kept: beyond(after.held), flops: 0 }))
}
