//! Where things are: the repository, the target folder, the cache.

use std::env;
use std::path::{Path, PathBuf};

/// The folders every verb works with.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The repository's root.
    pub root: PathBuf,
    /// What was fetched, kept outside the target folder so that `cargo clean` does not cost a download.
    pub cache: PathBuf,
}

impl Paths {
    /// The paths of this checkout and this user.
    pub fn new() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().unwrap_or(manifest).to_path_buf();
        Self { cache: cache_home().join("anneal"), root }
    }

    /// The link to the libtorch that the workspace is built against.
    pub fn libtorch_link(&self) -> PathBuf {
        self.root.join(".libtorch")
    }

    /// The demo's model, as `configs/demo.toml` names it. It lies below the repository's own target folder even where
    /// cargo builds elsewhere, since the config's path is fixed.
    pub fn fox(&self) -> PathBuf {
        self.root.join("target/data/fox/Fox.gltf")
    }

    /// The folder of video clips, as the configs name it.
    pub fn clips(&self) -> PathBuf {
        self.root.join("target/data/clips")
    }

    /// The bundled plugins, as the configs name them.
    pub fn plugins(&self) -> PathBuf {
        self.root.join("target/plugins")
    }

    /// The plugins that only tests load.
    pub fn test_plugins(&self) -> PathBuf {
        self.root.join("target/test-plugins")
    }
}

/// `$XDG_CACHE_HOME`, or `~/.cache` where it is not an absolute path.
fn cache_home() -> PathBuf {
    match env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(home) if home.is_absolute() => home,
        _ => env::home_dir().unwrap_or_else(env::temp_dir).join(".cache"),
    }
}
