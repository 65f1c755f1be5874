//! A model in memory: nodes, skinned parts, materials and animations.

use glam::{Mat4, Quat, Vec2, Vec3, Vec4};

use super::texture::Texture;
use super::track::Track;

/// A glTF model, as far as the rasteriser draws it.
#[derive(Debug)]
pub(in crate::data) struct Model {
    /// Nodes of the scene, parents before their children.
    pub(super) nodes: Vec<Node>,
    pub(super) parts: Vec<Part>,
    pub(super) skins: Vec<Skin>,
    pub(super) materials: Vec<Material>,
    pub(super) textures: Vec<Texture>,
    pub(super) animations: Vec<Animation>,
}

/// A node and its transform at rest.
#[derive(Debug)]
pub(super) struct Node {
    /// Index of the parent among the nodes, smaller than the node's own.
    pub(super) parent: Option<usize>,
    pub(super) translation: Vec3,
    pub(super) rotation: Quat,
    pub(super) scale: Vec3,
}

/// Triangles of one material, moved by one node or one skin.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) node: usize,
    pub(super) skin: Option<usize>,
    pub(super) material: usize,
    pub(super) positions: Vec<Vec3>,
    /// As many as positions, or none: then each triangle is flat.
    pub(super) normals: Vec<Vec3>,
    /// As many as positions.
    pub(super) uvs: Vec<Vec2>,
    /// Joints and weights of each position; as many as positions with a skin, else none.
    pub(super) joints: Vec<([u16; 4], Vec4)>,
    pub(super) triangles: Vec<[u32; 3]>,
}

/// Joints that bend a part.
#[derive(Debug)]
pub(super) struct Skin {
    /// Node and inverse bind matrix of each joint.
    pub(super) joints: Vec<(usize, Mat4)>,
}

/// The colour of a part.
#[derive(Debug)]
pub(super) struct Material {
    /// Linear red, green, blue and opacity; multiplies the texture.
    pub(super) color: Vec4,
    pub(super) texture: Option<usize>,
    /// Below this opacity nothing is drawn.
    pub(super) alpha_cutoff: f32,
    pub(super) double_sided: bool,
}

/// A named movement of nodes.
#[derive(Debug)]
pub(super) struct Animation {
    pub(super) name: String,
    /// Time of the last keyframe, seconds.
    pub(super) duration: f32,
    /// Nodes and how they move.
    pub(super) tracks: Vec<(usize, Track)>,
}

impl Model {
    /// Names of the animations, in the file's order.
    pub(in crate::data) fn animation_names(&self) -> Vec<String> {
        self.animations.iter().map(|animation| animation.name.clone()).collect()
    }

    /// Seconds until an animation repeats.
    pub(in crate::data) fn duration(&self, animation: usize) -> f32 {
        self.animations[animation].duration
    }
}
