//! Embedders that do what they must not: each fault is reported under their name, and the host goes on.

use anneal::error::ErrorCode;
use anneal_torch::grad_mode;
use serde_json::json;

use super::*;

fn faulty(fault: &str) -> Result<Box<dyn Embedder>, ComponentError> {
    make(&mut registry(&installed("test-plugins")), "faulty", json!({ "fault": fault }))
}

fn run(embedder: &dyn Embedder) -> Result<Vec<Embedded>, ComponentError> {
    let input = Tensor::ones([2, 3], (Kind::Float, Device::Cpu));
    call(embedder, &input, &[Tensor::ones([1], (Kind::Float, Device::Cpu))], 2)
}

/// The error of an embedder with this fault.
fn error(fault: &str) -> ComponentError {
    let error = run(faulty(fault).unwrap().as_ref()).unwrap_err();
    assert_eq!(error.component, "test.faulty-native/faulty");
    error
}

#[test]
fn each_fault_is_an_error_that_names_it() {
    let cases = [
        ("error", ErrorCode::InvalidConfig, "forward: told to fail"),
        (
            "libtorch-error",
            ErrorCode::Internal,
            "forward: libtorch: mat1 and mat2 shapes cannot be multiplied (2x3 and 1000x3)",
        ),
        ("writes-to-input", ErrorCode::Internal, "forward: the plugin wrote to the input `input` in place"),
        ("writes-to-param", ErrorCode::Internal, "forward: the plugin wrote to the parameter `scale` in place"),
        ("wrong-rank", ErrorCode::InvalidArgument, "forward: an embedding of shape [2, 1, 3] cannot go to vector"),
        ("wrong-rows", ErrorCode::InvalidArgument, "its rows are no multiple of the 2 scenes"),
        ("integers", ErrorCode::InvalidArgument, "floating point is wanted"),
        ("no-output", ErrorCode::InvalidArgument, "forward: nothing was emitted"),
        ("undefined-output", ErrorCode::InvalidArgument, "forward: an emitted tensor is undefined"),
        ("wrong-draw", ErrorCode::InvalidArgument, "for `noise`: [3, 2] is no multiple of the scenes"),
    ];
    for (fault, code, text) in cases {
        let error = error(fault);
        assert!(error.message.contains(text), "{fault}: {error}");
        assert_eq!(error.code, code, "{fault}: {error}");
        assert!(!error.message.contains("Exception raised from"), "{error}");
    }
    assert_eq!(error("error").config_path.as_deref(), Some("/fault"));
}

#[test]
fn after_an_error_the_instance_still_works() {
    let embedder = faulty("none").unwrap();
    let wrong = Tensor::ones([2, 3], (Kind::Float, Device::Cpu));
    assert!(
        call(embedder.as_ref(), &wrong, &[], 2)
            .unwrap_err()
            .message
            .contains("1 parameters were declared, 0 are given")
    );
    assert_eq!(run(embedder.as_ref()).unwrap()[0].tensor.size(), [2, 3]);
}

#[test]
fn a_panic_is_an_error_with_its_place_and_ends_the_instance() {
    let embedder = faulty("panic").unwrap();
    let error = run(embedder.as_ref()).unwrap_err();
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(error.message.starts_with("forward: panicked: told to panic with 2 scenes (at "), "{error}");
    assert!(error.message.contains("faulty-native/src/lib.rs:"), "{error}");
    let again = run(embedder.as_ref()).unwrap_err();
    assert!(again.message.contains("an earlier panic left this instance unusable"), "{again}");
    // Another instance of the same plugin is not affected.
    assert!(run(faulty("none").unwrap().as_ref()).is_ok());
}

#[test]
fn a_panic_of_libtorchs_wrapper_is_the_error_of_libtorch() {
    let error = error("libtorch-panic");
    assert!(
        error.message.starts_with("forward: panicked: libtorch: mat1 and mat2 shapes cannot be multiplied"),
        "{error}"
    );
    assert!(!error.message.contains("Exception raised from"), "{error}");
}

#[test]
fn faults_before_the_first_call() {
    let error = faulty("panic-in-new").err().unwrap();
    assert!(error.message.starts_with("create: panicked: told to panic in new"), "{error}");
    let error = faulty("same-param-twice").err().unwrap();
    assert!(error.message.contains("the parameter `scale` is declared twice"), "{error}");
    let error = faulty("no-such-fault").err().unwrap();
    assert_eq!(error.code, ErrorCode::InvalidConfig);
    assert!(error.message.contains("/fault"), "{error}");
}

#[test]
fn the_process_is_as_it_was() {
    let threads = tch::get_num_threads();
    assert!(grad_mode::enabled());
    assert!(run(faulty("grad-mode-off").unwrap().as_ref()).is_ok());
    assert!(grad_mode::enabled());
    assert_eq!(tch::get_num_threads(), threads);
}
