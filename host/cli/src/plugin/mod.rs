//! `anneal plugin`: what the plugin directories hold, and how a plugin is begun, built, tried and handed on.

mod tools;
mod list;
mod language;
mod sources;
mod template;
mod new;
mod sdk;
mod source;
mod compile;
mod build;
mod plot;
mod call;
mod check;
mod package;
mod trust;
mod lock;
mod doctor;

pub use lock::hold;

use clap::Subcommand;

use crate::exit::{Exit, Failure};

/// List, show, begin, build, check and hand on plugins.
#[derive(Debug, Subcommand)]
pub enum PluginVerb {
    /// List every entry of every plugin found.
    #[command(after_help = "Example: anneal plugin list --plugin-dir target/plugins")]
    List(list::List),
    /// Show a plugin: manifest, entries, settings.
    #[command(after_help = "Example: anneal plugin info anneal.samplers --plugin-dir target/plugins")]
    Info(list::Info),
    /// Begin a plugin of your own: sources that build, with a manifest, tests and a README.
    #[command(after_help = "Examples:
  anneal plugin new acme.karras --kind discretization
  anneal plugin new acme.min-snr --kind weighting --lang js")]
    New(new::New),
    /// Compile a plugin's sources into `dist`, a plugin directory.
    #[command(after_help = "Example: anneal plugin build && anneal plugin list --plugin-dir dist")]
    Build(build::Build),
    /// Call one function of a WASM entry, print what it returns and what it cost.
    #[command(after_help = "Examples:
  anneal plugin call anneal.discretizations/edm sigmas 10 --config '{\"rho\": 5}' --plugin-dir target/plugins
  anneal plugin call min-snr weights 0.1 1 10 --config gamma=3 --plot weights.png --plugin-dir target/plugins")]
    Call(call::Call),
    /// Check whether plugins do what their kinds promise.
    Check(Box<check::CheckPlugins>),
    /// List the checks, and what each demands.
    Checks(check::ListChecks),
    /// One check, for `check` itself.
    #[command(hide = true)]
    CheckWorker(check::CheckWorker),
    /// Make one file of a built plugin.
    #[command(after_help = "Example: anneal plugin pack . -o karras.tar.zst")]
    Pack(package::Pack),
    /// Add a package, or a built plugin's folder, to your plugin directory.
    #[command(after_help = "Example: anneal plugin add acme.karras-1.2.0.tar.zst")]
    Add(package::Add),
    /// Remove a plugin from your plugin directory.
    #[command(after_help = "Example: anneal plugin remove acme.karras@1.2.0")]
    Remove(package::Remove),
    /// Let a native plugin run, or no longer.
    #[command(after_help = "Examples:
  anneal plugin trust acme.class@0.3.1
  anneal plugin trust acme.class --revoke")]
    Trust(trust::Trust),
    /// Write down exactly which plugins a config names, into `anneal.lock` beside it.
    #[command(after_help = "Example: anneal plugin lock run.toml && anneal train run.toml --locked")]
    Lock(lock::LockVerb),
    /// List the tools that authors of plugins need, and how to get those that are missing.
    #[command(after_help = "Example: anneal plugin doctor")]
    Doctor(doctor::Doctor),
}

impl PluginVerb {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        match self {
            PluginVerb::List(args) => args.run(),
            PluginVerb::Info(args) => args.run(),
            PluginVerb::New(args) => args.run(),
            PluginVerb::Build(args) => args.run(),
            PluginVerb::Call(args) => args.run(),
            PluginVerb::Check(args) => args.run(),
            PluginVerb::Checks(args) => args.run(),
            PluginVerb::CheckWorker(args) => args.run(),
            PluginVerb::Pack(args) => args.run(),
            PluginVerb::Add(args) => args.run(),
            PluginVerb::Remove(args) => args.run(),
            PluginVerb::Trust(args) => args.run(),
            PluginVerb::Lock(args) => args.run(),
            PluginVerb::Doctor(args) => args.run(),
        }
    }
}

/// A failure of a plugin, with what helps.
fn failed(what: impl std::fmt::Display, help: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Plugin, format!("{what}\nhelp: {help}"))
}
