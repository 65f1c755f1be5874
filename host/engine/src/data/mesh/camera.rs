//! A camera on an orbit around a model.

use glam::camera::rh::{proj::directx::perspective, view::look_at_mat4};
use glam::{Mat4, Vec3};

/// Vertical and horizontal field of view, degrees.
const FIELD_OF_VIEW_DEG: f32 = 35.0;
/// Room around the model, as a factor of the distance.
const MARGIN: f32 = 1.04;

/// A camera that looks at a point, the y axis up in its picture.
#[derive(Debug, Clone)]
pub(in crate::data) struct Camera {
    /// From the scene's space to clip space.
    pub(super) projection: Mat4,
}

impl Camera {
    /// A camera that has a ball of `radius` around `centre` just in its picture.
    ///
    /// Azimuth and elevation in radians. At azimuth 0 the camera is in front of the model, where glTF's z axis points;
    /// it grows counter-clockwise seen from above, so that a quarter turn brings the camera to the x axis.
    /// Elevation is the angle over the horizon, less than a right angle.
    pub(in crate::data) fn on_orbit(centre: Vec3, radius: f32, azimuth: f32, elevation: f32) -> Self {
        let direction = Vec3::new(elevation.cos() * azimuth.sin(), elevation.sin(), elevation.cos() * azimuth.cos());
        let half_view = (FIELD_OF_VIEW_DEG / 2.0).to_radians();
        let distance = MARGIN * radius / half_view.sin();
        let view = look_at_mat4(centre + direction * distance, centre, Vec3::Y);
        Self { projection: perspective(2.0 * half_view, 1.0, 0.1 * distance, 2.0 * distance) * view }
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::{FRAC_PI_2, PI};

    use super::*;

    /// Where a point is in the picture: right and up, in `[-1, 1]`, and its depth.
    fn see(azimuth: f32, elevation: f32, point: Vec3) -> Vec3 {
        Camera::on_orbit(Vec3::ZERO, 1.0, azimuth, elevation).projection.project_point3(point)
    }

    #[test]
    fn azimuth_zero_looks_at_the_front_and_grows_counter_clockwise() {
        // From the front the model's x axis points to the right.
        let from_front = see(0.0, 0.0, Vec3::X);
        assert!(from_front.x > 0.3 && from_front.y.abs() < 1e-6);
        assert!(see(0.0, 0.0, Vec3::Z).z < see(0.0, 0.0, -Vec3::Z).z, "the front is near");
        // A quarter turn on, the camera is on the x axis and the front points to the left.
        assert!(see(FRAC_PI_2, 0.0, Vec3::Z).x < -0.3);
        assert!(see(FRAC_PI_2, 0.0, Vec3::X).z < see(FRAC_PI_2, 0.0, -Vec3::X).z);
        assert!(see(PI, 0.0, Vec3::X).x < -0.3, "from behind the x axis points to the left");
    }

    #[test]
    fn up_is_up_and_elevation_looks_down() {
        assert!(see(1.0, 0.0, Vec3::Y).y > 0.3);
        assert!(see(0.0, 0.5, Vec3::Z).y < -0.1, "from above, what is near is low in the picture");
    }

    #[test]
    fn a_ball_of_the_radius_fits_from_everywhere() {
        for (azimuth, elevation) in [(0.0, 0.0), (2.0, 0.7), (5.0, -0.4)] {
            for i in 0..100 {
                let (turn, height) = (i as f32 * 0.7, (i as f32 / 50.0) - 1.0);
                let flat = (1.0 - height * height).max(0.0).sqrt();
                let point = see(azimuth, elevation, Vec3::new(flat * turn.cos(), height, flat * turn.sin()));
                assert!(point.x.abs() < 1.0 && point.y.abs() < 1.0 && (0.0..1.0).contains(&point.z), "{point}");
            }
        }
    }
}
