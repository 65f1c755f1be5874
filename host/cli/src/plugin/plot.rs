//! Curves as a PNG picture.

use std::path::Path;

use anneal::logging::Paper;
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_6X10;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::{Drawable, Point, Primitive, RgbColor};
use embedded_graphics::primitives::{Line, Polyline, PrimitiveStyle};
use embedded_graphics::text::{Alignment, Text};
use image::{Rgb, RgbImage};

/// Values over a common axis.
pub struct Curves {
    /// The name of the axis.
    pub x_name: &'static str,
    /// The name of the values.
    pub y_name: &'static str,
    /// Places on the axis.
    pub x: Vec<f64>,
    /// One or more lists of a value for each place, each with a name.
    pub lines: Vec<(String, Vec<f64>)>,
}

const SIZE: (u32, u32) = (720, 440);
/// Left, top, right and bottom edge of the area of the curves.
const AREA: [i32; 4] = [80, 24, 700, 400];
const TICKS: i32 = 5;
const COLORS: [Rgb888; 6] = [
    Rgb888::new(31, 119, 180),
    Rgb888::new(214, 39, 40),
    Rgb888::new(44, 160, 44),
    Rgb888::new(148, 103, 189),
    Rgb888::new(255, 127, 14),
    Rgb888::new(23, 190, 207),
];

/// A range of values and how it is spread: over decades evenly where it is positive and spans more than two.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (low, high) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max));
        if low == high {
            return Self { low: low - 0.5, high: high + 0.5, is_log: false };
        }
        Self { low, high, is_log: low > 0.0 && high / low > 100.0 }
    }

    /// Where a value lies, 0 at the low end and 1 at the high one.
    fn share(&self, value: f64) -> f64 {
        match self.is_log {
            true => (value / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        }
    }

    /// The value at a share.
    fn value(&self, share: f64) -> f64 {
        match self.is_log {
            true => self.low * (self.high / self.low).powf(share),
            false => self.low + share * (self.high - self.low),
        }
    }
}

impl Curves {
    /// The curves with both axes.
    pub fn draw(&self) -> RgbImage {
        let mut paper = Paper(RgbImage::from_pixel(SIZE.0, SIZE.1, Rgb([255; 3])));
        let (x, y) = (
            Axis::over(self.x.iter().copied()),
            Axis::over(self.lines.iter().flat_map(|line| line.1.clone().into_iter())),
        );
        let [left, top, right, bottom] = AREA;
        let place = |at: (f64, f64)| {
            let along = |from: i32, to: i32, share: f64| from + (f64::from(to - from) * share).round() as i32;
            Point::new(along(left, right, at.0), along(bottom, top, at.1))
        };
        self.draw_axes(&mut paper, x, y, place);
        for (idx, (_, values)) in self.lines.iter().enumerate() {
            let points: Vec<Point> =
                self.x.iter().zip(values).map(|(at, value)| place((x.share(*at), y.share(*value)))).collect();
            let style = PrimitiveStyle::with_stroke(COLORS[idx % COLORS.len()], 2);
            let Ok(()) = Polyline::new(&points).into_styled(style).draw(&mut paper);
            for point in points {
                let Ok(()) =
                    Line::new(point - Point::new(2, 0), point + Point::new(2, 0)).into_styled(style).draw(&mut paper);
            }
        }
        paper.0
    }

    fn draw_axes(&self, paper: &mut Paper, x: Axis, y: Axis, place: impl Fn((f64, f64)) -> Point) {
        let text = MonoTextStyle::new(&FONT_6X10, Rgb888::BLACK);
        let grid = PrimitiveStyle::with_stroke(Rgb888::new(225, 225, 225), 1);
        for tick in 0..=TICKS {
            let share = f64::from(tick) / f64::from(TICKS);
            for (from, to) in [((share, 0.0), (share, 1.0)), ((0.0, share), (1.0, share))] {
                let Ok(()) = Line::new(place(from), place(to)).into_styled(grid).draw(paper);
            }
            let below = place((share, 0.0)) + Point::new(0, 14);
            let Ok(_) = Text::with_alignment(&label(x.value(share)), below, text, Alignment::Center).draw(paper);
            let beside = place((0.0, share)) + Point::new(-6, 3);
            let Ok(_) = Text::with_alignment(&label(y.value(share)), beside, text, Alignment::Right).draw(paper);
        }
        let name = |axis: Axis, name: &str| if axis.is_log { format!("{name} (log)") } else { name.to_owned() };
        let below = place((0.5, 0.0)) + Point::new(0, 30);
        let Ok(_) = Text::with_alignment(&name(x, self.x_name), below, text, Alignment::Center).draw(paper);
        let above = place((0.0, 1.0)) + Point::new(0, -8);
        let Ok(_) = Text::with_alignment(&name(y, self.y_name), above, text, Alignment::Left).draw(paper);
    }

    /// Writes the picture.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> image::ImageResult<()> {
        self.draw().save_with_format(path, image::ImageFormat::Png)
    }
}

/// A number in few letters.
fn label(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        0.001..100_000.0 => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_are_spread_evenly() {
        let axis = Axis::over([0.01, 1.0, 100.0].into_iter());
        assert!(axis.is_log && (axis.share(1.0) - 0.5).abs() < 1e-12 && (axis.value(0.5) - 1.0).abs() < 1e-12);
        let axis = Axis::over([-1.0, 3.0].into_iter());
        assert_eq!((axis.is_log, axis.share(1.0), axis.value(0.5)), (false, 0.5, 1.0));
        assert_eq!(Axis::over([2.0].into_iter()).share(2.0), 0.5);
    }

    #[test]
    fn a_rising_line_goes_from_the_lower_left_to_the_upper_right() {
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        let curves = Curves { x_name: "x", y_name: "y", lines: vec![(String::new(), x.clone())], x };
        let picture = curves.draw();
        let color = Rgb([COLORS[0].r(), COLORS[0].g(), COLORS[0].b()]);
        let inked = |x: i32, y: i32| (-1..=1).any(|dy| *picture.get_pixel(x as u32, (y + dy) as u32) == color);
        let [left, top, right, bottom] = AREA;
        assert!(inked(left, bottom) && inked(right, top) && inked((left + right) / 2, (top + bottom) / 2));
        assert!(!inked(left + 20, top + 5) && !inked(right - 20, bottom - 5));
    }

    #[test]
    fn labels_are_short() {
        let labels: Vec<String> = [0.0, 0.002, 80.0, 1e-7, 1.23456e9].map(label).into();
        assert_eq!(labels, ["0", "0.002", "80", "1.00e-7", "1.23e9"]);
    }
}
