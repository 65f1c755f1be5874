//! CUDA, loaded at run time: one binary serves machines with and without a GPU.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::ffi::TorchError;

/// Loads `libtorch_cuda.so` into the process. It must be the first thing a program does with libtorch: once a seed was
/// set or CUDA asked for, libtorch has settled that there is none.
///
/// # Errors
/// When the file, or a library it needs, cannot be loaded; the CPU works on.
pub fn load(libtorch_cuda: &Path) -> Result<(), TorchError> {
    let path = CString::new(libtorch_cuda.as_os_str().as_bytes()).map_err(|error| TorchError(error.to_string()))?;
    // SAFETY: libtorch's own library, whose initialisers only register kernels; it is never closed.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        // SAFETY: after a failed dlopen there is an error text of this thread.
        let text = unsafe {
            let text = libc::dlerror();
            if text.is_null() { String::new() } else { std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        return Err(TorchError(text));
    }
    Ok(())
}

/// Loads CUDA from where set-up puts it, the folder `cuda/lib` beside libtorch's `lib`, or from `lib` itself. Without
/// either there is no CUDA, which is no error.
///
/// # Errors
/// As [`load`].
pub fn load_beside_libtorch() -> Result<(), TorchError> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    match beside(&maps).into_iter().find(|path| path.exists()) {
        Some(path) => load(&path),
        None => Ok(()),
    }
}

/// Where libtorch_cuda.so may be, given the process's memory map.
fn beside(maps: &str) -> Vec<PathBuf> {
    let line = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"));
    let lib = line.and_then(|line| line.find('/').map(|at| Path::new(&line[at..]))).and_then(Path::parent);
    let folders =
        lib.into_iter().flat_map(|lib| [lib.parent().map(|root| root.join("cuda/lib")), Some(lib.to_owned())]);
    folders.flatten().map(|folder| folder.join("libtorch_cuda.so")).collect()
}

/// Whether a GPU can be used.
pub fn is_available() -> bool {
    tch::Cuda::is_available()
}

#[cfg(test)]
mod tests {
    #[test]
    fn cuda_is_looked_for_beside_the_libtorch_in_use() {
        let maps = "7f00-7f01 r-xp 00000000 08:01 1 /opt/my libs/lib/libc10.so\n7f02-7f03 r-xp 0 08:01 2 /opt/my libs/lib/libtorch_cpu.so\n";
        let paths = super::beside(maps);
        assert_eq!(paths[0], std::path::Path::new("/opt/my libs/cuda/lib/libtorch_cuda.so"));
        assert_eq!(paths[1], std::path::Path::new("/opt/my libs/lib/libtorch_cuda.so"));
        assert!(super::beside("").is_empty());
    }

    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let error = super::load(std::path::Path::new("nowhere/libtorch_cuda.so")).unwrap_err();
        assert!(error.0.contains("nowhere/libtorch_cuda.so"), "{error}");
    }
}
