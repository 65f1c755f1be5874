//! The parts of the SDK that a build puts beside a plugin's sources: whoever has this program needs no checkout.

/// The WIT package, by file name.
pub const WIT: [(&str, &str); 3] = [
    ("types.wit", include_str!("../../../../plugin-api/wit/v1/types.wit")),
    ("schedules.wit", include_str!("../../../../plugin-api/wit/v1/schedules.wit")),
    ("sampler.wit", include_str!("../../../../plugin-api/wit/v1/sampler.wit")),
];

/// Around plugins in JavaScript.
pub const JS: &str = include_str!("../../../../plugin-api/js/anneal.js");

/// Around plugins in Python.
pub const PYTHON: &str = include_str!("../../../../plugin-api/python/anneal.py");

/// The headers of native plugins.
pub const NATIVE: [(&str, &str); 2] = [
    ("anneal_plugin.h", include_str!("../../../../plugin-api/include/anneal_plugin.h")),
    ("anneal_json.h", include_str!("../../../../plugin-api/include/anneal_json.h")),
];

/// Around WASM plugins in C of every kind.
pub const C: [(&str, &str); 4] = [
    ("anneal.h", include_str!("../../../../plugin-api/c/anneal.h")),
    ("serving.h", include_str!("../../../../plugin-api/c/serving.h")),
    ("settings.c", include_str!("../../../../plugin-api/c/settings.c")),
    ("lifecycle.c", include_str!("../../../../plugin-api/c/lifecycle.c")),
];

/// What there is for a kind of plugin in C.
pub struct CKind {
    /// The kind.
    pub kind: &'static str,
    /// Its exports: file name and text.
    pub exports: (&'static str, &'static str),
    /// The generated bindings.
    pub bindings: [(&'static str, &'static str); 2],
    /// The encoded world, which the component carries.
    pub world: &'static [u8],
}

macro_rules! c_kind {
    ($kind:literal) => {
        CKind {
            kind: $kind,
            exports: (concat!($kind, ".c"), include_str!(concat!("../../../../plugin-api/c/", $kind, ".c"))),
            bindings: [
                ("component.h", include_str!(concat!("../../../../plugin-api/c/bindings/", $kind, "/component.h"))),
                ("component.c", include_str!(concat!("../../../../plugin-api/c/bindings/", $kind, "/component.c"))),
            ],
            world: include_bytes!(concat!("../../../../plugin-api/src/wasm/worlds/", $kind, ".bin")),
        }
    };
}

/// The kinds that can be written in C.
pub const C_KINDS: [CKind; 5] = [
    c_kind!("discretization"),
    c_kind!("sigma-sampling"),
    c_kind!("guidance"),
    c_kind!("learning-rate"),
    c_kind!("weighting"),
];
