//! Named parameters in order of construction, their paths equal to the reference checkpoint's keys.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::rc::Rc;

use anneal_torch::grad_mode;
use anneal_torch::random::Stream;
use anneal_torch::tensor::empty_meta;
use tch::{Device, Kind, Tensor};

use crate::lora::{self, Lora, LoraSpec};

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
    /// Gaussian.
    NormalAround {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in `[-bound, bound]`; PyTorch's default for Linear and Conv is `bound = 1/sqrt(fan_in)`.
    Uniform {
        /// Largest magnitude.
        bound: f64,
    },
}

impl Init {
    /// PyTorch's default for the weight and bias of a Linear or Conv, where `fan_in` inputs meet one output.
    pub fn fan_in(fan_in: i64) -> Self {
        Self::Uniform { bound: 1.0 / (fan_in as f64).sqrt() }
    }
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
    /// How it starts.
    pub init: Init,
}

/// The parameters of a network, in order of construction.
///
/// Values depend on the seed and the path alone, so a network keeps its start when another part of it changes.
#[derive(Debug)]
pub struct Params {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    seed: u64,
    lora: Option<LoraSpec>,
    entries: Vec<Param>,
    paths: HashSet<String>,
}

#[derive(Debug)]
enum Place {
    Device(Device),
    Meta,
    Given(HashMap<String, Tensor>),
}

/// A place in the tree of parameters; `path.sub("attn1").sub("to_q")`.
#[derive(Debug, Clone)]
pub struct Path {
    inner: Rc<RefCell<Inner>>,
    prefix: String,
}

impl Params {
    /// No parameters yet; those to come live on `device` and start from `seed`.
    pub fn new(device: Device, seed: u64) -> Self {
        Self::at(Place::Device(device), seed)
    }

    /// Parameters with shapes and no values: a network of any size costs nothing, and can be counted.
    pub fn meta() -> Self {
        Self::at(Place::Meta, 0)
    }

    /// Parameters whose values others own, by path: a network built of them reads those very tensors, and whether they
    /// are trained is their owner's affair.
    pub fn given(values: impl IntoIterator<Item = (String, Tensor)>) -> Self {
        Self::at(Place::Given(values.into_iter().collect()), 0)
    }

    fn at(place: Place, seed: u64) -> Self {
        let inner = Inner { place, seed, lora: None, entries: Vec::new(), paths: HashSet::new() };
        Self { inner: Rc::new(RefCell::new(inner)) }
    }

    /// Has the linear layers that `spec` chooses get adapters.
    #[must_use]
    pub fn with_lora(self, spec: LoraSpec) -> Self {
        self.inner.borrow_mut().lora = Some(spec);
        self
    }

    /// The root of the tree.
    pub fn root(&self) -> Path {
        Path { inner: self.inner.clone(), prefix: String::new() }
    }

    /// All parameters and buffers in order of construction; the tensors are those of the network.
    pub fn entries(&self) -> Vec<Param> {
        let share =
            |p: &Param| Param { path: p.path.clone(), tensor: p.tensor.shallow_clone(), kind: p.kind, init: p.init };
        self.inner.borrow().entries.iter().map(share).collect()
    }

    /// As [`Params::entries`], for a caller that builds nothing more.
    pub fn into_entries(self) -> Vec<Param> {
        self.entries()
    }
}

impl Path {
    /// The place one step down: a name, or an index in a sequence.
    #[must_use]
    pub fn sub(&self, name: impl Display) -> Self {
        Self { inner: self.inner.clone(), prefix: self.join(&name) }
    }

    /// The path as text; empty at the root.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Adds a trained parameter: a leaf that requires a gradient.
    ///
    /// # Panics
    /// When the path is taken, or given values have none of this path and shape.
    pub fn param(&self, name: &str, shape: &[i64], init: Init) -> Tensor {
        self.add(name, shape, init, ParamKind::Trained)
    }

    /// Adds a buffer: saved with the network, never trained.
    ///
    /// # Panics
    /// When the path is taken, or given values have none of this path and shape.
    pub fn buffer(&self, name: &str, shape: &[i64], init: Init) -> Tensor {
        self.add(name, shape, init, ParamKind::Buffer)
    }

    /// Adds a buffer that starts as a copy of `of`, which stands at this path already.
    ///
    /// # Panics
    /// When nothing stands there, and as [`Path::buffer`].
    pub fn buffer_like(&self, name: &str, of: &str) -> Tensor {
        let path = self.join(&of);
        let start = {
            let inner = self.inner.borrow();
            let found = inner.entries.iter().find(|entry| entry.path == path);
            found.map(|entry| (entry.tensor.shallow_clone(), entry.init))
        };
        let (start, init) = start.unwrap_or_else(|| panic!("no parameter `{path}` to start from"));
        let buffer = self.buffer(name, &start.size(), init);
        if matches!(self.inner.borrow().place, Place::Device(_)) {
            let _no_grad = grad_mode::no_grad();
            buffer.shallow_clone().copy_(&start);
        }
        buffer
    }

    /// Adds the adapter of the linear layer at this path, if it is to have one.
    ///
    /// # Panics
    /// As [`Path::param`].
    pub(crate) fn lora(&self, inputs: i64, outputs: i64) -> Option<Lora> {
        let spec = self.inner.borrow().lora.clone().filter(|spec| (spec.chooses)(&self.prefix))?;
        let [a, b] = lora::keys();
        Some(Lora {
            a: self.param(a, &[spec.rank, inputs], Init::fan_in(inputs)),
            b: self.param(b, &[outputs, spec.rank], Init::Const(0.0)),
            scale: spec.scale,
            dropout: spec.dropout,
        })
    }

