//! The package: what can be seen of a plugin without executing it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::subject::Subject;

pub const CHECKS: &[Check] = &[
    Check::new(
        "P01",
        "manifest-is-read",
        Level::L0,
        Scope::Plugin,
        "plugin.toml, and the files that it names, are read without a problem, and their hashes are those it gives.",
        |subject| subject.plugin().map(drop),
    )
    .gate(),
    Check::new(
        "P04",
        "package-hygiene",
        Level::L0,
        Scope::Plugin,
        "The folder holds no links, no compiled code but the artifacts, nothing setuid, at most 4096 files and 2 GiB.",
        hygiene,
    )
    .gate(),
    Check::new(
        "P06",
        "artifact-is-hashed",
        Level::L0,
        Scope::Plugin,
        "The manifest gives the SHA-256 of each artifact.",
        hashed,
    )
    .advisory(),
    Check::new(
        "P05",
        "packs-the-same",
        Level::L1,
        Scope::Plugin,
        "Packing the folder twice gives the same bytes.",
        packs_the_same,
    )
    .advisory(),
];

/// How much is packed twice, bytes: a library with all its debug information takes a minute.
const PACKED_TWICE: u64 = 16 << 20;

fn packs_the_same(subject: &mut Subject) -> Found {
    let mut files = Vec::new();
    walk(subject.folder(), &mut files)?;
    let bytes: u64 = files.iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
    if bytes > PACKED_TWICE {
        return Err(Finding::NotDeclared(format!("{bytes} bytes take too long to pack twice")));
    }
    let pack = || anneal::plugin::pack(subject.folder()).map_err(|error| Finding::fail(error.to_string()));
    let (one, other) = (pack()?, pack()?);
    demand!(one == other, "{} bytes once and {} then, and they differ", one.len(), other.len());
    Ok(())
}

fn hygiene(subject: &mut Subject) -> Found {
    let mut files = Vec::new();
    walk(subject.folder(), &mut files)?;
    demand!(files.len() <= 4096, "{} files, where 4096 are allowed", files.len());
    let mut bytes = 0;
    for file in files {
        let shown = file.display();
        let metadata = file.symlink_metadata().map_err(|error| Finding::fail(format!("{shown}: {error}")))?;
        demand!(!metadata.file_type().is_symlink(), "{shown} is a link");
        demand!(metadata.permissions().mode() & 0o6000 == 0, "{shown} is setuid or setgid");
        demand!(
            file.extension().is_none_or(|end| end != "cwasm"),
            "{shown} is compiled code, which hosts make themselves"
        );
        bytes += metadata.len();
    }
    demand!(bytes <= 2 << 30, "{bytes} bytes, where 2 GiB are allowed");
    Ok(())
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Found {
    let unreadable = |error: std::io::Error| Finding::fail(format!("{}: {error}", folder.display()));
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        match entry.file_type().map_err(unreadable)?.is_dir() {
            true => walk(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

fn hashed(subject: &mut Subject) -> Found {
    let text = std::fs::read_to_string(subject.folder().join("plugin.toml"))
        .map_err(|error| Finding::fail(error.to_string()))?;
    let manifest: toml::Table = toml::from_str(&text).map_err(|error| Finding::fail(error.to_string()))?;
    let artifacts = manifest.get("artifact").and_then(toml::Value::as_table);
    for (name, artifact) in artifacts.into_iter().flatten() {
        demand!(artifact.get("sha256").is_some(), "artifact.{name} has no sha256; `anneal plugin build` fills it in");
    }
    Ok(())
}
