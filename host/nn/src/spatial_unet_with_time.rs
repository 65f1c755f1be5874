//! The UNet of SV4D: views of an object over time, denoised together.

use tch::Tensor;

use crate::blocks::{
    BlendConfig, PostHocResBlock, PostHocResBlockConfig, ResBlock, ResBlockConfig, Resample, SpatialTransformerConfig,
    TransformerBlockConfig, ViewGrouping, ViewMotionInput, ViewMotionTransformer, ViewMotionTransformerConfig,
};
use crate::embedding::Embedding;
use crate::network::{Network, NetworkInput};
use crate::params::Path;
use crate::trunk::{Call, Layer, Parts, Place, Trunk, TrunkConfig};

mod config;

pub use config::SpatialUNetWithTimeConfig;

impl SpatialUNetWithTimeConfig {
    fn trunk(&self) -> TrunkConfig {
        TrunkConfig {
            in_channels: self.in_channels.into(),
            model_channels: self.model_channels.into(),
            out_channels: self.out_channels.into(),
            num_res_blocks: vec![self.num_res_blocks; self.channel_mult.len()],
            channel_mult: self.channel_mult.clone(),
            conv_resample: self.conv_resample,
            resblock_updown: self.resblock_updown,
            dims: 2,
            use_checkpoint: self.use_checkpoint,
        }
    }

    fn blend(&self) -> BlendConfig {
        let (strategy, factor) = (self.time_block_merge_strategy, self.time_block_merge_factor);
        if self.time_mix_legacy {
            BlendConfig::Legacy { strategy: strategy.into(), factor, apply_sigmoid: true }
        } else {
            BlendConfig::Mixer { strategy, factor }
        }
    }

    fn view_grouping(&self) -> ViewGrouping {
        if self.use_3d_attention { self.attention_3d_grouping } else { ViewGrouping::Views }
    }

    fn depth_at(&self, place: &Place) -> Option<u32> {
        let depths = self.transformer_depth.expand(self.channel_mult.len());
        match *place {
            Place::Level { level, .. } => self.attention_resolutions.contains(&(1 << level)).then(|| depths[level]),
            Place::Middle => Some(self.transformer_depth_middle.unwrap_or(depths[depths.len() - 1])),
        }
    }
}

impl Parts for SpatialUNetWithTimeConfig {
    fn res_block(&self, path: &Path, channels: i64, out_channels: i64, resample: Resample) -> Box<dyn Layer> {
        let image = ResBlockConfig {
            channels,
            out_channels,
            emb_channels: Some(4 * i64::from(self.model_channels)),
            dropout: self.dropout,
            use_conv: false,
            use_scale_shift_norm: self.use_scale_shift_norm,
            kernel: vec![3, 3],
            resample,
            emb_per_frame: false,
        };
        if !self.use_temporal_resblock {
            return Box::new(ResBlock::new(path, image));
        }
        let time_kernel = self.time_kernel_size.sizes();
        Box::new(PostHocResBlock::new(path, PostHocResBlockConfig { image, time_kernel, blend: self.blend() }))
    }

    fn attention(&self, path: &Path, channels: i64, place: Place) -> Option<Box<dyn Layer>> {
        let depth = self.depth_at(&place)?;
        let (num_heads, head_width) = self.heads().at(channels);
        let context_dim = i64::from(self.context_dim);
        let block = TransformerBlockConfig {
            width: num_heads * head_width,
            num_heads,
            head_width,
            context_width: Some(context_dim),
            gated_ff: true,
            dropout: self.dropout,
        };
        let use_linear = self.use_linear_in_transformer;
        let view_context_width =
            if self.use_spatial_context { Some(context_dim) } else { self.time_context_dim.map(i64::from) };
        Some(Box::new(ViewMotionTransformer::new(
            path,
            ViewMotionTransformerConfig {
                spatial: SpatialTransformerConfig { channels, depth, use_linear, disable_self_attn: false, block },
                view_context_width,
                motion_context_width: self.motion_context_dim.map(i64::from),
                camera_width: self.use_camera_emb.then_some(4 * i64::from(self.model_channels)),
                grouping: self.view_grouping(),
                cross_attention: !self.disable_temporal_crossattention,
                blend: self.blend(),
                motion_factor: self.separate_motion_merge_factor.then_some(self.motion_block_merge_factor),
                max_period: self.max_ddpm_temb_period.into(),
            },
        )))
    }
}

impl Layer for PostHocResBlock {
    fn forward(&self, x: &Tensor, call: &Call) -> Tensor {
        Self::forward(self, x, &call.emb, call.t, call.train)
    }
}

impl Layer for ViewMotionTransformer {
    fn forward(&self, x: &Tensor, call: &Call) -> Tensor {
        let (Some(context), Some(cond_view)) = (&call.context, &call.cond_view) else {
            panic!("SV4D's network needs a context and reference views (cond_view)");
        };
        // Views are embedded from the embedded noise level and vector condition, as the reference does.
        let camera = Some(&call.emb);
        Self::forward(self, x, ViewMotionInput { context, cond_view, camera, train: call.train })
    }
}

/// The UNet of SV4D.
pub struct SpatialUNetWithTime {
    embedding: Embedding,
    trunk: Trunk,
    needs_frames: bool,
}

impl SpatialUNetWithTime {
    /// Adds the network's parameters at `path`.
    ///
    /// # Panics
    /// When [`SpatialUNetWithTimeConfig::check`] has something to say.
    pub fn new(config: &SpatialUNetWithTimeConfig, path: &Path) -> Self {
        let problems = config.check();
        assert!(problems.is_empty(), "{}", problems[0]);
        let embedding = Embedding::new(path, config.model_channels.into(), config.num_classes, config.adm_in_channels);
        let trunk = Trunk::new(path, &config.trunk(), config);
        Self { embedding, trunk, needs_frames: config.use_temporal_resblock }
    }
}

impl Network for SpatialUNetWithTime {
    fn forward(&self, input: &NetworkInput<'_>) -> Tensor {
        let rows = input.x.size()[0];
        let t = match input.num_video_frames {
            Some(t) => t,
            None if !self.needs_frames => rows,
            None => panic!("SV4D's network needs num_video_frames"),
        };
        assert!(t > 0 && rows % t == 0, "{rows} rows are no whole number of scenes of num_video_frames = {t}");
        let share = |t: Option<&Tensor>| t.map(Tensor::shallow_clone);
        let call = Call {
            emb: self.embedding.forward(input.c_noise, input.y, input.train),
            context: share(input.context),
            time_context: None,
            cond_view: share(input.cond_view),
            t,
            // The reference multiplies it by zero.
            image_only_indicator: None,
            train: input.train,
        };
        self.trunk.forward(input.x, &call)
    }

    fn context_is_per_scene(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
