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
    /// From the middle of the ball to the camera, in radii.
    eye: Vec3,
    centre: Vec3,
    radius: f32,
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
        let projection = perspective(2.0 * half_view, 1.0, 0.1 * distance, 2.0 * distance) * view;
        Self { projection, eye: direction * distance / radius, centre, radius }
    }

    /// Appends the planes `[6, size, size]` of the rays through the pixels in Pluecker coordinates (Sitzmann et al. 2021):
    /// the unit direction, then the moment `eye x direction`, in radii of the ball and from its middle. A moment is as
    /// long as its ray is far from the middle, so within the ball both parts are in `[-1, 1]`.
    pub(in crate::data) fn append_rays(&self, size: u32, planes: &mut Vec<f32>) {
        let inverse = self.projection.inverse();
        let place = |i: u32| (2.0 * i as f32 + 1.0) / size as f32 - 1.0;
        let rays: Vec<[f32; 6]> = (0..size * size)
            .map(|pixel| {
                let far = inverse.project_point3(Vec3::new(place(pixel % size), -place(pixel / size), 1.0));
                let direction = ((far - self.centre) / self.radius - self.eye).normalize();
                let moment = self.eye.cross(direction);
                [direction.x, direction.y, direction.z, moment.x, moment.y, moment.z]
            })
            .collect();
        planes.extend((0..6).flat_map(|c| rays.iter().map(move |ray| ray[c])));
    }
}

/// Appends the rays of cameras at these azimuths and elevations, `[v, 6, size, size]`. They are in radii of the ball and from
/// its middle, so they are the same for every model.
pub(in crate::data) fn append_orbit_rays(size: u32, places: impl Iterator<Item = (f64, f64)>, planes: &mut Vec<f32>) {
    for (azimuth, elevation) in places {
        Camera::on_orbit(Vec3::ZERO, 1.0, azimuth as f32, elevation as f32).append_rays(size, planes);
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
    fn rays_go_through_their_pixels() {
        let centre = Vec3::new(3.0, -1.0, 2.0);
        let (radius, size) = (2.5, 5);
        let camera = Camera::on_orbit(centre, radius, 0.7, 0.3);
        let mut planes = Vec::new();
        camera.append_rays(size, &mut planes);
        assert_eq!(planes.len(), 6 * 25);
        for (row, column) in [(0, 0), (2, 2), (1, 4), (4, 3)] {
            let at = |c: usize| planes[c * 25 + row * 5 + column];
            let direction = Vec3::new(at(0), at(1), at(2));
            let moment = Vec3::new(at(3), at(4), at(5));
            assert!((direction.length() - 1.0).abs() < 1e-5 && moment.dot(direction).abs() < 1e-5);
            // The ray's point nearest to the middle is seen at the pixel.
            let nearest = centre + radius * direction.cross(moment);
            let seen = camera.projection.project_point3(nearest);
            let pixel = [(column as f32 + 0.5) / 2.5 - 1.0, 1.0 - (row as f32 + 0.5) / 2.5];
            assert!((seen.x - pixel[0]).abs() < 1e-4 && (seen.y - pixel[1]).abs() < 1e-4, "{seen} {pixel:?}");
        }
        let middle = [3, 4, 5].map(|c| planes[c * 25 + 12].abs());
        assert!(middle.iter().all(|part| *part < 1e-5), "the middle pixel looks at the middle: {middle:?}");
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
