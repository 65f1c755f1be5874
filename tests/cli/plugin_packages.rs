//! Plugins on their way to a run: packed, added, trusted, locked.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{Ran, anneal, command, path, train_args};

/// `anneal` of a user whose settings and plugins are in `home`.
fn at_home(home: &Path, args: &[&str]) -> Ran {
    let mut command = command(args);
    command.env("XDG_CONFIG_HOME", home.join("config")).env("XDG_DATA_HOME", home.join("data"));
    command.output().unwrap().into()
}

/// A bundled plugin under another name, so that it is not found twice.
fn renamed(dir: &Path, id: &str, version: &str) -> PathBuf {
    let folder = dir.join(format!("{id}-{version}"));
    fs::create_dir_all(folder.join("schema")).unwrap();
    let source = PathBuf::from(path("target/plugins/anneal.weightings"));
    for entry in fs::read_dir(&source).unwrap().chain(fs::read_dir(source.join("schema")).unwrap()) {
        let file = entry.unwrap().path();
        if file.is_file() {
            fs::copy(&file, folder.join(file.strip_prefix(&source).unwrap())).unwrap();
        }
    }
    let manifest = fs::read_to_string(folder.join("plugin.toml")).unwrap();
    let manifest = manifest.replace("\"anneal.weightings\"", &format!("\"{id}\""));
    let manifest = manifest.replace("version = \"0.1.0\"", &format!("version = \"{version}\""));
    fs::write(folder.join("plugin.toml"), manifest).unwrap();
    folder
}

#[test]
fn a_packed_plugin_is_added_found_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let folder = renamed(home, "acme.weights", "1.2.0");
    let (first, second) = (home.join("1.tar.zst"), home.join("2.tar.zst"));
    for file in [&first, &second] {
        anneal(&["plugin", "pack", &text(&folder), "-o", &text(file)]).succeeds();
    }
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());

    let checked = anneal(&["plugin", "check", &text(&first), "--level", "L0"]).succeeds();
    assert!(checked.out.contains("acme.weights/min-snr: weighting L0 ("), "{checked:?}");

    let added = at_home(home, &["plugin", "add", &text(&first)]).succeeds();
    assert!(added.out.contains("acme.weights 1.2.0 is in") && !added.out.contains("trust"), "{added:?}");
    let installed = home.join("data/anneal/plugins/acme.weights");
    assert!(installed.join("1.2.0/SHA256SUMS").is_file());
    let listed = at_home(home, &["plugin", "list"]).succeeds();
    assert!(listed.out.contains("acme.weights/min-snr"), "{listed:?}");
    let weights = at_home(home, &["plugin", "call", "acme.weights/min-snr", "weights", "2"]).succeeds();
    assert!(weights.out.contains("0.25"), "{weights:?}");
    assert!(at_home(home, &["plugin", "add", &text(&first)]).succeeds().out.contains("was already"));

    // The same version with other contents is another plugin; another version lies beside it.
    let schema = folder.join("schema/min-snr.json");
    let changed = fs::read_to_string(&schema).unwrap() + "\n";
    fs::write(&schema, changed).unwrap();
    at_home(home, &["plugin", "add", &text(&folder)]).fails(4, &["holds another acme.weights 1.2.0", "plugin remove"]);
    at_home(home, &["plugin", "add", &text(&renamed(home, "acme.weights", "2.0.0"))]).succeeds();
    let names = || -> Vec<_> { fs::read_dir(&installed).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
    assert_eq!(names().len(), 2);
    at_home(home, &["plugin", "remove", "acme.weights"]).fails(4, &["1.2.0", "2.0.0", "ID@VERSION"]);
    at_home(home, &["plugin", "remove", "acme.weights@1.2.0"]).succeeds();
    assert_eq!(names(), ["2.0.0"]);
    at_home(home, &["plugin", "remove", "acme.weights"]).succeeds();
    assert!(!installed.exists());
    at_home(home, &["plugin", "remove", "acme.weights"]).fails(4, &["holds no acme.weights"]);
    // Nothing half-done is left behind.
    assert_eq!(fs::read_dir(home.join("data/anneal/plugins")).unwrap().count(), 0);
}

#[test]
fn packages_that_are_damaged_or_no_plugins_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let to = dir.path().join("plugins");
    let add = |from: &Path| anneal(&["plugin", "add", &text(from), "--to", &text(&to)]);
    let folder = renamed(dir.path(), "acme.weights", "1.0.0");
    let file = dir.path().join("p.tar.zst");
    anneal(&["plugin", "pack", &text(&folder), "-o", &text(&file)]).succeeds();
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&file, bytes).unwrap();
    add(&file).fails(4, &["is no package of a plugin"]);
    anneal(&["plugin", "check", &text(&file)]).fails(3, &["p.tar.zst"]);
    fs::write(folder.join("code.cwasm"), "").unwrap();
    add(&folder).fails(4, &["code.cwasm", "compiled code"]);
    fs::remove_file(folder.join("code.cwasm")).unwrap();
    fs::write(folder.join("anneal_weightings.wasm"), "changed").unwrap();
    add(&folder).fails(4, &["has SHA-256"]);
    anneal(&["plugin", "pack", &text(&folder), "-o", &text(&file)]).fails(4, &["has SHA-256"]);
    add(&dir.path().join("nothing")).fails(4, &["cannot read"]);
    add(Path::new(&path("plugins/weightings"))).fails(4, &["is not built", "anneal plugin build"]);
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
}

