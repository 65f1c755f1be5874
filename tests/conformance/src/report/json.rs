//! Output for programs, in a format that has a schema.

use serde_json::{Value, json};

use crate::SUITE;
use crate::result::PluginResult;

/// The JSON Schema of the output.
pub const SCHEMA: &str = include_str!("check-report-1.json");

/// All results as one object.
pub fn json(results: &[PluginResult]) -> Value {
    let plugins = results.iter().map(|result| {
        json!({
            "id": result.id,
            "version": result.version,
            "sha256": result.sha256,
            "folder": result.folder,
            "results": result.outcomes,
            "verdicts": result.verdicts(),
        })
    });
    json!({
        "schema_version": 1,
        "suite": SUITE,
        "anneal": env!("CARGO_PKG_VERSION"),
        "machine": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "plugins": plugins.collect::<Vec<_>>(),
    })
}
