//! Named parameters in order of construction, their paths equal to the reference checkpoint's keys.

use std::cell::RefCell;
use std::rc::Rc;

use tch::{Device, Tensor};

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// One value.
    Const(f64),
    /// Gaussian of mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in `[-bound, bound]`; PyTorch's default for Linear and Conv is `bound = 1/sqrt(fan_in)`.
    Uniform {
        /// Largest magnitude.
        bound: f64,
    },
}

/// Trained or only saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    /// Optimised.
    Trained,
    /// Saved, never optimised.
    Buffer,
}

/// A named tensor of a network.
#[derive(Debug)]
pub struct Param {
    /// Its path, `input_blocks.0.0.weight`.
    pub path: String,
    /// Its values; a leaf that requires a gradient if trained.
    pub tensor: Tensor,
    /// Trained or buffer.
    pub kind: ParamKind,
}

/// The parameters of a network, in order of construction.
#[derive(Debug)]
pub struct Params {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Debug)]
struct Inner {
    device: Device,
    seed: u64,
    entries: Vec<Param>,
}

/// A place in the tree of parameters; `path.sub("attn1").sub("to_q")`.
#[derive(Debug, Clone)]
pub struct Path {
    inner: Rc<RefCell<Inner>>,
    prefix: String,
}
