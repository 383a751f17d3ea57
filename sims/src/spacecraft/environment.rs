//! What surrounds the spacecraft at an instant: orbit, sunlight, magnetic field, the ground below.

use crate::orbit::earth::{self, Geodetic};
use crate::orbit::elements::{ElementSet, ElementsError, State};
use crate::orbit::sun;
use crate::orbit::vector::{Vector, cross, dot, norm, scale, sub, unit};
use codecs::time::Tai;

/// Everything a subsystem may feel; made anew for every step.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The instant.
    pub at: Tai,
    /// Inertial position and velocity (TEME).
    pub state: State,
    /// Share of the Sun's disc in view, 0 to 1.
    pub illumination: f64,
    /// Direction of the Sun in the orbital frame: along track, against the orbit's normal, down.
    pub sun_orbital: Vector,
    /// Magnetic field in the orbital frame, tesla.
    pub field_orbital_t: Vector,
    /// The point below.
    pub ground: Geodetic,
    /// Elevation of the Sun over that point, degrees.
    pub ground_sun_deg: f64,
    /// Angular rate of the orbit, radians a second.
    pub orbit_rate_rad_s: f64,
}

impl Environment {
    /// The surroundings of a satellite at an instant.
    pub fn at(satellite: &ElementSet, at: Tai) -> Result<Self, ElementsError> {
        let state = satellite.propagate(at)?;
        let sun_km = sun::sun_km(at);
        let angle = earth::sidereal_angle(at);
        let fixed = earth::to_earth(state.position_km, angle);
        let ground = Geodetic::from_fixed(fixed);
        let field = earth::from_earth(dipole_field_t(fixed), angle);
        let axes = orbital_axes(state);
        let sun_direction = unit(sub(sun_km, state.position_km));
        let below = Geodetic { height_m: 0.0, ..ground }.to_fixed();
        let up = unit(sub(fixed, below));
        let ground_sun = dot(up, unit(earth::to_earth(sun_km, angle))).clamp(-1.0, 1.0).asin();
        let momentum = norm(cross(state.position_km, state.velocity_km_s));
        Ok(Self {
            at,
            state,
            illumination: sun::illumination(state.position_km, sun_km),
            sun_orbital: axes.map(|axis| dot(axis, sun_direction)),
            field_orbital_t: axes.map(|axis| dot(axis, field)),
            ground,
            ground_sun_deg: ground_sun.to_degrees(),
            orbit_rate_rad_s: momentum / dot(state.position_km, state.position_km),
        })
    }
}

/// Axes of the local-vertical frame: x along track, y against the orbit's normal, z down.
pub(super) fn orbital_axes(state: State) -> [Vector; 3] {
    let down = scale(unit(state.position_km), -1.0);
    let side = scale(unit(cross(state.position_km, state.velocity_km_s)), -1.0);
    [cross(side, down), side, down]
}

/// The earth's tilted dipole in the earth's frame, tesla: degree 1 of IGRF-14, epoch 2025. Real
/// fields differ from it by up to a fifth at this height.
fn dipole_field_t(fixed_km: Vector) -> Vector {
    /// g11, h11 and g10 in nanotesla, ordered as x, y, z.
    const MOMENT_NT: Vector = [-1410.3, 4545.5, -29_350.0];
    const REFERENCE_KM: f64 = 6371.2;
    let (out, distance) = (unit(fixed_km), norm(fixed_km));
    let factor = (REFERENCE_KM / distance).powi(3) * 1e-9;
    let along = scale(out, 3.0 * dot(MOMENT_NT, out));
    scale(sub(along, MOMENT_NT), factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_points_down_in_the_north_and_north_at_the_equator() {
        let north = dipole_field_t([0.0, 0.0, 6371.2]);
        assert!(north[2] < -50e-6, "{north:?}");
        let equator = dipole_field_t([6371.2, 0.0, 0.0]);
        assert!(equator[2] > 25e-6 && equator[2] < 35e-6, "{equator:?}");
    }

    #[test]
    fn orbital_axes_are_right_handed() {
        let state = State { position_km: [7000.0, 0.0, 0.0], velocity_km_s: [0.0, 1.0, 7.4] };
        let [x, y, z] = orbital_axes(state);
        assert!(norm(sub(cross(x, y), z)) < 1e-12);
        assert!(dot(x, state.velocity_km_s) > 7.0);
        assert_eq!(z, [-1.0, 0.0, 0.0]);
    }
}
