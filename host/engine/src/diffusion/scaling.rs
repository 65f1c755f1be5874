//! Preconditioning: sigma to the four factors around the network (Karras et al. 2022, section 5 and table 1).

use crate::config::ScalingConfig;

/// `D(x; sigma) = c_skip * x + c_out * F(c_in * x; c_noise)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// Share of the noised latent in the denoised one.
    pub c_skip: f64,
    /// Factor of the network's output.
    pub c_out: f64,
    /// Factor of the network's input.
    pub c_in: f64,
    /// The noise level as the network sees it.
    pub c_noise: f64,
}

/// A rule from sigma to [`Factors`], computed in f64 on the host: in half precision sigma = 700 would give c_in = 0.
pub type Scaling = ScalingConfig;

impl ScalingConfig {
    /// The factors at `sigma` > 0.
    pub fn factors(self, sigma: f64) -> Factors {
        let v = |c_noise| Factors {
            c_skip: 1.0 / (sigma * sigma + 1.0),
            c_out: -sigma / (sigma * sigma + 1.0).sqrt(),
            c_in: 1.0 / (sigma * sigma + 1.0).sqrt(),
            c_noise,
        };
        match self {
            Self::Edm { sigma_data } => {
                let total = sigma * sigma + sigma_data * sigma_data;
                Factors {
                    c_skip: sigma_data * sigma_data / total,
                    c_out: sigma * sigma_data / total.sqrt(),
                    c_in: 1.0 / total.sqrt(),
                    c_noise: 0.25 * sigma.ln(),
                }
            }
            Self::Eps => {
                Factors { c_skip: 1.0, c_out: -sigma, c_in: 1.0 / (sigma * sigma + 1.0).sqrt(), c_noise: sigma }
            }
            Self::V => v(sigma),
            Self::VEdmCnoise => v(0.25 * sigma.ln()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With unit data the input of the network has unit variance, and a perfect network makes D exact.
    #[test]
    fn v_is_edm_with_unit_data_and_a_flipped_sign() {
        for sigma in [1e-3, 0.3, 1.0, 80.0, 700.0] {
            let (edm, v) = (Scaling::Edm { sigma_data: 1.0 }.factors(sigma), Scaling::VEdmCnoise.factors(sigma));
            assert!((edm.c_skip - v.c_skip).abs() < 1e-12 && (edm.c_out + v.c_out).abs() < 1e-12);
            assert_eq!((edm.c_in, edm.c_noise), (v.c_in, v.c_noise));
        }
    }

    #[test]
    fn the_network_sees_unit_variance_and_its_target_has_unit_variance() {
        for sigma in [0.01, 0.5, 3.0, 50.0] {
            for (scaling, data) in [(Scaling::Edm { sigma_data: 0.5 }, 0.5_f64), (Scaling::V, 1.0)] {
                let f = scaling.factors(sigma);
                assert!((f.c_in.powi(2) * (data * data + sigma * sigma) - 1.0).abs() < 1e-9);
                // Variance of the target (clean - c_skip * noised) / c_out, equation 23 of the paper.
                let target = ((1.0 - f.c_skip).powi(2) * data * data + (f.c_skip * sigma).powi(2)) / f.c_out.powi(2);
                assert!((target - 1.0).abs() < 1e-9, "{target} at {sigma}");
            }
        }
    }
}
