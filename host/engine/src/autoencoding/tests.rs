//! The objective of an autoencoder against the reference's own arithmetic.

use std::collections::BTreeMap;

use anneal_nn::autoencoder::{Autoencoder, AutoencoderConfig};
use anneal_nn::{Discriminator, DiscriminatorConfig, Lpips, Params};
use anneal_torch::grad_mode;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::{Adversary, AutoencoderModel, ReconstructionLoss, Terms};
use crate::config::{AdversaryLoss, PixelDistance};
use crate::data::Batch;

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

struct Trained {
    model: AutoencoderModel,
    loss: ReconstructionLoss,
    autoencoder: Vec<(String, Tensor)>,
    discriminator: Vec<(String, Tensor)>,
}

fn trained(adversary: AdversaryLoss, start_step: u64) -> Trained {
    let coder = json!({ "ch": 32, "out_ch": 3, "ch_mult": [1, 1], "num_res_blocks": 1, "attn_resolutions": [],
        "in_channels": 3, "resolution": 16, "z_channels": 4 });
    let config = json!({ "kind": "autoencoder-kl", "embed_dim": 4, "ddconfig": coder });
    let config: AutoencoderConfig = serde_json::from_value(config).unwrap();
    let of = |params: &Params| -> Vec<(String, Tensor)> {
        params.entries().into_iter().filter(|p| p.tensor.requires_grad()).map(|p| (p.path, p.tensor)).collect()
    };
    let params = Params::new(Device::Cpu, 3);
    let autoencoder = Autoencoder::new(&config, &params.root());
    let judge = Params::new(Device::Cpu, 4);
    let network = DiscriminatorConfig { ndf: 8, n_layers: 2, ..DiscriminatorConfig::default() };
    let discriminator = Discriminator::new(&network, &judge.root());
    let far = Params::new(Device::Cpu, 5);
    let lpips = Lpips::new(&far.root());
    far.entries().iter().for_each(|param| drop(param.tensor.set_requires_grad(false)));
    let loss = ReconstructionLoss {
        distance: PixelDistance::L1,
        perceptual: Some((lpips, 0.7)),
        logvar: Tensor::from(0.3_f32).set_requires_grad(true),
        regularization_weights: BTreeMap::from([("kl_loss".to_owned(), 0.01)]),
        adversary: Some(Adversary { discriminator, loss: adversary, weight: 0.8, start_step }),
    };
    let model = AutoencoderModel { input_key: "image".to_owned(), autoencoder, config, compute: None };
    Trained { model, loss, autoencoder: of(&params), discriminator: of(&judge) }
}

fn batch() -> Batch {
    let image = (Tensor::arange(2 * 3 * 16 * 16, F32) * 0.05).sin().view([2, 3, 16, 16]);
    Batch {
        tensors: BTreeMap::from([("image".to_owned(), image)]),
        texts: BTreeMap::new(),
        integers: BTreeMap::new(),
        sample_ids: vec![5, 6],
        frames_per_scene: 1,
    }
}

fn backward(trained: &Trained, step: u64, share: f64) -> (f64, Terms) {
    let reconstruction = trained.model.reconstruct(&batch(), 1, true).unwrap();
    let last_layer = trained.model.autoencoder.last_layer();
    trained.loss.backward(&reconstruction, last_layer, step, share).unwrap()
}

fn term(terms: &Terms, name: &str) -> f64 {
    terms.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no term {name} in {terms:?}")).1
}

fn grads(named: &[(String, Tensor)]) -> Vec<Tensor> {
    named.iter().map(|(_, tensor)| tensor.grad().copy()).collect()
}

fn clear(named: &[(String, Tensor)]) {
    named.iter().for_each(|(_, tensor)| anneal_torch::tensor::clear_grad(tensor));
}

/// The objective as the reference writes it, one scalar under one backward, with its weight from two gradients at the
/// last layer.
fn reference(trained: &Trained) -> (Tensor, [f64; 3]) {
    let Trained { model, loss, .. } = trained;
    let of = model.reconstruct(&batch(), 1, true).unwrap();
    let (lpips, perceptual_weight) = loss.perceptual.as_ref().unwrap();
    let adversary = loss.adversary.as_ref().unwrap();
    let rec = (&of.input - &of.output).abs() + lpips.forward(&of.output, &of.input) * *perceptual_weight;
    let nll = (&rec / loss.logvar.exp() + &loss.logvar).sum(Kind::Float) / 2.0;
    let g = -adversary.discriminator.forward(&of.output, true).mean(Kind::Float);
    let last_layer = model.autoencoder.last_layer();
    let norm = |value: &Tensor| Tensor::run_backward(&[value], &[last_layer], true, false)[0].norm();
    let d_weight = (norm(&nll) / (norm(&g) + 1e-4)).clamp(0.0, 1e4).detach() * adversary.weight;
    let total = &nll + &d_weight * &g + &of.terms[0].1 * 0.01;
    let numbers = [&nll, &g, &d_weight].map(|value| value.double_value(&[]));
    (total, numbers)
}

