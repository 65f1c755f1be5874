//! Lets the binary find libtorch without help when it is started by hand.

fn main() {
    if let Ok(lib) = std::env::var("DEP_ANNEAL_TORCH_LIB") {
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{lib}");
    }
}
