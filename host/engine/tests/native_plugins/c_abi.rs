//! The C ABI as a plugin in C uses it, in its own version and in others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anneal::conditioner::{Init, Slot};
use anneal::error::ErrorCode;
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A plugin directory with the plugin in C, compiled with these macros.
struct Plain {
    dir: TempDir,
}

impl Plain {
    fn compiled(macros: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("test.plain");
        fs::create_dir(&folder).unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let output = Command::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I"])
            .arg(here.join("../../plugin-api/include"))
            .args(macros.iter().map(|name| format!("-D{name}")))
            .arg(here.join("tests/native_plugins/plain.c"))
            .arg("-o")
            .arg(folder.join("libplain.so"))
            .output()
            .expect("a C compiler is needed to build anneal");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let plain = Self { dir };
        plain.write("schema.json", "{\"type\": \"object\"}");
        plain.manifest("");
        plain
    }

    fn write(&self, file: &str, text: &str) {
        let folder = self.dir.path().join("test.plain");
        fs::write(folder.join(file), text).unwrap();
        for file in fs::read_dir(&folder).unwrap() {
            fs::set_permissions(file.unwrap().path(), PermissionsExt::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Writes the manifest, with a table more.
    fn manifest(&self, more: &str) {
        let arch = std::env::consts::ARCH;
        let text = format!(
            "schema-version = 1\nid = \"test.plain\"\nversion = \"1.0.0\"\n\
             [artifact.{arch}-unknown-linux-gnu]\npath = \"libplain.so\"\n{more}\n\
             [[entry]]\nname = \"white\"\nkind = \"embedder\"\nschema = \"schema.json\"\n"
        );
        self.write("plugin.toml", &text);
    }

    fn embedder(&self) -> Result<Box<dyn Embedder>, ComponentError> {
        make(&mut registry(self.dir.path()), "white", json!({}))
    }

    fn error(&self) -> String {
        self.embedder().err().unwrap().to_string()
    }
}

#[test]
fn a_plugin_in_c_declares_draws_and_emits() {
    let plain = Plain::compiled(&[]);
    let embedder = plain.embedder().unwrap();
    let decl = &embedder.params()[0];
    assert_eq!((decl.name.as_str(), &decl.shape[..], decl.init), ("offset", &[1, 3][..], Init::Uniform { bound: 0.5 }));
    assert!(decl.buffer);
    let offset = Tensor::from_slice2(&[[1.0_f32, 2.0, 3.0]]);
    let outputs = call(embedder.as_ref(), &offset, std::slice::from_ref(&offset), 1).unwrap();
    assert_eq!((outputs[0].slot, outputs[1].slot), (Some(Slot::Vector), None));
    // The draws are the length of "white"; the parameter comes back as it is, by another handle.
    assert_eq!(Vec::<f32>::try_from(outputs[0].tensor.get(0)).unwrap(), [5.0, 5.0, 5.0]);
    assert_eq!(outputs[1].tensor.data_ptr(), offset.data_ptr());
    drop(outputs);
    assert_eq!(offset.double_value(&[0, 2]), 3.0);
}

#[test]
fn a_plugin_in_c_reports_its_own_errors() {
    let plain = Plain::compiled(&[]);
    let error = make(&mut registry(plain.dir.path()), "white", json!({ "width": 3 })).err().unwrap();
    assert_eq!((error.code, error.config_path.as_deref()), (ErrorCode::InvalidConfig, Some("/width")));
    assert_eq!(error.to_string(), "test.plain/white: create: takes no settings");
}

/// The example of plugin-api, compiled into a plugin directory.
fn class_in_c() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("test.class-c");
    fs::create_dir_all(folder.join("schema")).unwrap();
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugin-api");
    for file in ["plugin.toml", "schema/class-c.json"] {
        fs::copy(sdk.join("examples/class-c").join(file), folder.join(file)).unwrap();
    }
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared", "-fPIC", "-I"])
        .arg(sdk.join("include"))
        .arg(sdk.join("examples/class-c/class.c"))
        .arg("-o")
        .arg(folder.join("libclass_c.so"))
        .output()
        .expect("a C compiler is needed to build anneal");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for path in ["", "schema", "plugin.toml", "schema/class-c.json", "libclass_c.so"] {
        fs::set_permissions(folder.join(path), PermissionsExt::from_mode(0o755)).unwrap();
    }
    dir
}

#[test]
fn an_embedder_in_c_computes_with_the_hosts_operations() {
    let dir = class_in_c();
    let embedder = make(&mut registry(dir.path()), "class-c", json!({ "n_classes": 3, "dim": 2 })).unwrap();
    assert_eq!(
        (embedder.params()[0].name.as_str(), &embedder.params()[0].shape[..]),
        ("embedding.weight", &[3, 2][..])
    );
    let table = Tensor::from_slice2(&[[0_f32, 1.0], [2.0, 3.0], [4.0, 5.0]]).set_requires_grad(true);
    let run = |labels: &Tensor| call(embedder.as_ref(), labels, &[table.shallow_clone()], 2);
    let error = run(&Tensor::from_slice(&[0.5_f32, 1.0])).unwrap_err();
    assert!(error.message.starts_with("forward: `aten::embedding`: libtorch: "), "{error}");
    let outputs = run(&Tensor::from_slice(&[2_i64, 1])).unwrap();
    assert_eq!(Vec::<f32>::try_from(outputs[0].tensor.flatten(0, -1)).unwrap(), [4.0, 5.0, 2.0, 3.0]);
    outputs[0].tensor.square().sum(Kind::Float).backward();
    assert_eq!(Vec::<f32>::try_from(table.grad().flatten(0, -1)).unwrap(), [0.0, 0.0, 4.0, 6.0, 8.0, 10.0]);
}

#[test]
fn other_versions_are_refused_before_anything_is_called() {
    let cases: [(&[&str], &str); 9] = [
        (&["MAJOR=9"], "speaks plugin ABI 9.x, this anneal 1.1: build it with a plugin-api of ABI 1"),
        (&["MINOR_MIN=7"], "speaks plugin ABI 1.7, this anneal 1.1: update anneal"),
        (&["TORCH=\"1.13.0\""], "was built with libtorch 1.13.0, this anneal runs 2.11."),
        (&["SMALL"], "its entry's struct has 8 bytes, at least "),
        (&["NULL_ENTRY"], "is no anneal plugin: its entry returned nothing"),
        (&["EXTENSION=\"acme.other/1\""], "it has neither embedders nor weightings"),
        (&["SHORT_TABLE"], "the plugin lacks create, destroy or forward"),
        (&["DESCRIPTOR=\"{\""], "its description of itself is no JSON"),
        (&["anneal_plugin_entry_v1=another_entry"], "is no anneal plugin: it exports no `anneal_plugin_entry_v1`"),
    ];
    for (macros, expected) in cases {
        let error = Plain::compiled(macros).error();
        assert!(error.contains(expected), "{macros:?}: {error}");
        assert!(error.contains("test.plain"), "{error}");
    }
}

#[test]
fn a_manifest_that_lies_is_found_out() {
    let undescribed = Plain::compiled(&["DESCRIPTOR=\"{\\\"entries\\\":[]}\""]).error();
    assert!(undescribed.contains("lists the embedder `white`, which the plugin does not have"), "{undescribed}");
    let linked = Plain::compiled(&["TORCH=\"2.11.0\""]).error();
    assert!(linked.contains("says that the plugin uses no libtorch, but it is built with 2.11.0"), "{linked}");
}

#[test]
fn the_manifests_libtorch_is_compared_before_the_library_is_opened() {
    let plain = Plain::compiled(&[]);
    plain.manifest("[torch]\nlink = \"exact\"\nversion = \"1.13\"");
    plain.write("libplain.so", "not a library at all");
    assert!(plain.error().contains("was built with libtorch 1.13, this anneal runs 2.11."), "{}", plain.error());
}

#[test]
fn what_is_no_library_is_refused_with_the_linkers_reason() {
    let plain = Plain::compiled(&[]);
    plain.write("libplain.so", "not a library at all");
    let error = plain.error();
    assert!(error.contains("cannot be loaded: ") && error.contains("libplain.so: file too short"), "{error}");
}
