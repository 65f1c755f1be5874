//! The conformance suite on native plugins: bundled embedders reach its highest level, and faults of libraries and of
//! embedders are found, and blamed for nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::conformance::{check, is_valid, unmet};
use super::run::{anneal, path};

/// Faults of a library, and the checks that each is meant to fail.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("NONE", &[]),
    ("CRASHES_WHEN_LOADED", &["N04"]),
    ("EXITS_WHEN_LOADED", &["N04"]),
    ("HANGS_WHEN_LOADED", &["N04"]),
    ("RETURNS_NOTHING", &["N04"]),
    ("SHORT_STRUCT", &["N04"]),
    ("LACKS_INIT", &["N04"]),
    ("OTHER_MAJOR", &["N04"]),
    ("DESCRIBES_ANOTHER", &["N04"]),
    ("DESCRIBES_NOTHING", &["N04"]),
    ("REFUSES_TO_START", &["N04"]),
    ("ABORTS_WHEN_STARTED", &["N04"]),
    ("HAS_NO_EMBEDDERS", &["N04"]),
    ("EXPORTS_MORE", &["N01"]),
    ("HAS_A_DISPATCHER", &["N02"]),
    ("NEEDS_MORE_THAN_BUILT", &["N08"]),
    ("FOLLOWS_WHAT_IS_NEWER", &["N09"]),
    ("WANTS_ITS_OWN_SIZE", &["N09"]),
    ("USES_WHAT_IS_NEWER", &["N10"]),
    ("HAS_ANY_EXTENSION", &["N11"]),
    ("STARTS_A_THREAD", &["N06"]),
    ("LEAVES_THE_FOLDER", &["N06"]),
    ("CHANGES_THE_ENVIRONMENT", &["N06"]),
    ("OPENS_A_FILE", &["N06"]),
    ("HANDLES_A_SIGNAL", &["N06"]),
    ("STARTS_A_PROCESS", &["N06"]),
    ("NEVER_THE_SAME", &["N07"]),
    ("STARTS_ONCE", &["N07"]),
    ("MAKES_ANYTHING", &["N13"]),
];

/// Faults of how a library is linked and declared: a name, flags of the compiler, lines of the manifest.
const LINKS: &[(&str, &[&str], &str, &[&str])] = &[
    ("an-rpath", &["-Wl,-rpath,/home/author/build"], "", &["N03"]),
    ("another-library", &["-Wl,--no-as-needed", "-lresolv"], "", &["N03"]),
    ("no-torch-at-all", &[], "[torch]\nlink = \"exact\"\nversion = \"2.11\"\n", &["N12"]),
];

/// Faults of embedders over the host's operations, and the checks that each is meant to fail.
const EMBEDDERS: &[(&str, &[&str])] = &[
    ("good", &[]),
    ("good-texts", &[]),
    ("good-through", &[]),
    ("will-not-start", &["E00"]),
    ("crashes-at-start", &["E00"]),
    ("declares-something-else", &["E00"]),
    ("segfaults", &["E02"]),
    ("aborts", &["E02"]),
    ("exits", &["E02"]),
    ("deadlocks", &["E02"]),
    ("emits-nothing", &["E02"]),
    ("emits-another-rank", &["E02"]),
    ("emits-whole-numbers", &["E02"]),
    ("fails-in-training", &["E02"]),
    ("doubles", &["E03"]),
    ("blows-up-at-the-end", &["E05"]),
    ("takes-few", &["E06", "E22"]),
    ("minds-its-neighbours", &["E07"]),
    ("differs-by-process", &["E15"]),
    ("stops-the-gradient", &["E09", "E10"]),
    ("halves-the-gradient", &["E10"]),
    ("stops-at-its-input", &["E12"]),
    ("has-an-idle-parameter", &["E09"]),
    ("reads-values", &["E01"]),
    ("other-shape-without-values", &["E01"]),
    ("crashes-at-another-rank", &["E19"]),
    ("never-recovers", &["E19"]),
    ("swallows-failures", &["E21"]),
    ("hides-the-reason", &["E21"]),
    ("leaks-on-failure", &["E21"]),
    ("leaks-handles", &["E21", "E22"]),
    ("leaks-memory", &["E22"]),
    ("opens-files", &["E18"]),
    ("starts-a-thread", &["E18"]),
    ("leaves-the-folder", &["E18"]),
    ("changes-the-environment", &["E18"]),
    ("changes-the-umask", &["E18"]),
    ("handles-a-signal", &["E18"]),
    ("one-at-a-time", &["E23"]),
    ("crashes-at-empty-texts", &["E17"]),
];

