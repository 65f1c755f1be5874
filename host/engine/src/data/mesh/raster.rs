//! Triangles to pixels: z-buffer, perspective-correct textures, four samples a pixel, one light.

use glam::{Vec2, Vec3, Vec4, Vec4Swizzles};

use super::camera::Camera;
use super::model::{Material, Model, Part};
use super::pose::{Pose, PosedPart};
use super::texture::{Texture, to_srgb};

/// Samples of a pixel along each axis.
const SUPERSAMPLING: usize = 2;
/// Where the light comes from: above, in front, a little from the right. It stands still while the camera moves, so
/// that all views of an orbit show one scene.
const LIGHT: Vec3 = Vec3::new(0.35, 0.8, 0.5);
/// Light that comes from everywhere, as a part of all light.
const AMBIENT: f32 = 0.4;

/// A square picture in the making.
#[derive(Debug)]
pub(in crate::data) struct Canvas {
    /// Samples along a side.
    side: usize,
    /// Linear colours of the samples.
    colors: Vec<Vec3>,
    /// Depth of the nearest surface at each sample, infinite where there is none.
    depths: Vec<f32>,
}

/// A vertex on the canvas.
#[derive(Debug, Clone, Copy, Default)]
struct Corner {
    /// Place in samples, down and right from the upper left corner.
    at: Vec2,
    /// Depth in the view, for the z-buffer.
    depth: f32,
    /// One over the distance along the view, which is linear on the canvas.
    inverse_w: f32,
    uv: Vec2,
    /// Light it receives, `0..1`.
    light: f32,
}

impl Canvas {
    /// An empty white picture of `size` x `size` pixels.
    pub(in crate::data) fn new(size: u32) -> Self {
        let side = size as usize * SUPERSAMPLING;
        Self { side, colors: vec![Vec3::ONE; side * side], depths: vec![f32::INFINITY; side * side] }
    }

    /// Draws the model as the camera sees it.
    pub(in crate::data) fn draw(&mut self, model: &Model, pose: &Pose, camera: &Camera) {
        for (part, posed) in model.parts.iter().zip(&pose.parts) {
            let material = &model.materials[part.material];
            let texture = material.texture.map(|texture| &model.textures[texture]);
            let clips: Vec<Vec4> = posed.positions.iter().map(|p| camera.projection * p.extend(1.0)).collect();
            for &triangle in &part.triangles {
                self.draw_triangle(part, posed, &clips, triangle.map(|i| i as usize), material, texture);
            }
        }
    }

    fn draw_triangle(
        &mut self,
        part: &Part,
        posed: &PosedPart,
        clips: &[Vec4],
        triangle: [usize; 3],
        material: &Material,
        texture: Option<&Texture>,
    ) {
        // Cameras keep their distance from the model, so a triangle behind one is degenerate, not half in view.
        if triangle.iter().any(|&i| clips[i].w <= 0.0) {
            return;
        }
        let mut corners = triangle.map(|i| self.project(clips[i], part.uvs[i]));
        let area = edge(corners[0].at, corners[1].at, corners[2].at);
        // glTF's front faces are counter-clockwise; rows run down, so their area is negative here.
        let front = (area < 0.0) != posed.mirrored;
        if area == 0.0 || !area.is_finite() || !(front || material.double_sided) {
            return;
        }
        let normals = normals(posed, triangle, front);
        for (corner, normal) in corners.iter_mut().zip(normals) {
            corner.light = AMBIENT + (1.0 - AMBIENT) * normal.dot(LIGHT.normalize()).max(0.0);
        }
        let [a, b, c] = corners.map(|corner| corner.uv);
        let level = texture.map_or(0, |texture| texture.level_for(edge(a, b, c).abs(), area.abs()));
        self.fill(&corners, area, |uv, light| {
            let color = texture.map_or(Vec4::ONE, |texture| texture.sample(uv, level)) * material.color;
            (color.w >= material.alpha_cutoff).then(|| color.xyz() * light)
        });
    }

