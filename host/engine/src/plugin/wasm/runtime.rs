//! The engine that compiles components, and the clock that interrupts them.

use std::path::Path;
use std::sync::Arc;

use semver::Version;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, OptLevel, RegallocAlgorithm};

use super::bindings::anneal::plugin::{log, tensors, types};
use super::cache::CodeCache;
use super::component::WasmPlugin;
use super::limits::{COMPONENT_BYTES, STACK_BYTES, TICK};
use super::null_wasi;
use super::state::HostState;
use crate::error::{ComponentError, ErrorCode};

/// The version of `anneal:plugin` that the host speaks.
const HOST_WIT: Version = Version::new(1, 0, 0);

/// Compiles and runs WASM plugins. Clones share one engine.
#[derive(Clone)]
pub struct WasmRuntime {
    engine: Engine,
    linker: Arc<Linker<HostState>>,
    cache: Option<CodeCache>,
    has_null_wasi: bool,
}

impl WasmRuntime {
    /// An engine with the limits and the determinism that plugins are promised.
    ///
    /// # Errors
    /// When this machine cannot run compiled code.
    pub fn new() -> Result<Self, ComponentError> {
        let failed =
            |error: wasmtime::Error| ComponentError::new("wasm runtime", ErrorCode::Internal, error.to_string());
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .consume_fuel(true)
            .epoch_interruption(true)
            // Same component and inputs, same bits, on every machine.
            .cranelift_nan_canonicalization(true)
            .wasm_relaxed_simd(false)
            .wasm_memory64(false)
            .max_wasm_stack(STACK_BYTES)
            // A guest computes for microseconds between calls of the model; what takes time is to compile it.
            .cranelift_opt_level(OptLevel::None)
            .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
        let engine = Engine::new(&config).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        types::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(failed)?;
        log::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(failed)?;
        tensors::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(failed)?;
        start_clock(&engine)?;
        Ok(Self { engine, linker: Arc::new(linker), cache: None, has_null_wasi: false })
    }

    /// The same, with compiled code kept for the next run.
    #[must_use]
    pub fn with_cache(self, cache: Option<CodeCache>) -> Self {
        Self { cache, ..self }
    }

    /// The same, for plugins whose manifest asks for a WASI with nothing behind it: no files, arguments, environment or
    /// network, a clock that counts its readings, the same random numbers in every instance, output to the log.
    #[must_use]
    pub fn with_null_wasi(self) -> Self {
        Self { has_null_wasi: true, ..self }
    }

    /// Compiles the component at `path`, for a plugin that messages call `id`. Nothing of it runs yet.
    ///
    /// # Errors
    /// When the file cannot be read, is no component, or imports what the host does not offer.
    pub fn load(&self, id: &str, path: &Path) -> Result<WasmPlugin, ComponentError> {
        let invalid = |message: String| ComponentError::new(id, ErrorCode::Unsupported, message);
        let size = std::fs::metadata(path).map_err(|error| invalid(format!("{}: {error}", path.display())))?.len();
        if size > COMPONENT_BYTES {
            return Err(invalid(format!("{}: {size} bytes, where {COMPONENT_BYTES} are allowed", path.display())));
        }
        let bytes = std::fs::read(path).map_err(|error| invalid(format!("{}: {error}", path.display())))?;
        let compiled = match &self.cache {
            Some(cache) => cache.component(&self.engine, &bytes),
            None => Component::from_binary(&self.engine, &bytes),
        };
        let component =
            compiled.map_err(|error| invalid(format!("{} is no component: {}", path.display(), error.root_cause())))?;
        check_imports(&component, &self.engine, self.has_null_wasi).map_err(invalid)?;
        let mut linker = self.linker.clone();
        if self.has_null_wasi {
            null_wasi::link(Arc::make_mut(&mut linker), &component, &self.engine)
                .map_err(|error| invalid(format!("{error:#}")))?;
        }
        let ready = linker.instantiate_pre(&component).map_err(|error| invalid(format!("{error:#}")))?;
        Ok(WasmPlugin::new(id, ready))
    }
}

/// Moves the engine's epoch while the engine lives. The thread holds no engine, so it ends with the last one.
fn start_clock(engine: &Engine) -> Result<(), ComponentError> {
    let weak = engine.weak();
    let clock = move || {
        loop {
            std::thread::sleep(TICK);
            let Some(engine) = weak.upgrade() else { break };
            engine.increment_epoch();
        }
    };
    let spawned = std::thread::Builder::new().name("wasm-clock".to_owned()).spawn(clock);
    spawned.map(drop).map_err(|error| ComponentError::new("wasm runtime", ErrorCode::Internal, error.to_string()))
}

/// Refuses imports by name before the linker does, with what to do about them.
fn check_imports(component: &Component, engine: &Engine, has_null_wasi: bool) -> Result<(), String> {
    let ty = component.component_type();
    let is_served = |name: &str| has_null_wasi && null_wasi::is_wasi(name);
    let imports = ty.imports(engine).map(|(name, _)| name.to_owned());
    let names: Vec<String> = imports.filter(|name| !is_served(name)).collect();
    let foreign: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !name.starts_with("anneal:plugin/")).collect();
    if !foreign.is_empty() {
        let wasi = foreign.iter().any(|name| null_wasi::is_wasi(name));
        let remedy = if wasi {
            "\nhelp: a plugin gets no WASI unasked; build for wasm32-unknown-unknown, give componentize-py and \
             componentize-qjs `--stub-wasi`, or write `wasi = \"null\"` below [capabilities] in plugin.toml, for one \
             without files, network, time or randomness"
        } else {
            "\nhelp: a plugin may import interfaces of anneal:plugin only"
        };
        return Err(format!("imports {}, which the host does not offer{remedy}", foreign.join(", ")));
    }
    for name in &names {
        let version = name.rsplit_once('@').and_then(|(_, version)| Version::parse(version).ok());
        let served = version.as_ref().is_some_and(|version| version.major == HOST_WIT.major && *version <= HOST_WIT);
        if !served {
            return Err(format!(
                "needs {name}, and the host has version {HOST_WIT}\nhelp: use an anneal that offers it"
            ));
        }
    }
    Ok(())
}
