//! Settings of a data source that do not fit each other.

use super::{Finding, finding};
use crate::config::{ClipConfig, MeshOrbitConfig, SourceConfig, VideoDirConfig, VideoListConfig};

/// Every range starts before its end, and what belongs together is given together.
pub(super) fn ranges(at: &str, source: &SourceConfig, found: &mut Vec<Finding>) {
    match source {
        SourceConfig::Emoji(emoji) => {
            for (idx, class) in emoji.classes.iter().enumerate() {
                if let Some(first) = emoji.classes[..idx].iter().position(|other| other.name == class.name) {
                    let message = format!("class {first} is named {:?}, too", class.name);
                    found.push(finding(format!("{at}/classes/{idx}/name"), message, "give each class its own name"));
                }
            }
        }
        SourceConfig::MeshOrbit(orbit) => {
            let [low, high] = orbit.elevation_deg;
            if low > high {
                let message = format!("the range starts at {low}, above its end {high}");
                found.push(finding(format!("{at}/elevation_deg"), message, format!("write [{high:?}, {low:?}]")));
            }
            orbit_ranges(at, orbit, found);
        }
        SourceConfig::FramesDir(_) | SourceConfig::Idx(_) | SourceConfig::Cifar10(_) => {}
        SourceConfig::Webdataset(shards) => {
            if let Some(clip) = &shards.clip {
                clip_ranges(at, clip, found);
            }
            if shards.resize && shards.size.is_none() {
                let help = "add `size`, rows and columns; or take `resize` out";
                found.push(finding(format!("{at}/resize"), "there is no `size` to scale pictures to", help));
            }
            if !shards.sizes.is_empty() && !shards.resize {
                let help = "add `resize = true`; or take `sizes` out";
                found.push(finding(format!("{at}/sizes"), "pictures are not scaled to them", help));
            }
        }
        SourceConfig::VideoDir(VideoDirConfig { clip, .. }) | SourceConfig::VideoList(VideoListConfig { clip, .. }) => {
            clip_ranges(at, clip, found);
        }
        SourceConfig::MultiviewDir(views) => strides(&format!("{at}/stride"), views.stride, found),
    }
}

fn orbit_ranges(at: &str, orbit: &MeshOrbitConfig, found: &mut Vec<Finding>) {
    strides(&format!("{at}/time_stride"), orbit.time_stride, found);
    parts(&format!("{at}/within"), orbit.within, found);
    let [from, to] = orbit.turn_deg;
    if from > to {
        let message = format!("the range starts at {from}, above its end {to}");
        found.push(finding(format!("{at}/turn_deg"), message, format!("write [{to:?}, {from:?}]")));
    }
    let given = orbit.azimuths_deg.len();
    if given != 0 && given != orbit.num_views as usize {
        let message = format!("has {given} angles for {} views", orbit.num_views);
        found.push(finding(format!("{at}/azimuths_deg"), message, "give each view its angle, or none at all"));
    }
}

fn strides(pointer: &str, [least, most]: [u32; 2], found: &mut Vec<Finding>) {
    if least > most {
        let message = format!("the range starts at {least}, above its end {most}");
        found.push(finding(pointer, message, format!("write [{most}, {least}]")));
    }
}

fn parts(pointer: &str, [start, end]: [f64; 2], found: &mut Vec<Finding>) {
    if start >= end {
        let help = "give where the part starts and where it ends, like [0.0, 0.8]";
        found.push(finding(pointer, format!("there is no part from {start} to {end}"), help));
    }
}

fn clip_ranges(at: &str, clip: &ClipConfig, found: &mut Vec<Finding>) {
    strides(&format!("{at}/clip/stride"), clip.stride, found);
    parts(&format!("{at}/clip/within"), clip.within, found);
}

/// Rows and columns of the source's images; one number where they are square, none where they are as they come.
pub(super) fn sides(source: &SourceConfig) -> Vec<u32> {
    let all = |size: &[u32], sizes: &[[u32; 2]]| [size, sizes.as_flattened()].concat();
    match source {
        SourceConfig::Emoji(emoji) => vec![emoji.size],
        SourceConfig::Idx(_) => Vec::new(),
        SourceConfig::Cifar10(_) => vec![32],
        SourceConfig::MeshOrbit(orbit) => vec![orbit.size],
        SourceConfig::FramesDir(frames) => frames.size.to_vec(),
        SourceConfig::Webdataset(shards) => all(shards.size.as_ref().map_or(&[], |size| &size[..]), &shards.sizes),
        SourceConfig::VideoDir(videos) => all(&videos.size, &videos.sizes),
        SourceConfig::VideoList(videos) => all(&videos.size, &videos.sizes),
        SourceConfig::MultiviewDir(views) => vec![views.size],
    }
}

/// Channels of the source's images.
pub(super) fn channels(source: &SourceConfig) -> u32 {
    match source {
        SourceConfig::Idx(_) => 1,
        _ => 3,
    }
}
