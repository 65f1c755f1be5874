//! Uniform draws, made of the normal numbers that the host draws.

use plugin_api::tch::prelude::*;

/// A whole number from 0 to below `count` for each row, `[rows]`: the place of a normal number among all of them.
///
/// # Errors
/// When the rows are no multiple of the scenes.
pub fn below(call: &Call<'_>, purpose: &str, rows: i64, count: i64) -> Result<Tensor> {
    let places = call.normal(purpose, &[rows])?.to_kind(Kind::Double).special_ndtr() * count as f64;
    Ok(places.floor().clamp(0.0, (count - 1) as f64).to_kind(Kind::Int64))
}
