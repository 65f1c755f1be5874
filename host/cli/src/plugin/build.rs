//! `anneal plugin build`: from a plugin's sources to a plugin directory that a run accepts.

use std::fs;
use std::path::{Path, PathBuf};

use anneal::config::Environment;
use anneal::plugin::native::NativeLibrary;
use anneal::plugin::wasm::{CodeCache, WasmRuntime};
use anneal::plugin::{Registry, SearchPath, Verdict};
use anneal_packaging::{FileError, encode, install, is_component};
use clap::Args;
use serde_json::Value;

use super::compile::compile;
use super::failed;
use super::language::Language;
use super::source::Source;
use crate::exit::{Exit, Failure};

/// Arguments of `plugin build`.
#[derive(Debug, Args)]
pub struct Build {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Compile without optimising.
    #[arg(long)]
    debug: bool,
}

impl Build {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let source = Source::read(&self.dir)?;
        let library = compile(&source, self.debug)?;
        let mut artifact = fs::read(&library).map_err(|error| unreadable(&library, &error))?;
        if source.is_wasm && !is_component(&artifact) {
            artifact = encode(&artifact).map_err(|problem| {
                let help = match source.language {
                    Language::C => "let it need no more of the C library than memory and mathematics",
                    _ => "build it on plugin-api with the feature `wasm`, and let nothing in it need WASI",
                };
                failed(format!("the module of {} is no component: {problem}", source.id), help)
            })?;
        }
        for schema in source.write_schemas(&describe(&source, &library, &artifact)?)? {
            println!("wrote {}", source.folder.join(schema).display());
        }
        let (id, dist) = (source.id.clone(), source.folder.join("dist"));
        install(&dist, &id, &source.files(artifact)?)?;
        let registry = verified(&dist, &id)?;
        let Some(plugin) = registry.plugin(&id) else { return Ok(Exit::Done) };
        println!("{id} {} ({}) is in {}", plugin.version(), plugin.runtime(), plugin.path().display());
        for entry in plugin.entries() {
            println!("  {} {}", entry.kind(), entry.full_name());
        }
        println!("use it with --plugin-dir {}", dist.display());
        Ok(Exit::Done)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Failure::new(Exit::Disk, error.to_string())
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Disk, format!("cannot read {}: {error}", path.display()))
}

/// What the plugin's code says of itself.
fn describe(source: &Source, library: &Path, artifact: &[u8]) -> Result<Value, Failure> {
    if !source.is_wasm {
        let loaded = NativeLibrary::load(&source.id, library);
        return Ok(loaded.map_err(anneal::plugin::PluginError::from)?.describe().clone());
    }
    let file = tempfile::NamedTempFile::new().map_err(|error| Failure::new(Exit::Disk, error.to_string()))?;
    fs::write(file.path(), artifact).map_err(|error| Failure::new(Exit::Disk, error.to_string()))?;
    let runtime = WasmRuntime::new()?.with_cache(CodeCache::of_user(&Environment::read()));
    let runtime = if source.has_null_wasi() { runtime.with_null_wasi() } else { runtime };
    Ok(runtime.load(&source.id, file.path())?.describe()?)
}

/// Finds and loads the plugin `id` in a directory as a run would.
fn verified(dist: &Path, id: &str) -> Result<Registry, Failure> {
    let mut registry =
        Registry::discover(&SearchPath::only(dist).with_code_of(&Environment::read()), &Default::default())?;
    if registry.plugin(id).is_none() {
        let reasons = registry.decisions().iter().filter_map(|decision| match &decision.verdict {
            Verdict::Refused(reason) => Some(reason.as_str()),
            _ => None,
        });
        let reasons: Vec<&str> = reasons.collect();
        return Err(failed(format!("the built plugin is refused: {}", reasons.join("\n")), "mend plugin.toml"));
    }
    registry.load(id)?;
    Ok(registry)
}
