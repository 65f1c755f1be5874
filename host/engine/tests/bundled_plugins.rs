//! The bundled WASM plugins, as they are built, on the runtime: against the reference's numbers and native solvers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use anneal::diffusion::{Denoise, DrawKind, Guider};
use anneal::error::{ComponentError, ErrorCode};
use anneal::plugin::wasm::{WasmPlugin, WasmRuntime, stats};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

fn folder(id: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins").join(id);
    assert!(folder.is_dir(), "{} is not there: run `cargo xtask plugins` first", folder.display());
    folder
}

/// Each plugin is compiled once for all tests.
static PLUGINS: LazyLock<BTreeMap<&str, WasmPlugin>> = LazyLock::new(|| {
    let runtime = WasmRuntime::new().unwrap();
    let load = |id: &'static str| {
        let file = format!("{}.wasm", id.replace(['.', '-'], "_"));
        (id, runtime.load(id, &folder(id).join(file)).unwrap())
    };
    IDS.into_iter().map(load).collect()
});

fn plugin(id: &str) -> &'static WasmPlugin {
    &PLUGINS[id]
}

fn config(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn assert_close(got: &[f64], expected: &[f64], rtol: f64) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= rtol * expected.abs().max(1e-3), "{got} is not {expected}");
    }
}

const IDS: [&str; 6] = [
    "anneal.discretizations",
    "anneal.guidance",
    "anneal.learning-rates",
    "anneal.samplers",
    "anneal.sigma-sampling",
    "anneal.weightings",
];

#[test]
fn components_describe_what_their_manifests_say() {
    let mut entries = 0;
    for id in IDS {
        let manifest: toml::Table = std::fs::read_to_string(folder(id).join("plugin.toml")).unwrap().parse().unwrap();
        let described = plugin(id).describe().unwrap();
        let described = described["entries"].as_array().unwrap();
        let manifest = manifest["entry"].as_array().unwrap();
        assert_eq!(manifest.len(), described.len(), "{id}");
        for (manifest, described) in manifest.iter().zip(described) {
            assert_eq!(manifest["name"].as_str(), described["name"].as_str());
            assert_eq!(manifest["kind"].as_str(), described["kind"].as_str());
            let schema = std::fs::read(folder(id).join(manifest["schema"].as_str().unwrap())).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&schema).unwrap(), described["schema"]);
            entries += 1;
        }
    }
    assert_eq!(entries, 27);
}

#[test]
fn discretizations_are_the_references() {
    let plugin = plugin("anneal.discretizations");
    let mut edm = plugin.discretization("edm", &config(json!({ "sigma_max": 700 }))).unwrap();
    assert_close(&edm.sigmas(5).unwrap(), &[700.0, 134.8545, 15.5900, 0.6781, 0.002], 1e-4);
    let mut ddpm = plugin.discretization("legacy-ddpm", &Map::new()).unwrap();
    assert_close(&ddpm.sigmas(5).unwrap(), &[14.61464, 5.08776, 2.27646, 1.16058, 0.56928], 1e-5);
    assert_eq!(ddpm.sigmas(1000).unwrap().len(), 1000);
    assert_eq!(ddpm.sigmas(1001).unwrap_err().code, ErrorCode::Unsupported);
    let mut steps = plugin.discretization("align-your-steps", &config(json!({ "model": "svd" }))).unwrap();
    assert_close(&steps.sigmas(10).unwrap()[..2], &[700.0, 54.5], 1e-12);
}

