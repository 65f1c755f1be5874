//! The host's operations through the C ABI, as plugins without libtorch use them.

use anneal::conditioner::Slot;
use anneal::error::ErrorCode;
use serde_json::json;

use super::*;

fn plugin(entry: &str, settings: Value) -> Box<dyn Embedder> {
    make(&mut registry(&installed("test-plugins")), entry, settings).unwrap()
}

fn probe(act: &str) -> Box<dyn Embedder> {
    plugin("probe-ops", json!({ "act": act }))
}

fn input() -> Tensor {
    (Tensor::arange(8, (Kind::Float, Device::Cpu)).view([2, 4]) - 3.0) / 4.0
}

fn weight() -> Tensor {
    (Tensor::arange(16, (Kind::Float, Device::Cpu)).view([4, 4]) / 10.0).sin()
}

fn run(embedder: &dyn Embedder, input: &Tensor, weight: &Tensor) -> Result<Tensor, ComponentError> {
    Ok(call(embedder, input, std::slice::from_ref(weight), 2)?.remove(0).tensor)
}

fn embedded(act: &str) -> Tensor {
    run(probe(act).as_ref(), &input(), &weight()).unwrap()
}

fn error(act: &str) -> ComponentError {
    run(probe(act).as_ref(), &input(), &weight()).unwrap_err()
}

#[test]
fn plugins_with_the_hosts_operations_link_no_libtorch() {
    for (dir, file, links) in [
        ("test-plugins", "test.class-ops/libclass_ops.so", false),
        ("plugins", "anneal.embedders/libanneal_embedders.so", true),
    ] {
        let library = std::fs::read(installed(dir).join(file)).unwrap();
        for name in [&b"libtorch_cpu.so"[..], b"libc10.so"] {
            assert_eq!(library.windows(name.len()).any(|window| window == name), links, "{file}");
        }
    }
}

/// What `probe-ops` computes as a network, in tch.
fn network(x: &Tensor, weight: &Tensor) -> Tensor {
    let none = None::<&Tensor>;
    let hidden = x.linear(weight, none).silu().layer_norm([4], none, none, 1e-5, true);
    let hidden = hidden.gelu("none") + (x - &hidden).relu();
    let image = hidden.view([-1, 4, 1, 1]).upsample_bilinear2d([4, 4], false, None, None);
    let image = image.conv2d(&weight.view([4, 4, 1, 1]), none, 1, 0, 1, 1).group_norm(2, none, none, 1e-5, true);
    let pooled = (&image + image.sin()).mean_dim([2_i64, 3].as_slice(), false, Kind::Float);
    let attended = pooled.matmul(&x.transpose(0, 1)).softmax(-1, Kind::Float);
    attended.matmul(&hidden) + x * (-pooled).exp()
}

#[test]
fn values_and_gradients_are_those_of_tch() {
    let embedder = probe("network");
    let grad = |compute: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
        let weight = weight().set_requires_grad(true);
        let y = compute(&input(), &weight);
        (&y * &y).sum(Kind::Float).backward();
        (y.detach(), weight.grad())
    };
    let ours = grad(&|x, weight| run(embedder.as_ref(), x, weight).unwrap());
    let theirs = grad(&network);
    assert_eq!(ours, theirs);
    assert!(ours.1.abs().max().double_value(&[]) > 0.01);
}

#[test]
fn a_trained_row_gets_its_gradient_and_only_it() {
    let embedder = plugin("class-ops", json!({ "n_classes": 3, "dim": 2 }));
    let table = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([3, 2]).set_requires_grad(true);
    let output = call(embedder.as_ref(), &Tensor::from_slice(&[2_i64, 0, 2]), &[table.shallow_clone()], 3).unwrap();
    assert_eq!(output[0].slot, Some(Slot::Vector));
    assert_eq!(Vec::<f32>::try_from(output[0].tensor.flatten(0, -1)).unwrap(), [4.0, 5.0, 0.0, 1.0, 4.0, 5.0]);
    output[0].tensor.sum(Kind::Float).backward();
    assert_eq!(Vec::<f32>::try_from(table.grad().flatten(0, -1)).unwrap(), [1.0, 1.0, 0.0, 0.0, 2.0, 2.0]);
    let error = call(embedder.as_ref(), &Tensor::from_slice(&[3_i64]), &[table.shallow_clone()], 1).unwrap_err();
    assert!(error.message.contains("labels reach from 3 to 3, classes from 0 to 2"), "{error}");
    // A frozen table has no graph.
    let _off = anneal_torch::grad_mode::no_grad();
    let output = call(embedder.as_ref(), &Tensor::from_slice(&[1_i64]), &[table], 1).unwrap();
    assert!(!output[0].tensor.requires_grad());
}

