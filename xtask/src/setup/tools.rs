//! The programs that set-up relies on, each checked before it is needed.

use std::env;
use std::ffi::OsString;
use std::process::Command;

use crate::failure::Failure;
use crate::process;

/// libtorch comes as a Linux x86-64 wheel.
///
/// # Errors
/// On any other platform.
pub fn check_platform() -> Result<(), Failure> {
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(());
    }
    Err(Failure::new("this workspace builds on Linux x86-64 only", "use a Linux x86-64 machine or container"))
}

/// torch-sys and anneal-torch compile C++.
///
/// # Errors
/// When there is no C++ compiler.
pub fn check_compiler() -> Result<(), Failure> {
    let compiler = env::var_os("CXX").unwrap_or_else(|| OsString::from("c++"));
    if process::succeeds(Command::new(&compiler).arg("--version")) {
        return Ok(());
    }
    Err(Failure::new(
        format!("no C++ compiler: `{} --version` does not run", compiler.to_string_lossy()),
        "install one, on Debian and Ubuntu with `sudo apt-get install g++`, or name one in CXX",
    ))
}

/// Wheels are fetched by pip and unpacked by Python.
///
/// # Errors
/// When `python3` or its pip is missing.
pub fn check_pip() -> Result<(), Failure> {
    if !process::succeeds(Command::new("python3").arg("--version")) {
        return Err(Failure::new(
            "python3 is missing; libtorch and the demo's data are fetched with its pip",
            "install it, on Debian and Ubuntu with `sudo apt-get install python3 python3-pip`",
        ));
    }
    if !process::succeeds(Command::new("python3").args(["-m", "pip", "--version"])) {
        return Err(Failure::new(
            "python3 has no pip; libtorch and the demo's data are fetched with it",
            "install it, on Debian and Ubuntu with `sudo apt-get install python3-pip`, elsewhere with `python3 -m ensurepip`",
        ));
    }
    Ok(())
}
