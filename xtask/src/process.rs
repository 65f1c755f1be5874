//! Running other programs, with their failures told in our words.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use crate::failure::Failure;
use crate::paths::Paths;

/// The cargo that runs xtask, at the repository's root.
pub fn cargo(paths: &Paths) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(&paths.root);
    // An exported libtorch with CUDA is built against through our link, which leaves its CUDA library out.
    let exported = std::env::var_os("LIBTORCH").map(PathBuf::from);
    if exported.is_some_and(|libtorch| libtorch.join("lib/libtorch_cuda.so").exists()) {
        command.env("LIBTORCH", paths.libtorch_link());
    }
    command
}

/// Cargo's target folder, wherever the user has put it.
///
/// # Errors
/// When `cargo metadata` fails.
pub fn target_dir(paths: &Paths) -> Result<PathBuf, Failure> {
    let text = output(cargo(paths).args(["metadata", "--format-version", "1", "--no-deps"]))?;
    serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|metadata| metadata.get("target_directory")?.as_str().map(PathBuf::from))
        .ok_or_else(|| Failure::new("`cargo metadata` names no target folder", "run `cargo metadata` to see why"))
}

/// Runs a command whose output the user sees.
///
/// # Errors
/// When it cannot be started, or ends with another status than 0; in the second case it has said why itself, and xtask
/// passes its exit code on.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(Failure::silent(exit_code(status))) }
}

/// Runs a command and returns its standard output.
///
/// # Errors
/// When it cannot be started, or ends with another status than 0.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{command:?} failed ({}): {}", output.status, said.trim()), ""))
}

/// Whether a command can be started and ends with status 0; its output is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The code a shell would report: the child's own, or 128 and the signal that ended it.
pub fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    let program = command.get_program().to_string_lossy().into_owned();
    Failure::new(format!("cannot run `{program}`: {error}"), format!("install `{program}` or put it on PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_exit_code_is_passed_on() {
        let failure = run(Command::new("sh").args(["-c", "exit 7"])).unwrap_err();
        assert_eq!(failure.code, 7);
        let failure = run(Command::new("sh").args(["-c", "kill -TERM $$"])).unwrap_err();
        assert_eq!(failure.code, 143);
    }

    #[test]
    fn a_missing_program_is_named() {
        let failure = output(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(failure.what.contains("no-such-program-here"), "{}", failure.what);
    }
}