    fn join(&self, name: &dyn Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }

    fn add(&self, name: &str, shape: &[i64], init: Init, kind: ParamKind) -> Tensor {
        let path = self.join(&name);
        let mut inner = self.inner.borrow_mut();
        assert!(inner.paths.insert(path.clone()), "two parameters have the path `{path}`");
        let tensor = inner.values(&path, shape, init);
        let is_ours = !matches!(inner.place, Place::Given(_));
        let tensor = if is_ours && kind == ParamKind::Trained { tensor.set_requires_grad(true) } else { tensor };
        let entry = Param { path, tensor: tensor.shallow_clone(), kind, init };
        inner.entries.push(entry);
        tensor
    }
}

impl Inner {
    fn values(&self, path: &str, shape: &[i64], init: Init) -> Tensor {
        let device = match &self.place {
            Place::Device(device) => *device,
            Place::Meta => {
                return empty_meta(shape, Kind::Float)
                    .unwrap_or_else(|e| panic!("no parameter `{path}` of shape {shape:?}: {e}"));
            }
            Place::Given(values) => {
                let value = values.get(path).unwrap_or_else(|| panic!("no parameter `{path}` is given"));
                assert_eq!(value.size(), shape, "the given parameter `{path}` has another shape");
                return value.shallow_clone();
            }
        };
        let _no_grad = grad_mode::no_grad();
        let mut stream = Stream::new(self.seed, &format!("init/{path}"), 0, 0);
        match init {
            Init::Const(value) => Tensor::full(shape, value, (Kind::Float, device)),
            Init::Normal { std } => (stream.normal_tensor(shape) * std).to_device(device),
            Init::NormalAround { mean, std } => (stream.normal_tensor(shape) * std + mean).to_device(device),
            Init::Uniform { bound } => {
                // A product, because the stream's tensor is a view, and a view keeps its base for as long as it lives.
                let mut values = stream.uniform_tensor(shape) * (2.0 * bound);
                let _ = values.g_sub_scalar_(bound);
                values.to_device(device)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_entries_keep_their_order() {
        let params = Params::new(Device::Cpu, 1);
        let block = params.root().sub("blocks").sub(0);
        let _ = block.sub("conv").param("weight", &[2, 3], Init::fan_in(3));
        let _ = block.buffer("mix_factor", &[1], Init::Const(0.5));
        let _ = params.root().param("bias", &[2], Init::Const(0.0));
        let entries = params.into_entries();
        let paths: Vec<&str> = entries.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["blocks.0.conv.weight", "blocks.0.mix_factor", "bias"]);
        assert!(entries[0].tensor.requires_grad() && entries[0].tensor.is_leaf());
        assert!(!entries[1].tensor.requires_grad() && entries[1].kind == ParamKind::Buffer);
        assert_eq!(entries[1].tensor.double_value(&[0]), 0.5);
    }

    #[test]
    fn values_depend_on_seed_and_path_alone() {
        let draw = |seed, before: bool, path: &str| {
            let params = Params::new(Device::Cpu, seed);
            if before {
                let _ = params.root().param("other", &[7], Init::Normal { std: 1.0 });
            }
            params.root().param(path, &[4], Init::Normal { std: 1.0 })
        };
        let first = draw(1, false, "a");
        assert!(first.equal(&draw(1, true, "a")));
        assert!(!first.equal(&draw(2, false, "a")) && !first.equal(&draw(1, false, "b")));
    }

    #[test]
    fn draws_have_their_spread() {
        let params = Params::new(Device::Cpu, 3);
        let uniform = params.root().param("u", &[100, 100], Init::fan_in(16));
        let (low, high) = (uniform.min().double_value(&[]), uniform.max().double_value(&[]));
        assert!((-0.25..-0.249).contains(&low) && (0.249..0.25).contains(&high), "{low} {high}");
        let normal = params.root().param("n", &[100, 100], Init::Normal { std: 0.5 });
        assert!((normal.std(true).double_value(&[]) - 0.5).abs() < 0.01);
        let around = params.root().param("a", &[100, 100], Init::NormalAround { mean: 1.0, std: 0.5 });
        assert!((around.mean(Kind::Double).double_value(&[]) - 1.0).abs() < 0.02);
        assert!((around.std(true).double_value(&[]) - 0.5).abs() < 0.01);
    }

    #[test]
    #[should_panic(expected = "`a.weight`")]
    fn a_path_is_taken_once() {
        let a = Params::meta().root().sub("a");
        let _ = a.param("weight", &[1], Init::Const(0.0));
        let _ = a.param("weight", &[1], Init::Const(0.0));
    }

    #[test]
    fn given_parameters_stay_their_owners() {
        let owned = Tensor::ones([2], (Kind::Float, Device::Cpu));
        let params = Params::given([("a.weight".to_owned(), owned.shallow_clone())]);
        let weight = params.root().sub("a").param("weight", &[2], Init::Const(0.0));
        assert_eq!(weight.data_ptr(), owned.data_ptr());
        assert!(!owned.requires_grad());
        assert_eq!(params.entries()[0].init, Init::Const(0.0));
    }

    #[test]
    #[should_panic(expected = "no parameter `b` is given")]
    fn a_parameter_that_is_not_given_is_missed() {
        let _ = Params::given([]).root().param("b", &[2], Init::Const(0.0));
    }

    #[test]
    fn meta_parameters_have_no_values() {
        let params = Params::meta();
        let _ = params.root().param("weight", &[1_000_000, 1_000_000], Init::fan_in(4));
        assert!(anneal_torch::tensor::is_meta(&params.entries()[0].tensor));
    }
}
