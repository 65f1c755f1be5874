//! The bundled encoders, as a plugin like any other: images, texts and frames to conditions.

mod named;
mod tree;
mod layers;
mod tokens;
mod resize;
mod open_clip_blocks;
mod open_clip_vision;
mod open_clip_text_tower;
mod open_clip_archs;
mod open_clip_image;
mod open_clip_image_prediction;
mod open_clip_text;
mod open_clip_text2;
mod clip_text_model;
mod clip_text;
mod t5_model;
mod t5;
mod byt5;
mod clip_t5;
mod nn_params;
mod uniform;
mod frame_encoder;
mod video_prediction;
mod gaussian_encoder;
mod low_scale_encoder;
#[cfg(test)]
mod formula;

use plugin_api::tch::prelude::*;

export_plugin! {
    embedder "open-clip-image" => open_clip_image::OpenClipImage,
    embedder "open-clip-image-prediction" => open_clip_image_prediction::OpenClipImagePrediction,
    embedder "open-clip-text" => open_clip_text::OpenClipText,
    embedder "open-clip-text2" => open_clip_text2::OpenClipText2,
    embedder "clip-text" => clip_text::ClipTextEmbedder,
    embedder "t5" => t5::T5,
    embedder "byt5" => byt5::ByT5,
    embedder "clip-t5" => clip_t5::ClipT5,
    embedder "video-prediction-with-encoder" => video_prediction::VideoPrediction,
    embedder "gaussian-encoder" => gaussian_encoder::GaussianEncoder,
    embedder "low-scale-encoder" => low_scale_encoder::LowScaleEncoder,
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
        check::<open_clip_image::OpenClipImage>("open-clip-image");
        check::<open_clip_image_prediction::OpenClipImagePrediction>("open-clip-image-prediction");
        check::<open_clip_text::OpenClipText>("open-clip-text");
        check::<open_clip_text2::OpenClipText2>("open-clip-text2");
        check::<clip_text::ClipTextEmbedder>("clip-text");
        check::<t5::T5>("t5");
        check::<byt5::ByT5>("byt5");
        check::<clip_t5::ClipT5>("clip-t5");
        check::<video_prediction::VideoPrediction>("video-prediction-with-encoder");
        check::<gaussian_encoder::GaussianEncoder>("gaussian-encoder");
        check::<low_scale_encoder::LowScaleEncoder>("low-scale-encoder");
    }
}
