//! Solvers over models with known answers, and beside the reference's numbers.

use std::cell::RefCell;
use std::rc::Rc;

use plugin_api::wasm::testing::{Host, Outcome};
use plugin_api::wasm::{ErrorCode, build};
use serde_json::{Value, json};

use super::*;

fn sampler<S: Sampler + Entry + 'static>(config: Value) -> Box<dyn Sampler> {
    Box::new(build::<S>(config.as_object().unwrap()).unwrap())
}

/// Each solver, with noise where it knows noise.
fn all() -> Vec<(&'static str, Box<dyn Sampler>)> {
    let churn = json!({ "s_churn": 3, "s_tmin": 0.05, "s_tmax": 50 });
    vec![
        ("euler-edm", sampler::<EulerEdm>(json!({}))),
        ("euler-edm churn", sampler::<EulerEdm>(churn.clone())),
        ("heun-edm", sampler::<HeunEdm>(json!({}))),
        ("heun-edm churn", sampler::<HeunEdm>(churn)),
        ("euler-ancestral", sampler::<EulerAncestral>(json!({}))),
        ("dpmpp-2s-ancestral", sampler::<Dpmpp2sAncestral>(json!({}))),
        ("dpmpp-2m", sampler::<Dpmpp2m>(json!({}))),
        ("linear-multistep", sampler::<LinearMultistep>(json!({}))),
        ("linear-multistep 8", sampler::<LinearMultistep>(json!({ "order": 8 }))),
    ]
}

fn edm_grid(n: u32, sigma_min: f64, sigma_max: f64) -> Vec<f64> {
    let (high, low) = (sigma_max.powf(1.0 / 7.0), sigma_min.powf(1.0 / 7.0));
    let grid = (0..n).map(|i| (high + f64::from(i) / f64::from(n.max(2) - 1) * (low - high)).powi(7));
    grid.chain([0.0]).collect()
}

fn noise(count: usize, width: usize) -> Vec<Vec<f64>> {
    (0..count).map(|draw| (0..width).map(|i| ((draw * 7 + i * 3 + 1) as f64).sin()).collect()).collect()
}

fn run(sampler: &dyn Sampler, x: Vec<f64>, sigmas: &[f64], model: fn(f64, f64) -> f64) -> Outcome {
    let width = x.len();
    Host::new(move |x, sigma| x.iter().map(|x| model(*x, sigma)).collect())
        .with_noise(noise(sigmas.len(), width))
        .sample(sampler, x, sigmas)
        .unwrap()
}

#[test]
fn deterministic_solvers_give_the_references_numbers() {
    let sigmas = edm_grid(4, 0.002, 80.0);
    let x = vec![(1.0 + 80.0_f64 * 80.0).sqrt()];
    for (sampler, expected) in [
        (sampler::<HeunEdm>(json!({})), 0.98774),
        (sampler::<Dpmpp2m>(json!({})), 0.98773),
        (sampler::<LinearMultistep>(json!({})), 0.98773),
    ] {
        let outcome = run(&*sampler, x.clone(), &sigmas, |x, sigma| x / (1.0 + sigma));
        assert!((outcome.values[0] - expected).abs() < 2e-5, "{} is not {expected}", outcome.values[0]);
    }
}

#[test]
fn a_constant_model_is_what_every_solver_ends_in() {
    for (name, sampler) in all() {
        for num_steps in [1, 2, 12] {
            let outcome = run(&*sampler, vec![50.0, -80.0], &edm_grid(num_steps, 0.002, 80.0), |_, _| 3.0);
            assert!(outcome.values.iter().all(|value| (value - 3.0).abs() < 1e-9), "{name}: {:?}", outcome.values);
            assert_eq!(outcome.steps, num_steps as usize, "{name}");
        }
    }
}

#[test]
fn costs_are_what_is_estimated() {
    for (name, sampler) in all() {
        let sigmas = edm_grid(12, 0.002, 80.0);
        let cost = sampler.estimate(12);
        let outcome = run(&*sampler, vec![50.0], &sigmas, |x, _| 0.5 * x);
        assert_eq!(outcome.denoised_at.len() as u32, cost.denoise_calls, "{name}");
        assert_eq!(outcome.peak_latents, cost.live_latents, "{name}");
        assert_eq!(outcome.draws > 0, cost.draws_noise, "{name}");
    }
}

