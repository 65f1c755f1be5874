//! The training loop, its state and its checkpoints.

pub mod checkpoint;
mod ema;
mod flat;
mod optimizer;
mod schedule;
mod state;
pub mod weights;

pub use ema::Ema;
pub use flat::FlatParams;
pub use optimizer::{AdamW, AdamWSettings};
pub use schedule::Schedule;
pub use state::TrainState;
