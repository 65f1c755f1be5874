//! The native library: what it exports and needs, and that it starts on hosts older and newer than this one.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::PathBuf;
use std::time::Instant;

use anneal::conditioner::Embedder;
use anneal::config::PluginKind;
use anneal::plugin::native::probe::{self, Table};
use anneal::plugin::native::report_crashes;
use anneal::plugin::{EntryRef, Example, Runtime, TorchLink};
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, FileHeader64, SHT_DYNSYM, SHT_SYMTAB, STB_LOCAL};
use object::read::elf::{Dyn, FileHeader, Sym};
use object::{Endianness, read};

use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::process_state::ProcessState;
use crate::subject::Subject;
use crate::trial::{AsEmbedder, Trial, sigmas_example};

/// Libraries that every system with anneal has.
const SYSTEM: &[&str] = &[
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libgomp.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
];
/// Libraries of libtorch.
const TORCH: &[&str] = &["libtorch.so", "libtorch_cpu.so", "libtorch_cuda.so", "libc10.so", "libc10_cuda.so"];
/// The one symbol that a plugin exports.
const ENTRY: &str = "anneal_plugin_entry_v1";
/// A symbol of which a process may have one: where libtorch's operations are found.
const DISPATCHER: &str = "_ZN3c1010Dispatcher13realSingletonEv";

pub const CHECKS: &[Check] = &[
    Check::new(
        "N03",
        "needed-libraries",
        Level::L0,
        Scope::Library,
        "The library needs no others than the system's and, if it says so, libtorch's, and looks for them in no folder \
         of its author's.",
        needed_libraries,
    ),
    Check::new(
        "N02",
        "no-libtorch-inside",
        Level::L0,
        Scope::Library,
        "The library has no libtorch of its own linked into it.",
        no_libtorch_inside,
    ),
    Check::new(
        "N12",
        "torch-link",
        Level::L0,
        Scope::Library,
        "The library needs libtorch if, and only if, the manifest's [torch] says link = \"exact\".",
        torch_link,
    ),
    Check::new(
        "N04",
        "loads",
        Level::L0,
        Scope::Library,
        "The library loads with all symbols bound, starts, and describes the entries and schemas that the manifest lists.",
        |subject| subject.library().map(drop),
    )
    .gate(),
    Check::new(
        "N01",
        "exports-only-the-entry",
        Level::L1,
        Scope::Library,
        "The library exports anneal_plugin_entry_v1 and nothing else, so that it stands in no other's way.",
        exports_only_the_entry,
    ),
    Check::new(
        "N05",
        "loads-fast",
        Level::L1,
        Scope::Library,
        "The library loads in less than half a second.",
        loads_fast,
    )
    .advisory(),
    Check::new(
        "N06",
        "loading-has-no-side-effects",
        Level::L1,
        Scope::Library,
        "Loading and starting leave threads, processes, open files, environment, working directory, signal handlers, umask \
         and rounding as they were.",
        no_side_effects,
    ),
    Check::new(
        "N07",
        "entry-is-constant",
        Level::L1,
        Scope::Library,
        "The entry returns the same from four threads, and the plugin can be started twice.",
        entry_is_constant,
    ),
    Check::new(
        "N08",
        "versions-make-sense",
        Level::L0,
        Scope::Library,
        "The least minor version it can do with is not above the one it is built for.",
        versions,
    ),
    Check::new(
        "N09",
        "newer-host",
        Level::L1,
        Scope::Library,
        "On a host of a later minor version, whose functions are more, it works as on this one.",
        |subject| works_on(subject, |_| Table::Newer),
    ),
    Check::new(
        "N10",
        "older-host",
        Level::L1,
        Scope::Library,
        "On a host of the least minor version that it names, whose functions are fewer, it works as on this one.",
        |subject| works_on(subject, Table::Older),
    ),
    Check::new(
        "N11",
        "unknown-extensions",
        Level::L1,
        Scope::Library,
        "Asked for an extension that does not exist, the plugin has none.",
        unknown_extensions,
    ),
    Check::new(
        "N13",
        "unknown-entry-is-refused",
        Level::L1,
        Scope::Library,
        "An embedder with the name of an entry that is not there is refused.",
        unknown_entry,
    ),
];

