//! Pictures and videos that people give, brought into the form of a source's scenes, so that a model sees in sampling what
//! it saw in training.

mod error;
mod layout;
mod pictures;
mod scene;
mod blank;

pub use blank::Blank;
pub use error::GivenError;
pub use layout::{ClipLayout, Form, Layout, ViewsLayout};
pub use pictures::{Framing, picture_paths, read_picture, read_video};
pub use scene::{batch_of, clip_scene, planes_of, views_scene};

#[cfg(test)]
mod tests;
