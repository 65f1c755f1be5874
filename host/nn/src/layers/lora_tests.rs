//! Adapters in the layers that have them.

use std::rc::Rc;

use super::{CrossAttention, CrossAttentionConfig, FeedForward, FeedForwardConfig, Linear, LinearConfig};
use crate::lora::{LoraSpec, adapted_layer, keys};
use crate::params::Params;
use crate::testing::{F32, close};
use anneal_torch::grad_mode;
use tch::{Device, Tensor};

fn params(scale: f64, chooses: impl Fn(&str) -> bool + 'static) -> Params {
    Params::new(Device::Cpu, 1).with_lora(LoraSpec { rank: 2, scale, dropout: 0.0, chooses: Rc::new(chooses) })
}

fn dropping(dropout: f64) -> Params {
    Params::new(Device::Cpu, 1).with_lora(LoraSpec { rank: 2, scale: 1.5, dropout, chooses: Rc::new(|_| true) })
}

/// Gives every `lora_B` values, so that adapters say something.
fn fill(params: &Params) {
    let _no_grad = grad_mode::no_grad();
    for param in params.entries().iter().filter(|param| param.path.ends_with(keys()[1])) {
        param.tensor.shallow_clone().copy_(&(Tensor::randn(param.tensor.size(), F32) * 0.3));
    }
}

#[test]
fn chosen_layers_have_adapters_beside_their_weights() {
    let params = params(2.0, |layer| layer == "a");
    let _ = Linear::new(&params.root().sub("a"), LinearConfig::new(6, 5));
    let _ = Linear::new(&params.root().sub("b"), LinearConfig::new(6, 5));
    let entries = params.entries();
    let shapes: Vec<(&str, Vec<i64>)> = entries.iter().map(|p| (p.path.as_str(), p.tensor.size())).collect();
    let weights = [("a.weight", vec![5, 6]), ("a.bias", vec![5])];
    let adapter = [("a.lora_A.weight", vec![2, 6]), ("a.lora_B.weight", vec![5, 2])];
    assert_eq!(shapes[..2], weights);
    assert_eq!(shapes[2..4], adapter);
    assert_eq!(shapes[4..], [("b.weight", vec![5, 6]), ("b.bias", vec![5])]);
    assert_eq!(adapted_layer("x.a.lora_B.weight"), Some("x.a"));
    assert!(adapted_layer("a.weight").is_none() && adapted_layer("lora_A.weight").is_none());
    let largest = |i: usize| entries[i].tensor.abs().max().double_value(&[]);
    assert!((0.2..1.0 / 6f64.sqrt()).contains(&largest(2)) && largest(3) == 0.0);
}

#[test]
fn an_adapter_adds_its_scaled_product() {
    let params = params(2.5, |_| true);
    let linear = Linear::new(&params.root().sub("a"), LinearConfig::new(6, 5));
    let x = Tensor::randn([3, 6], F32);
    assert!(linear.forward(&x, false).equal(&x.linear(&linear.weight, linear.bias.as_ref())), "it starts as nothing");
    fill(&params);
    let lora = linear.lora.as_ref().unwrap();
    let merged = &linear.weight + lora.b.matmul(&lora.a) * 2.5;
    close(&linear.forward(&x, false), &x.linear(&merged, linear.bias.as_ref()), 1e-5);
    close(&linear.multiply(&x, false), &x.linear::<&Tensor>(&merged, None), 1e-5);
}

