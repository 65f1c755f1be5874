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

#[cfg(test)]
mod tests {
    use std::f32::consts::FRAC_PI_2;

    use glam::{Quat, Vec2, Vec4};
    use gltf::animation::Interpolation;

    use super::super::model::{Animation, Material, Skin};
    use super::super::track::Track;
    use super::*;

    /// An arm along x: a joint at 0, its child at 1, and vertices at 0, 1 and 2 with normals up. In the animation
    /// the child bends up by a right angle in one second.
    fn arm() -> Model {
        let node = |parent, x: f32| Node {
            parent,
            translation: Vec3::new(x, 0.0, 0.0),
            rotation: Quat::IDENTITY,
            scale: Vec3::ONE,
        };
        let bend = [0.0, FRAC_PI_2].map(|angle| Vec4::from(Quat::from_rotation_z(angle)));
        let track = Track {
            property: Property::Rotation,
            interpolation: Interpolation::Linear,
            times: vec![0.0, 1.0],
            values: bend.to_vec(),
        };
        let bound = |joint: u16| ([joint, 0, 0, 0], Vec4::X);
        Model {
            nodes: vec![node(None, 0.0), node(Some(0), 1.0), node(None, 50.0)],
            parts: vec![Part {
                node: 2,
                skin: Some(0),
                material: 0,
                positions: vec![Vec3::ZERO, Vec3::X, 2.0 * Vec3::X],
                normals: vec![Vec3::Y; 3],
                uvs: vec![Vec2::ZERO; 3],
                joints: vec![bound(0), ([0, 1, 0, 0], Vec4::new(0.5, 0.5, 0.0, 0.0)), bound(1)],
                triangles: vec![[0, 1, 2]],
            }],
            skins: vec![Skin { joints: vec![(0, Mat4::IDENTITY), (1, Mat4::from_translation(-Vec3::X))] }],
            materials: vec![Material { color: Vec4::ONE, texture: None, alpha_cutoff: 0.0, double_sided: false }],
            textures: Vec::new(),
            animations: vec![Animation { name: "bend".to_owned(), duration: 1.0, tracks: vec![(1, track)] }],
        }
    }

    fn close(a: Vec3, b: Vec3) -> bool {
        (a - b).length() < 1e-5
    }

    #[test]
    fn a_skin_at_rest_leaves_vertices_where_they_are_whatever_its_node() {
        assert!(Pose::new(&arm(), None, 0.0).points().zip([0.0, 1.0, 2.0]).all(|(point, x)| close(point, x * Vec3::X)));
    }

    #[test]
    fn vertices_follow_their_joints() {
        let pose = Pose::new(&arm(), Some(0), 1.0);
        let points: Vec<Vec3> = pose.points().collect();
        assert!(close(points[0], Vec3::ZERO) && close(points[1], Vec3::X), "{points:?}");
        assert!(close(points[2], Vec3::new(1.0, 1.0, 0.0)), "the hand is up: {points:?}");
        let normals = &pose.parts[0].normals;
        assert!(close(normals[0], Vec3::Y) && close(normals[2], -Vec3::X), "{normals:?}");
        let half = Pose::new(&arm(), Some(0), 0.5).points().last().unwrap();
        let slant = 0.5f32.sqrt();
        assert!(close(half, Vec3::new(1.0 + slant, slant, 0.0)), "{half}");
    }

    #[test]
    fn a_mirrored_part_keeps_its_normals_outside() {
        let mut model = arm();
        model.nodes[2].scale = Vec3::new(-1.0, 1.0, 1.0);
        model.nodes[2].translation = Vec3::ZERO;
        model.parts[0].skin = None;
        let pose = Pose::new(&model, None, 0.0);
        assert!(pose.parts[0].mirrored);
        assert!(close(pose.parts[0].normals[0], Vec3::Y));
        assert!(close(pose.parts[0].positions[2], -2.0 * Vec3::X));
    }
}
