//! Faults put into the shipped configs one at a time: `anneal config check` finds them, and says where they are.

mod house;
mod mutations;
mod range;
mod shape;
mod sites;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anneal::assemble::AnyProject;
use anneal::config::Environment;
use anneal_torch::random::Stream;

use self::house::{House, shipped, vocabulary};
use self::mutations::{Kind, Mutation, mutations};
use self::sites::{headers, line_of, sites};
use crate::run::{anneal, path};

/// Faults of each kind that are tried.
const OF_EACH_KIND: usize = 64;

/// As many by the binary, which opens libtorch each time.
const OF_EACH_KIND_BY_BINARY: usize = 4;

/// Part of the faults that have to be found.
const FOUND_MIN: f64 = 0.99;

/// What came of a fault.
enum Outcome {
    Found,
    /// Nothing was said.
    Missed,
    /// Something was said, but not where.
    Elsewhere(String),
}

/// Lines of settings by file and key.
type Lines = BTreeMap<PathBuf, BTreeMap<String, usize>>;

/// The lines on which the settings and tables of a text are.
fn lines_of(text: &str) -> BTreeMap<String, usize> {
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for (key, at) in headers(text) {
        let line = line_of(text, at.start);
        let idx = counted.entry(key.clone()).or_default();
        lines.insert(format!("{key}.{idx}"), line);
        lines.entry(key).or_insert(line);
        *idx += 1;
    }
    for site in sites(text) {
        let start = site.name.as_ref().map_or(site.at.start, |name| name.start);
        lines.insert(site.key, line_of(text, start));
    }
    lines
}

/// Whether one of the complaints is at one of the keys that may be blamed, and on its line.
fn judged(mutation: &Mutation, file: &Path, said: &str, lines: &Lines) -> Outcome {
    let mut complaints = Vec::new();
    for line in said.lines() {
        let line = line.strip_prefix("error: ").unwrap_or(line);
        let Some((place, message)) = line.split_once(": ") else { continue };
        let mut parts = place.rsplitn(3, ':');
        let (Some(_), Some(number), Some(of)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (Ok(number), Some((key, _))) = (number.parse::<usize>(), message.split_once(": ")) else { continue };
        complaints.push((PathBuf::from(of), number, key.to_owned()));
    }
    let is_right = |(of, number, key): &(PathBuf, usize, String)| {
        let is_blamed = mutation.keys.contains(key);
        let changed = of == file && *number == mutation.line && is_blamed;
        let known = of.canonicalize().ok().and_then(|of| lines.get(&of)).and_then(|lines| lines.get(key));
        changed || is_blamed && (known == Some(number) || of == file && said_line(mutation, key) == Some(*number))
    };
    if complaints.iter().any(is_right) {
        Outcome::Found
    } else {
        Outcome::Elsewhere(said.lines().take(3).collect::<Vec<_>>().join(" | "))
    }
}

/// The line of another setting in the file that has the fault.
fn said_line(mutation: &Mutation, key: &str) -> Option<usize> {
    let shipped = fs::read_to_string(path(&format!("configs/{}", mutation.config))).ok()?;
    lines_of(&shipped).get(key).copied()
}

/// Where a config with a fault is put.
fn written(house: &House, mutation: &Mutation, idx: usize) -> PathBuf {
    let name = Path::new(&mutation.config).file_stem().unwrap().to_string_lossy().into_owned();
    let file = house.beside(&mutation.config, &format!("{name}.fault-{idx}.toml"));
    fs::write(&file, &mutation.text).unwrap();
    file
}

/// All lines of the shipped configs, at both places where they lie.
fn all_lines(house: &House) -> Lines {
    let names = shipped();
    let places = names.iter().map(|name| {
        let text = fs::read_to_string(path(&format!("configs/{name}"))).unwrap();
        (house.beside(name, Path::new(name).file_name().unwrap().to_str().unwrap()), lines_of(&text))
    });
    places.collect()
}

/// Every fault that the mutators know, in an order that the seed decides.
fn all_mutations() -> Vec<Mutation> {
    let words = vocabulary();
    let mut all: Vec<(u64, Mutation)> = Vec::new();
    for name in shipped() {
        let text = fs::read_to_string(path(&format!("configs/{name}"))).unwrap();
        for mutation in mutations(&name, &text, &words) {
            let mut draw = Stream::new(23, "config-faults", all.len() as u64, 0);
            all.push(((draw.uniform() * 1e15) as u64, mutation));
        }
    }
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, mutation)| mutation).collect()
}

