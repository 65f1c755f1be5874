//! `anneal config`: show, check, schema.

use anneal::assemble::schema;
use anneal::config::{AutoencoderRunConfig, Environment, RunConfig};
use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure};
use crate::{ConfigArgs, PluginArgs};

/// Show, check or describe a config.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the resolved config: defaults written out, files it extends merged, overrides applied.
    #[command(after_help = "Example: anneal config show configs/demo.toml --set train.steps=100")]
    Show(ConfigArgs),
    /// Find all that is wrong with a config and the plugins it names, without allocating anything.
    #[command(after_help = "Example: anneal config check configs/demo.toml")]
    Check(ConfigArgs),
    /// Print the JSON Schema of configs, the found plugins' settings included, for editors.
    #[command(after_help = "Example: anneal config schema --plugin-dir target/plugins > anneal.schema.json")]
    Schema(Schema),
}

/// Arguments of `config schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// Of the configs that train an autoencoder.
    #[arg(long)]
    autoencoder: bool,
    #[command(flatten)]
    plugins: PluginArgs,
}

impl Config {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        match self {
            Config::Show(args) => print!("{}", args.open(&[])?.resolved()?),
            Config::Check(args) => {
                let project = args.inspect()?;
                let used = project.plugin_refs().len();
                println!(
                    "{}: fine; it names {used} plugin entries, and its data source can be read",
                    args.config.display()
                );
            }
            Config::Schema(args) => {
                let (dirs, env) = (&args.plugins.plugin_dirs, Environment::read());
                let schema = match args.autoencoder {
                    true => schema::<AutoencoderRunConfig>(dirs, &env)?,
                    false => schema::<RunConfig>(dirs, &env)?,
                };
                println!("{}", serde_json::to_string_pretty(&schema).unwrap_or_default());
            }
        }
        Ok(Exit::Done)
    }
}
