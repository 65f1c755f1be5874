//! From a TOML path to a checked config, and from a checked config to where each setting was written.

use std::path::Path;

use serde_json::Value;

use super::check::Finding;
use super::document::Node;
use super::kind::AUTOENCODER;
use super::paths::Files;
use super::problem::{Problem, Problems};
use super::repair::repaired;
use super::schema::{PATH_MARK, host_table, plugin_tables};
use super::{KindOfRun, RunConfig, RunKind, layers, shape};

/// A checked config that remembers where each setting was written.
#[derive(Debug, Clone)]
pub struct Loaded<C = RunConfig> {
    /// The settings; every path in them is absolute.
    pub config: C,
    root: Node,
    files: Files,
}

/// Reads the config at `path`, what it extends, and `sets` (`a.b.0.c=value`) on top.
///
/// Tables merge key by key, later layers win, and arrays are replaced as a whole. A table that names another `kind` or
/// `plugin` than the one beneath it replaces that one's settings. Paths are relative to the file that writes them,
/// those of `sets` to the current folder.
///
/// # Errors
/// All faults at once: of syntax, names, types and ranges, of settings that do not fit each other, and of files that
/// should be there. Settings of plugins are not checked here but by [`Loaded::check_plugin`].
pub fn load<C: RunKind>(path: &Path, sets: &[String]) -> Result<Loaded<C>, Problems> {
    load_with(path, sets, Files::Needed, |_, _| Vec::new())
}

/// As [`load`], where files are needed or may lack, with the checks of `more` on top, so that a person sees their findings
/// beside the others. They are made also where the config has faults, which they are told of: what stands there then means nothing.
///
/// # Errors
/// As [`load`], and what `more` finds.
pub fn load_with<C: RunKind>(
    path: &Path,
    sets: &[String],
    files: Files,
    more: impl FnOnce(&mut Loaded<C>, &[Problem]) -> Vec<Problem>,
) -> Result<Loaded<C>, Problems> {
    let mut problems = Vec::new();
    let Some(root) = layers::read(path, sets, &mut problems) else {
        return Err(Problems::sorted(problems));
    };
    let (value, wrong) = shape::check(&root, C::schema(), &[], C::schema(), files);
    problems.extend(wrong);
    for Finding { pointer, message, help } in C::findings(&value) {
        let problem = locate(&root, &pointer, message, help);
        // A value that is wrong by itself need not fit.
        if problems.iter().all(|known| known.key != problem.key) {
            problems.push(problem);
        }
    }
    let read = serde_json::from_value(value.clone());
    let read = read.or_else(|error| match problems.is_empty() {
        true => Err(error),
        false => serde_json::from_value(repaired(value, C::schema(), &problems)),
    });
    let loaded = match read {
        Ok(config) => {
            let mut loaded = Loaded { config, root, files };
            let found = more(&mut loaded, &problems);
            problems.extend(found);
            Some(loaded)
        }
        // The schema is made from the types, so this adds nothing to what the walk has found.
        Err(_) if !problems.is_empty() => None,
        Err(error) => {
            problems.push(locate(&root, "", error.to_string(), "compare with `anneal config schema`".to_owned()));
            None
        }
    };
    match loaded {
        Some(loaded) if problems.is_empty() => Ok(loaded),
        _ => Err(Problems::sorted(problems)),
    }
}

/// Takes the files of `value` that are not there and that `schema` does not require out of it.
fn leave_out_lacking(value: &mut Value, schema: &Value) {
    let required = |key: &str| schema["required"].as_array().into_iter().flatten().any(|name| name == key);
    let Some(settings) = value.as_object_mut() else { return };
    settings.retain(|key, setting| {
        let is_file = schema["properties"][key].get(PATH_MARK).is_some_and(|mark| mark == "file");
        let lacks = setting.as_str().is_some_and(|path| !Path::new(path).exists());
        !(is_file && lacks) || required(key)
    });
}

/// What the config at `path`, with `sets` on top, is about.
///
/// # Errors
/// Faults of syntax, and files that cannot be read.
pub fn kind_of_run(path: &Path, sets: &[String]) -> Result<KindOfRun, Problems> {
    let mut problems = Vec::new();
    match layers::read(path, sets, &mut problems) {
        Some(root) if root.get(AUTOENCODER).is_some() => Ok(KindOfRun::Autoencoder),
        Some(_) => Ok(KindOfRun::Diffusion),
        None => Err(Problems::sorted(problems)),
    }
}

