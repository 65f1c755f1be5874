//! Plugins: found, checked, loaded and called.
