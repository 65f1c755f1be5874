//! A glTF file to a model, with every index checked.

use std::cell::Cell;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use glam::{Mat4, Quat, Vec2, Vec3, Vec4};
use gltf::animation::util::ReadOutputs;
use gltf::image::{Data, Format};
use gltf::mesh::Mode;
use image::{DynamicImage, RgbaImage};

use super::model::{Animation, Material, Model, Node, Part, Skin};
use super::texture::Texture;
use super::track::{Property, Track};
use crate::data::DataError;

/// Reads a `.gltf` or `.glb` file with its buffers and textures, the default scene or the first; or an `.obj` file with its
/// materials.
///
/// # Errors
/// When the file cannot be read, is broken, or needs what the rasteriser does not draw: morph targets, lines and
/// points.
pub(in crate::data) fn load(path: &Path) -> Result<Model, DataError> {
    let is_obj = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("obj"));
    // The readers of both formats panic where a file's parts contradict each other.
    let model = catch_unwind(|| if is_obj { super::obj::load(path) } else { load_gltf(path) });
    model.unwrap_or_else(|_| {
        let reason = "the file contradicts itself: a part of it is not of the type that another says".to_owned();
        Err(DataError::UnusableModel { path: path.to_owned(), reason })
    })
}

fn load_gltf(path: &Path) -> Result<Model, DataError> {
    let failed = |source| match source {
        gltf::Error::Io(source) => DataError::Read { path: path.to_owned(), source },
        source => DataError::Model { path: path.to_owned(), source },
    };
    let unusable = |reason: String| DataError::UnusableModel { path: path.to_owned(), reason };
    // From memory, because read from a file the length in its header is believed.
    let bytes = fs::read(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let gltf::Gltf { document, blob } = gltf::Gltf::from_slice(&bytes).map_err(failed)?;
    let folder = path.parent();
    check_files(&document, folder).map_err(unusable)?;
    let buffers = gltf::import_buffers(&document, folder, blob).map_err(failed)?;
    check_counts(&document, &buffers).map_err(unusable)?;
    let images = gltf::import_images(&document, folder, &buffers).map_err(failed)?;
    let file = File { document: &document, buffers: &buffers, images: &images, room: Cell::new(VALUES_MAX) };
    file.model().map_err(unusable)
}

/// Files beside the model are files: a device would be read without end.
fn check_files(document: &gltf::Document, folder: Option<&Path>) -> Result<(), String> {
    let of_buffers = document.buffers().filter_map(|buffer| match buffer.source() {
        gltf::buffer::Source::Uri(uri) => Some(uri),
        gltf::buffer::Source::Bin => None,
    });
    let of_images = document.images().filter_map(|image| match image.source() {
        gltf::image::Source::Uri { uri, .. } => Some(uri),
        gltf::image::Source::View { .. } => None,
    });
    for uri in of_buffers.chain(of_images).filter(|uri| !uri.starts_with("data:")) {
        let name = uri.strip_prefix("file://").or_else(|| uri.strip_prefix("file:")).unwrap_or(uri);
        let path = folder.unwrap_or(Path::new("")).join(name);
        if path.exists() && !path.is_file() {
            return Err(format!("{uri:?} is no file"));
        }
    }
    Ok(())
}

/// An accessor has no more values than there are bytes, where it does not give each of them either.
fn check_counts(document: &gltf::Document, buffers: &[gltf::buffer::Data]) -> Result<(), String> {
    let bytes: usize = buffers.iter().map(|buffer| buffer.len()).sum();
    match document.accessors().find(|accessor| accessor.count() > bytes) {
        Some(accessor) => {
            let (index, count) = (accessor.index(), accessor.count());
            Err(format!("accessor {index} says that it has {count} values, where the buffers have {bytes} bytes"))
        }
        None => Ok(()),
    }
}

/// Vertices, indices, keyframes and texels that a model may have: parts may share those of the file, and each gets its own.
const VALUES_MAX: usize = 1 << 28;

/// A file in memory. Its readers say what is wrong in one sentence; the path is added outside.
struct File<'a> {
    document: &'a gltf::Document,
    buffers: &'a [gltf::buffer::Data],
    images: &'a [Data],
    /// Values that there is room for.
    room: Cell<usize>,
}

