//! The objective of an autoencoder, and its gradients.

use std::collections::BTreeMap;

use anneal_nn::Lpips;
use tch::{Kind, Tensor};

use super::{Adversary, Reconstruction, Terms};
use crate::config::PixelDistance;

/// Largest adaptive weight of the adversary.
const MAX_ADAPTIVE_WEIGHT: f64 = 1e4;

/// Keeps the adaptive weight finite where the adversary has no gradient.
const ADAPTIVE_EPS: f64 = 1e-4;

/// Reconstruction, regularization and adversary (Esser et al. 2021, equations 4 to 7).
#[derive(Debug)]
pub struct ReconstructionLoss {
    /// The distance between colours.
    pub distance: PixelDistance,
    /// The perceptual distance and how much it counts.
    pub perceptual: Option<(Lpips, f64)>,
    /// Logarithm of the variance that distances are divided by, `[]`; trained if it requires a gradient.
    pub logvar: Tensor,
    /// Weights of the regularizer's terms by name.
    pub regularization_weights: BTreeMap<String, f64>,
    /// The adversary.
    pub adversary: Option<Adversary>,
}

/// The reconstruction's part of the objective.
struct Nll {
    /// Mean distance.
    rec: Tensor,
    /// Negative log-likelihood: the sum over a picture's values, averaged over pictures.
    nll: Tensor,
    /// Gradient by the reconstructions.
    by_output: Tensor,
    /// Gradient by the logarithm of the variance, if that is trained.
    by_logvar: Option<Tensor>,
}

impl ReconstructionLoss {
    /// Adds `share` of the gradients: of the autoencoder and the variance, and from its start of the adversary.
    ///
    /// Every distance is differentiated by the reconstruction once; the decoder then carries their weighted sum back in one
    /// backward. `last_layer` is the weight at which the gradients of reconstruction and adversary are made equally long.
    ///
    /// Returns the objective's value first, then its terms.
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    pub fn backward(
        &self,
        reconstruction: &Reconstruction,
        last_layer: &Tensor,
        step: u64,
        share: f64,
    ) -> Result<(f64, Terms), tch::TchError> {
        let (value, mut terms) = self.backward_unread(reconstruction, last_layer, step, share)?;
        // A diffusion model on the latents takes its inverse as `scale_factor`.
        terms.push(("latent_std".to_owned(), reconstruction.latents.std(true)));
        let number = |value: &Tensor| value.to_kind(Kind::Double).double_value(&[]);
        Ok((number(&value), terms.iter().map(|(name, value)| (name.clone(), number(value))).collect()))
    }

    /// As [`ReconstructionLoss::backward`], with numbers that nobody has read yet, `[]`: on the meta device there are none.
    ///
    /// # Errors
    /// As there.
    pub fn backward_unread(
        &self,
        reconstruction: &Reconstruction,
        last_layer: &Tensor,
        step: u64,
        share: f64,
    ) -> Result<(Tensor, Vec<(String, Tensor)>), tch::TchError> {
        let Reconstruction { input, output, terms, .. } = reconstruction;
        let Nll { rec, nll, by_output, by_logvar } = self.nll(input, output);
        let mut value = nll.copy();
        let mut logged = vec![("rec".to_owned(), rec), ("nll".to_owned(), nll)];
        let mut objective = Vec::new();
        for (name, term) in terms {
            logged.push((name.clone(), term.detach()));
            if let Some(weight) = self.regularization_weights.get(name).filter(|weight| **weight != 0.0) {
                value += term.detach() * *weight;
                objective.push(term * *weight);
            }
        }
        if let Some(by_logvar) = by_logvar {
            logged.push(("logvar".to_owned(), self.logvar.detach().copy()));
            objective.push(&self.logvar * by_logvar);
        }
        let mut by_output = by_output;
        let adversary = self.adversary.as_ref().filter(|adversary| step >= adversary.start_step);
        if let Some(adversary) = adversary {
            let (fake, by_adversary) = adversary.judge(output);
            let weight = adaptive_weight(output, last_layer, &by_output, &by_adversary) * adversary.weight;
            value += &fake * &weight;
            by_output += by_adversary * &weight;
            logged.extend([("g".to_owned(), fake), ("d_weight".to_owned(), weight)]);
        }
        // The sum of products has `by_output` as its gradient by the reconstructions.
        objective.push((output * by_output).sum(Kind::Float));
        let objective = objective.into_iter().reduce(|sum, part| sum + part).unwrap_or_else(|| value.shallow_clone());
        (objective * share).f_backward()?;
        if let Some(adversary) = adversary {
            let [loss, real, fake] = adversary.own_loss(input, output);
            (&loss * share).f_backward()?;
            let own = [("disc", loss.detach()), ("logits_real", real), ("logits_fake", fake)];
            logged.extend(own.map(|(name, value)| (name.to_owned(), value)));
        }
        Ok((value, logged))
    }

    fn nll(&self, input: &Tensor, output: &Tensor) -> Nll {
        let output = output.detach().set_requires_grad(true);
        let difference = input - &output;
        let mut distance = match self.distance {
            PixelDistance::L1 => difference.abs(),
            PixelDistance::L2 => difference.square(),
        };
        if let Some((lpips, weight)) = &self.perceptual {
            // One number a picture, added to each of its values.
            distance += lpips.forward(&output, input) * *weight;
        }
        let nll = (&distance / self.logvar.exp() + &self.logvar).sum(Kind::Float) / input.size()[0] as f64;
        let mut inputs = vec![&output];
        if self.logvar.requires_grad() {
            inputs.push(&self.logvar);
        }
        let mut grads = Tensor::run_backward(&[&nll], &inputs, false, false).into_iter();
        let by_output = grads.next().unwrap_or_else(|| output.zeros_like());
        Nll { rec: distance.detach().mean(Kind::Float), nll: nll.detach(), by_output, by_logvar: grads.next() }
    }
}

/// What makes the adversary's gradient at `last_layer` as long as the reconstruction's: `[]`.
fn adaptive_weight(output: &Tensor, last_layer: &Tensor, by_output: &Tensor, by_adversary: &Tensor) -> Tensor {
    let norm_at_last_layer = |by_output: &Tensor| {
        let carried = (output * by_output).sum(Kind::Float);
        Tensor::run_backward(&[carried], &[last_layer], true, false).remove(0).norm()
    };
    let (of_nll, of_adversary) = (norm_at_last_layer(by_output), norm_at_last_layer(by_adversary));
    (of_nll / (of_adversary + ADAPTIVE_EPS)).clamp(0.0, MAX_ADAPTIVE_WEIGHT)
}
