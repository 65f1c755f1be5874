//! The data module from the outside: sources through the loader.
