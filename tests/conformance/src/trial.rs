//! A native entry that is tried: parameters and inputs made of what its example says, scene by scene.

use anneal::conditioner::{Draws, Embedded, Embedder, EmbedderCall, EmbedderInput, Init, ParamDecl};
use anneal::diffusion::TensorWeighting;
use anneal::error::{ComponentError, ErrorCode};
use anneal::plugin::{Example, ExampleInput, InputKind, Rows};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use crate::models::normal;

/// The sigmas that a weighting is tried with: those where weights differ most. X02 goes far beyond.
const SIGMAS: [f64; 2] = [2e-3, 2.0];

/// How far parameters are moved from where they start: zeros would hide what depends on them.
const MOVED: f64 = 0.1;

/// What an input of a call holds.
#[derive(Debug)]
pub enum Given {
    Tensor(Tensor),
    Texts(Vec<String>),
}

/// The inputs of a call.
#[derive(Debug)]
pub struct Batch {
    pub scenes: Vec<u64>,
    pub inputs: Vec<(String, Given)>,
}

/// What a weighting is tried with.
pub fn sigmas_example(config: Map<String, Value>) -> Example {
    let name = "sigma".to_owned();
    let sigmas = ExampleInput {
        name,
        kind: InputKind::F32,
        shape: Vec::new(),
        rows: Rows::Scenes,
        range: Some(SIGMAS),
        differentiable: false,
    };
    Example { config, n: None, expect: None, transcript: None, frames: None, inputs: vec![sigmas] }
}

/// A weighting as an embedder of sigmas: its results are weights and, if there are any, offsets.
pub struct AsEmbedder(pub Box<dyn TensorWeighting>);

impl Embedder for AsEmbedder {
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
        let [EmbedderInput::Tensor { tensor, .. }] = inputs else {
            let message = "a weighting is given sigmas, and nothing else";
            return Err(ComponentError::new(self.0.name(), ErrorCode::InvalidArgument, message));
        };
        let weighed = self.0.weigh(tensor, params, call.training)?;
        let results = [Some(weighed.weights), weighed.offsets].into_iter().flatten();
        Ok(results.map(|tensor| Embedded { slot: None, tensor }).collect())
    }
}

/// A native entry with parameters.
pub struct Trial {
    pub embedder: Box<dyn Embedder>,
    pub params: Vec<Tensor>,
    pub example: Example,
}

impl Trial {
    /// Parameters are a function of their names and shapes; those that are trained ask for a gradient if `trained`.
    pub fn new(embedder: Box<dyn Embedder>, example: Example, kind: Kind, trained: bool) -> Self {
        let made = |(i, decl): (usize, &ParamDecl)| {
            let value = param(i as u64, decl).to_kind(kind);
            if trained && !decl.buffer { value.set_requires_grad(true) } else { value }
        };
        let params = embedder.params().iter().enumerate().map(made).collect();
        Self { embedder, params, example }
    }

    /// The inputs of some scenes. A scene's rows are the same whatever other scenes are in the call.
    pub fn batch(&self, scenes: &[u64]) -> Batch {
        let made = |(i, input): (usize, &ExampleInput)| {
            (input.name.clone(), given(input, i as u64, scenes, self.example.frames_per_scene()))
        };
        Batch { scenes: scenes.to_vec(), inputs: self.example.inputs.iter().enumerate().map(made).collect() }
    }

    /// Embeds.
    pub fn embed(&self, batch: &Batch) -> Result<Vec<Embedded>, ComponentError> {
        self.embed_with(batch, &self.params, false)
    }

    /// Embeds with other parameters, in training or not.
    pub fn embed_with(
        &self,
        batch: &Batch,
        params: &[Tensor],
        training: bool,
    ) -> Result<Vec<Embedded>, ComponentError> {
        let inputs: Vec<EmbedderInput<'_>> = batch
            .inputs
            .iter()
            .map(|(name, given)| match given {
                Given::Tensor(tensor) => EmbedderInput::Tensor { name, tensor },
                Given::Texts(texts) => EmbedderInput::Texts { name, texts },
            })
            .collect();
        let mut call = EmbedderCall {
            num_scenes: batch.scenes.len() as i64,
            frames_per_scene: self.example.frames_per_scene(),
            training,
            draws: &mut SceneDraws(&batch.scenes),
        };
        self.embedder.forward(&inputs, params, &mut call)
    }
}

impl Batch {
    /// The same with its tensors changed; whether there are any.
    pub fn map(&mut self, change: impl Fn(&Tensor) -> Tensor) -> bool {
        let mut is_changed = false;
        for (_, given) in &mut self.inputs {
            if let Given::Tensor(tensor) = given {
                (*tensor, is_changed) = (change(tensor), true);
            }
        }
        is_changed
    }

