//! A small CPU renderer for glTF and OBJ models: load, pose, look, draw.

mod texture;
mod track;
mod model;
mod obj;
mod load;
mod pose;
mod camera;
mod raster;

pub(super) use camera::{Camera, append_orbit_rays};
pub(super) use load::load;
pub(super) use model::Model;
pub(super) use pose::Pose;
pub(super) use raster::Canvas;
