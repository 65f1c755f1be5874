//! Weights wherever they lie, under one list of keys.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use tch::Tensor;

use super::diffusers::COMPONENTS;
use crate::trainer::checkpoint::{self, CheckpointDir, CheckpointError};
use crate::weights::{ALPHA, Entry, Named, WeightsFile};

/// What was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A file of safetensors or of `torch.save`.
    File,
    /// A checkpoint of a run.
    Checkpoint,
    /// The folder of a diffusers pipeline.
    Diffusers,
}

/// Whether moving averages stand in place of the weights they follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Averages {
    /// They do not.
    Off,
    /// Those of a run that keeps some do; files are as they are.
    OfRuns,
    /// They do, or it is an error.
    Wanted,
}

/// Where the reference's files have moving averages.
const SHADOWS: &str = "model_ema.";

/// Opened weights.
#[derive(Debug)]
pub struct Source {
    /// What was opened.
    pub layout: Layout,
    /// Where it lies: of a run the checkpoint.
    pub path: PathBuf,
    /// What it says about itself.
    pub metadata: BTreeMap<String, String>,
    files: Vec<WeightsFile>,
    /// Key, file, and entry in the file.
    keys: Vec<(String, usize, usize)>,
}

impl Source {
    /// Opens a file, a checkpoint or the newest one of a run's folder, or the folder of a diffusers pipeline, whose keys
    /// then begin with the component: `unet.conv_in.weight`.
    ///
    /// Averages are a checkpoint's own, or those that a file of the reference holds as `model_ema.*`.
    ///
    /// # Errors
    /// When there is nothing of the kind, a file is damaged, or there are no averages.
    pub fn open(path: &Path, averages: Averages) -> Result<Self, CheckpointError> {
        let source = Self::look(path, averages)?;
        if source.layout == Layout::Checkpoint {
            checkpoint::verify(&source.path)?;
        }
        Ok(source)
    }