/// The table of what was found, and what was not, as the documentation has it.
fn report(tried: &[(Mutation, Outcome)], slowest: Duration, mean: Duration) -> String {
    let mut text = String::from("| Kind of fault | Found | Made |\n| --- | ---: | ---: |\n");
    let is_found = |outcome: &Outcome| matches!(outcome, Outcome::Found);
    for kind in Kind::ALL {
        let of_kind = tried.iter().filter(|(mutation, _)| mutation.kind == kind);
        let found = of_kind.clone().filter(|(_, outcome)| is_found(outcome)).count();
        writeln!(text, "| {} | {found} | {} |", kind.name(), of_kind.count()).unwrap();
    }
    let found = tried.iter().filter(|(_, outcome)| is_found(outcome)).count();
    writeln!(text, "| all | {found} | {} |", tried.len()).unwrap();
    writeln!(text, "\nA check took {:.2} s on average, {:.2} s at most.", mean.as_secs_f64(), slowest.as_secs_f64())
        .unwrap();
    for (mutation, outcome) in tried.iter().filter(|(_, outcome)| !is_found(outcome)) {
        let Mutation { config, what, line, .. } = mutation;
        let outcome = match outcome {
            Outcome::Elsewhere(said) => format!("said, at another place: {said}"),
            _ => "nothing was said".to_owned(),
        };
        writeln!(text, "not found, {}: {config}:{line}: {what}: {outcome}", mutation.kind.name()).unwrap();
    }
    text
}

#[test]
fn every_shipped_config_is_fine_where_its_files_are() {
    let house = House::new();
    for name in shipped() {
        let file = house.beside(&name, Path::new(&name).file_name().unwrap().to_str().unwrap());
        let ran = anneal(&["config", "check", file.to_str().unwrap()]).succeeds();
        assert!(ran.out.contains("fine"), "{ran:#?}");
    }
}

/// What is said of a config in this process, which opens libtorch once; the binary says the same. As for a person, compiled
/// components are kept from one check to the next.
fn said_here(house: &House) -> impl Fn(&Path) -> Option<String> {
    let env = Environment {
        own_plugins: Some(path("target/plugins").into()),
        cache_home: Some(house.at("cache")),
        config_home: Some(house.at("settings")),
        ..Environment::default()
    };
    move |file| AnyProject::inspect(file, &[], &[], &env).err().map(|error| error.to_string())
}

/// Tries `mutations` and tells what came of them.
#[allow(clippy::print_stdout, reason = "the table is the test's result")]
fn tried(
    house: &House,
    mutations: Vec<Mutation>,
    said: impl Fn(&Path) -> Option<String>,
) -> (Vec<(Mutation, Outcome)>, String) {
    let lines = all_lines(house);
    let mut tried = Vec::new();
    let (mut slowest, mut all) = (Duration::ZERO, Duration::ZERO);
    for mutation in mutations {
        let file = written(house, &mutation, tried.len());
        let clock = Instant::now();
        let said = said(&file);
        let took = clock.elapsed();
        (slowest, all) = (slowest.max(took), all + took);
        fs::remove_file(&file).unwrap();
        let outcome = said.map_or(Outcome::Missed, |said| judged(&mutation, &file, &said, &lines));
        tried.push((mutation, outcome));
    }
    let report = report(&tried, slowest, all / tried.len().max(1) as u32);
    println!("{report}");
    (tried, report)
}

/// The first mutations of each kind.
fn first_of_each_kind(all: Vec<Mutation>, number: usize) -> Vec<Mutation> {
    let mut taken: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut take = |mutation: &Mutation| {
        let taken = taken.entry(mutation.kind).or_default();
        *taken += 1;
        *taken <= number
    };
    let chosen: Vec<Mutation> = all.into_iter().filter(|mutation| take(mutation)).collect();
    assert!(Kind::ALL.iter().all(|kind| taken.get(kind).is_some_and(|taken| *taken >= number)), "{taken:?}");
    chosen
}

#[track_caller]
fn assert_found(tried: &[(Mutation, Outcome)], report: &str) {
    let found = tried.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Found)).count();
    assert!(found as f64 >= FOUND_MIN * tried.len() as f64, "{report}");
}