    /// Its tensors.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.inputs.iter().filter_map(|(_, given)| match given {
            Given::Tensor(tensor) => Some(tensor),
            Given::Texts(_) => None,
        })
    }
}

/// Random numbers of scenes, the same for a scene in whatever call it is.
struct SceneDraws<'a>(&'a [u64]);

impl Draws for SceneDraws<'_> {
    fn normal(&mut self, purpose: &str, shape: &[i64]) -> Result<Tensor, ComponentError> {
        let count = self.0.len() as i64;
        let Some((rows, rest)) = shape.split_first().filter(|(rows, _)| *rows % count == 0) else {
            let message = format!("{shape:?} random numbers for {count} scenes");
            return Err(ComponentError::new("the suite", ErrorCode::InvalidArgument, message));
        };
        let of_scene = [&[rows / count], rest].concat();
        let drawn: Vec<Tensor> =
            self.0.iter().map(|scene| normal(mixed(&[*scene, hashed(purpose)]), &of_scene)).collect();
        Ok(Tensor::cat(&drawn, 0))
    }
}

fn hashed(text: &str) -> u64 {
    mixed(&text.bytes().map(u64::from).collect::<Vec<_>>())
}

/// FNV-1a over numbers.
fn mixed(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0xcbf2_9ce4_8422_2325, |hash, number| (hash ^ number).wrapping_mul(0x0100_0000_01b3))
}

fn param(number: u64, decl: &ParamDecl) -> Tensor {
    let key = mixed(&[number, hashed(&decl.name)]);
    let options = (Kind::Float, tch::Device::Cpu);
    let moved = |value: Tensor| if decl.buffer { value } else { value + normal(key, &decl.shape) * MOVED };
    match decl.init {
        Init::Zeros => moved(Tensor::zeros(&decl.shape[..], options)),
        Init::Ones => moved(Tensor::ones(&decl.shape[..], options)),
        Init::Normal { std } => normal(key, &decl.shape) * std,
        Init::Uniform { bound } => normal(key, &decl.shape).erf() * bound,
    }
}

fn given(input: &ExampleInput, number: u64, scenes: &[u64], frames: i64) -> Given {
    if input.kind == InputKind::Text {
        let texts = ["a photo of a fox", "two dogs, running", "", "a red ball rolls over the grass of a garden"];
        return Given::Texts(scenes.iter().map(|scene| format!("{} {scene}", texts[*scene as usize % 4])).collect());
    }
    let rows = if input.rows == Rows::Frames { frames } else { 1 };
    let shape = [&[rows], &input.shape[..]].concat();
    let of_scene = |scene: &u64| {
        let key = mixed(&[number + 1, *scene]);
        match (input.kind, input.range) {
            (InputKind::F32, None) => normal(key, &shape),
            (kind, range) => {
                let [low, high] = range.unwrap_or([0.0, 1.0]);
                uniform(key, &shape, low, high, kind)
            }
        }
    };
    Given::Tensor(Tensor::cat(&scenes.iter().map(of_scene).collect::<Vec<_>>(), 0))
}

fn uniform(key: u64, shape: &[i64], low: f64, high: f64, kind: InputKind) -> Tensor {
    let mut random = ChaCha8Rng::seed_from_u64(key);
    let count = shape.iter().product::<i64>();
    if kind == InputKind::F32 {
        let values: Vec<f64> = (0..count).map(|_| low + random.random::<f64>() * (high - low)).collect();
        return Tensor::from_slice(&values).to_kind(Kind::Float).view(shape);
    }
    let values: Vec<i64> = (0..count).map(|_| random.random_range(low as i64..=high as i64)).collect();
    Tensor::from_slice(&values).view(shape)
}

/// The numbers of an output, in row-major order.
pub fn values(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.detach().to_kind(Kind::Double).contiguous().view([-1]);
    Vec::try_from(&flat).unwrap_or_default()
}

/// The rows of some scenes in an output of a call of `scenes` scenes.
pub fn rows_of(output: &Tensor, scene: i64, scenes: i64) -> Tensor {
    let rows = output.size()[0] / scenes;
    output.narrow(0, scene * rows, rows)
}

/// How far two outputs are apart, as a part of the largest number in them; infinite where their shapes differ.
pub fn distance(one: &Tensor, other: &Tensor) -> f64 {
    if one.size() != other.size() {
        return f64::INFINITY;
    }
    let (one, other) = (values(one), values(other));
    let largest = one.iter().chain(&other).fold(1e-12_f64, |largest, value| largest.max(value.abs()));
    let apart = one.iter().zip(&other).map(|(a, b)| (a - b).abs());
    // A NaN is far from everything.
    apart.fold(0.0_f64, |worst, apart| if apart.is_nan() { f64::INFINITY } else { worst.max(apart) }) / largest
}
