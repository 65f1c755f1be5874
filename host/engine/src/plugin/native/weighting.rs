//! A weighting of a native plugin.

use plugin_api::abi::{self, WeightingV1};
use tch::{Kind, Tensor};

use super::instance::{CallInfo, Instance};
use crate::conditioner::{Draws, EmbedderInput, ParamDecl};
use crate::diffusion::{TensorWeighting, Weighed};
use crate::error::{ComponentError, ErrorCode};

const SLOTS: &[&str] = &[abi::WEIGHT_SLOT, abi::OFFSET_SLOT];

/// An instance of a plugin's weighting.
pub(super) struct NativeWeighting(Instance);

impl NativeWeighting {
    /// An instance of `entry`, its parameters declared.
    pub(super) fn create(
        table: *const WeightingV1,
        name: &str,
        entry: &str,
        settings: &str,
    ) -> Result<Self, ComponentError> {
        Instance::create(table, name, entry, settings, SLOTS).map(Self)
    }
}

impl TensorWeighting for NativeWeighting {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn params(&self) -> &[ParamDecl] {
        self.0.params()
    }

    fn weigh(&self, sigmas: &Tensor, params: &[Tensor], training: bool) -> Result<Weighed, ComponentError> {
        let num_scenes = sigmas.size().first().copied().unwrap_or_default();
        let input = EmbedderInput::Tensor { name: abi::SIGMA_INPUT, tensor: sigmas };
        let info = CallInfo { num_scenes, frames_per_scene: 1, training, draws: &mut NoDraws };
        let (mut weights, mut offsets) = (None, None);
        for (slot, tensor) in self.0.forward(&[input], params, info)? {
            let (size, kind) = (tensor.size(), tensor.kind());
            if size != [num_scenes] || !matches!(kind, Kind::Float | Kind::Double) {
                let message =
                    format!("a {slot} of shape {size:?} and {kind:?} for {num_scenes} sigmas: one number each");
                return Err(self.0.wrong_output(message));
            }
            let place = if slot == abi::WEIGHT_SLOT { &mut weights } else { &mut offsets };
            if place.replace(tensor).is_some() {
                return Err(self.0.wrong_output(format!("{slot} was emitted twice")));
            }
        }
        let weights = weights.ok_or_else(|| self.0.wrong_output("no weight was emitted".to_owned()))?;
        Ok(Weighed { weights, offsets })
    }
}

/// A weight is a function of its sigma.
struct NoDraws;

impl Draws for NoDraws {
    fn normal(&mut self, _: &str, _: &[i64]) -> Result<Tensor, ComponentError> {
        let message = "a weighting draws no random numbers: a weight depends on its sigma alone";
        Err(ComponentError::new("weighting", ErrorCode::Unsupported, message))
    }
}
