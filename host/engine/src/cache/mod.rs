//! Values computed before, found again by what they were computed from: contents, settings and weights.

mod component;
mod store;

pub use component::{Cached, Component};
pub use store::{CacheError, Counts, Key, Store, counts};
