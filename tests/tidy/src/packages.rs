//! Which package may depend on which.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::repository::{File, Finding, Repository};

/// What the packages below a folder may depend on, among the workspace's own; a folder stands for all below it.
const FLOORS: [(&str, &[&str]); 9] = [
    ("plugin-api", &["plugin-api"]),
    ("host/torch", &[]),
    ("host/packaging", &[]),
    ("host/nn", &["host/torch"]),
    ("host/engine", &["host/nn", "host/torch", "plugin-api"]),
    ("host/cli", &["host", "plugin-api", "tests/conformance"]),
    ("plugins", &["plugin-api", "host/nn"]),
    ("tests", &["host", "plugin-api", "plugins", "tests"]),
    ("xtask", &["tests/tidy", "host/packaging"]),
];

/// A package depends only on the floors below it; in particular nothing in `host` depends on a plugin.
pub fn use_only_lower_floors(repository: &Repository) -> Vec<Finding> {
    let packages = packages(repository);
    let folders: BTreeMap<&str, &str> =
        packages.iter().map(|package| (package.name.as_str(), package.folder.as_str())).collect();
    let mut findings = Vec::new();
    for package in &packages {
        let Some((_, allowed)) = FLOORS.iter().find(|(folder, _)| is_below(&package.folder, folder)) else {
            findings.push(package.file.finding(1, format!("no floor is set for `{}`", package.folder)));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(used) = folders.get(dependency.as_str()) else { continue };
            if !allowed.iter().any(|folder| is_below(used, folder)) {
                let line = line_of(&package.file.text, dependency);
                let message = format!("`{}` must not depend on `{used}`", package.folder);
                findings.push(package.file.finding(line, message));
            }
        }
    }
    findings
}

/// Every package says `[lints] workspace = true`, so that no lint is off unseen.
pub fn inherit_lints(repository: &Repository) -> Vec<Finding> {
    let inherits = |package: &Package<'_>| {
        package.table.get("lints").and_then(|lints| lints.get("workspace")) == Some(&Value::Boolean(true))
    };
    let without = packages(repository).into_iter().filter(|package| !inherits(package));
    without.map(|package| package.file.finding(1, "[lints] workspace = true is missing")).collect()
}

struct Package<'a> {
    file: &'a File,
    folder: String,
    name: String,
    table: Table,
    dependencies: Vec<String>,
}

fn packages(repository: &Repository) -> Vec<Package<'_>> {
    let manifests = repository.files.iter().filter_map(|file| Some((file, file.path.strip_suffix("/Cargo.toml")?)));
    let packages = manifests.filter_map(|(file, folder)| {
        let table: Table = file.text.parse().ok()?;
        let name = table.get("package")?.get("name")?.as_str()?.to_owned();
        let dependencies = dependencies(&table);
        Some(Package { file, folder: folder.to_owned(), name, table, dependencies })
    });
    packages.collect()
}

/// The packages named in every dependency table, also those of one target.
fn dependencies(table: &Table) -> Vec<String> {
    let targets = table.get("target").and_then(Value::as_table).into_iter().flat_map(|targets| targets.values());
    let tables = std::iter::once(table).chain(targets.filter_map(Value::as_table));
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let named = tables.flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)?.as_table())).flatten();
    let renamed = named.map(|(key, value)| value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned());
    renamed.collect()
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn line_of(text: &str, dependency: &str) -> usize {
    text.lines().position(|line| line.starts_with(dependency)).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TORCH: (&str, &str) = ("host/torch/Cargo.toml", "[package]\nname = \"anneal-torch\"\n");
    const PLUGIN: (&str, &str) =
        ("plugins/class/Cargo.toml", "[package]\nname = \"class\"\n[dependencies]\nserde = \"1\"\n");

    fn findings(path: &str, text: &str) -> Vec<String> {
        let repository = Repository::of(&[TORCH, PLUGIN, (path, text)]);
        use_only_lower_floors(&repository).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_lower_floor_is_fine() {
        assert!(
            findings("host/nn/Cargo.toml", "[package]\nname = \"nn\"\n[dependencies]\nanneal-torch.workspace = true")
                .is_empty()
        );
    }

    #[test]
    fn the_host_never_depends_on_a_plugin() {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"] {
            let text = format!("[package]\nname = \"anneal\"\n[{kind}]\nclass = {{ path = \"x\" }}\n");
            let expected = ["host/engine/Cargo.toml:4: `host/engine` must not depend on `plugins/class`"];
            assert_eq!(findings("host/engine/Cargo.toml", &text), expected);
        }
    }

    #[test]
    fn another_name_does_not_hide_a_dependency() {
        let text = "[package]\nname = \"api\"\n[dependencies]\nx = { package = \"anneal-torch\" }\n";
        assert_eq!(findings("plugin-api/Cargo.toml", text).len(), 1);
    }

    #[test]
    fn a_package_outside_the_house_is_found() {
        let text = "[package]\nname = \"x\"\n";
        assert_eq!(findings("misc/Cargo.toml", text), ["misc/Cargo.toml:1: no floor is set for `misc`"]);
    }

    #[test]
    fn lints_are_inherited() {
        let repository =
            Repository::of(&[TORCH, ("xtask/Cargo.toml", "[package]\nname = \"x\"\n[lints]\nworkspace = true")]);
        let findings = inherit_lints(&repository);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "host/torch/Cargo.toml");
    }
}
