//! Images to latents by an autoencoder's encoder; the decoder is neither built nor declared.

use anneal_nn::Path;
use anneal_nn::autoencoder::{CoderConfig, DiagonalGaussian, Encoder};
use anneal_nn::layers::{Conv, ConvConfig};
use plugin_api::config::Setting;
use plugin_api::tch::prelude::*;

use crate::nn_params::Declared;
use crate::tree::Tree;

/// Sizes of an encoder, as in published configs.
#[derive(Config, Clone)]
#[config(check = check)]
pub struct EncoderSizes {
    /// Channels at the finest level, a multiple of 32.
    #[config(min = 1)]
    pub ch: u32,
    /// Channels of each level as multiples of `ch`, finest first.
    #[config(default = vec![1, 2, 4, 8], min = 1)]
    pub ch_mult: Vec<u32>,
    /// Residual blocks at each level.
    pub num_res_blocks: u32,
    /// Resolutions with attention, counted from `resolution` and halved at each level; the middle always has it.
    pub attn_resolutions: Vec<u32>,
    /// Halve with a convolution.
    #[config(default = true)]
    pub resamp_with_conv: bool,
    /// Channels of the images.
    #[config(default = 3, min = 1)]
    pub in_channels: u32,
    /// Nominal rows and columns of an image, for `attn_resolutions` alone.
    #[config(min = 1)]
    pub resolution: u32,
    /// Channels of a latent, before a map to `embed_dim`.
    #[config(min = 1)]
    pub z_channels: u32,
    /// Give mean and log-variance, `2 * z_channels`.
    #[config(default = true)]
    pub double_z: bool,
    /// Linear attention, whatever `attn_type` says.
    #[config(default)]
    pub use_linear_attn: bool,
    /// The kind of attention.
    #[config(default = Attention::Vanilla)]
    pub attn_type: Attention,
}

/// The kind of attention.
#[derive(Config, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// Softmax attention with one head.
    Vanilla,
    /// Linear attention.
    Linear,
    /// No attention.
    None,
}

impl EncoderSizes {
    /// The settings of anneal-nn's encoder, which have the same names.
    fn coder(&self) -> std::result::Result<CoderConfig, ConfigError> {
        let mut settings = self.to_value();
        // Read by the decoder alone.
        settings["out_ch"] = settings["in_channels"].clone();
        serde_json::from_value(settings).map_err(|error| ConfigError::new("", error.to_string()))
    }
}

fn check(sizes: &EncoderSizes) -> std::result::Result<(), ConfigError> {
    match sizes.coder()?.check_encoder().into_iter().next() {
        Some(problem) => {
            Err(ConfigError::new(format!("/{}", problem.key), format!("{}; {}", problem.message, problem.help)))
        }
        None => Ok(()),
    }
}

/// What is taken of what an encoder gives.
#[derive(Config, Clone, Copy, PartialEq, Eq)]
pub enum Latent {
    /// The means of the posterior.
    Mean,
    /// A sample of the posterior.
    Sample,
    /// All of it, of an autoencoder whose latents are no Gaussians.
    Code,
    /// All of it, of an encoder that is not part of an autoencoder: its keys lack a second `encoder.`
    Moments,
}

/// An encoder with its declared parameters, or none: images are then taken as they are.
pub struct FrameEncoder {
    inner: Option<(CoderConfig, Declared)>,
    embed_dim: Option<i64>,
    in_autoencoder: bool,
    latent: Latent,
}

/// Layers of one call.
struct Layers {
    encoder: Encoder,
    quant_conv: Option<Conv>,
}

fn layers(coder: &CoderConfig, embed_dim: Option<i64>, in_autoencoder: bool, path: &Path) -> Layers {
    let at = if in_autoencoder { path.sub("encoder") } else { path.clone() };
    let encoder = Encoder::new(coder, &at);
    let parts = if coder.double_z { 2 } else { 1 };
    let quant_conv = embed_dim.map(|embed_dim| {
        let channels = parts * i64::from(coder.z_channels);
        Conv::new(&path.sub("quant_conv"), ConvConfig::same(channels, parts * embed_dim, &[1, 1]))
    });
    Layers { encoder, quant_conv }
}

