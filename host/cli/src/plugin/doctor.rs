//! `anneal plugin doctor`: what authors of plugins need, what is there, and how to get the rest.

use std::path::Path;

use clap::Args;

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
        for Tool { name, found, what_for, remedy } in tools() {
            println!("{name:<12} {}", found.as_deref().unwrap_or("MISSING"));
            println!("{:<12} for {what_for}", "");
            if found.is_none() {
                println!("{:<12} {remedy}", "");
            }
        }
        Ok(Exit::Done)
    }
}

fn tools() -> Vec<Tool> {
    let tool = |name, found, what_for, remedy: &str| Tool { name, found, what_for, remedy: remedy.to_owned() };
    let package = |name: &str| format!("install {name} with your system's packages, `apt install {name}` on Debian");
    let libtorch = format!("{}, which this anneal runs", anneal_torch::tensor::torch_version());
    vec![
        tool("cargo", version("cargo", "--version"), "plugins in Rust; `anneal plugin build` runs it", INSTALL_RUST),
        tool(
            "wasm target",
            has_wasm_target(Path::new(".")).then(|| anneal_packaging::WASM_TARGET.to_owned()),
            "Rust plugins of every kind but embedders",
            &add_wasm_target(),
        ),
        tool(
            "libtorch",
            Some(libtorch),
            "native plugins that use tch, which must be built against the same minor version",
            "",
        ),
        tool("cc", version("cc", "--version"), "embedders in C, and the C++ parts of those in Rust", &package("g++")),
        tool(
            "clang",
            version("clang", "--version"),
            "WASM plugins in C, with lld and a libc for wasm32",
            &package("clang lld wasi-libc libclang-rt-dev-wasm32"),
        ),
        tool(
            "node",
            version("node", "--version"),
            "WASM plugins in JavaScript, with componentize-qjs",
            &package("nodejs"),
        ),
        tool(
            "python",
            version("python3", "--version"),
            "WASM plugins in Python, with componentize-py",
            &package("python3"),
        ),
    ]
}
