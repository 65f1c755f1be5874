//! The Fréchet distance between two sets of features (Dowson and Landau 1982), as FID and FVD take it.

use tch::{Kind, Tensor};
use thiserror::Error;

/// What has no Fréchet distance.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrechetError {
    /// A set is too small for a covariance.
    #[error("a set of {rows} features has no covariance; 2 are the least")]
    TooFew {
        /// Its features.
        rows: i64,
    },
    /// Features of different widths.
    #[error("features of width {left} cannot be compared with those of width {right}")]
    Widths {
        /// Of one set.
        left: i64,
        /// Of the other.
        right: i64,
    },
}

/// `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))` of the Gaussians with the sets' means and covariances, in f64.
///
/// The trace of the root is the sum of the roots of the eigenvalues of `C1^(1/2) C2 C1^(1/2)`, which is symmetric: no root
/// of a general matrix is needed, and covariances without full rank are no trouble.
///
/// # Shapes
/// - `left`, `right`: `[n, d]`, `[m, d]`
///
/// # Errors
/// When a set has fewer than two features, or widths differ.
pub fn frechet_distance(left: &Tensor, right: &Tensor) -> Result<f64, FrechetError> {
    let (rows, widths) = ([left.size()[0], right.size()[0]], [left.size()[1], right.size()[1]]);
    if let Some(&rows) = rows.iter().find(|rows| **rows < 2) {
        return Err(FrechetError::TooFew { rows });
    }
    if widths[0] != widths[1] {
        return Err(FrechetError::Widths { left: widths[0], right: widths[1] });
    }
    let ((mean_l, cov_l), (mean_r, cov_r)) = (moments(left), moments(right));
    let root = {
        let (values, vectors) = cov_l.linalg_eigh("L");
        &vectors * values.clamp_min(0.0).sqrt().unsqueeze(0)
    };
    // root^T C2 root has the eigenvalues of C1^(1/2) C2 C1^(1/2).
    let inner = root.transpose(0, 1).matmul(&cov_r).matmul(&root);
    let trace_of_root = inner.linalg_eigvalsh("L").clamp_min(0.0).sqrt().sum(Kind::Double);
    let means = (mean_l - mean_r).square().sum(Kind::Double);
    let distance = means + cov_l.trace() + cov_r.trace() - trace_of_root * 2.0;
    Ok(distance.double_value(&[]).max(0.0))
}

fn moments(features: &Tensor) -> (Tensor, Tensor) {
    let features = features.detach().to_kind(Kind::Double);
    let mean = features.mean_dim([0].as_slice(), false, Kind::Double);
    let centred = &features - &mean;
    let covariance = centred.transpose(0, 1).matmul(&centred) / (features.size()[0] - 1) as f64;
    (mean, covariance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn features(rows: i64, step: f64, scale: f64) -> Tensor {
        (Tensor::arange(rows * 3, (Kind::Double, Device::Cpu)) * step).sin().view([rows, 3]) * scale
    }

    #[test]
    fn a_set_is_at_no_distance_from_itself_and_from_its_shift_at_the_shifts_square() {
        let set = features(50, 0.7, 1.0);
        assert!(frechet_distance(&set, &set).unwrap() < 1e-10);
        let shift = Tensor::from_slice(&[1.0, -2.0, 0.5]);
        let shifted = frechet_distance(&set, &(&set + shift)).unwrap();
        assert!((shifted - 5.25).abs() < 1e-9, "{shifted}");
    }

    #[test]
    fn of_scaled_sets_the_distance_is_known() {
        // Of C and a^2 C it is (1 - a)^2 tr C, once the means are taken off.
        let set = features(50, 0.7, 1.0);
        let set = &set - set.mean_dim([0].as_slice(), true, Kind::Double);
        let trace = moments(&set).1.trace().double_value(&[]);
        let got = frechet_distance(&set, &(&set * 3.0)).unwrap();
        assert!((got - 4.0 * trace).abs() < 1e-9, "{got} {trace}");
    }

    #[test]
    fn what_has_no_distance_is_told() {
        assert_eq!(
            frechet_distance(&features(1, 1.0, 1.0), &features(5, 1.0, 1.0)),
            Err(FrechetError::TooFew { rows: 1 })
        );
        let narrow = features(6, 1.0, 1.0).narrow(1, 0, 2);
        let error = frechet_distance(&narrow, &features(5, 1.0, 1.0)).unwrap_err();
        assert_eq!(error, FrechetError::Widths { left: 2, right: 3 });
    }
}
