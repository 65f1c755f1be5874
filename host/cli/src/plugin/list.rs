//! `anneal plugin list` and `info`: what the plugin directories hold.

use anneal::assemble::plugins;
use anneal::config::Environment;
use anneal::plugin;
use clap::Args;
use serde_json::Value;

use crate::PluginArgs;
use crate::exit::{Exit, Failure};

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

impl List {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        list(self)
    }
}

impl Info {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        info(self)
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
        println!(
            "{:w0$}  {:w1$}  {:w2$}  {}",
            row[0],
            row[1],
            row[2],
            row[3],
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2]
        );
    }
    if rows.is_empty() {
        println!(
            "\nno plugins found; `cargo xtask plugins` builds the bundled ones, `--explain` says where was looked"
        );
    }
    Ok(Exit::Done)
}

fn info(args: &Info) -> Result<Exit, Failure> {
    let registry = plugins(&args.plugins.plugin_dirs, &Environment::read())?;
    let Some(plugin) = registry.plugin(&args.id) else {
        let known: Vec<&str> = registry.plugins().map(plugin::Plugin::id).collect();
        let list = if known.is_empty() { "none are".to_owned() } else { format!("found are {}", known.join(", ")) };
        return Err(Failure::new(Exit::Plugin, format!("no plugin {} is found; {list}", args.id)));
    };
    println!("{} {}: {}", plugin.id(), plugin.version(), plugin.description());
    println!("runtime   {}", plugin.runtime());
    println!("folder    {}", plugin.path().display());
    println!("sha256    {}", plugin.sha256());
    println!("license   {}", plugin.license().unwrap_or("not given"));
    for entry in plugin.entries() {
        println!("\n{} ({}): {}", entry.name(), entry.kind(), entry.description());
        for line in settings(entry.schema()) {
            println!("  {line}");
        }
    }
    Ok(Exit::Done)
}

/// A line for each setting of a schema: name, type, default, bounds, meaning.
fn settings(schema: &Value) -> Vec<String> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object();
    let line = |(name, setting): (&String, &Value)| {
        let mut facts = Vec::new();
        if let Some(kind) = setting["type"].as_str() {
            facts.push(kind.to_owned());
        }
        if let Some(values) = setting["enum"].as_array() {
            facts.push(values.iter().map(Value::to_string).collect::<Vec<_>>().join(" | "));
        }
        for (key, sign) in [("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<")]
        {
            if let Some(bound) = setting.get(key) {
                facts.push(format!("{sign} {bound}"));
            }
        }
        match setting.get("default") {
            Some(default) => facts.push(format!("default {default}")),
            None if required.contains(&name.as_str()) => facts.push("required".to_owned()),
            None => {}
        }
        format!("{name} ({}): {}", facts.join(", "), setting["description"].as_str().unwrap_or_default())
    };
    properties.into_iter().flatten().map(line).collect()
}
