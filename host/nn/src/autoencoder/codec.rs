//! Encoder, latent and decoder together: what a first stage or an image condition is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::config::CoderConfig;
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::posterior::DiagonalGaussian;
use super::quantizer::VectorQuantizerConfig;
use super::regularizer::{Latent, Regularizer, RegularizerConfig};
use crate::config::ConfigProblem;
use crate::layers::{Conv, ConvConfig};
use crate::params::Path;

/// An autoencoder, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AutoencoderConfig {
    /// The autoencoder of latent diffusion: latents are samples of the posterior.
    AutoencoderKl(AutoencoderKlConfig),
    /// The same, but latents are the posterior's means, as for conditions.
    AutoencoderKlModeOnly(AutoencoderKlConfig),
    /// The autoencoder of the first latent diffusion models: latents are codes from a table.
    AutoencoderLegacyVq(AutoencoderLegacyVqConfig),
    /// Any encoder, decoder and latent.
    AutoencodingEngine(AutoencodingEngineConfig),
}

/// Settings of the autoencoder of latent diffusion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderKlConfig {
    /// Channels of a latent.
    #[schemars(range(min = 1))]
    pub embed_dim: u32,
    /// Encoder and decoder.
    pub ddconfig: CoderConfig,
    /// Rows encoded or decoded at a time; all at once if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_batch_size: Option<u32>,
}

/// Settings of an autoencoder whose latents are codes from a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderLegacyVqConfig {
    /// Channels of a latent, which are those of a code.
    #[schemars(range(min = 1))]
    pub embed_dim: u32,
    /// Number of codes.
    #[schemars(range(min = 1))]
    pub n_embed: u32,
    /// Indices of codes have the shape of the image instead of one axis.
    #[serde(default)]
    pub sane_index_shape: bool,
    /// Encoder and decoder; `double_z` must be false.
    pub ddconfig: CoderConfig,
    /// Rows encoded or decoded at a time; all at once if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_batch_size: Option<u32>,
}

/// Settings of an autoencoder put together from its parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoencodingEngineConfig {
    /// Pixels to what the regularizer takes.
    pub encoder_config: EncoderConfig,
    /// Latents to pixels.
    pub decoder_config: DecoderConfig,
    /// What the encoder gives to latents.
    pub regularizer_config: RegularizerConfig,
}

/// An encoder, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum EncoderConfig {
    /// Pixels are the moments already.
    Identity,
    /// The encoder.
    Encoder(CoderConfig),
}

/// A decoder, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum DecoderConfig {
    /// Of images.
    Decoder(CoderConfig),
    /// Of video.
    VideoDecoder(CoderConfig),
}

impl AutoencoderConfig {
    /// What cannot be built; empty when all is well.
    pub fn check(&self) -> Vec<ConfigProblem> {
        match self {
            Self::AutoencodingEngine(engine) => engine.check(),
            Self::AutoencoderLegacyVq(vq) if vq.n_embed == 0 => {
                vec![ConfigProblem::new("n_embed", "must be 1 or more", "give the number of codes")]
            }
            Self::AutoencoderKl(_) | Self::AutoencoderKlModeOnly(_) | Self::AutoencoderLegacyVq(_) => {
                self.legacy().map(|legacy| legacy.check()).unwrap_or_default()
            }
        }
    }

    /// Rows and columns of an image for each one of a latent.
    pub fn downsampling(&self) -> i64 {
        self.encoder().map_or(1, CoderConfig::downsampling)
    }

    /// Channels of the latents that the decoder takes.
    pub fn decoded_channels(&self) -> i64 {
        match self {
            Self::AutoencoderKl(AutoencoderKlConfig { embed_dim, .. })
            | Self::AutoencoderKlModeOnly(AutoencoderKlConfig { embed_dim, .. })
            | Self::AutoencoderLegacyVq(AutoencoderLegacyVqConfig { embed_dim, .. }) => (*embed_dim).into(),
            Self::AutoencodingEngine(engine) => {
                let (DecoderConfig::Decoder(decoder) | DecoderConfig::VideoDecoder(decoder)) = &engine.decoder_config;
                decoder.z_channels.into()
            }
        }
    }

    /// Channels of the pixels that the encoder takes; none where it takes anything.
    pub fn encoded_pixels(&self) -> Option<u32> {
        self.encoder().map(|encoder| encoder.in_channels)
    }

