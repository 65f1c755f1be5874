//! `plugin.toml` as far as building needs it; the host checks the rest.

use std::fs;
use std::path::{Path, PathBuf};

use anneal_packaging::Files;
use toml::{Table, Value};

use crate::digest;
use crate::failure::Failure;

/// How a plugin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runtime {
    /// A dynamic library of this machine.
    Native,
    /// A WASM component.
    Wasm,
}

/// A plugin's folder and its manifest.
#[derive(Debug)]
pub struct Manifest {
    /// The plugin's id, also the name of its folder once installed.
    pub id: String,
    /// Where its sources are.
    pub folder: PathBuf,
    table: Table,
    package: Option<String>,
}

impl Manifest {
    /// Reads `folder/plugin.toml`, and the crate's name from the Cargo.toml beside it.
    ///
    /// # Errors
    /// When either cannot be read, is not TOML, or names no id or package.
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("plugin.toml");
        let table = read_toml(&path)?;
        let Some(id) = table.get("id").and_then(Value::as_str).map(str::to_owned) else {
            return Err(Failure::new(format!("{}: there is no `id`", path.display()), "add `id = \"vendor.name\"`"));
        };
        let cargo = folder.join("Cargo.toml");
        let package = if cargo.is_file() {
            let package =
                read_toml(&cargo)?.get("package").and_then(|package| Some(package.get("name")?.as_str()?.to_owned()));
            let help = "a plugin's crate needs a [package] of its own";
            Some(package.ok_or_else(|| Failure::new(format!("{} names no package", cargo.display()), help))?)
        } else {
            None
        };
        Ok(Self { id, folder: folder.to_path_buf(), table, package })
    }

    /// How the plugin runs, by its first artifact; none for a folder without a crate, which is installed as it is.
    pub fn runtime(&self) -> Option<Runtime> {
        self.package.as_ref()?;
        let (name, _) = self.artifact()?;
        Some(if name == "wasm" { Runtime::Wasm } else { Runtime::Native })
    }

    /// The crate to build, if the plugin runs as `runtime`.
    pub fn package_for(&self, runtime: Runtime) -> Option<&str> {
        (self.runtime()? == runtime).then_some(self.package.as_deref()?)
    }

    fn artifact(&self) -> Option<(&str, &Table)> {
        let (name, artifact) = self.table.get("artifact")?.as_table()?.iter().next()?;
        Some((name, artifact.as_table()?))
    }

    /// The installed files of a built plugin: the manifest with the artifact's SHA-256, the artifact, the schemas.
    ///
    /// # Errors
    /// When the manifest gives the artifact no path, or a schema it names cannot be read.
    pub fn files_with(&self, artifact: Vec<u8>) -> Result<Files, Failure> {
        let path = self.folder.join("plugin.toml");
        let mut table = self.table.clone();
        let named = self.artifact().map(|(name, _)| name.to_owned()).and_then(|name| {
            let entry = table.get_mut("artifact")?.get_mut(&name)?.as_table_mut()?;
            // A hash that is written down already is left, so that a test can install a plugin whose hash is wrong.
            entry.entry("sha256").or_insert_with(|| Value::String(digest::of_bytes(&artifact)));
            Some(PathBuf::from(entry.get("path")?.as_str()?))
        });
        let Some(named) = named else {
            let help = "write `path = \"file\"` under [artifact.wasm] or [artifact.x86_64-unknown-linux-gnu]";
            return Err(Failure::new(format!("{}: the artifact has no `path`", path.display()), help));
        };
        let mut files = Files::from([(named, artifact)]);
        let text = toml::to_string(&table)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display()), "mend the manifest"))?;
        files.insert(PathBuf::from("plugin.toml"), text.into_bytes());
        for schema in self.schemas() {
            let source = self.folder.join(schema);
            let bytes = fs::read(&source).map_err(|error| {
                let what = format!("{} names the schema {schema}, which cannot be read: {error}", path.display());
                Failure::new(what, "write the schema, or take the line out of the entry")
            })?;
            files.insert(PathBuf::from(schema), bytes);
        }
        Ok(files)
    }

    /// Every file in the folder, for plugins that are not built.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn all_files(&self) -> Result<Files, Failure> {
        let mut files = Files::new();
        let mut open = vec![self.folder.clone()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).map_err(|error| Failure::file("read", &folder, &error))? {
                let path = entry.map_err(|error| Failure::file("read", &folder, &error))?.path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    let bytes = fs::read(&path).map_err(|error| Failure::file("read", &path, &error))?;
                    files.insert(path.strip_prefix(&self.folder).unwrap_or(&path).to_path_buf(), bytes);
                }
            }
        }
        Ok(files)
    }

    fn schemas(&self) -> impl Iterator<Item = &str> {
        let entries = self.table.get("entry").and_then(Value::as_array).into_iter().flatten();
        entries.filter_map(|entry| entry.get("schema")?.as_str())
    }

    /// The failure of a plugin whose crate cargo did not build.
    pub fn not_built(&self) -> Failure {
        let kind = "crate-type = [\"cdylib\", \"rlib\"]";
        Failure::new(
            format!("{}: cargo built no library of it", self.folder.display()),
            format!("name the crate in `members` of the root Cargo.toml and give its [lib] `{kind}`"),
        )
    }

    /// The failure of a WASM plugin whose module does not become a component.
    pub fn not_a_component(&self, problem: &str) -> Failure {
        Failure::new(
            format!("{}: its module is no component: {problem}", self.folder.display()),
            "build it on plugin-api with the feature `wasm`, and let nothing in it need WASI",
        )
    }
}

