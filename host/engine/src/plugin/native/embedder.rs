//! An embedder of a native plugin.

use plugin_api::abi::EmbedderV1;
use tch::{Kind, Tensor};

use super::instance::{CallInfo, Instance};
use crate::conditioner::{Embedded, Embedder, EmbedderCall, EmbedderInput, ParamDecl, Slot};
use crate::error::ComponentError;

/// Where an embedder may emit to; without a name the rank decides.
const SLOTS: &[&str] = &["", "vector", "crossattn", "concat", "cond_view", "cond_motion"];

/// An instance of a plugin's embedder.
pub(super) struct NativeEmbedder(Instance);

impl NativeEmbedder {
    /// An instance of `entry`, its parameters declared.
    pub(super) fn create(
        table: *const EmbedderV1,
        name: &str,
        entry: &str,
        settings: &str,
    ) -> Result<Self, ComponentError> {
        Instance::create(table, name, entry, settings, SLOTS).map(Self)
    }

    /// What an embedding must be whatever the embedder.
    fn check(&self, output: &Embedded, num_scenes: i64) -> Result<(), ComponentError> {
        let size = output.tensor.size();
        let ranks: &[usize] = match output.slot {
            None => &[2, 3, 4, 5],
            Some(Slot::Vector) => &[2],
            Some(Slot::Crossattn) => &[3],
            Some(Slot::Concat) => &[4, 5],
            Some(Slot::CondView | Slot::CondMotion) => &[2, 3, 4, 5],
        };
        let slot = output.slot.map_or("a condition", Slot::name);
        if !ranks.contains(&size.len()) {
            return Err(self
                .0
                .wrong_output(format!("an embedding of shape {size:?} cannot go to {slot}, whose rank is {ranks:?}")));
        }
        if size.contains(&0) || size[0] % num_scenes.max(1) != 0 {
            let message = format!(
                "an embedding of shape {size:?} for {slot}: its rows are no multiple of the {num_scenes} scenes"
            );
            return Err(self.0.wrong_output(message));
        }
        if !matches!(output.tensor.kind(), Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
            let kind = output.tensor.kind();
            return Err(self.0.wrong_output(format!("an embedding of {kind:?} for {slot}: floating point is wanted")));
        }
        Ok(())
    }
}

impl Embedder for NativeEmbedder {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn params(&self) -> &[ParamDecl] {
        self.0.params()
    }

    fn forward(
        &self,
        inputs: &[EmbedderInput<'_>],
        params: &[Tensor],
        call: &mut EmbedderCall<'_>,
    ) -> Result<Vec<Embedded>, ComponentError> {
        let num_scenes = call.num_scenes;
        let info = CallInfo {
            num_scenes,
            frames_per_scene: call.frames_per_scene,
            training: call.training,
            draws: &mut *call.draws,
        };
        let emitted = self.0.forward(inputs, params, info)?;
        let outputs: Vec<Embedded> =
            emitted.into_iter().map(|(slot, tensor)| Embedded { slot: Slot::named(slot), tensor }).collect();
        outputs.iter().try_for_each(|output| self.check(output, num_scenes))?;
        Ok(outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_but_the_nameless_is_one_of_the_conditioner() {
        assert_eq!(Slot::named(""), None);
        for name in &SLOTS[1..] {
            assert_eq!(Slot::named(name).map(Slot::name), Some(*name));
        }
    }
}
