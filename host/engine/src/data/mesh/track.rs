//! A track of keyframes: one moving property of one node.

use glam::{Quat, Vec4};
use gltf::animation::Interpolation;

/// What a track moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Property {
    /// The node's place.
    Translation,
    /// The node's turn, a unit quaternion.
    Rotation,
    /// The node's size along its axes.
    Scale,
}

/// Keyframes of one property.
#[derive(Debug, Clone)]
pub(super) struct Track {
    pub(super) property: Property,
    pub(super) interpolation: Interpolation,
    /// Seconds, growing.
    pub(super) times: Vec<f32>,
    /// One value a time; with cubic splines three: in-tangent, value, out-tangent.
    pub(super) values: Vec<Vec4>,
}

impl Track {
    /// The property at `time`; before the first keyframe it is the first, after the last the last.
    pub(super) fn at(&self, time: f32) -> Vec4 {
        let next = self.times.partition_point(|&key| key <= time);
        if next == 0 {
            return self.value(0);
        }
        let (last, key) = (self.times.len() - 1, next - 1);
        if key == last {
            return self.value(last);
        }
        let step = self.times[next] - self.times[key];
        let part = (time - self.times[key]) / step;
        match self.interpolation {
            Interpolation::Step => self.value(key),
            Interpolation::Linear if self.property == Property::Rotation => {
                let [from, to] = [key, next].map(|i| Quat::from_vec4(self.value(i)));
                from.slerp(to, part).into()
            }
            Interpolation::Linear => self.value(key).lerp(self.value(next), part),
            Interpolation::CubicSpline => {
                let value = self.spline(key, part, step);
                if self.property == Property::Rotation { value.normalize() } else { value }
            }
        }
    }

    fn value(&self, key: usize) -> Vec4 {
        match self.interpolation {
            Interpolation::CubicSpline => self.values[3 * key + 1],
            _ => self.values[key],
        }
    }

    /// The cubic Hermite spline of glTF 2.0, appendix C.5.
    fn spline(&self, key: usize, s: f32, step: f32) -> Vec4 {
        let (from, to) = (self.value(key), self.value(key + 1));
        let (out, inward) = (self.values[3 * key + 2] * step, self.values[3 * (key + 1)] * step);
        let (s2, s3) = (s * s, s * s * s);
        from * (2.0 * s3 - 3.0 * s2 + 1.0) + out * (s3 - 2.0 * s2 + s) + to * (3.0 * s2 - 2.0 * s3) + inward * (s3 - s2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(property: Property, interpolation: Interpolation, values: &[Vec4]) -> Track {
        Track { property, interpolation, times: vec![1.0, 3.0], values: values.to_vec() }
    }

    #[test]
    fn linear_steps_and_ends() {
        let values = [Vec4::X, Vec4::Y * 4.0];
        let linear = track(Property::Translation, Interpolation::Linear, &values);
        assert_eq!(linear.at(0.0), values[0]);
        assert_eq!(linear.at(1.5), Vec4::new(0.75, 1.0, 0.0, 0.0));
        assert_eq!(linear.at(3.0), values[1]);
        assert_eq!(linear.at(9.0), values[1]);
        assert_eq!(track(Property::Scale, Interpolation::Step, &values).at(2.9), values[0]);
    }

    #[test]
    fn rotations_go_the_short_way_at_even_speed() {
        let turn = |degrees: f32| Vec4::from(Quat::from_rotation_y(degrees.to_radians()));
        let track = track(Property::Rotation, Interpolation::Linear, &[turn(0.0), -turn(90.0)]);
        let angle = Quat::from_vec4(track.at(1.5)).to_axis_angle();
        assert!((angle.1.to_degrees() - 22.5).abs() < 1e-3, "{angle:?}");
    }

    #[test]
    fn splines_meet_their_values_and_slopes() {
        let slope = Vec4::splat(2.0);
        let values = [Vec4::ZERO, Vec4::ZERO, slope, slope, Vec4::splat(4.0), Vec4::ZERO];
        let track = track(Property::Translation, Interpolation::CubicSpline, &values);
        // Values 0 and 4 two seconds apart with slope 2 at both ends lie on a line.
        for time in [1.0, 1.5, 2.2, 3.0] {
            assert!((track.at(time) - Vec4::splat(2.0 * (time - 1.0))).length() < 1e-5);
        }
    }
}
