//! The binary as people run it: what it writes, what it says, and the code it ends with.

mod autoencoder;
mod bad_input;
mod checkpoint;
mod conformance;
mod config_and_plugins;
mod data;
mod demo;
mod embedder_weights;
mod faults;
mod frame_buckets;
mod full_size;
mod lora;
mod native_ops;
mod options;
mod plan;
mod plugin_author;
mod plugin_languages;
mod plugin_packages;
mod recipes;
mod resume;
mod run;
mod sampling;
mod sampling_given;
mod sampling_values;
mod signals;
mod validation;
