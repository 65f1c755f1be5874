//! Low-rank adapters among weights: taken out, found in other files, merged into the weights they belong to.

use std::collections::{HashMap, HashSet};

use anneal_nn::adapted_layer;
use anneal_torch::grad_mode;
use tch::{Kind, Tensor};

use super::Named;

/// Where a file of adapters says their strength.
pub const ALPHA: &str = "lora_alpha";

/// Names that libraries put before a network's own, several of them perhaps: `base_model.model.unet.`.
const CONTAINERS: [&str; 7] = ["base_model", "diffusion_model", "model", "module", "network", "transformer", "unet"];

/// Takes the adapters out of `all`: what is left, and the adapters.
pub fn split_adapters(all: Vec<Named>) -> (Vec<Named>, Vec<Named>) {
    all.into_iter().partition(|(name, _)| adapted_layer(name).is_none())
}

/// Keys of `theirs` as they are called among `ours`, where something else stands before them; none if most of them are not
/// there at all.
pub fn aligned(theirs: &[&str], ours: &[&str]) -> Option<HashMap<String, String>> {
    let known: HashSet<&str> = ours.iter().copied().collect();
    let first = theirs.first()?;
    let containers = first.split('.').take_while(|name| CONTAINERS.contains(name));
    let ends = containers.scan(0, |end, name| {
        *end += name.len() + 1;
        Some(*end)
    });
    std::iter::once(0).chain(ends).filter(|end| *end < first.len()).find_map(|end| {
        let before = &first[..end];
        let rests: Vec<&str> = theirs.iter().map(|key| key.strip_prefix(before)).collect::<Option<_>>()?;
        let places = |rest: &str| -> Vec<&str> {
            let before = ours.iter().filter_map(|key| key.strip_suffix(rest));
            before.filter(|before| before.is_empty() || before.ends_with('.')).collect()
        };
        let candidates = rests.iter().map(|rest| places(rest)).find(|places| !places.is_empty())?;
        let found = |add: &str| rests.iter().filter(|rest| known.contains(format!("{add}{rest}").as_str())).count();
        let add = candidates.into_iter().max_by_key(|add| found(add)).filter(|add| found(add) * 2 > rests.len())?;
        Some(theirs.iter().zip(&rests).map(|(key, rest)| ((*key).to_owned(), format!("{add}{rest}"))).collect())
    })
}

/// Adds to each weight what its adapter adds to the layer: `alpha / rank * B A`. The sum is made in f64 and has the weight's
/// kind.
///
/// # Errors
/// When an adapter is not whole, or `weights` have no weight that it belongs to.
pub fn merge_adapters(weights: Vec<Named>, adapters: &[Named], alpha: f64) -> Result<Vec<Named>, String> {
    let _no_grad = grad_mode::no_grad();
    let given: HashMap<&str, &Tensor> = adapters.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut layers: Vec<&str> = given.keys().filter_map(|name| adapted_layer(name)).collect();
    layers.sort_unstable();
    layers.dedup();
    let wanted: Vec<String> = layers.iter().map(|layer| format!("{layer}.weight")).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let keys: Vec<&str> = weights.iter().map(|(name, _)| name.as_str()).collect();
    let names = aligned(&wanted, &keys).unwrap_or_default();
    let places: HashMap<&str, usize> = keys.iter().enumerate().map(|(i, key)| (*key, i)).collect();
    let mut sums = Vec::new();
    for (layer, weight) in layers.iter().zip(&wanted) {
        let [a, b] = ["lora_A.weight", "lora_B.weight"].map(|key| {
            let key = format!("{layer}.{key}");
            given.get(key.as_str()).copied().ok_or(format!("`{key}` is missing"))
        });
        let (a, b) = (a?.to_kind(Kind::Double), b?.to_kind(Kind::Double));
        let Some(&place) = names.get(*weight).and_then(|name| places.get(name.as_str())) else {
            return Err(format!("there is no weight `{weight}` that the adapter `{layer}` belongs to"));
        };
        let base = &weights[place].1;
        let (rank, shape) = (a.size()[0], vec![b.size()[0], *a.size().last().unwrap_or(&0)]);
        if base.size() != shape || b.size().last() != Some(&rank) {
            let (a, b, base) = (a.size(), b.size(), base.size());
            return Err(format!("the adapter `{layer}` has shapes {a:?} and {b:?}, the weight {base:?}"));
        }
        let sum = base.to_kind(Kind::Double) + b.matmul(&a) * (alpha / rank as f64);
        sums.push((place, sum.to_kind(base.kind())));
    }
    let mut weights = weights;
    for (place, sum) in sums {
        weights[place].1 = sum;
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, values: &[f32], shape: &[i64]) -> Named {
        (name.to_owned(), Tensor::from_slice(values).view(shape))
    }

    fn adapter(prefix: &str) -> Vec<Named> {
        vec![
            named(&format!("{prefix}a.to_q.lora_A.weight"), &[1.0, 2.0], &[1, 2]),
            named(&format!("{prefix}a.to_q.lora_B.weight"), &[3.0, 4.0], &[2, 1]),
        ]
    }

    #[test]
    fn the_product_is_added_whatever_stands_before_the_keys() {
        for (ours, theirs) in
            [("", ""), ("m.d.", "m.d."), ("m.d.", ""), ("", "base_model.model."), ("m.", "base_model.unet.")]
        {
            let base = || {
                vec![
                    named(&format!("{ours}a.to_q.weight"), &[1.0, 1.0, 1.0, 1.0], &[2, 2]),
                    named(&format!("{ours}a.to_q.bias"), &[5.0, 5.0], &[2]),
                ]
            };
            let merged = merge_adapters(base(), &adapter(theirs), 0.5).unwrap();
            assert_eq!(
                Vec::<f32>::try_from(merged[0].1.flatten(0, -1)).unwrap(),
                [2.5, 4.0, 3.0, 5.0],
                "{ours} {theirs}"
            );
            assert!(merged[1].1.equal(&base()[1].1) && merged[0].1.kind() == Kind::Float);
        }
    }

    #[test]
    fn an_adapter_without_its_weight_or_its_half_is_an_error() {
        let base = || vec![named("a.to_q.weight", &[1.0, 1.0, 1.0, 1.0], &[2, 2])];
        let error = |base: Vec<Named>, adapters: &[Named]| merge_adapters(base, adapters, 1.0).unwrap_err();
        assert!(error(base(), &adapter("")[..1]).contains("`a.to_q.lora_B.weight` is missing"));
        let other = vec![named("b.to_k.weight", &[1.0], &[1, 1])];
        assert!(error(other, &adapter("")).contains("no weight `a.to_q.weight`"));
        let two: Vec<Named> = adapter("").into_iter().chain(adapter("x.")).collect();
        assert!(error(base(), &two).contains("no weight `a.to_q.weight`"), "half of them are of another model");
        let narrow = vec![named("a.to_q.weight", &[1.0, 1.0], &[1, 2])];
        assert!(error(narrow, &adapter("")).contains("[1, 2]"));
    }

    #[test]
    fn adapters_are_told_from_weights() {
        let mut all = adapter("x.");
        all.push(named("x.a.to_q.weight", &[1.0], &[1]));
        let (weights, adapters) = split_adapters(all);
        assert_eq!((weights.len(), adapters.len(), weights[0].0.as_str()), (1, 2, "x.a.to_q.weight"));
    }
}
