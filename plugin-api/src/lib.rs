//! The SDK of plugin authors.
