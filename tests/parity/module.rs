//! Modules of a network: weights by key, a run, gradients of the mean of a product.

use std::collections::BTreeMap;

use anneal_nn::{ParamKind, Params};
use tch::{Device, Kind, Tensor};

use crate::case::{Case, Outputs};

/// Empty parameters on the CPU.
pub fn params() -> Params {
    Params::new(Device::Cpu, 1)
}

/// Copies `weights` into `params` by key: neither side may have one that the other has not.
pub fn load(params: &Params, mut weights: BTreeMap<String, Tensor>) -> Result<(), String> {
    for param in params.entries() {
        let weight = weights.remove(&param.path).ok_or_else(|| format!("the case has no weight {}", param.path))?;
        if weight.size() != param.tensor.size() {
            return Err(format!("{} is {:?}, in the case {:?}", param.path, param.tensor.size(), weight.size()));
        }
        tch::no_grad(|| param.tensor.shallow_clone().copy_(&weight));
    }
    let left: Vec<String> = weights.into_keys().collect();
    if left.is_empty() { Ok(()) } else { Err(format!("weights left over: {}", left.join(", "))) }
}

/// Inputs by name, floats as leaves of a graph, so that their gradients can be asked for. The cotangent is not among them.
pub struct Inputs(BTreeMap<String, Tensor>);

impl Inputs {
    /// The inputs of a case that are used by name: those given, where they exist.
    pub fn new(case: &Case, names: &[&str]) -> Self {
        let leaf = |tensor: Tensor| match tensor.kind() {
            Kind::Float => tensor.copy().set_requires_grad(true),
            _ => tensor,
        };
        Self(names.iter().filter_map(|name| Some(((*name).to_owned(), leaf(case.optional(name)?)))).collect())
    }

    /// An input.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// An input that has to be there.
    pub fn need(&self, name: &str) -> Result<&Tensor, String> {
        self.get(name).ok_or_else(|| format!("the case has no in.{name}"))
    }
}

/// What a module made of its inputs, by the conventions of `block.*` and `network.*`: `out.y`, and with a cotangent
/// `out.L = mean(y * cotangent)`, the gradients `grad.KEY` of all parameters and `out.d.INPUT` of the inputs.
pub fn outputs(case: &Case, y: &Tensor, inputs: &Inputs, params: &Params) -> Outputs {
    let mut outputs = Outputs::from([("out.y".to_owned(), y.detach())]);
    let Some(cotangent) = case.optional("cotangent") else { return outputs };
    let loss = (y * cotangent).mean(Kind::Float);
    outputs.insert("out.L".to_owned(), loss.detach());
    loss.backward();
    outputs.extend(gradients(params, ""));
    for (name, input) in &inputs.0 {
        let name = format!("out.d.{name}");
        // Upstream records the gradients of some inputs only.
        if case.want(&name).is_some() {
            outputs.insert(name, gradient(input));
        }
    }
    outputs
}

/// `grad.PREFIX.KEY` of all parameters that backward reached.
pub fn gradients(params: &Params, prefix: &str) -> Outputs {
    let trained = params.entries().into_iter().filter(|param| param.kind == ParamKind::Trained);
    let reached = trained.filter(|param| anneal_torch::tensor::has_grad(&param.tensor));
    reached.map(|param| (format!("grad.{prefix}{}", param.path), gradient(&param.tensor))).collect()
}

fn gradient(leaf: &Tensor) -> Tensor {
    if anneal_torch::tensor::has_grad(leaf) { leaf.grad() } else { leaf.zeros_like() }
}