/// Faults that need a libtorch of the plugin's own.
const OWN_LIBTORCH: &[(&str, &[&str])] = &[
    ("good", &[]),
    ("draws-by-itself", &["E16"]),
    ("never-frozen", &["E11", "E26"]),
    ("ignores-grad-mode", &["E26"]),
    ("leaves-grad-mode", &["E18"]),
    ("changes-threads", &["E18"]),
    ("writes-unseen", &["E08"]),
    ("panics-at-another-rank", &["E19"]),
];

const SCHEMA: &str = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{},"additionalProperties":false}"#;

/// The schema of entries without settings, below a plugin's folder.
pub const SCHEMA_FILE: &str = "schema/none.json";

/// A plugin in C, compiled into a folder of its id.
pub fn compiled(dir: &Path, id: &str, source: &str, flags: &[&str], manifest: &str, entries: &str) -> PathBuf {
    let folder = dir.join(id);
    fs::create_dir_all(folder.join("schema")).unwrap();
    let artifact = format!("[artifact.{}-unknown-linux-gnu]\npath = \"plugin.so\"\n", std::env::consts::ARCH);
    let text = format!(
        "schema-version = 1\nid = \"{id}\"\nversion = \"0.1.0\"\n[api]\nabi = \"1.1\"\n{artifact}{manifest}{entries}"
    );
    fs::write(folder.join("plugin.toml"), text).unwrap();
    fs::write(folder.join(SCHEMA_FILE), SCHEMA).unwrap();
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread", "-I"])
        .args([&path("plugin-api/include"), &path(&format!("tests/conformance/saboteurs-native/{source}")), "-o"])
        .arg(folder.join("plugin.so"))
        .args(flags)
        .output()
        .expect("a C compiler is needed to build anneal");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for part in ["", "schema", "plugin.toml", SCHEMA_FILE, "plugin.so"] {
        fs::set_permissions(folder.join(part), PermissionsExt::from_mode(0o755)).unwrap();
    }
    folder
}

pub fn entry(name: &str, input: &str) -> String {
    format!(
        "[[entry]]\nname = \"{name}\"\nkind = \"embedder\"\nschema = \"schema/none.json\"\n\
         [[entry.example]]\ninputs = [{input}]\n"
    )
}

/// `--only` for each check whose id starts with one of some letters.
fn only(letters: &[char]) -> Vec<String> {
    let checks = anneal(&["plugin", "checks"]).succeeds().out;
    let ids = checks.lines().filter_map(|line| line.split_whitespace().next()).filter(|id| id.starts_with(letters));
    // How long a library takes to load is the machine's.
    let ids = ids.filter(|id| *id != "N05");
    ids.flat_map(|id| ["--only".to_owned(), id.to_owned()]).collect()
}

/// Checks folders with time for machines that do other things too, and returns the report.
pub fn report_of(folders: &[PathBuf], letters: &[char], scale: &str) -> Value {
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let only = only(letters);
    let mut more = vec!["--format", "json", "--timeout-scale", scale];
    more.extend(only.iter().map(String::as_str));
    let ran = check(&folders, &more);
    let report = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
    is_valid(&report);
    report
}

/// What was missed: faults whose unmet checks are not those that are meant.
pub fn missed(mut unmet: BTreeMap<String, Vec<String>>, faults: &[(&str, &[&str])]) -> Vec<String> {
    let found = |(fault, meant): &(&str, &[&str])| {
        let found = unmet.remove(*fault).unwrap_or_default();
        (found != *meant).then(|| format!("{fault}: {found:?}, meant are {meant:?}"))
    };
    let mut missed: Vec<String> = faults.iter().filter_map(found).collect();
    missed.extend(unmet.into_iter().filter(|(_, ids)| !ids.is_empty()).map(|(entry, ids)| format!("{entry}: {ids:?}")));
    missed
}

