//! The training loop, its state and its checkpoints.

mod assign;
pub mod checkpoint;
mod ema;
mod flat;
mod optimizer;
mod preview;
mod schedule;
mod state;
mod step;
mod train;
pub mod weights;

pub use assign::assign;
pub use ema::Ema;
pub use flat::{FlatParams, Place};
pub use optimizer::{AdamSettings, Optimizer, OptimizerSettings, SgdSettings};
pub use preview::{Preview, captions, condition_pictures};
pub use schedule::Schedule;
pub use state::TrainState;
pub use step::{StepReport, StepSettings, train_step};
pub use train::{Outcome, TrainError, Trainer, Watcher};
