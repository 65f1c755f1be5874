//! Settings: the schema, what the plugin makes of what it allows, and of what it does not.

use anneal::error::ErrorCode;
use anneal::plugin::Runtime;
use anneal::plugin::wasm::{NoAnswer, Question};
use serde_json::{Map, Value, json};

use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::settings;
use crate::subject::{Subject, said, shown};

pub const CHECKS: &[Check] = &[
    Check::new(
        "C01",
        "schema-is-valid",
        Level::L0,
        Scope::Entry,
        "The schema is a JSON Schema of draft 2020-12 that refers to nothing outside of itself.",
        schema_is_valid,
    ),
    Check::new(
        "C02",
        "schema-is-closed",
        Level::L1,
        Scope::Entry,
        "Every object of the schema forbids keys that it does not name, so that a typing mistake does not pass.",
        schema_is_closed,
    ),
    Check::new(
        "C03",
        "defaults-are-valid",
        Level::L1,
        Scope::Entry,
        "Defaults are what the schema allows, and what is required is a setting.",
        defaults_are_valid,
    ),
    Check::new(
        "C05",
        "settings-are-documented",
        Level::L1,
        Scope::Entry,
        "Each setting has a description.",
        documented,
    )
    .advisory(),
    Check::new(
        "C06",
        "examples-run",
        Level::L1,
        Scope::Entry,
        "Each example of the manifest is what the schema allows, starts, and gives what it says it gives.",
        examples_run,
    ),
    Check::new(
        "C07",
        "allowed-settings-start",
        Level::L1,
        Scope::Settings,
        "Settings that the schema allows and check-config does not object to start.",
        allowed_settings_start,
    ),
    Check::new(
        "C08",
        "hostile-settings-are-survived",
        Level::L3,
        Scope::Settings,
        "Settings that no schema would let through are refused or taken, without a trap.",
        hostile_settings,
    ),
    Check::new(
        "C09",
        "bounds-are-the-plugins",
        Level::L1,
        Scope::Settings,
        "The plugin itself refuses settings outside of the bounds and the choices of its schema.",
        bounds,
    ),
    Check::new(
        "C10",
        "wrong-types-are-named",
        Level::L3,
        Scope::Settings,
        "A setting of the wrong type is refused with an error that names it.",
        wrong_types,
    ),
    Check::new(
        "C11",
        "unknown-settings-are-named",
        Level::L3,
        Scope::Settings,
        "A setting that does not exist is refused with an error that names it.",
        unknown_settings,
    ),
    Check::new(
        "C12",
        "hostile-texts-are-survived",
        Level::L3,
        Scope::Settings,
        "NUL, marks of direction, unpaired surrogates and 64 KiB of text, as a setting and as its name, are refused or \
         taken, without a trap.",
        hostile_texts,
    ),
    Check::new(
        "C13",
        "deep-settings-are-refused",
        Level::L3,
        Scope::Settings,
        "Lists in lists, 1000 levels deep, are refused, without a trap.",
        deep_settings,
    ),
    Check::new(
        "C14",
        "paths-exist",
        Level::L1,
        Scope::Settings,
        "The path of an error about a setting is a JSON pointer to one that was given, or to one that the schema has.",
        paths_exist,
    ),
    Check::new(
        "C16",
        "instances-are-independent",
        Level::L2,
        Scope::Numbers,
        "Two instances with different settings give, called in turn, what each gives alone.",
        independent,
    ),
];

fn schema_is_valid(subject: &mut Subject) -> Found {
    let schema = subject.schema()?;
    jsonschema::draft202012::meta::validate(&schema).map_err(|error| Finding::fail(error.to_string()))?;
    let text = schema.to_string();
    demand!(!text.contains("\"$ref\":\"http"), "the schema refers to another document");
    jsonschema::validator_for(&schema).map(drop).map_err(|error| Finding::fail(error.to_string()))
}

fn schema_is_closed(subject: &mut Subject) -> Found {
    match open_object(&subject.schema()?, "") {
        Some(place) => Err(Finding::fail(format!("{place}/additionalProperties is not false"))),
        None => Ok(()),
    }
}

/// Where an object takes any key.
fn open_object(schema: &Value, place: &str) -> Option<String> {
    let others = &schema["additionalProperties"];
    if schema["type"] == "object" && (others.is_null() || *others == Value::Bool(true)) {
        return Some(place.to_owned());
    }
    let inner = schema["properties"].as_object().into_iter().flatten();
    inner.into_iter().find_map(|(name, property)| open_object(property, &format!("{place}/properties/{name}")))
}