fn path(subject: &mut Subject) -> Result<PathBuf, Finding> {
    let path = subject.plugin()?.artifact(Runtime::Native);
    path.ok_or_else(|| Finding::fail("there is no artifact for this machine"))
}

/// What can be read of a library without running it.
#[derive(Debug, Default)]
struct Elf {
    needed: Vec<String>,
    searched: Vec<String>,
    exported: BTreeSet<String>,
    defined: BTreeSet<String>,
}

fn elf(subject: &mut Subject) -> Result<Elf, Finding> {
    let bytes = std::fs::read(path(subject)?).map_err(|error| Finding::fail(error.to_string()))?;
    parse(&bytes).map_err(|error| Finding::fail(format!("the library cannot be read: {error}")))
}

fn parse(bytes: &[u8]) -> Result<Elf, read::Error> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let mut elf = Elf::default();
    if let Some((entries, link)) = sections.dynamic(endian, bytes)? {
        let strings = sections.strings(endian, bytes, link)?;
        for entry in entries {
            let list = match entry.tag(endian) {
                DT_NEEDED => &mut elf.needed,
                DT_RPATH | DT_RUNPATH => &mut elf.searched,
                _ => continue,
            };
            list.push(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned());
        }
    }
    for table in [SHT_DYNSYM, SHT_SYMTAB] {
        let symbols = sections.symbols(endian, bytes, table)?;
        for symbol in symbols.iter().filter(|symbol| !symbol.is_undefined(endian)) {
            if table == SHT_DYNSYM && symbol.st_bind() == STB_LOCAL {
                continue;
            }
            let name = String::from_utf8_lossy(symbol.name(endian, symbols.strings())?).into_owned();
            if table == SHT_DYNSYM {
                elf.exported.insert(name);
            } else {
                elf.defined.insert(name);
            }
        }
    }
    Ok(elf)
}

fn exports_only_the_entry(subject: &mut Subject) -> Found {
    let mut exported = elf(subject)?.exported;
    demand!(exported.remove(ENTRY), "the library does not export {ENTRY}");
    let some: Vec<&str> = exported.iter().take(5).map(String::as_str).collect();
    demand!(
        exported.is_empty(),
        "the library exports {} other symbols, {}{}; link it with `-Wl,--exclude-libs,ALL` and hide your own",
        exported.len(),
        some.join(", "),
        if exported.len() > some.len() { " .." } else { "" }
    );
    Ok(())
}

fn no_libtorch_inside(subject: &mut Subject) -> Found {
    let elf = elf(subject)?;
    let inside = elf.exported.contains(DISPATCHER) || elf.defined.contains(DISPATCHER);
    demand!(!inside, "the library defines {DISPATCHER}; link libtorch as a shared library");
    Ok(())
}

fn needed_libraries(subject: &mut Subject) -> Found {
    let elf = elf(subject)?;
    for library in elf.needed {
        let is_known = [SYSTEM, TORCH].concat().contains(&library.as_str());
        demand!(
            is_known,
            "the library needs {library}, which is neither the system's nor libtorch's; link it statically"
        );
    }
    for folders in elf.searched {
        let own = folders.split(':').find(|folder| folder.starts_with('/'));
        demand!(own.is_none(), "the library looks for others in {folders}; link it without an rpath");
    }
    Ok(())
}

fn torch_link(subject: &mut Subject) -> Found {
    let needed = elf(subject)?.needed;
    let needs = needed.iter().find(|library| TORCH.contains(&library.as_str()));
    match (subject.plugin()?.torch(), needs) {
        (TorchLink::None, Some(library)) => {
            Err(Finding::fail(format!("the library needs {library}, and the manifest says link = \"none\"")))
        }
        (TorchLink::Exact { .. }, None) => {
            Err(Finding::fail("the manifest says link = \"exact\", and the library does not need libtorch"))
        }
        _ => Ok(()),
    }
}

fn loads_fast(subject: &mut Subject) -> Found {
    let start = Instant::now();
    subject.library()?;
    let seconds = start.elapsed().as_secs_f64();
    demand!(seconds < 0.5, "it took {seconds:.2} s");
    Ok(())
}

