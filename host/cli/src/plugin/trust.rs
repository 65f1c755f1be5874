//! `anneal plugin trust`: which native plugins may run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anneal::config::Environment;
use anneal::plugin::{Registry, Runtime, SearchPath, TrustError, TrustList, Trusted};
use clap::Args;

use super::failed;
use super::package::Which;
use crate::PluginArgs;
use crate::exit::{Exit, Failure};

/// Arguments of `plugin trust`.
#[derive(Debug, Args)]
pub struct Trust {
    /// The plugin: `vendor.name`, or `vendor.name@1.2.0`; without a version, the newest that is found.
    #[arg(value_name = "ID[@VERSION]")]
    which: Which,
    /// Trust it no longer: this version, or all of them.
    #[arg(long)]
    revoke: bool,
    #[command(flatten)]
    plugins: PluginArgs,
}

impl Trust {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let env = Environment::read();
        let path = env.trust_list().ok_or_else(|| {
            let what = "you have no settings folder: neither XDG_CONFIG_HOME nor HOME is set";
            failed(what, "set one of them, or name the plugin's directory with --plugin-dir when you run it")
        })?;
        let mut list = TrustList::read(&path)?;
        if self.revoke {
            return self.revoke(list, path);
        }
        let Which { id, version } = &self.which;
        let require: BTreeMap<String, String> =
            version.iter().map(|version| (id.clone(), format!("={version}"))).collect();
        let registry = Registry::discover(&SearchPath::new(&[], &self.plugins.plugin_dirs, &env), &require)?;
        let Some(plugin) = registry.plugin(id) else {
            let what = format!("no plugin {id} is found");
            return Err(failed(what, "name its directory with --plugin-dir; `anneal plugin list --explain` shows all"));
        };
        if plugin.runtime() == Runtime::Wasm {
            println!("{id} runs as WASM, within limits and without files or network; it needs no trust");
            return Ok(Exit::Done);
        }
        let (version, sha256) = (plugin.version().clone(), plugin.sha256().to_owned());
        let is_new = list.add(Trusted { id: id.clone(), version: version.clone(), sha256: sha256.clone() });
        list.write(&path)?;
        println!(
            "{id} {version} {}trusted, as long as its files have SHA-256 {sha256}",
            if is_new { "is " } else { "was already " }
        );
        Ok(Exit::Done)
    }

    fn revoke(&self, mut list: TrustList, path: PathBuf) -> Result<Exit, Failure> {
        let Which { id, version } = &self.which;
        let removed = list.remove(id, version.as_ref());
        if removed.is_empty() {
            return Err(failed(format!("{id} is not trusted"), format!("{} lists what is", path.display())));
        }
        list.write(&path)?;
        for Trusted { id, version, .. } in removed {
            println!("{id} {version} is no longer trusted");
        }
        Ok(Exit::Done)
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        failed(error, "mend or remove the file; `anneal plugin trust` writes it")
    }
}