fn defaults_are_valid(subject: &mut Subject) -> Found {
    let schema = subject.schema()?;
    for (name, property) in settings::properties(&schema) {
        let Some(default) = property.get("default") else { continue };
        let validator = jsonschema::validator_for(property).map_err(|error| Finding::fail(error.to_string()))?;
        demand!(validator.is_valid(default), "the default {default} of {name} is not what the schema allows");
    }
    let listed = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in listed {
        demand!(schema["properties"].get(name).is_some(), "{name} is required and is no setting");
    }
    Ok(())
}

fn documented(subject: &mut Subject) -> Found {
    let schema = subject.schema()?;
    let silent: Vec<&str> = settings::properties(&schema)
        .filter(|(_, property)| property["description"].as_str().is_none_or(str::is_empty))
        .map(|(name, _)| name.as_str())
        .collect();
    demand!(silent.is_empty(), "without a description: {}", silent.join(", "));
    Ok(())
}

fn examples_run(subject: &mut Subject) -> Found {
    let examples = subject.entry()?.examples().to_vec();
    if examples.is_empty() {
        return Err(Finding::NotDeclared("the manifest has no example".to_owned()));
    }
    let schema = subject.schema()?;
    let validator = jsonschema::validator_for(&schema).map_err(|error| Finding::fail(error.to_string()))?;
    let (kind, runtime) = (subject.kind(), subject.runtime()?);
    let (starts, answers) = (Scope::Settings.takes(kind, runtime), Scope::Numbers.takes(kind, runtime));
    for example in examples {
        let config = Value::Object(example.config.clone());
        if let Some(error) = validator.iter_errors(&config).next() {
            return Err(Finding::fail(format!("{}: {error}", shown(&example.config))));
        }
        if !answers {
            if starts {
                subject.start_with(&example.config).map_err(|problem| Finding::fail(said(&problem)))?;
            }
            continue;
        }
        let mut asked = subject.asked_with(&example.config).map_err(|problem| Finding::fail(said(&problem)))?;
        if let (Some(n), Some([first, last])) = (example.n, example.expect) {
            let sigmas = subject.values(&mut asked, Question::Sigmas(n))?;
            let near = |got: Option<&f64>, wanted: f64| got.is_some_and(|got| (got / wanted - 1.0).abs() <= 1e-6);
            let ends = (sigmas.first(), sigmas.last());
            demand!(near(ends.0, first) && near(ends.1, last), "{}: {ends:?}", shown(&example.config));
        }
    }
    Ok(())
}

/// What check-config objects to. That of a native entry is part of its start.
fn objections(subject: &mut Subject, config: &Map<String, Value>) -> Result<Vec<String>, Finding> {
    if subject.runtime()? == Runtime::Native {
        return Ok(Vec::new());
    }
    let (component, name) = (subject.component()?, subject.name());
    subject.trace(format!("check-config of {}", shown(config)));
    let told = component.check_config(&name, config).map_err(|error| Finding::fail(error.to_string()))?;
    Ok(told.into_iter().filter(|told| told.is_error).map(|told| format!("{} {}", told.path, told.message)).collect())
}

fn allowed_settings_start(subject: &mut Subject) -> Found {
    let (schema, base, mut random) = (subject.schema()?, subject.config()?, subject.random());
    for _ in 0..100 {
        let config = settings::valid(&schema, &base, &mut random);
        if !objections(subject, &config)?.is_empty() {
            continue;
        }
        if let Err(problem) = subject.start_with(&config) {
            // Beyond what a schema can say a native entry objects when it starts.
            if matches!((&problem, subject.runtime()?), (NoAnswer::Refused(_), Runtime::Native)) {
                continue;
            }
            return Err(Finding::fail(format!("{}: {}", shown(&config), said(&problem))));
        }
    }
    Ok(())
}

/// Starts with settings that may be refused, but must not stop the plugin. What the plugin says if it refuses.
fn refusal(subject: &mut Subject, config: &Map<String, Value>) -> Result<Option<String>, Finding> {
    let objected = objections(subject, config)?;
    match subject.start_with(config) {
        Ok(()) => Ok(objected.into_iter().next()),
        Err(NoAnswer::Refused(error)) => {
            let path = error.config_path.clone().unwrap_or_default();
            Ok(Some(format!("{path} {} {}", error.message, objected.join(" "))))
        }
        Err(NoAnswer::Stopped(error)) => Err(Finding::fail(format!("{}: {}", shown(config), error.message))),
    }
}

fn hostile_settings(subject: &mut Subject) -> Found {
    let (schema, base, mut random) = (subject.schema()?, subject.config()?, subject.random());
    for _ in 0..100 {
        refusal(subject, &settings::hostile(&schema, &base, &mut random))?;
    }
    Ok(())
}

fn hostile_texts(subject: &mut Subject) -> Found {
    let (schema, base) = (subject.schema()?, subject.config()?);
    let names: Vec<String> = settings::properties(&schema).map(|(name, _)| name.clone()).collect();
    for text in ["\u{0}", "\u{202e}\u{2066}", "\u{fffd}\u{fffe}\u{10ffff}", "x".repeat(64 << 10).as_str()] {
        for name in names.iter().map(String::as_str).chain([text]) {
            refusal(subject, &with(&base, name, json!(text)))?;
        }
    }
    Ok(())
}

