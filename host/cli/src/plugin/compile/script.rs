//! Plugins in JavaScript and Python: their interpreter, their sources and the SDK around them become a component.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::folder::{self, BUILD};
use crate::exit::Failure;
use crate::plugin::language::Language;
use crate::plugin::source::Source;
use crate::plugin::{failed, sdk, tools};

/// The interfaces of the kinds, as JavaScript and Python call what implements them.
const INTERFACES: [(&str, &str, &str); 6] = [
    ("discretization", "discretization", "Discretization"),
    ("sigma-sampling", "sigmaSampling", "SigmaSampling"),
    ("guidance", "guidance", "Guidance"),
    ("learning-rate", "learningRate", "LearningRate"),
    ("weighting", "weighting", "Weighting"),
    (SAMPLER, "sampling", "Sampling"),
];

/// The kind that JavaScript cannot serve: componentize-qjs without the asynchronous ABI keeps the borrowed handle on noise
/// past the end of the call, which the component model forbids.
const SAMPLER: &str = "sampler";

/// The component that componentize-qjs makes of a plugin in JavaScript.
pub fn javascript(source: &Source) -> Result<PathBuf, Failure> {
    let tool = componentize_qjs(&source.folder).ok_or_else(|| {
        let what =
            "a plugin in JavaScript is built with componentize-qjs, which is neither in node_modules nor on PATH";
        failed(what, format!("run `npm install` in {}", source.folder.display()))
    })?;
    let interfaces = interfaces(source)?;
    let names: Vec<&str> = interfaces.iter().map(|(_, name, _)| *name).collect();
    let descriptor = source.descriptor("js")?.to_string();
    let entry = format!(
        "// Made by `anneal plugin build`: do not edit.\n\
         import {{ entries }} from \"../src/plugin.js\";\n\
         import {{ serve }} from \"./anneal.js\";\n\n\
         export const {{ lifecycle, {} }} = serve({}, entries);\n",
        names.join(", "),
        text(&descriptor),
    );
    let build = begin(source, &interfaces)?;
    folder::write(&build, "anneal.js", sdk::JS)?;
    folder::write(&build, "entry.js", entry)?;
    let mut command = Command::new(tool);
    command.args(["--wit", "build/wit", "--world", "built", "--js", "build/entry.js", "--module-root", "."]);
    command.args(["--sync", "--opt-size", "--output", "build/plugin.wasm"]).args(without_wasi(source));
    folder::run(command.current_dir(&source.folder), &source.id)?;
    Ok(build.join("plugin.wasm"))
}

/// The component that componentize-py makes of a plugin in Python.
pub fn python(source: &Source) -> Result<PathBuf, Failure> {
    let tool = componentize_py(&source.folder).ok_or_else(|| {
        let what = "a plugin in Python is built with componentize-py, which is neither in .venv nor on PATH";
        let help = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt";
        failed(what, format!("run `{help}` in {}", source.folder.display()))
    })?;
    let interfaces = interfaces(source)?;
    let names: Vec<&str> = interfaces.iter().map(|(.., name)| *name).collect();
    let entry = format!(
        "\"\"\"Made by `anneal plugin build`: do not edit.\"\"\"\n\n\
         import anneal\nimport plugin\nfrom anneal import Lifecycle, {}\n\n\
         anneal.State.descriptor = {}\n\
         anneal.State.entries = plugin.entries\n",
        names.join(", "),
        text(&source.descriptor("python")?.to_string()),
    );
    let build = begin(source, &interfaces)?;
    folder::write(&build, "anneal.py", sdk::PYTHON)?;
    folder::write(&build, "entry.py", entry)?;
    let mut command = Command::new(tool);
    command.args(["--wit-path", "build/wit", "--world", "built", "componentize"]).args(without_wasi(source));
    command.args(["--python-path", BUILD, "--python-path", "src", "entry", "--output", "build/plugin.wasm"]);
    folder::run(command.current_dir(&source.folder), &source.id)?;
    Ok(build.join("plugin.wasm"))
}

/// What has the tools leave WASI out, unless the manifest asks for it.
fn without_wasi(source: &Source) -> Option<&'static str> {
    (!source.has_null_wasi()).then_some("--stub-wasi")
}

/// `componentize-qjs` of the plugin's folder, or on PATH.
pub fn componentize_qjs(folder: &Path) -> Option<PathBuf> {
    tools::found(folder, "node_modules/.bin", "componentize-qjs", "--help")
}

/// `componentize-py` of the plugin's folder, or on PATH.
pub fn componentize_py(folder: &Path) -> Option<PathBuf> {
    tools::found(folder, ".venv/bin", "componentize-py", "--version")
}

type Interface = (&'static str, &'static str, &'static str);

/// The interfaces that the plugin's kinds need.
fn interfaces(source: &Source) -> Result<Vec<Interface>, Failure> {
    let mut interfaces: Vec<Interface> = Vec::new();
    for entry in source.entries() {
        let can = |kind: &str| kind == entry.kind && (kind != SAMPLER || source.language == Language::Python);
        let interface = INTERFACES.iter().find(|(kind, ..)| can(kind));
        let interface = interface.ok_or_else(|| not_in(source.language, &entry.kind))?;
        if !interfaces.contains(interface) {
            interfaces.push(*interface);
        }
    }
    match interfaces.is_empty() {
        true => Err(failed(format!("{} has no entry", source.id), "write an [[entry]] into plugin.toml")),
        false => Ok(interfaces),
    }
}

/// A kind that cannot be written in a language.
pub fn not_in(language: Language, kind: &str) -> Failure {
    let help = format!("write it in Rust: `anneal plugin new vendor.name --kind {kind}`");
    failed(format!("an entry of the kind `{kind}` cannot be written in {language}"), help)
}

/// The fresh folder `build`, with the WIT files and a world of the kinds that the plugin has.
fn begin(source: &Source, interfaces: &[Interface]) -> Result<PathBuf, Failure> {
    let build = folder::fresh(&source.folder)?;
    let wit = build.join("wit");
    for (name, text) in sdk::WIT {
        folder::write(&wit, name, text)?;
    }
    let includes: String = interfaces.iter().map(|(kind, ..)| format!("  include {kind}-plugin;\n")).collect();
    folder::write(&wit, "built.wit", format!("package anneal:plugin@1.0.0;\n\nworld built {{\n{includes}}}\n"))?;
    Ok(build)
}

/// A text as JavaScript and Python write it: JSON's escapes are known to both.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_are_quoted_for_both_languages() {
        assert_eq!(super::text("a\"\\\n\u{1}é"), r#""a\"\\\n\u0001é""#);
    }
}