/// Nodes of the scene in the model's order, and where each of the file's nodes stands among them.
struct Tree<'a> {
    nodes: Vec<(gltf::Node<'a>, Option<usize>)>,
    places: Vec<Option<usize>>,
}

impl<'a> Tree<'a> {
    fn new(document: &'a gltf::Document) -> Result<Self, String> {
        let scene = document.default_scene().or_else(|| document.scenes().next());
        let scene = scene.ok_or("the file has no scene")?;
        let mut nodes: Vec<(gltf::Node, Option<usize>)> = scene.nodes().map(|node| (node, None)).collect();
        let mut places = vec![None; document.nodes().count()];
        // Breadth first, so parents come before their children.
        let mut place = 0;
        while place < nodes.len() {
            let node = nodes[place].0.clone();
            if places[node.index()].replace(place).is_some() {
                return Err(format!("node {} has two parents", node.index()));
            }
            nodes.extend(node.children().map(|child| (child, Some(place))));
            place += 1;
        }
        Ok(Self { nodes, places })
    }

    /// The model's index of one of the file's nodes.
    fn place(&self, node: &gltf::Node) -> Result<usize, String> {
        self.places[node.index()].ok_or_else(|| format!("node {} is used but not in the scene", node.index()))
    }
}

impl<'a> File<'a> {
    /// Counts values before they are made.
    fn take(&self, count: usize) -> Result<(), String> {
        let left = self.room.get().checked_sub(count);
        self.room.set(left.ok_or_else(|| format!("the model has more than {VALUES_MAX} vertices and texels"))?);
        Ok(())
    }

