//! WASI with nothing behind it, for toolchains that import it unasked: no files, arguments, environment or network; a clock
//! that counts its readings, random numbers that are the same in every instance, and output that goes to the log.
//!
//! What a component imports is linked by its own types, so that every 0.2 version of WASI is served, and functions that
//! nobody calls cost nothing. What has no answer here stops the plugin when it is called.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, Resource, ResourceAny, ResourceType, Val};
use wasmtime::{Engine, Result, StoreContextMut};

use super::bindings::anneal::plugin::log::Level;
use super::state::HostState;

/// What every WASI resource is here; the number of a handle tells streams apart.
struct Nothing;

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;
const POLLABLE: u32 = 3;

/// Bytes of a line of output before it is logged as it is.
const LINE_BYTES: usize = 4096;
/// Bytes that a guest may ask for at once.
const RANDOM_BYTES: u64 = 64 << 10;
/// What a reading of the clock moves it by, in nanoseconds.
const TICK_NS: u64 = 1000;

/// What an instance has of WASI.
#[derive(Debug, Default)]
pub struct NullWasi {
    clock_ns: u64,
    random: u64,
    /// Output that has no end of line yet, of stdout and stderr.
    lines: [Vec<u8>; 2],
}

impl NullWasi {
    fn read_clock(&mut self) -> u64 {
        let now = self.clock_ns;
        self.clock_ns += TICK_NS;
        now
    }