/// Runs `sampler` over one value, and gives back what the model saw at each call.
fn seen(sampler: &dyn Sampler, x: f64, sigmas: &[f64], model: fn(f64, f64) -> f64) -> Vec<f64> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let record = seen.clone();
    let host = Host::new(move |x, sigma| {
        record.borrow_mut().push(x[0]);
        vec![model(x[0], sigma)]
    });
    host.with_noise(noise(sigmas.len(), 1)).sample(sampler, vec![x], sigmas).unwrap();
    seen.take()
}

/// For latents of standard deviation s the ODE runs along x * sqrt((s^2 + sigma^2) / (s^2 + sigma0^2)).
#[test]
fn errors_fall_with_the_order_of_the_solver() {
    const S2: f64 = 0.36;
    let error = |sampler: &dyn Sampler, num_steps: u32| {
        // What the model sees last is the solver's answer at the smallest sigma, before the step to 0.
        let answers = seen(sampler, 20.0, &edm_grid(num_steps, 0.5, 20.0), |x, sigma| x * S2 / (S2 + sigma * sigma));
        (answers[answers.len() - 1] - 20.0 * ((S2 + 0.25) / (S2 + 400.0)).sqrt()).abs()
    };
    for (name, sampler, order) in [
        ("euler-edm", sampler::<EulerEdm>(json!({})), 1.0),
        ("heun-edm", sampler::<HeunEdm>(json!({})), 2.0),
        ("euler-ancestral", sampler::<EulerAncestral>(json!({ "eta": 0 })), 1.0),
        ("dpmpp-2s-ancestral", sampler::<Dpmpp2sAncestral>(json!({ "eta": 0 })), 2.0),
        ("dpmpp-2m", sampler::<Dpmpp2m>(json!({})), 2.0),
        ("linear-multistep", sampler::<LinearMultistep>(json!({ "order": 3 })), 3.0),
    ] {
        let slope = (error(&*sampler, 40) / error(&*sampler, 160)).log2() / 2.0;
        assert!(slope > order - 0.4, "{name} has order {slope:.2}");
    }
}

#[test]
fn churn_adds_noise_between_its_bounds_alone() {
    let sampler = sampler::<EulerEdm>(json!({ "s_churn": 10, "s_tmin": 0.01, "s_tmax": 50, "s_noise": 1.01 }));
    let sigmas = edm_grid(6, 0.002, 80.0);
    let outcome = run(&*sampler, vec![80.0], &sigmas, |x, sigma| 0.35 + (x - 0.35) * 0.36 / (sigma * sigma + 0.36));
    let within = sigmas.iter().filter(|sigma| (0.01..=50.0).contains(*sigma)).count();
    assert_eq!(outcome.draws, within);
    let expected = [79.999985, 34.518597, 8.257515, 1.365305, 0.120331, 0.002];
    for (got, expected) in outcome.denoised_at.iter().zip(expected) {
        assert!((got / expected - 1.0).abs() < 1e-5, "{got} is not {expected}");
    }
}

#[test]
fn ancestral_solvers_draw_on_every_step_and_keep_the_variance() {
    let sampler = sampler::<EulerAncestral>(json!({}));
    let sigmas = edm_grid(8, 0.002, 80.0);
    assert_eq!(run(&*sampler, vec![80.0], &sigmas, |_, _| 0.0).draws, 8);
    // A model that answers 0 leaves of x the lower sigma, and the noise leads back up to the next one.
    let (sigma, next) = (sigmas[0], sigmas[1]);
    let up = next * (1.0 - (next / sigma).powi(2)).sqrt();
    let down = (next * next - up * up).sqrt();
    let levels = seen(&*sampler, sigma, &[sigma, next, 0.0], |_, _| 0.0);
    assert!((levels[1] - (down + up * noise(1, 1)[0][0])).abs() < 1e-9);
}

#[test]
fn failures_of_the_host_come_through() {
    for (name, sampler) in all() {
        let stopping = Host::new(|x, _| vec![0.0; x.len()]).with_noise(noise(20, 1)).stopping_after(3);
        let error = stopping.sample(&*sampler, vec![1.0], &edm_grid(12, 0.002, 80.0)).unwrap_err();
        assert_eq!(error.code, ErrorCode::Cancelled, "{name}");
    }
}

#[test]
fn committed_schemas_are_those_of_the_settings() {
    PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
}
