//! Videos to the views of all their times, window by window, where the model makes fewer times at once.

mod matrix;
mod plan;

pub use matrix::{BatchOf, Matrix};
pub use plan::{Scheme, TooShort, Window, plan};

#[cfg(test)]
mod tests;
