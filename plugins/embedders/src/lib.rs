//! The bundled embedders, as a plugin like any other.

mod scalar;
mod class;
mod class_for_multi_cond;
mod frames_concat;
mod identity;
mod spatial_rescaler;
mod fourier;

use plugin_api::tch::prelude::*;

export_plugin! {
    embedder "scalar" => scalar::Scalar,
    embedder "class" => class::Class,
    embedder "class-for-multi-cond" => class_for_multi_cond::ClassForMultiCond,
    embedder "frames-concat" => frames_concat::FramesConcat,
    embedder "identity" => identity::Identity,
    embedder "spatial-rescaler" => spatial_rescaler::SpatialRescaler,
    embedder "fourier" => fourier::Fourier,
}

#[cfg(test)]
mod tests {
    use plugin_api::config::assert_schema;
    use plugin_api::tch::prelude::*;

    use super::*;

    fn check<E: Embedder<Tensor>>(name: &str) {
        assert_schema(&E::Config::schema(), format!("{}/schema/{name}.json", env!("CARGO_MANIFEST_DIR")));
    }

    #[test]
    fn the_schema_files_are_those_of_the_settings() {
        check::<scalar::Scalar>("scalar");
        check::<class::Class>("class");
        check::<class_for_multi_cond::ClassForMultiCond>("class-for-multi-cond");
        check::<frames_concat::FramesConcat>("frames-concat");
        check::<identity::Identity>("identity");
        check::<spatial_rescaler::SpatialRescaler>("spatial-rescaler");
        check::<fourier::Fourier>("fourier");
    }
}
