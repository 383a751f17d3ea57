//! Attitude: nadir pointing with slews to the side, a controller that turns errors into torques.
//!
//! Angles are roll, pitch and yaw of the body against the orbital frame; they stay small enough
//! for Euler's equations without their products of rates.

use super::environment::Environment;
use crate::orbit::vector::{Vector, add, cross, dot, scale};
use codecs::time::Tai;

/// Moments of inertia of the body, kg m².
pub const INERTIA_KG_M2: Vector = [0.90, 1.00, 0.60];
/// Side look while imaging, degrees of roll, and how fast it is taken up.
const SLEW_DEG: f64 = 12.0;
const SLEW_RATE_DEG_S: f64 = 0.4;
/// A slew starts every so many seconds, to the other side or back to nadir.
const SLEW_PERIOD_S: i64 = 75;
/// Bandwidth and damping of the controller.
const BANDWIDTH_RAD_S: f64 = 0.18;
const DAMPING: f64 = 0.9;
/// Greatest torque asked of the wheels on an axis.
const MAX_TORQUE_NM: f64 = 4e-3;
/// Magnetic dipole that the body can't get rid of, A m².
const RESIDUAL_DIPOLE_A_M2: Vector = [0.010, -0.006, 0.008];

/// What the attitude control is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Holding the angle.
    Pointing = 0,
    /// On the way to another one.
    Slewing = 1,
}

/// State of the body's attitude.
#[derive(Clone, Debug)]
pub struct Attitude {
    /// Roll, pitch, yaw in radians.
    pub angles_rad: Vector,
    /// Their rates.
    pub rates_rad_s: Vector,
    /// Roll that the controller follows now.
    pub target_roll_rad: f64,
    /// What it is doing.
    pub mode: Mode,
}

impl Default for Attitude {
    fn default() -> Self {
        Self {
            angles_rad: [0.002, -0.001, 0.001],
            rates_rad_s: [0.0; 3],
            target_roll_rad: 0.0,
            mode: Mode::Pointing,
        }
    }
}

/// Roll that the schedule asks for at an instant: left, nadir, right, nadir.
fn scheduled_roll_rad(at: Tai) -> f64 {
    let slot = (at.0 / 1_000_000_000).div_euclid(SLEW_PERIOD_S).rem_euclid(4);
    [SLEW_DEG, 0.0, -SLEW_DEG, 0.0][slot as usize].to_radians()
}

impl Attitude {
    /// Torque that the controller wants from the wheels.
    pub fn control(&mut self, at: Tai, dt_s: f64) -> Vector {
        let goal = scheduled_roll_rad(at);
        let most = SLEW_RATE_DEG_S.to_radians() * dt_s;
        let step = (goal - self.target_roll_rad).clamp(-most, most);
        self.target_roll_rad += step;
        self.mode = if step.abs() > 0.0 { Mode::Slewing } else { Mode::Pointing };
        let wanted_rate = [step / dt_s, 0.0, 0.0];
        let wanted = [self.target_roll_rad, 0.0, 0.0];
        std::array::from_fn(|axis| {
            let spring = BANDWIDTH_RAD_S * BANDWIDTH_RAD_S * (wanted[axis] - self.angles_rad[axis]);
            let damper =
                2.0 * DAMPING * BANDWIDTH_RAD_S * (wanted_rate[axis] - self.rates_rad_s[axis]);
            ((spring + damper) * INERTIA_KG_M2[axis]).clamp(-MAX_TORQUE_NM, MAX_TORQUE_NM)
        })
    }

    /// Torques of the surroundings: gravity gradient and the residual dipole.
    pub fn disturbance_nm(&self, environment: &Environment) -> Vector {
        let [ix, iy, iz] = INERTIA_KG_M2;
        let stiff = 3.0 * environment.orbit_rate_rad_s * environment.orbit_rate_rad_s;
        let gravity =
            [stiff * (iz - iy) * self.angles_rad[0], stiff * (iz - ix) * self.angles_rad[1], 0.0];
        add(gravity, cross(RESIDUAL_DIPOLE_A_M2, self.to_body(environment.field_orbital_t)))
    }

    /// One step under a torque on the body.
    pub fn step(&mut self, torque_nm: Vector, dt_s: f64) {
        for axis in 0..3 {
            self.rates_rad_s[axis] += torque_nm[axis] / INERTIA_KG_M2[axis] * dt_s;
            self.angles_rad[axis] += self.rates_rad_s[axis] * dt_s;
        }
    }

    /// A vector of the orbital frame as the body sees it (yaw, then pitch, then roll).
    pub fn to_body(&self, orbital: Vector) -> Vector {
        let [(sr, cr), (sp, cp), (sy, cy)] = self.angles_rad.map(f64::sin_cos);
        let rows = [
            [cp * cy, cp * sy, -sp],
            [sr * sp * cy - cr * sy, sr * sp * sy + cr * cy, sr * cp],
            [cr * sp * cy + sr * sy, cr * sp * sy - sr * cy, cr * cp],
        ];
        rows.map(|row| dot(row, orbital))
    }

    /// Inertial rate of the body, which a gyro feels: its own turning and the orbit's.
    pub fn inertial_rate_rad_s(&self, orbit_rate_rad_s: f64) -> Vector {
        let orbit = scale(self.to_body([0.0, 1.0, 0.0]), -orbit_rate_rad_s);
        add(self.rates_rad_s, orbit)
    }
}
