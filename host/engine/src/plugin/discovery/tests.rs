//! Directories of plugins, good and bad, on a real file system.

use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

/// Writes a plugin of one WASM weighting; `code` makes its artifact differ.
fn write(folder: &Path, id: &str, version: &str, code: &str) {
    fs::create_dir_all(folder).unwrap();
    let manifest = format!(
        "schema-version = 1\nid = \"{id}\"\nversion = \"{version}\"\n[artifact.wasm]\npath = \"a.wasm\"\n\
         [[entry]]\nname = \"unit\"\nkind = \"weighting\"\nschema = \"s.json\"\n"
    );
    fs::write(folder.join("plugin.toml"), manifest).unwrap();
    fs::write(folder.join("a.wasm"), code).unwrap();
    fs::write(folder.join("s.json"), "{}").unwrap();
    close(folder);
}

/// Takes write permission from others, whatever the umask of whoever runs the test.
fn close(folder: &Path) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).chain([folder.to_owned()]) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & !0o022;
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }
}

fn directory() -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(temp.path()).unwrap();
    (temp, dir)
}

fn only(dirs: &[&Path]) -> SearchPath {
    SearchPath { dirs: dirs.iter().map(|dir| (NamedBy::Flag, dir.to_path_buf())).collect(), ..SearchPath::default() }
}

fn titles(found: &[Found]) -> Vec<String> {
    found.iter().map(Found::title).collect()
}

/// The reason why the only plugin of `dir` is refused.
fn refusal(dir: &Path) -> String {
    let (found, decisions) = search(&only(&[dir]));
    assert!(found.is_empty(), "{found:?}");
    let reason = decisions.iter().find_map(|decision| match &decision.verdict {
        Verdict::Refused(reason) => Some(reason.clone()),
        _ => None,
    });
    reason.unwrap_or_else(|| panic!("nothing was refused: {decisions:?}"))
}

#[test]
fn directories_stand_in_the_documented_order() {
    let env = Environment {
        plugin_path: vec!["/e".into()],
        data_home: Some("/home/me/.local/share".into()),
        ..Environment::default()
    };
    let path = SearchPath::new(&["/c".into()], &["/a".into()], &env);
    let dirs: Vec<_> = path.dirs().map(|dir| dir.display().to_string()).collect();
    let expected = [
        "/c",
        "/a",
        "/e",
        ".anneal/plugins",
        "/home/me/.local/share/anneal/plugins",
        "/usr/local/lib/anneal/plugins",
        "/usr/lib/anneal/plugins",
    ];
    assert_eq!(dirs, expected);
}

#[test]
fn both_layouts_are_found_and_nothing_deeper() {
    let (_temp, dir) = directory();
    write(&dir.join("anything"), "acme.a", "1.0.0", "");
    fs::create_dir(dir.join("acme.b")).unwrap();
    write(&dir.join("acme.b/2.0.0"), "acme.b", "2.0.0", "");
    fs::create_dir_all(dir.join("x/y")).unwrap();
    write(&dir.join("x/y/z"), "acme.deep", "1.0.0", "");
    let (found, decisions) = search(&only(&[&dir, Path::new("/nowhere/at/all")]));
    assert_eq!(titles(&found), ["acme.b 2.0.0", "acme.a 1.0.0"]);
    assert_eq!(decisions[0].verdict, Verdict::Searched { named_by: NamedBy::Flag, plugins: 2 });
    assert_eq!(decisions[1].to_string(), "/nowhere/at/all: no such directory (named by --plugin-dir)");
}

#[test]
fn the_digest_covers_every_file_of_the_plugin() {
    let (_temp, dir) = directory();
    let digest = |change: &dyn Fn(&Path)| {
        let folder = dir.join("a");
        write(&folder, "acme.a", "1.0.0", "");
        change(&folder);
        search(&only(&[&dir])).0[0].sha256.clone()
    };
    let plain = digest(&|_| {});
    assert_eq!((plain.len(), &plain), (64, &digest(&|_| {})));
    assert_ne!(plain, digest(&|folder| fs::write(folder.join("a.wasm"), "x").unwrap()));
    assert_ne!(plain, digest(&|folder| fs::write(folder.join("s.json"), "{} ").unwrap()));
}

#[test]
fn what_others_could_have_written_is_refused() {
    for writable in ["", "plugin.toml", "a.wasm"] {
        let (_temp, dir) = directory();
        write(&dir.join("a"), "acme.a", "1.0.0", "");
        let path = dir.join("a").join(writable);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o775)).unwrap();
        assert!(refusal(&dir).contains("chmod go-w"), "{}", path.display());
    }
    let (_temp, dir) = directory();
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o777)).unwrap();
    assert!(refusal(&dir).contains("can be written by others (mode 777)"));
}

#[test]
fn links_do_not_lead_out() {
    let ((_temp, dir), (_other_temp, other)) = (directory(), directory());
    write(&other.join("a"), "acme.a", "1.0.0", "");
    symlink(other.join("a"), dir.join("a")).unwrap();
    assert!(refusal(&dir).contains("leads out of"));
    fs::remove_file(dir.join("a")).unwrap();
    write(&dir.join("a"), "acme.a", "1.0.0", "");
    fs::remove_file(dir.join("a/a.wasm")).unwrap();
    symlink(other.join("a/a.wasm"), dir.join("a/a.wasm")).unwrap();
    assert!(refusal(&dir).contains("leads out of"));
}