#[test]
fn schedules_are_the_references() {
    let sampling = plugin("anneal.sigma-sampling");
    let mut edm = sampling.sigma_sampler("edm", &Map::new()).unwrap();
    assert_eq!(edm.draw_kind(), DrawKind::Gaussian);
    assert_close(&edm.sample(&[-0.8174921, 2.294605]).unwrap(), &[0.1129296, 4.7281127], 1e-6);
    let mut discrete = sampling.sigma_sampler("discrete", &Map::new()).unwrap();
    assert_eq!(discrete.draw_kind(), DrawKind::Uniform);
    assert_close(&discrete.sample(&[0.0005, 0.3495, 0.9995]).unwrap(), &[0.0291672, 0.9838172, 14.6146412], 2e-6);

    let weightings = plugin("anneal.weightings");
    for (entry, expected) in
        [("unit", 1.0), ("edm", 4.25), ("v", 1.25), ("eps", 0.25), ("min-snr", 0.25), ("soft-min-snr", 1.0 / 4.25)]
    {
        let mut weighting = weightings.weighting(entry, &Map::new()).unwrap();
        assert_close(&weighting.weights(&[2.0, 2.0]).unwrap(), &[expected, expected], 1e-12);
        assert!(weighting.weights(&[]).unwrap().is_empty());
    }

    let mut triangle = plugin("anneal.guidance").guidance("triangle", &config(json!({ "max_scale": 2.5 }))).unwrap();
    let scales = triangle.scales(&[80.0, 1.0], 21, 1).unwrap();
    assert_close(&[scales[0], scales[10], scales[20], scales[31]], &[1.0, 2.5, 1.0, 2.5], 1e-6);

    let settings = json!({
        "warm_up_steps": [2], "f_min": [0.1], "f_max": [1], "f_start": [0], "cycle_lengths": [10],
    });
    let mut linear = plugin("anneal.learning-rates").learning_rate("linear", &config(settings)).unwrap();
    assert_close(&linear.factors(1, 5).unwrap(), &[0.5, 0.82, 0.73, 0.64, 0.55], 1e-9);
    assert_close(&linear.factors(u64::MAX - 1, 1).unwrap(), &[0.1], 1e-9);
}

