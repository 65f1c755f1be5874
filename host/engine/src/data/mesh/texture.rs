//! Textures: linear colours, halved level by level, sampled bilinearly.

use glam::{Vec2, Vec4};
use gltf::texture::WrappingMode;
use image::RgbaImage;

/// What happens outside of `[0, 1]`, along one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wrap {
    /// The texture repeats.
    Repeat,
    /// The texture repeats, every other time mirrored.
    Mirror,
    /// The border goes on.
    Clamp,
}

impl From<WrappingMode> for Wrap {
    fn from(mode: WrappingMode) -> Self {
        match mode {
            WrappingMode::Repeat => Wrap::Repeat,
            WrappingMode::MirroredRepeat => Wrap::Mirror,
            WrappingMode::ClampToEdge => Wrap::Clamp,
        }
    }
}

impl Wrap {
    /// The texel that index `i` of an axis of `n` texels means.
    fn apply(self, i: i64, n: i64) -> usize {
        let wrapped = match self {
            Wrap::Repeat => i.rem_euclid(n),
            Wrap::Clamp => i.clamp(0, n - 1),
            Wrap::Mirror => {
                let i = i.rem_euclid(2 * n);
                i.min(2 * n - 1 - i)
            }
        };
        wrapped as usize
    }
}

/// A texture and its smaller versions.
#[derive(Debug)]
pub(super) struct Texture {
    /// Each level has half the side of the one before; the last is one texel wide or high.
    levels: Vec<Level>,
    wrap: [Wrap; 2],
}

#[derive(Debug)]
struct Level {
    width: usize,
    height: usize,
    /// Linear red, green, blue and opacity.
    texels: Vec<Vec4>,
}

impl Texture {
    /// A texture of an sRGB image.
    pub(super) fn new(image: &RgbaImage, wrap: [Wrap; 2]) -> Self {
        let decode: [f32; 256] = std::array::from_fn(|i| to_linear(i as f32 / 255.0));
        let texels = image.pixels().map(|pixel| {
            let [r, g, b, a] = pixel.0;
            let [r, g, b] = [r, g, b].map(|v| decode[v as usize]);
            Vec4::new(r, g, b, f32::from(a) / 255.0)
        });
        let mut level =
            Level { width: image.width() as usize, height: image.height() as usize, texels: texels.collect() };
        let mut levels = Vec::new();
        while level.width > 1 && level.height > 1 {
            let half = level.halved();
            levels.push(std::mem::replace(&mut level, half));
        }
        levels.push(level);
        Self { levels, wrap }
    }

    /// The level whose texels are about as large as a pixel, for a triangle that covers `uv_area` of the texture
    /// and `pixel_area` of the picture.
    pub(super) fn level_for(&self, uv_area: f32, pixel_area: f32) -> usize {
        let texels = uv_area * (self.levels[0].width * self.levels[0].height) as f32;
        let halvings = 0.5 * (texels / pixel_area).max(1.0).log2();
        (halvings.round() as usize).min(self.levels.len() - 1)
    }

    /// The colour at `uv` (origin in the upper left corner), between the four nearest texels of a level.
    pub(super) fn sample(&self, uv: Vec2, level: usize) -> Vec4 {
        let level = &self.levels[level];
        let at = uv * Vec2::new(level.width as f32, level.height as f32) - 0.5;
        let (corner, part) = (at.floor(), at - at.floor());
        let columns = [0, 1].map(|i| self.wrap[0].apply(corner.x as i64 + i, level.width as i64));
        let rows = [0, 1].map(|i| self.wrap[1].apply(corner.y as i64 + i, level.height as i64));
        let texel = |row: usize, column: usize| level.texels[rows[row] * level.width + columns[column]];
        let upper = texel(0, 0).lerp(texel(0, 1), part.x);
        let lower = texel(1, 0).lerp(texel(1, 1), part.x);
        upper.lerp(lower, part.y)
    }
}

impl Level {
    /// The level of half the side, each texel the mean of four.
    fn halved(&self) -> Level {
        let (width, height) = (self.width / 2, self.height / 2);
        let texel = |x: usize, y: usize| self.texels[y * self.width + x];
        let mean = |x: usize, y: usize| {
            let (x, y) = (2 * x, 2 * y);
            (texel(x, y) + texel(x + 1, y) + texel(x, y + 1) + texel(x + 1, y + 1)) / 4.0
        };
        let texels = (0..width * height).map(|i| mean(i % width, i / width)).collect();
        Level { width, height, texels }
    }
}

/// Decodes sRGB (IEC 61966-2-1).
pub(super) fn to_linear(encoded: f32) -> f32 {
    if encoded <= 0.04045 { encoded / 12.92 } else { ((encoded + 0.055) / 1.055).powf(2.4) }
}

/// Encodes sRGB (IEC 61966-2-1).
pub(super) fn to_srgb(linear: f32) -> f32 {
    if linear <= 0.003_130_8 { linear * 12.92 } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use image::Rgba;

    use super::*;

    #[test]
    fn wrapping() {
        let at = |wrap: Wrap| [-2, -1, 0, 2, 3, 5].map(|i| wrap.apply(i, 3));
        assert_eq!(at(Wrap::Repeat), [1, 2, 0, 2, 0, 2]);
        assert_eq!(at(Wrap::Clamp), [0, 0, 0, 2, 2, 2]);
        assert_eq!(at(Wrap::Mirror), [1, 0, 0, 2, 2, 0]);
    }

    #[test]
    fn the_origin_is_the_upper_left_and_levels_are_means() {
        let mut image = RgbaImage::from_pixel(2, 2, Rgba([0, 0, 0, 255]));
        image.put_pixel(0, 0, Rgba([255, 255, 255, 255]));
        let texture = Texture::new(&image, [Wrap::Clamp; 2]);
        assert_eq!(texture.sample(Vec2::new(0.25, 0.25), 0).x, 1.0);
        assert_eq!(texture.sample(Vec2::new(0.75, 0.25), 0).x, 0.0);
        assert_eq!(texture.sample(Vec2::new(0.5, 0.25), 0).x, 0.5);
        assert_eq!(texture.sample(Vec2::new(0.9, 0.9), 1).x, 0.25);
        assert_eq!((texture.level_for(1.0, 4.0), texture.level_for(1.0, 1.0)), (0, 1));
    }

    #[test]
    fn srgb_goes_there_and_back() {
        for i in 0..=255 {
            let encoded = i as f32 / 255.0;
            assert!((to_srgb(to_linear(encoded)) - encoded).abs() < 1e-5);
        }
    }
}
