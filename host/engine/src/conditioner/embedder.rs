//! What the conditioner asks of an embedder; native plugins implement it.

use tch::Tensor;

use crate::error::ComponentError;

/// One input of an embedder.
#[derive(Debug)]
pub enum EmbedderInput<'a> {
    /// A tensor of the batch.
    Tensor {
        /// Its name in the batch.
        name: &'a str,
        /// Its values, borrowed and not to be written to.
        tensor: &'a Tensor,
    },
    /// Texts of the batch, one a scene.
    Texts {
        /// Their name in the batch.
        name: &'a str,
        /// The texts.
        texts: &'a [String],
    },
}

/// Where an embedding goes. Without a slot its rank decides: 2 vector, 3 crossattn, 4 or 5 concat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// `[n, d]`, added to the time embedding.
    Vector,
    /// `[n, s, d]`, the context of cross-attention.
    Crossattn,
    /// `[n, c, h, w]`, concatenated to the network's input.
    Concat,
    /// Reference views of SV4D.
    CondView,
    /// The input view's frames of SV4D.
    CondMotion,
}

/// One output of an embedder.
#[derive(Debug)]
pub struct Embedded {
    /// Where it goes, if the embedder says so.
    pub slot: Option<Slot>,
    /// The embedding.
    pub tensor: Tensor,
}

/// Random numbers an embedder asks for; the host draws them from the streams of the scenes in the call, so they do
/// not depend on how a batch is split.
pub trait Draws {
    /// Standard normal numbers of `shape`; `shape[0]` is a multiple of the number of scenes. `purpose` tells apart the
    /// draws of one call.
    ///
    /// # Errors
    /// When `shape[0]` is not a multiple of the number of scenes.
    fn normal(&mut self, purpose: &str, shape: &[i64]) -> Result<Tensor, ComponentError>;
}

/// What a call of an embedder is about, beside its inputs.
pub struct EmbedderCall<'a> {
    /// Scenes in the batch, `b`.
    pub num_scenes: i64,
    /// Frames a scene has, `t`.
    pub frames_per_scene: i64,
    /// Whether the call is part of training (noise augmentation on) or of sampling.
    pub training: bool,
    /// The source of random numbers.
    pub draws: &'a mut dyn Draws,
}

/// How the host fills a declared parameter before training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
    /// Gaussian of mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in `[-bound, bound]`.
    Uniform {
        /// Largest magnitude.
        bound: f64,
    },
}

/// A parameter that an embedder asks the host to own.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamDecl {
    /// Its name within the embedder, `embedding.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
    /// How it starts.
    pub init: Init,
    /// A buffer is saved but never trained.
    pub buffer: bool,
}

/// Batch entries to embeddings. Parameters are declared here and owned by the host.
pub trait Embedder: Send {
    /// The name in messages, `anneal.embedders/scalar`.
    fn name(&self) -> &str;

    /// The parameters, in the order in which `forward` receives them.
    fn params(&self) -> &[ParamDecl];

    /// Embeds the inputs.
    ///
    /// # Errors
    /// When the embedder reports one, panics, or libtorch refuses an operation.
    fn forward(
        &self,
        inputs: &[EmbedderInput<'_>],
        params: &[Tensor],
        call: &mut EmbedderCall<'_>,
    ) -> Result<Vec<Embedded>, ComponentError>;
}
