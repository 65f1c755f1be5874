//! The sigmas of DDPM models, which Stable Diffusion's schedules are cut from.

use super::{Error, Result};

/// `n` sigmas, decreasing, of a DDPM with `num_timesteps` steps whose betas run from `linear_start` to `linear_end`,
/// linear in their square roots: `sigma = sqrt((1 - p) / p)`, where `p` is the running product of `1 - beta`.
///
/// Fewer sigmas than steps are every `num_timesteps / n`-th, the noisiest step always among them.
///
/// # Errors
/// When more sigmas are asked for than the model has steps, or none.
pub fn sigmas(n: u32, num_timesteps: u32, linear_start: f64, linear_end: f64) -> Result<Vec<f64>> {
    if n == 0 || n > num_timesteps {
        return Err(Error::unsupported(format!(
            "{n} sigmas of a model with {num_timesteps} steps; 1 to that many exist"
        )));
    }
    let table = ascending(num_timesteps, linear_start, linear_end);
    let last = f64::from(num_timesteps - 1);
    let stride = if n == num_timesteps { 1.0 } else { last / f64::from(n) };
    // Truncated as the reference does it (numpy's linspace from the last step down, end point excluded, as integers).
    Ok((0..n).map(|i| table[(f64::from(i) * -stride + last) as usize]).collect())
}

fn ascending(num_timesteps: u32, linear_start: f64, linear_end: f64) -> Vec<f64> {
    let (start, end) = (linear_start.sqrt(), linear_end.sqrt());
    let last = f64::from(num_timesteps.max(2) - 1);
    let mut kept = 1.0;
    (0..num_timesteps)
        .map(|i| {
            let beta = (start + f64::from(i) / last * (end - start)).powi(2);
            kept *= 1.0 - beta;
            ((1.0 - kept) / kept).sqrt()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() <= 1e-5 * expected, "{got} is not {expected}");
        }
    }

    #[test]
    fn subsets_are_the_references() {
        let five = sigmas(5, 1000, 0.00085, 0.012).unwrap();
        assert_close(&five, &[14.61464, 5.08776, 2.27646, 1.16058, 0.56928]);
        let seven = sigmas(7, 1000, 0.00085, 0.012).unwrap();
        assert_close(&seven, &[14.6146412, 6.668571, 3.5138779, 2.0544758, 1.2762351, 0.7900609, 0.4380617]);
    }

    #[test]
    fn the_whole_table_is_the_references() {
        let all = sigmas(1000, 1000, 0.00085, 0.012).unwrap();
        assert_close(&[all[0], all[999]], &[14.6146412, 0.0291672]);
        let nearest = (0..1000).min_by(|&a, &b| (all[a] - 1.0).abs().total_cmp(&(all[b] - 1.0).abs()));
        assert_eq!(nearest.map(|idx| 999 - idx), Some(354));
    }

    #[test]
    fn counts_that_do_not_exist_are_refused() {
        assert!(sigmas(0, 1000, 0.00085, 0.012).is_err());
        assert!(sigmas(1001, 1000, 0.00085, 0.012).is_err());
    }

    #[test]
    fn every_count_decreases_strictly() {
        for n in [1, 2, 3, 333, 500, 998, 999, 1000] {
            let grid = sigmas(n, 1000, 0.00085, 0.012).unwrap();
            assert!(grid.windows(2).all(|pair| pair[0] > pair[1]), "{n}");
        }
    }
}
