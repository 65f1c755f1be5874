//! Output for people and for programs.

mod human;
mod json;
mod junit;

pub use human::{human, verdict_line};
pub use json::{SCHEMA, json};
pub use junit::junit;
