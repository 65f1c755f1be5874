//! `anneal checkpoint convert`: weights in another layout.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anneal::layouts::diffusers::{self, COMPONENTS, PipelineSettings, Unfit};
use anneal::layouts::{Layout, Source};
use anneal::trainer::checkpoint::CheckpointError;
use anneal::weights::{self, ALPHA, Named, split_adapters};
use clap::{Args, ValueEnum};

use super::wanted;
use crate::exit::{Exit, Failure};

/// A layout to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// One safetensors file with the reference's keys.
    Reference,
    /// The folder of a diffusers pipeline (Stable Video Diffusion).
    Diffusers,
}

/// Arguments of `checkpoint convert`.
#[derive(Debug, Args)]
pub struct Convert {
    /// A file of safetensors or torch.save, a run or its checkpoint, or a diffusers folder.
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// The file or folder to write.
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// The layout to write.
    #[arg(long, value_enum, default_value = "reference")]
    to: To,
    /// Of a run, or a file with `model_ema.*`: the moving averages in place of the weights they follow.
    #[arg(long)]
    ema: bool,
    /// Only the low-rank adapters.
    #[arg(long, conflicts_with = "to")]
    adapters: bool,
    /// Take this from the start of keys; keys that do not begin with it are left out.
    #[arg(long, default_value = "", value_name = "PREFIX")]
    strip: String,
    /// Put this before keys.
    #[arg(long, default_value = "", value_name = "PREFIX")]
    add: String,
    /// Frames of a clip, which a diffusers folder must say: 14 of SVD, 25 of SVD-XT.
    #[arg(long, value_name = "N", required_if_eq("to", "diffusers"))]
    num_frames: Option<u32>,
    /// Width of the network's attention heads, which a diffusers folder must say.
    #[arg(long, value_name = "N", default_value_t = 64)]
    head_width: u32,
    /// Width of the image encoder's attention heads, which a diffusers folder must say.
    #[arg(long, value_name = "N", default_value_t = 80)]
    clip_head_width: u32,
    /// Rows and columns of what the image encoder sees, which a diffusers folder must say.
    #[arg(long, value_name = "N", default_value_t = 224)]
    clip_image_size: u32,
    /// Replace what is at OUT.
    #[arg(long)]
    force: bool,
}

