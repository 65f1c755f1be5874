//! Plugins in C, JavaScript and Python: from a name to what a run accepts, and what is said where a tool is missing.
//!
//! What needs tools that the repository does not is run by `cargo xtask languages`, which gets them.

#![expect(clippy::print_stdout, reason = "`cargo xtask languages` shows the figures")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::plugin_author::programs;
use crate::run::{Ran, anneal, command, path, train};

const SCHEDULES: [&str; 5] = ["discretization", "sigma-sampling", "guidance", "learning-rate", "weighting"];

/// Begins a plugin in `dir/ID`.
fn begin(dir: &Path, id: &str, kind: &str, lang: &str) -> PathBuf {
    let folder = dir.join(id);
    let shown = folder.to_str().unwrap();
    anneal(&["plugin", "new", id, "--kind", kind, "--lang", lang, "--dir", shown]).succeeds();
    folder
}

/// `anneal plugin build` with nothing on PATH but these scripts.
fn build_with(folder: &Path, scripts: &[(&str, String)]) -> Ran {
    let path = programs(folder.parent().unwrap(), scripts);
    let mut build = command(&["plugin", "build", folder.to_str().unwrap()]);
    build.env("PATH", path).output().unwrap().into()
}

#[test]
fn without_its_tools_a_language_names_the_command_that_gets_them() {
    let dir = tempfile::tempdir().unwrap();
    for (lang, kind, texts) in [
        ("js", "weighting", ["componentize-qjs", "npm install"]),
        ("python", "weighting", ["componentize-py", ".venv/bin/pip install -r requirements.txt"]),
        ("c", "weighting", ["clang or zig", "pip install ziglang"]),
        ("c", "embedder", ["C compiler", "gcc"]),
    ] {
        let folder = begin(dir.path(), &format!("acme.{lang}-{kind}"), kind, lang);
        build_with(&folder, &[]).fails(4, &texts);
        assert!(!folder.join("build").exists() && !folder.join("dist").exists(), "{lang}");
    }
    let refused = |kind: &str, lang: &str| {
        let folder = dir.path().join("none");
        anneal(&["plugin", "new", "acme.none", "--kind", kind, "--lang", lang, "--dir", folder.to_str().unwrap()])
    };
    refused("sampler", "js").fails(2, &["sampler", "in JavaScript", "--lang rust or --lang python"]);
    refused("embedder", "python").fails(2, &["embedder", "in Python", "--lang rust or --lang c"]);
    assert!(!dir.path().join("none").exists());
}

#[test]
fn doctor_knows_the_tools_of_each_language() {
    let dir = tempfile::tempdir().unwrap();
    let doctor = |scripts: &[(&str, String)]| {
        let path = programs(dir.path(), scripts);
        Ran::from(command(&["plugin", "doctor"]).current_dir(dir.path()).env("PATH", path).output().unwrap()).succeeds()
    };
    let bare = doctor(&[]).out;
    for text in ["rustup target add", "ziglang", "npm install", "pip install -r requirements.txt", "apt install gcc"] {
        assert!(bare.contains(text), "{text:?} is not in {bare}");
    }
    let ready = doctor(&[("componentize-qjs", String::new()), ("zig", String::new())]).out;
    let found = |name: &str| ready.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default();
    assert!(found("componentize-qjs").ends_with(" componentize-qjs"), "{ready}");
    assert!(found("clang or zig").ends_with("zig cc -target wasm32-wasi"), "{ready}");
    assert!(found("componentize-py").ends_with("MISSING"), "{ready}");
}

/// A script that stands for a tool: it writes its arguments down and makes a component that was made before.
fn stand_in(dir: &Path) -> String {
    let component = path("target/test-plugins/test.faulty-wasm/faulty_wasm.wasm");
    // It is first asked whether it is there, when there is nothing to build.
    format!("echo \"$@\" >> {}/args\n[ ! -d build ] || /bin/cp {component} build/plugin.wasm", dir.display())
}

