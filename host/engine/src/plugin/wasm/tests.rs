//! What happens to components that misbehave: each stops with a report that names it.

use serde_json::{Map, json};
use tch::Tensor;

use super::faulty::Workshop;
use super::stats;
use crate::diffusion::Denoise;
use crate::error::{ComponentError, ErrorCode};

/// What `sigmas(3)` of a discretization fails with.
fn failure(sigmas: &str) -> ComponentError {
    let plugin = Workshop::new().discretization("", sigmas);
    plugin.discretization("entry", &Map::new()).unwrap().sigmas(3).unwrap_err()
}

/// A list of three doubles at 4096.
fn three(values: [&str; 3]) -> String {
    let stores = [0, 8, 16].iter().zip(values);
    stores.map(|(at, value)| format!("(f64.store offset={at} (i32.const 4096) (f64.const {value}))")).collect()
}

const RETURN_THREE: &str = "(call $ok (i32.const 4096) (i32.const 3))";

#[test]
fn a_good_list_comes_through() {
    let plugin = Workshop::new().discretization("", &(three(["3", "2", "0.5"]) + RETURN_THREE));
    let before = stats();
    let mut grid = plugin.discretization("entry", &Map::new()).unwrap();
    assert_eq!(grid.sigmas(3).unwrap(), [3.0, 2.0, 0.5]);
    let after = stats();
    assert!(after.calls >= before.calls + 3 && after.time > before.time);
    assert_eq!(plugin.describe().unwrap(), json!({ "sdk": "wat" }));
    assert_eq!(plugin.check_config("entry", &Map::new()).unwrap(), []);
}

#[test]
fn an_endless_loop_runs_out_of_fuel() {
    let error = failure("(loop $again (br $again)) (unreachable)");
    assert_eq!(error.code, ErrorCode::BudgetExhausted);
    let message = error.to_string();
    assert!(message.starts_with("acme.faulty/entry: `sigmas` was stopped: more instructions than"), "{message}");
    assert!(message.contains("in sigmas"), "{message}");
}

#[test]
fn memory_without_end_is_refused_with_the_limit() {
    let error = failure("(loop $again (drop (memory.grow (i32.const 160))) (br $again)) (unreachable)");
    assert_eq!(error.code, ErrorCode::BudgetExhausted);
    assert!(error.message.contains("where 67108864 are allowed"), "{error}");
}

#[test]
fn a_larger_memory_is_what_the_manifest_asks_for() {
    let body = format!("(drop (memory.grow (i32.const 1600))) {} {RETURN_THREE}", three(["3", "2", "1"]));
    let plugin = Workshop::new().discretization("", &body);
    let grid = |plugin: super::WasmPlugin| plugin.discretization("entry", &Map::new()).unwrap().sigmas(3);
    assert_eq!(grid(plugin.clone()).unwrap_err().code, ErrorCode::BudgetExhausted);
    assert_eq!(grid(plugin.with_memory_mib(128)).unwrap(), [3.0, 2.0, 1.0]);
}

#[test]
fn a_trap_is_told_with_the_guests_last_words() {
    let log = "(call $log (i32.const 4) (i32.const 128) (i32.const 33) (i32.const 0) (i32.const 0)) (unreachable)";
    let error = failure(log);
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(error.message.contains("`unreachable` instruction executed"), "{error}");
    assert!(error.message.contains("last error line: panicked at src/lib.rs:6: told to"), "{error}");
    assert!(failure("(call $sigmas (local.get $n))").message.contains("stack"), "recursion without end");
    assert!(failure("(i32.load (i32.const 1000000))").message.contains("out of bounds"), "a wild pointer");
}

#[test]
fn a_list_that_is_not_there_is_refused() {
    assert_eq!(failure("(call $ok (i32.const 4096) (i32.const 100000000))").code, ErrorCode::Internal);
}

#[test]
fn results_that_break_the_contract_name_the_rule() {
    let cases = [
        (["3", "2", "2"], "returned sigmas that do not decrease: 2 then 2 at 1"),
        (["nan", "2", "1"], "returned sigma 0 = NaN, which is not positive and finite"),
        (["3", "2", "-1"], "returned sigma 2 = -1, which is not positive and finite"),
    ];
    for (values, rule) in cases {
        let error = failure(&(three(values) + RETURN_THREE));
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::Numeric, rule));
    }
    let short = three(["3", "2", "1"]) + "(call $ok (i32.const 4096) (i32.const 2))";
    assert_eq!(failure(&short).to_string(), "acme.faulty/entry: returned 2 sigmas for n = 3");
}

#[test]
fn an_error_of_the_plugins_own_keeps_its_path() {
    let error = failure("(call $err)");
    let expected = ComponentError::new("acme.faulty/entry", ErrorCode::Numeric, "panicked at src/lib.rs:6: told to");
    assert_eq!(format!("{error:?}"), format!("{:?}", expected.at("/rho")));
}

