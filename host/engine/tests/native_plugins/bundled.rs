//! The bundled embedders through the C ABI.

use anneal::conditioner::{EmbedderInput, Init, Slot};
use anneal::trainer::{AdamSettings, Ema, Optimizer, OptimizerSettings};
use anneal_torch::grad_mode;
use serde_json::json;

use super::*;

fn bundled() -> Registry {
    registry(&installed("plugins"))
}

fn zeros(shape: &[i64]) -> Tensor {
    Tensor::zeros(shape, (Kind::Float, Device::Cpu))
}

#[test]
fn a_trainable_class_learns_through_the_boundary() {
    let mut registry = bundled();
    let embedder = make(&mut registry, "class", json!({ "n_classes": 3, "dim": 4 })).unwrap();
    assert_eq!(embedder.name(), "anneal.embedders/class");
    let decl = &embedder.params()[0];
    assert_eq!(
        (decl.name.as_str(), &decl.shape[..], decl.init),
        ("embedding.weight", &[3, 4][..], Init::Normal { std: 1.0 })
    );

    let table = zeros(&[3, 4]).set_requires_grad(true);
    let trained = vec![("embedding.weight".to_owned(), table.shallow_clone())];
    let settings = AdamSettings { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, amsgrad: false };
    let mut optimizer = Optimizer::new(trained, OptimizerSettings::AdamW(settings));
    let mut ema = Ema::new(optimizer.params(), 1, 0.5, false);
    let labels = Tensor::from_slice(&[2_i64, 0]);
    let mut losses = Vec::new();
    for _ in 0..50 {
        optimizer.zero_grad();
        let row = call(embedder.as_ref(), &labels, std::slice::from_ref(&table), 2).unwrap().remove(0);
        assert_eq!((row.slot, row.tensor.size()), (Some(Slot::Vector), vec![2, 4]));
        let loss = (row.tensor - 1.0).square().mean(Kind::Float);
        loss.backward();
        optimizer.collect_grads();
        optimizer.step(0.05, 1.0).unwrap();
        ema.update();
        losses.push(loss.double_value(&[]));
    }
    assert!(losses[0] == 1.0 && losses[49] < 0.01, "{losses:?}");
    // Only the rows that were asked for have moved, and the average follows them.
    let moved = |row: i64, value: &Tensor| value.get(row).abs().max().double_value(&[]);
    assert!(moved(0, &table) > 0.9 && moved(2, &table) > 0.9 && moved(1, &table) == 0.0);
    let average = &ema.shadows()[0].1;
    assert!(moved(0, average) > 0.5 && moved(0, average) != moved(0, &table) && moved(1, average) == 0.0);
    assert_eq!(registry.used().len(), 1);
    assert!(registry.used()[0].starts_with("anneal.embedders 0.1.0 "));
}

#[test]
fn grad_mode_of_the_host_holds_in_the_plugin() {
    let embedder = make(&mut bundled(), "class", json!({ "n_classes": 3, "dim": 4 })).unwrap();
    let table = zeros(&[3, 4]).set_requires_grad(true);
    let labels = Tensor::from_slice(&[0_i64]);
    let run = || call(embedder.as_ref(), &labels, std::slice::from_ref(&table), 1).unwrap().remove(0).tensor;
    assert!(run().requires_grad());
    let _off = grad_mode::no_grad();
    assert!(!run().requires_grad());
}

#[test]
fn random_numbers_come_from_the_host() {
    let settings = json!({ "n_copies": 2, "noise_p_mean": -5.0, "noise_p_std": 1.0, "sigma_dim": 8 });
    let embedder = make(&mut bundled(), "frames-concat", settings).unwrap();
    let outputs = call(embedder.as_ref(), &zeros(&[3, 1, 2, 2]), &[], 3).unwrap();
    let slots: Vec<_> = outputs.iter().map(|output| (output.slot, output.tensor.size())).collect();
    assert_eq!(slots, [(Some(Slot::Concat), vec![6, 1, 2, 2]), (Some(Slot::Vector), vec![6, 8])]);
    // The draws are the lengths of "sigma" and "noise": sigma is exp(5 - 5), and the noise 5.
    assert!((outputs[0].tensor.double_value(&[4, 0, 1, 1]) - 5.0).abs() < 1e-5);
}

#[test]
fn settings_are_checked_all_at_once() {
    let settings = json!({ "n_classes": 0, "dim": "wide", "dmi": 1 });
    let error = make(&mut bundled(), "class", settings).err().unwrap();
    assert_eq!(error.code, anneal::error::ErrorCode::InvalidConfig);
    for part in ["/n_classes: 0 is less than the minimum of 1", "/dim: expected a whole number", "/dmi: unknown key"] {
        assert!(error.message.contains(part), "{error}");
    }
    let error = make(&mut bundled(), "frames-concat", json!({ "noise_p_mean": 1.0 })).err().unwrap();
    assert!(error.message.contains("together"), "{error}");
}

#[test]
fn texts_are_no_tensors() {
    let embedder = make(&mut bundled(), "identity", json!({})).unwrap();
    let texts = ["a fox".to_owned(), "ein Füchslein".to_owned()];
    let inputs = [EmbedderInput::Texts { name: "caption", texts: &texts }];
    let mut draws = LetterCount { num_scenes: 2 };
    let mut about = EmbedderCall { num_scenes: 2, frames_per_scene: 1, training: false, draws: &mut draws };
    let error = embedder.forward(&inputs, &[], &mut about).unwrap_err();
    assert_eq!(error.to_string(), "anneal.embedders/identity: forward: `caption` holds texts, a tensor is wanted");
}

#[test]
fn an_instance_moves_between_threads() {
    let embedder = make(&mut bundled(), "scalar", json!({ "dim": 4 })).unwrap();
    let moved =
        std::thread::spawn(move || call(embedder.as_ref(), &zeros(&[2]), &[], 2).unwrap().remove(0).tensor.size());
    assert_eq!(moved.join().unwrap(), [2, 4]);
}
