//! The adversary: what it tells the autoencoder, and how it is trained.

use anneal_nn::Discriminator;
use tch::{Kind, Tensor};

use crate::config::AdversaryLoss;

/// A discriminator and how much it counts.
#[derive(Debug)]
pub struct Adversary {
    /// The network.
    pub discriminator: Discriminator,
    /// How it is trained.
    pub loss: AdversaryLoss,
    /// Multiplies the adaptive weight.
    pub weight: f64,
    /// The step from which it takes part.
    pub start_step: u64,
}

impl Adversary {
    /// How fake the reconstructions look, and its gradient by them.
    ///
    /// # Shapes
    /// - `output`: `[n, c, h, w]`
    /// - results: `[]`, `[n, c, h, w]`
    pub(super) fn judge(&self, output: &Tensor) -> (Tensor, Tensor) {
        let output = output.detach().set_requires_grad(true);
        let fake = -self.discriminator.forward(&output, true).mean(Kind::Float);
        // Only the pictures' gradient is asked for, so the discriminator's own parameters get none.
        let grad = Tensor::run_backward(&[&fake], &[&output], false, false).remove(0);
        (fake.detach(), grad)
    }

    /// The discriminator's own loss, and the mean judgements of pictures and reconstructions.
    ///
    /// # Shapes
    /// - `input`, `output`: `[n, c, h, w]`
    /// - results: `[]`
    pub(super) fn own_loss(&self, input: &Tensor, output: &Tensor) -> [Tensor; 3] {
        let real = self.discriminator.forward(&input.detach(), true);
        let fake = self.discriminator.forward(&output.detach(), true);
        let (of_real, of_fake) = match self.loss {
            AdversaryLoss::Hinge => ((-&real + 1.0).relu(), (&fake + 1.0).relu()),
            AdversaryLoss::Vanilla => ((-&real).softplus(), fake.softplus()),
        };
        let loss = (of_real.mean(Kind::Float) + of_fake.mean(Kind::Float)) * 0.5;
        [loss, real.detach().mean(Kind::Float), fake.detach().mean(Kind::Float)]
    }
}