    /// Channels of a latent of an image with `in_channels`.
    pub fn latent_channels(&self, in_channels: i64) -> i64 {
        self.regularizer().channels(self.moment_channels(in_channels))
    }

    /// Channels of the noise that the latent of an image with `in_channels` is drawn with; 0 where none is.
    pub fn noise_channels(&self, in_channels: i64) -> i64 {
        self.regularizer().noise_channels(self.moment_channels(in_channels))
    }

    /// Channels of what the latent is taken from.
    fn moment_channels(&self, in_channels: i64) -> i64 {
        match self.legacy() {
            Some(legacy) => legacy.moments() * legacy.embed_dim,
            None => self.encoder().map_or(in_channels, CoderConfig::encoded_channels),
        }
    }

    /// Names of the terms that the regularizer gives.
    pub fn regularization_terms(&self) -> Vec<String> {
        self.regularizer().terms()
    }

    /// The encoder; none if it is the identity.
    fn encoder(&self) -> Option<&CoderConfig> {
        match self {
            Self::AutoencoderKl(kl) | Self::AutoencoderKlModeOnly(kl) => Some(&kl.ddconfig),
            Self::AutoencoderLegacyVq(vq) => Some(&vq.ddconfig),
            Self::AutoencodingEngine(engine) => match &engine.encoder_config {
                EncoderConfig::Identity => None,
                EncoderConfig::Encoder(encoder) => Some(encoder),
            },
        }
    }

    fn regularizer(&self) -> RegularizerConfig {
        match self {
            Self::AutoencoderKl(_) => RegularizerConfig::DiagonalGaussian { sample: true },
            Self::AutoencoderKlModeOnly(_) => RegularizerConfig::DiagonalGaussian { sample: false },
            Self::AutoencoderLegacyVq(vq) => RegularizerConfig::VectorQuantizer(VectorQuantizerConfig {
                sane_index_shape: vq.sane_index_shape,
                ..VectorQuantizerConfig::new(vq.n_embed, vq.embed_dim)
            }),
            Self::AutoencodingEngine(engine) => engine.regularizer_config.clone(),
        }
    }

    /// The autoencoders with a map on either side of the latent.
    fn legacy(&self) -> Option<Legacy<'_>> {
        match self {
            Self::AutoencoderKl(kl) | Self::AutoencoderKlModeOnly(kl) => Some(Legacy {
                embed_dim: kl.embed_dim.into(),
                ddconfig: &kl.ddconfig,
                max_batch_size: kl.max_batch_size,
                is_gaussian: true,
            }),
            Self::AutoencoderLegacyVq(vq) => Some(Legacy {
                embed_dim: vq.embed_dim.into(),
                ddconfig: &vq.ddconfig,
                max_batch_size: vq.max_batch_size,
                is_gaussian: false,
            }),
            Self::AutoencodingEngine(_) => None,
        }
    }
}

/// What the autoencoders of latent diffusion share.
struct Legacy<'a> {
    embed_dim: i64,
    ddconfig: &'a CoderConfig,
    max_batch_size: Option<u32>,
    is_gaussian: bool,
}

impl Legacy<'_> {
    /// Values that the encoder gives for one of a latent, where they are means and log-variances.
    fn moments(&self) -> i64 {
        if self.ddconfig.double_z { 2 } else { 1 }
    }

    fn check(&self) -> Vec<ConfigProblem> {
        let mut problems = within("ddconfig", self.ddconfig.check_encoder());
        for problem in within("ddconfig", self.ddconfig.check_decoder()) {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        let mut wrong = |key: &str, message: &str, help: &str| problems.push(ConfigProblem::new(key, message, help));
        if self.embed_dim == 0 {
            wrong("embed_dim", "must be 1 or more", "give the number of channels of a latent");
        }
        if self.max_batch_size == Some(0) {
            wrong("max_batch_size", "must be 1 or more", "leave it out to take all rows at once");
        }
        if self.is_gaussian && !self.ddconfig.double_z && self.embed_dim % 2 == 1 {
            let message = "half of an odd number of channels are no means";
            wrong("ddconfig.double_z", message, "give means and log-variances: double_z = true");
        }
        if !self.is_gaussian && self.ddconfig.double_z {
            wrong("ddconfig.double_z", "codes have no log-variances", "give double_z = false");
        }
        problems
    }
}

