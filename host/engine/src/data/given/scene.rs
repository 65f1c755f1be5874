//! Scenes made of given pictures, with the entries that sources give.

use image::RgbImage;
use tch::Device;

use super::super::mesh::append_orbit_rays;
use super::super::sample::collate;
use super::super::views::Views;
use super::super::{Batch, DataError, Entry, Sample, clip, pixels};
use super::{ClipLayout, ViewsLayout};

/// The planes `[n, 3, h, w]` of pictures, in `[-1, 1]`.
pub fn planes_of(pictures: &[RgbImage]) -> Vec<f32> {
    let mut planes = Vec::new();
    for picture in pictures {
        pixels::append_planes(picture, &mut planes);
    }
    planes
}

/// A clip that is to begin with `picture`: what `image` holds is the picture in the place of every frame.
pub fn clip_scene(picture: &RgbImage, layout: &ClipLayout) -> Sample {
    clip::sample(&vec![picture; layout.num_frames], layout.fps, f64::from(layout.motion_bucket))
}

/// Views of what is seen in the frames `cond_image` `[t, 3, h, w]` of the conditioning view, told the views `told`
/// `[v, 3, h, w]` of the first of them where there are any: what `image` holds in the place of every other view is the
/// conditioning one.
///
/// # Panics
/// When `told` has another number of views than the layout.
pub fn views_scene(size: [u32; 2], cond_image: Vec<f32>, told: Option<&[f32]>, layout: &ViewsLayout) -> Sample {
    let frame = (3 * size[0] * size[1]) as usize;
    let (times, views) = (cond_image.len() / frame, layout.places.len());
    let repeated = cond_image.chunks(frame).flat_map(|image| std::iter::repeat_n(image, views)).flatten().copied();
    let mut image: Vec<f32> = repeated.collect();
    if let Some(told) = told {
        assert_eq!(told.len(), views * frame, "values of {views} views");
        image[..told.len()].copy_from_slice(told);
    }
    let (places, cond_place) = (layout.places.clone(), layout.cond_place);
    let mut sample = Views { size, image, cond_image, places, cond_place, polar: layout.polar }.into_sample();
    if layout.has_rays {
        let mut rays = Vec::new();
        append_orbit_rays(size[0], layout.places.iter().map(|place| (place.azimuth, place.elevation)), &mut rays);
        let [rows, columns] = size.map(i64::from);
        sample.put("camera", Entry::f32(&[sample.frames, 6, rows, columns], rays.repeat(times)));
    }
    sample
}

/// A batch on `device` of one scene as often as there are `sample_ids`, each of which has noise of its own.
///
/// # Errors
/// The loader's.
pub fn batch_of(sample: &Sample, sample_ids: &[u64], device: Device) -> Result<Batch, DataError> {
    Ok(collate(&vec![sample.clone(); sample_ids.len()], sample_ids.to_vec())?.to_device(device))
}
