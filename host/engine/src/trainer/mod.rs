//! The training loop, its state and its checkpoints.

mod assign;
mod autoencoder_preview;
pub mod checkpoint;
mod ema;
mod error;
mod flat;
mod guard;
mod lineage;
mod objective;
mod optimizer;
mod preview;
mod replay;
mod replayed;
mod schedule;
mod state;
mod step;
mod train;
mod validation;

pub use assign::assign;
pub use autoencoder_preview::AutoencoderPreview;
pub use ema::Ema;
pub use error::TrainError;
pub use flat::{FlatLayout, FlatParams, Place};
pub use guard::{Guard, Refused, Trouble};
pub use lineage::Origins;
pub use objective::{AutoencoderObjective, BatchLoss, BatchPass, DiffusionObjective, Objective};
pub use optimizer::{AdamSettings, GroupRates, Groups, Optimizer, OptimizerSettings, SgdSettings};
pub use preview::{Preview, captions, condition_pictures};
pub use replay::{About, Replay};
pub use replayed::Replayed;
pub use schedule::Schedule;
pub use state::{TrainState, check_start};
pub use step::{Rates, StepReport, StepSettings, train_step};
pub use train::{Outcome, Resumed, Trainer, Watcher};
pub use validation::{AutoencoderScoring, AutoencoderValidation, Scores, Scoring, Validation, mean_pictures};
