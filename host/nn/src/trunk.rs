//! The trunk that all UNets share: levels down, a middle, and levels up with skip connections.

mod checkpointed;

use tch::Tensor;

use self::checkpointed::Checkpointed;
use crate::blocks::Resample;
use crate::layers::{Conv, ConvConfig, Downsample, GroupNorm, Upsample};
use crate::params::Path;

/// What the layers of one forward pass share.
pub(crate) struct Call {
    /// Embedded noise level and vector condition: `[n, 4*model_channels]`.
    pub emb: Tensor,
    /// `[n, s, d]`
    pub context: Option<Tensor>,
    /// `[b, s, d]`
    pub time_context: Option<Tensor>,
    /// `[b*v, c, h, w]`
    pub cond_view: Option<Tensor>,
    /// Frames of a clip; 1 for images.
    pub t: i64,
    /// `[b, t]`
    pub image_only_indicator: Option<Tensor>,
    /// Whether dropout is on.
    pub train: bool,
}

impl Call {
    /// The same tensors once more.
    pub fn shallow_clone(&self) -> Self {
        let share = |t: &Option<Tensor>| t.as_ref().map(Tensor::shallow_clone);
        Self {
            emb: self.emb.shallow_clone(),
            context: share(&self.context),
            time_context: share(&self.time_context),
            cond_view: share(&self.cond_view),
            image_only_indicator: share(&self.image_only_indicator),
            ..*self
        }
    }
}

/// A step of the trunk.
pub(crate) trait Layer: Send {
    /// `[n, c, h, w] -> [n, c', h', w']`
    fn forward(&self, x: &Tensor, call: &Call) -> Tensor;
}

impl Layer for Conv {
    fn forward(&self, x: &Tensor, _: &Call) -> Tensor {
        Self::forward(self, x)
    }
}

impl Layer for Upsample {
    fn forward(&self, x: &Tensor, _: &Call) -> Tensor {
        Self::forward(self, x)
    }
}

impl Layer for Downsample {
    fn forward(&self, x: &Tensor, _: &Call) -> Tensor {
        Self::forward(self, x)
    }
}

/// Sizes of the trunk.
pub(crate) struct TrunkConfig {
    pub in_channels: i64,
    pub model_channels: i64,
    pub out_channels: i64,
    /// Residual blocks at each level; one more on the way up.
    pub num_res_blocks: Vec<u32>,
    pub channel_mult: Vec<u32>,
    /// Resampling with a convolution.
    pub conv_resample: bool,
    /// Resampling inside a residual block.
    pub resblock_updown: bool,
    pub dims: usize,
    pub use_checkpoint: bool,
}

/// Where a layer with attention would stand.
pub(crate) enum Place {
    /// At a level, behind its `block`-th residual block.
    Level {
        level: usize,
        block: u32,
    },
    Middle,
}

/// What one network puts at the places of the trunk.
pub(crate) trait Parts {
    fn res_block(&self, path: &Path, channels: i64, out_channels: i64, resample: Resample) -> Box<dyn Layer>;
    /// None where this network has no attention.
    fn attention(&self, path: &Path, channels: i64, place: Place) -> Option<Box<dyn Layer>>;
}

type Stage = Vec<Box<dyn Layer>>;

/// Input blocks, middle block, output blocks, output layer.
pub(crate) struct Trunk {
    input: Vec<Stage>,
    middle: Stage,
    output: Vec<Stage>,
    out_norm: GroupNorm,
    out_conv: Conv,
}

impl Trunk {
    /// Keys `input_blocks.{i}.{j}`, `middle_block.{j}`, `output_blocks.{i}.{j}`, `out.{0,2}`.
    pub fn new(path: &Path, config: &TrunkConfig, parts: &dyn Parts) -> Self {
        let mut builder = Builder { config, parts, channels: config.model_channels, skips: Vec::new() };
        let input = builder.input(&path.sub("input_blocks"));
        let middle = builder.middle(&path.sub("middle_block"));
        let output = builder.output(&path.sub("output_blocks"));
        let out = path.sub("out");
        let kernel = vec![3; config.dims];
        let out_conv = ConvConfig { zeroed: true, ..ConvConfig::same(builder.channels, config.out_channels, &kernel) };
        Self {
            input,
            middle,
            output,
            out_norm: GroupNorm::in_f32(&out.sub(0), builder.channels),
            out_conv: Conv::new(&out.sub(2), out_conv),
        }
    }

