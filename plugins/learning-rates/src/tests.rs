//! Learning rates beside the reference's numbers.

use plugin_api::wasm::build;
use serde_json::{Value, json};

use super::*;

fn factors<L: LearningRate + Entry>(config: Value, steps: impl IntoIterator<Item = u64>) -> Vec<f64> {
    let schedule: L = build(config.as_object().unwrap()).unwrap();
    steps.into_iter().map(|step| schedule.factor(step).unwrap()).collect()
}

fn assert_close(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() < 6e-5, "{got} is not {expected}");
    }
}

#[test]
fn constant_warms_up_when_told_to() {
    assert_eq!(factors::<Constant>(json!({}), [0, u64::MAX]), [1.0, 1.0]);
    assert_eq!(factors::<Constant>(json!({ "warm_up_steps": 4 }), 0..5), [0.25, 0.5, 0.75, 1.0, 1.0]);
}

#[test]
fn linear_is_the_references() {
    let config = json!({
        "warm_up_steps": [2], "f_min": [0.1], "f_max": [1], "f_start": [0], "cycle_lengths": [10],
    });
    let expected = [0.0, 0.5, 0.82, 0.73, 0.64, 0.55, 0.46, 0.37, 0.28, 0.19, 0.1, 0.1];
    assert_close(&factors::<Linear>(config, 0..12), &expected);
}

#[test]
fn linear_takes_cycles_beyond_32_bits() {
    let config = json!({
        "warm_up_steps": [10_000], "f_min": [1], "f_max": [1], "f_start": [1e-6], "cycle_lengths": [1e13],
    });
    let got = factors::<Linear>(config, [0, 1, 5000, 10_000, u64::MAX]);
    for (got, expected) in got.into_iter().zip([1e-6, 1.00999e-4, 0.5000005, 1.0, 1.0]) {
        assert!((got / expected - 1.0).abs() < 1e-5, "{got} is not {expected}");
    }
}

#[test]
fn warm_up_cosine_is_the_references() {
    let config = json!({ "warm_up_steps": 2, "lr_min": 0.1, "lr_max": 1, "lr_start": 0, "max_decay_steps": 10 });
    let expected = [0.0, 0.5, 1.0, 0.9657, 0.8682, 0.7222, 0.55, 0.3778, 0.2318, 0.1343, 0.1, 0.1, 0.1];
    assert_close(&factors::<WarmUpCosine>(config, 0..13), &expected);
}

#[test]
fn cosine_cycles_are_the_references_and_end_in_a_held_value() {
    let config = json!({
        "warm_up_steps": [2, 2], "f_min": [0.1, 0.1], "f_max": [1, 0.5], "f_start": [0, 0], "cycle_lengths": [5, 5],
    });
    let expected = [0.0, 0.5, 1.0, 0.775, 0.325, 0.1, 0.25, 0.5, 0.4, 0.2, 0.1, 0.1, 0.1];
    assert_close(&factors::<WarmUpCosine2>(config, 0..13), &expected);
}

#[test]
fn lists_that_do_not_fit_are_refused_by_name() {
    let cycles = |warm_up_steps: Value, f_min: Value, cycle_lengths: Value| {
        let config = json!({
            "warm_up_steps": warm_up_steps, "f_min": f_min, "f_max": [1], "f_start": [0],
            "cycle_lengths": cycle_lengths,
        });
        build::<Linear>(config.as_object().unwrap()).err().unwrap().to_string()
    };
    assert_eq!(cycles(json!([2]), json!([0, 0]), json!([5])), "/f_min: 2 values for 1 cycles");
    assert_eq!(cycles(json!([]), json!([]), json!([])), "/cycle_lengths: no cycles");
    assert_eq!(
        cycles(json!([5]), json!([0]), json!([5])),
        "/warm_up_steps/0: a warm-up of 5 steps fills its cycle of 5"
    );
    let config = json!({ "warm_up_steps": 9, "lr_min": 0, "lr_max": 1, "lr_start": 0, "max_decay_steps": 9 });
    assert!(build::<WarmUpCosine>(config.as_object().unwrap()).is_err());
}

#[test]
fn committed_schemas_are_those_of_the_settings() {
    PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
}
