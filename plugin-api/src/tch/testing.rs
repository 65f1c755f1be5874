//! Embedders run without a host, in a plugin's own unit tests.
//!
//! Parameters start as declared, from libtorch's generator, and can be set. Random numbers are those the test gives.

use std::collections::BTreeMap;

use ::tch::{Device, Kind, Tensor};
use serde_json::Value;

use crate::config::Config;
use crate::native::{Call, Embedder, Error, Init, Input, Inputs, ParamDecl, Params, Result, Slot};

/// An embedder with its parameters, ready to be called.
pub struct Fixture<E> {
    embedder: E,
    decls: Vec<ParamDecl>,
    params: Vec<Tensor>,
    draws: BTreeMap<String, Tensor>,
    scenes: (i64, i64),
}

impl<E: Embedder<Tensor>> Fixture<E> {
    /// The embedder that a run config with these settings makes; a call is about one scene of one frame.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn new(settings: Value) -> Result<Self> {
        let Value::Object(settings) = settings else {
            return Err(Error::config("", "the settings are no table"));
        };
        let settings = E::Config::from_map(&settings).map_err(|mut errors| Error::from(errors.remove(0)))?;
        let mut params = Params::default();
        let embedder = E::new(settings, &mut params)?;
        let values = params.decls.iter().map(initial).collect();
        Ok(Self { embedder, decls: params.decls, params: values, draws: BTreeMap::new(), scenes: (1, 1) })
    }

    /// Calls are about this many scenes of this many frames.
    #[must_use]
    pub fn scenes(mut self, num_scenes: i64, frames_per_scene: i64) -> Self {
        self.scenes = (num_scenes, frames_per_scene);
        self
    }

    /// What the draw of a purpose gives.
    #[must_use]
    pub fn draw(mut self, purpose: &str, numbers: Tensor) -> Self {
        self.draws.insert(purpose.to_owned(), numbers);
        self
    }

    /// The parameters as declared.
    pub fn declared(&self) -> &[ParamDecl] {
        &self.decls
    }

    /// The values of a parameter.
    ///
    /// # Panics
    /// When none of this name is declared.
    pub fn param(&mut self, name: &str) -> &mut Tensor {
        match self.decls.iter().position(|decl| decl.name == name) {
            Some(idx) => &mut self.params[idx],
            None => panic!("no parameter `{name}` is declared"),
        }
    }

    /// Embeds tensors as in training.
    ///
    /// # Errors
    /// What the embedder returns.
    pub fn train(&self, inputs: &[&Tensor]) -> Result<Vec<(Option<Slot>, Tensor)>> {
        self.forward(inputs, true)
    }

    /// Embeds tensors as in sampling.
    ///
    /// # Errors
    /// What the embedder returns.
    pub fn sample(&self, inputs: &[&Tensor]) -> Result<Vec<(Option<Slot>, Tensor)>> {
        self.forward(inputs, false)
    }

    fn forward(&self, inputs: &[&Tensor], training: bool) -> Result<Vec<(Option<Slot>, Tensor)>> {
        let inputs =
            inputs.iter().enumerate().map(|(i, tensor)| Input::Tensor { name: format!("input{i}"), tensor: *tensor });
        let draw = |purpose: &str, shape: &[i64]| match self.draws.get(purpose) {
            Some(numbers) if numbers.size() == shape => Ok(numbers.shallow_clone()),
            Some(numbers) => {
                Err(Error::argument(format!("`{purpose}` has shape {:?}, asked for {shape:?}", numbers.size())))
            }
            None => Err(Error::argument(format!("the test gives no draw `{purpose}`"))),
        };
        let params = self.params.iter().collect();
        let (num_scenes, frames_per_scene) = self.scenes;
        let call = Call { num_scenes, frames_per_scene, training, params, draw: &draw };
        Ok(self.embedder.forward(&call, &Inputs(inputs.collect()))?.0)
    }
}

fn initial(decl: &ParamDecl) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    match decl.init {
        Init::Zeros => Tensor::zeros(&decl.shape, options),
        Init::Ones => Tensor::ones(&decl.shape, options),
        Init::Normal { std } => Tensor::randn(&decl.shape, options) * std,
        Init::Uniform { bound } => (Tensor::rand(&decl.shape, options) * 2.0 - 1.0) * bound,
    }
}
