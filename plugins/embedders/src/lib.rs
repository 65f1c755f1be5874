//! The bundled embedders, as a plugin like any other.

mod class;
mod frames_concat;
mod identity;
mod scalar;
mod spatial_rescaler;

use plugin_api::native::prelude::*;

export_plugin! {
    embedder "scalar" => scalar::Scalar,
    embedder "class" => class::Class,
    embedder "frames-concat" => frames_concat::FramesConcat,
    embedder "identity" => identity::Identity,
    embedder "spatial-rescaler" => spatial_rescaler::SpatialRescaler,
}

#[cfg(test)]
mod tests {
    use plugin_api::config::assert_schema_file;
    use plugin_api::native::prelude::*;

    use super::*;

    fn assert_schema<E: Embedder>(name: &str) {
        assert_schema_file::<E::Config>(format!("{}/schema/{name}.json", env!("CARGO_MANIFEST_DIR")));
    }

    #[test]
    fn the_schema_files_are_those_of_the_settings() {
        assert_schema::<scalar::Scalar>("scalar");
        assert_schema::<class::Class>("class");
        assert_schema::<frames_concat::FramesConcat>("frames-concat");
        assert_schema::<identity::Identity>("identity");
        assert_schema::<spatial_rescaler::SpatialRescaler>("spatial-rescaler");
    }
}