impl Convert {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        if self.out.exists() && !self.force {
            let message = format!("{} exists; add --force to replace it", self.out.display());
            return Err(Failure::new(Exit::Usage, message));
        }
        let mut source = Source::open(&self.from, wanted(self.ema))?;
        let unfit = |error: Unfit| Failure::new(Exit::Checkpoint, format!("{}: {error}", self.from.display()));
        let alpha = source.lora_alpha();
        let (weights, adapters) = split_adapters(source.read()?);
        let wrong = |reason: &str| Failure::new(Exit::Checkpoint, format!("{}: {reason}", self.from.display()));
        if self.adapters && adapters.is_empty() {
            return Err(wrong("it has no low-rank adapters"));
        }
        if self.to == To::Diffusers && !adapters.is_empty() {
            return Err(wrong("it has low-rank adapters; merge them first: `anneal checkpoint merge-lora`"));
        }
        let says = format(alpha.filter(|_| !adapters.is_empty()));
        let mut left = Vec::new();
        let mut tensors = if self.adapters { adapters } else { weights.into_iter().chain(adapters).collect() };
        if source.layout == Layout::Diffusers && self.to == To::Reference {
            let converted = diffusers::to_reference(&tensors).map_err(unfit)?;
            (tensors, left) = (converted.tensors, converted.left);
        }
        tensors = self.renamed(tensors)?;
        match self.to {
            To::Reference => write_file(&self.out, &tensors, says)?,
            To::Diffusers => {
                if source.layout != Layout::Diffusers {
                    let converted = diffusers::from_reference(&tensors).map_err(unfit)?;
                    (tensors, left) = (converted.tensors, converted.left);
                }
                let settings = PipelineSettings {
                    num_frames: self.num_frames.unwrap_or_default(),
                    head_width: self.head_width,
                    clip_head_width: self.clip_head_width,
                    clip_image_size: self.clip_image_size,
                };
                self.write_pipeline(&tensors, &diffusers::files(&tensors, settings).map_err(unfit)?)?;
            }
        }
        println!("{}: {} tensors", self.out.display(), tensors.len());
        if let Some(first) = left.first() {
            println!("{} keys have no place in this layout and were left out, `{first}` first", left.len());
        }
        Ok(Exit::Done)
    }

    fn renamed(&self, tensors: Vec<Named>) -> Result<Vec<Named>, Failure> {
        let first = tensors.first().map_or_else(String::new, |(key, _)| key.clone());
        let kept = tensors.into_iter().filter_map(|(key, tensor)| {
            let rest = key.strip_prefix(&self.strip)?;
            Some((format!("{}{rest}", self.add), tensor))
        });
        let kept: Vec<Named> = kept.collect();
        if kept.is_empty() {
            let message = format!("no key begins with `{}`; the first is `{first}`", self.strip);
            return Err(Failure::new(Exit::Checkpoint, message));
        }
        Ok(kept)
    }

    /// Writes the folder beside its place and renames it.
    fn write_pipeline(&self, tensors: &[Named], settings: &[diffusers::SettingsFile]) -> Result<(), Failure> {
        let partial = beside(&self.out);
        let written = write_folder(&partial, tensors, settings).and_then(|()| {
            if self.out.is_dir() {
                fs::remove_dir_all(&self.out).map_err(io(&self.out))?;
            }
            fs::rename(&partial, &self.out).map_err(io(&self.out))
        });
        if written.is_err() {
            // The write's own error matters more than one of the clean-up.
            let _ = fs::remove_dir_all(&partial);
        }
        Ok(written?)
    }
}

fn write_folder(folder: &Path, tensors: &[Named], settings: &[diffusers::SettingsFile]) -> Result<(), CheckpointError> {
    for (name, value) in settings {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io(parent))?;
        }
        fs::write(&path, format!("{value:#}\n")).map_err(io(&path))?;
    }
    for component in COMPONENTS {
        let prefix = format!("{}.", component.folder);
        let own = tensors
            .iter()
            .filter_map(|(key, tensor)| Some((key.strip_prefix(&prefix)?.to_owned(), tensor.shallow_clone())));
        let path = folder.join(component.folder).join(component.files[0]);
        weights::write(&path, &own.collect::<Vec<_>>(), format(None))?;
    }
    for (name, _) in settings {
        on_disk(&folder.join(name))?;
    }
    for component in COMPONENTS {
        on_disk(&folder.join(component.folder).join(component.files[0]))?;
        on_disk(&folder.join(component.folder))?;
    }
    on_disk(folder)
}

/// Writes the file beside its place and renames it, so that a file is whole or not there.
pub(super) fn write_file(path: &Path, tensors: &[Named], says: HashMap<String, String>) -> Result<(), CheckpointError> {
    let partial = beside(path);
    let written = weights::write(&partial, tensors, says)
        .map_err(CheckpointError::from)
        .and_then(|_| on_disk(&partial))
        .and_then(|()| fs::rename(&partial, path).map_err(io(path)));
    if written.is_err() {
        // The write's own error matters more than one of the clean-up.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Waits until a file or a folder is on the disk.
fn on_disk(path: &Path) -> Result<(), CheckpointError> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(io(path))
}

/// What readers of safetensors in Python ask for, and the strength of adapters where there are any.
pub(super) fn format(alpha: Option<f64>) -> HashMap<String, String> {
    let alpha = alpha.map(|alpha| (ALPHA.to_owned(), alpha.to_string()));
    [("format".to_owned(), "pt".to_owned())].into_iter().chain(alpha).collect()
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".partial-{name}-{}", std::process::id()))
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> CheckpointError {
    let path = path.to_owned();
    move |source| CheckpointError::Io { path: path.clone(), source }
}
