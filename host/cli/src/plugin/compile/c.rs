//! Plugins in C: WASM modules by clang or zig around the SDK's sources, and native libraries by the system's compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anneal_packaging::with_world;
use serde_json::Value;

use super::c_settings::{self, CSettings, is_identifier, literal};
use super::folder;
use super::script::not_in;
use crate::exit::{Exit, Failure};
use crate::plugin::language::Language;
use crate::plugin::sdk::{self, CKind};
use crate::plugin::source::Source;
use crate::plugin::{failed, tools};

/// How to get a compiler of C for WASM.
pub const INSTALL_WASM_C: &str = "install clang, lld, wasi-libc and libclang-rt-dev-wasm32 (on Debian 12 libclang-rt-14-dev-wasm32) with your system's \
     packages, or zig with `pip install ziglang`";

/// A compiler of C for WASM: the words of a command, to which flags and files are added.
pub struct CompilerOfC(Vec<String>);

impl CompilerOfC {
    fn new(words: &[&str]) -> Self {
        Self(words.iter().map(|word| (*word).to_owned()).collect())
    }

    /// The words of the command.
    pub fn shown(&self) -> String {
        self.0.join(" ")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.0[0]);
        command.args(&self.0[1..]);
        command
    }

    /// Whether it has what it needs: a linker and the C library for WASM.
    fn links(&self) -> bool {
        let Ok(dir) = tempfile::tempdir() else { return false };
        let (source, module) = (dir.path().join("probe.c"), dir.path().join("probe.wasm"));
        let probe =
            "#include <math.h>\n#include <stdlib.h>\nvoid *probe(double x) { return malloc((size_t)exp(x)); }\n";
        fs::write(&source, probe).is_ok() && tools::runs(self.command().args(LINK).arg(&source).arg("-o").arg(&module))
    }
}

/// Flags of a library that is called, not run: it has no `main`.
const LINK: [&str; 1] = ["-mexec-model=reactor"];

/// The first compiler that can make a WASM module of C: clang, or zig.
pub fn wasm_compiler(folder: &Path) -> Option<CompilerOfC> {
    let versions = (14..=22).rev().map(|version| format!("clang-{version}"));
    let clangs = std::iter::once("clang".to_owned()).chain(versions);
    let mut compilers: Vec<CompilerOfC> =
        clangs.map(|clang| CompilerOfC::new(&[&clang, "--target=wasm32-wasi"])).collect();
    let own = folder.join(".venv/bin/python").to_string_lossy().into_owned();
    for python in [own.as_str(), "python3"] {
        compilers.push(CompilerOfC::new(&[python, "-m", "ziglang", "cc", "-target", "wasm32-wasi"]));
    }
    compilers.push(CompilerOfC::new(&["zig", "cc", "-target", "wasm32-wasi"]));
    compilers.into_iter().find(CompilerOfC::links)
}

/// The native library, or the WASM module with the world of its kind.
pub fn compile(source: &Source, debug: bool) -> Result<PathBuf, Failure> {
    let optimise = if debug { "-O0" } else { "-O2" };
    if source.is_wasm { wasm(source, optimise) } else { native(source, optimise) }
}

fn native(source: &Source, optimise: &str) -> Result<PathBuf, Failure> {
    let Some(compiler) = ["cc", "gcc", "clang"].into_iter().find(|cc| tools::version(cc, "--version").is_some()) else {
        let help = "install gcc or clang with your system's packages, `apt install gcc` on Debian";
        return Err(failed("an embedder in C is built with a C compiler, and there is none", help));
    };
    let build = folder::fresh(&source.folder)?;
    for (name, text) in sdk::NATIVE {
        folder::write(&build, name, text)?;
    }
    let mut command = Command::new(compiler);
    command.args(["-std=c11", optimise, "-Wall", "-shared", "-fPIC", "-fvisibility=hidden", "-I", "build"]);
    command.args(sources(&source.folder)?).args(["-o", "build/plugin.so"]);
    folder::run(command.current_dir(&source.folder), &source.id)?;
    Ok(build.join("plugin.so"))
}

