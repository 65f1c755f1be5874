//! Draws that a case has on record, handed out in the order in which the reference made them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anneal::conditioner::{Draws, Embedded, Embedder, EmbedderCall, EmbedderInput, ParamDecl, UcgDraws};
use anneal::error::{ComponentError, ErrorCode};
use tch::{Device, Kind, Tensor};

use super::embedder::{normals_of, normals_of_mask};
use crate::case::Case;

/// Names of normal numbers, of indices, and of masks. Each is numbered by itself.
const NAMES: [&str; 5] = ["noise", "rand", "randn", "rand_idx", "mask"];

/// Where a posterior's draw may be: in pieces of so many rows as are encoded at a time.
pub const OF_POSTERIOR: [&str; 3] = ["randn", "rand", "noise"];

/// The draws of one pass, shared by all that make some of them.
#[derive(Clone, Default)]
pub struct Recorded(Arc<Mutex<Queues>>);

#[derive(Default)]
struct Queues {
    /// Numbered draws by name.
    numbered: BTreeMap<&'static str, VecDeque<Tensor>>,
    /// Those without a number: the loss's.
    last: BTreeMap<&'static str, Tensor>,
    /// Which mask drops an output: that of its turn.
    masks: BTreeMap<String, Tensor>,
    /// Upstream's legacy choices by embedder.
    choices: BTreeMap<usize, Tensor>,
}

impl Recorded {
    /// Puts the draws `in.PREFIXnoise.0`, `in.PREFIXnoise` and so on in the place of those before.
    pub fn load(&self, case: &Case, prefix: &str) {
        let numbered = |name: &str| -> BTreeMap<usize, Tensor> {
            let named = case.below(&format!("{prefix}{name}"));
            named.into_iter().filter_map(|(number, draw)| Some((number.parse().ok()?, draw))).collect()
        };
        let last = |name: &&'static str| Some((*name, case.optional(&format!("{prefix}{name}"))?));
        *self.queues() = Queues {
            numbered: NAMES.iter().map(|name| (*name, numbered(name).into_values().collect())).collect(),
            last: NAMES.iter().filter_map(last).collect(),
            masks: BTreeMap::new(),
            choices: numbered("ucg_choice"),
        };
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether conditions are dropped by masks or by choices.
    pub fn drops(&self) -> bool {
        let queues = self.queues();
        queues.numbered.get("mask").is_some_and(|masks| !masks.is_empty()) || !queues.choices.is_empty()
    }

    /// Whether conditions are dropped by upstream's legacy choices.
    pub fn has_choices(&self) -> bool {
        !self.queues().choices.is_empty()
    }

    /// The next draw of one of `names` that has `shape` behind its rows, in pieces of some rows until all are there. One
    /// without a number is taken where no numbered one fits.
    pub fn take(&self, names: &[&str], shape: &[i64]) -> Option<Tensor> {
        let mut queues = self.queues();
        let fits = |draw: &Tensor| draw.size().get(1..) == shape.get(1..);
        let numbered = |name: &&&str| queues.numbered.get(**name).and_then(VecDeque::front).is_some_and(fits);
        let Some(name) = names.iter().find(numbered) else {
            let name = names.iter().find(|name| queues.last.get(**name).is_some_and(|draw| draw.size() == shape))?;
            return queues.last.remove(*name);
        };
        let queue = queues.numbered.get_mut(*name)?;
        let (mut pieces, mut rows) = (Vec::new(), 0);
        while rows < shape[0] {
            let piece = queue.pop_front().filter(fits)?;
            rows += piece.size()[0];
            pieces.push(piece);
        }
        (rows == shape[0]).then(|| Tensor::cat(&pieces, 0))
    }

    /// The last draw of a name: that of the loss, which comes after all others.
    pub fn take_last(&self, name: &str) -> Option<Tensor> {
        let mut queues = self.queues();
        queues.last.remove(name).or_else(|| queues.numbered.get_mut(name)?.pop_back())
    }

    /// All noise that is left: a sampler's.
    pub fn rest_of_noise(&self) -> Vec<Tensor> {
        self.queues().numbered.remove("noise").unwrap_or_default().into()
    }

    /// Whether every draw was made.
    pub fn finish(&self) -> Result<(), String> {
        let queues = self.queues();
        let numbered = queues.numbered.iter().filter(|(_, queue)| !queue.is_empty()).map(|(name, _)| *name);
        let left: Vec<&str> = numbered.chain(queues.last.keys().copied()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("draws that nobody made: {}", left.join(", "))) }
    }
}

