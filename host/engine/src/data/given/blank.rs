//! Scenes of which no picture is given: their size and their frames, as a source has them.

use super::super::labelled::Labelled;
use super::super::sample::{CROP, ORIGINAL_SIZE, TARGET_SIZE};
use super::super::{Entry, Sample};
use super::{ClipLayout, Form, GivenError, Layout};
use crate::config::SourceConfig;

/// A scene before anything is known of what it shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Blank {
    /// Rows and columns of a picture.
    pub size: [u32; 2],
    /// Channels of a picture.
    pub channels: u32,
    /// The clip that it is; a single picture if none.
    pub clip: Option<ClipLayout>,
}

impl Blank {
    /// A scene like those of a source, of the size `given` or else the source's own. Only images in MNIST's format are
    /// opened, which alone say their size, and only if they are there.
    ///
    /// # Errors
    /// When the source has views of objects, which take a picture; when nothing says the size; or the images cannot be read.
    pub fn of(source: &SourceConfig, given: Option<[u32; 2]>) -> Result<Self, GivenError> {
        let (own, channels, clip) = match source {
            SourceConfig::Emoji(source) => (Some([source.size; 2]), 3, None),
            SourceConfig::Cifar10(_) => (Some(Labelled::CIFAR_SIZE), 3, None),
            SourceConfig::Idx(source) => {
                let is_there = given.is_none() && source.images.is_file();
                (is_there.then(|| Labelled::idx(source)).transpose()?.map(|images| images.size()), 1, None)
            }
            SourceConfig::Webdataset(source) => (source.size, 3, source.clip.as_ref().map(ClipLayout::of_cut)),
            source => {
                let (size, clip) = of_layout(Layout::of(source)?)?;
                (Some(size), 3, Some(clip))
            }
        };
        Ok(Self { size: given.or(own).ok_or(GivenError::NoSize)?, channels, clip })
    }

    /// A scene of `layout`, of the size `given` or else the layout's own.
    ///
    /// # Errors
    /// When the layout is of views of objects.
    pub fn of_clips(layout: Layout, given: Option<[u32; 2]>) -> Result<Self, GivenError> {
        let (own, clip) = of_layout(layout)?;
        Ok(Self { size: given.unwrap_or(own), channels: 3, clip: Some(clip) })
    }

    /// The entries of the scene but for its pictures: what a source gives of a clip, and the sizes of a picture that was
    /// neither scaled nor cropped.
    pub fn entries(&self) -> Sample {
        let mut sample = Sample { frames: 1, ..Sample::default() };
        let size = self.size.map(|length| length as f32).to_vec();
        for (entry, values) in [(ORIGINAL_SIZE, size.clone()), (CROP, vec![0.0; 2]), (TARGET_SIZE, size)] {
            sample.put(entry, Entry::f32(&[1, 2], values));
        }
        if let Some(clip) = &self.clip {
            let of_frames = |value: f64| Entry::f32(&[clip.num_frames as i64], vec![value as f32; clip.num_frames]);
            // As SVD counts.
            sample.put("fps_id", of_frames(clip.fps - 1.0));
            sample.put("motion_bucket_id", of_frames(clip.motion_bucket.into()));
            sample.put_indicator(clip.num_frames as i64);
        }
        sample
    }

    /// What stands in the place of the scene's pictures, whose shape alone counts.
    ///
    /// # Shapes
    /// - result: `[t, c, h, w]`, zeros
    pub fn pictures(&self) -> Entry {
        let frames = self.clip.as_ref().map_or(1, |clip| clip.num_frames as i64);
        let [rows, columns] = self.size.map(i64::from);
        let shape = [frames, i64::from(self.channels), rows, columns];
        Entry::f32(&shape, vec![0.0; shape.iter().product::<i64>() as usize])
    }
}

/// Size and clips of a layout of clips.
fn of_layout(layout: Layout) -> Result<([u32; 2], ClipLayout), GivenError> {
    let makes = layout.makes();
    match layout.form {
        Form::Clip(clip) => Ok((layout.size, clip)),
        Form::Views(views) => {
            let remedy = if views.num_times > 1 { "give a video by --video" } else { "give a picture by --image" };
            Err(GivenError::OtherForm { makes, remedy: remedy.to_owned() })
        }
    }
}
