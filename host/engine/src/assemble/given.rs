//! Scenes of given pictures, completed by what a model reads beside them, and sampled.

use std::collections::{BTreeMap, BTreeSet};

use anneal_torch::random::Stream;
use image::RgbImage;
use tch::{Kind, Tensor};

use super::{AssembleError, SavedRun, TrainedRun};
use crate::config::{EmbedderConfig, NetworkConfig, RunConfig, SourceConfig};
use crate::data::given::{Blank, Form, Framing, GivenError, Layout, ViewsLayout, batch_of, planes_of, views_scene};
use crate::data::{Batch, Entry, Place, Sample, Values};
use crate::diffusion::Progress;
use crate::generation::{Matrix, Window};
use crate::logging::pictures;

/// Texts that sources give.
const TEXTS: [&str; 6] = ["caption", "clip", "object", "animation_name", "name", "class_name"];

/// Pictures that follow from a given one.
const PICTURES: [&str; 3] = ["cond_image", "cond_frames", "cond_frames_without_noise"];

/// Values by the name of the entry that they are for.
pub type GivenValues = BTreeMap<String, String>;

/// A scene that a model can be asked for.
#[derive(Debug, Clone)]
pub struct GivenScene {
    /// Its entries.
    pub sample: Sample,
    /// Entries that are stand-ins, whose conditions the model does without.
    pub absent: Vec<String>,
}

impl GivenScene {
    /// Completes a scene of pictures by `values` and by stand-ins for what the model can do without.
    ///
    /// # Errors
    /// When a value is for an entry that the model does not read, is of another kind, or an entry is missing that the model
    /// cannot do without.
    pub fn new(mut sample: Sample, values: &GivenValues, config: &RunConfig) -> Result<Self, GivenError> {
        let read: BTreeSet<&String> = config.model.embedders.iter().flat_map(EmbedderConfig::keys).collect();
        for (entry, value) in values {
            if !read.contains(entry) {
                let known = read.iter().map(|key| (*key).clone()).collect();
                return Err(GivenError::UnknownEntry { entry: entry.clone(), known });
            }
            put(&mut sample, entry, value, config)?;
        }
        add_noised(&mut sample, &read, config.run.seed);
        let mut absent = Vec::new();
        for entry in read {
            let there = sample.tensors.contains_key(entry) || sample.texts.contains_key(entry);
            if there {
                continue;
            }
            let mut readers = config.model.embedders.iter().filter(|used| used.keys().any(|key| key == entry));
            let droppable = readers.all(|used| used.ucg_rate > 0.0);
            let is_simple = is_class(&config.data.source, entry) || is_text(entry);
            if !(droppable && is_simple) {
                let remedy = match PICTURES.contains(&entry.as_str()) {
                    true => "give a picture by --image".to_owned(),
                    false => format!("give --condition {entry}=VALUE if it is a number, a class or a text"),
                };
                return Err(GivenError::MissingEntry { entry: entry.clone(), remedy });
            }
            put(&mut sample, entry, "0", config)?;
            absent.push(entry.clone());
        }
        Ok(Self { sample, absent })
    }

    /// A scene of which nothing but `values` is known, completed by stand-ins for what the model can do without.
    ///
    /// # Errors
    /// As [`GivenScene::new`].
    pub fn of_values(blank: &Blank, values: &GivenValues, config: &RunConfig) -> Result<Self, GivenError> {
        // Without pictures, lest what stands in their place is taken for a condition.
        let mut scene = Self::new(blank.entries(), values, config)?;
        scene.sample.tensors.insert(config.model.input_key.clone(), blank.pictures());
        Ok(scene)
    }
}

impl SavedRun {
    /// A scene like the run's of which no picture is given, of the size `given` or else that of its data source, whose data
    /// is looked into only where the settings do not say what a scene is.
    ///
    /// # Errors
    /// When its scenes take pictures, or the size is unknown or none that the model can make.
    pub fn blank(&self, given: Option<[u32; 2]>) -> Result<Blank, AssembleError> {
        let config = self.config();
        let blank = match &config.data.source {
            SourceConfig::Webdataset(shards) if shards.clip.is_none() && !is_still(&config.model.network) => {
                Blank::of_clips(self.layout()?, given)?
            }
            source => Blank::of(source, given)?,
        };
        let (size, divisor) = (blank.size, config.model.pixels_divisor());
        match size.iter().all(|length| i64::from(*length) % divisor == 0) {
            true => Ok(blank),
            false => Err(GivenError::Size { size, divisor }.into()),
        }
    }
}