    /// As [`Source::open`], for what is said about the tensors: a checkpoint's files are not compared with its manifest, which
    /// would read all of them.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn look(path: &Path, averages: Averages) -> Result<Self, CheckpointError> {
        let averaged = averages == Averages::Wanted;
        let misfit = |reason: &str| CheckpointError::Misfit { path: path.to_owned(), reason: reason.to_owned() };
        let checkpoint = if checkpoint::is_checkpoint(path) {
            Some(path.to_owned())
        } else if CheckpointDir::of_run(path).path().is_dir() {
            Some(CheckpointDir::of_run(path).latest()?)
        } else {
            None
        };
        if let Some(checkpoint) = checkpoint {
            return Self::of_checkpoint(&checkpoint, averages);
        }
        if path.is_dir() {
            return if averaged { Err(misfit("a pipeline holds no averages")) } else { Self::of_diffusers(path) };
        }
        let mut source = Self::empty(Layout::File, path);
        source.add(WeightsFile::open(path)?, "");
        if averaged && !source.put_shadows() {
            return Err(misfit("it holds no averages: no key begins with `model_ema.`"));
        }
        Ok(source)
    }

    /// Puts the averages that a file of the reference holds in place of the weights, and says whether there were any.
    fn put_shadows(&mut self) -> bool {
        let (shadows, mut keys): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.keys).into_iter().partition(|(name, ..)| name.starts_with(SHADOWS));
        let places: HashMap<&str, (usize, usize)> =
            shadows.iter().map(|(name, file, entry)| (name.as_str(), (*file, *entry))).collect();
        for (name, file, entry) in &mut keys {
            // The reference names a shadow as its weight, below `model.` and without dots.
            let shadow = name.strip_prefix("model.").map(|name| format!("{SHADOWS}{}", name.replace('.', "")));
            if let Some(place) = shadow.and_then(|shadow| places.get(shadow.as_str())) {
                (*file, *entry) = *place;
            }
        }
        self.keys = keys;
        !shadows.is_empty()
    }

    fn empty(layout: Layout, path: &Path) -> Self {
        Self { layout, path: path.to_owned(), metadata: BTreeMap::new(), files: Vec::new(), keys: Vec::new() }
    }

    fn of_checkpoint(path: &Path, averages: Averages) -> Result<Self, CheckpointError> {
        let mut source = Self::empty(Layout::Checkpoint, path);
        let [model, ema] = checkpoint::weights_files(path);
        source.add(WeightsFile::open(&model)?, "");
        if averages != Averages::Off {
            let ema = WeightsFile::open(&ema)?;
            if ema.entries().is_empty() && averages == Averages::Wanted {
                let reason = "the run keeps no moving average: its config has no [ema]".to_owned();
                return Err(CheckpointError::Misfit { path: path.to_owned(), reason });
            }
            let places: HashMap<String, usize> =
                ema.entries().iter().enumerate().map(|(i, entry)| (entry.name.clone(), i)).collect();
            for (name, file, entry) in &mut source.keys {
                if let Some(place) = places.get(name.as_str()) {
                    (*file, *entry) = (1, *place);
                }
            }
            source.files.push(ema);
        }
        Ok(source)
    }

    fn of_diffusers(path: &Path) -> Result<Self, CheckpointError> {
        let mut source = Self::empty(Layout::Diffusers, path);
        for component in COMPONENTS {
            let files = component.files.map(|file| path.join(component.folder).join(file));
            if let Some(file) = files.iter().find(|file| file.is_file()) {
                source.add(WeightsFile::open(file)?, &format!("{}.", component.folder));
            }
        }
        if source.files.is_empty() {
            let folders: Vec<&str> = COMPONENTS.iter().map(|component| component.folder).collect();
            let reason = format!(
                "it is no checkpoint (no manifest.json), no run (no checkpoints) and no diffusers pipeline (no weights in {})",
                folders.join(", ")
            );
            return Err(CheckpointError::Misfit { path: path.to_owned(), reason });
        }
        Ok(source)
    }

    fn add(&mut self, file: WeightsFile, prefix: &str) {
        let place = self.files.len();
        let keys = file.entries().iter().enumerate();
        self.keys.extend(keys.map(|(i, entry)| (format!("{prefix}{}", entry.name), place, i)));
        self.metadata.extend(file.metadata().clone());
        self.files.push(file);
    }

    /// The strength of the adapters among its tensors: what a run's config or the file itself says.
    pub fn lora_alpha(&self) -> Option<f64> {
        let said = self.metadata.get(ALPHA).and_then(|text| text.parse().ok());
        said.or_else(|| {
            let config = fs::read_to_string(self.path.join(checkpoint::CONFIG)).ok()?;
            let config: toml::Table = config.parse().ok()?;
            let lora = config.get("model")?.get("lora")?;
            let number = |key: &str| {
                let value = lora.get(key)?;
                value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
            };
            number("alpha").or_else(|| number("rank"))
        })
    }

    /// Keys with what is known of their tensors.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.keys.iter().map(|(name, file, entry)| (name.as_str(), &self.files[*file].entries()[*entry]))
    }

    /// The tensor of a key, on the CPU; none where there is no such key.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn tensor(&mut self, key: &str) -> Result<Option<Tensor>, CheckpointError> {
        let found = self.keys.iter().find(|(name, ..)| name == key);
        let Some(&(_, file, entry)) = found else { return Ok(None) };
        Ok(Some(self.files[file].tensor(entry)?))
    }

    /// All tensors, on the CPU.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(&mut self) -> Result<Vec<Named>, CheckpointError> {
        let (keys, files) = (&self.keys, &mut self.files);
        keys.iter().map(|(name, file, entry)| Ok((name.clone(), files[*file].tensor(*entry)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::write;

    fn named(key: &str, value: f32) -> Named {
        (key.to_owned(), Tensor::from_slice(&[value]))
    }

    #[test]
    fn the_references_averages_take_the_place_of_their_weights() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last.safetensors");
        let all = [
            named("model.diffusion_model.out.2.bias", 1.0),
            named("model.diffusion_model.mix", 2.0),
            named("model_ema.diffusion_modelout2bias", 3.0),
            named("model_ema.num_updates", 9.0),
        ];
        write(&path, &all, HashMap::new()).unwrap();
        let values = |averaged: bool| -> BTreeMap<String, f64> {
            let named = Source::open(&path, if averaged { Averages::Wanted } else { Averages::OfRuns })
                .unwrap()
                .read()
                .unwrap();
            named.into_iter().map(|(key, tensor)| (key, tensor.double_value(&[0]))).collect()
        };
        assert_eq!(values(false).len(), 4);
        let averaged: Vec<(String, f64)> = values(true).into_iter().collect();
        let want = [("model.diffusion_model.mix", 2.0), ("model.diffusion_model.out.2.bias", 3.0)];
        assert_eq!(averaged, want.map(|(key, value)| (key.to_owned(), value)));
        write(&path, &all[..2], HashMap::new()).unwrap();
        assert!(Source::open(&path, Averages::Wanted).unwrap_err().to_string().contains("`model_ema.`"));
    }
}
