//! Compiles the C++ shim against the libtorch that torch-sys found, and tells dependents where that is.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=cpp");
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        panic!("torch-sys did not say where libtorch is; run `cargo xtask setup`");
    };
    let Some(include) = lib.parent().map(|root| root.join("include")) else {
        panic!("{} has no parent folder", lib.display());
    };
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").warnings(false).include(&include).include(include.join("torch/csrc/api/include"));
    // Loops of our own want the vectoriser: it starts at level 3, and not where a comparison could trap.
    let mut loops = build.clone();
    loops.opt_level(3).flag_if_supported("-fno-trapping-math");
    // `at::parallel_for` is a plain loop without OpenMP. The threads have to be libtorch's, which are GCC's.
    let threads = loops.get_compiler().is_like_gnu();
    if threads {
        loops.flag("-fopenmp");
    }
    for file in ["geglu", "small_conv", "winograd", "winograd_time"] {
        loops.file(format!("cpp/{file}.cpp"));
    }
    loops.compile("anneal_torch_loops");
    for file in ["ops", "checkpoint", "conv", "count", "gpu", "dispatch", "dispatch_find", "dispatch_value"] {
        build.file(format!("cpp/{file}.cpp"));
    }
    build.opt_level(2).compile("anneal_torch_shim");
    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    if threads {
        println!("cargo:rustc-link-lib=gomp");
    }
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    // Dependents read this as DEP_ANNEAL_TORCH_LIB.
    println!("cargo:lib={}", lib.display());
}