#[test]
fn a_table_may_hold_a_sigma_of_zero_where_its_weight_is_finite() {
    let settings = config(json!({ "num_idx": 10, "do_append_zero": true }));
    let mut discrete = plugin("anneal.sigma-sampling").sigma_sampler("discrete", &settings).unwrap();
    let sigmas = discrete.sample(&[0.05, 0.15]).unwrap();
    assert!(sigmas[0] == 0.0 && sigmas[1] > 0.0, "{sigmas:?}");
    let weightings = plugin("anneal.weightings");
    for (entry, expected) in [("unit", 1.0), ("min-snr", 5.0), ("soft-min-snr", 4.0)] {
        assert_eq!(weightings.weighting(entry, &Map::new()).unwrap().weights(&sigmas).unwrap()[0], expected);
    }
    for entry in ["edm", "v", "eps"] {
        let error = weightings.weighting(entry, &Map::new()).unwrap().weights(&sigmas).unwrap_err().to_string();
        let expected = format!(
            "anneal.weightings/{entry}: returned the weight inf for sigma = 0, which is not finite and at least 0"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn settings_are_refused_with_their_pointer() {
    let plugin = plugin("anneal.discretizations");
    let error = plugin.discretization("edm", &config(json!({ "rho": 1000 }))).err().unwrap();
    assert_eq!(error.config_path.as_deref(), Some("/rho"));
    assert_eq!(error.to_string(), "anneal.discretizations/edm: 1000 is more than the maximum of 100");
    let told = plugin.check_config("edm", &config(json!({ "sigma_min": 9, "sigma_max": 8, "x": 1 }))).unwrap();
    let told: Vec<String> = told.into_iter().map(|told| format!("{}: {}", told.path, told.message)).collect();
    let expected =
        ["/x: unknown key; known are sigma_min, sigma_max, rho", ": sigma_max = 8 must be above sigma_min = 9"];
    assert_eq!(told, expected);
    let error = plugin.discretization("karras", &Map::new()).err().unwrap();
    assert!(error.message.contains("no entry `karras`; there are edm, legacy-ddpm, align-your-steps"), "{error}");
}

/// `mu + (x - mu) * s^2 / (sigma^2 + s^2)`: the answer for Gaussian latents.
struct Gaussian {
    steps: Vec<(u32, u32)>,
    draws: i64,
    stop_at: u32,
}

const MU: f64 = 0.35;
const S2: f64 = 0.36;

fn answer(x: &Tensor, sigma: f64) -> Tensor {
    (x - MU) * (S2 / (sigma * sigma + S2)) + MU
}

fn noise(draw: i64) -> Tensor {
    (Tensor::arange(96, (Kind::Float, Device::Cpu)) * 1.7 + draw as f64).sin().reshape([2, 3, 4, 4])
}

impl Denoise for Gaussian {
    fn denoise(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor, ComponentError> {
        Ok(answer(x, sigma))
    }

    fn gaussian(&mut self) -> Tensor {
        self.draws += 1;
        noise(self.draws)
    }

    fn progress(&mut self, step: u32, total: u32, _sigma: f64) -> bool {
        self.steps.push((step, total));
        step < self.stop_at
    }
}

fn model() -> Gaussian {
    Gaussian { steps: Vec::new(), draws: 0, stop_at: u32::MAX }
}

fn grid() -> Vec<f64> {
    grid_of(10)
}

fn grid_of(n: u32) -> Vec<f64> {
    let mut edm = plugin("anneal.discretizations").discretization("edm", &Map::new()).unwrap();
    let mut sigmas = edm.sigmas(n).unwrap();
    sigmas.push(0.0);
    sigmas
}

#[test]
fn euler_in_the_guest_is_euler_in_the_host() {
    let sigmas = grid();
    let x = noise(0) * sigmas[0];
    let mut sampler = plugin("anneal.samplers").sampler("euler-edm", &Map::new()).unwrap();
    let mut model = model();
    let before = stats();
    let got = sampler.sample(x.shallow_clone(), &sigmas, &mut model).unwrap();
    assert!(stats().calls > before.calls);
    let mut expected = x.shallow_clone();
    for pair in sigmas.windows(2) {
        let h = (pair[1] - pair[0]) / pair[0];
        expected = &expected * (1.0 + h) + answer(&expected, pair[0]) * -h;
    }
    assert_eq!(got, expected, "the same operations give the same bits");
    assert_eq!(x, noise(0) * sigmas[0], "the caller's noise was written to");
    assert_eq!(model.steps, (1..=10).map(|step| (step, 10)).collect::<Vec<_>>());
    assert_eq!(model.draws, 0);
}

#[test]
fn every_sampler_draws_from_the_models_distribution() {
    let sigmas = grid();
    let samplers = plugin("anneal.samplers");
    let x = noise(0) * (1.0 + sigmas[0] * sigmas[0]).sqrt();
    // What the flow does to a Gaussian is known: it scales the distance from its mean.
    let exact = (&x - MU) * (S2 / (S2 + sigmas[0] * sigmas[0])).sqrt() + MU;
    for (entry, tolerance) in [("euler-edm", 0.5), ("heun-edm", 0.2), ("dpmpp-2m", 0.2), ("linear-multistep", 0.3)] {
        let mut sampler = samplers.sampler(entry, &Map::new()).unwrap();
        let got = sampler.sample(x.shallow_clone(), &sigmas, &mut model()).unwrap();
        let error = (got - &exact).abs().max().double_value(&[]);
        assert!(error < tolerance, "{entry}: {error}");
    }
    for (entry, settings) in [
        ("euler-edm", json!({ "s_churn": 3, "s_tmin": 0.05 })),
        ("heun-edm", json!({ "s_churn": 3 })),
        ("euler-ancestral", json!({})),
        ("dpmpp-2s-ancestral", json!({ "eta": 0.5 })),
    ] {
        let mut sampler = samplers.sampler(entry, &config(settings)).unwrap();
        let mut run = || {
            let mut model = model();
            let sample = sampler.sample(x.shallow_clone(), &sigmas, &mut model).unwrap();
            (sample, model.draws)
        };
        let ((first, draws), (second, _)) = (run(), run());
        assert!(draws > 0, "{entry}");
        assert_eq!(first, second, "{entry} is not reproducible");
    }
}

#[test]
fn solvers_converge_with_their_order() {
    let x = noise(0).to_kind(Kind::Double) * 80.0;
    let error = |entry: &str, n: u32| {
        let sigmas = grid_of(n);
        let mut sampler = plugin("anneal.samplers").sampler(entry, &Map::new()).unwrap();
        let got = sampler.sample(x.shallow_clone(), &sigmas, &mut model()).unwrap();
        let exact = (&x - MU) * (S2 / (S2 + sigmas[0] * sigmas[0])).sqrt() + MU;
        (got - exact).abs().max().double_value(&[])
    };
    // Twice the steps divide the error by two to the power of the order.
    for (entry, order) in [("euler-edm", 1.0), ("heun-edm", 2.0), ("dpmpp-2m", 2.0)] {
        let measured = (error(entry, 80) / error(entry, 160)).log2();
        assert!((measured - order).abs() < 0.25, "{entry} has order {measured}");
    }
    assert!(error("linear-multistep", 80) < error("dpmpp-2m", 80), "four steps of memory are better than two");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn grids_fall_from_end_to_end(low in 1e-4..0.5_f64, times in 2.0..1e5_f64, rho in 0.5..20.0_f64, n in 2..80_u32) {
        let settings = config(json!({ "sigma_min": low, "sigma_max": low * times, "rho": rho }));
        let sigmas = plugin("anneal.discretizations").discretization("edm", &settings).unwrap().sigmas(n).unwrap();
        assert!(sigmas.windows(2).all(|pair| pair[0] > pair[1]), "{sigmas:?}");
        assert_close(&[sigmas[0], sigmas[n as usize - 1]], &[low * times, low], 1e-6);
        let ddpm = plugin("anneal.discretizations").discretization("legacy-ddpm", &Map::new()).unwrap().sigmas(n).unwrap();
        assert!(ddpm.windows(2).all(|pair| pair[0] > pair[1]), "{ddpm:?}");
    }

    #[test]
    fn larger_draws_are_larger_sigmas(mut draws in proptest::collection::vec(0.001..0.999_f64, 2..40), num_idx in 1..500_u32) {
        draws.sort_by(f64::total_cmp);
        let table = json!({ "num_idx": num_idx });
        let of_edm = json!({ "num_idx": num_idx, "discretization": "edm", "do_append_zero": true });
        for (entry, settings) in [("edm", json!({})), ("discrete", table), ("discrete", of_edm)] {
            let mut sampler = plugin("anneal.sigma-sampling").sigma_sampler(entry, &config(settings)).unwrap();
            let sigmas = sampler.sample(&draws).unwrap();
            assert!(sigmas.windows(2).all(|pair| pair[0] <= pair[1]), "{entry}: {sigmas:?}");
        }
    }

    #[test]
    fn guidance_stays_between_its_scales(low in 0.0..2.0_f64, more in 0.0..8.0_f64, frames in 1..30_u32, views in 1..6_u32) {
        for entry in ["linear", "triangle", "trapezoid", "spatiotemporal"] {
            let settings = config(json!({ "min_scale": low, "max_scale": low + more }));
            let mut guidance = plugin("anneal.guidance").guidance(entry, &settings).unwrap();
            let scales = guidance.scales(&[10.0, 1.0], frames * views, views).unwrap();
            assert_eq!(scales.len(), 2 * (frames * views) as usize);
            let inside = |scale: &f64| (low - 1e-9..=low + more + 1e-9).contains(scale);
            assert!(scales.iter().all(inside), "{entry}: {scales:?}");
            // Where the condition changes nothing, no scale does.
            let guider = Guider::new(&[10.0, 1.0], scales, (frames * views) as usize, &[]).unwrap();
            let half = Tensor::randn([i64::from(frames * views), 1, 2, 2], (Kind::Double, Device::Cpu));
            assert_eq!(guider.blend(&Tensor::cat(&[&half, &half], 0), 3.0), half, "{entry}");
        }
    }
}

#[test]
fn a_run_is_stopped_within_a_step() {
    let sigmas = grid();
    let mut sampler = plugin("anneal.samplers").sampler("heun-edm", &Map::new()).unwrap();
    let mut model = Gaussian { stop_at: 3, ..model() };
    let error = sampler.sample(noise(0), &sigmas, &mut model).unwrap_err();
    assert_eq!(error.code, ErrorCode::Cancelled);
    assert_eq!(model.steps.len(), 3);
    model.stop_at = u32::MAX;
    let again = sampler.sample(noise(0), &sigmas, &mut model).unwrap();
    assert_eq!(again.size(), [2, 3, 4, 4], "a stopped run leaves a sampler that works");
}