/// Whether a network knows single pictures alone.
fn is_still(network: &NetworkConfig) -> bool {
    matches!(network, NetworkConfig::Unet(_))
}

/// Whether the source gives the entry as a class.
fn is_class(source: &SourceConfig, entry: &str) -> bool {
    match source {
        SourceConfig::MeshOrbit(_) => entry == "animation",
        SourceConfig::Emoji(_) | SourceConfig::Idx(_) | SourceConfig::Cifar10(_) => entry == "class",
        SourceConfig::Webdataset(source) => source.classes.iter().any(|class| class == entry),
        _ => false,
    }
}

fn is_text(entry: &str) -> bool {
    TEXTS.contains(&entry)
}

/// Puts a value into a scene: a text, a class, a number for each frame, or the two numbers of a size.
fn put(sample: &mut Sample, entry: &str, value: &str, config: &RunConfig) -> Result<(), GivenError> {
    if is_text(entry) {
        sample.texts.insert(entry.to_owned(), value.to_owned());
        return Ok(());
    }
    let wrong = |kind: &str| GivenError::MissingEntry {
        entry: entry.to_owned(),
        remedy: format!("{value:?} is no {kind}; give --condition {entry}=VALUE with one"),
    };
    let number = |text: &str| text.trim().parse().ok().filter(|number: &f32| number.is_finite());
    let shape = sample.tensors.get(entry).map(|known| known.shape.as_slice());
    let value = if PICTURES.contains(&entry) || shape.is_some_and(|shape| shape.len() > 2) {
        let remedy = "a picture is given by --image".to_owned();
        return Err(GivenError::MissingEntry { entry: entry.to_owned(), remedy });
    } else if shape == Some(&[1, 2]) {
        let pair: Option<Vec<f32>> = value.split(',').map(number).collect();
        Entry::f32(&[1, 2], pair.filter(|pair| pair.len() == 2).ok_or_else(|| wrong("pair `ROWS,COLUMNS`"))?)
    } else if shape.is_some_and(|shape| shape.len() > 1) {
        return Err(wrong("table of numbers"));
    } else if is_class(&config.data.source, entry) {
        Entry::class(value.parse().map_err(|_| wrong("class, counted from 0"))?)
    } else if let Some(number) = number(value) {
        Entry::f32(&[sample.frames], vec![number; sample.frames as usize])
    } else if matches!(config.data.source, SourceConfig::Webdataset(_)) {
        // Shards name texts as they like.
        sample.texts.insert(entry.to_owned(), value.to_owned());
        return Ok(());
    } else {
        return Err(wrong("number"));
    };
    sample.tensors.insert(entry.to_owned(), value);
    Ok(())
}

/// Adds the reference's names of the conditioning picture where the model reads them: with noise of the standard deviation
/// `cond_aug`, and without.
fn add_noised(sample: &mut Sample, read: &BTreeSet<&String>, seed: u64) {
    let reads = |entry: &str| read.iter().any(|key| *key == entry);
    let Some(Entry { shape, values: Values::F32(clean) }) = sample.tensors.get("cond_image").cloned() else { return };
    if reads("cond_frames_without_noise") {
        sample.tensors.insert("cond_frames_without_noise".to_owned(), Entry::f32(&shape, clean.clone()));
    }
    if reads("cond_frames") && !sample.tensors.contains_key("cond_frames") {
        let sigma = match sample.tensors.get("cond_aug").map(|entry| &entry.values) {
            Some(Values::F32(values)) => values.first().copied().unwrap_or(0.0),
            _ => 0.0,
        };
        let mut noise = Stream::new(seed, "cond_aug", 0, 0);
        let noised = clean.iter().map(|value| value + sigma * noise.normal() as f32).collect();
        sample.tensors.insert("cond_frames".to_owned(), Entry::f32(&shape, noised));
    }
}