    /// # Shapes
    /// - `x`: `[n, c, h, w]`
    /// - result: `[n, c_out, h, w]`
    pub fn forward(&self, x: &Tensor, call: &Call) -> Tensor {
        let through = |stage: &Stage, x: Tensor| stage.iter().fold(x, |h, layer| layer.forward(&h, call));
        let mut skips = Vec::with_capacity(self.input.len());
        let mut h = x.shallow_clone();
        for stage in &self.input {
            h = through(stage, h);
            skips.push(h.shallow_clone());
        }
        h = through(&self.middle, h);
        for (stage, skip) in self.output.iter().zip(skips.into_iter().rev()) {
            h = through(stage, Tensor::cat(&[h, skip], 1));
        }
        self.out_conv.forward(&self.out_norm.forward(&h.to_kind(x.kind())).silu())
    }
}

struct Builder<'a> {
    config: &'a TrunkConfig,
    parts: &'a dyn Parts,
    /// Channels after the layers so far.
    channels: i64,
    /// Channels of the skip connections not yet taken.
    skips: Vec<i64>,
}

impl Builder<'_> {
    fn input(&mut self, path: &Path) -> Vec<Stage> {
        let config = self.config;
        let first = ConvConfig::same(config.in_channels, config.model_channels, &vec![3; config.dims]);
        let mut stages: Vec<Stage> = vec![vec![Box::new(Conv::new(&path.sub(0).sub(0), first))]];
        self.skips.push(self.channels);
        for level in 0..config.channel_mult.len() {
            for block in 0..config.num_res_blocks[level] {
                let at = path.sub(stages.len());
                let mut stage =
                    vec![self.res_block(&at.sub(0), self.channels, self.level_channels(level), Resample::Keep)];
                stage.extend(self.attention(&at.sub(1), Place::Level { level, block }));
                stages.push(stage);
                self.skips.push(self.channels);
            }
            if level + 1 != config.channel_mult.len() {
                let at = path.sub(stages.len()).sub(0);
                let channels = self.channels;
                stages.push(vec![if config.resblock_updown {
                    self.res_block(&at, channels, channels, Resample::Down)
                } else {
                    Box::new(Downsample::new(&at, channels, channels, config.conv_resample, config.dims))
                }]);
                self.skips.push(channels);
            }
        }
        stages
    }

    fn middle(&mut self, path: &Path) -> Stage {
        let channels = self.channels;
        let mut stage = vec![self.res_block(&path.sub(0), channels, channels, Resample::Keep)];
        stage.extend(self.attention(&path.sub(1), Place::Middle));
        stage.push(self.res_block(&path.sub(2), channels, channels, Resample::Keep));
        stage
    }

    fn output(&mut self, path: &Path) -> Vec<Stage> {
        let config = self.config;
        let mut stages: Vec<Stage> = Vec::new();
        for level in (0..config.channel_mult.len()).rev() {
            for block in 0..=config.num_res_blocks[level] {
                let at = path.sub(stages.len());
                let skip = self.skips.pop().unwrap_or_else(|| panic!("`{}` has no skip connection", at.prefix()));
                let joined = self.channels + skip;
                let mut stage = vec![self.res_block(&at.sub(0), joined, self.level_channels(level), Resample::Keep)];
                stage.extend(self.attention(&at.sub(1), Place::Level { level, block }));
                if level > 0 && block == config.num_res_blocks[level] {
                    let at = at.sub(stage.len());
                    let channels = self.channels;
                    stage.push(if config.resblock_updown {
                        self.res_block(&at, channels, channels, Resample::Up)
                    } else {
                        Box::new(Upsample::new(&at, channels, channels, config.conv_resample, config.dims))
                    });
                }
                stages.push(stage);
            }
        }
        stages
    }

    fn level_channels(&self, level: usize) -> i64 {
        self.config.model_channels * i64::from(self.config.channel_mult[level])
    }

    fn res_block(&mut self, path: &Path, channels: i64, out_channels: i64, resample: Resample) -> Box<dyn Layer> {
        self.channels = out_channels;
        self.checkpointed(self.parts.res_block(path, channels, out_channels, resample))
    }

    fn attention(&self, path: &Path, place: Place) -> Option<Box<dyn Layer>> {
        self.parts.attention(path, self.channels, place).map(|layer| self.checkpointed(layer))
    }

    fn checkpointed(&self, layer: Box<dyn Layer>) -> Box<dyn Layer> {
        if self.config.use_checkpoint { Box::new(Checkpointed::new(layer)) } else { layer }
    }
}