#[test]
fn single_faults_are_found_and_placed() {
    let house = House::new();
    let (tried, report) = tried(&house, first_of_each_kind(all_mutations(), OF_EACH_KIND), said_here(&house));
    assert!(tried.len() >= 500, "{} faults are too few", tried.len());
    assert_found(&tried, &report);
}

#[test]
fn the_binary_says_so_and_ends_with_the_exit_code_of_the_fault() {
    let house = House::new();
    let said = |file: &Path| {
        let ran = anneal(&["config", "check", file.to_str().unwrap()]);
        assert!(matches!(ran.code, Some(0 | 3 | 4 | 5)) && !ran.err.contains("panicked"), "{ran:#?}");
        assert_eq!(ran.code == Some(0), ran.err.is_empty(), "{ran:#?}");
        (ran.code != Some(0)).then_some(ran.err)
    };
    let (tried, report) = tried(&house, first_of_each_kind(all_mutations(), OF_EACH_KIND_BY_BINARY), said);
    assert_found(&tried, &report);
}

#[test]
#[ignore = "tries every fault that the mutators know, some thousands: cargo test --workspace --test cli -- --ignored every_fault"]
fn every_fault_is_found_and_placed() {
    let house = House::new();
    let (tried, report) = tried(&house, all_mutations(), said_here(&house));
    assert_found(&tried, &report);
}

/// Faults of every stage of the check: of syntax trees, names, types, plugins, data, widths and weights.
#[test]
fn all_faults_of_a_config_come_at_once() {
    let house = House::new();
    let shipped = fs::read_to_string(path("configs/svd.toml")).unwrap();
    let faults = [
        ("seed = 23", "sede = 23", "run.sede: unknown key"),
        ("batch_size = 1 ", "batch_size = \"one\" ", "data.batch_size: expected an integer"),
        ("dim = 256", "dim = 257", "model.network.adm_in_channels: is 768, but"),
        ("\"conditioner.embedders.3.\"", "\"conditioner.embeders.3.\"", "model.embedders.3.weights_prefix: "),
        ("plugin = \"euler-edm\"", "plugin = \"euler-edn\"", "sampling.sampler.plugin: no sampler is named"),
        ("sigma_min = 0.002", "sigma_min = 900.0", "sampling.discretization: "),
        ("clip_grad_norm = 1.0", "clip_grad_norm = 0.0", "train.clip_grad_norm: 0.0 is not above"),
    ];
    let check = |chosen: &[usize]| {
        let mut text = shipped.clone();
        for (from, to, _) in chosen.iter().map(|i| &faults[*i]) {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        let file = house.beside("svd.toml", "svd.many.toml");
        fs::write(&file, text).unwrap();
        let ran = anneal(&["config", "check", file.to_str().unwrap()]);
        ran.fails(3, &chosen.iter().map(|i| faults[*i].2).collect::<Vec<_>>());
        let said = ran.err.lines().filter(|line| line.contains("svd.many.toml:")).count();
        assert_eq!(said, chosen.len(), "{ran:#?}");
    };
    check(&[0, 1]);
    check(&[0, 3, 6]);
    check(&[2, 3, 5, 6]);
    // What the batch is needed for is not looked at where the data is wrong by itself.
    check(&[0, 1, 3, 4, 5, 6]);
}

/// A file that lacks is told once, and not what could not be looked at without it.
#[test]
fn faults_that_follow_from_others_are_not_told() {
    let house = House::new();
    let shipped = fs::read_to_string(path("configs/txt2img-clipl.toml")).unwrap();
    let file = house.beside("txt2img-clipl.toml", "txt2img-clipl.one.toml");
    // Without its words an encoder of texts can embed none, and without shards there is nothing to embed.
    for (from, to, said) in [
        ("14/tokenizer.json", "14/tokenizers.json", "model.embedders.0.tokenizer: there is no file"),
        ("captioned/*.tar", "captions/*.tar", "data.source.shards.0: no file is called"),
    ] {
        assert!(shipped.contains(from), "{from}");
        fs::write(&file, shipped.replacen(from, to, 1)).unwrap();
        let ran = anneal(&["config", "check", file.to_str().unwrap()]);
        assert!(ran.code.is_some_and(|code| code != 0) && ran.err.contains(said), "{ran:#?}");
        assert_eq!(ran.err.lines().filter(|line| line.contains(".one.toml:")).count(), 1, "{ran:#?}");
    }
}