#[test]
fn one_backward_gives_the_gradients_of_the_references_scalar() {
    let trained = trained(AdversaryLoss::Hinge, 0);
    let (total, [nll, g, d_weight]) = reference(&trained);
    total.backward();
    let want = grads(&trained.autoencoder);
    let want_logvar = trained.loss.logvar.grad().double_value(&[]);
    let total = total.double_value(&[]);
    clear(&trained.autoencoder);
    clear(&[("logvar".to_owned(), trained.loss.logvar.shallow_clone())]);
    clear(&trained.discriminator);

    let (value, terms) = backward(&trained, 0, 1.0);
    assert!((value - total).abs() < 1e-5 * total.abs(), "{value} {total}");
    for (name, want) in [("nll", nll), ("g", g), ("d_weight", d_weight)] {
        assert!((term(&terms, name) - want).abs() < 1e-4 * want.abs(), "{name}: {terms:?} {want}");
    }
    for ((name, tensor), want) in trained.autoencoder.iter().zip(want) {
        let largest = want.abs().max().double_value(&[]);
        let off = (tensor.grad() - want).abs().max().double_value(&[]);
        // A key's bias moves nothing before a softmax, nor does any other before a norm of one channel a group.
        assert!(off <= 2e-4 * largest + 1e-3, "{name}: {off} of {largest}");
    }
    assert!((trained.loss.logvar.grad().double_value(&[]) - want_logvar).abs() < 1e-4 * want_logvar.abs());
}

#[test]
fn the_adversary_learns_from_the_same_batch_and_only_from_its_start() {
    for (kind, at_zero) in [(AdversaryLoss::Hinge, 1.0), (AdversaryLoss::Vanilla, 2.0_f64.ln())] {
        let trained = trained(kind, 10);
        let (_, terms) = backward(&trained, 9, 1.0);
        assert!(!terms.iter().any(|(name, _)| name == "g" || name == "disc"));
        assert!(trained.discriminator.iter().all(|(_, tensor)| !anneal_torch::tensor::has_grad(tensor)));
        let (_, terms) = backward(&trained, 10, 1.0);
        assert!(trained.discriminator.iter().all(|(_, tensor)| anneal_torch::tensor::has_grad(tensor)));
        // Judgements of a new discriminator are small, so its loss is near that of no opinion.
        assert!((term(&terms, "disc") - at_zero).abs() < 0.4, "{terms:?}");
        let difference = term(&terms, "logits_real") - term(&terms, "logits_fake");
        assert!(difference != 0.0 && difference.is_finite());
    }
}

#[test]
fn shares_add_up_and_the_adversary_pushes_no_gradient_of_its_own() {
    let whole = trained(AdversaryLoss::Hinge, 0);
    backward(&whole, 0, 1.0);
    let halves = trained(AdversaryLoss::Hinge, 0);
    backward(&halves, 0, 0.5);
    backward(&halves, 0, 0.5);
    let (whole, halves) = (grads(&whole.discriminator), grads(&halves.discriminator));
    for (whole, halves) in whole.iter().zip(&halves) {
        let largest = whole.abs().max().double_value(&[]);
        assert!((whole - halves).abs().max().double_value(&[]) <= 1e-4 * largest + 1e-7);
    }
}

#[test]
fn a_picture_that_is_reconstructed_has_only_the_variance_to_pay_for() {
    let trained = trained(AdversaryLoss::Hinge, 100);
    let _no_grad = grad_mode::no_grad();
    let mut reconstruction = trained.model.reconstruct(&batch(), 1, false).unwrap();
    drop(_no_grad);
    reconstruction.output = reconstruction.input.shallow_clone().detach().set_requires_grad(true);
    reconstruction.terms.clear();
    let last_layer = trained.model.autoencoder.last_layer();
    let (value, terms) = trained.loss.backward(&reconstruction, last_layer, 0, 1.0).unwrap();
    assert_eq!(term(&terms, "rec"), 0.0);
    assert!((value - 0.3 * f64::from(3 * 16 * 16)).abs() < 1e-2, "{value}");
}
