//! What the loss of a row is multiplied by: a function of its sigma, of numbers on the host or of tensors.

use anneal_torch::grad_mode;
use tch::{Device, Kind, Tensor};

use super::{Weighting, per_row};
use crate::conditioner::ParamDecl;
use crate::error::ComponentError;

/// What a weighting makes of the sigmas of rows: the loss of a row is `weight * distance + offset`.
#[derive(Debug)]
pub struct Weighed {
    /// Weights, `[n]`, not below zero.
    pub weights: Tensor,
    /// What is added, `[n]`.
    pub offsets: Option<Tensor>,
}

/// A weighting that computes with tensors, and may learn: what native plugins implement.
pub trait TensorWeighting: Send {
    /// The name in messages, `acme.weightings/learned`.
    fn name(&self) -> &str;

    /// The parameters, in the order in which `weigh` receives them. They are trained with the model.
    fn params(&self) -> &[ParamDecl];

    /// Weighs rows, each by its own sigma alone.
    ///
    /// # Shapes
    /// - `sigmas`: `[n]` f32, where the parameters are
    ///
    /// # Errors
    /// When the component fails, or what it gives is not one number a row.
    fn weigh(&self, sigmas: &Tensor, params: &[Tensor], training: bool) -> Result<Weighed, ComponentError>;
}

/// The weighting of a loss.
pub enum LossWeighting {
    /// Computed on the host, before the step.
    Scalar(Box<dyn Weighting>),
    /// Computed where the model is, within the step.
    Tensor {
        /// The weighting.
        weighting: Box<dyn TensorWeighting>,
        /// Its parameters, in the order it declared them. Whoever builds the model makes them.
        params: Vec<Tensor>,
    },
}

impl LossWeighting {
    /// Weighs rows.
    ///
    /// # Shapes
    /// - `sigmas`: one a row, `n`
    /// - result: `[n]` f32 or f64, on `device`
    ///
    /// # Errors
    /// When the component fails or breaks its contract.
    pub fn weigh(&mut self, sigmas: &[f64], device: Device, training: bool) -> Result<Weighed, ComponentError> {
        match self {
            Self::Scalar(weighting) => {
                Ok(Weighed { weights: per_row(&weighting.weights(sigmas)?, 1, device), offsets: None })
            }
            Self::Tensor { weighting, params } => {
                let sigmas = Tensor::from_slice(sigmas).to_kind(Kind::Float).to_device(device);
                let _frozen = (!training).then(grad_mode::no_grad);
                weighting.weigh(&sigmas, params, training)
            }
        }
    }
}
