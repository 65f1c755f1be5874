//! Weights as others lay them out: one file with the reference's keys, or the folder of a diffusers pipeline.

pub mod diffusers;
mod source;

pub use source::{Averages, Layout, Source};