#[test]
fn scripts_are_handed_to_their_tools_with_the_sdk_around_them() {
    for (lang, tool, made) in [("js", "componentize-qjs", "anneal.js"), ("python", "componentize-py", "anneal.py")] {
        let dir = tempfile::tempdir().unwrap();
        // The component that is made has this entry.
        let folder = begin(dir.path(), "acme.faulty", "weighting", lang);
        build_with(&folder, &[(tool, stand_in(dir.path()))]).succeeds();
        let args = fs::read_to_string(dir.path().join("args")).unwrap();
        assert!(args.contains("--stub-wasi") && args.contains("build/wit") && args.contains("built"), "{args}");
        let build = folder.join("build");
        assert!(build.join(made).is_file());
        let world = fs::read_to_string(build.join("wit/built.wit")).unwrap();
        assert!(world.contains("include weighting-plugin;"), "{world}");
        let entry = fs::read_to_string(build.join(format!("entry.{}", &made[7..]))).unwrap();
        assert!(entry.contains(r#"\"name\":\"faulty\""#) && entry.contains("additionalProperties"), "{entry}");
        // A package holds what runs, and no sources.
        let mut files: Vec<String> = fs::read_dir(folder.join("dist/acme.faulty"))
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, ["README.md", "acme_faulty.wasm", "plugin.toml", "schema"]);
    }
}

#[test]
fn an_embedder_in_c_is_built_by_the_systems_compiler_and_trains() {
    let dir = tempfile::tempdir().unwrap();
    let folder = begin(dir.path(), "acme.rows", "embedder", "c");
    let built = anneal(&["plugin", "build", folder.to_str().unwrap()]).succeeds();
    assert!(built.out.contains("embedder acme.rows/rows"), "{built:?}");
    let dist = folder.join("dist");
    let settings = "input_key=\"animation\",n_classes=3,dim=64,is_trainable=true,ucg_rate=0.1";
    let embedder = format!("model.embedders.2={{plugin=\"rows\",{settings}}}");
    train(&dir.path().join("run"), &["train.steps=2", &embedder], &["--plugin-dir", dist.to_str().unwrap()]).succeeds();
    fs::write(folder.join("src/plugin.c"), "int x = ;\n").unwrap();
    anneal(&["plugin", "build", folder.to_str().unwrap()]).fails(4, &["could not build acme.rows", "plugin.c:1"]);
}

#[test]
fn a_learned_weighting_in_c_is_built_reaches_the_highest_level_and_trains() {
    let dir = tempfile::tempdir().unwrap();
    let folder = begin(dir.path(), "acme.line", "learned-weighting", "c");
    let built = anneal(&["plugin", "build", folder.to_str().unwrap()]).succeeds();
    assert!(built.out.contains("weighting acme.line/line"), "{built:?}");
    let dist = folder.join("dist");
    let checked = anneal(&["plugin", "check", dist.join("acme.line").to_str().unwrap(), "--timeout-scale", "2"]);
    assert!(checked.out.contains("acme.line/line: weighting L3 ("), "{checked:#?}");
    let run = dir.path().join("run");
    let sets = ["train.steps=2", "loss.weighting={plugin=\"line\",sigma_data=1.0}"];
    train(&run, &sets, &["--plugin-dir", dist.to_str().unwrap()]).succeeds();
    let model = crate::run::checkpoint_file(&run, 2, "model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&model).unwrap();
    for name in ["loss.weighting.a", "loss.weighting.b"] {
        assert!(tensors.tensor(name).unwrap().data() != [0; 4], "{name} has not moved");
    }
}

/// What a language's plugin of a kind took and became.
struct Made {
    folder: PathBuf,
    seconds: f64,
    bytes: u64,
}

/// Builds a new plugin as its README says, but that the tools come from PATH.
fn make(dir: &Path, lang: &str, kind: &str) -> Made {
    let folder = begin(dir, &format!("acme.{lang}-{kind}"), kind, lang);
    let start = Instant::now();
    anneal(&["plugin", "build", folder.to_str().unwrap()]).succeeds();
    let seconds = start.elapsed().as_secs_f64();
    let module = folder.join(format!("dist/acme.{lang}-{kind}/acme_{lang}_{}.wasm", kind.replace('-', "_")));
    Made { bytes: fs::metadata(module).unwrap().len(), folder, seconds }
}

/// Runs the tests that a new plugin brings along.
fn test(folder: &Path, lang: &str) {
    let (program, args): (&str, &[&str]) = match lang {
        "js" => ("node", &["--test"]),
        "python" => ("python3", &["-m", "unittest", "discover", "tests"]),
        _ => return,
    };
    let ran: Ran = Command::new(program).args(args).current_dir(folder).output().unwrap().into();
    ran.succeeds();
}

/// The numbers that `anneal plugin call` gives, and what they cost.
fn call(entry: &str, arguments: &[&str], dist: &str) -> Value {
    let args = [&["plugin", "call", entry], arguments, &["--plugin-dir", dist, "--json"]].concat();
    serde_json::from_str(&anneal(&args).succeeds().out).unwrap()
}

fn bits(answer: &Value) -> Vec<u64> {
    answer["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap().to_bits()).collect()
}

fn languages_reach_l3(lang: &str, kinds: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    for kind in kinds {
        let Made { folder, seconds, bytes } = make(dir.path(), lang, kind);
        test(&folder, lang);
        let dist = folder.join(format!("dist/acme.{lang}-{kind}"));
        let start = Instant::now();
        // Machines differ; how long a check may take is not what is asked here.
        let checked = anneal(&["plugin", "check", dist.to_str().unwrap(), "--timeout-scale", "4"]).succeeds();
        assert!(checked.out.contains(": ") && checked.out.contains(" L3 ("), "{checked:?}");
        let took = start.elapsed().as_secs_f64();
        println!("{lang:<7} {kind:<15} {bytes:>9} bytes, built in {seconds:.1} s, checked in {took:.0} s");
    }
}

#[test]
#[ignore = "needs clang or zig: cargo xtask languages"]
fn every_template_in_c_reaches_l3() {
    languages_reach_l3("c", &SCHEDULES);
}

#[test]
#[ignore = "needs node and componentize-qjs: cargo xtask languages"]
fn every_template_in_javascript_reaches_l3() {
    languages_reach_l3("js", &SCHEDULES);
}

#[test]
#[ignore = "needs componentize-py: cargo xtask languages"]
fn every_template_in_python_reaches_l3() {
    languages_reach_l3("python", &[&SCHEDULES[..], &["sampler"]].concat());
}

/// C, JavaScript and Python have the C library's `pow`, Rust has another; both are good to less than a unit in the last
/// place. Where no power is needed all are the same.
#[test]
#[ignore = "needs the tools of all languages: cargo xtask languages"]
fn languages_give_the_same_sigmas() {
    let dir = tempfile::tempdir().unwrap();
    let grids = ["c", "js", "python"].map(|lang| {
        let dist = make(dir.path(), lang, "discretization").folder.join("dist");
        (lang, format!("acme.{lang}-discretization/{lang}-discretization"), dist)
    });
    for n in ["1", "16", "1000"] {
        for (lang, entry, dist) in &grids {
            let answer = call(entry, &["sigmas", n], dist.to_str().unwrap());
            println!(
                "{lang:<7} sigmas {n:>4}: {:>8} fuel, {:>8.1} us",
                answer["fuel"],
                answer["guest_time_us"].as_f64().unwrap()
            );
        }
    }
    let settings = ["{}", "rho=1", "rho=5", "{\"rho\":3.3,\"sigma_min\":0.01,\"sigma_max\":10.5}", "rho=100"];
    for (config, n) in settings.iter().flat_map(|config| ["1", "2", "10", "1000"].map(|n| (*config, n))) {
        let ask = |entry: &str, dist: &str| bits(&call(entry, &["sigmas", n, "--config", config], dist));
        let rust = ask("anneal.discretizations/edm", &path("target/plugins"));
        let all = grids.each_ref().map(|(lang, entry, dist)| (lang, ask(entry, dist.to_str().unwrap())));
        for (lang, sigmas) in &all {
            assert!(*sigmas == all[0].1, "{lang} and C differ: {config}, n = {n}");
            assert_eq!(sigmas.len(), rust.len());
        }
        let far = all[0].1.iter().zip(&rust).map(|(one, other)| one.abs_diff(*other)).max().unwrap();
        let others = all[0].1.iter().zip(&rust).filter(|(one, other)| one != other).count();
        println!("{config}, n = {n}: C = JavaScript = Python; {others} of Rust's differ, by {far} in the last place");
        assert!(far <= u64::from(config != "rho=1"), "{config}, n = {n}: Rust is {far} units in the last place away");
    }
}

#[test]
#[ignore = "needs ziglang: cargo xtask languages"]
fn zig_builds_what_clang_builds() {
    let dir = tempfile::tempdir().unwrap();
    let folder = begin(dir.path(), "acme.zig", "discretization", "c");
    let python = "exec \"$REAL_PYTHON\" \"$@\"".to_owned();
    let path_of_python =
        Ran::from(Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap());
    let only_python = programs(dir.path(), &[("python3", python)]);
    let mut build = command(&["plugin", "build", folder.to_str().unwrap()]);
    build.env("PATH", only_python).env("REAL_PYTHON", path_of_python.succeeds().out.trim());
    Ran::from(build.output().unwrap()).succeeds();
    let dist = folder.join("dist/acme.zig");
    anneal(&["plugin", "check", dist.to_str().unwrap(), "--timeout-scale", "4"]).succeeds();
    let with_zig = bits(&call("acme.zig/zig", &["sigmas", "1000"], folder.join("dist").to_str().unwrap()));
    anneal(&["plugin", "build", folder.to_str().unwrap()]).succeeds();
    let with_clang = bits(&call("acme.zig/zig", &["sigmas", "1000"], folder.join("dist").to_str().unwrap()));
    assert!(with_zig == with_clang);
}

#[test]
#[ignore = "needs the tools of all languages: cargo xtask languages"]
fn what_interpreters_ask_of_wasi_has_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    // What is asked before the first line, and what asks.
    for (lang, file, before, asks) in [
        ("js", "src/plugin.js", "    this.gamma = gamma;", "    this.then = Date.now() + Math.random();\n"),
        ("python", "src/plugin.py", "        self.gamma = ", "        print(\"gamma\", settings, hash(\"gamma\"))\n"),
    ] {
        let id = format!("acme.{lang}-open");
        let folder = begin(dir.path(), &id, "weighting", lang);
        for (file, from, to) in [
            ("plugin.toml", "[[entry]]", "[capabilities]\nwasi = \"null\"\n\n[[entry]]".to_owned()),
            (file, before, format!("{asks}{before}")),
        ] {
            let text = fs::read_to_string(folder.join(file)).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(folder.join(file), text.replace(from, &to)).unwrap();
        }
        anneal(&["plugin", "build", folder.to_str().unwrap()]).succeeds();
        let dist = folder.join("dist");
        assert_eq!(call(&format!("{id}/{lang}-open"), &["weights", "2"], dist.to_str().unwrap())["values"][0], 0.25);
        anneal(&["plugin", "check", dist.join(&id).to_str().unwrap(), "--timeout-scale", "4"]).succeeds();
        // Without its manifest's word the same component is refused.
        let built = fs::read_to_string(dist.join(&id).join("plugin.toml")).unwrap();
        fs::write(dist.join(&id).join("plugin.toml"), built.replace("wasi = \"null\"", "wasi = \"none\"")).unwrap();
        let refused = anneal(&[
            "plugin",
            "call",
            &format!("{id}/{lang}-open"),
            "weights",
            "2",
            "--plugin-dir",
            dist.to_str().unwrap(),
        ]);
        refused.fails(4, &["imports wasi:", "wasi = \"null\""]);
    }
}