#[test]
fn after_a_trap_a_fresh_store_serves() {
    // The first call of an instance traps, unless it asks for two sigmas.
    let body = format!(
        "(if (i32.eq (local.get $n) (i32.const 3)) (then (unreachable))) {} (call $ok (i32.const 4096) (i32.const 2))",
        three(["3", "2", "1"])
    );
    let mut grid = Workshop::new().discretization("", &body).discretization("entry", &Map::new()).unwrap();
    assert_eq!(grid.sigmas(2).unwrap(), [3.0, 2.0]);
    assert!(grid.sigmas(3).is_err());
    assert_eq!(grid.sigmas(2).unwrap(), [3.0, 2.0]);
}

#[test]
fn faults_in_init_are_told_before_any_call() {
    let workshop = Workshop::new();
    let start =
        |init: &str| workshop.discretization(init, "(unreachable)").discretization("entry", &Map::new()).err().unwrap();
    assert_eq!(start("(loop $again (br $again))").code, ErrorCode::BudgetExhausted);
    assert_eq!(start("(return (call $err))").config_path.as_deref(), Some("/rho"));
}

#[test]
fn a_plugin_of_another_kind_is_refused() {
    let plugin = Workshop::new().discretization("", "(unreachable)");
    let error = plugin.weighting("entry", &Map::new()).err().unwrap();
    assert_eq!(error.to_string(), "acme.faulty/entry: the component does not export anneal:plugin/weighting");
}

#[test]
fn files_that_are_no_plugin_are_refused_with_a_remedy() {
    let workshop = Workshop::new();
    let refused = |bytes: &[u8]| workshop.load(bytes).err().unwrap().to_string();
    assert!(refused(b"not a component").contains("faulty.wasm is no component"));
    let wasi = wat::parse_str(r#"(component (import "wasi:cli/stdout@0.2.0" (instance)))"#).unwrap();
    let message = refused(&wasi);
    assert!(message.contains("imports wasi:cli/stdout@0.2.0") && message.contains("--stub-wasi"), "{message}");
    let newer = wat::parse_str(r#"(component (import "anneal:plugin/tensors@1.9.0" (instance)))"#).unwrap();
    let message = refused(&newer);
    assert!(message.contains("needs anneal:plugin/tensors@1.9.0, and the host has version 1.0.0"), "{message}");
}

/// A model that doubles, counts its calls, and fails or stops the run when told to.
#[derive(Default)]
struct Doubling {
    calls: u32,
    fail_at: Option<u32>,
    stop: bool,
}

impl Denoise for Doubling {
    fn denoise(&mut self, x: &Tensor, _sigma: f64) -> Result<Tensor, ComponentError> {
        self.calls += 1;
        if self.fail_at == Some(self.calls) {
            return Err(ComponentError::new("network", ErrorCode::Internal, "out of luck"));
        }
        Ok(x * 2.0)
    }

    fn gaussian(&mut self) -> Tensor {
        Tensor::zeros([1], (tch::Kind::Float, tch::Device::Cpu))
    }

    fn progress(&mut self, _step: u32, _total: u32, _sigma: f64) -> bool {
        !self.stop
    }
}

fn sample(calls: u32, latents: u32, body: &str, model: &mut Doubling) -> Result<f64, ComponentError> {
    let mut sampler = Workshop::new().sampler(calls, latents, body).sampler("entry", &Map::new())?;
    let sample = sampler.sample(Tensor::from_slice(&[8.0_f32]), &[2.0, 1.0, 0.0], model)?;
    Ok(sample.double_value(&[0]))
}

/// Calls the model on `$x` at sigma 1, and drops the answer if there is one.
const CALL_MODEL: &str = "(call $denoise (local.get $x) (f64.const 1) (i32.const 1024))
    (if (i32.eqz (i32.load8_u (i32.const 1024))) (then (call $drop (i32.load (i32.const 1028)))))";

#[test]
fn a_samplers_latents_come_and_go() {
    let mut model = Doubling::default();
    let denoised = "(call $denoise (local.get $x) (f64.const 1) (i32.const 1024)) (call $drop (local.get $x))
        (call $ok (i32.load (i32.const 1028)) (i32.const 0))";
    assert_eq!(sample(1, 2, denoised, &mut model).unwrap(), 16.0);
    assert_eq!(model.calls, 1);
}

#[test]
fn calls_past_the_estimate_do_not_reach_the_model() {
    let mut model = Doubling::default();
    let body = format!("{} (call $ok (local.get $x) (i32.const 0))", CALL_MODEL.repeat(5));
    assert_eq!(sample(2, 2, &body, &mut model).unwrap(), 8.0);
    assert_eq!(model.calls, 2);
}

#[test]
fn estimates_past_the_hosts_limits_are_refused() {
    let error = sample(33, 2, "(unreachable)", &mut Doubling::default()).unwrap_err();
    assert_eq!(error.message, "estimates 33 calls of the model for 2 steps; at most 32 are allowed");
    assert!(sample(1, 17, "(unreachable)", &mut Doubling::default()).is_err());
}

#[test]
fn the_models_own_failure_is_what_the_caller_gets() {
    let mut model = Doubling { fail_at: Some(2), ..Doubling::default() };
    let body = format!("{} (call $err)", CALL_MODEL.repeat(3));
    assert_eq!(sample(9, 2, &body, &mut model).unwrap_err().to_string(), "network: out of luck");
}

#[test]
fn a_sampler_that_goes_on_after_a_stop_is_stopped() {
    let mut model = Doubling { stop: true, ..Doubling::default() };
    let body = format!(
        "(drop (call $progress (i32.const 1) (i32.const 2) (f64.const 1))) (loop $again {CALL_MODEL} (br $again))
        (unreachable)"
    );
    let error = sample(9, 2, &body, &mut model).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::Cancelled, "the run was stopped"));
    assert_eq!(model.calls, 0);
}

