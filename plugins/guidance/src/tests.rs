//! Guidance beside the reference's numbers.

use plugin_api::wasm::build;
use serde_json::{Value, json};

use super::*;

fn frames<G: Guidance + Entry>(config: Value, num_frames: u32, num_views: u32) -> Vec<f64> {
    let guidance: G = build(config.as_object().unwrap()).unwrap();
    let two_rows = guidance.scales(&[2.0, 1.0], num_frames, num_views).unwrap();
    let (first, second) = two_rows.split_at(num_frames as usize);
    assert_eq!(first, second);
    first.to_vec()
}

fn assert_close(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() < 1e-5, "{got} is not {expected}");
    }
}

#[test]
fn constant_is_one_scale() {
    assert_eq!(frames::<Constant>(json!({ "scale": 3 }), 2, 1), [3.0, 3.0]);
}

#[test]
fn linear_runs_from_the_first_frame_to_the_last() {
    let scales = frames::<Linear>(json!({ "max_scale": 2.5 }), 14, 1);
    assert_close(&[scales[0], scales[1] - scales[0], scales[13]], &[1.0, 0.115385, 2.5]);
    assert_eq!(frames::<Linear>(json!({ "max_scale": 2.5 }), 1, 1), [1.0]);
}

#[test]
fn triangle_peaks_in_the_middle() {
    let scales = frames::<Triangle>(json!({ "max_scale": 2.5 }), 21, 1);
    assert_close(&[scales[0], scales[1], scales[10], scales[20]], &[1.0, 1.15, 2.5, 1.0]);
}

#[test]
fn triangles_of_several_periods_are_fused_as_the_reference_fuses_them() {
    let max = json!({ "max_scale": 4, "period": [1, 0.4] });
    assert_close(&frames::<Triangle>(max, 7, 1), &[1.0, 3.5, 3.0, 4.0, 3.0, 2.0, 4.0]);
    let mean = json!({ "max_scale": 2.5, "period": [1, 0.5], "period_fusing": "mean" });
    let expected = [1.0, 1.6428572, 2.0714285, 1.8571428, 1.8571428, 2.0714285, 1.6428571, 1.0];
    assert_close(&frames::<Triangle>(mean, 8, 1), &expected);
    let multiply = json!({ "max_scale": 4, "min_scale": 0.5, "period": [1, 2], "period_fusing": "multiply" });
    assert_close(&frames::<Triangle>(multiply, 5, 1), &[0.5, 0.9375, 2.25, 1.8125, 0.5]);
}

#[test]
fn a_triangle_without_periods_is_refused() {
    let guidance: Triangle = build(json!({ "max_scale": 2, "period": [] }).as_object().unwrap()).unwrap();
    assert_eq!(guidance.scales(&[1.0], 3, 1).unwrap_err().path.as_deref(), Some("/period"));
}

#[test]
fn the_trapezoids_plateau_is_its_largest_scale_unless_the_references_is_asked_for() {
    let config = json!({ "max_scale": 3, "edge_perc": 0.2 });
    assert_close(&frames::<Trapezoid>(config, 10, 1), &[1.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 1.0]);
    let config = json!({ "max_scale": 3, "edge_perc": 0.2, "upstream_plateau": true });
    assert_close(&frames::<Trapezoid>(config, 10, 1), &[1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 1.0]);
    assert_close(&frames::<Trapezoid>(json!({ "max_scale": 3 }), 3, 1), &[3.0, 3.0, 3.0]);
}

#[test]
fn spatiotemporal_adds_a_ramp_and_a_triangle() {
    let scales = frames::<Spatiotemporal>(json!({ "max_scale": 2.5, "min_scale": 1.5 }), 40, 8);
    let first = [1.5, 1.6429, 1.7857, 1.9286, 1.9286, 1.7857, 1.6429, 1.5];
    for (view, expected) in first.into_iter().enumerate() {
        assert!((scales[view] - expected).abs() < 1e-4);
        assert!((scales[32 + view] - expected - 0.5).abs() < 1e-4, "the last time is half a range above the first");
    }
    let guidance: Spatiotemporal = build(json!({ "max_scale": 2 }).as_object().unwrap()).unwrap();
    assert_eq!(guidance.scales(&[1.0], 7, 2).unwrap_err().message, "2 views do not divide 7 frames");
}

#[test]
fn committed_schemas_are_those_of_the_settings() {
    PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
}