    /// A vertex in clip space, on the canvas.
    fn project(&self, clip: Vec4, uv: Vec2) -> Corner {
        let (inverse_w, half) = (1.0 / clip.w, self.side as f32 / 2.0);
        let at = Vec2::new(1.0 + clip.x * inverse_w, 1.0 - clip.y * inverse_w) * half;
        Corner { at, depth: clip.z * inverse_w, inverse_w, uv, light: 0.0 }
    }

    /// Colours the samples inside of a triangle that nothing nearer covers; `shade` may leave a sample out.
    fn fill(&mut self, corners: &[Corner; 3], area: f32, shade: impl Fn(Vec2, f32) -> Option<Vec3>) {
        let points = corners.map(|corner| corner.at);
        let low = points[0].min(points[1]).min(points[2]).floor().max(Vec2::ZERO);
        let high = points[0].max(points[1]).max(points[2]).ceil().min(Vec2::splat(self.side as f32));
        for y in low.y as usize..high.y as usize {
            for x in low.x as usize..high.x as usize {
                let at = Vec2::new(x as f32 + 0.5, y as f32 + 0.5);
                let shares = Vec3::new(
                    edge(points[1], points[2], at),
                    edge(points[2], points[0], at),
                    edge(points[0], points[1], at),
                ) / area;
                if shares.min_element() < 0.0 {
                    continue;
                }
                let depth = shares.dot(Vec3::from(corners.map(|corner| corner.depth)));
                let sample = y * self.side + x;
                if depth >= self.depths[sample] {
                    continue;
                }
                // Linear in space is linear over w on the canvas.
                let shares = shares * Vec3::from(corners.map(|corner| corner.inverse_w));
                let shares = shares / (shares.x + shares.y + shares.z);
                let uv = corners[0].uv * shares.x + corners[1].uv * shares.y + corners[2].uv * shares.z;
                let light = shares.dot(Vec3::from(corners.map(|corner| corner.light)));
                if let Some(color) = shade(uv, light) {
                    self.depths[sample] = depth;
                    self.colors[sample] = color;
                }
            }
        }
    }

    /// Appends the picture's planes `[3, size, size]`, sRGB in `[-1, 1]`.
    pub(in crate::data) fn append_planes(&self, planes: &mut Vec<f32>) {
        let size = self.side / SUPERSAMPLING;
        let pixels: Vec<Vec3> = (0..size * size)
            .map(|i| {
                let (x, y) = (i % size * SUPERSAMPLING, i / size * SUPERSAMPLING);
                let rows = (y..y + SUPERSAMPLING).flat_map(|y| (x..x + SUPERSAMPLING).map(move |x| (x, y)));
                let sum: Vec3 = rows.map(|(x, y)| self.colors[y * self.side + x]).sum();
                sum / (SUPERSAMPLING * SUPERSAMPLING) as f32
            })
            .collect();
        for channel in 0..3 {
            planes.extend(pixels.iter().map(|pixel| 2.0 * to_srgb(pixel[channel].clamp(0.0, 1.0)) - 1.0));
        }
    }
}

/// Unit normals of a triangle's corners, towards the camera.
fn normals(posed: &PosedPart, triangle: [usize; 3], front: bool) -> [Vec3; 3] {
    let normals = if posed.normals.is_empty() {
        let [a, b, c] = triangle.map(|i| posed.positions[i]);
        let flat = (b - a).cross(c - a);
        [if posed.mirrored { -flat } else { flat }; 3]
    } else {
        triangle.map(|i| posed.normals[i])
    };
    normals.map(|normal| if front { normal } else { -normal }.normalize_or_zero())
}

/// Twice the signed area of a triangle, positive when clockwise with rows running down.
fn edge(a: Vec2, b: Vec2, c: Vec2) -> f32 {
    (b - a).perp_dot(c - a)
}

#[cfg(test)]
mod tests {
    use glam::Quat;
    use image::{Rgba, RgbaImage};