#[test]
fn broken_plugins_are_refused_with_a_reason() {
    let cases: [(&str, &str, &str); 4] = [
        ("plugin.toml", "schema-version = ", "plugin.toml:1:"),
        ("s.json", "{", "s.json: is no JSON"),
        ("s.json", "[]", "s.json: is no JSON Schema"),
        ("a.wasm", "changed", "has SHA-256"),
    ];
    for (file, contents, reason) in cases {
        let (_temp, dir) = directory();
        write(&dir.join("a"), "acme.a", "1.0.0", "");
        let manifest = dir.join("a/plugin.toml");
        let hash = sha256("");
        let text =
            fs::read_to_string(&manifest).unwrap().replace("\"a.wasm\"", &format!("\"a.wasm\"\nsha256 = \"{hash}\""));
        fs::write(&manifest, text).unwrap();
        assert_eq!(search(&only(&[&dir])).0.len(), 1);
        fs::write(dir.join("a").join(file), contents).unwrap();
        assert!(refusal(&dir).contains(reason), "{}", refusal(&dir));
    }
    let (_temp, dir) = directory();
    write(&dir.join("a"), "acme.a", "1.0.0", "");
    fs::remove_file(dir.join("a/a.wasm")).unwrap();
    assert!(refusal(&dir).contains("No such file"));
}

fn require(id: &str, requirement: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(id.to_owned(), requirement.to_owned())])
}

#[test]
fn the_highest_allowed_version_is_taken() {
    let (_temp, dir) = directory();
    for version in ["1.9.0", "1.10.0", "2.0.0-beta.1"] {
        write(&dir.join(version), "acme.a", version, "");
    }
    let chosen =
        |require: &BTreeMap<String, String>| choose(search(&only(&[&dir])).0, require).map(|(taken, _)| titles(&taken));
    assert_eq!(chosen(&BTreeMap::new()).unwrap(), ["acme.a 2.0.0-beta.1"]);
    assert_eq!(chosen(&require("acme.a", "^1")).unwrap(), ["acme.a 1.10.0"]);
    assert_eq!(chosen(&require("acme.a", "=1.9.0")).unwrap(), ["acme.a 1.9.0"]);
    let error = chosen(&require("acme.a", "^3")).unwrap_err().to_string();
    assert_eq!(error, "plugins.require wants acme.a ^3; there is 1.10.0, 1.9.0, 2.0.0-beta.1");
    let error = chosen(&require("acme.b", "^3")).unwrap_err().to_string();
    assert_eq!(error, "plugins.require wants acme.b ^3; no plugin directory holds it");
    assert!(
        chosen(&require("acme.a", "new"))
            .unwrap_err()
            .to_string()
            .contains("`new` of acme.a is no version requirement")
    );
}

#[test]
fn the_same_plugin_twice_is_one_and_two_different_ones_clash() {
    let ((_temp, first), (_other_temp, second)) = (directory(), directory());
    write(&first.join("a"), "acme.a", "1.0.0", "same");
    write(&second.join("b"), "acme.a", "1.0.0", "same");
    let both = only(&[&first, &second]);
    let (taken, decisions) = choose(search(&both).0, &BTreeMap::new()).unwrap();
    assert_eq!((taken.len(), &taken[0].folder), (1, &first.join("a")));
    assert_eq!(decisions[0].verdict, Verdict::Again(first.join("a")));
    fs::write(second.join("b/a.wasm"), "other").unwrap();
    let error = choose(search(&both).0, &BTreeMap::new()).unwrap_err();
    assert!(matches!(&error, PluginError::Clash { second: path, .. } if *path == second.join("b")), "{error}");
}

#[test]
fn who_names_a_directory_decides_whether_its_native_code_is_trusted() {
    let (_temp, dir) = directory();
    for name in ["config", "flag", "variable", "user", "own/sub"] {
        write(&dir.join(name).join("a"), &format!("acme.{}", &name[..3]), "1.0.0", "");
    }
    let env = Environment {
        plugin_path: vec![dir.join("variable")],
        data_home: Some(dir.join("home")),
        own_plugins: Some(dir.join("own")),
        ..Environment::default()
    };
    fs::create_dir_all(dir.join("home/anneal")).unwrap();
    fs::rename(dir.join("user"), dir.join("home/anneal/plugins")).unwrap();
    let path = SearchPath::new(&[dir.join("config"), dir.join("own/sub")], &[dir.join("flag")], &env);
    let (found, _) = search(&path);
    let trusted = |id: &str| found.iter().find(|plugin| plugin.manifest.id == id).unwrap().is_trusted;
    assert_eq!(
        ["acme.con", "acme.use", "acme.fla", "acme.var", "acme.own"].map(trusted),
        [false, false, true, true, true]
    );
    // The same plugin in a directory that is trusted is the same code.
    write(&dir.join("flag/b"), "acme.con", "1.0.0", "");
    let (taken, _) = choose(search(&path).0, &BTreeMap::new()).unwrap();
    let plugin = taken.iter().find(|plugin| plugin.manifest.id == "acme.con").unwrap();
    assert!(plugin.is_trusted && plugin.folder.starts_with(dir.join("config")));
}

#[test]
fn a_hidden_folder_is_no_plugin() {
    let (_temp, dir) = directory();
    write(&dir.join(".adding-x/plugin"), "acme.a", "1.0.0", "");
    assert!(search(&only(&[&dir])).0.is_empty());
}
