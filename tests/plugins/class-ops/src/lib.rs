//! An embedder over the host's operations, and one that uses them wrongly. Neither links libtorch.

mod class;
mod probe;

use plugin_api::native::prelude::*;

export_plugin! {
    embedder "class-ops" => class::Class,
    embedder "probe-ops" => probe::Probe,
}
