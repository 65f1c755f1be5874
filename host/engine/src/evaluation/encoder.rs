//! An encoder of features out of a TorchScript file.

use std::path::{Path, PathBuf};

use anneal_torch::grad_mode;
use tch::{CModule, Device, IValue, Kind, TchError, Tensor};
use thiserror::Error;

use crate::config::{EncoderInput, FrechetConfig};
use crate::digest::sha256;

/// An encoder that cannot be used.
#[derive(Debug, Error)]
pub enum EncoderError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("{} is no TorchScript program: {reason}", path.display())]
    NotTorchScript {
        /// The file.
        path: PathBuf,
        /// What libtorch says.
        reason: String,
    },
    /// It fails on its input.
    #[error("{} takes no input of shape {shape:?}: {reason}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Shape of the input.
        shape: Vec<i64>,
        /// What it says.
        reason: String,
    },
    /// It gives something else than features.
    #[error("{} gives {got} for an input of shape {shape:?}, where features are [{}, d]", path.display(), shape[0])]
    NoFeatures {
        /// The file.
        path: PathBuf,
        /// Shape of the input.
        shape: Vec<i64>,
        /// What it gives.
        got: String,
    },
    /// Its features are not finite.
    #[error("{} gives features that are not finite", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
    },
}

impl EncoderError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Read { .. } => "name a file that is there",
            Self::NotTorchScript { .. } => "save the encoder by torch.jit.script(..).save(..) or torch.jit.trace",
            Self::Refused { .. } => {
                "set `input`, `flags` and `size` to what it takes, and leave clips that are too short for it out of `over`"
            }
            Self::NoFeatures { .. } => {
                "save one that gives a row of features for each clip or frame; `flags` may choose them"
            }
            Self::NotFinite { .. } => "look at the samples, and whether `range` is what the encoder takes",
        }
    }
}

/// A TorchScript program that makes features of clips or frames.
#[derive(Debug)]
pub struct FeatureEncoder {
    module: CModule,
    settings: FrechetConfig,
    sha256: String,
    device: Device,
}

impl FeatureEncoder {
    /// Loads the file that `settings` name onto `device`.
    ///
    /// # Errors
    /// When it cannot be read or is no TorchScript.
    pub fn load(settings: &FrechetConfig, device: Device) -> Result<Self, EncoderError> {
        let path = &settings.encoder;
        // Read once, so that what is hashed is what runs.
        let bytes = std::fs::read(path).map_err(|source| EncoderError::Read { path: path.clone(), source })?;
        let sha256 = sha256(&bytes);
        let none = |error: TchError| EncoderError::NotTorchScript { path: path.clone(), reason: gist(&error) };
        let mut module = CModule::load_data_on_device(&mut bytes.as_slice(), device).map_err(none)?;
        module.f_set_eval().map_err(none)?;
        Ok(Self { module, settings: settings.clone(), sha256, device })
    }

    /// The settings.
    pub fn settings(&self) -> &FrechetConfig {
        &self.settings
    }

    /// SHA-256 of the file, in hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The features of a clip.
    ///
    /// # Shapes
    /// - `clip`: `[t, c, h, w]` in `[-1, 1]`, what is beyond is clipped; grey (`c = 1`) is shown as three channels
    /// - result: `[d]` f64 on the CPU
    ///
    /// # Errors
    /// When the encoder fails on it, or gives something else than finite features.
    pub fn features(&self, clip: &Tensor) -> Result<Tensor, EncoderError> {
        let _no_grad = grad_mode::no_grad();
        let input = self.input(clip);
        let (path, shape) = (|| self.settings.encoder.clone(), input.size());
        let flags = self.settings.flags.iter().map(|&flag| IValue::Bool(flag));
        let arguments: Vec<IValue> = std::iter::once(IValue::Tensor(input)).chain(flags).collect();
        let output = self.module.forward_is(&arguments);
        let output = output.map_err(|error| EncoderError::Refused {
            path: path(),
            shape: shape.clone(),
            reason: gist(&error),
        })?;
        let got = match output {
            IValue::Tensor(tensor) => match tensor.size()[..] {
                // Pooled maps count as features.
                [n, _, ref rest @ ..] if n == shape[0] && rest.iter().all(|&axis| axis == 1) => Ok(tensor),
                ref other => Err(format!("a tensor of shape {other:?}")),
            },
            _ => Err("no tensor".to_owned()),
        };
        let rows = got.map_err(|got| EncoderError::NoFeatures { path: path(), shape: shape.clone(), got })?;
        let rows = rows.flatten(1, -1).to_device(Device::Cpu).to_kind(Kind::Double); // [n, d]
        let features = rows.mean_dim([0].as_slice(), false, Kind::Double);
        if !bool::try_from(features.isfinite().all()).unwrap_or(false) {
            return Err(EncoderError::NotFinite { path: path() });
        }
        Ok(features)
    }