impl<C: RunKind> Loaded<C> {
    /// A problem with the setting at a JSON pointer (`/model/embedders/0/dim`), at the place it was written; at the
    /// table around it where it was left to its default.
    pub fn problem(&self, pointer: &str, message: impl Into<String>, help: impl Into<String>) -> Problem {
        locate(&self.root, pointer, message.into(), help.into())
    }

    /// Checks the plugin's table at `pointer` against the schema of the plugin's own settings, writes the schema's
    /// defaults into [`Loaded::config`], and makes its paths (`"x-anneal-path": "file"`) absolute. Where files may lack,
    /// a plugin is not told of those that do and that it can do without.
    ///
    /// Returns what is wrong; the config is unchanged then.
    pub fn check_plugin(&mut self, pointer: &str, schema: &Value) -> Vec<Problem> {
        let at = segments(pointer);
        let Some(node) = at.iter().try_fold(&self.root, |node, segment| node.get(segment)) else {
            return vec![self.problem(pointer, "is missing", "add the table")];
        };
        let name = node.get("plugin").and_then(Node::as_str).unwrap_or_default();
        let host = host_table(C::schema(), &at);
        let tables = plugin_tables(&host, name, schema);
        let table = match &tables[..] {
            [only] => only.clone(),
            several => serde_json::json!({ "oneOf": several }),
        };
        let (mut value, problems) = shape::check(node, &table, &at, &table, self.files);
        if !problems.is_empty() {
            return problems;
        }
        if self.files == Files::MayLack {
            leave_out_lacking(&mut value, schema);
        }
        fill_defaults(&mut value, &table);
        let problems = self.check_by_validator(pointer, &value, &host, schema);
        if problems.is_empty() { self.replace(pointer, value) } else { problems }
    }

    /// What the walk does not know (conditions, patterns of keys) the validator does.
    fn check_by_validator(&self, pointer: &str, table: &Value, host: &Value, schema: &Value) -> Vec<Problem> {
        let validator = match jsonschema::validator_for(schema) {
            Ok(validator) => validator,
            Err(error) => {
                let message = format!("the plugin's schema is no JSON Schema: {error}");
                return vec![self.problem(pointer, message, "report this to the plugin's author")];
            }
        };
        let mut params = table.clone();
        if let (Some(params), Some(own)) = (params.as_object_mut(), host["properties"].as_object()) {
            params.retain(|key, _| !own.contains_key(key));
        }
        let help = "`anneal plugin info` shows the plugin's settings";
        let problems = validator.iter_errors(&params);
        problems
            .map(|error| self.problem(&format!("{pointer}{}", error.instance_path()), error.to_string(), help))
            .collect()
    }

    fn replace(&mut self, pointer: &str, table: Value) -> Vec<Problem> {
        let replaced = serde_json::to_value(&self.config).and_then(|mut config| {
            if let Some(place) = config.pointer_mut(pointer) {
                *place = table;
            }
            serde_json::from_value(config)
        });
        match replaced {
            Ok(config) => {
                self.config = config;
                Vec::new()
            }
            Err(error) => vec![self.problem(pointer, error.to_string(), "report this to the plugin's author")],
        }
    }

    /// The resolved config as TOML: defaults written out, paths absolute, nothing extended. Reading it again gives an
    /// equal config.
    ///
    /// # Errors
    /// When a setting of a plugin has no form in TOML (a null among its defaults).
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(&self.config)
    }
}

fn locate(root: &Node, pointer: &str, message: String, help: String) -> Problem {
    let at = segments(pointer);
    let mut node = root;
    for segment in &at {
        match node.get(segment) {
            Some(inner) => node = inner,
            None => break,
        }
    }
    node.origin.problem(&at, message, help)
}

fn segments(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect()
}

/// Writes the schema's defaults into a table that fits it.
fn fill_defaults(value: &mut Value, schema: &Value) {
    if let Some(branches) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
        if let Some(branch) = branches.iter().find(|branch| jsonschema::is_valid(branch, value)) {
            fill_defaults(value, branch);
        }
        return;
    }
    match value {
        Value::Object(table) => {
            for (key, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if let Some(default) = schema.get("default") {
                    table.entry(key.clone()).or_insert_with(|| default.clone());
                }
                if let Some(inner) = table.get_mut(key) {
                    fill_defaults(inner, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| fill_defaults(item, schema));
            }
        }
        _ => {}
    }
}
