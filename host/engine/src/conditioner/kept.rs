//! Embeddings that are kept in a cache, a scene at a time.

use tch::{Device, Tensor};

use super::{Embedded, EmbedderInput, EmbedderUse, Pass, Scenes, Slot};
use crate::cache::{Cached, Key};
use crate::error::ComponentError;

/// Names of slots in the files of a cache; an embedding without a slot has the last.
const SLOTS: [(&str, Option<Slot>); 6] = [
    ("vector", Some(Slot::Vector)),
    ("crossattn", Some(Slot::Crossattn)),
    ("concat", Some(Slot::Concat)),
    ("cond_view", Some(Slot::CondView)),
    ("cond_motion", Some(Slot::CondMotion)),
    ("by_rank", None),
];

/// Calls an embedder, or takes what it gave before. Embeddings in which it drew random numbers are never kept: of those
/// scenes a mark is kept, that they need not be looked for.
pub(super) fn forward(
    index: usize,
    used: &EmbedderUse,
    cached: &Cached,
    inputs: &[EmbedderInput<'_>],
    scenes: Scenes<'_>,
    pass: Pass<'_>,
) -> Result<Vec<Embedded>, ComponentError> {
    let num_scenes = scenes.ids.len();
    let device = inputs.iter().find_map(|input| match input {
        EmbedderInput::Tensor { tensor, .. } => Some(tensor.device()),
        EmbedderInput::Texts { .. } => None,
    });
    let device = device.or_else(|| used.params.first().map(Tensor::device)).unwrap_or(Device::Cpu);
    let about = format!("{} {} frames, training {}", used.embedder.name(), scenes.frames_per_scene, pass.training);
    let of_embedder = cached.key().text(&about);
    let draws = of_embedder.clone().text("draws random numbers");
    if cached.has(&draws) {
        return Ok(super::forward(index, used, inputs, scenes, pass)?.0);
    }
    let mut parts = Vec::with_capacity(num_scenes);
    for scene in 0..num_scenes {
        let Some(own) = inputs.iter().map(|input| of_scene(input, scene, num_scenes)).collect::<Option<Vec<_>>>()
        else {
            break;
        };
        let key = own.iter().fold(of_embedder.clone(), of_input);
        let kept = cached.get(&key, device).and_then(read);
        let part = match kept {
            Some(part) => part,
            None if !cached.fills() => break,
            None => {
                let scenes = Scenes { ids: &scenes.ids[scene..=scene], ..scenes };
                let inputs: Vec<EmbedderInput<'_>> = own.iter().map(Own::borrow).collect();
                let (part, has_drawn) = super::forward(index, used, &inputs, scenes, pass)?;
                match has_drawn {
                    true => cached.put(&draws, &[("nothing".to_owned(), Tensor::from_slice(&[0i64]))]),
                    false => cached.put(&key, &named(&part)),
                }
                part
            }
        };
        parts.push(part);
    }
    match joined(parts, num_scenes) {
        Some(outputs) => Ok(outputs),
        None => Ok(super::forward(index, used, inputs, scenes, pass)?.0),
    }
}

/// An input of one scene.
enum Own<'a> {
    Tensor { name: &'a str, tensor: Tensor },
    Texts { name: &'a str, texts: &'a [String] },
}

impl Own<'_> {
    fn borrow(&self) -> EmbedderInput<'_> {
        match self {
            Own::Tensor { name, tensor } => EmbedderInput::Tensor { name, tensor },
            Own::Texts { name, texts } => EmbedderInput::Texts { name, texts },
        }
    }
}

/// The rows of a scene; none where rows are not of scenes.
fn of_scene<'a>(input: &EmbedderInput<'a>, scene: usize, num_scenes: usize) -> Option<Own<'a>> {
    match *input {
        EmbedderInput::Tensor { name, tensor } => {
            let rows = *tensor.size().first()? as usize;
            let own = rows / num_scenes;
            let fits = own > 0 && rows % num_scenes == 0;
            fits.then(|| Own::Tensor { name, tensor: tensor.narrow(0, (scene * own) as i64, own as i64) })
        }
        EmbedderInput::Texts { name, texts } => Some(Own::Texts { name, texts: texts.get(scene..=scene)? }),
    }
}

fn of_input(key: Key, input: &Own<'_>) -> Key {
    match input {
        Own::Tensor { name, tensor } => key.text(name).tensor(tensor),
        Own::Texts { name, texts } => texts.iter().fold(key.text(name), |key, text| key.text(text)),
    }
}

/// Embeddings as a file's tensors: `0.crossattn`, `1.vector`.
fn named(outputs: &[Embedded]) -> Vec<(String, Tensor)> {
    let name =
        |output: &Embedded| SLOTS.iter().find(|(_, slot)| *slot == output.slot).map_or("by_rank", |(name, _)| name);
    let of = |(at, output): (usize, &Embedded)| (format!("{at}.{}", name(output)), output.tensor.shallow_clone());
    outputs.iter().enumerate().map(of).collect()
}

fn read(entry: Vec<(String, Tensor)>) -> Option<Vec<Embedded>> {
    let mut outputs = entry
        .into_iter()
        .map(|(name, tensor)| {
            let (at, name) = name.split_once('.')?;
            let (_, slot) = SLOTS.iter().find(|(known, _)| *known == name)?;
            Some((at.parse::<usize>().ok()?, Embedded { slot: *slot, tensor }))
        })
        .collect::<Option<Vec<_>>>()?;
    outputs.sort_by_key(|(at, _)| *at);
    Some(outputs.into_iter().map(|(_, output)| output).collect())
}

/// The embeddings of all scenes, if all are there and alike.
fn joined(parts: Vec<Vec<Embedded>>, num_scenes: usize) -> Option<Vec<Embedded>> {
    let first = parts.first()?;
    let alike = parts.iter().all(|part| part.len() == first.len());
    (parts.len() == num_scenes && alike).then(|| {
        let join = |at: usize| {
            let tensors: Vec<&Tensor> = parts.iter().map(|part| &part[at].tensor).collect();
            Embedded { slot: first[at].slot, tensor: Tensor::cat(&tensors, 0) }
        };
        (0..first.len()).map(join).collect()
    })
}
