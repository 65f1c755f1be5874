//! `anneal plugin`: what the plugin directories hold.

use anneal::assemble::plugins;
use anneal::config::Environment;
use clap::{Args, Subcommand};

use crate::PluginArgs;
use crate::exit::{Exit, Failure};

/// List plugins, or show one.
#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// List every entry of every plugin found.
    #[command(after_help = "Example: anneal plugin list --plugin-dir target/plugins")]
    List(List),
    /// Show a plugin: manifest, entries, settings.
    #[command(after_help = "Example: anneal plugin info anneal.samplers --plugin-dir target/plugins")]
    Info(Info),
}

/// Arguments of `plugin list`.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    plugins: PluginArgs,
    /// Also print every directory that was looked into, and why each plugin was taken or not.
    #[arg(long)]
    explain: bool,
}

/// Arguments of `plugin info`.
#[derive(Debug, Args)]
pub struct Info {
    /// The plugin's id, `anneal.samplers`.
    id: String,
    #[command(flatten)]
    plugins: PluginArgs,
}

impl Plugin {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        match self {
            Plugin::List(args) => list(args),
            Plugin::Info(args) => info(args),
        }
    }
}
