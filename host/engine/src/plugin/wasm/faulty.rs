//! Components that misbehave, written by hand so that each does exactly one thing wrong.

use std::path::PathBuf;

use plugin_api::wasm::worlds;
use tempfile::TempDir;
use wit_bindgen_core::wit_parser::Resolve;
use wit_component::{ComponentEncoder, StringEncoding};

use super::{WasmPlugin, WasmRuntime};
use crate::error::ComponentError;

/// A bump allocator, an empty description, settings that are always right, and helpers for results.
const COMMON: &str = r#"
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 8192))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (block $enough (loop $more
      (br_if $enough (i32.le_u (global.get $next) (i32.shl (memory.size) (i32.const 16))))
      (drop (memory.grow (i32.const 1)))
      (br $more)))
    (local.get $at))
  (data (i32.const 16) "{\"sdk\":\"wat\"}")
  (data (i32.const 128) "panicked at src/lib.rs:6: told to")
  (data (i32.const 192) "/rho")
  (func (export "anneal:plugin/lifecycle@1.0.0#describe") (result i32)
    (call $pair (i32.const 16) (i32.const 13)))
  (func (export "anneal:plugin/lifecycle@1.0.0#check-config") (param i32 i32 i32 i32) (result i32)
    (call $pair (i32.const 0) (i32.const 0)))
  ;; a list or a text at 64
  (func $pair (param $ptr i32) (param $len i32) (result i32)
    (i32.store (i32.const 64) (local.get $ptr))
    (i32.store (i32.const 68) (local.get $len))
    (i32.const 64))
  ;; ok(list) or ok(handle) at 64
  (func $ok (param $ptr i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 64) (i32.const 0))
    (i32.store (i32.const 68) (local.get $ptr))
    (i32.store (i32.const 72) (local.get $len))
    (i32.const 64))
  ;; err { numeric, "panicked..", some("/rho") } at 64
  (func $err (result i32)
    (i32.store8 (i32.const 64) (i32.const 1))
    (i32.store8 (i32.const 68) (i32.const 3))
    (i32.store (i32.const 72) (i32.const 128))
    (i32.store (i32.const 76) (i32.const 33))
    (i32.store8 (i32.const 80) (i32.const 1))
    (i32.store (i32.const 84) (i32.const 192))
    (i32.store (i32.const 88) (i32.const 4))
    (i32.const 64))
"#;

/// Components in a folder of their own, and a runtime to load them.
pub struct Workshop {
    folder: TempDir,
    runtime: WasmRuntime,
}