/// Dropping as masks (1 keeps a row) and legacy choices (1 replaces a scene's input) say.
impl UcgDraws for Recorded {
    fn uniforms(&self, _: u64, purpose: &str, sample_id: u64, count: usize) -> Vec<f64> {
        let first = sample_id as usize * count;
        let numbers = |draw: &Tensor| Vec::<f64>::try_from(draw.to_kind(Kind::Double).flatten(0, -1));
        let mut queues = self.queues();
        // A purpose is `ucg/EMBEDDER` for a scene's input, and `ucg/EMBEDDER/OUTPUT` for rows of an output.
        let embedder = purpose.strip_prefix("ucg/").and_then(|rest| rest.parse::<usize>().ok());
        let draws = match embedder.and_then(|embedder| queues.choices.get(&embedder)) {
            Some(choice) => numbers(&(1.0 - choice)),
            None => {
                if !queues.masks.contains_key(purpose) {
                    let next = queues.numbered.get_mut("mask").and_then(VecDeque::pop_front);
                    queues.masks.insert(purpose.to_owned(), next.expect("the case has a mask for each dropped output"));
                }
                numbers(&queues.masks[purpose])
            }
        };
        // 1 is above every rate, 0 below.
        draws.expect("masks are numbers")[first..first + count].to_vec()
    }
}

/// How an embedder draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DrawRule {
    /// Input rows of a scene, which has one noise level.
    pub rows_per_scene: i64,
    /// Entries of the table that its noise levels come from; none where their logarithm is Gaussian.
    pub table: Option<i64>,
    /// Whether the reference draws a noise level and throws it away.
    pub throws_sigma_away: bool,
}

impl DrawRule {
    /// One that draws for each row.
    pub const BY_ROW: Self = Self { rows_per_scene: 1, table: None, throws_sigma_away: false };
}

/// An embedder whose draws are those on record, as in training.
pub struct Redrawn {
    /// The embedder.
    pub inner: Box<dyn Embedder>,
    /// How it draws.
    pub rule: DrawRule,
    /// What it draws.
    pub recorded: Recorded,
}

impl Embedder for Redrawn {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn params(&self) -> &[ParamDecl] {
        self.inner.params()
    }

    fn forward(
        &self,
        inputs: &[EmbedderInput<'_>],
        params: &[Tensor],
        _: &mut EmbedderCall<'_>,
    ) -> Result<Vec<Embedded>, ComponentError> {
        let rows = match inputs.first() {
            Some(EmbedderInput::Tensor { tensor, .. }) => tensor.size()[0],
            _ => 1,
        };
        let num_scenes = rows / self.rule.rows_per_scene;
        if self.rule.throws_sigma_away {
            let _ = self.recorded.take(&["rand", "randn"], &[num_scenes]);
        }
        let mut draws = OfEmbedder { recorded: &self.recorded, table: self.rule.table };
        let mut call = EmbedderCall { num_scenes, frames_per_scene: 1, training: true, draws: &mut draws };
        self.inner.forward(inputs, params, &mut call)
    }
}

struct OfEmbedder<'a> {
    recorded: &'a Recorded,
    table: Option<i64>,
}

impl Draws for OfEmbedder<'_> {
    fn normal(&mut self, purpose: &str, shape: &[i64]) -> Result<Tensor, ComponentError> {
        let recorded = self.recorded;
        let draw = match purpose {
            "sigma" => match self.table {
                Some(count) => recorded.take(&["rand_idx"], shape).map(|indices| normals_of(&indices, count)),
                None => recorded.take(&["rand", "randn"], shape),
            },
            // Where nothing is dropped there is no mask.
            "drop" | "drop_tokens" => {
                let mask = recorded.take(&["mask"], shape);
                Some(normals_of_mask(&mask.unwrap_or_else(|| Tensor::ones(shape, (Kind::Float, Device::Cpu)))))
            }
            // Upstream's function that makes numbers of a posterior is not the one that makes noise.
            "posterior" => recorded.take(&OF_POSTERIOR, shape),
            _ => recorded.take(&["noise", "randn", "rand"], shape),
        };
        let missing = || format!("the case has no draw `{purpose}` of shape {shape:?} at this place");
        draw.ok_or_else(|| ComponentError::new("parity", ErrorCode::InvalidArgument, missing()))
    }
}