    /// The clip as the encoder takes it: one clip, or its frames.
    fn input(&self, clip: &Tensor) -> Tensor {
        let [t, c, h, w] = clip.size()[..] else { panic!("a clip of shape {:?}", clip.size()) };
        let clip = clip.to_device(self.device).to_kind(Kind::Float).clamp(-1.0, 1.0);
        let clip = if c == 1 { clip.expand([t, 3, h, w], false) } else { clip };
        let [rows, columns] = self.size_of(h, w);
        let clip = match [rows, columns] == [h, w] {
            true => clip,
            false => clip.upsample_bilinear2d([rows, columns], false, None, None),
        };
        let [black, white] = self.settings.range;
        let clip = match [black, white] == [-1.0, 1.0] {
            true => clip,
            false => (clip + 1.0) * ((white - black) / 2.0) + black,
        };
        match self.settings.input {
            EncoderInput::Clip => clip.transpose(0, 1).unsqueeze(0).contiguous(), // [t, c, h, w] -> [1, c, t, h, w]
            EncoderInput::Frame => clip.contiguous(),
        }
    }

    /// Rows and columns that the encoder sees of frames of `h` rows and `w` columns.
    pub fn size_of(&self, h: i64, w: i64) -> [i64; 2] {
        self.settings.size.map_or([h, w], |size| size.map(i64::from))
    }

    /// The file's name.
    pub fn name(&self) -> String {
        let path: &Path = &self.settings.encoder;
        path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
    }
}

