//! Files that PyTorch itself has saved, and others that look like such.

use std::io::Write;

use tch::{Device, Kind, Tensor};

use super::super::{WeightsFile, read};

/// A Lightning checkpoint with tied, cut and transposed tensors, all kinds, an optimizer's state, and Python objects.
const LIGHTNING: &[u8] = include_bytes!("testdata/lightning.ckpt");
/// Dicts in a dict, by protocol 4.
const NESTED: &[u8] = include_bytes!("testdata/nested.pt");
/// A dense tensor beside a sparse one.
const SPARSE: &[u8] = include_bytes!("testdata/sparse.pt");

fn on_disk(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// `sin(a + b*i)`, as the files were made.
fn wave(a: f64, b: f64, shape: &[i64]) -> Tensor {
    (Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu)) * b + a).sin().reshape(shape)
}

#[test]
fn a_checkpoint_is_read_value_by_value() {
    let file = on_disk(LIGHTNING);
    let got: Vec<(String, Tensor)> = read(file.path()).unwrap();
    let base = wave(1.0, 0.7, &[4, 6]);
    let want = [
        ("model.diffusion_model.a.weight", base.shallow_clone()),
        ("model.diffusion_model.tied.weight", base.shallow_clone()),
        ("model.diffusion_model.part.weight", base.narrow(0, 1, 2).narrow(1, 2, 3)),
        ("model.diffusion_model.turned.weight", base.transpose(0, 1)),
        ("model.diffusion_model.half", wave(0.2, 0.3, &[3]).to_kind(Kind::Half)),
        ("model.diffusion_model.bf16", wave(0.2, 0.3, &[3]).to_kind(Kind::BFloat16)),
        ("model.diffusion_model.double", wave(0.2, 0.3, &[2]).to_kind(Kind::Double)),
        ("num_updates", Tensor::from(7_i32)),
        ("mask", Tensor::from_slice(&[true, false, true])),
        ("bytes", Tensor::from_slice(&[1_u8, 2, 255])),
        ("none", Tensor::zeros([0, 3], (Kind::Float, Device::Cpu))),
        ("parameter", wave(0.5, 0.9, &[2, 2])),
    ];
    assert_eq!(got.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), want.each_ref().map(|(name, _)| *name));
    for ((name, got), (_, want)) in got.iter().zip(&want) {
        assert!(got.kind() == want.kind() && got.size() == want.size(), "{name}: {got:?}");
        // The last bit of a sine differs between vectorised and single evaluation.
        let worst = || (got.to_kind(Kind::Double) - want.to_kind(Kind::Double)).abs().max().double_value(&[]);
        assert!(got.numel() == 0 || worst() < 1e-6, "{name}");
    }
}

#[test]
fn what_a_checkpoint_says_about_itself_is_told() {
    let file = on_disk(LIGHTNING);
    let opened = WeightsFile::open(file.path()).unwrap();
    let facts: Vec<(&str, &str)> = opened.metadata().iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(facts, [("epoch", "3"), ("global_step", "120"), ("pytorch-lightning_version", "2.0.1")]);
    let cut = opened.entries().iter().find(|entry| entry.name.ends_with("part.weight")).unwrap();
    assert_eq!((cut.shape.as_slice(), cut.bytes()), (&[2, 3][..], 24));
}

#[test]
fn dicts_within_are_joined_by_dots() {
    let file = on_disk(NESTED);
    let names: Vec<String> = read(file.path()).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["net.w", "net.0.b"]);
}

#[test]
fn a_tensor_that_is_not_read_is_an_error_that_names_it() {
    let file = on_disk(SPARSE);
    let error = read(file.path()).unwrap_err().to_string();
    assert!(error.contains("`sparse` is built by torch._utils._rebuild_sparse_tensor"), "{error}");
    assert!(error.starts_with(&file.path().display().to_string()), "{error}");
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_panic() {
    for step in [1, 7] {
        for at in (0..LIGHTNING.len()).step_by(step) {
            let mut bad = LIGHTNING.to_vec();
            bad[at] ^= if step == 1 { 0xff } else { 0x01 };
            // Damage to values, padding or what is not looked at is not noticed; all that counts is that the rest is.
            let _ = read(on_disk(&bad).path());
        }
    }
    for length in (0..LIGHTNING.len()).step_by(13) {
        assert!(read(on_disk(&LIGHTNING[..length]).path()).is_err(), "{length} bytes");
    }
}

#[test]
fn the_old_format_is_told_apart() {
    let magic = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
    let error = read(on_disk(&magic).path()).unwrap_err().to_string();
    assert!(error.contains("before 1.6"), "{error}");
}
