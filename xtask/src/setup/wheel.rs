//! Wheels: fetched by pip, checked against a SHA-256 of ours, unpacked in part.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tools;
use crate::digest;
use crate::failure::Failure;
use crate::paths::Paths;
use crate::process;

/// One file of a Python package index. The hash names one build, so every machine gets the same bytes whatever Python
/// it has.
#[derive(Debug, Clone, Copy)]
pub struct Wheel {
    /// The distribution, `torch`.
    pub name: &'static str,
    /// Its exact version.
    pub version: &'static str,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: &'static str,
    /// What is said before the download, in megabytes.
    pub size_mb: u32,
}

/// Where wheels whose ABI follows a Python version are taken from.
const PYTHON_VERSION: &str = "3.12";

impl Wheel {
    /// The verified file in the cache's `downloads`, fetched unless it is there.
    ///
    /// An interrupted download leaves nothing that a later run could take for the whole: pip writes into a folder of
    /// its own, and the file moves to its name after its hash is checked. Wheels fetched before an interruption stay.
    ///
    /// # Errors
    /// When pip is missing or fails, or the file has another hash than ours.
    pub fn fetch(&self, paths: &Paths) -> Result<PathBuf, Failure> {
        let downloads = paths.cache.join("downloads");
        let file = downloads.join(format!("{}-{}-{}.whl", self.name, self.version, &self.sha256[..8]));
        if file.exists() {
            if self.is_whole(&file)? {
                return Ok(file);
            }
            println!("set-up: {} is damaged; fetching it again", file.display());
            fs::remove_file(&file).map_err(|error| Failure::file("remove", &file, &error))?;
        }
        tools::check_pip()?;
        let partial = downloads.join(format!(".partial-{}", self.name));
        remove_folder(&partial)?;
        fs::create_dir_all(&partial).map_err(|error| Failure::file("create", &partial, &error))?;
        println!("set-up: fetching {} {} ({} MB) with pip", self.name, self.version, self.size_mb);
        self.download_into(paths, &partial)?;
        let fetched = the_wheel_in(&partial)?;
        if !self.is_whole(&fetched)? {
            return Err(Failure::new(
                format!("{} {} from pip's index has another SHA-256 than {}", self.name, self.version, self.sha256),
                "check which index pip is set to (`python3 -m pip config list`), then run `cargo xtask setup` again",
            ));
        }
        fs::rename(&fetched, &file).map_err(|error| Failure::file("move a wheel to", &file, &error))?;
        remove_folder(&partial)?;
        Ok(file)
    }

    fn is_whole(&self, file: &Path) -> Result<bool, Failure> {
        let sha256 = digest::of_file(file).map_err(|error| Failure::file("read", file, &error))?;
        Ok(sha256 == self.sha256)
    }

    fn download_into(&self, paths: &Paths, folder: &Path) -> Result<(), Failure> {
        // With a hash given, pip picks the one file of the release that has it.
        let requirements = folder.join("requirements.txt");
        let line = format!("{}=={} --hash=sha256:{}\n", self.name, self.version, self.sha256);
        fs::write(&requirements, line).map_err(|error| Failure::file("write", &requirements, &error))?;
        let mut pip = Command::new("python3");
        // A lost connection goes on where it was, with a pip from 25.1 on; an older one ignores this and starts again.
        pip.current_dir(&paths.cache)
            .env("PIP_RESUME_RETRIES", "20")
            .args(["-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--require-hashes"])
            .args(["--disable-pip-version-check", "--python-version", PYTHON_VERSION, "--implementation", "cp"]);
        for platform in platforms() {
            pip.args(["--platform", &platform]);
        }
        pip.arg("--dest").arg(folder).arg("--requirement").arg(&requirements);
        process::run(&mut pip).map_err(|failure| {
            let what = if failure.what.is_empty() {
                format!("pip could not fetch {}=={}; its own words stand above", self.name, self.version)
            } else {
                failure.what
            };
            Failure::new(
                what,
                "check the network and the free space, then run `cargo xtask setup` again; what is fetched stays",
            )
        })
    }
}

/// Unpacks members of `wheel` below `target`: each rule is `PREFIX=FOLDER`, as `unpack.py` reads it.
///
/// # Errors
/// When the wheel cannot be read, a file cannot be written, or a rule matches nothing.
pub fn unpack(wheel: &Path, target: &Path, rules: &[&str]) -> Result<(), Failure> {
    let mut python = Command::new("python3");
    python.args(["-c", include_str!("unpack.py")]).arg(wheel).arg(target).args(rules);
    process::output(&mut python).map(drop).map_err(|failure| Failure {
        help: "check the free space, then run `cargo xtask setup` again".to_owned(),
        ..failure
    })
}

/// Removes a folder and what is in it, if it is there.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_folder(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::file("remove", folder, &error)),
        _ => Ok(()),
    }
}

/// pip does not widen one manylinux tag to the older ones it includes.
fn platforms() -> impl Iterator<Item = String> {
    (17..=28).rev().map(|minor| format!("manylinux_2_{minor}_x86_64")).chain(["manylinux2014_x86_64".to_owned()])
}

fn the_wheel_in(folder: &Path) -> Result<PathBuf, Failure> {
    let entries = fs::read_dir(folder).map_err(|error| Failure::file("read", folder, &error))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| {
            Failure::new(format!("pip left no wheel in {}", folder.display()), "run `cargo xtask setup` again")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Wheel = Wheel {
        name: "nothing",
        version: "1.0",
        sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        size_mb: 0,
    };

    #[test]
    fn a_wheel_with_the_right_hash_is_not_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths { root: folder.path().to_path_buf(), cache: folder.path().to_path_buf() };
        let file = folder.path().join("downloads/nothing-1.0-e3b0c442.whl");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        assert_eq!(EMPTY.fetch(&paths).unwrap(), file);
    }

    #[test]
    fn a_wheel_with_another_hash_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        // A cache that is a file as far as pip is concerned: the fetch fails, without asking any index.
        let paths = Paths { root: folder.path().to_path_buf(), cache: folder.path().to_path_buf() };
        let file = folder.path().join("downloads/nothing-1.0-e3b0c442.whl");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "half of it").unwrap();
        fs::write(folder.path().join("downloads/.partial-nothing"), "in the way").unwrap();
        EMPTY.fetch(&paths).unwrap_err();
        assert!(!file.exists());
    }

    #[test]
    fn unpacking_takes_what_the_rules_name_and_misses_nothing_silently() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("a.whl");
        let script = "import sys, zipfile\n\
            with zipfile.ZipFile(sys.argv[1], 'w') as z:\n\
            \x20   for n in ('a/lib/x.so', 'a/lib/y.so', 'b/lib/z.so', 'a/include/h/i.h'): z.writestr(n, n)\n";
        process::output(Command::new("python3").args(["-c", script]).arg(&wheel)).unwrap();
        let target = folder.path().join("out");
        unpack(&wheel, &target, &["a/lib/x.so=lib", "a/include/=include", "*/lib/z.*=all"]).unwrap();
        assert_eq!(fs::read_to_string(target.join("lib/x.so")).unwrap(), "a/lib/x.so");
        assert!(target.join("include/h/i.h").exists());
        assert!(target.join("all/z.so").exists());
        assert!(!target.join("lib/y.so").exists());
        let failure = unpack(&wheel, &target, &["c/=c"]).unwrap_err();
        assert!(failure.what.contains("holds nothing for c/=c"), "{}", failure.what);
    }
}
