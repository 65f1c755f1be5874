//! A plugin's source folder: its manifest as far as building needs it.

use std::fs;
use std::path::{Path, PathBuf};

use anneal_packaging::Files;
use clap::ValueEnum;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use toml_edit::{DocumentMut, Item, Table, value};

use super::failed;
use super::language::Language;
use crate::exit::{Exit, Failure};

/// Files that are handed on with a plugin, where it has them.
const PAPERS: [&str; 4] = ["README.md", "LICENSE", "LICENSE-MIT", "LICENSE-APACHE"];

/// A folder with a `plugin.toml` and sources.
pub struct Source {
    /// The folder, absolute.
    pub folder: PathBuf,
    /// The plugin's id.
    pub id: String,
    /// What it is written in.
    pub language: Language,
    /// Whether it runs as a WASM component.
    pub is_wasm: bool,
    manifest: DocumentMut,
    /// The key of the artifact that is built here, and its path.
    artifact: (String, String),
}

/// An entry as the manifest lists it.
pub struct Entry {
    pub name: String,
    pub kind: String,
    pub schema: String,
}

impl Source {
    /// Reads `dir/plugin.toml`.
    ///
    /// # Errors
    /// When there is no manifest or no source, or the manifest lacks what is needed to build.
    pub fn read(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join("plugin.toml");
        let text = fs::read_to_string(&path).map_err(|error| {
            failed(format!("cannot read {}: {error}", path.display()), "`anneal plugin new` begins a plugin")
        })?;
        let wrong = |what: &str, help: &str| failed(format!("{}: {what}", path.display()), help);
        let manifest: DocumentMut = text.parse().map_err(|error| wrong(&format!("{error}"), "mend the manifest"))?;
        let language = Language::of(dir).ok_or_else(|| {
            let files = Language::value_variants().iter().map(|language| language.source());
            let what = format!("{} has none of {}", dir.display(), files.collect::<Vec<_>>().join(", "));
            failed(what, "build the folder of a plugin's sources")
        })?;
        let id = manifest.get("id").and_then(Item::as_str).filter(|id| anneal::plugin::is_id(id));
        let id = id.ok_or_else(|| wrong("`id` is not `vendor.name`", "write `id = \"vendor.name\"`"))?.to_owned();
        let native = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let artifact = ["wasm", native.as_str()].into_iter().find_map(|key| {
            Some((key.to_owned(), manifest.get("artifact")?.get(key)?.get("path")?.as_str()?.to_owned()))
        });
        let artifact = artifact.ok_or_else(|| {
            let help = format!("write `path = \"file\"` below [artifact.wasm] or [artifact.{native}]");
            wrong("it names no artifact that can be built here", &help)
        })?;
        let folder = fs::canonicalize(dir).map_err(|error| wrong(&error.to_string(), "name an existing folder"))?;
        Ok(Self { folder, id, language, is_wasm: artifact.0 == "wasm", manifest, artifact })
    }

    /// What the manifest lists, where each entry has a name, a kind and a schema.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let tables = self.manifest.get("entry").and_then(Item::as_array_of_tables).into_iter().flatten();
        let text = |table: &Table, key: &str| Some(table.get(key)?.as_str()?.to_owned());
        tables.filter_map(move |table| {
            Some(Entry { name: text(table, "name")?, kind: text(table, "kind")?, schema: text(table, "schema")? })
        })
    }

    /// Whether the manifest asks for a WASI with nothing behind it.
    pub fn has_null_wasi(&self) -> bool {
        let wasi = self.manifest.get("capabilities").and_then(|table| table.get("wasi"));
        wasi.and_then(Item::as_str) == Some("null")
    }

    /// What a plugin tells about itself whose code does not: the entries of the manifest, with their schema files.
    ///
    /// # Errors
    /// When a schema cannot be read.
    pub fn descriptor(&self, sdk: &str) -> Result<Value, Failure> {
        let entries = self.entries().map(|Entry { name, kind, schema }| {
            let path = self.folder.join(&schema);
            let text = fs::read(&path).map_err(|error| no_schema(&path, &error))?;
            let schema: Value = serde_json::from_slice(&text)
                .map_err(|error| failed(format!("{}: {error}", path.display()), "mend the JSON"))?;
            Ok(json!({ "name": name, "kind": kind, "schema": schema }))
        });
        Ok(json!({ "sdk": sdk, "entries": entries.collect::<Result<Vec<_>, Failure>>()? }))
    }

    /// Makes the schema files those of what the built plugin describes, and returns the paths of those that changed. The
    /// file of an entry that is described without a schema stays.
    ///
    /// # Errors
    /// When the code lacks an entry of the manifest, or a file cannot be written.
    pub fn write_schemas(&self, descriptor: &Value) -> Result<Vec<String>, Failure> {
        let described = descriptor["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut changed = Vec::new();
        for Entry { name, kind, schema } in self.entries() {
            let Some(code) = described.iter().find(|other| other["name"] == *name && other["kind"] == *kind) else {
                let all = described.iter().map(|other| format!("{} {}", other["kind"], other["name"]));
                let what = format!("plugin.toml lists the {kind} `{name}`, which the code does not export");
                let help = format!("make them agree; it exports {}", all.collect::<Vec<_>>().join(", "));
                return Err(failed(what, help.replace('"', "")));
            };
            let Some(told) = code.get("schema") else { continue };
            let path = self.folder.join(&schema);
            let is_same = fs::read(&path).is_ok_and(|bytes| serde_json::from_slice(&bytes).ok().as_ref() == Some(told));
            if !is_same {
                let text = serde_json::to_string_pretty(told).unwrap_or_default() + "\n";
                path.parent()
                    .map_or(Ok(()), fs::create_dir_all)
                    .and_then(|()| fs::write(&path, text))
                    .map_err(|error| Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display())))?;
                changed.push(schema);
            }
        }
        Ok(changed)
    }

    /// The files of the installed plugin: the artifact, the manifest with its SHA-256, schemas, README and licence.
    ///
    /// # Errors
    /// When a schema cannot be read.
    pub fn files(mut self, artifact: Vec<u8>) -> Result<Files, Failure> {
        let sha256: String = Sha256::digest(&artifact).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut files = Files::new();
        for Entry { schema, .. } in self.entries() {
            let path = self.folder.join(&schema);
            let bytes = fs::read(&path).map_err(|error| no_schema(&path, &error))?;
            files.insert(PathBuf::from(schema), bytes);
        }
        for paper in PAPERS {
            files.extend(fs::read(self.folder.join(paper)).map(|bytes| (PathBuf::from(paper), bytes)));
        }
        let (key, path) = self.artifact;
        self.manifest["artifact"][&key]["sha256"] = value(sha256);
        files.insert(PathBuf::from("plugin.toml"), self.manifest.to_string().into_bytes());
        files.insert(PathBuf::from(path), artifact);
        Ok(files)
    }
}

fn no_schema(path: &Path, error: &std::io::Error) -> Failure {
    failed(format!("cannot read {}: {error}", path.display()), "write the schema of the entry's settings")
}