#[test]
fn shapes_change_as_in_tch() {
    let rolled = input().roll([1], [1]);
    // Halves swapped, each element twice, summed in pairs: the halves swapped, times two.
    assert_eq!(embedded("shapes"), Tensor::cat(&[rolled.narrow(1, 2, 2), rolled.narrow(1, 0, 2)], 1) * 2.0);
}

#[test]
fn tensors_are_made_out_of_nothing_and_out_of_memory() {
    let odd = Tensor::from_slice(&[0.0_f32, 1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0]).view([2, 4]);
    assert_eq!(embedded("makes"), odd);
    assert_eq!(embedded("from-host"), input() + 0.5);
}

#[test]
fn operations_return_several_results_lists_and_numbers() {
    let x = input();
    let (largest, places) = x.max_dim(1, true);
    let columns = [largest, places.to_kind(Kind::Float), Tensor::full([2, 1], 4.0, (Kind::Float, Device::Cpu))];
    let halves = [x.narrow(1, 2, 2), x.narrow(1, 0, 2)];
    assert_eq!(embedded("results"), Tensor::cat(&[Tensor::cat(&columns, 1), Tensor::cat(&halves, 1)], 1));
}

#[test]
fn a_failed_operation_is_an_error_with_libtorchs_text_and_the_instance_works_on() {
    let error = error("torch-error");
    assert_eq!((error.code, error.component.as_str()), (ErrorCode::Internal, "test.class-ops/probe-ops"));
    assert!(error.message.starts_with("forward: `aten::matmul`: libtorch: mat1 and mat2 shapes"), "{error}");
    assert!(!error.message.contains("Exception raised from"), "{error}");
    // The same instance fails and works by turns; a plugin may go on after an error.
    let class = plugin("class-ops", json!({ "n_classes": 3, "dim": 2 }));
    let table = Tensor::zeros([3, 2], (Kind::Float, Device::Cpu));
    for _ in 0..3 {
        let wrong = Tensor::from_slice(&[0.0_f32]);
        assert!(call(class.as_ref(), &wrong, std::slice::from_ref(&table), 1).is_err());
        assert!(call(class.as_ref(), &Tensor::from_slice(&[1_i64]), std::slice::from_ref(&table), 1).is_ok());
    }
    assert_eq!(embedded("swallows-error"), input().linear(&weight(), None::<&Tensor>));
}

#[test]
fn what_an_embedder_may_not_do_is_refused() {
    let cases = [
        ("in-place", ErrorCode::Unsupported, "`aten::add_.Tensor` writes to its argument `self`; `aten::add"),
        ("no-such-op", ErrorCode::Unsupported, "libtorch has no operation `aten::add.Tensr`"),
        ("draws", ErrorCode::Unsupported, "`aten::dropout` draws random numbers, which come from draw_normal alone"),
        ("wrong-argument", ErrorCode::InvalidArgument, "`aten::roll`: `shifts` is a double, wanted is"),
        ("other-thread", ErrorCode::InvalidArgument, "op_call is called inside forward, on its thread"),
    ];
    for (act, code, text) in cases {
        let error = error(act);
        assert!(error.message.contains(text), "{act}: {error}");
        assert_eq!(error.code, code, "{act}: {error}");
    }
}

#[test]
fn handles_that_a_plugin_keeps_or_loses_do_no_harm() {
    assert_eq!(embedded("leaks"), &input() * &input());
    let embedder = probe("keeps");
    let weight = weight().set_requires_grad(true);
    let mut sum = Tensor::zeros([2, 4], (Kind::Float, Device::Cpu));
    for call in 0..3 {
        // The tensors of earlier calls are gone here, and the plugin still holds them.
        let x = input() * (f64::from(call) + 1.0);
        sum = sum + &x + x.linear(&weight, None::<&Tensor>).detach();
        let y = run(embedder.as_ref(), &x, &weight).unwrap();
        assert!((&y.detach() - &sum).abs().max().double_value(&[]) < 1e-5);
        // The graph of an earlier call was used up, and the plugin's output leads back into it.
        let backward = y.sum(Kind::Float).f_backward();
        assert!(backward.is_ok() || call > 0, "{backward:?}");
    }
    drop(embedder);
    assert!(weight.grad().defined());
}

#[test]
fn shapes_without_values_are_enough_for_operations() {
    let meta = |shape: &[i64]| anneal_torch::tensor::empty_meta(shape, Kind::Float).unwrap();
    // Not every operation has a kernel for that; linear and mul, which this one calls, have.
    let y = run(probe("leaks").as_ref(), &meta(&[2, 4]), &meta(&[4, 4])).unwrap();
    assert!(anneal_torch::tensor::is_meta(&y) && y.size() == [2, 4], "{:?}", y.size());
    let error = run(probe("from-host").as_ref(), &meta(&[2, 4]), &meta(&[4, 4])).unwrap_err();
    assert!(error.message.contains("tensor_to_host: the tensor has no values"), "{error}");
}
