//! The network in its wrapper: conditions by slot become the network's arguments.

use std::collections::BTreeMap;

use anneal_nn::{Network, NetworkInput};
use anneal_torch::autocast::Autocast;
use tch::{Kind, Tensor};

use crate::conditioner::{Conditions, Slot, repeat_rows};
use crate::data::Batch;
use crate::error::{ComponentError, ErrorCode};

/// Entries of the batch that go to the network as they are.
#[derive(Debug, Default)]
pub struct ExtraInputs {
    /// Frames of a scene, if the network asks for them.
    pub num_video_frames: Option<i64>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl ExtraInputs {
    /// Takes `keys` out of a batch.
    ///
    /// # Errors
    /// When the batch lacks one of them, or the network has no such argument.
    pub fn from_batch(batch: &Batch, keys: &[String]) -> Result<Self, ComponentError> {
        let mut extra = Self::default();
        for key in keys {
            let wrong = |what: &str| {
                let message = format!("`{key}` in model.extra_inputs {what}");
                Err(ComponentError::new("network", ErrorCode::InvalidConfig, message))
            };
            match (key.as_str(), batch.integers.get(key), batch.tensors.get(key)) {
                ("num_video_frames", Some(n), _) => extra.num_video_frames = Some(*n),
                ("image_only_indicator" | "time_context", _, Some(t)) => {
                    extra.tensors.insert(key.clone(), t.shallow_clone());
                }
                ("num_video_frames" | "image_only_indicator" | "time_context", _, _) => {
                    return wrong("is not in the batch");
                }
                _ => {
                    return wrong(
                        "is no argument of a network; those are num_video_frames, image_only_indicator, time_context",
                    );
                }
            }
        }
        Ok(extra)
    }

    /// The same inputs for a batch doubled by guidance.
    #[must_use]
    pub fn doubled(&self) -> Self {
        let twice = |t: &Tensor| Tensor::cat(&[t, t], 0);
        Self {
            num_video_frames: self.num_video_frames,
            tensors: self.tensors.iter().map(|(k, t)| (k.clone(), twice(t))).collect(),
        }
    }
}

/// A network whose input is the noised latent joined with the `concat` condition on channels.
pub struct Wrapper {
    network: Box<dyn Network>,
    /// The kind that autocast computes in; the parameters' own if `None`.
    compute: Option<Kind>,
}

impl Wrapper {
    /// Wraps a network; with `compute` it runs under autocast to that kind.
    pub fn new(network: Box<dyn Network>, compute: Option<Kind>) -> Self {
        Self { network, compute }
    }

    /// `F(x, c_noise, conditions)`. Conditions with a row a scene are repeated over the scene's frames.
    ///
    /// # Shapes
    /// - `x`: `[n, c, h, w]`
    /// - `c_noise`: `[n]` f32
    /// - result: `[n, c_out, h, w]`
    ///
    /// # Errors
    /// When a condition's rows do not divide those of `x`, or its size differs.
    pub fn forward(
        &self,
        x: &Tensor,
        c_noise: &Tensor,
        conditions: &Conditions,
        extra: &ExtraInputs,
        train: bool,
    ) -> Result<Tensor, ComponentError> {
        let rows = x.size()[0];
        let concat = over_rows(conditions, Slot::Concat, rows)?;
        let context = if self.network.context_is_per_scene() {
            conditions.get(Slot::Crossattn).map(Tensor::shallow_clone)
        } else {
            over_rows(conditions, Slot::Crossattn, rows)?
        };
        let y = over_rows(conditions, Slot::Vector, rows)?;
        let x = match &concat {
            Some(concat) => {
                Tensor::f_cat(&[x, &concat.to_kind(x.kind())], 1).map_err(|_| misfit(Slot::Concat, concat, x))?
            }
            None => x.shallow_clone(),
        };
        let _autocast = self.compute.map(|kind| Autocast::new(x.device(), kind));
        Ok(self.network.forward(&NetworkInput {
            x: &x,
            c_noise,
            context: context.as_ref(),
            y: y.as_ref(),
            time_context: extra.tensors.get("time_context"),
            num_video_frames: extra.num_video_frames,
            image_only_indicator: extra.tensors.get("image_only_indicator"),
            cond_view: conditions.get(Slot::CondView),
            cond_motion: conditions.get(Slot::CondMotion),
            train,
        }))
    }
}

fn over_rows(conditions: &Conditions, slot: Slot, rows: i64) -> Result<Option<Tensor>, ComponentError> {
    let Some(value) = conditions.get(slot) else { return Ok(None) };
    match repeat_rows(value, rows) {
        Some(value) => Ok(Some(value)),
        None => Err(misfit(slot, value, &Tensor::empty([rows], (Kind::Float, value.device())))),
    }
}

fn misfit(slot: Slot, value: &Tensor, x: &Tensor) -> ComponentError {
    let message = format!(
        "the condition `{}` of shape {:?} does not fit the network's input of shape {:?}",
        slot.name(),
        value.size(),
        x.size()
    );
    ComponentError::new("network", ErrorCode::InvalidArgument, message)
}