fn wasm(source: &Source, optimise: &str) -> Result<PathBuf, Failure> {
    let kind = only_kind(source)?;
    let compiler = wasm_compiler(&source.folder).ok_or_else(|| {
        failed("a WASM plugin in C is built with clang or zig, and neither can make a module here", INSTALL_WASM_C)
    })?;
    let build = folder::fresh(&source.folder)?;
    for (name, text) in sdk::C.iter().chain([&kind.exports]).chain(&kind.bindings) {
        folder::write(&build, name, text)?;
    }
    let descriptor = source.descriptor("c")?;
    let Glue { header, entries } = glue(kind.kind, &descriptor)?;
    folder::write(&build, "plugin.h", header)?;
    folder::write(&build, "entries.c", entries)?;
    let mut command = compiler.command();
    command.args(LINK).args(["-std=c11", optimise, "-Wall", "-I", "build", "-Wl,--strip-debug"]);
    command.args(sources(&source.folder)?);
    for name in ["entries.c", "settings.c", "lifecycle.c", kind.exports.0, "component.c"] {
        command.arg(Path::new(folder::BUILD).join(name));
    }
    command.args(["-o", "build/plugin.wasm"]);
    folder::run(command.current_dir(&source.folder), &source.id)?;
    let module = build.join("plugin.wasm");
    let bytes = fs::read(&module)
        .map_err(|error| Failure::new(Exit::Disk, format!("cannot read {}: {error}", module.display())))?;
    folder::write(&build, "plugin.wasm", with_world(bytes, kind.kind, kind.world))
}

/// The plugin's own files, below its folder.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::new(Exit::Disk, format!("cannot read {}: {error}", folder.display()));
    let entries = fs::read_dir(folder.join("src")).map_err(unreadable)?;
    let files = entries.filter_map(|entry| Some(PathBuf::from("src").join(entry.ok()?.file_name())));
    let mut files: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|end| end == "c")).collect();
    files.sort();
    Ok(files)
}

/// The one kind of the plugin's entries: a module's exports are fixed by the bindings that it is linked with.
fn only_kind(source: &Source) -> Result<&'static CKind, Failure> {
    let mut kinds: Vec<String> = source.entries().map(|entry| entry.kind).collect();
    kinds.sort();
    kinds.dedup();
    match kinds.as_slice() {
        [] => Err(failed(format!("{} has no entry", source.id), "write an [[entry]] into plugin.toml")),
        [kind] => sdk::C_KINDS.iter().find(|known| known.kind == kind).ok_or_else(|| not_in(Language::C, kind)),
        many => {
            let what = format!("{} has entries of several kinds: {}", source.id, many.join(", "));
            Err(failed(what, "a WASM plugin in C has one kind; make a plugin for each"))
        }
    }
}

/// What is made of the manifest and the schemas.
struct Glue {
    header: String,
    entries: String,
}

const MADE: &str = "/* Made by `anneal plugin build` of plugin.toml and the schemas: do not edit. */\n";

