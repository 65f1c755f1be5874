//! CUDA, loaded at run time: one binary serves machines with and without a GPU.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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

/// Whether a GPU can be used.
pub fn is_available() -> bool {
    tch::Cuda::is_available()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let error = super::load(std::path::Path::new("nowhere/libtorch_cuda.so")).unwrap_err();
        assert!(error.0.contains("nowhere/libtorch_cuda.so"), "{error}");
    }
}
