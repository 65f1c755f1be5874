//! The image encoder's modules in open_clip and in the transformers library.

use std::collections::BTreeMap;

use tch::Tensor;

use super::names::Names;
use crate::weights::Named;

/// More blocks than any image encoder has.
const BLOCKS_MAX: usize = 128;

/// Queries, keys and values, one tensor there and three here.
const PROJECTIONS: [&str; 3] = ["q_proj", "k_proj", "v_proj"];

fn names() -> Names {
    let mut names = Names::default();
    names.add("conv1", "vision_model.embeddings.patch_embedding");
    names.add("ln_pre", "vision_model.pre_layrnorm");
    names.add("ln_post", "vision_model.post_layernorm");
    for block in 0..BLOCKS_MAX {
        let pairs = [
            ("ln_1", "layer_norm1"),
            ("ln_2", "layer_norm2"),
            ("attn.out_proj", "self_attn.out_proj"),
            ("mlp.c_fc", "mlp.fc1"),
            ("mlp.c_proj", "mlp.fc2"),
        ];
        names.add_below(&format!("transformer.resblocks.{block}"), &theirs(block), &pairs);
    }
    names
}

fn theirs(block: usize) -> String {
    format!("vision_model.encoder.layers.{block}")
}

/// A key of open_clip's vision tower, and its tensor, in the transformers library.
pub(super) fn to_diffusers(key: &str, tensor: &Tensor) -> Option<Vec<Named>> {
    let one = |name: &str, tensor: Tensor| Some(vec![(name.to_owned(), tensor)]);
    match key {
        "class_embedding" => one("vision_model.embeddings.class_embedding", tensor.shallow_clone()),
        "positional_embedding" => one("vision_model.embeddings.position_embedding.weight", tensor.shallow_clone()),
        "proj" => one("visual_projection.weight", tensor.transpose(0, 1).contiguous()),
        _ => match in_proj(key) {
            Some((block, what)) => {
                let parts = tensor.chunk(3, 0).into_iter().zip(PROJECTIONS);
                let named = |(part, name): (Tensor, &str)| {
                    (format!("{}.self_attn.{name}.{what}", theirs(block)), part.contiguous())
                };
                Some(parts.map(named).collect())
            }
            None => Some(vec![(names().to_diffusers(key)?, tensor.shallow_clone())]),
        },
    }
}

/// Block and kind of `transformer.resblocks.3.attn.in_proj_weight`.
fn in_proj(key: &str) -> Option<(usize, &str)> {
    let (block, rest) = key.strip_prefix("transformer.resblocks.")?.split_once('.')?;
    Some((block.parse().ok()?, rest.strip_prefix("attn.in_proj_")?))
}

/// The tensors of the transformers library under open_clip's keys, and the keys that have no place there.
///
/// # Errors
/// When queries, keys and values of a block are not all there.
pub(super) fn to_reference(given: &[Named]) -> Result<(Vec<Named>, Vec<String>), String> {
    let names = names();
    let (mut placed, mut left) = (Vec::new(), Vec::new());
    let mut projections: BTreeMap<String, [Option<Tensor>; 3]> = BTreeMap::new();
    for (key, tensor) in given {
        let fixed = match key.as_str() {
            "vision_model.embeddings.class_embedding" => Some(("class_embedding", tensor.shallow_clone())),
            "vision_model.embeddings.position_embedding.weight" => {
                Some(("positional_embedding", tensor.shallow_clone()))
            }
            "visual_projection.weight" => Some(("proj", tensor.transpose(0, 1).contiguous())),
            _ => None,
        };
        if let Some((name, tensor)) = fixed {
            placed.push((name.to_owned(), tensor));
        } else if let Some((name, place)) = projection(key) {
            projections.entry(name).or_default()[place] = Some(tensor.shallow_clone());
        } else if let Some(name) = names.to_reference(key) {
            placed.push((name, tensor.shallow_clone()));
        } else {
            left.push(key.clone());
        }
    }
    for (name, parts) in projections {
        let parts: Vec<Tensor> = parts.into_iter().flatten().collect();
        if parts.len() < PROJECTIONS.len() {
            return Err(format!("`{name}` lacks one of its {}", PROJECTIONS.join(", ")));
        }
        placed.push((name, Tensor::cat(&parts, 0)));
    }
    Ok((placed, left))
}

/// open_clip's name of the joined tensor, and the place of this one in it.
fn projection(key: &str) -> Option<(String, usize)> {
    let (block, rest) = key.strip_prefix("vision_model.encoder.layers.")?.split_once('.')?;
    let (name, what) = rest.strip_prefix("self_attn.")?.split_once('.')?;
    let place = PROJECTIONS.iter().position(|projection| *projection == name)?;
    Some((format!("transformer.resblocks.{block}.attn.in_proj_{what}"), place))
}
