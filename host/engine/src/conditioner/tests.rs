//! The conditioner's rules around embedders, on an embedder that passes its input on.

use std::collections::BTreeMap;

use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::*;

/// Passes its inputs on, scaled by its one parameter if it has one.
struct Pass1 {
    decls: Vec<ParamDecl>,
}

impl Embedder for Pass1 {
    fn name(&self) -> &str {
        "test/pass"
    }
    fn params(&self) -> &[ParamDecl] {
        &self.decls
    }
    fn forward(
        &self,
        inputs: &[EmbedderInput<'_>],
        params: &[Tensor],
        _: &mut EmbedderCall<'_>,
    ) -> Result<Vec<Embedded>, ComponentError> {
        Ok(inputs
            .iter()
            .filter_map(|input| match input {
                EmbedderInput::Tensor { tensor, .. } => Some(tensor),
                EmbedderInput::Texts { .. } => None,
            })
            .map(|tensor| {
                let tensor = params.iter().fold(tensor.shallow_clone(), |value, param| value * param);
                Embedded { slot: None, tensor }
            })
            .collect())
    }
}

/// Says of its input that it is concatenated, as encoders of frames do.
struct Concatenated;

impl Embedder for Concatenated {
    fn name(&self) -> &str {
        "test/concatenated"
    }
    fn params(&self) -> &[ParamDecl] {
        &[]
    }
    fn forward(
        &self,
        inputs: &[EmbedderInput<'_>],
        _: &[Tensor],
        _: &mut EmbedderCall<'_>,
    ) -> Result<Vec<Embedded>, ComponentError> {
        let [EmbedderInput::Tensor { tensor, .. }] = inputs else { panic!("one tensor is given") };
        Ok(vec![Embedded { slot: Some(Slot::Concat), tensor: tensor.shallow_clone() }])
    }
}

#[test]
fn reference_views_have_a_place_of_their_own_whatever_the_embedder_says() {
    let uses = ["frames", "cond_view", "cond_motion"].map(|key| {
        let config = serde_json::from_value(json!({"plugin": "concatenated", "input_key": key})).unwrap();
        EmbedderUse::new(Box::new(Concatenated), Vec::new(), &config)
    });
    let mut batch = batch(1, 4, 0);
    let pictures = |rows: i64, channels: i64| Tensor::ones([rows, channels, 2, 2], (Kind::Float, Device::Cpu));
    batch.tensors.insert("cond_view".to_owned(), pictures(2, 5));
    batch.tensors.insert("cond_motion".to_owned(), pictures(2, 6));
    let conditions = Conditioner::new(uses.into(), false).embed(&batch, TRAIN).unwrap();
    let size = |slot: Slot| conditions.get(slot).unwrap().size();
    assert_eq!(size(Slot::Concat), [4, 3, 2, 2]);
    assert_eq!((size(Slot::CondView), size(Slot::CondMotion)), (vec![2, 5, 2, 2], vec![2, 6, 2, 2]));
}

fn used(config: serde_json::Value) -> EmbedderUse {
    let config: EmbedderConfig = serde_json::from_value(config).unwrap();
    EmbedderUse::new(Box::new(Pass1 { decls: Vec::new() }), Vec::new(), &config)
}

/// `scenes` scenes of `t` frames, their ids starting at `first_id`.
fn batch(scenes: i64, t: i64, first_id: u64) -> Batch {
    let numbers = Tensor::arange(scenes * t * 2, (Kind::Float, Device::Cpu)) + 1.0;
    let tensors = BTreeMap::from([
        ("vec".to_owned(), numbers.reshape([scenes * t, 2])),
        ("scene_vec".to_owned(), Tensor::ones([scenes, 3], (Kind::Float, Device::Cpu))),
        ("tokens".to_owned(), Tensor::ones([scenes, 4, 5], (Kind::Float, Device::Cpu))),
        ("frames".to_owned(), Tensor::ones([scenes * t, 3, 2, 2], (Kind::Float, Device::Cpu))),
    ]);
    Batch {
        tensors,
        texts: BTreeMap::new(),
        integers: BTreeMap::new(),
        sample_ids: (first_id..first_id + scenes as u64).collect(),
        frames_per_scene: t,
    }
}

const TRAIN: Pass<'_> = Pass { seed: 5, training: true, force_zero: &[] };

#[test]
fn rank_decides_the_slot_and_config_order_that_of_channels() {
    let conditioner = Conditioner::new(
        ["scene_vec", "vec", "tokens", "frames"]
            .iter()
            .map(|key| used(json!({"plugin": "pass", "input_key": key})))
            .collect(),
        false,
    );
    let conditions = conditioner.embed(&batch(2, 3, 0), TRAIN).unwrap();
    let vector = conditions.get(Slot::Vector).unwrap();
    // The scene's row is repeated over its frames.
    assert_eq!(vector.size(), [6, 5]);
    assert_eq!(f64::try_from(vector.get(5).get(0)).unwrap(), 1.0);
    assert_eq!(f64::try_from(vector.get(5).get(3)).unwrap(), 11.0);
    assert_eq!(conditions.get(Slot::Crossattn).unwrap().size(), [2, 4, 5]);
    assert_eq!(conditions.get(Slot::Concat).unwrap().size(), [6, 3, 2, 2]);
}

fn dropped_rows(conditioner: &Conditioner, batch: &Batch, slot: Slot) -> Vec<bool> {
    let value = conditioner.embed(batch, TRAIN).unwrap().get(slot).unwrap().abs();
    let sums = value.flatten(1, -1).sum_dim_intlist([1].as_slice(), false, Kind::Double);
    Vec::<f64>::try_from(sums).unwrap().iter().map(|sum| *sum == 0.0).collect()
}

#[test]
fn a_clip_is_dropped_whole_at_the_configured_rate() {
    let conditioner =
        Conditioner::new(vec![used(json!({"plugin": "pass", "input_key": "vec", "ucg_rate": 0.3}))], false);
    let rows = dropped_rows(&conditioner, &batch(2000, 3, 0), Slot::Vector);
    assert!(rows.chunks(3).all(|clip| clip.iter().all(|dropped| *dropped == clip[0])));
    let rate = rows.iter().filter(|dropped| **dropped).count() as f64 / rows.len() as f64;
    assert!((rate - 0.3).abs() < 0.04, "{rate}");
    // A scene's draw does not depend on the batch it is in.
    let tail = dropped_rows(&conditioner, &batch(1000, 3, 1000), Slot::Vector);
    assert_eq!(rows[3000..], tail[..]);
}

#[test]
fn upstreams_way_drops_rows_on_their_own() {
    let conditioner =
        Conditioner::new(vec![used(json!({"plugin": "pass", "input_key": "vec", "ucg_rate": 0.5}))], true);
    let rows = dropped_rows(&conditioner, &batch(200, 3, 0), Slot::Vector);
    assert!(rows.chunks(3).any(|clip| clip.iter().any(|dropped| *dropped != clip[0])));
}

#[test]
fn a_group_is_dropped_together() {
    let grouped = |key: &str| used(json!({"plugin": "pass", "input_key": key, "ucg_rate": 0.5, "ucg_group": "image"}));
    let conditioner = Conditioner::new(vec![grouped("tokens"), grouped("frames")], false);
    let batch = batch(64, 1, 0);
    assert_eq!(dropped_rows(&conditioner, &batch, Slot::Crossattn), dropped_rows(&conditioner, &batch, Slot::Concat));
}

#[test]
fn a_legacy_value_replaces_the_input_and_leaves_the_batch_alone() {
    let config = json!({"plugin": "pass", "input_key": "vec", "ucg_rate": 1.0, "legacy_ucg_value": -3.0});
    let conditioner = Conditioner::new(vec![used(config)], false);
    let batch = batch(2, 3, 0);
    let value = conditioner.embed(&batch, TRAIN).unwrap();
    assert!(value.get(Slot::Vector).unwrap().eq(-3.0).all().int64_value(&[]) == 1);
    assert!(batch.tensors["vec"].gt(0.0).all().int64_value(&[]) == 1);
}

#[test]
fn the_unconditional_half_zeroes_what_it_is_told_and_drops_nothing() {
    let uses = vec![
        used(json!({"plugin": "pass", "input_key": "tokens", "ucg_rate": 1.0})),
        used(json!({"plugin": "pass", "input_keys": ["vec", "frames"]})),
    ];
    let conditioner = Conditioner::new(uses, false);
    assert_eq!(conditioner.droppable_keys(), ["tokens"]);
    let (cond, uncond) =
        conditioner.embed_pair(&batch(2, 3, 0), 1, &[], &["tokens".to_owned(), "frames".to_owned()]).unwrap();
    let all_zero = |value: &Tensor| f64::try_from(value.abs().max()).unwrap() == 0.0;
    assert!(!all_zero(cond.get(Slot::Crossattn).unwrap()) && all_zero(uncond.get(Slot::Crossattn).unwrap()));
    // An embedder of several inputs is zeroed in all its outputs when any of them is named.
    assert!(all_zero(uncond.get(Slot::Vector).unwrap()) && all_zero(uncond.get(Slot::Concat).unwrap()));
}

#[test]
fn only_trainable_embedders_get_a_gradient() {
    for trainable in [true, false] {
        let param = Tensor::from(2.0_f32).set_requires_grad(true);
        let config: EmbedderConfig =
            serde_json::from_value(json!({"plugin": "pass", "input_key": "vec", "is_trainable": trainable})).unwrap();
        let used = EmbedderUse::new(Box::new(Pass1 { decls: Vec::new() }), vec![param], &config);
        let conditions = Conditioner::new(vec![used], false).embed(&batch(1, 2, 0), TRAIN).unwrap();
        assert_eq!(conditions.get(Slot::Vector).unwrap().requires_grad(), trainable);
    }
}

#[test]
fn a_missing_entry_is_an_error_that_lists_what_there_is() {
    let conditioner = Conditioner::new(vec![used(json!({"plugin": "pass", "input_key": "fps"}))], false);
    let error = conditioner.embed(&batch(1, 1, 0), TRAIN).unwrap_err();
    assert!(error.message.contains("`fps`") && error.message.contains("scene_vec"), "{error}");
}

/// Doubles its input and counts its calls; with `noisy` it draws noise, too.
struct Counted {
    calls: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    noisy: bool,
}

impl Embedder for Counted {
    fn name(&self) -> &str {
        "test/counted"
    }
    fn params(&self) -> &[ParamDecl] {
        &[]
    }
    fn forward(
        &self,
        inputs: &[EmbedderInput<'_>],
        _: &[Tensor],
        call: &mut EmbedderCall<'_>,
    ) -> Result<Vec<Embedded>, ComponentError> {
        self.calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut outputs = Vec::new();
        for input in inputs {
            if let EmbedderInput::Tensor { tensor, .. } = input {
                let mut doubled = *tensor * 2.0;
                if self.noisy {
                    doubled += call.draws.normal("noise", &tensor.size())?;
                }
                outputs.push(Embedded { slot: Some(Slot::Vector), tensor: doubled.shallow_clone() });
                outputs.push(Embedded { slot: None, tensor: doubled.unsqueeze(1) });
            }
        }
        Ok(outputs)
    }
}

#[test]
fn embeddings_of_frozen_embedders_are_kept_scene_by_scene_unless_they_are_random() {
    use crate::cache::{Cached, Component, Store};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    for noisy in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let config: EmbedderConfig = serde_json::from_value(json!({"plugin": "counted", "input_key": "vec"})).unwrap();
        let conditioner = |fills: Option<bool>| {
            let embedder = Counted { calls: calls.clone(), noisy };
            let mut conditioner =
                Conditioner::new(vec![EmbedderUse::new(Box::new(embedder), Vec::new(), &config)], false);
            let place = fills.map(|fills| {
                let component = Component { settings: "a".to_owned(), params: Vec::new() };
                Cached::new(Arc::new(Store::new(dir.path(), fills)), component)
            });
            conditioner.keep(std::iter::once(place));
            conditioner
        };
        let embed = |fills: Option<bool>, batch: &Batch| {
            let before = calls.load(Ordering::SeqCst);
            let conditions = conditioner(fills).embed(batch, TRAIN).unwrap();
            let values = [Slot::Vector, Slot::Crossattn].map(|slot| conditions.get(slot).unwrap().shallow_clone());
            (values, calls.load(Ordering::SeqCst) - before)
        };
        let alike = |a: &[Tensor; 2], b: &[Tensor; 2]| a.iter().zip(b).all(|(a, b)| a.equal(b));
        let (both, first) = (batch(2, 3, 0), batch(1, 3, 0));
        let (plain, _) = embed(None, &both);
        let (filled, called) = embed(Some(true), &both);
        assert!(alike(&plain, &filled) && called == 2, "a call for each scene");
        let (found, called) = embed(Some(false), &both);
        assert!(alike(&plain, &found));
        assert_eq!(called, usize::from(noisy), "what is random is computed anew");
        // The scene is found in another batch, too.
        assert_eq!(embed(Some(false), &first).1, usize::from(noisy));
        let mut other = batch(2, 3, 0);
        other.tensors.insert("vec".to_owned(), Tensor::ones([6, 2], (Kind::Float, Device::Cpu)));
        let (found, called) = embed(Some(false), &other);
        assert!(alike(&found, &embed(None, &other).0) && called == 1);
    }
}
