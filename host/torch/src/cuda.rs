//! CUDA, loaded at run time: one binary serves machines with and without a GPU.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::ffi::{self, TorchError};

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

/// What libtorch holds of a GPU, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GpuMemory {
    /// Of tensors that live.
    pub held: u64,
    /// Most of them at once since the last [`reset_peak`].
    pub peak: u64,
    /// Most that was taken from the system since then: tensors, and blocks that are kept for the next ones.
    pub peak_reserved: u64,
}

/// What this process holds of GPU `index`.
///
/// # Errors
/// When CUDA is not loaded or there is no such GPU.
pub fn memory(index: usize) -> Result<GpuMemory, TorchError> {
    let (mut held, mut peak, mut peak_reserved) = (0, 0, 0);
    let index = gpu(index)?;
    // SAFETY: three numbers of ours to write to.
    ffi::check(unsafe { ffi::anneal_torch_gpu_memory(index, &raw mut held, &raw mut peak, &raw mut peak_reserved) })?;
    let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(GpuMemory { held: bytes(held), peak: bytes(peak), peak_reserved: bytes(peak_reserved) })
}

/// Counts the peaks of GPU `index` from now on.
///
/// # Errors
/// As [`memory`].
pub fn reset_peak(index: usize) -> Result<(), TorchError> {
    // SAFETY: a call with a number.
    ffi::check(unsafe { ffi::anneal_torch_gpu_reset_peak(gpu(index)?) })
}

fn gpu(index: usize) -> Result<std::ffi::c_int, TorchError> {
    let count = tch::Cuda::device_count();
    match i32::try_from(index) {
        Ok(index) if i64::from(index) < count => Ok(index),
        _ => Err(TorchError(format!("there is no GPU {index}; the machine has {count} that can be used"))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_of_a_gpu_that_is_not_there_is_an_error() {
        let error = super::memory(4096).unwrap_err();
        assert!(error.0.contains("there is no GPU 4096"), "{error}");
        assert!(super::reset_peak(4096).is_err());
    }

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
