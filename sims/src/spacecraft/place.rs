//! Where the imager looks: attitude against the earth's axes, and the corners of a tile.

use super::attitude::Attitude;
use super::environment::{Environment, orbital_axes};
use crate::orbit::earth;
use crate::orbit::vector::{Vector, add, scale, sub};

/// Side of a tile on the ground, km: 64 pixels of some 17 m.
const SIDE_KM: f64 = 1.1;

/// What the imager's packet says of a tile's place, 48 bytes: the quaternion x, y, z, w that turns
/// the earth's axes into the body's, then latitude and longitude of the corners in turn, f32.
///
/// The corners lie about the point below: the imager draws its tiles from there, whatever the roll.
pub fn encode(environment: &Environment, attitude: &Attitude) -> Vec<u8> {
    let angle = earth::sidereal_angle(environment.at);
    let orbital = orbital_axes(environment.state).map(|axis| earth::to_earth(axis, angle));
    let body = turned(orbital, attitude.angles_rad);
    let quaternion = quaternion(body);
    let corners = corners(environment, orbital);
    let numbers = quaternion.into_iter().chain(corners.into_iter().flatten());
    numbers.flat_map(|number| (number as f32).to_be_bytes()).collect()
}

/// Axes turned by yaw, then pitch, then roll.
fn turned(axes: [Vector; 3], [roll, pitch, yaw]: Vector) -> [Vector; 3] {
    let about = |[a, b]: [Vector; 2], angle: f64| {
        let (sin, cos) = angle.sin_cos();
        [add(scale(a, cos), scale(b, sin)), sub(scale(b, cos), scale(a, sin))]
    };
    let [x, y, z] = axes;
    let [x, y] = about([x, y], yaw);
    let [z, x] = about([z, x], pitch);
    let [y, z] = about([y, z], roll);
    [x, y, z]
}

/// Quaternion of the rotation whose rows are these axes; its real part is not negative.
fn quaternion(rows: [Vector; 3]) -> [f64; 4] {
    let [x, y, z] = rows;
    // Each squared part times four; the largest is divided by, so that nothing cancels.
    let squares = [
        1.0 + x[0] - y[1] - z[2],
        1.0 - x[0] + y[1] - z[2],
        1.0 - x[0] - y[1] + z[2],
        1.0 + x[0] + y[1] + z[2],
    ];
    let (differ, sum) =
        ([y[2] - z[1], z[0] - x[2], x[1] - y[0]], [y[2] + z[1], z[0] + x[2], x[1] + y[0]]);
    let largest = (0..4).max_by(|a, b| squares[*a].total_cmp(&squares[*b])).unwrap_or(3);
    let parts = match largest {
        0 => [squares[0], sum[2], sum[1], differ[0]],
        1 => [sum[2], squares[1], sum[0], differ[1]],
        2 => [sum[1], sum[0], squares[2], differ[2]],
        _ => [differ[0], differ[1], differ[2], squares[3]],
    };
    let length = parts.iter().map(|part| part * part).sum::<f64>().sqrt();
    let sign = if parts[3] < 0.0 { -1.0 } else { 1.0 };
    parts.map(|part| sign * part / length)
}

fn corners(environment: &Environment, [along, side, _]: [Vector; 3]) -> [[f64; 2]; 4] {
    let below = earth::Geodetic { height_m: 0.0, ..environment.ground }.to_fixed();
    let half = SIDE_KM / 2.0;
    [[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]].map(|[ahead, across]| {
        let corner = add(below, add(scale(along, ahead * half), scale(side, across * half)));
        let of = earth::Geodetic::from_fixed(corner);
        [of.latitude_deg, of.longitude_deg]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orbit::vector::{cross, dot, norm, unit};

    /// Turns a vector of the earth's axes into the body's.
    fn rotate([x, y, z, w]: [f64; 4], of: Vector) -> Vector {
        // The conjugate: the quaternion turns axes, not vectors.
        let axis = [-x, -y, -z];
        let once = add(cross(axis, of), scale(of, w));
        add(of, scale(cross(axis, once), 2.0))
    }

    #[test]
    fn the_quaternion_turns_the_earths_axes_into_the_bodys() {
        for step in 0..200 {
            let angles = [0.031, 0.017, 0.023].map(|rate| rate * f64::from(step) * 7.0);
            let z = unit([1.0, 0.3 * f64::from(step % 7), -0.5]);
            let x = unit(cross(z, [0.2, 1.0, 0.1]));
            let rows = turned([x, cross(z, x), z], angles);
            assert!(norm(sub(cross(rows[0], rows[1]), rows[2])) < 1e-12, "still right-handed");
            let quaternion = quaternion(rows);
            for vector in [[1.0, 0.0, 0.0], [0.3, -2.0, 0.7]] {
                let wanted = rows.map(|row| dot(row, vector));
                assert!(norm(sub(rotate(quaternion, vector), wanted)) < 1e-12, "{step}");
            }
        }
    }
}
