//! Models of scenes: glTF, GLB and OBJ with its materials.

use anneal::data::{MeshOrbit, Source};
use anneal_torch::random::Stream;

use super::image::PIXEL;
use crate::files::{folder, parts, said, write};

/// As the source `mesh-orbit` reads a model and draws it. Lines `#=== NAME` begin the files that a model names.
pub(super) fn mesh(data: &[u8]) {
    let folder = folder();
    let name = match data {
        [b'g', b'l', b'T', b'F', ..] => "scene.glb",
        [b'{', ..] => "scene.gltf",
        _ => "scene.obj",
    };
    write(folder.path(), "paint.png", PIXEL);
    let files = if name == "scene.glb" { vec![(name.to_owned(), data)] } else { parts(name, data) };
    for (name, bytes) in files {
        write(folder.path(), &name, bytes);
    }
    let config = format!("path = {:?}\nsize = 8\nnum_views = 1\nnum_times = 2", folder.path().join(name));
    let config = toml::from_str(&config).unwrap_or_else(|error| panic!("{error}"));
    if let Some(source) = said(MeshOrbit::open(&config)) {
        said(source.sample(0, &mut Stream::new(0, "augment", 1, 0)));
    }
}
