//! What a run writes for people: metrics, pictures, clips.

mod error;
mod file;
mod metrics;
pub mod tensorboard;
mod run_log;
mod picture;
mod caption;
mod gif;
mod webp;
mod clip;
mod mp4;
mod scene_files;
mod sheet;

pub use caption::Paper;
pub use clip::{clip_frames, write_clip};
pub use error::LogError;
pub use metrics::{Line, Metrics, Record, ValidationRecord};
pub use mp4::{check_ffmpeg, write_mp4};
pub use picture::{grid, pictures, write_png};
pub use run_log::RunLog;
pub use scene_files::{FrameFormat, SceneFiles};
pub use sheet::{Row, batch_sheet, contact_sheet};
