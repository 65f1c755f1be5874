//! The component: that it is one, wants nothing it may not have, and starts.

use anneal::plugin::Runtime;
use anneal::plugin::wasm::{Question, WasmRuntime};

use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::subject::{Subject, said};

pub const CHECKS: &[Check] = &[
    Check::new(
        "W01",
        "component-loads",
        Level::L0,
        Scope::Component,
        "The artifact is a component that compiles, imports nothing but anneal:plugin at a version the host has (and WASI, \
         where the manifest asks for one with nothing behind it), and describes the entries and schemas that the manifest lists.",
        |subject| subject.component().map(drop),
    )
    .gate(),
    Check::new(
        "W08",
        "describe-is-constant",
        Level::L1,
        Scope::Component,
        "describe returns the same every time and in every instance.",
        describe_is_constant,
    ),
    Check::new(
        "W07",
        "compiles-fast",
        Level::L1,
        Scope::Component,
        "It compiles in less than five seconds and is smaller than 16 MiB.",
        compiles_fast,
    )
    .advisory(),
    Check::new(
        "W06",
        "starts",
        Level::L1,
        Scope::Function,
        "The entry starts with the first example's settings, or with none, within the limits of fuel, memory and time.",
        starts,
    )
    .gate(),
    Check::new(
        "W09",
        "ordinary-call-returns",
        Level::L1,
        Scope::Numbers,
        "An ordinary call of the entry's function comes back within the limits of fuel, memory and time, without a trap.",
        ordinary_call,
    )
    .gate(),
    Check::new(
        "C15",
        "unknown-entry-is-refused",
        Level::L1,
        Scope::Component,
        "init with the name of an entry that is not there is refused.",
        unknown_entry,
    ),
];

fn describe_is_constant(subject: &mut Subject) -> Found {
    let (one, other) = (subject.component()?, subject.fresh_component()?);
    let described = |component: &anneal::plugin::wasm::WasmPlugin| {
        component.describe().map_err(|error| Finding::fail(error.to_string()))
    };
    let first = described(&one)?;
    for again in [described(&one)?, described(&other)?] {
        demand!(first == again, "describe returned {first} and then {again}");
    }
    Ok(())
}

fn compiles_fast(subject: &mut Subject) -> Found {
    let plugin = subject.plugin()?;
    let path = plugin.artifact(Runtime::Wasm).ok_or_else(|| Finding::fail("there is no artifact for wasm"))?;
    let bytes = std::fs::metadata(&path).map_err(|error| Finding::fail(error.to_string()))?.len();
    demand!(bytes < 16 << 20, "{bytes} bytes");
    let runtime = WasmRuntime::new().map_err(|error| Finding::fail(error.to_string()))?;
    let start = std::time::Instant::now();
    plugin.component(&runtime).map_err(|error| Finding::fail(error.to_string()))?;
    let seconds = start.elapsed().as_secs_f64();
    demand!(seconds < 5.0, "it took {seconds:.1} s to compile");
    Ok(())
}

fn starts(subject: &mut Subject) -> Found {
    if subject.kind() == anneal::config::PluginKind::Sampler {
        let (config, name) = (subject.config()?, subject.name());
        subject.trace("init");
        return subject
            .component()?
            .sampler(&name, &config)
            .map(drop)
            .map_err(|error| Finding::fail(error.to_string()));
    }
    subject.asked().map(drop)
}

fn ordinary_call(subject: &mut Subject) -> Found {
    use anneal::config::PluginKind as Kind;
    let mut asked = subject.asked()?;
    let sigmas = [10.0, 1.0, 0.1];
    let question = match subject.kind() {
        Kind::Discretization => Question::Sigmas(10),
        Kind::SigmaSampling => Question::Sample(&[0.25, 0.5, 0.75]),
        Kind::Weighting => Question::Weights(&sigmas),
        Kind::Guidance => Question::Scales { sigmas: &sigmas, num_frames: 8, num_views: 1 },
        Kind::LearningRate => Question::Factors { first: 0, count: 16 },
        Kind::Sampler | Kind::Embedder => return Ok(()),
    };
    subject.answer(&mut asked, question).map(drop)
}

fn unknown_entry(subject: &mut Subject) -> Found {
    let component = subject.component()?;
    let Some((kind, config)) = subject
        .plugin()?
        .entries()
        .find(|entry| {
            !matches!(entry.kind(), anneal::config::PluginKind::Sampler | anneal::config::PluginKind::Embedder)
        })
        .map(|entry| (entry.kind(), crate::settings::required(entry.schema())))
    else {
        return Err(Finding::NotDeclared("no entry that answers with numbers".to_owned()));
    };
    subject.trace("init of an entry that is not there");
    match component.asked(kind, "no-such-entry", &config) {
        Ok(_) => Err(Finding::fail("it started an entry that is not there")),
        Err(anneal::plugin::wasm::NoAnswer::Refused(_)) => Ok(()),
        Err(problem) => Err(Finding::fail(said(&problem))),
    }
}
