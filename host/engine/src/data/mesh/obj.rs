//! A Wavefront OBJ file to a model at rest.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use glam::{Quat, Vec2, Vec3, Vec4};

use super::model::{Material, Model, Node, Part};
use super::texture::{Texture, Wrap, to_linear};
use crate::bounded;
use crate::data::DataError;

/// Bytes of a file of materials.
const MATERIALS_MAX: u64 = 16 << 20;
/// Textures of one file: each material has its own, also where several name the same picture.
const TEXTURES_MAX: usize = 256;

/// Reads an `.obj` file with its materials and textures. Polygons become triangles; they are seen from both sides, since
/// OBJ files seldom agree on which is the outer one.
///
/// # Errors
/// When a file cannot be read or parsed, or holds no triangles.
pub(super) fn load(path: &Path) -> Result<Model, DataError> {
    let unusable = |reason: String| DataError::UnusableModel { path: path.to_owned(), reason };
    let options = tobj::LoadOptions { triangulate: true, single_index: true, ..Default::default() };
    let file = File::open(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let beside = |name: &Path| {
        let text = bounded::read(&path.with_file_name(name), MATERIALS_MAX);
        tobj::load_mtl_buf(&mut text.map_err(|_| tobj::LoadError::OpenFileFailed)?.as_slice())
    };
    let (meshes, materials) =
        tobj::load_obj_buf(&mut BufReader::new(file), &options, beside).map_err(|error| unusable(error.to_string()))?;
    let materials = materials.map_err(|error| unusable(format!("its materials: {error}")))?;
    let mut model = Model {
        nodes: vec![Node { parent: None, translation: Vec3::ZERO, rotation: Quat::IDENTITY, scale: Vec3::ONE }],
        parts: Vec::new(),
        skins: Vec::new(),
        materials: vec![Material { color: Vec4::ONE, texture: None, alpha_cutoff: 0.0, double_sided: true }],
        textures: Vec::new(),
        animations: Vec::new(),
    };
    for material in &materials {
        let texture = match &material.diffuse_texture {
            Some(name) => {
                let file = path.with_file_name(name.replace('\\', "/"));
                if model.textures.len() == TEXTURES_MAX {
                    return Err(unusable(format!("its materials have more than {TEXTURES_MAX} textures")));
                }
                let image = image::open(&file).map_err(|error| unusable(format!("{}: {error}", file.display())))?;
                model.textures.push(Texture::new(&image.into_rgba8(), [Wrap::Repeat; 2]));
                Some(model.textures.len() - 1)
            }
            None => None,
        };
        let [r, g, b] = material.diffuse.unwrap_or([1.0; 3]).map(to_linear);
        let color = Vec4::new(r, g, b, material.dissolve.unwrap_or(1.0));
        // Nothing is drawn half: what is mostly clear is left out.
        model.materials.push(Material { color, texture, alpha_cutoff: 0.5, double_sided: true });
    }
    for tobj::Model { mesh, name } in meshes {
        let part =
            part(&mesh, model.materials.len()).map_err(|reason| unusable(format!("group {name:?}: {reason}")))?;
        model.parts.push(part);
    }
    if model.parts.iter().all(|part| part.triangles.is_empty()) {
        return Err(unusable("the file has no triangles".to_owned()));
    }
    Ok(model)
}

fn part(mesh: &tobj::Mesh, num_materials: usize) -> Result<Part, String> {
    let threes = |values: &[f32]| values.chunks_exact(3).map(Vec3::from_slice).collect::<Vec<Vec3>>();
    let positions = threes(&mesh.positions);
    let mut normals = threes(&mesh.normals);
    if normals.len() != positions.len() {
        normals.clear();
    }
    // Texture rows run up in OBJ files, and down here.
    let mut uvs: Vec<Vec2> = mesh.texcoords.chunks_exact(2).map(|uv| Vec2::new(uv[0], 1.0 - uv[1])).collect();
    uvs.resize(positions.len(), Vec2::ZERO);
    if let Some(index) = mesh.indices.iter().find(|&&index| index as usize >= positions.len()) {
        return Err(format!("an index is {index}, but there are {} vertices", positions.len()));
    }
    let material = mesh.material_id.map_or(0, |material| material + 1);
    if material >= num_materials {
        return Err("a material that is not there".to_owned());
    }
    let triangles = mesh.indices.chunks_exact(3).map(|corners| [corners[0], corners[1], corners[2]]).collect();
    Ok(Part { node: 0, skin: None, material, positions, normals, uvs, joints: Vec::new(), triangles })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Camera, Canvas, Pose};
    use super::*;

    /// A square in front of the camera: its right half red by a material, its left half textured, green above and blue
    /// below.
    const SQUARE: &str = "mtllib square.mtl\nv -1 -1 0\nv 0 -1 0\nv 1 -1 0\nv -1 1 0\nv 0 1 0\nv 1 1 0\n\
        vt 0.5 0\nvt 0.5 1\nusemtl red\nf 2 3 6 5\nusemtl painted\nf 1/1 2/1 5/2 4/2\n";
    const MATERIALS: &str = "newmtl red\nKd 1 0 0\nnewmtl painted\nKd 1 1 1\nmap_Kd paint.png\n";

    #[test]
    fn polygons_materials_and_textures_are_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("square.obj");
        fs::write(&path, SQUARE).unwrap();
        fs::write(folder.path().join("square.mtl"), MATERIALS).unwrap();
        let missing = load(&path).unwrap_err().to_string();
        assert!(missing.contains("square.obj: ") && missing.contains("paint.png"), "{missing}");
        let paint = image::RgbImage::from_fn(1, 16, |_, y| image::Rgb(if y < 8 { [0, 255, 0] } else { [0, 0, 255] }));
        paint.save(folder.path().join("paint.png")).unwrap();

        let model = load(&path).unwrap();
        assert_eq!(model.parts.iter().map(|part| part.triangles.len()).sum::<usize>(), 4);
        let pose = Pose::new(&model, None, 0.0);
        let mut canvas = Canvas::new(32);
        canvas.draw(&model, &pose, &Camera::on_orbit(Vec3::ZERO, 1.5, 0.0, 0.0));
        let mut planes = Vec::new();
        canvas.append_planes(&mut planes);
        let bright = |row: usize, column: usize| [0, 1, 2].map(|c| planes[c * 1024 + row * 32 + column] > 0.2);
        assert_eq!(bright(16, 22), [true, false, false], "red on the right");
        assert_eq!(bright(10, 10), [false, true, false], "green above");
        assert_eq!(bright(21, 10), [false, false, true], "blue below");
    }

    #[test]
    fn what_is_no_model_is_said_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.obj");
        assert!(load(&path).unwrap_err().to_string().contains("a.obj: cannot be read"));
        fs::write(&path, "v 0 0 0\n").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("a.obj: the file has no triangles"));
        fs::write(&path, "v 0 0 0\nf 1 2 3\n").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("a.obj: "));
        fs::write(&path, "mtllib /dev/zero\nv 0 0 0\n").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("a.obj: its materials"));
        // tobj panics at a colour of two numbers.
        fs::write(&path, "mtllib a.mtl\nv 0 0 0\n").unwrap();
        fs::write(folder.path().join("a.mtl"), "newmtl a\nKd 1 1\n").unwrap();
        let said = super::super::load(&path).unwrap_err().to_string();
        assert!(said.contains("a.obj: the file contradicts itself"), "{said}");
    }
}