impl Workshop {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), runtime: WasmRuntime::new().unwrap() }
    }

    /// A discretization with this body of `init` (before it returns ok) and of `sigmas`, whose argument is `$n`.
    pub fn discretization(&self, init: &str, sigmas: &str) -> WasmPlugin {
        let wat = format!(
            r#"(module
            (import "anneal:plugin/log@1.0.0" "write" (func $log (param i32 i32 i32 i32 i32)))
            {COMMON}
            (func (export "anneal:plugin/lifecycle@1.0.0#init") (param i32 i32 i32 i32) (result i32)
              {init}
              (call $ok (i32.const 0) (i32.const 0)))
            (func $sigmas (export "anneal:plugin/discretization@1.0.0#sigmas") (param $n i32) (result i32)
              {sigmas}))"#
        );
        self.load(&component(&wat, worlds::DISCRETIZATION)).unwrap()
    }

    /// A sampler with this cost and this body of `sample`, where `$x` is the latent.
    pub fn sampler(&self, denoise_calls: u32, live_latents: u32, sample: &str) -> WasmPlugin {
        let wat = format!(
            r#"(module
            (import "anneal:plugin/tensors@1.0.0" "[method]latent.denoise" (func $denoise (param i32 f64 i32)))
            (import "anneal:plugin/tensors@1.0.0" "[resource-drop]latent" (func $drop (param i32)))
            (import "anneal:plugin/tensors@1.0.0" "[resource-drop]noise" (func $drop_noise (param i32)))
            (import "anneal:plugin/tensors@1.0.0" "progress" (func $progress (param i32 i32 f64) (result i32)))
            {COMMON}
            (func (export "anneal:plugin/lifecycle@1.0.0#init") (param i32 i32 i32 i32) (result i32)
              (call $ok (i32.const 0) (i32.const 0)))
            (func (export "anneal:plugin/sampling@1.0.0#estimate") (param i32) (result i32)
              (i32.store (i32.const 64) (i32.const {denoise_calls}))
              (i32.store (i32.const 68) (i32.const {live_latents}))
              (i32.store8 (i32.const 72) (i32.const 0))
              (i32.const 64))
            (func $solve (param $x i32) (result i32)
              {sample})
            (func (export "anneal:plugin/sampling@1.0.0#sample")
              (param $x i32) (param i32 i32) (param $noise i32) (result i32)
              (local $result i32)
              (local.set $result (call $solve (local.get $x)))
              (call $drop_noise (local.get $noise))
              (local.get $result)))"#
        );
        self.load(&component(&wat, worlds::SAMPLER)).unwrap()
    }

    /// Loads bytes as the plugin `acme.faulty`.
    pub fn load(&self, bytes: &[u8]) -> Result<WasmPlugin, ComponentError> {
        self.runtime.load("acme.faulty", &self.write(bytes))
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("faulty.wasm");
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// A core module as a component of a world.
fn component(wat: &str, world: &[u8]) -> Vec<u8> {
    let mut module = wat::parse_str(wat).unwrap();
    carry(&mut module, "component-type:faulty", world);
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// Adds an encoded world to a module.
fn carry(module: &mut Vec<u8>, name: &str, world: &[u8]) {
    let mut section = vec![name.len() as u8];
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(world);
    module.push(0);
    // The section's length, in the variable-length form of five bytes.
    let length = section.len() as u32;
    module.extend((0..4).map(|i| 0x80 | (length >> (7 * i)) as u8 & 0x7f));
    module.push((length >> 28) as u8);
    module.extend(section);
}

/// As much of WASI as the test's component imports, in its own words.
const WASI: &str = "
package test:wasi;
world imports {
    import wasi:cli/environment@0.2.6;
    import wasi:cli/stdout@0.2.6;
    import wasi:clocks/monotonic-clock@0.2.6;
    import wasi:io/streams@0.2.6;
    import wasi:random/random@0.2.6;
    import wasi:sockets/instance-network@0.2.6;
}
package wasi:cli@0.2.6 {
    interface environment { get-environment: func() -> list<tuple<string, string>>; }
    interface stdout { use wasi:io/streams@0.2.6.{output-stream}; get-stdout: func() -> output-stream; }
}
package wasi:clocks@0.2.6 { interface monotonic-clock { now: func() -> u64; } }
package wasi:io@0.2.6 {
    interface streams {
        variant stream-error { last-operation-failed(string), closed }
        resource output-stream {
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        }
    }
}
package wasi:random@0.2.6 { interface random { get-random-u64: func() -> u64; } }
package wasi:sockets@0.2.6 { interface instance-network { resource network; instance-network: func() -> network; } }
";

impl Workshop {
    /// A discretization that imports WASI: `$now`, `$draw`, `$environment`, `$print`, `$network`.
    pub fn with_wasi(&self, sigmas: &str, has_null_wasi: bool) -> Result<WasmPlugin, ComponentError> {
        let wat = format!(
            r#"(module
            (import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $now (result i64)))
            (import "wasi:random/random@0.2.6" "get-random-u64" (func $draw (result i64)))
            (import "wasi:cli/environment@0.2.6" "get-environment" (func $environment (param i32)))
            (import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))
            (import "wasi:sockets/instance-network@0.2.6" "instance-network" (func $network (result i32)))
            (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush"
              (func $write (param i32 i32 i32 i32)))
            (import "wasi:io/streams@0.2.6" "[resource-drop]output-stream" (func $drop (param i32)))
            {COMMON}
            ;; the text at 128, and an end of line
            (func $print (local $stream i32)
              (i32.store8 (i32.const 161) (i32.const 10))
              (local.set $stream (call $stdout))
              (call $write (local.get $stream) (i32.const 128) (i32.const 34) (i32.const 96))
              (call $drop (local.get $stream)))
            (func (export "anneal:plugin/lifecycle@1.0.0#init") (param i32 i32 i32 i32) (result i32)
              (call $ok (i32.const 0) (i32.const 0)))
            (func (export "anneal:plugin/discretization@1.0.0#sigmas") (param $n i32) (result i32)
              {sigmas}))"#
        );
        let mut resolve = Resolve::default();
        let package = resolve.push_str("wasi.wit", WASI).unwrap();
        let world = resolve.select_world(&[package], Some("imports")).unwrap();
        let imports = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None).unwrap();
        let mut module = wat::parse_str(&wat).unwrap();
        carry(&mut module, "component-type:wasi", &imports);
        carry(&mut module, "component-type:faulty", worlds::DISCRETIZATION);
        let component = ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap();
        let runtime = self.runtime.clone();
        let runtime = if has_null_wasi { runtime.with_null_wasi() } else { runtime };
        runtime.load("acme.faulty", &self.write(&component))
    }
}
