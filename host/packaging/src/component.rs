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

/// A module with the encoded world of a kind, which tells the encoder what the module's exports mean: as plugins in Rust
/// carry it in their object code.
pub fn with_world(mut module: Vec<u8>, kind: &str, world: &[u8]) -> Vec<u8> {
    let name = format!("component-type:anneal:{kind}");
    let mut section = leb128(name.len());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(world);
    module.push(CUSTOM_SECTION);
    module.extend_from_slice(&leb128(section.len()));
    module.extend_from_slice(&section);
    module
}

/// The id of a section that only tools read.
const CUSTOM_SECTION: u8 = 0;

/// A number as modules hold it: seven bits a byte, the lowest first, the highest bit set but in the last.
fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
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

    #[test]
    fn a_world_is_a_section_at_the_end() {
        let module = super::with_world(b"\0asm\x01\0\0\0".to_vec(), "weighting", &[7; 200]);
        let section = &module[8..];
        // 31 bytes of name, one of its length, 200 of the world: 232 is 0xe8 0x01.
        assert_eq!(section[..4], [0, 0xe8, 0x01, 31]);
        assert_eq!(&section[4..35], b"component-type:anneal:weighting");
        assert_eq!(section.len(), 3 + 232);
    }
}
