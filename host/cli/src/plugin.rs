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

fn list(args: &List) -> Result<Exit, Failure> {
    let registry = plugins(&args.plugins.plugin_dirs, &Environment::read())?;
    if args.explain {
        for decision in registry.decisions() {
            println!("{decision}");
        }
        println!();
    }
    let rows: Vec<[String; 4]> = registry
        .entries()
        .map(|entry| {
            let plugin = entry.plugin();
            [entry.full_name(), entry.kind().to_string(), plugin.runtime().to_string(), plugin.version().to_string()]
        })
        .collect();
    let head = ["entry", "kind", "runtime", "version"].map(str::to_owned);
    let width = |column: usize| rows.iter().chain([&head]).map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    for row in [&head].into_iter().chain(&rows) {
        println!("{:w0$}  {:w1$}  {:w2$}  {}", row[0], row[1], row[2], row[3], w0 = widths[0], w1 = widths[1], w2 = widths[2]);
    }
    if rows.is_empty() {
        println!("\nno plugins found; `cargo xtask plugins` builds the bundled ones, `--explain` says where was looked");
    }
    Ok(Exit::Done)
}