    fn data(&self, buffer: gltf::Buffer) -> Option<&'a [u8]> {
        self.buffers.get(buffer.index()).map(|data| data.0.as_slice())
    }

    fn model(&self) -> Result<Model, String> {
        let tree = Tree::new(self.document)?;
        let nodes = tree.nodes.iter().map(|(node, parent)| {
            let (translation, rotation, scale) = node.transform().decomposed();
            Node {
                parent: *parent,
                translation: translation.into(),
                rotation: Quat::from_array(rotation),
                scale: scale.into(),
            }
        });
        let mut model = Model {
            nodes: nodes.collect(),
            parts: Vec::new(),
            skins: self.document.skins().map(|skin| self.skin(&skin, &tree)).collect::<Result<_, _>>()?,
            materials: vec![default_material()],
            textures: self.document.textures().map(|texture| self.texture(&texture)).collect::<Result<_, _>>()?,
            animations: Vec::new(),
        };
        model.materials.extend(self.document.materials().map(material));
        for (place, (node, _)) in tree.nodes.iter().enumerate() {
            for primitive in node.mesh().iter().flat_map(|mesh| mesh.primitives()) {
                let part = self.part(&primitive, place, node.skin().map(|skin| skin.index()), &model);
                model.parts.push(part.map_err(|reason| format!("mesh of node {}: {reason}", node.index()))?);
            }
        }
        if model.parts.iter().all(|part| part.triangles.is_empty()) {
            return Err("the scene has no triangles".to_owned());
        }
        for animation in self.document.animations() {
            model.animations.push(self.animation(&animation, &tree)?);
        }
        Ok(model)
    }

    fn skin(&self, skin: &gltf::Skin, tree: &Tree) -> Result<Skin, String> {
        let reader = skin.reader(|buffer| self.data(buffer));
        let joints = skin.joints().map(|node| tree.place(&node)).collect::<Result<Vec<_>, _>>()?;
        let inverses: Vec<Mat4> = match reader.read_inverse_bind_matrices() {
            Some(matrices) => matrices.map(|matrix| Mat4::from_cols_array_2d(&matrix)).collect(),
            None => vec![Mat4::IDENTITY; joints.len()],
        };
        if inverses.len() != joints.len() {
            return Err(format!("skin {} has {} joints and {} matrices", skin.index(), joints.len(), inverses.len()));
        }
        Ok(Skin { joints: joints.into_iter().zip(inverses).collect() })
    }

    fn texture(&self, texture: &gltf::Texture) -> Result<Texture, String> {
        let index = texture.source().index();
        let size = self.images.get(index).map_or(0, |image| image.width as usize * image.height as usize);
        self.take(size)?;
        let image = self.images.get(index).and_then(rgba);
        let image = image.ok_or_else(|| format!("image {index} has a pixel format that is not supported"))?;
        let sampler = texture.sampler();
        Ok(Texture::new(&image, [sampler.wrap_s().into(), sampler.wrap_t().into()]))
    }

    fn part(
        &self,
        primitive: &gltf::Primitive,
        node: usize,
        skin: Option<usize>,
        model: &Model,
    ) -> Result<Part, String> {
        if primitive.mode() != Mode::Triangles {
            return Err(format!("only triangles are drawn, not {:?}", primitive.mode()));
        }
        if primitive.morph_targets().len() > 0 {
            return Err("morph targets are not supported".to_owned());
        }
        let accessors = primitive.attributes().map(|(_, accessor)| accessor).chain(primitive.indices());
        accessors.map(|accessor| accessor.count()).try_for_each(|count| self.take(count))?;
        let reader = primitive.reader(|buffer| self.data(buffer));
        let positions: Vec<Vec3> = reader.read_positions().ok_or("no positions")?.map(Vec3::from).collect();
        let vertices = positions.len();
        let set = primitive.material().pbr_metallic_roughness().base_color_texture().map_or(0, |info| info.tex_coord());
        let uvs = match reader.read_tex_coords(set) {
            Some(uvs) => uvs.into_f32().map(Vec2::from).collect(),
            None => vec![Vec2::ZERO; vertices],
        };
        let normals: Vec<Vec3> = reader.read_normals().map_or(Vec::new(), |normals| normals.map(Vec3::from).collect());
        let joints = match skin {
            Some(skin) => {
                let indices = reader.read_joints(0).ok_or("a skin, but no joints")?.into_u16();
                let weights = reader.read_weights(0).ok_or("a skin, but no weights")?.into_f32();
                joints(indices.zip(weights), model.skins[skin].joints.len())?
            }
            None => Vec::new(),
        };
        let indices: Vec<u32> = match reader.read_indices() {
            Some(indices) => indices.into_u32().collect(),
            None => (0..vertices as u32).collect(),
        };
        if let Some(index) = indices.iter().find(|&&index| index as usize >= vertices) {
            return Err(format!("an index is {index}, but there are {vertices} vertices"));
        }
        let lengths = [uvs.len(), if normals.is_empty() { vertices } else { normals.len() }];
        if lengths != [vertices; 2] || (skin.is_some() && joints.len() != vertices) {
            return Err("attributes of different lengths".to_owned());
        }
        let triangles = indices.chunks_exact(3).map(|triangle| [triangle[0], triangle[1], triangle[2]]).collect();
        let material = primitive.material().index().map_or(0, |index| index + 1);
        Ok(Part { node, skin, material, positions, normals, uvs, joints, triangles })
    }

    fn animation(&self, animation: &gltf::Animation, tree: &Tree) -> Result<Animation, String> {
        let name = animation.name().map_or_else(|| format!("animation {}", animation.index()), str::to_owned);
        let mut tracks = Vec::new();
        for channel in animation.channels() {
            let node = tree.place(&channel.target().node())?;
            let track = self.track(&channel).map_err(|reason| format!("animation {name:?}: {reason}"))?;
            tracks.push((node, track));
        }
        let duration = tracks.iter().filter_map(|(_, track)| track.times.last().copied()).fold(0.0, f32::max);
        Ok(Animation { name, duration, tracks })
    }

    fn track(&self, channel: &gltf::animation::Channel) -> Result<Track, String> {
        self.take(channel.sampler().input().count() + channel.sampler().output().count())?;
        let reader = channel.reader(|buffer| self.data(buffer));
        let times: Vec<f32> = reader.read_inputs().ok_or("a channel has no times")?.collect();
        let (property, values): (_, Vec<Vec4>) = match reader.read_outputs().ok_or("a channel has no values")? {
            ReadOutputs::Translations(values) => {
                (Property::Translation, values.map(|v| Vec3::from(v).extend(0.0)).collect())
            }
            ReadOutputs::Scales(values) => (Property::Scale, values.map(|v| Vec3::from(v).extend(0.0)).collect()),
            ReadOutputs::Rotations(values) => (Property::Rotation, values.into_f32().map(Vec4::from).collect()),
            ReadOutputs::MorphTargetWeights(_) => return Err("morph targets are not supported".to_owned()),
        };
        let interpolation = channel.sampler().interpolation();
        let values_a_time = if interpolation == gltf::animation::Interpolation::CubicSpline { 3 } else { 1 };
        if times.is_empty() || values.len() != values_a_time * times.len() {
            return Err(format!("a channel has {} times and {} values", times.len(), values.len()));
        }
        if !times.is_sorted_by(|a, b| a < b) || !times.iter().all(|time| time.is_finite()) {
            return Err("times of a channel do not grow".to_owned());
        }
        Ok(Track { property, interpolation, times, values })
    }
}