impl AutoencodingEngineConfig {
    fn check(&self) -> Vec<ConfigProblem> {
        let encoder = match &self.encoder_config {
            EncoderConfig::Identity => Vec::new(),
            EncoderConfig::Encoder(config) => config.check_encoder(),
        };
        let decoder = match &self.decoder_config {
            DecoderConfig::Decoder(config) => config.check_decoder(),
            DecoderConfig::VideoDecoder(config) => config.check_video_decoder(),
        };
        let mut problems = within("encoder_config", encoder);
        problems.extend(within("decoder_config", decoder));
        problems.extend(within("regularizer_config", self.regularizer_config.check()));
        let (DecoderConfig::Decoder(decoder) | DecoderConfig::VideoDecoder(decoder)) = &self.decoder_config;
        if let EncoderConfig::Encoder(encoder) = &self.encoder_config {
            let encoded = encoder.encoded_channels();
            if let Some((key, taken)) = self.regularizer_config.takes()
                && i64::from(taken) != encoded
            {
                let message = format!("{taken} is not the {encoded} channels that the encoder gives");
                let help = "give as many as the encoder's z_channels, with double_z = false";
                problems.push(ConfigProblem::new(&format!("regularizer_config.{key}"), message, help));
            }
            let latent = self.regularizer_config.channels(encoded);
            if latent != i64::from(decoder.z_channels) {
                let message = format!("{} is not the {latent} channels of a latent", decoder.z_channels);
                let help = "give encoder and decoder the same z_channels";
                problems.push(ConfigProblem::new("decoder_config.z_channels", message, help));
            }
        }
        problems
    }
}

fn within(table: &str, problems: Vec<ConfigProblem>) -> Vec<ConfigProblem> {
    problems.into_iter().map(|p| ConfigProblem { key: format!("{table}.{}", p.key), ..p }).collect()
}

/// An autoencoder.
#[derive(Debug)]
pub struct Autoencoder {
    encoder: Option<Encoder>,
    quant_conv: Option<Conv>,
    regularizer: Regularizer,
    post_quant_conv: Option<Conv>,
    decoder: Decoder,
    max_batch_size: Option<i64>,
}

impl Autoencoder {
    /// Keys `encoder` (none if it is the identity) and `decoder`; `regularization` of quantizers; `quant_conv` and
    /// `post_quant_conv` in the autoencoders of latent diffusion.
    ///
    /// # Panics
    /// When [`AutoencoderConfig::check`] has something to say.
    pub fn new(config: &AutoencoderConfig, path: &Path) -> Self {
        let problems = config.check();
        assert!(problems.is_empty(), "{}", problems[0]);
        let at_decoder = path.sub("decoder");
        let encoder = config.encoder().map(|encoder| Encoder::new(encoder, &path.sub("encoder")));
        let decoder = match config {
            AutoencoderConfig::AutoencoderKl(AutoencoderKlConfig { ddconfig, .. })
            | AutoencoderConfig::AutoencoderKlModeOnly(AutoencoderKlConfig { ddconfig, .. })
            | AutoencoderConfig::AutoencoderLegacyVq(AutoencoderLegacyVqConfig { ddconfig, .. }) => {
                Decoder::new(ddconfig, &at_decoder)
            }
            AutoencoderConfig::AutoencodingEngine(engine) => match &engine.decoder_config {
                DecoderConfig::Decoder(config) => Decoder::new(config, &at_decoder),
                DecoderConfig::VideoDecoder(config) => Decoder::video(config, &at_decoder),
            },
        };
        let legacy = config.legacy();
        let map = |name: &str, inputs, outputs| Conv::new(&path.sub(name), ConvConfig::same(inputs, outputs, &[1, 1]));
        let z_channels = |legacy: &Legacy<'_>| i64::from(legacy.ddconfig.z_channels);
        Self {
            encoder,
            regularizer: Regularizer::new(&config.regularizer(), &path.sub("regularization")),
            quant_conv: legacy.as_ref().map(|legacy| {
                map("quant_conv", legacy.moments() * z_channels(legacy), legacy.moments() * legacy.embed_dim)
            }),
            post_quant_conv: legacy.as_ref().map(|legacy| map("post_quant_conv", legacy.embed_dim, z_channels(legacy))),
            decoder,
            max_batch_size: legacy.and_then(|legacy| legacy.max_batch_size).map(i64::from),
        }
    }

