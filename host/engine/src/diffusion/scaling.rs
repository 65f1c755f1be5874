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
    /// The factors at `sigma`; at 0 `c_noise` is not finite where it is a logarithm.
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

    proptest::proptest! {
        /// The network's answer that makes D exact, for any clean latent, noise and noise level.
        #[test]
        fn a_network_that_is_right_gives_the_clean_latent(x in -3.0..3.0_f64, n in -3.0..3.0_f64, ln in -7.0..7.0_f64) {
            let sigma = ln.exp();
            let (noised, root) = (x + sigma * n, (sigma * sigma + 1.0).sqrt());
            let v = (n - sigma * x) / root;
            for (scaling, answer) in [(Scaling::Eps, n), (Scaling::V, v), (Scaling::VEdmCnoise, v)] {
                let f = scaling.factors(sigma);
                let denoised = f.c_skip * noised + f.c_out * answer;
                assert!((denoised - x).abs() < 1e-9 * (1.0 + sigma), "{scaling:?} at {sigma}: {denoised} {x}");
                assert!((f.c_in * root - 1.0).abs() < 1e-9, "{scaling:?}: the input has unit variance");
            }
        }

        /// Karras et al. 2022, equations 21 to 25: input and target have unit variance, errors grow the least.
        #[test]
        fn edm_keeps_variances_at_one(ln in -7.0..7.0_f64, data in 0.05..4.0_f64) {
            let sigma = ln.exp();
            let f = Scaling::Edm { sigma_data: data }.factors(sigma);
            let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-9, "{a} {b} at {sigma}, {data}");
            close(f.c_in.powi(2) * (data * data + sigma * sigma), 1.0);
            close(f.c_out.powi(2), ((1.0 - f.c_skip) * data).powi(2) + (f.c_skip * sigma).powi(2));
            close(f.c_out.powi(2), f.c_skip * sigma * sigma);
            close((4.0 * f.c_noise).exp(), sigma);
        }
    }

    /// With unit data the input of the network has unit variance, and a perfect network makes D exact.
    #[test]
    fn v_is_edm_with_unit_data_and_a_flipped_sign() {
        for sigma in [1e-3, 0.3, 1.0, 80.0, 700.0] {
            let (edm, v) = (Scaling::Edm { sigma_data: 1.0 }.factors(sigma), Scaling::VEdmCnoise.factors(sigma));
            assert!((edm.c_skip - v.c_skip).abs() < 1e-12 && (edm.c_out + v.c_out).abs() < 1e-12);
            assert_eq!((edm.c_in, edm.c_noise), (v.c_in, v.c_noise));
        }
    }
}