fn read_toml(path: &Path) -> Result<Table, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    text.parse().map_err(|error| Failure::new(format!("{}: {error}", path.display()), "mend the file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WASM: &str = "schema-version = 1\nid = \"a.b\"\n\n[artifact.wasm]\npath = \"b.wasm\"\n\n\
        [[entry]]\nname = \"x\"\nschema = \"schema/x.json\"\n";

    fn plugin(manifest: &str, with_crate: bool) -> (tempfile::TempDir, Manifest) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("plugin.toml"), manifest).unwrap();
        if with_crate {
            fs::write(folder.path().join("Cargo.toml"), "[package]\nname = \"the-crate\"\n").unwrap();
        }
        fs::create_dir(folder.path().join("schema")).unwrap();
        fs::write(folder.path().join("schema/x.json"), "{}").unwrap();
        let manifest = Manifest::read(folder.path()).unwrap();
        (folder, manifest)
    }

    #[test]
    fn the_installed_manifest_holds_the_hash_of_the_artifact() {
        let (_folder, manifest) = plugin(WASM, true);
        assert_eq!(manifest.package_for(Runtime::Wasm), Some("the-crate"));
        assert_eq!(manifest.package_for(Runtime::Native), None);
        let files = manifest.files_with(b"abc".to_vec()).unwrap();
        let text = String::from_utf8(files[Path::new("plugin.toml")].clone()).unwrap();
        let table: Table = text.parse().unwrap();
        assert_eq!(table["artifact"]["wasm"]["sha256"].as_str(), Some(digest::of_bytes(b"abc").as_str()));
        assert_eq!(files[Path::new("b.wasm")], b"abc");
        assert_eq!(files[Path::new("schema/x.json")], b"{}");
    }

    #[test]
    fn a_hash_that_is_written_down_is_left() {
        let (_folder, manifest) = plugin(&WASM.replace("b.wasm\"", "b.wasm\"\nsha256 = \"wrong\""), true);
        let files = manifest.files_with(b"abc".to_vec()).unwrap();
        assert!(String::from_utf8_lossy(&files[Path::new("plugin.toml")]).contains("wrong"));
    }

    #[test]
    fn a_folder_without_a_crate_is_installed_as_it_is() {
        let (_folder, manifest) = plugin(WASM, false);
        assert_eq!(manifest.runtime(), None);
        let files = manifest.all_files().unwrap();
        assert_eq!(files[Path::new("plugin.toml")], WASM.as_bytes());
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn a_schema_that_is_not_there_is_named() {
        let (folder, manifest) = plugin(WASM, true);
        fs::remove_file(folder.path().join("schema/x.json")).unwrap();
        let failure = manifest.files_with(Vec::new()).unwrap_err();
        assert!(failure.what.contains("names the schema schema/x.json"), "{}", failure.what);
    }

    #[test]
    fn a_manifest_without_an_id_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("plugin.toml"), "schema-version = 1\n").unwrap();
        assert!(Manifest::read(folder.path()).unwrap_err().what.contains("there is no `id`"));
    }
}