    /// SplitMix64 (Steele et al. 2014): no secret, and none is to be had here.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

/// Whether an import is WASI's.
pub fn is_wasi(name: &str) -> bool {
    name.starts_with("wasi:")
}

/// Links all of WASI that a component imports.
pub fn link(linker: &mut Linker<HostState>, component: &Component, engine: &Engine) -> Result<()> {
    for (name, import) in component.component_type().imports(engine).filter(|(name, _)| is_wasi(name)) {
        let ComponentItem::ComponentInstance(instance) = import.ty else { continue };
        let mut linked = linker.instance(name)?;
        let interface = name.trim_start_matches("wasi:").split('@').next().unwrap_or_default();
        for (export, item) in instance.exports(engine) {
            match item.ty {
                ComponentItem::Resource(_) => {
                    linked.resource(export, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_) => {
                    let (interface, function) = (interface.to_owned(), export.to_owned());
                    linked.func_new(export, move |mut store, _, arguments, results| {
                        let answer = answer(&mut store, &interface, &function, arguments)?;
                        results.iter_mut().zip(answer).for_each(|(result, value)| *result = value);
                        Ok(())
                    })?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// What a function returns: one value, or none.
fn answer(
    store: &mut StoreContextMut<'_, HostState>,
    interface: &str,
    function: &str,
    arguments: &[Val],
) -> Result<Option<Val>> {
    let handles = handles(store, arguments)?;
    let ok = |value: Option<Val>| Some(Val::Result(Ok(value.map(Box::new))));
    let closed = || Some(Val::Result(Err(Some(Box::new(Val::Variant("closed".to_owned(), None))))));
    let name = function.rsplit('.').next().unwrap_or(function);
    Ok(match (interface, name) {
        ("cli/environment", "get-environment" | "get-arguments") | ("filesystem/preopens", "get-directories") => {
            Some(Val::List(Vec::new()))
        }
        ("cli/environment", "initial-cwd") => Some(Val::Option(None)),
        ("cli/terminal-stdin" | "cli/terminal-stdout" | "cli/terminal-stderr", _) => Some(Val::Option(None)),
        ("cli/stdin", _) => Some(resource(store, STDIN)?),
        ("cli/stdout", _) => Some(resource(store, STDOUT)?),
        ("cli/stderr", _) => Some(resource(store, STDERR)?),
        ("io/streams", "read" | "blocking-read" | "skip" | "blocking-skip") => closed(),
        ("io/streams", "check-write") => ok(Some(Val::U64(LINE_BYTES as u64))),
        ("io/streams", "write" | "blocking-write-and-flush") => {
            let stream = handles.first().copied().unwrap_or(STDOUT);
            print(store.data_mut(), stream, arguments.get(1));
            ok(None)
        }
        ("io/streams", "flush" | "blocking-flush") => ok(None),
        ("io/streams", "subscribe") | ("clocks/monotonic-clock", "subscribe-instant" | "subscribe-duration") => {
            Some(resource(store, POLLABLE)?)
        }
        ("io/poll", "block") => None,
        ("io/poll", "ready") => Some(Val::Bool(true)),
        ("io/poll", "poll") => Some(Val::List((0..handles.len() as u32).map(Val::U32).collect())),
        ("clocks/monotonic-clock", "now") => Some(Val::U64(store.data_mut().wasi.read_clock())),
        ("clocks/monotonic-clock", "resolution") => Some(Val::U64(TICK_NS)),
        ("clocks/wall-clock", "now") => Some(time(store.data_mut().wasi.read_clock())),
        ("clocks/wall-clock", "resolution") => Some(time(TICK_NS)),
        ("random/random", "get-random-u64") | ("random/insecure", "get-insecure-random-u64") => {
            Some(Val::U64(store.data_mut().wasi.draw()))
        }
        ("random/random", "get-random-bytes") | ("random/insecure", "get-insecure-random-bytes") => {
            let count = match arguments.first() {
                Some(Val::U64(count)) if *count <= RANDOM_BYTES => *count,
                _ => return Err(wasmtime::Error::msg(format!("asked for more than {RANDOM_BYTES} random bytes"))),
            };
            let wasi = &mut store.data_mut().wasi;
            Some(Val::List((0..count).map(|_| Val::U8((wasi.draw() >> 56) as u8)).collect()))
        }
        ("random/insecure-seed", _) => {
            let wasi = &mut store.data_mut().wasi;
            Some(Val::Tuple(vec![Val::U64(wasi.draw()), Val::U64(wasi.draw())]))
        }
        _ => {
            let message = format!("called {function} of wasi:{interface}, which has nothing behind it for plugins");
            return Err(wasmtime::Error::msg(message));
        }
    })
}

fn resource(store: &mut StoreContextMut<'_, HostState>, number: u32) -> Result<Val> {
    Ok(Val::Resource(ResourceAny::try_from_resource(Resource::<Nothing>::new_own(number), store)?))
}

/// The numbers of the handles among arguments. A handle that is lent for the call is given back by this.
fn handles(store: &mut StoreContextMut<'_, HostState>, arguments: &[Val]) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for argument in arguments {
        match argument {
            Val::Resource(handle) => numbers.push(handle.try_into_resource::<Nothing>(&mut *store)?.rep()),
            Val::List(values) if values.iter().any(|value| matches!(value, Val::Resource(_))) => {
                numbers.extend(handles(store, values)?);
            }
            _ => {}
        }
    }
    Ok(numbers)
}

fn time(ns: u64) -> Val {
    let second = 1_000_000_000;
    Val::Record(vec![
        ("seconds".to_owned(), Val::U64(ns / second)),
        ("nanoseconds".to_owned(), Val::U32((ns % second) as u32)),
    ])
}

/// Logs whole lines of output; those of stderr as errors, so that a report of a plugin that is stopped has the last.
fn print(state: &mut HostState, stream: u32, contents: Option<&Val>) {
    let Some(Val::List(bytes)) = contents else { return };
    let (line, level) = if stream == STDERR { (1, Level::Error) } else { (0, Level::Info) };
    for byte in bytes {
        let Val::U8(byte) = byte else { continue };
        let pending = &mut state.wasi.lines[line];
        if *byte != b'\n' {
            pending.push(*byte);
        }
        if *byte == b'\n' || pending.len() >= LINE_BYTES {
            let text = String::from_utf8_lossy(&std::mem::take(pending)).into_owned();
            state.write_log(level, &text, "{}");
        }
    }
}