/// Command lines of running processes that hold a text.
fn processes_that_name(text: &str) -> Vec<String> {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let lines = processes.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

#[test]
fn faults_of_libraries_are_found_and_nothing_else_is_blamed() {
    let dir = tempfile::tempdir().unwrap();
    let scaled = entry("scaled", "{ name = \"x\", kind = \"f32\", shape = [4] }");
    let mut folders = Vec::new();
    for (fault, _) in LIBRARIES {
        let id = format!("test.{}", fault.to_lowercase().replace('_', "-"));
        let flag = format!("-DFAULT={fault}");
        folders.push(compiled(dir.path(), &id, "library.c", &[&flag], "", &scaled));
    }
    for (fault, flags, manifest, _) in LINKS {
        let flags = [&["-DFAULT=NONE"], *flags].concat();
        folders.push(compiled(dir.path(), &format!("test.{fault}"), "library.c", &flags, manifest, &scaled));
    }
    let report = report_of(&folders, &['N'], "0.5");
    let meant = LIBRARIES.iter().map(|(_, meant)| *meant).chain(LINKS.iter().map(|(.., meant)| *meant));
    let plugins = report["plugins"].as_array().unwrap();
    let missed: Vec<String> = plugins
        .iter()
        .zip(meant)
        .filter_map(|(plugin, meant)| {
            let results = plugin["results"].as_array().unwrap();
            let failed =
                results.iter().filter(|result| !["pass", "skip"].contains(&result["status"].as_str().unwrap()));
            let found: Vec<&str> = failed.clone().map(|result| result["id"].as_str().unwrap()).collect();
            let said: Vec<&str> = failed.map(|result| result["message"].as_str().unwrap()).collect();
            (found != meant).then(|| format!("{}: {found:?}, meant are {meant:?}: {said:?}", plugin["id"]))
        })
        .collect();
    assert!(missed.is_empty() && plugins.len() == folders.len(), "{missed:#?}");
    // What a plugin starts goes with the check that started it.
    let left = processes_that_name(&dir.path().display().to_string());
    assert!(left.is_empty(), "processes of checks live: {left:#?}");
}

#[test]
fn faults_of_embedders_are_found_and_nothing_else_is_blamed() {
    let dir = tempfile::tempdir().unwrap();
    let input = |name: &str| match name {
        "good-texts" | "crashes-at-empty-texts" => "{ name = \"txt\", kind = \"text\" }",
        "blows-up-at-the-end" => "{ name = \"x\", kind = \"f32\", shape = [4], range = [-1, 2] }",
        "good-through" | "stops-at-its-input" => "{ name = \"x\", kind = \"f32\", shape = [4], differentiable = true }",
        _ => "{ name = \"x\", kind = \"f32\", shape = [4] }",
    };
    let entries: String = EMBEDDERS.iter().map(|(name, _)| entry(name, input(name))).collect();
    let listed: Vec<Value> =
        EMBEDDERS.iter().map(|(name, _)| serde_json::json!({ "name": name, "kind": "embedder" })).collect();
    let descriptor = serde_json::json!({ "sdk": "c", "entries": listed }).to_string();
    let flag = format!("-DDESCRIPTOR={descriptor:?}");
    let folder = compiled(dir.path(), "test.embedders", "embedders.c", &[&flag], "", &entries);
    let report = report_of(&[folder], &['E'], "1");
    let missed = missed(unmet(&report), EMBEDDERS);
    assert!(missed.is_empty(), "{missed:#?}\n{}", said(&report));
}

#[test]
fn faults_of_embedders_with_a_libtorch_of_their_own_are_found() {
    let report = report_of(&[PathBuf::from(path("target/test-plugins/test.faulty-native"))], &['E'], "1");
    let mut unmet = unmet(&report);
    // It has no example, because its fault is a setting.
    assert_eq!(unmet.remove("faulty"), Some(vec!["E02".to_owned()]));
    let missed = missed(unmet, OWN_LIBTORCH);
    assert!(missed.is_empty(), "{missed:#?}\n{}", said(&report));
}

#[test]
fn bundled_embedders_and_those_of_the_sdk_reach_the_highest_level() {
    let dir = tempfile::tempdir().unwrap();
    super::native_ops::compile(dir.path());
    let class_c = dir.path().join("test.class-c");
    let folders = [
        path("target/plugins/anneal.embedders"),
        path("target/plugins/anneal.encoders"),
        class_c.display().to_string(),
    ];
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let ran = check(&folders, &["--format", "json", "--timeout-scale", "2"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(ran.code == Some(0), "{}", said(&report));
    for plugin in report["plugins"].as_array().unwrap() {
        for verdict in plugin["verdicts"].as_array().unwrap() {
            assert_eq!(verdict["level"], "L3", "{verdict}");
        }
    }
}

/// What was found of the checks that are not met.
pub fn said(report: &Value) -> String {
    let results = report["plugins"].as_array().unwrap().iter().flat_map(|plugin| plugin["results"].as_array().unwrap());
    let failed = results.filter(|result| !["pass", "skip"].contains(&result["status"].as_str().unwrap()));
    failed.map(|result| format!("{} {}: {}\n", result["entry"], result["id"], result["message"])).collect()
}