    /// How a latent is taken from the moments.
    pub fn regularizer(&self) -> &Regularizer {
        &self.regularizer
    }

    /// What the latent is taken from: the moments of the posterior, or the code itself without one.
    ///
    /// # Shapes
    /// - `x`: `[n, in_channels, h, w]`, f32 in `[-1, 1]`
    /// - result: `[n, 2*c, h/f, w/f]` with a Gaussian, else `[n, c, h/f, w/f]`
    pub fn encode_moments(&self, x: &Tensor, train: bool) -> Tensor {
        self.in_batches(x, |x| {
            let encoded = self.encoder.as_ref().map_or_else(|| x.shallow_clone(), |encoder| encoder.forward(x, train));
            self.quant_conv.as_ref().map_or_else(|| encoded.shallow_clone(), |conv| conv.forward(&encoded))
        })
    }

    /// The latent of `x`.
    ///
    /// # Shapes
    /// - `x`: `[n, in_channels, h, w]`, f32 in `[-1, 1]`
    /// - `noise`: `[n, c, h/f, w/f]` standard normal with [`AutoencoderConfig::noise_channels`], needed only where
    ///   [`Regularizer::is_random`]
    /// - result: `[n, c, h/f, w/f]`
    pub fn encode(&self, x: &Tensor, noise: Option<&Tensor>) -> Tensor {
        self.encode_with_terms(x, noise, false).z
    }

    /// The latent of `x` and what the regularizer adds to the loss. The terms are those of all rows, whatever
    /// `max_batch_size` says.
    ///
    /// # Shapes
    /// - `x`, `noise`: as in [`Autoencoder::encode`]
    pub fn encode_with_terms(&self, x: &Tensor, noise: Option<&Tensor>, train: bool) -> Latent {
        self.regularizer.regularize(&self.encode_moments(x, train), noise, train)
    }

    /// The weight of the decoder's last convolution, where the weight of an adversarial loss is measured: the one over
    /// frames, if the last one of a video decoder is.
    ///
    /// # Shapes
    /// - result: `[out_ch, c, 3, 3]`; `[out_ch, out_ch, t, h, w]` over frames
    pub fn last_layer(&self) -> &Tensor {
        self.decoder.last_layer()
    }

    /// The posterior of `x`; none where the regularizer is no Gaussian.
    ///
    /// # Shapes
    /// - `x`: `[n, in_channels, h, w]`, f32 in `[-1, 1]`
    pub fn posterior(&self, x: &Tensor) -> Option<DiagonalGaussian> {
        match self.regularizer {
            Regularizer::DiagonalGaussian { .. } => Some(DiagonalGaussian::new(&self.encode_moments(x, false))),
            _ => None,
        }
    }

    /// Pixels of latents.
    ///
    /// # Shapes
    /// - `z`: `[b*t, c, h, w]`, the rows of each `t` one video; a decoder of images does not look at `t`
    /// - result: `[b*t, 3, f*h, f*w]`
    pub fn decode(&self, z: &Tensor, t: i64, train: bool) -> Tensor {
        self.decoded(z, self.decoder.is_over_time().then_some(t), train)
    }

    /// Pixels of latents, each row an image of its own: a decoder of video leaves out its layers over time.
    ///
    /// # Shapes
    /// - `z`: `[n, c, h, w]`
    /// - result: `[n, 3, f*h, f*w]`
    pub fn decode_images(&self, z: &Tensor, train: bool) -> Tensor {
        self.decoded(z, None, train)
    }

    fn decoded(&self, z: &Tensor, t: Option<i64>, train: bool) -> Tensor {
        self.in_batches(z, |z| {
            let z = self.post_quant_conv.as_ref().map_or_else(|| z.shallow_clone(), |conv| conv.forward(z));
            self.decoder.forward(&z, t, train)
        })
    }

    fn in_batches(&self, x: &Tensor, each: impl Fn(&Tensor) -> Tensor) -> Tensor {
        let rows = x.size()[0];
        match self.max_batch_size {
            Some(max) if rows > max => {
                let parts =
                    (0..rows).step_by(max as usize).map(|first| each(&x.narrow(0, first, max.min(rows - first))));
                Tensor::cat(&parts.collect::<Vec<_>>(), 0)
            }
            _ => each(x),
        }
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
