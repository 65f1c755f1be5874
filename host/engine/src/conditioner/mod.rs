//! Batch entries to what the network is conditioned on.

mod embedder;

pub use embedder::{Draws, Embedded, Embedder, EmbedderCall, EmbedderInput, Init, ParamDecl, Slot};
