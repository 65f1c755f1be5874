//! The folder `build` in a plugin's: what is made for the compiler, and what it makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::exit::{Exit, Failure};
use crate::plugin::failed;

/// Where a plugin in C, JavaScript or Python is built, beside its sources.
pub const BUILD: &str = "build";

/// Makes an empty folder `build` in a plugin's folder.
pub fn fresh(folder: &Path) -> Result<PathBuf, Failure> {
    let build = folder.join(BUILD);
    if build.exists() {
        fs::remove_dir_all(&build).map_err(|error| unwritable(&build, &error))?;
    }
    fs::create_dir_all(&build).map_err(|error| unwritable(&build, &error))?;
    Ok(build)
}

/// Writes a file below a folder.
pub fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf, Failure> {
    let path = folder.join(name);
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
    made.map_err(|error| unwritable(&path, &error))?;
    Ok(path)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display()))
}

/// Runs a compiler whose words the user sees when it fails.
pub fn run(command: &mut Command, what: &str) -> Result<(), Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output
        .map_err(|error| failed(format!("cannot run {program}: {error}"), "`anneal plugin doctor` lists the tools"))?;
    if status.success() {
        return Ok(());
    }
    let said = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).trim().to_owned()).join("\n");
    Err(failed(format!("{program} could not build {what}:\n{}", said.trim()), "mend what it names above"))
}