    use super::super::model::Node;
    use super::super::texture::Wrap;
    use super::*;

    const RED: Vec4 = Vec4::new(1.0, 0.0, 0.0, 1.0);
    const BLUE: Vec4 = Vec4::new(0.0, 0.0, 1.0, 1.0);

    /// Squares of side 1 that face the z axis, each at a place on it and with a material of its own.
    fn squares(squares: &[(f32, Material)], textures: Vec<Texture>) -> Model {
        let part = |(i, (z, _)): (usize, &(f32, Material))| Part {
            node: 0,
            skin: None,
            material: i,
            positions: [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
                .map(|(x, y)| Vec3::new(x / 2.0, y / 2.0, *z))
                .to_vec(),
            normals: Vec::new(),
            uvs: [(0.0, 1.0), (1.0, 1.0), (1.0, 0.0), (0.0, 0.0)].map(Vec2::from).to_vec(),
            joints: Vec::new(),
            triangles: vec![[0, 1, 2], [0, 2, 3]],
        };
        let material = |(_, m): &(f32, Material)| Material { ..*m };
        Model {
            nodes: vec![Node { parent: None, translation: Vec3::ZERO, rotation: Quat::IDENTITY, scale: Vec3::ONE }],
            parts: squares.iter().enumerate().map(part).collect(),
            skins: Vec::new(),
            materials: squares.iter().map(material).collect(),
            textures,
            animations: Vec::new(),
        }
    }

    fn paint(color: Vec4) -> Material {
        Material { color, texture: None, alpha_cutoff: 0.0, double_sided: false }
    }

    /// Which of red, green and blue are bright at a pixel of a picture of 16 x 16.
    fn seen(model: &Model, azimuth: f32, x: usize, y: usize) -> [bool; 3] {
        let mut canvas = Canvas::new(16);
        canvas.draw(model, &Pose::new(model, None, 0.0), &Camera::on_orbit(Vec3::ZERO, 1.0, azimuth, 0.0));
        let mut planes = Vec::new();
        canvas.append_planes(&mut planes);
        [0, 1, 2].map(|c| planes[(c * 16 + y) * 16 + x] > 0.0)
    }

    #[test]
    fn what_is_near_hides_what_is_far_in_either_order() {
        for pair in [[(0.3, paint(RED)), (-0.3, paint(BLUE))], [(-0.3, paint(BLUE)), (0.3, paint(RED))]] {
            assert_eq!(seen(&squares(&pair, vec![]), 0.0, 8, 8), [true, false, false]);
        }
    }

    #[test]
    fn backs_are_seen_of_double_sided_materials_only() {
        let both = |double_sided| squares(&[(0.0, Material { double_sided, ..paint(RED) })], vec![]);
        assert_eq!(seen(&both(false), std::f32::consts::PI, 8, 8), [true; 3], "the background");
        assert_eq!(seen(&both(true), std::f32::consts::PI, 8, 8), [true, false, false]);
    }

    #[test]
    fn textures_stand_upright_and_their_holes_are_open() {
        let mut image = RgbaImage::from_pixel(8, 8, Rgba([0, 0, 255, 255]));
        for (x, y) in (0..4).flat_map(|x| (0..4).map(move |y| (x, y))) {
            image.put_pixel(x, y, Rgba([255, 0, 0, 255]));
            image.put_pixel(x + 4, y + 4, Rgba([0, 0, 255, 0]));
        }
        let texture = Texture::new(&image, [Wrap::Clamp; 2]);
        let material = Material { texture: Some(0), alpha_cutoff: 0.5, ..paint(Vec4::ONE) };
        let model = squares(&[(0.0, material)], vec![texture]);
        assert_eq!(seen(&model, 0.0, 6, 6), [true, false, false], "the upper left");
        assert_eq!(seen(&model, 0.0, 9, 6), [false, false, true], "the upper right");
        assert_eq!(seen(&model, 0.0, 9, 9), [true; 3], "the hole at the lower right");
    }
}
