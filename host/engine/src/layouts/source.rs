//! Weights wherever they lie, under one list of keys.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use tch::Tensor;

use super::diffusers::COMPONENTS;
use crate::trainer::checkpoint::{self, CheckpointDir, CheckpointError};
use crate::weights::{Entry, Named, WeightsFile};

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
    /// With `averaged`, which only checkpoints can give, the moving averages stand in place of the weights they follow.
    ///
    /// # Errors
    /// When there is nothing of the kind, a file is damaged, or there are no averages.
    pub fn open(path: &Path, averaged: bool) -> Result<Self, CheckpointError> {
        let misfit = |reason: &str| CheckpointError::Misfit { path: path.to_owned(), reason: reason.to_owned() };
        let checkpoint = if checkpoint::is_checkpoint(path) {
            Some(path.to_owned())
        } else if CheckpointDir::of_run(path).path().is_dir() {
            Some(CheckpointDir::of_run(path).latest()?)
        } else {
            None
        };
        if let Some(checkpoint) = checkpoint {
            return Self::of_checkpoint(&checkpoint, averaged);
        }
        if averaged {
            return Err(misfit("only a run or its checkpoint tells averages from weights"));
        }
        if path.is_dir() {
            return Self::of_diffusers(path);
        }
        let mut source = Self::empty(Layout::File, path);
        source.add(WeightsFile::open(path)?, "");
        Ok(source)
    }

    fn empty(layout: Layout, path: &Path) -> Self {
        Self { layout, path: path.to_owned(), metadata: BTreeMap::new(), files: Vec::new(), keys: Vec::new() }
    }

    fn of_checkpoint(path: &Path, averaged: bool) -> Result<Self, CheckpointError> {
        checkpoint::verify(path)?;
        let mut source = Self::empty(Layout::Checkpoint, path);
        let [model, ema] = checkpoint::weights_files(path);
        source.add(WeightsFile::open(&model)?, "");
        if averaged {
            let ema = WeightsFile::open(&ema)?;
            if ema.entries().is_empty() {
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
