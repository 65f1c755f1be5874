//! Small text drawn onto pictures.

use std::convert::Infallible;

use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_6X10;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::{Dimensions, DrawTarget, Drawable, OriginDimensions, Pixel, Point, RgbColor, Size};
use embedded_graphics::text::{Baseline, Text};
use image::{Rgb, RgbImage};

use super::picture::BACKGROUND;

const LINE: u32 = 11;
const LETTER: u32 = 6;
const INK: Rgb888 = Rgb888::new(230, 230, 230);

/// A picture of `width` pixels with the text on it, wrapped at words. Letters beyond Latin-1 are question marks.
pub(super) fn caption(text: &str, width: u32) -> RgbImage {
    let lines = wrap(text, (width / LETTER).max(1) as usize);
    let mut paper = Paper(RgbImage::from_pixel(width, LINE * lines.len() as u32, BACKGROUND));
    for (i, line) in lines.iter().enumerate() {
        let at = Point::new(0, (LINE * i as u32) as i32);
        let style = MonoTextStyle::new(&FONT_6X10, INK);
        let Ok(_) = Text::with_baseline(line, at, style, Baseline::Top).draw(&mut paper);
    }
    paper.0
}

/// Lines of at most `letters` letters; words that are longer are cut.
fn wrap(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        lines.push(String::new());
        for word in paragraph.split_whitespace() {
            let mut word: Vec<char> = word.chars().collect();
            while !word.is_empty() {
                let line = lines.last_mut().unwrap_or_else(|| unreachable!("a line was pushed above"));
                let room = letters - line.chars().count().min(letters);
                let space = usize::from(!line.is_empty());
                if word.len() + space <= room {
                    line.extend(std::iter::repeat_n(' ', space).chain(word.drain(..)));
                } else if line.is_empty() {
                    line.extend(word.drain(..letters));
                } else {
                    lines.push(String::new());
                }
            }
        }
    }
    lines
}

/// A picture that `embedded-graphics` draws on.
pub struct Paper(pub RgbImage);

impl OriginDimensions for Paper {
    fn size(&self) -> Size {
        Size::new(self.0.width(), self.0.height())
    }
}

impl DrawTarget for Paper {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        let area = self.bounding_box();
        for Pixel(at, color) in pixels {
            if area.contains(at) {
                self.0.put_pixel(at.x as u32, at.y as u32, Rgb([color.r(), color.g(), color.b()]));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_wraps_at_words_and_cuts_long_ones() {
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap("one\ntwo", 9), ["one", "two"]);
    }

    #[test]
    fn letters_leave_ink_within_the_paper() {
        let ink = |picture: &RgbImage| picture.pixels().filter(|&&pixel| pixel != BACKGROUND).count();
        let one = caption("WWWW", 24);
        assert_eq!(one.dimensions(), (24, LINE));
        assert!(ink(&one) > 40);
        assert_eq!(ink(&caption("WWWW WWWW", 24)), 2 * ink(&one));
        assert_eq!(ink(&caption("   ", 24)), 0);
        assert_ne!(caption("1", 6), caption("7", 6));
    }
}
