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

/// Whether bytes are a component rather than a core module: byte 4 to 7 hold its version, 13, and its layer, 1.
pub fn is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm") && bytes.get(4..8) == Some(&[13, 0, 1, 0])
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_that_are_no_module_are_refused() {
        assert!(super::encode(b"\x7fELF").is_err());
    }

    #[test]
    fn an_empty_module_becomes_a_component() {
        let module = b"\0asm\x01\0\0\0";
        let component = super::encode(module).unwrap();
        assert!(super::is_component(&component) && !super::is_component(module));
    }
}
