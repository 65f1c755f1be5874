//! The readers, each driven as a run does.

mod cameras;
mod checkpoint;
mod config;
mod faulty;
mod film;
mod image;
mod mesh;
mod package;
mod pickle;
mod plugin;
mod safetensors;
mod tar;
mod weights;

pub use faulty::FAULTY;

use crate::Target;

const MIB: usize = 1 << 20;

/// All of them, by name.
pub const ALL: [Target; 12] = [
    target("animation", image::animation, 1024 * MIB, 4096, 400),
    target("cameras", cameras::cameras, 16 * MIB, 256, 400),
    target("checkpoint", checkpoint::checkpoint, 16 * MIB, 256, 500),
    target("config", config::config, 64 * MIB, 4096, 500),
    target("film", film::film, 256 * MIB, 1024, 300),
    target("image", image::image, 1024 * MIB, 1024, 400),
    target("mesh", mesh::mesh, 128 * MIB, 1024, 500),
    target("package", package::package, 16 * MIB, 256, 500),
    target("pickle", pickle::pickle, 16 * MIB, 512, 1500),
    target("plugin", plugin::plugin, 64 * MIB, 4096, 500),
    target("safetensors", safetensors::safetensors, 16 * MIB, 256, 1500),
    target("tar", tar::tar, 1024 * MIB, 4096, 400),
];

const fn target(name: &'static str, run: fn(&[u8]), bytes_base: usize, bytes_each: usize, mutations: u64) -> Target {
    Target { name, run, bytes_base, bytes_each, mutations }
}
