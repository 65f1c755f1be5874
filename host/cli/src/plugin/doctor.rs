//! `anneal plugin doctor`: what authors of plugins need, what is there, and how to get the rest.

use std::path::{Path, PathBuf};

use clap::Args;

use super::compile::{CompilerOfC, INSTALL_WASM_C, componentize_py, componentize_qjs, wasm_compiler};
use super::language::Language;
use super::tools::{INSTALL_RUST, add_wasm_target, has_wasm_target, version};
use crate::exit::{Exit, Failure};

/// Arguments of `plugin doctor`.
#[derive(Debug, Args)]
pub struct Doctor {}

/// A tool, what was found of it, and what it is for.
struct Tool {
    name: &'static str,
    found: Option<String>,
    what_for: &'static str,
    remedy: String,
}

impl Doctor {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        for (language, tools) in tools() {
            println!("{language}");
            for Tool { name, found, what_for, remedy } in tools {
                println!("  {name:<17} {}", found.as_deref().unwrap_or("MISSING"));
                println!("  {:<17} for {what_for}", "");
                if found.is_none() {
                    println!("  {:<17} {remedy}", "");
                }
            }
        }
        Ok(Exit::Done)
    }
}

/// The tools of each language, as seen from the working directory.
fn tools() -> Vec<(Language, Vec<Tool>)> {
    let here = Path::new(".");
    let tool = |name, found, what_for, remedy: &str| Tool { name, found, what_for, remedy: remedy.to_owned() };
    let package = |name: &str| format!("install {name} with your system's packages, `apt install {name}` on Debian");
    let libtorch = format!("{}, which this anneal runs", anneal_torch::tensor::torch_version());
    let shown = |path: PathBuf| path.display().to_string();
    let prepare =
        |language: Language| format!("run `{}` in the plugin's folder", language.prepare().unwrap_or_default());
    let rust = vec![
        tool("cargo", version("cargo", "--version"), "building; `anneal plugin build` runs it", INSTALL_RUST),
        tool(
            "wasm target",
            has_wasm_target(here).then(|| anneal_packaging::WASM_TARGET.to_owned()),
            "every kind but embedders",
            &add_wasm_target(),
        ),
        tool("cc", version("cc", "--version"), "the C++ parts of embedders that use tch", &package("g++")),
        tool("libtorch", Some(libtorch), "embedders that use tch, built against the same minor version", ""),
    ];
    let c = vec![
        tool("cc", version("cc", "--version"), "embedders", &package("gcc")),
        tool(
            "clang or zig",
            wasm_compiler(here).as_ref().map(CompilerOfC::shown),
            "the other kinds, with a linker and a C library for wasm32",
            INSTALL_WASM_C,
        ),
    ];
    let js = vec![
        tool("node", version("node", "--version"), "componentize-qjs and tests", &package("nodejs npm")),
        tool(
            "componentize-qjs",
            componentize_qjs(here).map(shown),
            "building: from sources and QuickJS to a component",
            &prepare(Language::Js),
        ),
    ];
    let python = vec![
        tool(
            "python3",
            version("python3", "--version"),
            "componentize-py and tests",
            &package("python3 python3-venv python3-pip"),
        ),
        tool(
            "componentize-py",
            componentize_py(here).map(shown),
            "building: from sources and CPython to a component",
            &prepare(Language::Python),
        ),
    ];
    vec![(Language::Rust, rust), (Language::C, c), (Language::Js, js), (Language::Python, python)]
}
