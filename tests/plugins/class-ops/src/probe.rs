//! `probe-ops`: one way to use, or to misuse, the host's operations at a time.

use std::sync::Mutex;

use plugin_api::native::op::{Arg, Op};
use plugin_api::native::prelude::*;

/// What it does with its input.
#[derive(Config, Clone, Copy, PartialEq)]
pub enum Act {
    Network,
    Shapes,
    Makes,
    Results,
    Keeps,
    Leaks,
    TorchError,
    SwallowsError,
    InPlace,
    NoSuchOp,
    WrongArgument,
    Draws,
    FromHost,
    OtherThread,
}

/// What the embedder does.
#[derive(Config)]
pub struct Settings {
    /// What it does with its input.
    act: Act,
}

/// An embedder of the input `[n, 4]` with a weight `[4, 4]`.
pub struct Probe {
    act: Act,
    weight: Param,
    kept: Mutex<Vec<Tensor>>,
}

impl Embedder for Probe {
    type Config = Settings;

    fn new(Settings { act }: Settings, params: &mut Params) -> Result<Self> {
        Ok(Self { act, weight: params.declare("weight", &[4, 4], Init::Ones), kept: Mutex::default() })
    }

    fn forward(&self, call: &Call, inputs: &Inputs) -> Result<Outputs> {
        let (x, weight) = (inputs.tensor()?, call.param(self.weight));
        match self.act {
            Act::Network => network(x, weight),
            Act::Shapes => shapes(x),
            Act::Makes => makes(x),
            Act::Results => results(x),
            Act::Keeps => self.keeps(x, weight),
            Act::Leaks => {
                (0..100).try_for_each(|_| op::linear(x, weight, None).map(std::mem::forget))?;
                Ok(Outputs::by_rank(op::mul(x, x)?))
            }
            Act::TorchError => Ok(Outputs::by_rank(op::matmul(x, x)?)),
            Act::SwallowsError => {
                let error = op::matmul(x, x).err();
                let message = error.map(|error| error.message).unwrap_or_default();
                match message.contains("libtorch: ") {
                    true => Ok(Outputs::by_rank(op::linear(x, weight, None)?)),
                    false => Err(Error::argument(format!("no text of libtorch: {message}"))),
                }
            }
            Act::InPlace => Ok(Outputs::by_rank(op!("aten::add_", "Tensor", x, weight)?)),
            Act::NoSuchOp => Ok(Outputs::by_rank(op!("aten::add", "Tensr", x, weight)?)),
            Act::WrongArgument => Ok(Outputs::by_rank(op!("aten::roll", "", x, 0.5)?)),
            Act::Draws => Ok(Outputs::by_rank(op!("aten::dropout", "", x, 0.5, true)?)),
            Act::FromHost => from_host(x),
            Act::OtherThread => {
                let error = std::thread::scope(|scope| {
                    let x = x.clone();
                    scope.spawn(move || op::neg(&x).err()).join()
                });
                match error {
                    Ok(Some(error)) => Err(error),
                    _ => Ok(Outputs::by_rank(op::neg(x)?)),
                }
            }
        }
    }
}

/// `x` `[n, 4]` and a weight `[4, 4]` to `[n, 4]`, by way of most layers.
fn network(x: &Tensor, weight: &Tensor) -> Result<Outputs> {
    let hidden = op::silu(&op::linear(x, weight, None)?)?;
    let hidden = op::layer_norm(&hidden, &[4], None, None, 1e-5)?;
    let hidden = op::add(&op::gelu(&hidden)?, &op::relu(&op::sub(x, &hidden)?)?)?;
    let image = op::reshape(&hidden, &[-1, 4, 1, 1])?;
    let image = op::upsample_bilinear2d(&image, [4, 4], false)?;
    let kernel = op::reshape(weight, &[4, 4, 1, 1])?;
    let image = op::group_norm(&op::conv2d(&image, &kernel, None, [1, 1], [0, 0], [1, 1], 1)?, 2, None, None, 1e-5)?;
    let pooled = op::mean(&op::add(&image, &op::sin(&image)?)?, &[2, 3], false)?;
    let attended = op::softmax(&op::matmul(&pooled, &op::transpose(x, 0, 1)?)?, -1)?;
    Ok(Outputs::by_rank(op::add(&op::matmul(&attended, &hidden)?, &op::mul(x, &op::exp(&op::neg(&pooled)?)?)?)?))
}

