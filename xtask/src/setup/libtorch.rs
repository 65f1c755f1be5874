//! libtorch: the one exported, the one of the active Python environment, or the one fetched.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::python_env;
use super::wheel::{self, Wheel};
use crate::failure::Failure;
use crate::paths::Paths;

/// The version that tch is written for; its build refuses any other.
pub const VERSION: &str = "2.11.0";

/// The wheel with libtorch's headers and libraries.
pub const TORCH: Wheel = Wheel {
    name: "torch",
    version: VERSION,
    sha256: "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756",
    size_mb: 531,
};

/// libtorch_cpu.so of this build names these two CUDA libraries as needed, GPU or not.
pub const CUPTI: Wheel = Wheel {
    name: "nvidia-cuda-cupti",
    version: "13.0.85",
    sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    size_mb: 11,
};
/// See [`CUPTI`].
pub const CUDART: Wheel = Wheel {
    name: "nvidia-cuda-runtime",
    version: "13.0.96",
    sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    size_mb: 2,
};

/// What must be in a libtorch folder for the workspace to be built against it.
const NEEDED: [&str; 4] =
    ["lib/libtorch_cpu.so", "lib/libc10.so", "lib/libtorch.so", "include/torch/csrc/api/include/torch/torch.h"];

/// Makes `.libtorch` point at libtorch and returns the folder it points at.
///
/// # Errors
/// When `$LIBTORCH` is exported and does not fit, or libtorch cannot be fetched.
pub fn ensure(paths: &Paths) -> Result<PathBuf, Failure> {
    let link = paths.libtorch_link();
    if let Some(exported) = exported(&link) {
        check(&exported).map_err(|problem| {
            Failure::new(
                format!("LIBTORCH={} is not usable: {problem}", exported.display()),
                format!("point it at libtorch {VERSION}, or `unset LIBTORCH` to have it fetched"),
            )
        })?;
        let target = without_cuda(paths, &exported)?;
        if target != exported {
            println!("set-up: LIBTORCH holds libtorch_cuda.so, which is loaded at run time and not linked;");
            println!("set-up: for plain cargo commands `unset LIBTORCH`: {} stands for it", link.display());
        }
        return point(&link, &target);
    }
    if let Ok(target) = fs::canonicalize(&link)
        && check(&target).is_ok()
    {
        return Ok(target);
    }
    if let Some(torch) = python_env::torch_folder(VERSION)
        && check(&torch).is_ok()
    {
        println!("set-up: using libtorch of the Python environment, {}", torch.display());
        let target = without_cuda(paths, &torch)?;
        return point(&link, &target);
    }
    let target = fetched(paths)?;
    point(&link, &target)
}

/// The folder named by an exported `LIBTORCH`. Cargo sets the variable itself, from .cargo/config.toml, to our link.
fn exported(link: &Path) -> Option<PathBuf> {
    env::var_os("LIBTORCH").and_then(|path| std::path::absolute(path).ok()).filter(|path| path != link)
}

/// Whether the workspace can be built against `root`; if not, what is wrong.
pub fn check(root: &Path) -> Result<(), String> {
    if let Some(missing) = NEEDED.iter().find(|file| !root.join(file).exists()) {
        return Err(format!("it has no {missing}"));
    }
    let version = version(root).ok_or("its headers name no version")?;
    if version == VERSION { Ok(()) } else { Err(format!("it is version {version}, and {VERSION} is needed")) }
}

/// The version in libtorch's headers.
fn version(root: &Path) -> Option<String> {
    let headers = ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"];
    headers.iter().find_map(|header| {
        let text = fs::read_to_string(root.join(header)).ok()?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix("#define TORCH_VERSION_")?.strip_prefix(name))?;
            line.trim().parse::<u32>().ok()
        };
        Some(format!("{}.{}.{}", number("MAJOR ")?, number("MINOR ")?, number("PATCH ")?))
    })
}

/// `torch` itself, or a folder of links to all of it but libtorch_cuda.so: torch-sys links against that library where it
/// sees it, and the binary would then not start without the whole of CUDA.
///
/// `cuda` in that folder leads back to the whole, so that the library is found at run time as
/// `cuda/lib/libtorch_cuda.so`, and its own needs from there.
fn without_cuda(paths: &Paths, torch: &Path) -> Result<PathBuf, Failure> {
    if !torch.join("lib/libtorch_cuda.so").exists() {
        return Ok(torch.to_path_buf());
    }
    let name = crate::digest::of_bytes(torch.as_os_str().as_encoded_bytes());
    let target = paths.cache.join(format!("libtorch-{VERSION}-links-{}", &name[..8]));
    let partial = paths.cache.join(".partial-links");
    wheel::remove_folder(&partial)?;
    let lib = partial.join("lib");
    fs::create_dir_all(&lib).map_err(|error| Failure::file("create", &lib, &error))?;
    for folder in [vec![torch.join("lib")], python_env::nvidia_folders(torch)].concat() {
        let entries = fs::read_dir(&folder).map_err(|error| Failure::file("read", &folder, &error))?;
        for entry in entries {
            let file = entry.map_err(|error| Failure::file("read", &folder, &error))?.path();
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
            let at = lib.join(name);
            if name.contains(".so") && name != "libtorch_cuda.so" && !at.is_symlink() {
                link_to(&file, &at)?;
            }
        }
    }
    link_to(&torch.join("include"), &partial.join("include"))?;
    link_to(torch, &partial.join("cuda"))?;
    wheel::remove_folder(&target)?;
    fs::rename(&partial, &target).map_err(|error| Failure::file("move a folder to", &target, &error))?;
    Ok(target)
}