fn no_side_effects(subject: &mut Subject) -> Found {
    subject.plugin()?;
    // The host's own handlers.
    report_crashes();
    let before = ProcessState::now();
    subject.library()?;
    match before.change(&ProcessState::now()) {
        Some(change) => Err(Finding::fail(format!("loading the library changed {change}"))),
        None => Ok(()),
    }
}

fn entry_is_constant(subject: &mut Subject) -> Found {
    subject.library()?;
    let path = path(subject)?;
    let first = probe::numbers(&path).map_err(|error| Finding::fail(error.to_string()))?;
    let again = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| probe::numbers(&path).ok())).collect();
        threads.into_iter().map(|thread| thread.join().ok().flatten()).collect::<Vec<_>>()
    });
    demand!(again.iter().all(|again| *again == Some(first)), "the entry returned {first:?} and then {again:?}");
    subject.trace("starting it again");
    subject.plugin()?.library(Table::Counting).map(drop).map_err(|error| Finding::fail(error.to_string()))
}

fn versions(subject: &mut Subject) -> Found {
    let numbers = probe::numbers(&path(subject)?).map_err(|error| Finding::fail(error.to_string()))?;
    demand!(
        numbers.minor_least <= numbers.minor_built,
        "it is built for 1.{} and needs 1.{}",
        numbers.minor_built,
        numbers.minor_least
    );
    Ok(())
}

fn works_on(subject: &mut Subject, table: impl Fn(u16) -> Table) -> Found {
    let least = probe::numbers(&path(subject)?).map_err(|error| Finding::fail(error.to_string()))?.minor_least;
    let table = table(least);
    subject.trace(format!("starting on {table:?}"));
    let plugin = subject.plugin()?;
    let failed = |what: &dyn std::fmt::Display| Finding::fail(format!("on {table:?}: {what}"));
    let library = plugin.library(table).map_err(|error| failed(&error))?;
    let first = plugin.entries().find(|entry| entry.runtime() == Runtime::Native);
    let Some((kind, name, example)) =
        first.and_then(|entry| Some((entry.kind(), entry.name().to_owned(), first_example(entry)?)))
    else {
        return Ok(());
    };
    let embedder: Box<dyn Embedder> = match kind {
        PluginKind::Weighting => {
            Box::new(AsEmbedder(library.weighting(&name, &example.config).map_err(|error| failed(&error))?))
        }
        _ => library.embedder(&name, &example.config).map_err(|error| failed(&error))?,
    };
    if example.inputs.is_empty() {
        return Ok(());
    }
    subject.trace(format!("forward of {name} on {table:?}"));
    let trial = Trial::new(embedder, example, tch::Kind::Float, true);
    trial.embed(&trial.batch(&[1, 2])).map(drop).map_err(|error| failed(&error))
}

/// What the first call of an entry is made with.
fn first_example(entry: EntryRef<'_>) -> Option<Example> {
    match entry.kind() {
        PluginKind::Weighting => Some(sigmas_example(entry.examples().first()?.config.clone())),
        _ => entry.examples().first().cloned(),
    }
}

fn unknown_extensions(subject: &mut Subject) -> Found {
    subject.library()?;
    let path = path(subject)?;
    let long = "x".repeat(4096);
    for id in ["anneal.embedder/1x", "anneal.embedder", "anneal.weighting/2", "", &long] {
        let id = CString::new(id).map_err(|error| Finding::fail(error.to_string()))?;
        subject.trace("asking for an extension that does not exist");
        let has = probe::has_extension(&path, &id).map_err(|error| Finding::fail(error.to_string()))?;
        demand!(!has, "it has the extension `{}`", id.to_string_lossy().chars().take(40).collect::<String>());
    }
    Ok(())
}

fn unknown_entry(subject: &mut Subject) -> Found {
    let library = subject.library()?;
    let config =
        subject.plugin()?.entries().find_map(|entry| entry.examples().first().map(|first| first.config.clone()));
    subject.trace("an embedder that is not there");
    match library.embedder("no-such-entry", &config.unwrap_or_default()) {
        Ok(_) => Err(Finding::fail("it made an embedder that is not there")),
        Err(_) => Ok(()),
    }
}
