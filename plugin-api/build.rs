//! Tells native plugins which libtorch they are built against, as its own header says.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Absent without the feature `tch`.
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else { return };
    let header = lib.with_file_name("include").join("torch/headeronly/version.h");
    let text = std::fs::read_to_string(&header).unwrap_or_else(|error| panic!("{}: {error}", header.display()));
    let part = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name));
        line.map(str::trim).unwrap_or_else(|| panic!("{} has no {name}", header.display())).to_owned()
    };
    let [major, minor, patch] = ["MAJOR", "MINOR", "PATCH"].map(|name| part(&format!("TORCH_VERSION_{name}")));
    println!("cargo:rustc-env=ANNEAL_TORCH_VERSION={major}.{minor}.{patch}");
    println!("cargo:rerun-if-changed={}", header.display());
}