/// The cache's own libtorch, fetched unless it is there. A folder without `build-version`, which is written last, is not
/// whole and is made again.
fn fetched(paths: &Paths) -> Result<PathBuf, Failure> {
    let target = paths.cache.join(format!("libtorch-{VERSION}"));
    if target.join("build-version").exists() && check(&target).is_ok() {
        return Ok(target);
    }
    let (torch, cupti, cudart) = (TORCH.fetch(paths)?, CUPTI.fetch(paths)?, CUDART.fetch(paths)?);
    println!("set-up: unpacking libtorch into {}", target.display());
    let partial = paths.cache.join(format!(".partial-libtorch-{VERSION}"));
    wheel::remove_folder(&partial)?;
    wheel::unpack(
        &torch,
        &partial,
        &[
            "torch/include/=include",
            "torch/lib/libtorch_cpu.so=lib",
            "torch/lib/libc10.so=lib",
            "torch/lib/libtorch.so=lib",
            "torch/lib/libgomp.so.1=lib",
        ],
    )?;
    wheel::unpack(&cupti, &partial, &["nvidia/cu13/lib/libcupti.so.13=lib"])?;
    wheel::unpack(&cudart, &partial, &["nvidia/cu13/lib/libcudart.so.13=lib"])?;
    let marker = partial.join("build-version");
    fs::write(&marker, VERSION).map_err(|error| Failure::file("write", &marker, &error))?;
    wheel::remove_folder(&target)?;
    fs::rename(&partial, &target).map_err(|error| Failure::file("move a folder to", &target, &error))?;
    check(&target).map_err(|problem| {
        Failure::new(format!("the fetched libtorch in {} is not usable: {problem}", target.display()), "report this")
    })?;
    // The wheels have done their work; only `--cuda` would need the large one again.
    for file in [torch, cupti, cudart] {
        fs::remove_file(&file).map_err(|error| Failure::file("remove", &file, &error))?;
    }
    Ok(target)
}

/// Makes `link` lead to `target`, unless it does.
fn point(link: &Path, target: &Path) -> Result<PathBuf, Failure> {
    if fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(target.to_path_buf());
    }
    if link.is_symlink() {
        fs::remove_file(link).map_err(|error| Failure::file("remove", link, &error))?;
    }
    link_to(target, link)?;
    println!("set-up: {} leads to {}", link.display(), target.display());
    Ok(target.to_path_buf())
}

fn link_to(target: &Path, link: &Path) -> Result<(), Failure> {
    symlink(target, link).map_err(|error| Failure::file("make the link", link, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(root: &Path, minor: u32, extra: &[&str]) {
        for file in NEEDED.iter().chain(extra) {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let header = root.join("include/torch/headeronly/version.h");
        fs::create_dir_all(header.parent().unwrap()).unwrap();
        let text = format!(
            "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR {minor}\n#define TORCH_VERSION_PATCH 0\n"
        );
        fs::write(header, text).unwrap();
    }

    #[test]
    fn another_version_and_a_missing_file_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        fake(folder.path(), 11, &[]);
        assert_eq!(check(folder.path()), Ok(()));
        fake(folder.path(), 9, &[]);
        assert_eq!(check(folder.path()).unwrap_err(), "it is version 2.9.0, and 2.11.0 is needed");
        fs::remove_file(folder.path().join("lib/libc10.so")).unwrap();
        assert_eq!(check(folder.path()).unwrap_err(), "it has no lib/libc10.so");
    }

    #[test]
    fn a_cuda_build_is_seen_through_links_without_its_cuda_library() {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("site-packages");
        let torch = site.join("torch");
        fake(&torch, 11, &["lib/libtorch_cuda.so", "lib/libgomp.so.1"]);
        let cudart = site.join("nvidia/cu13/lib/libcudart.so.13");
        fs::create_dir_all(cudart.parent().unwrap()).unwrap();
        fs::write(&cudart, "").unwrap();
        let paths = Paths { root: folder.path().to_path_buf(), cache: folder.path().join("cache") };
        let target = without_cuda(&paths, &torch).unwrap();
        assert_eq!(check(&target), Ok(()));
        assert!(!target.join("lib/libtorch_cuda.so").exists());
        assert!(target.join("cuda/lib/libtorch_cuda.so").exists());
        assert!(target.join("lib/libcudart.so.13").exists());
        assert_eq!(without_cuda(&paths, &target).unwrap(), target);
    }
}
