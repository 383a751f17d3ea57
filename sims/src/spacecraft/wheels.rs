//! Reaction wheels: four in a pyramid, with momentum, friction, heat and vibration.

use super::faults::{FaultKind, Faults};
use crate::orbit::vector::{Vector, add, cross, dot, norm, scale, sub};
use crate::rng::Random;
use codecs::time::Tai;

/// Wheels in the pyramid.
pub const WHEELS: usize = 4;
/// Moment of inertia of a rotor, kg m².
pub const ROTOR_KG_M2: f64 = 2.0e-4;
const MAX_SPEED_RAD_S: f64 = 650.0;
const COULOMB_NM: f64 = 4.0e-4;
const VISCOUS_NM_S: f64 = 2.0e-6;
const MOTOR_NM_PER_A: f64 = 0.020;
const DRIVE_IDLE_W: f64 = 0.25;
const ROTOR_HEAT_J_K: f64 = 60.0;
const ROTOR_LINK_W_K: f64 = 0.05;
/// Tilt of the wheels' axes out of the roll-pitch plane: equal authority on all axes.
const TILT_RAD: f64 = 0.615_479_708_670_387;
/// Speed about which the wheels sit when the body holds no momentum, with alternating signs: a
/// state of the pyramid without momentum, away from the stiction at zero.
const BIAS_RAD_S: f64 = 210.0;
/// Gain of the magnetic unloading, 1/s, and the rods' greatest dipole.
const UNLOAD_PER_S: f64 = 2.0e-3;
const MAX_DIPOLE_A_M2: f64 = 0.8;

/// One wheel.
#[derive(Clone, Debug)]
pub struct Wheel {
    /// Speed, radians a second.
    pub speed_rad_s: f64,
    /// Motor current, ampere.
    pub current_a: f64,
    /// Vibration at the mount, g RMS.
    pub vibration_g: f64,
    /// Bearing temperature.
    pub celsius: f64,
}

/// State of the wheel assembly.
#[derive(Clone, Debug)]
pub struct Wheels {
    /// The four.
    pub wheels: [Wheel; WHEELS],
    random: Random,
}

/// Direction of a wheel's axis in the body.
fn axis(index: usize) -> Vector {
    let (sin_tilt, cos_tilt) = TILT_RAD.sin_cos();
    let around = std::f64::consts::FRAC_PI_4 * (2.0 * index as f64 + 1.0);
    [cos_tilt * around.cos(), cos_tilt * around.sin(), sin_tilt]
}

fn bias(index: usize) -> f64 {
    if index.is_multiple_of(2) { BIAS_RAD_S } else { -BIAS_RAD_S }
}

impl Wheels {
    /// Wheels at their bias speeds.
    pub fn new(seed: u64) -> Self {
        let wheels = std::array::from_fn(|index| Wheel {
            speed_rad_s: bias(index),
            current_a: 0.0,
            vibration_g: 0.0,
            celsius: 18.0,
        });
        Self { wheels, random: Random::new(seed, "wheels") }
    }

    /// Momentum of the assembly in the body, N m s.
    pub fn momentum_nms(&self) -> Vector {
        let each = self.wheels.iter().enumerate();
        each.fold([0.0; 3], |sum, (index, wheel)| {
            add(sum, scale(axis(index), ROTOR_KG_M2 * wheel.speed_rad_s))
        })
    }

    /// Torque of the magnetic rods that drains the assembly's momentum into the earth's field.
    pub fn unloading_nm(&self, field_body_t: Vector) -> Vector {
        let strength = dot(field_body_t, field_body_t);
        if strength <= 0.0 {
            return [0.0; 3];
        }
        let wanted = scale(cross(self.momentum_nms(), field_body_t), UNLOAD_PER_S / strength);
        let dipole = if norm(wanted) > MAX_DIPOLE_A_M2 {
            scale(wanted, MAX_DIPOLE_A_M2 / norm(wanted))
        } else {
            wanted
        };
        cross(dipole, field_body_t)
    }

    /// One step: shares a torque for the body among the wheels and gives back what they really
    /// exerted on it.
    pub fn step(
        &mut self,
        torque_nm: Vector,
        faults: &Faults,
        at: Tai,
        surroundings_c: f64,
        dt_s: f64,
    ) -> Vector {
        // The pyramid's own inverse: its axes sum to 4/3 of the identity at this tilt.
        let share = scale(torque_nm, 0.75);
        let mut exerted = [0.0; 3];
        for (index, wheel) in self.wheels.iter_mut().enumerate() {
            let fault = faults.severity(FaultKind::WheelBearing { wheel: index as u8 }, at);
            let direction = axis(index);
            let spin = wheel.speed_rad_s.signum();
            let steady =
                (COULOMB_NM + VISCOUS_NM_S * wheel.speed_rad_s.abs()) * (1.0 + 8.0 * fault);
            // A worn bearing catches: friction that the drive hasn't seen coming reaches the body.
            let rough = steady * self.random.normal() * (0.01 + 0.12 * fault);
            let wanted = -dot(direction, share);
            let faster = wheel.speed_rad_s.abs() >= MAX_SPEED_RAD_S && wanted * spin > 0.0;
            let motor = if faster { 0.0 } else { wanted };
            wheel.current_a = (motor + (steady + rough.abs()) * spin) / MOTOR_NM_PER_A;
            let net = motor - rough * spin;
            wheel.speed_rad_s += net / ROTOR_KG_M2 * dt_s;
            let heat_w = steady * wheel.speed_rad_s.abs();
            let leak_w = ROTOR_LINK_W_K * (wheel.celsius - surroundings_c);
            wheel.celsius += (heat_w - leak_w) * dt_s / ROTOR_HEAT_J_K;
            let turns = wheel.speed_rad_s / 300.0;
            wheel.vibration_g = (0.015 + 0.03 * turns * turns) * (1.0 + 0.1 * self.random.normal())
                + fault * 0.55 * (1.0 + 0.35 * self.random.normal()).abs();
            exerted = sub(exerted, scale(direction, net));
        }
        exerted
    }

    /// Electrical power of the drives.
    pub fn power_w(&self) -> f64 {
        self.wheels
            .iter()
            .map(|wheel| {
                let shaft = wheel.current_a * MOTOR_NM_PER_A * wheel.speed_rad_s;
                DRIVE_IDLE_W + shaft.max(0.0) + 0.6 * wheel.current_a * wheel.current_a
            })
            .sum()
    }

    /// The worst vibration, which reaches the gyro.
    pub fn vibration_g(&self) -> f64 {
        self.wheels.iter().map(|wheel| wheel.vibration_g).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pyramid_gives_the_torque_asked_for() {
        let mut wheels = Wheels::new(1);
        let asked = [1e-3, -2e-3, 0.5e-3];
        let got = wheels.step(asked, &Faults::default(), Tai(0), 20.0, 0.05);
        assert!(norm(sub(got, asked)) < 5e-5, "{got:?}");
        assert!(norm(Wheels::new(1).momentum_nms()) < 1e-12);
    }

    #[test]
    fn unloading_never_adds_momentum() {
        let mut wheels = Wheels::new(1);
        wheels.wheels[0].speed_rad_s += 100.0;
        for field in [[2e-5, 0.0, 3e-5], [-1e-5, 4e-5, 0.0], [0.0, 0.0, 5e-5]] {
            assert!(dot(wheels.unloading_nm(field), wheels.momentum_nms()) <= 0.0);
        }
        assert_eq!(wheels.unloading_nm([0.0; 3]), [0.0; 3]);
    }
}
