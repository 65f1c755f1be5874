//! From a core WASM module to a component.

use wit_component::ComponentEncoder;

/// Wraps a module that wit-bindgen has annotated, and validates the result. No WASI adapter is given, so a module that
/// imports WASI does not pass.
///
/// # Errors
/// Why the module is no component, in one or more lines.
pub fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(module).and_then(|encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_that_are_no_module_are_refused() {
        assert!(super::encode(b"\x7fELF").is_err());
    }

    #[test]
    fn an_empty_module_becomes_a_component() {
        let component = super::encode(b"\0asm\x01\0\0\0").unwrap();
        // The fifth to eighth byte tell a component (version 13, layer 1) from a module.
        assert_eq!(component[4..8], [13, 0, 1, 0]);
    }
}
