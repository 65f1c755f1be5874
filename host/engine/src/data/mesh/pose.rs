//! A model at one time of one animation.

use glam::{Mat4, Vec3};

use super::model::{Model, Node, Part};
use super::track::Property;

/// Where the vertices of all parts are, in the scene's space.
#[derive(Debug)]
pub(in crate::data) struct Pose {
    /// As many as the model's parts.
    pub(super) parts: Vec<PosedPart>,
}

/// Vertices of a part.
#[derive(Debug)]
pub(super) struct PosedPart {
    pub(super) positions: Vec<Vec3>,
    /// As many as the part's normals, of any length.
    pub(super) normals: Vec<Vec3>,
    /// The part is turned inside out, as by a mirror.
    pub(super) mirrored: bool,
}

impl Pose {
    /// The model at `seconds` of an animation, or at rest.
    pub(in crate::data) fn new(model: &Model, animation: Option<usize>, seconds: f32) -> Self {
        let globals = global_transforms(model, animation, seconds);
        Self { parts: model.parts.iter().map(|part| pose(model, part, &globals)).collect() }
    }

    /// Every vertex.
    pub(in crate::data) fn points(&self) -> impl Iterator<Item = Vec3> + '_ {
        self.parts.iter().flat_map(|part| part.positions.iter().copied())
    }
}

/// Transforms of all nodes from their own space to the scene's.
fn global_transforms(model: &Model, animation: Option<usize>, seconds: f32) -> Vec<Mat4> {
    let mut locals: Vec<_> = model.nodes.iter().map(|node| (node.translation, node.rotation, node.scale)).collect();
    for (node, track) in animation.iter().flat_map(|&animation| &model.animations[animation].tracks) {
        let value = track.at(seconds);
        match track.property {
            Property::Translation => locals[*node].0 = value.truncate(),
            Property::Rotation => locals[*node].1 = glam::Quat::from_vec4(value),
            Property::Scale => locals[*node].2 = value.truncate(),
        }
    }
    let mut globals: Vec<Mat4> = Vec::with_capacity(locals.len());
    for (Node { parent, .. }, (translation, rotation, scale)) in model.nodes.iter().zip(locals) {
        let local = Mat4::from_scale_rotation_translation(scale, rotation, translation);
        // Parents stand before their children, so theirs is there.
        globals.push(parent.map_or(local, |parent| globals[parent] * local));
    }
    globals
}

fn pose(model: &Model, part: &Part, globals: &[Mat4]) -> PosedPart {
    let Some(skin) = part.skin else {
        let transform = globals[part.node];
        let mirrored = transform.determinant() < 0.0;
        // Cofactors of a mirroring matrix turn normals inwards.
        let outward = if mirrored { -1.0 } else { 1.0 };
        return PosedPart {
            positions: part.positions.iter().map(|&position| transform.transform_point3(position)).collect(),
            normals: part.normals.iter().map(|&normal| outward * turn(&transform, normal)).collect(),
            mirrored,
        };
    };
    // A skinned part is placed by its joints alone, not by its node (glTF 2.0, 3.7.3.3).
    let joints: Vec<Mat4> = model.skins[skin].joints.iter().map(|(node, inverse)| globals[*node] * *inverse).collect();
    let blends = part.joints.iter().map(|(indices, weights)| {
        let weights = weights.to_array();
        indices.iter().zip(weights).fold(Mat4::ZERO, |blend, (&joint, weight)| blend + joints[joint as usize] * weight)
    });
    let mut posed = PosedPart { positions: Vec::new(), normals: Vec::new(), mirrored: false };
    for (i, blend) in blends.enumerate() {
        posed.positions.push(blend.transform_point3(part.positions[i]));
        if let Some(&normal) = part.normals.get(i) {
            posed.normals.push(turn(&blend, normal));
        }
    }
    posed
}

/// A normal under a transform: by the cofactors of its matrix, which keep it upright under uneven scales.
fn turn(transform: &Mat4, normal: Vec3) -> Vec3 {
    let [x, y, z] = [transform.x_axis, transform.y_axis, transform.z_axis].map(|axis| axis.truncate());
    y.cross(z) * normal.x + z.cross(x) * normal.y + x.cross(y) * normal.z
}
