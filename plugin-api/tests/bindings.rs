//! The committed bindings are those of the WIT files; `UPDATE_BINDINGS=1 cargo test -p plugin-api` writes them.
//!
//! They are committed, not made by a macro, so that a plugin author compiles no WIT parser: a plugin builds in seconds, and
//! one in C needs a C compiler alone.

use std::path::{Path, PathBuf};

use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::Opts;
use wit_component::StringEncoding;

/// What a generated file says of itself first; the generator's own lines name its options.
const GENERATED: &str = "Bindings of the WIT files, generated: do not edit.";

/// A world of the SDK's own: bindings of every kind are made at once, so that they share their types.
const EVERY_KIND: &str = "
package anneal:sdk;
world every-kind {
    include anneal:plugin/discretization-plugin@1.0.0;
    include anneal:plugin/sigma-sampling-plugin@1.0.0;
    include anneal:plugin/guidance-plugin@1.0.0;
    include anneal:plugin/learning-rate-plugin@1.0.0;
    include anneal:plugin/weighting-plugin@1.0.0;
    include anneal:plugin/sampler-plugin@1.0.0;
}";

const KINDS: [&str; 6] = ["discretization", "sigma-sampling", "guidance", "learning-rate", "weighting", "sampler"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn resolve() -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let (plugin, _) = resolve.push_dir(root().join("wit/v1")).expect("the WIT files are valid");
    let sdk = resolve.push_str("every-kind.wit", EVERY_KIND).expect("the world is valid");
    assert_ne!(plugin, sdk);
    let world = resolve.select_world(&[sdk], Some("every-kind")).expect("the world exists");
    (resolve, world)
}

fn rust_bindings(resolve: &mut Resolve, world: WorldId) -> Vec<u8> {
    let options = Opts {
        format: true,
        generate_all: true,
        pub_export_macro: true,
        disable_custom_section_link_helpers: true,
        runtime_path: Some("::wit_bindgen::rt".to_owned()),
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(resolve, world, &mut files).expect("bindings are generated");
    let (_, text) = files.iter().find(|(name, _)| name.ends_with(".rs")).expect("one Rust file");
    let text = std::str::from_utf8(text).unwrap();
    // What follows exports every kind from one component; `export_plugin!` exports the kinds a plugin has.
    let (bindings, _) = text.split_once("/// Generates `#[unsafe(no_mangle)]`").expect("the export macro comes last");
    format!("//! {GENERATED}\n{bindings}").into_bytes()
}

/// The header and the source of a kind's world, under names that are the same for every kind, so that what is written by
/// hand above them is, too. The world's encoding is not among them: who makes the component adds it.
fn c_bindings(resolve: &mut Resolve, world: WorldId) -> Vec<(String, Vec<u8>)> {
    let rename_world = Some("component".to_owned());
    let options = wit_bindgen_c::Opts { no_object_file: true, rename_world, ..Default::default() };
    let mut files = Files::default();
    options.build().generate(resolve, world, &mut files).expect("bindings are generated");
    let finished = |(name, bytes): (&str, &[u8])| {
        let text = std::str::from_utf8(bytes).unwrap();
        // What follows makes the linker want an object file with the encoding.
        let text = text.split_once("// Ensure that the *_component_type.o").map_or(text, |(before, _)| before);
        (name.to_owned(), format!("// {GENERATED}\n{}\n", text.trim_end()).into_bytes())
    };
    files.iter().map(finished).collect()
}

fn check(path: &Path, fresh: &[u8]) {
    if std::env::var_os("UPDATE_BINDINGS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, fresh).unwrap();
    }
    let committed = std::fs::read(path).unwrap_or_default();
    let hint = "UPDATE_BINDINGS=1 cargo test -p plugin-api --test bindings writes it";
    assert!(committed == fresh, "{} is stale; {hint}", path.display());
}

#[test]
fn committed_bindings_are_those_of_the_wit_files() {
    let (mut resolve, world) = resolve();
    let package = resolve.worlds[world].package.unwrap();
    for kind in KINDS {
        let name = format!("anneal:plugin/{kind}-plugin@1.0.0");
        let world = resolve.select_world(&[package], Some(&name)).expect("each kind has a world");
        let encoded = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None).unwrap();
        check(&root().join(format!("src/wasm/worlds/{kind}.bin")), &encoded);
        // There is no SDK for samplers in C.
        if kind != "sampler" {
            for (name, file) in c_bindings(&mut resolve, world) {
                check(&root().join("c/bindings").join(kind).join(name), &file);
            }
        }
    }
    let bindings = rust_bindings(&mut resolve, world);
    check(&root().join("src/wasm/bindings.rs"), &bindings);
}
