//! What an author writes: an embedder, its parameters, and what a call gives and takes.

use super::error::{Error, Result};
use super::handle::Handle;
use super::params::{Param, Params};
use super::tensor::Tensor;
use crate::config::Config;

/// Batch entries to embeddings, over tensors of the host or of a libtorch that the plugin brings with it.
///
/// The host calls one function of an instance at a time, from any thread.
pub trait Embedder<T: Handle = Tensor>: Sized + Send + 'static {
    /// Its settings: what a run config writes beside `plugin = "..."`.
    type Config: Config;

    /// An embedder with these settings. Parameters are declared here, in the same order every time.
    ///
    /// # Errors
    /// When the settings contradict each other.
    fn new(settings: Self::Config, params: &mut Params) -> Result<Self>;

    /// Embeds the inputs of a call. Autograd records it as the host wants; inputs and parameters must not be written to.
    ///
    /// # Errors
    /// When an input does not fit, or libtorch refuses an operation.
    fn forward(&self, call: &Call<'_, T>, inputs: &Inputs<'_, T>) -> Result<Outputs<T>>;
}

/// Where random numbers come from.
pub(crate) type Draw<'a, T> = dyn Fn(&str, &[i64]) -> Result<T> + 'a;

/// What a call is about, beside its inputs.
pub struct Call<'a, T = Tensor> {
    pub(crate) num_scenes: i64,
    pub(crate) frames_per_scene: i64,
    pub(crate) training: bool,
    pub(crate) params: Vec<&'a T>,
    pub(crate) draw: &'a Draw<'a, T>,
}

impl<T> Call<'_, T> {
    /// Scenes in the batch, `b`.
    pub fn num_scenes(&self) -> i64 {
        self.num_scenes
    }

    /// Frames of a scene, `t`.
    pub fn frames_per_scene(&self) -> i64 {
        self.frames_per_scene
    }

    /// Whether the call is part of training: random augmentation is on.
    pub fn training(&self) -> bool {
        self.training
    }

    /// The values of a parameter.
    ///
    /// # Panics
    /// When `param` is another embedder's.
    pub fn param(&self, param: Param) -> &T {
        self.params[param.0]
    }

    /// Standard normal numbers of `shape`, f32 on the CPU, from the random streams of the scenes; they do not depend
    /// on how the batch is split. `purpose` tells apart the draws of one call.
    ///
    /// # Errors
    /// When `shape[0]` is not a multiple of the number of scenes.
    pub fn normal(&self, purpose: &str, shape: &[i64]) -> Result<T> {
        (self.draw)(purpose, shape)
    }
}

/// An entry of the batch.
#[derive(Debug)]
pub enum Input<'a, T = Tensor> {
    /// A tensor.
    Tensor {
        /// Its name in the batch.
        name: String,
        /// Its values.
        tensor: &'a T,
    },
    /// Texts, one a scene.
    Texts {
        /// Their name in the batch.
        name: String,
        /// The texts.
        texts: Vec<String>,
    },
}

impl<T> Input<'_, T> {
    /// Its name in the batch.
    pub fn name(&self) -> &str {
        match self {
            Self::Tensor { name, .. } | Self::Texts { name, .. } => name,
        }
    }

    /// Its values.
    ///
    /// # Errors
    /// When it holds texts.
    pub fn tensor(&self) -> Result<&T> {
        match self {
            Self::Tensor { tensor, .. } => Ok(tensor),
            Self::Texts { name, .. } => Err(Error::argument(format!("`{name}` holds texts, a tensor is wanted"))),
        }
    }

    /// Its texts.
    ///
    /// # Errors
    /// When it holds a tensor.
    pub fn texts(&self) -> Result<&[String]> {
        match self {
            Self::Texts { texts, .. } => Ok(texts),
            Self::Tensor { name, .. } => Err(Error::argument(format!("`{name}` holds a tensor, texts are wanted"))),
        }
    }
}

/// The inputs of a call, in the order of `input_keys`.
#[derive(Debug)]
pub struct Inputs<'a, T = Tensor>(pub(crate) Vec<Input<'a, T>>);

impl<'a, T> Inputs<'a, T> {
    /// All inputs.
    pub fn iter(&self) -> std::slice::Iter<'_, Input<'a, T>> {
        self.0.iter()
    }

    /// The only input, a tensor.
    ///
    /// # Errors
    /// When there is not exactly one input, or it holds texts.
    pub fn tensor(&self) -> Result<&T> {
        self.only()?.tensor()
    }

    /// The only input, texts.
    ///
    /// # Errors
    /// When there is not exactly one input, or it holds a tensor.
    pub fn texts(&self) -> Result<&[String]> {
        self.only()?.texts()
    }

    fn only(&self) -> Result<&Input<'a, T>> {
        match self.0.as_slice() {
            [input] => Ok(input),
            several => {
                let names: Vec<&str> = several.iter().map(|input| input.name()).collect();
                Err(Error::argument(format!("wants one input, got {}: {}", names.len(), names.join(", "))))
            }
        }
    }
}

/// Where an embedding goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// `[n, d]`, added to the time embedding.
    Vector,
    /// `[n, s, d]`, the context of cross-attention.
    Crossattn,
    /// `[n, c, h, w]`, concatenated to the network's input.
    Concat,
    /// Reference views.
    CondView,
    /// The input view's frames.
    CondMotion,
}

impl Slot {
    /// Its name in the ABI.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Crossattn => "crossattn",
            Self::Concat => "concat",
            Self::CondView => "cond_view",
            Self::CondMotion => "cond_motion",
        }
    }
}

/// The embeddings of a call.
#[derive(Debug)]
pub struct Outputs<T = Tensor>(pub(crate) Vec<(Option<Slot>, T)>);

impl<T> Default for Outputs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Outputs<T> {
    /// An embedding whose rank says where it goes: 2 vector, 3 crossattn, 4 or 5 concat.
    pub fn by_rank(embedding: T) -> Self {
        Self(vec![(None, embedding)])
    }

    /// An embedding for a slot.
    pub fn to(slot: Slot, embedding: T) -> Self {
        Self(vec![(Some(slot), embedding)])
    }

    /// One more embedding, for a slot.
    #[must_use]
    pub fn and(mut self, slot: Slot, embedding: T) -> Self {
        self.0.push((Some(slot), embedding));
        self
    }
}

impl<T> FromIterator<T> for Outputs<T> {
    /// Embeddings whose ranks say where they go.
    fn from_iter<I: IntoIterator<Item = T>>(embeddings: I) -> Self {
        Self(embeddings.into_iter().map(|embedding| (None, embedding)).collect())
    }
}