/// A video of which all views are to be made.
pub struct GivenVideo<'a> {
    /// Its frames, of the model's size.
    pub frames: &'a [RgbImage],
    /// The views.
    pub views: &'a ViewsLayout,
    /// The views of the first frame, where they are given.
    pub first_views: Option<&'a [RgbImage]>,
    /// The order in which windows of its times are made.
    pub windows: &'a [Window],
    /// Values of further entries.
    pub values: &'a GivenValues,
    /// The scene's number: another one has other noise.
    pub sample_id: u64,
}

impl TrainedRun {
    /// A scene as a batch on the model's device, as often as there are `sample_ids`.
    ///
    /// # Errors
    /// The loader's.
    pub fn batch_of(&self, scene: &GivenScene, sample_ids: &[u64]) -> Result<Batch, AssembleError> {
        Ok(batch_of(&scene.sample, sample_ids, self.device)?)
    }

    /// Makes all views of a video, as pictures.
    ///
    /// # Shapes
    /// - result: `[t*v, 3, h, w]`, the views of a time together
    ///
    /// # Errors
    /// When a component fails, the model reads an entry that is not given, or `progress` stops the solver.
    pub fn sample_video(
        &mut self,
        video: &GivenVideo<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<Tensor, AssembleError> {
        let size = [video.frames[0].height(), video.frames[0].width()];
        let [rows, columns] = size.map(i64::from);
        let views = video.views.places.len() as i64;
        let given = video.first_views.map(|views| {
            let planes = Tensor::from_slice(&planes_of(views));
            planes.view([-1, 3, rows, columns]).to_device(self.device)
        });
        let (config, device) = (&self.config, self.device);
        let batch = |times: &[usize], told: Option<&Tensor>| -> Result<(Batch, Vec<String>), AssembleError> {
            let frames: Vec<RgbImage> = times.iter().map(|&time| video.frames[time].clone()).collect();
            let told = told.map(values_of);
            let sample = views_scene(size, planes_of(&frames), told.as_deref(), video.views);
            let mut scene = GivenScene::new(sample, video.values, config)?;
            if told.is_none() {
                scene.absent.push("cond_view".to_owned());
            }
            Ok((batch_of(&scene.sample, &[video.sample_id], device)?, scene.absent))
        };
        let (seed, sample_id) = (self.seed, video.sample_id);
        let matrix = Matrix { windows: video.windows, num_views: views, given, seed, sample_id };
        matrix.run(&self.model, &mut self.sampling, &batch, progress)
    }

    /// The views of an orbit around what `picture` shows that are nearest to `places`, with their numbers in the orbit. The
    /// run's scenes are orbits of this layout; it is made at the elevation `elevation_deg`.
    ///
    /// # Errors
    /// When the run does not make orbits, or as [`TrainedRun::sample`].
    pub fn orbit_views(
        &mut self,
        layout: &Layout,
        picture: &RgbImage,
        places: &[Place],
        elevation_deg: f64,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<(usize, RgbImage)>, AssembleError> {
        let orbit = match &layout.form {
            Form::Views(views) if views.num_times == 1 => views.clone().seen_from(Some(&[elevation_deg]), None)?,
            _ => {
                let remedy = "name the run of a model that makes orbits".to_owned();
                return Err(GivenError::OtherForm { makes: layout.makes(), remedy }.into());
            }
        };
        let framed = Framing { size: layout.size, fill_ratio: None }.apply(vec![picture.clone()]);
        let scene = views_scene(layout.size, planes_of(&framed), None, &orbit);
        let scene = GivenScene::new(scene, &GivenValues::new(), &self.config)?;
        let batch = self.batch_of(&scene, &[0])?;
        let made = pictures(&self.sample(&batch, &scene.absent, progress)?);
        Ok(places.iter().map(|&place| orbit.nearest(place)).map(|view| (view, made[view].clone())).collect())
    }
}

/// The values of a tensor, row-major.
fn values_of(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.to_device(tch::Device::Cpu).to_kind(Kind::Float).contiguous().view([-1]);
    Vec::try_from(&flat).unwrap_or_else(|error| panic!("values of a flat f32 tensor: {error}"))
}