impl FrameEncoder {
    /// Keys `encoder.*` and, with `embed_dim`, `quant_conv.*` below `at`; the encoder's own at `at` for moments.
    ///
    /// # Errors
    /// When sizes do not fit each other.
    pub fn new(at: Tree<'_>, sizes: Option<&EncoderSizes>, embed_dim: Option<i64>, latent: Latent) -> Result<Self> {
        let in_autoencoder = latent != Latent::Moments;
        if embed_dim.is_some() && (sizes.is_none() || !in_autoencoder) {
            return Err(Error::config("/embed_dim", "has no effect without the `encoder` of an autoencoder"));
        }
        if sizes.is_some_and(|sizes| !sizes.double_z) && matches!(latent, Latent::Mean | Latent::Sample) {
            return Err(Error::config("/encoder/double_z", "must be true where `latent` is taken from a posterior"));
        }
        match sizes {
            None => Ok(Self { inner: None, embed_dim, in_autoencoder, latent }),
            Some(sizes) => Self::built(at, sizes, embed_dim, in_autoencoder, latent),
        }
    }

    /// An encoder that is not part of an autoencoder, its latents samples of the posterior; the encoder's keys at `at`.
    ///
    /// # Errors
    /// When sizes do not fit each other.
    pub fn sampling(at: Tree<'_>, sizes: &EncoderSizes) -> Result<Self> {
        if !sizes.double_z {
            return Err(Error::config("/encoder/double_z", "must be true where latents are samples"));
        }
        Self::built(at, sizes, None, false, Latent::Sample)
    }

    fn built(
        at: Tree<'_>,
        sizes: &EncoderSizes,
        embed_dim: Option<i64>,
        in_autoencoder: bool,
        latent: Latent,
    ) -> Result<Self> {
        let coder = sizes.coder()?;
        let declared = Declared::new(at, |path| {
            layers(&coder, embed_dim, in_autoencoder, path);
        })?;
        Ok(Self { inner: Some((coder, declared)), embed_dim, in_autoencoder, latent })
    }

    /// Images to latents, at most `chunk` at a time.
    ///
    /// # Shapes
    /// - `images`: `[n, c, h, w]`
    /// - result: `[n, z, h', w']`
    pub fn forward(&self, call: &Call<'_>, images: &Tensor, chunk: Option<i64>) -> Result<Tensor> {
        let size = images.size();
        if size.len() != 4 || size.contains(&0) || !images.is_floating_point() {
            let kind = images.kind();
            return Err(Error::argument(format!("wants floating-point images [n, c, h, w], got {size:?} of {kind:?}")));
        }
        let Some((coder, declared)) = &self.inner else { return Ok(images.shallow_clone()) };
        if size[1] != i64::from(coder.in_channels) {
            return Err(Error::argument(format!("wants {} channels, got {size:?}", coder.in_channels)));
        }
        let layers = layers(coder, self.embed_dim, self.in_autoencoder, &declared.of(call).root());
        let encoded =
            images.split(chunk.unwrap_or(size[0]), 0).iter().map(|rows| layers.forward(rows)).collect::<Vec<_>>();
        let encoded = Tensor::f_cat(&encoded, 0)?;
        Ok(match self.latent {
            Latent::Code | Latent::Moments => encoded,
            Latent::Mean => DiagonalGaussian::new(&encoded).mode(),
            Latent::Sample => {
                let posterior = DiagonalGaussian::new(&encoded);
                let noise = call.normal("posterior", &posterior.mode().size())?;
                posterior.sample(&noise.type_as(&encoded))
            }
        })
    }
}

impl Layers {
    fn forward(&self, images: &Tensor) -> Tensor {
        let encoded = self.encoder.forward(images, false);
        match &self.quant_conv {
            Some(conv) => conv.forward(&encoded),
            None => encoded,
        }
    }
}