/// The input `[n, 4]` in other shapes; its elements in an order that the test knows.
fn shapes(x: &Tensor) -> Result<Outputs> {
    let rolled = op!("aten::roll", "", x, [1], [1])?;
    let halves = [op::narrow(&rolled, 1, 0, 2)?, op::slice(&rolled, 1, Some(2), None, 1)?];
    let swapped = op::cat(&[&halves[1], &halves[0]], 1)?;
    let doubled = op::repeat_interleave(&swapped, 2, 1)?;
    let summed = op!("aten::sum", "dim_IntList", op::reshape(&doubled, &[-1, 4, 2])?, [2], false; dtype = Dtype::F32)?;
    let stacked = op::stack(&[&summed, &op::squeeze(&op::unsqueeze(&summed, 1)?, 1)?], 2)?;
    let wide = op::expand(&op::permute(&stacked, &[0, 2, 1])?, &[-1, 2, 4])?;
    Ok(Outputs::by_rank(op::select(&wide, 1, 1)?))
}

/// Tensors out of nothing: `[n, 4]` of 0, 1, 3, 5 and so on.
fn makes(x: &Tensor) -> Result<Outputs> {
    let n = x.size()?[0];
    let numbers = op::reshape(&op::arange(0.0, 4.0 * n as f64, 1.0, Dtype::F64)?, &[n, 4])?;
    let odd = op::sub(&op::mul_scalar(&numbers, 2.0)?, &op::ones(&[n, 4], Dtype::F64)?)?;
    let below = op!("aten::lt", "Scalar", odd, 0.0)?;
    let made = op::where_(&below, &op::zeros(&[1], Dtype::F64)?, &odd)?;
    Ok(Outputs::by_rank(op::to_dtype(&made, x.dtype()?)?))
}

/// Operations with several results, and with a list of them.
fn results(x: &Tensor) -> Result<Outputs> {
    static MAX: Op = Op::new("aten::max\0", "dim\0");
    static SPLIT: Op = Op::new("aten::split\0", "Tensor\0");
    static SIZE: Op = Op::new("aten::size\0", "int\0");
    let [largest, places] = MAX.call(&[x.value(), 1_i64.value(), true.value()], &[])?.try_into().map_err(wrong)?;
    let parts = match SPLIT.call(&[x.value(), 2_i64.value(), 1_i64.value()], &[])?.remove(0) {
        op::Output::Tensors(parts) => parts,
        other => return Err(wrong(other)),
    };
    let width = match SIZE.call(&[x.value()], &[("dim", 1_i64.value())])?.remove(0) {
        op::Output::Int(width) => op::full(&[x.size()?[0], 1], width as f64, Dtype::F32)?,
        other => return Err(wrong(other)),
    };
    let places = op::to_dtype(&places.tensor()?, Dtype::F32)?;
    let halves = op!("aten::cat", "", [parts[1].clone(), parts[0].clone()], 1)?;
    Ok(Outputs::by_rank(op::cat(&[&largest.tensor()?, &places, &width, &halves], 1)?))
}

fn wrong(got: impl std::fmt::Debug) -> Error {
    Error::argument(format!("unexpected results: {got:?}"))
}

/// Back and forth between the host's memory and its own.
fn from_host(x: &Tensor) -> Result<Outputs> {
    let values: Vec<f32> = x.to_vec::<f32>()?.iter().map(|value| value + 0.5).collect();
    if let Ok(values) = x.to_vec::<f64>() {
        return Err(wrong(values));
    }
    if let Ok(tensor) = Tensor::from_slice(&values, &[1, 1]) {
        return Err(wrong(tensor));
    }
    Ok(Outputs::by_rank(Tensor::from_slice(&values, &x.size()?)?))
}

impl Probe {
    /// Adds up what it was given in all its calls, with handles and graphs kept from one to the next.
    fn keeps(&self, x: &Tensor, weight: &Tensor) -> Result<Outputs> {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.push(x.clone());
        kept.push(op::linear(x, weight, None)?);
        let mut sum = op::zeros_like(x)?;
        for tensor in kept.iter() {
            sum = op::add(&sum, tensor)?;
        }
        Ok(Outputs::by_rank(sum))
    }
}
