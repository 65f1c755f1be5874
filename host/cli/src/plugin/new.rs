//! `anneal plugin new`: a plugin that builds, to be changed.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failed;
use super::language::Language;
use super::template::{Kind, Names, files};
use crate::exit::{Exit, Failure};

/// Where the SDK lay when this program was built; a checkout has it, an installed program perhaps not.
const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugin-api");

/// Arguments of `plugin new`.
#[derive(Debug, Args)]
pub struct New {
    /// The plugin's id, `vendor.name`: lower-case words of letters, digits and `-`, joined by dots.
    name: String,
    /// What it is.
    #[arg(long)]
    kind: Kind,
    /// What it is written in.
    #[arg(long, default_value = "rust")]
    lang: Language,
    /// The folder to write, which must be empty or absent; by default the id's last word.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The folder of the crate `plugin-api`; by default that of the anneal this program was built from, if it is there.
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
}

impl New {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        if !anneal::plugin::is_id(&self.name) || self.name.starts_with("anneal.") {
            let what = format!("`{}` is no id for a plugin of yours", self.name);
            let help = "write `vendor.name`: lower-case words of letters, digits and `-`, joined by dots; the vendor \
                        `anneal` is taken";
            return Err(Failure::new(Exit::Usage, format!("{what}\nhelp: {help}")));
        }
        let sdk = self.sdk()?;
        let names = Names { id: &self.name, sdk: &sdk };
        let files = files(self.lang, self.kind, &names)?;
        let dir = self.dir.clone().unwrap_or_else(|| PathBuf::from(names.entry()));
        if fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
            let what = format!("{} is not empty", dir.display());
            return Err(Failure::new(Exit::Usage, format!("{what}\nhelp: name another folder with --dir")));
        }
        write(&dir, &files)?;
        println!("{} is in {}; in there:", self.name, dir.display());
        if let Some(command) = self.lang.prepare() {
            println!("  {command}");
        }
        println!("  anneal plugin build");
        println!("  anneal plugin list --plugin-dir dist");
        Ok(Exit::Done)
    }

    /// The dependency on the SDK, in TOML.
    fn sdk(&self) -> Result<String, Failure> {
        let real = |path: &Path| fs::canonicalize(path).ok().filter(|path| path.join("Cargo.toml").is_file());
        let path = match &self.sdk {
            Some(given) => Some(real(given).ok_or_else(|| {
                let what = format!("{} is not the folder of a crate", given.display());
                failed(what, "give --sdk the folder plugin-api of an anneal checkout")
            })?),
            None => real(Path::new(SDK)),
        };
        Ok(match path {
            Some(path) => format!("path = {}", toml::Value::from(path.to_string_lossy().into_owned())),
            None => format!("version = \"{}\"", env!("CARGO_PKG_VERSION")),
        })
    }
}

fn write(dir: &Path, files: &[(PathBuf, String)]) -> Result<(), Failure> {
    for (path, text) in files {
        let path = dir.join(path);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.map_err(|error| Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(())
}
