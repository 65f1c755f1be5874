//! What can be asked of a library without starting its plugin, and of hosts that plugins are tried on.

use std::ffi::CStr;
use std::path::Path;

use plugin_api::abi::{self, PluginApi};

use super::library::{NativeError, open};

pub use super::table::{Table, fail_operation, live_handles, take_left_changed};

/// What a plugin's entry says in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The minor version it is built for.
    pub minor_built: u16,
    /// The least minor version it can do with.
    pub minor_least: u16,
    /// The entry's address.
    pub address: usize,
}

/// Loads a library and asks its entry, without starting the plugin.
///
/// # Errors
/// When it is no plugin.
pub fn numbers(path: &Path) -> Result<Numbers, NativeError> {
    let api = open(path)?;
    // SAFETY: `open` has found a live struct that starts with its size; the numbers follow in every version.
    let (minor_built, minor_least) = unsafe { ((*api).abi_minor_built, (*api).abi_minor_min) };
    Ok(Numbers { minor_built, minor_least, address: api.addr() })
}

/// Whether a plugin that is started has something for an extension.
///
/// # Errors
/// When it is no plugin.
pub fn has_extension(path: &Path, id: &CStr) -> Result<bool, NativeError> {
    let api = open(path)?;
    // SAFETY: the struct is as long as it says.
    let get_extension = unsafe { abi::member!(api, PluginApi, get_extension) };
    // SAFETY: the id is NUL-terminated.
    Ok(get_extension.is_some_and(|get| !unsafe { get(id.as_ptr()) }.is_null()))
}
