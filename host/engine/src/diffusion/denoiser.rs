//! The denoiser: a scaling around a network, continuous in sigma or snapped to a table.

use tch::{Kind, Tensor};

use super::{ExtraInputs, Scaling, Wrapper, per_row};
use crate::conditioner::Conditions;
use crate::error::{ComponentError, ErrorCode};

/// The sigmas of a discrete denoiser.
#[derive(Debug, Clone, PartialEq)]
pub struct SigmaTable {
    /// Entries, in the order of their index.
    pub sigmas: Vec<f64>,
    /// Hand the network an index in place of the scaling's `c_noise`.
    pub quantize_c_noise: bool,
}

impl SigmaTable {
    /// The index of the entry nearest to `value`, the first of equals.
    fn nearest(&self, value: f64) -> usize {
        let distance = |i: usize| (self.sigmas[i] - value).abs();
        (0..self.sigmas.len()).min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
    }
}

/// D: the estimate of the clean latent.
#[derive(Debug, Clone, PartialEq)]
pub struct Denoiser {
    /// Sigma to the four factors.
    pub scaling: Scaling,
    /// The table, if sigmas are discrete.
    pub table: Option<SigmaTable>,
}

impl Denoiser {
    /// `D(noised; sigma) = c_skip * noised + c_out * F(c_in * noised; c_noise, conditions)`.
    ///
    /// # Shapes
    /// - `noised`, result: `[n, c, h, w]` f32
    /// - `sigmas`: one a row, in standard deviations of the latents
    ///
    /// # Errors
    /// When conditions do not fit the network's input, or the network cannot be told of a sigma of 0.
    pub fn denoise(
        &self,
        wrapper: &Wrapper,
        noised: &Tensor,
        sigmas: &[f64],
        conditions: &Conditions,
        extra: &ExtraInputs,
        train: bool,
    ) -> Result<Tensor, ComponentError> {
        let (snapped, c_noise) = self.levels(sigmas);
        if let Some((sigma, c_noise)) = snapped.iter().zip(&c_noise).find(|(_, c_noise)| !c_noise.is_finite()) {
            let message = format!(
                "c_noise is {c_noise} at sigma = {sigma}: this scaling takes sigma's logarithm; keep 0 out of the \
                 sigmas, or have a discrete denoiser quantize c_noise"
            );
            return Err(ComponentError::new("denoiser", ErrorCode::Numeric, message));
        }
        let factors: Vec<_> = snapped.iter().map(|&sigma| self.scaling.factors(sigma)).collect();
        let column = |f: fn(&super::Factors) -> f64| {
            let values: Vec<f64> = factors.iter().map(f).collect();
            per_row(&values, noised.dim(), noised.device())
        };
        let c_noise = Tensor::from_slice(&c_noise).to_kind(Kind::Float).to_device(noised.device());
        let output = wrapper.forward(&(noised * column(|f| f.c_in)), &c_noise, conditions, extra, train)?;
        Ok(output.to_kind(Kind::Float) * column(|f| f.c_out) + noised * column(|f| f.c_skip))
    }

    /// The sigmas that are denoised at, and what the network is told. Upstream looks `c_noise` itself up in the table.
    fn levels(&self, sigmas: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let snapped: Vec<f64> = match &self.table {
            Some(table) => sigmas.iter().map(|&sigma| table.sigmas[table.nearest(sigma)]).collect(),
            None => sigmas.to_vec(),
        };
        let c_noise = snapped.iter().map(|&sigma| {
            let c_noise = self.scaling.factors(sigma).c_noise;
            match &self.table {
                Some(table) if table.quantize_c_noise => table.nearest(c_noise) as f64,
                _ => c_noise,
            }
        });
        let c_noise = c_noise.collect();
        (snapped, c_noise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discrete_denoiser_snaps_and_counts() {
        let table = SigmaTable { sigmas: vec![0.1, 1.0, 10.0], quantize_c_noise: true };
        let denoiser = Denoiser { scaling: Scaling::Eps, table: Some(table.clone()) };
        assert_eq!(denoiser.levels(&[0.2, 4.0, 7.0]), (vec![0.1, 1.0, 10.0], vec![0.0, 1.0, 2.0]));
        let free = Denoiser { table: Some(SigmaTable { quantize_c_noise: false, ..table }), ..denoiser };
        assert_eq!(free.levels(&[0.2, 7.0]).1, vec![0.1, 10.0]);
        // Upstream looks the logarithm of 0 up in the table, too: nothing is nearer than the first entry.
        let table = SigmaTable { sigmas: vec![0.0, 1.0], quantize_c_noise: true };
        let log = Denoiser { scaling: Scaling::VEdmCnoise, table: Some(table) };
        assert_eq!(log.levels(&[0.0, 1.0]), (vec![0.0, 1.0], vec![0.0, 0.0]));
    }
}