#[test]
fn native_code_runs_when_it_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let test_plugins = path("target/test-plugins");
    let train = |run: &str, flags: &[&str]| {
        let sets = [
            &format!("plugins.dirs=[\"{}\", \"{test_plugins}\"]", path("target/plugins")),
            "model.embedders=[{plugin=\"faulty\",input_key=\"polar_rad\",fault=\"error\"}]",
            "model.network.in_channels=3",
            "model.network.adm_in_channels=1",
        ];
        let args = train_args(&home.join(run), &sets, flags);
        at_home(home, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    // A config can come from anywhere, so what it names is not trusted.
    let remedy = format!("anneal plugin trust test.faulty-native@0.1.0 --plugin-dir {test_plugins}");
    let refused = train("a", &[]);
    refused.fails(4, &["test.faulty-native/faulty", "is native code", &remedy]);
    assert!(!refused.err.contains("told to fail"), "{refused:?}");
    // Whoever names a directory when they start the program says that they trust it.
    train("b", &["--plugin-dir", &test_plugins]).fails(3, &["told to fail"]);

    let arguments: Vec<&str> = remedy.split_whitespace().skip(1).collect();
    assert!(at_home(home, &arguments).succeeds().out.contains("test.faulty-native 0.1.0 is trusted"));
    let list = home.join("config/anneal/trust.toml");
    assert!(fs::read_to_string(&list).unwrap().contains("id = \"test.faulty-native\""));
    train("c", &[]).fails(3, &["told to fail"]);
    // It was this code that was trusted, not the name.
    let other = fs::read_to_string(&list).unwrap().replace("sha256 = \"", "sha256 = \"0");
    let whole = fs::read_to_string(&list).unwrap();
    fs::write(&list, other).unwrap();
    train("d", &[]).fails(4, &["is native code"]);
    fs::write(&list, whole).unwrap();
    at_home(home, &["plugin", "trust", "test.faulty-native", "--revoke"]).succeeds();
    train("e", &[]).fails(4, &["is native code"]);
    at_home(home, &["plugin", "trust", "test.faulty-native", "--revoke"]).fails(4, &["is not trusted"]);

    let wasm = at_home(home, &["plugin", "trust", "anneal.weightings", "--plugin-dir", &path("target/plugins")]);
    assert!(wasm.succeeds().out.contains("needs no trust"));
    at_home(home, &["plugin", "trust", "acme.nothing"]).fails(4, &["no plugin acme.nothing is found"]);
    // What is added to the user's directory is trusted no more than what a config names.
    let added = at_home(home, &["plugin", "add", &format!("{test_plugins}/test.faulty-native")]).succeeds();
    assert!(added.out.contains("anneal plugin trust test.faulty-native@0.1.0"), "{added:?}");
}

#[test]
fn a_locked_run_has_the_plugins_of_its_lock() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("run.toml");
    let mut show = vec!["config".to_owned(), "show".to_owned()];
    show.extend(train_args(&dir.path().join("run"), &[], &[]).into_iter().skip(1).filter(|arg| arg != "--quiet"));
    let shown = anneal(&show.iter().map(String::as_str).collect::<Vec<_>>()).succeeds().out;
    fs::write(&config, shown).unwrap();
    let config = config.to_str().unwrap();
    let train = |flags: &[&str]| anneal(&[&["train", config, "--quiet"], flags].concat());
    train(&["--locked"]).fails(4, &["there is no", "anneal plugin lock"]);
    let locked = anneal(&["plugin", "lock", config]).succeeds();
    assert!(locked.out.contains("anneal.samplers 0.1.0") && locked.out.contains("are locked"), "{locked:?}");
    let path = dir.path().join("anneal.lock");
    let lock = fs::read_to_string(&path).unwrap();
    for text in ["id = \"anneal.embedders\"", "runtime = \"native\"", "runtime = \"wasm\"", "version = \"0.1.0\""] {
        assert!(lock.contains(text), "{lock}");
    }
    assert!(!lock.contains("anneal.encoders"), "{lock}");
    train(&["--locked"]).succeeds();
    // Locking again changes nothing.
    assert!(!anneal(&["plugin", "lock", config]).succeeds().out.contains("is not locked"));
    assert_eq!(fs::read_to_string(&path).unwrap(), lock);
    fs::write(&path, lock.replacen("sha256 = \"", "sha256 = \"0", 1)).unwrap();
    train(&["--locked", "--resume"]).fails(4, &["differs", "locked is 0.1.0 0"]);
    train(&["--resume"]).succeeds();
}

#[test]
fn the_doctor_names_every_tool_and_how_to_get_it() {
    let told = anneal(&["plugin", "doctor"]).succeeds().out;
    for name in ["cargo", "wasm target", "libtorch", "cc", "clang or zig", "node", "python3"] {
        assert!(told.lines().any(|line| line.trim_start().starts_with(name)), "{name}: {told}");
    }
    let empty = tempfile::tempdir().unwrap();
    let without: Ran = command(&["plugin", "doctor"]).env("PATH", empty.path()).output().unwrap().into();
    let without = without.succeeds().out;
    // All but libtorch, which is in the program; the C compiler is told of twice.
    assert_eq!(without.matches("MISSING").count(), 9, "{without}");
    assert!(without.contains("rustup target add wasm32-unknown-unknown") && without.contains("pip install ziglang"));
}
