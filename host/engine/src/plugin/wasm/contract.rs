//! What each kind promises about its results. A plugin is not believed: every list is checked.

use crate::error::{ComponentError, ErrorCode};

fn broken(component: &str, message: String) -> ComponentError {
    ComponentError::new(component, ErrorCode::Numeric, message)
}

fn count(component: &str, what: &str, got: usize, wanted: usize, of: &str) -> Result<(), ComponentError> {
    if got == wanted {
        return Ok(());
    }
    Err(broken(component, format!("returned {got} {what} for {of}")))
}

fn each(component: &str, what: &str, values: &[f64], rule: &str, holds: fn(f64) -> bool) -> Result<(), ComponentError> {
    match values.iter().position(|value| !holds(*value)) {
        Some(idx) => Err(broken(component, format!("returned {what} {idx} = {}, which is not {rule}", values[idx]))),
        None => Ok(()),
    }
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn not_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// Exactly `n` sigmas, positive and strictly decreasing.
pub fn grid(component: &str, n: u32, sigmas: &[f64]) -> Result<(), ComponentError> {
    count(component, "sigmas", sigmas.len(), n as usize, &format!("n = {n}"))?;
    each(component, "sigma", sigmas, "positive and finite", positive)?;
    match sigmas.windows(2).position(|pair| pair[0] <= pair[1]) {
        Some(idx) => {
            let (before, after) = (sigmas[idx], sigmas[idx + 1]);
            Err(broken(component, format!("returned sigmas that do not decrease: {before} then {after} at {idx}")))
        }
        None => Ok(()),
    }
}

/// One sigma a draw, 0 for none of its noise.
pub fn samples(component: &str, draws: usize, sigmas: &[f64]) -> Result<(), ComponentError> {
    count(component, "sigmas", sigmas.len(), draws, &format!("{draws} draws"))?;
    each(component, "sigma", sigmas, "finite and at least 0", not_negative)
}

/// One weight a sigma.
pub fn weights(component: &str, sigmas: &[f64], weights: &[f64]) -> Result<(), ComponentError> {
    count(component, "weights", weights.len(), sigmas.len(), &format!("{} sigmas", sigmas.len()))?;
    match weights.iter().zip(sigmas).find(|(weight, _)| !not_negative(**weight)) {
        Some((weight, sigma)) => {
            let message =
                format!("returned the weight {weight} for sigma = {sigma}, which is not finite and at least 0");
            Err(broken(component, message))
        }
        None => Ok(()),
    }
}

/// One scale for each sigma and frame.
pub fn scales(component: &str, sigmas: usize, num_frames: u32, scales: &[f64]) -> Result<(), ComponentError> {
    let of = format!("{sigmas} sigmas and {num_frames} frames");
    count(component, "scales", scales.len(), sigmas * num_frames as usize, &of)?;
    each(component, "scale", scales, "finite", f64::is_finite)
}

/// One factor a step.
pub fn factors(component: &str, steps: u32, factors: &[f64]) -> Result<(), ComponentError> {
    count(component, "factors", factors.len(), steps as usize, &format!("{steps} steps"))?;
    each(component, "factor", factors, "finite and at least 0", not_negative)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<(), ComponentError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn grids_are_complete_positive_and_decreasing() {
        grid("p/e", 3, &[3.0, 2.0, 1.0]).unwrap();
        grid("p/e", 0, &[]).unwrap();
        assert_eq!(message(grid("p/e", 40, &[1.0; 39])), "p/e: returned 39 sigmas for n = 40");
        assert_eq!(message(grid("p/e", 1, &[0.0])), "p/e: returned sigma 0 = 0, which is not positive and finite");
        let flat = message(grid("p/e", 3, &[3.0, 2.0, 2.0]));
        assert_eq!(flat, "p/e: returned sigmas that do not decrease: 2 then 2 at 1");
        assert!(grid("p/e", 1, &[f64::NAN]).is_err());
    }

    #[test]
    fn lists_have_the_length_and_range_of_their_kind() {
        samples("p/e", 2, &[1.0, 0.0]).unwrap();
        assert!(samples("p/e", 1, &[-1.0]).is_err());
        assert_eq!(message(samples("p/e", 1, &[])), "p/e: returned 0 sigmas for 1 draws");
        assert!(samples("p/e", 1, &[f64::INFINITY]).is_err());
        weights("p/e", &[1.0, 2.0], &[0.0, 2.0]).unwrap();
        assert_eq!(message(weights("p/e", &[1.0, 2.0], &[0.0])), "p/e: returned 1 weights for 2 sigmas");
        for (bad, text) in [(-2.0, "-2"), (f64::INFINITY, "inf")] {
            let error = message(weights("p/e", &[1.0, 0.5], &[0.0, bad]));
            let expected =
                format!("p/e: returned the weight {text} for sigma = 0.5, which is not finite and at least 0");
            assert_eq!(error, expected);
        }
        scales("p/e", 2, 3, &[-1.0; 6]).unwrap();
        assert_eq!(message(scales("p/e", 2, 3, &[1.0; 5])), "p/e: returned 5 scales for 2 sigmas and 3 frames");
        assert!(scales("p/e", 1, 1, &[f64::NAN]).is_err());
        factors("p/e", 1, &[0.0]).unwrap();
        assert!(factors("p/e", 1, &[-0.1]).is_err());
    }
}