#[test]
fn what_an_adapter_reads_is_dropped_in_training_alone() {
    let params = dropping(0.5);
    let linear = Linear::new(&params.root().sub("a"), LinearConfig::new(64, 5));
    let x = Tensor::ones([400, 64], F32);
    let base = x.linear(&linear.weight, linear.bias.as_ref());
    assert!(linear.forward(&x, true).equal(&base), "the layer itself reads all of x");
    fill(&params);
    let added = linear.forward(&x, false) - &base;
    let [dropped, again] = [(); 2].map(|()| linear.forward(&x, true) - &base);
    assert!(!dropped.equal(&again), "each pass has draws of its own");
    // On the average over rows, which are all alike, nothing is lost.
    let apart = (dropped.mean_dim([0].as_slice(), false, F32.0) - added.get(0)).abs().max().double_value(&[]);
    assert!(apart < 0.15 && (dropped - &added).abs().max().double_value(&[]) > apart, "{apart}");

    // Queries, keys and values that are projected together have it, too.
    let attention = CrossAttentionConfig { width: 4, context_width: None, num_heads: 2, head_width: 2, dropout: 0.0 };
    for tokens in [3, 40] {
        let adapted = dropping(0.5);
        let path = adapted.root();
        let (attend, ff) = (CrossAttention::new(&path.sub("attn"), attention), feed_forward(&path));
        fill(&adapted);
        let x = Tensor::randn([2, tokens, 4], F32);
        let passes: [&dyn Fn(bool) -> Tensor; 5] = [
            &|train| attend.forward(&x, None, train),
            &|train| attend.forward(&x, Some(&x), train),
            &|train| attend.over_time(&x, 2, train),
            &|train| attend.single_token(&x.narrow(1, 0, 1), 1, train),
            &|train| ff.forward(&x, train),
        ];
        for (idx, pass) in passes.iter().enumerate() {
            assert!(pass(false).equal(&pass(false)) && !pass(true).equal(&pass(true)), "pass {idx}");
        }
    }
}

/// Layers that join or split their matrices do so with adapters, too: what they give is what merged weights give.
#[test]
fn layers_with_adapters_are_layers_with_merged_weights() {
    let attention = CrossAttentionConfig { width: 4, context_width: None, num_heads: 2, head_width: 2, dropout: 0.0 };
    // Few tokens and many: the second are projected together.
    for tokens in [3, 40] {
        let adapted = params(1.5, |_| true);
        let path = adapted.root();
        let (attend, ff) = (CrossAttention::new(&path.sub("attn"), attention), feed_forward(&path));
        let plain = Params::new(Device::Cpu, 1);
        let path = plain.root();
        let (base, base_ff) = (CrossAttention::new(&path.sub("attn"), attention), feed_forward(&path));
        let x = Tensor::randn([2, tokens, 4], F32);
        assert!(attend.forward(&x, None, false).equal(&base.forward(&x, None, false)));
        assert!(ff.forward(&x, false).equal(&base_ff.forward(&x, false)));
        fill(&adapted);
        merge(&adapted, &plain, 1.5);
        close(&attend.forward(&x, None, false), &base.forward(&x, None, false), 1e-5);
        close(&attend.forward(&x, Some(&x), false), &base.forward(&x, Some(&x), false), 1e-5);
        close(&attend.over_time(&x, 2, false), &base.over_time(&x, 2, false), 1e-5);
        let one = x.narrow(1, 0, 1);
        close(&attend.single_token(&one, 1, false), &base.single_token(&one, 1, false), 1e-5);
        close(&ff.forward(&x, false), &base_ff.forward(&x, false), 1e-5);
        assert_eq!(attend.query_and_key_params().len(), 6);
    }
}

fn feed_forward(path: &crate::Path) -> FeedForward {
    FeedForward::new(&path.sub("ff"), FeedForwardConfig::new(4, 4, 0.0))
}

fn merge(adapted: &Params, plain: &Params, scale: f64) {
    let _no_grad = grad_mode::no_grad();
    let entries = adapted.entries();
    let find = |path: String| entries.iter().find(|param| param.path == path).map(|param| &param.tensor);
    for param in plain.entries() {
        let Some(layer) = param.path.strip_suffix(".weight") else { continue };
        let [a, b] = keys().map(|key| find(format!("{layer}.{key}")).unwrap());
        let _ = param.tensor.shallow_clone().g_add_(&(b.matmul(a) * scale));
    }
}