/// Joints and weights of vertices; the weights of each are made to add up to one.
fn joints(
    vertices: impl Iterator<Item = ([u16; 4], [f32; 4])>,
    num_joints: usize,
) -> Result<Vec<([u16; 4], Vec4)>, String> {
    vertices
        .map(|(indices, weights)| {
            let weights = Vec4::from(weights);
            let sum = weights.element_sum();
            if let Some(index) = indices.iter().find(|&&index| usize::from(index) >= num_joints) {
                return Err(format!("a vertex names joint {index} of {num_joints}"));
            }
            if sum <= 0.0 || !sum.is_finite() {
                return Err("a vertex has no weight".to_owned());
            }
            Ok((indices, weights / sum))
        })
        .collect()
}

/// Pixels of a texture's image as 8-bit RGBA.
fn rgba(image: &Data) -> Option<RgbaImage> {
    let (width, height, pixels) = (image.width, image.height, image.pixels.clone());
    let image = match image.format {
        Format::R8 => DynamicImage::ImageLuma8(image::GrayImage::from_raw(width, height, pixels)?),
        Format::R8G8 => DynamicImage::ImageLumaA8(image::GrayAlphaImage::from_raw(width, height, pixels)?),
        Format::R8G8B8 => DynamicImage::ImageRgb8(image::RgbImage::from_raw(width, height, pixels)?),
        Format::R8G8B8A8 => DynamicImage::ImageRgba8(RgbaImage::from_raw(width, height, pixels)?),
        _ => return None,
    };
    Some(image.into_rgba8())
}

/// The material of parts that name none (glTF 2.0, 3.9.2): opaque white.
fn default_material() -> Material {
    Material { color: Vec4::ONE, texture: None, alpha_cutoff: 0.0, double_sided: false }
}

fn material(material: gltf::Material) -> Material {
    let surface = material.pbr_metallic_roughness();
    let alpha_cutoff = match material.alpha_mode() {
        gltf::material::AlphaMode::Opaque => 0.0,
        gltf::material::AlphaMode::Mask => material.alpha_cutoff().unwrap_or(0.5),
        // Nothing is drawn half: what is mostly clear is left out, the rest is opaque.
        gltf::material::AlphaMode::Blend => 0.5,
    };
    Material {
        color: Vec4::from(surface.base_color_factor()),
        texture: surface.base_color_texture().map(|info| info.texture().index()),
        alpha_cutoff,
        double_sided: material.double_sided(),
    }
}
