//! Scales of classifier-free guidance: constant, or a wave over the frames of a clip.

mod wave;

use plugin_api::wasm::prelude::*;
use wave::{linspace, triangle};

/// The same scale for every frame.
#[derive(Config)]
struct Constant {
    /// The scale; 1 is the conditional model alone.
    scale: f64,
}

impl Guidance for Constant {
    fn scales(&self, sigmas: &[f64], num_frames: u32, _num_views: u32) -> Result<Vec<f64>> {
        Ok(vec![self.scale; sigmas.len() * num_frames as usize])
    }
}

/// From `min_scale` at the first frame to `max_scale` at the last, as Stable Video Diffusion is sampled.
#[derive(Config)]
struct Linear {
    /// Scale of the last frame.
    max_scale: f64,
    /// Scale of the first frame.
    #[config(default = 1.0)]
    min_scale: f64,
}

impl Guidance for Linear {
    fn scales(&self, sigmas: &[f64], num_frames: u32, _num_views: u32) -> Result<Vec<f64>> {
        Ok(at_each_sigma(sigmas, linspace(self.min_scale, self.max_scale, num_frames)))
    }
}

/// Up to `max_scale` in the middle of the clip and back, as SV3D is sampled: both ends of an orbit are near its input.
#[derive(Config)]
struct Triangle {
    /// Largest scale.
    max_scale: f64,
    /// Smallest scale.
    #[config(default = 1.0)]
    min_scale: f64,
    /// Length of a wave as a share of the clip; several waves are fused.
    #[config(default = OneOrMany::One(1.0), exclusive_min = 0.0)]
    period: OneOrMany<f64>,
    /// How several waves are fused.
    #[config(default = Fusing::Max)]
    period_fusing: Fusing,
}

/// How several waves become one.
#[derive(Config)]
enum Fusing {
    Max,
    Mean,
    Multiply,
}

impl Fusing {
    fn fuse(&self, values: impl Iterator<Item = f64> + Clone) -> f64 {
        match self {
            Self::Max => values.fold(f64::NEG_INFINITY, f64::max),
            Self::Mean => values.clone().sum::<f64>() / values.count() as f64,
            Self::Multiply => values.product(),
        }
    }
}

impl Guidance for Triangle {
    fn scales(&self, sigmas: &[f64], num_frames: u32, _num_views: u32) -> Result<Vec<f64>> {
        let periods = self.period.as_slice();
        if periods.is_empty() {
            return Err(Error::invalid_config("/period", "a list of no periods"));
        }
        let frames = linspace(0.0, 1.0, num_frames).map(|at| {
            let wave = self.period_fusing.fuse(periods.iter().map(|period| triangle(at / period)));
            self.min_scale + wave * (self.max_scale - self.min_scale)
        });
        Ok(at_each_sigma(sigmas, frames))
    }
}

/// A rise over the first frames, a plateau, and a fall over the last.
#[derive(Config)]
struct Trapezoid {
    /// Scale at the end of the rise.
    max_scale: f64,
    /// Scale of the first and the last frame.
    #[config(default = 1.0)]
    min_scale: f64,
    /// Share of the frames in the rise, and in the fall.
    #[config(default = 0.1, min = 0.0, max = 0.5)]
    edge_perc: f64,
    /// Whether the plateau has scale 1 instead of `max_scale`, as the reference implementation has it by mistake.
    #[config(default = false)]
    upstream_plateau: bool,
}

impl Guidance for Trapezoid {
    fn scales(&self, sigmas: &[f64], num_frames: u32, _num_views: u32) -> Result<Vec<f64>> {
        let edge = (f64::from(num_frames) * self.edge_perc) as u32;
        let plateau = if self.upstream_plateau { 1.0 } else { self.max_scale };
        let rise = linspace(self.min_scale, self.max_scale, edge);
        let flat = std::iter::repeat_n(plateau, (num_frames - 2 * edge) as usize);
        Ok(at_each_sigma(sigmas, rise.clone().chain(flat).chain(rise.rev())))
    }
}

/// Half a ramp over time and half a triangle over the views, as SV4D is sampled. Frames lie time by time.
#[derive(Config)]
struct Spatiotemporal {
    /// Scale that ramp and triangle reach together.
    max_scale: f64,
    /// Scale of the first view at the first time.
    #[config(default = 1.0)]
    min_scale: f64,
}

impl Guidance for Spatiotemporal {
    fn scales(&self, sigmas: &[f64], num_frames: u32, num_views: u32) -> Result<Vec<f64>> {
        if num_views == 0 || !num_frames.is_multiple_of(num_views) {
            return Err(Error::invalid_argument(format!("{num_views} views do not divide {num_frames} frames")));
        }
        let views: Vec<f64> = linspace(0.0, 1.0, num_views).map(triangle).collect();
        let mut frames = Vec::new();
        for ramp in linspace(0.0, 1.0, num_frames / num_views) {
            let blend = views.iter().map(|wave| 0.5 * ramp + 0.5 * wave);
            frames.extend(blend.map(|share| self.min_scale + share * (self.max_scale - self.min_scale)));
        }
        Ok(at_each_sigma(sigmas, frames.into_iter()))
    }
}

/// The same row of frames for each sigma.
fn at_each_sigma(sigmas: &[f64], frames: impl Iterator<Item = f64>) -> Vec<f64> {
    frames.collect::<Vec<_>>().repeat(sigmas.len())
}

export_plugin! {
    guidance
        "constant" => Constant,
        "linear" => Linear,
        "triangle" => Triangle,
        "trapezoid" => Trapezoid,
        "spatiotemporal" => Spatiotemporal,
}

#[cfg(test)]
mod tests;