/// What libtorch's message says is wrong: an interpreter's last error, or else the first sentence.
fn gist(error: &TchError) -> String {
    let message = match error {
        TchError::Torch(message) => message.clone(),
        other => other.to_string(),
    };
    let is_error = |line: &&str| line.split_once(": ").is_some_and(|(kind, _)| kind.ends_with("Error"));
    if let Some(line) = message.lines().rev().find(is_error) {
        return line.to_owned();
    }
    let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("it fails").trim();
    line.split_once(". ").map_or(line, |(first, _)| first).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Saves `function`, traced on an input of `shape`, and gives the settings that name it.
    fn traced(dir: &Path, shape: &[i64], mut function: impl FnMut(&Tensor) -> Tensor) -> FrechetConfig {
        let path = dir.join("encoder.pt");
        let example = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let mut closure = |inputs: &[Tensor]| vec![function(&inputs[0])];
        let module = CModule::create_by_tracing("Encoder", "forward", &[example], &mut closure).unwrap();
        module.save(&path).unwrap();
        toml::from_str(&format!("encoder = {path:?}")).unwrap()
    }

    fn clip() -> Tensor {
        (Tensor::arange(2 * 3 * 4 * 4, (Kind::Float, Device::Cpu)) * 0.37).sin().view([2, 3, 4, 4])
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        tensor.try_into().unwrap()
    }

    #[test]
    fn clips_and_frames_are_given_in_the_encoders_layout_and_range() {
        let dir = tempfile::tempdir().unwrap();
        let means = |x: &Tensor| x.mean_dim([3, 4].as_slice(), false, Kind::Float).flatten(1, 2);
        let mut settings = traced(dir.path(), &[1, 3, 2, 4, 4], means);
        let encoder = FeatureEncoder::load(&settings, Device::Cpu).unwrap();
        assert_eq!((encoder.name(), encoder.sha256().len()), ("encoder.pt".to_owned(), 64));
        // Features are channel-major: of each channel, the mean of each frame.
        let want = clip().mean_dim([2, 3].as_slice(), false, Kind::Double).transpose(0, 1).flatten(0, 1);
        let got = encoder.features(&(clip() * 1.0)).unwrap();
        assert!((got - &want).abs().max().double_value(&[]) < 1e-6);
        // What a screen cannot show is clipped, and grey has three channels.
        let far = encoder.features(&Tensor::full([2, 1, 4, 4], 7.0, (Kind::Float, Device::Cpu))).unwrap();
        assert_eq!(numbers(&far), [1.0; 6]);
        settings.range = [0.0, 255.0];
        settings.size = Some([4, 8]);
        let scaled = FeatureEncoder::load(&settings, Device::Cpu).unwrap();
        assert_eq!(scaled.size_of(4, 4), [4, 8]);
        let got = scaled.features(&clip()).unwrap();
        assert!((got - (want + 1.0) * 127.5).abs().max().double_value(&[]) < 1e-3);

        let of_frame = |x: &Tensor| x.mean_dim([2, 3].as_slice(), true, Kind::Float);
        let settings = FrechetConfig { input: EncoderInput::Frame, ..traced(dir.path(), &[2, 3, 4, 4], of_frame) };
        let got = FeatureEncoder::load(&settings, Device::Cpu).unwrap().features(&clip()).unwrap();
        let want = clip().mean_dim([0, 2, 3].as_slice(), false, Kind::Double);
        assert!((got - want).abs().max().double_value(&[]) < 1e-6, "pooled maps are features, averaged over frames");
    }

    #[test]
    fn flags_follow_the_clip() {
        // Scripted: forward(x, double: bool = False, pooled: bool = False), the mean over frames and pixels if pooled.
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/evaluation/testdata/flagged.pt");
        let with = |flags: &[bool]| {
            let mut settings: FrechetConfig = toml::from_str(&format!("encoder = {path:?}")).unwrap();
            settings.flags = flags.to_vec();
            FeatureEncoder::load(&settings, Device::Cpu).unwrap().features(&clip())
        };
        let (once, twice) = (with(&[false, true]).unwrap(), with(&[true, true]).unwrap());
        assert!((once * 2.0 - twice).abs().max().double_value(&[]) < 1e-6);
        assert!(matches!(with(&[]), Err(EncoderError::NoFeatures { .. })));
    }

    #[test]
    fn what_is_no_encoder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let absent: FrechetConfig = toml::from_str("encoder = \"nowhere.pt\"").unwrap();
        assert!(matches!(FeatureEncoder::load(&absent, Device::Cpu), Err(EncoderError::Read { .. })));
        let path = dir.path().join("weights.pt");
        std::fs::write(&path, b"PK weights").unwrap();
        let other = FrechetConfig { encoder: path, ..absent };
        let error = FeatureEncoder::load(&other, Device::Cpu).unwrap_err();
        assert!(matches!(error, EncoderError::NotTorchScript { .. }), "{error}");
        assert!(error.to_string().lines().count() == 1 && error.help().contains("torch.jit.script"), "{error}");

        let run = |settings: &FrechetConfig| {
            FeatureEncoder::load(settings, Device::Cpu).unwrap().features(&clip()).unwrap_err()
        };
        // Too short for a kernel of three frames.
        let kernel = Tensor::ones([5, 3, 3, 1, 1], (Kind::Float, Device::Cpu));
        let long = traced(dir.path(), &[1, 3, 4, 4, 4], |x| {
            x.conv3d(&kernel, None::<&Tensor>, [1, 1, 1], [0, 0, 0], [1, 1, 1], 1).mean_dim(
                [2, 3, 4].as_slice(),
                false,
                Kind::Float,
            )
        });
        let error = run(&long).to_string();
        assert!(error.contains("takes no input of shape [1, 3, 2, 4, 4]") && error.contains("ernel size"), "{error}");
        let flagged = FrechetConfig { flags: vec![true], ..long };
        assert!(run(&flagged).to_string().contains("forward"), "{}", run(&flagged));
        let maps = traced(dir.path(), &[1, 3, 2, 4, 4], |x| x * 2.0);
        assert!(run(&maps).to_string().contains("a tensor of shape [1, 3, 2, 4, 4]"));
        let infinite = traced(dir.path(), &[1, 3, 2, 4, 4], |x| x.flatten(1, -1) / 0.0);
        assert!(matches!(run(&infinite), EncoderError::NotFinite { .. }));
    }
}