#[test]
fn an_endless_sampler_runs_out_of_fuel() {
    let error = sample(1, 2, "(loop $again (br $again)) (unreachable)", &mut Doubling::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::BudgetExhausted);
}

#[test]
fn a_diverged_sample_is_an_error() {
    let mut sampler =
        Workshop::new().sampler(1, 2, "(call $ok (local.get $x) (i32.const 0))").sampler("entry", &Map::new()).unwrap();
    let x = Tensor::from_slice(&[f32::NAN]);
    let error = sampler.sample(x, &[1.0, 0.0], &mut Doubling::default()).unwrap_err();
    assert_eq!(error.message, "the sample is not finite");
}

#[test]
fn a_model_that_panics_unwinds_to_the_caller() {
    struct Panicking;
    impl Denoise for Panicking {
        fn denoise(&mut self, _x: &Tensor, _sigma: f64) -> Result<Tensor, ComponentError> {
            panic!("a bug of ours")
        }
        fn gaussian(&mut self) -> Tensor {
            unreachable!("no noise is drawn")
        }
        fn progress(&mut self, _step: u32, _total: u32, _sigma: f64) -> bool {
            true
        }
    }
    let body = format!("{CALL_MODEL} (call $ok (local.get $x) (i32.const 0))");
    let mut sampler = Workshop::new().sampler(1, 2, &body).sampler("entry", &Map::new()).unwrap();
    let run = || sampler.sample(Tensor::from_slice(&[1.0_f32]), &[1.0, 0.0], &mut Panicking).map(drop);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug of ours"));
}

/// Sigmas that are a million less the readings of the clock, and 500,000 where the environment is empty.
const READ_WASI: &str = r#"
    (f64.store (i32.const 4096) (f64.sub (f64.const 1000000) (f64.convert_i64_u (call $now))))
    (f64.store (i32.const 4104) (f64.sub (f64.const 1000000) (f64.convert_i64_u (call $now))))
    (call $environment (i32.const 96))
    (f64.store (i32.const 4112) (f64.const 500000))
    (if (i32.load (i32.const 100)) (then (unreachable)))
    (if (i64.eq (call $draw) (call $draw)) (then (unreachable)))
    (call $print)"#;

#[test]
fn wasi_that_is_asked_for_has_nothing_behind_it_and_is_the_same_in_every_instance() {
    let workshop = Workshop::new();
    let plugin = workshop.with_wasi(&format!("{READ_WASI} {RETURN_THREE}"), true).unwrap();
    for _ in 0..2 {
        let mut grid = plugin.discretization("entry", &Map::new()).unwrap();
        assert_eq!(grid.sigmas(3).unwrap(), [1e6, 999_000.0, 500_000.0]);
        assert_eq!(grid.sigmas(3).unwrap(), [998_000.0, 997_000.0, 500_000.0]);
    }
    // The first random number of an instance, which no other machine or run changes.
    let first = "(f64.store (i32.const 4096) (f64.convert_i64_u (call $draw)))
        (f64.store (i32.const 4104) (f64.const 2)) (f64.store (i32.const 4112) (f64.const 1))";
    let plugin = workshop.with_wasi(&format!("{first} {RETURN_THREE}"), true).unwrap();
    let drawn = plugin.discretization("entry", &Map::new()).unwrap().sigmas(3).unwrap()[0];
    assert_eq!(drawn, 0xe220_a839_7b1d_cdaf_u64 as f64);
}

#[test]
fn wasi_stops_a_plugin_that_asks_it_for_more_and_is_refused_unasked() {
    let workshop = Workshop::new();
    let plugin = workshop.with_wasi("(drop (call $network)) (unreachable)", true).unwrap();
    let error = plugin.discretization("entry", &Map::new()).unwrap().sigmas(3).unwrap_err();
    assert!(error.message.contains("called instance-network of wasi:sockets/instance-network"), "{error}");
    let refused = workshop.with_wasi("(unreachable)", false).err().unwrap().to_string();
    assert!(refused.contains("imports wasi:") && refused.contains("`wasi = \"null\"`"), "{refused}");
}