fn deep_settings(subject: &mut Subject) -> Found {
    let (schema, base) = (subject.schema()?, subject.config()?);
    let first = settings::properties(&schema).next().map_or("unasked".to_owned(), |(name, _)| name.clone());
    let said = refusal(subject, &with(&base, &first, settings::nested(1000)))?;
    // A plugin that leaves its settings to their schema never sees such a thing.
    if looks_itself(subject).is_ok() {
        demand!(said.is_some(), "{first} may be lists in lists");
    }
    Ok(())
}

fn with(base: &Map<String, Value>, name: &str, value: Value) -> Map<String, Value> {
    let mut config = base.clone();
    config.insert(name.to_owned(), value);
    config
}

/// Settings of a native entry come to it as its schema has them; not every one looks at them again.
fn looks_itself(subject: &mut Subject) -> Found {
    let kind = subject.kind();
    if subject.runtime()? == Runtime::Native && !subject.library()?.checks_settings(kind) {
        return Err(Finding::NotDeclared("the plugin leaves its settings to their schema".to_owned()));
    }
    Ok(())
}

fn bounds(subject: &mut Subject) -> Found {
    looks_itself(subject)?;
    let (schema, base) = (subject.schema()?, subject.config()?);
    for (name, property) in settings::properties(&schema) {
        for (why, value) in settings::forbidden(property) {
            let said = refusal(subject, &with(&base, name, value))?;
            demand!(said.is_some(), "{name}: {why}, and is taken");
        }
    }
    Ok(())
}

fn wrong_types(subject: &mut Subject) -> Found {
    looks_itself(subject)?;
    let (schema, base) = (subject.schema()?, subject.config()?);
    for (name, property) in settings::properties(&schema) {
        let value = settings::wrong_type(property);
        let told = refusal(subject, &with(&base, name, value.clone()))?;
        demand!(
            told.as_ref().is_some_and(|told| told.contains(name.as_str())),
            "{name} = {value}: {}",
            told.as_deref().unwrap_or("is taken")
        );
    }
    Ok(())
}

fn unknown_settings(subject: &mut Subject) -> Found {
    looks_itself(subject)?;
    let base = subject.config()?;
    let told = refusal(subject, &with(&base, "no_such_setting", json!(1)))?;
    let named = told.as_ref().is_some_and(|told| told.contains("no_such_setting"));
    demand!(named, "no_such_setting = 1: {}", told.as_deref().unwrap_or("is taken"));
    Ok(())
}

fn paths_exist(subject: &mut Subject) -> Found {
    let (schema, base) = (subject.schema()?, subject.config()?);
    for (name, property) in settings::properties(&schema) {
        let wrong = settings::forbidden(property).into_iter().map(|(_, value)| value);
        for value in wrong.chain([settings::wrong_type(property)]) {
            let config = with(&base, name, value);
            let path = match subject.start_with(&config) {
                Err(NoAnswer::Refused(error)) if error.code == ErrorCode::InvalidConfig => error.config_path,
                _ => continue,
            };
            let Some(path) = path.filter(|path| !path.is_empty()) else { continue };
            let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
            let is_setting = schema["properties"].get(first).is_some();
            demand!(
                Value::Object(config.clone()).pointer(&path).is_some() || (path.starts_with('/') && is_setting),
                "with {} the error's path is `{path}`",
                shown(&config)
            );
        }
    }
    Ok(())
}

fn independent(subject: &mut Subject) -> Found {
    let (schema, base, mut random) = (subject.schema()?, subject.config()?, subject.random());
    let mut others = (0..20).map(|_| settings::valid(&schema, &base, &mut random));
    let Some(other) = others.find(|config| *config != base && subject.asked_with(config).is_ok()) else {
        return Err(Finding::NotDeclared("the entry has no settings that can be varied".to_owned()));
    };
    let alone = [transcript(subject, &base)?, transcript(subject, &other)?];
    let mut both = [subject.asked_with(&base), subject.asked_with(&other)]
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|problem| Finding::fail(said(&problem)))?;
    for round in 0..3 {
        for (asked, wanted) in both.iter_mut().zip(&alone) {
            let got = super::repeat::numbers(subject, asked, 1)?;
            demand!(got == *wanted, "in round {round} the answers are not those of an instance alone");
        }
    }
    Ok(())
}

fn transcript(subject: &mut Subject, config: &Map<String, Value>) -> Result<Vec<u64>, Finding> {
    let mut asked = subject.asked_with(config).map_err(|problem| Finding::fail(said(&problem)))?;
    super::repeat::numbers(subject, &mut asked, 1)
}