/// The declarations for the plugin, and the table for the SDK.
fn glue(kind: &str, descriptor: &Value) -> Result<Glue, Failure> {
    let mut header = format!("{MADE}#ifndef PLUGIN_H\n#define PLUGIN_H\n\n#include \"anneal.h\"\n");
    let mut entries = format!("{MADE}#include <math.h>\n\n#include \"plugin.h\"\n\n");
    let mut rows = String::new();
    let all = descriptor["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    for entry in all {
        let name = entry["name"].as_str().unwrap_or_default();
        let prefix = prefix(name);
        if !is_identifier(&prefix) {
            let what = format!("functions in C cannot begin with the entry's name, `{name}`");
            return Err(failed(what, "name the entry differently in plugin.toml"));
        }
        let CSettings { declaration, table } = c_settings::settings(&prefix, &entry["schema"])?;
        let (functions, function, draw) = functions(kind, &prefix);
        header.push_str(&format!("\n/* Settings of the {kind} `{name}`. */\n{declaration}\n{functions}"));
        entries.push_str(&table);
        rows.push_str(&format!(
            "    {{{}, {prefix}_table, {prefix}_count, sizeof({prefix}_settings),\n     \
             (void (*)(const void *)){prefix}_check, (void (*)(void)){function}, {draw}}},\n",
            literal(name),
        ));
    }
    header.push_str("\n#endif\n");
    entries.push_str(&format!("\nconst anneal_entry anneal_entries[] = {{\n{rows}}};\n"));
    entries.push_str(&format!("const size_t anneal_num_entries = {};\n", all.len()));
    entries.push_str(&format!("const char anneal_descriptor[] =\n    {};\n", literal(&descriptor.to_string())));
    Ok(Glue { header, entries })
}

/// An entry's name, as the names in C begin.
pub fn prefix(entry: &str) -> String {
    entry.replace('-', "_")
}

/// Prototypes of what a plugin defines for an entry, the name of the function of its kind, and the table's last column.
fn functions(kind: &str, prefix: &str) -> (String, String, String) {
    let settings = format!("const {prefix}_settings *settings");
    let check = format!(
        "/* What the schema cannot say of the settings: calls anneal_refuse where they contradict each other. */\n\
         void {prefix}_check({settings});\n"
    );
    let (name, comment, prototype) = match kind {
        "discretization" => (
            "sigmas",
            "n sigmas, strictly decreasing, positive and finite",
            format!("void {prefix}_sigmas({settings}, uint32_t n, double *sigmas);"),
        ),
        "guidance" => (
            "scales",
            "A row for each sigma, a column for each frame",
            format!(
                "void {prefix}_scales({settings}, const double *sigmas, size_t num_sigmas, uint32_t num_frames,\n    \
                 uint32_t num_views, double *scales);"
            ),
        ),
        "learning-rate" => (
            "factor",
            "The multiplier of the base rate for an optimizer step, counted from 0",
            format!("double {prefix}_factor({settings}, uint64_t step);"),
        ),
        "weighting" => (
            "weight",
            "The weight of the loss at a sigma",
            format!("double {prefix}_weight({settings}, double sigma);"),
        ),
        _ => (
            "sigma",
            "What the host draws, and the sigma that a draw becomes",
            format!("anneal_draw {prefix}_draw({settings});\ndouble {prefix}_sigma({settings}, double draw);"),
        ),
    };
    let draw = if name == "sigma" { format!("(void (*)(void)){prefix}_draw") } else { "NULL".to_owned() };
    (format!("{check}/* {comment}. */\n{prototype}\n"), format!("{prefix}_{name}"), draw)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_entry_has_a_struct_prototypes_and_a_row() {
        let schema = json!({ "properties": { "rho": { "type": "number", "default": 7.0 } } });
        let entry = |name: &str| json!({ "name": name, "kind": "discretization", "schema": schema });
        let Glue { header, entries } =
            glue("discretization", &json!({ "entries": [entry("my-grid"), entry("other")] })).unwrap();
        for prefix in ["my_grid", "other"] {
            assert!(header.contains(&format!("}} {prefix}_settings;")), "{header}");
            let prototype =
                format!("void {prefix}_sigmas(const {prefix}_settings *settings, uint32_t n, double *sigmas);");
            assert!(header.contains(&prototype), "{header}");
            assert!(entries.contains(&format!("(void (*)(void)){prefix}_sigmas, NULL}}")), "{entries}");
        }
        assert!(entries.contains("\"my-grid\"") && entries.contains("anneal_num_entries = 2"), "{entries}");
        let refused = glue("discretization", &json!({ "entries": [entry("double")] }));
        assert!(refused.err().unwrap().message.contains("`double`"));
    }
}
