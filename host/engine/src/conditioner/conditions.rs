//! The conditions of a network by slot.

use std::collections::BTreeMap;

use tch::Tensor;

use super::Slot;
use crate::error::{ComponentError, ErrorCode};

impl Slot {
    /// The axis on which embeddings of one slot are joined. Contexts are joined on features, not on tokens.
    pub fn join_axis(self) -> i64 {
        match self {
            Slot::Crossattn => 2,
            Slot::Vector | Slot::Concat | Slot::CondView | Slot::CondMotion => 1,
        }
    }

    /// Its name in configs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Slot::Vector => "vector",
            Slot::Crossattn => "crossattn",
            Slot::Concat => "concat",
            Slot::CondView => "cond_view",
            Slot::CondMotion => "cond_motion",
        }
    }

    /// The slot of a name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Slot::Vector, Slot::Crossattn, Slot::Concat, Slot::CondView, Slot::CondMotion];
        all.into_iter().find(|slot| slot.name() == name)
    }
}

/// Conditions by slot. Rows are scenes or rows of the network's input.
#[derive(Debug, Default)]
pub struct Conditions {
    by_slot: BTreeMap<Slot, Tensor>,
}

impl Conditions {
    /// The condition of a slot.
    pub fn get(&self, slot: Slot) -> Option<&Tensor> {
        self.by_slot.get(&slot)
    }

    /// Sets the condition of a slot.
    pub fn set(&mut self, slot: Slot, value: Tensor) {
        self.by_slot.insert(slot, value);
    }

    /// Slots and conditions, in the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Tensor)> {
        self.by_slot.iter().map(|(slot, value)| (*slot, value))
    }

    /// Joins `value`, an embedding of `embedder`, to what the slot holds. Where one has a row a scene and the other
    /// a row a frame, the former is repeated over the frames.
    ///
    /// # Errors
    /// When neither number of rows is a multiple of the other, or the other axes differ.
    pub fn append(&mut self, slot: Slot, value: Tensor, embedder: &str) -> Result<(), ComponentError> {
        let Some(before) = self.by_slot.remove(&slot) else {
            self.by_slot.insert(slot, value);
            return Ok(());
        };
        let rows = before.size()[0].max(value.size()[0]);
        let joined = match (repeat_rows(&before, rows), repeat_rows(&value, rows)) {
            (Some(a), Some(b)) => Tensor::f_cat(&[a, b], slot.join_axis()).ok(),
            _ => None,
        };
        let joined = joined.ok_or_else(|| {
            let message = format!(
                "its embedding of shape {:?} does not fit what `{}` already holds, {:?}",
                value.size(),
                slot.name(),
                before.size()
            );
            ComponentError::new(embedder, ErrorCode::InvalidArgument, message)
        })?;
        self.by_slot.insert(slot, joined);
        Ok(())
    }
}

/// `value` with each row repeated so that there are `rows` rows, `(b) -> (b t)`; `None` if they do not divide.
pub fn repeat_rows(value: &Tensor, rows: i64) -> Option<Tensor> {
    match value.size()[0] {
        n if n == rows => Some(value.shallow_clone()),
        n if n > 0 && rows % n == 0 => Some(value.repeat_interleave_self_int(rows / n, 0, None)),
        _ => None,
    }
}
