//! Attitude sensors: a gyro with a wandering bias, a magnetometer with an offset.

use super::attitude::Attitude;
use super::environment::Environment;
use super::faults::{FaultKind, Faults};
use crate::orbit::vector::{Vector, add};
use crate::rng::Random;

const GYRO_NOISE_RAD_S: f64 = 6e-5;
const GYRO_WALK_RAD_S: f64 = 2e-7;
/// Rate by which a broken axis is off, at severity 1: 0.02 degrees a second.
const GYRO_BROKEN_RAD_S: f64 = 3.5e-4;
/// Rate that one g of vibration at a wheel leaves in the gyro.
const GYRO_VIBRATION_RAD_S: f64 = 2.5e-3;
const FIELD_NOISE_T: f64 = 40e-9;
const FIELD_OFFSET_T: Vector = [120e-9, -260e-9, 90e-9];

/// Three gyro axes.
#[derive(Clone, Debug)]
pub struct Gyro {
    /// What it shows, radians a second.
    pub rate_rad_s: Vector,
    bias_rad_s: Vector,
    random: Random,
}

impl Gyro {
    /// A gyro with a bias of its own.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, "gyro");
        let bias_rad_s = [(); 3].map(|()| 3e-5 * random.normal());
        Self { rate_rad_s: [0.0; 3], bias_rad_s, random }
    }

    /// One step.
    pub fn step(
        &mut self,
        attitude: &Attitude,
        environment: &Environment,
        faults: &Faults,
        vibration_g: f64,
    ) {
        let truth = attitude.inertial_rate_rad_s(environment.orbit_rate_rad_s);
        let noise = GYRO_NOISE_RAD_S + GYRO_VIBRATION_RAD_S * vibration_g;
        for (axis, truth) in truth.into_iter().enumerate() {
            self.bias_rad_s[axis] += GYRO_WALK_RAD_S * self.random.normal();
            let kind = FaultKind::GyroBias { axis: axis as u8 };
            let broken = GYRO_BROKEN_RAD_S * faults.severity(kind, environment.at);
            self.rate_rad_s[axis] =
                truth + self.bias_rad_s[axis] + broken + noise * self.random.normal();
        }
    }
}

/// Three magnetometer axes.
#[derive(Clone, Debug)]
pub struct Magnetometer {
    /// What it shows, tesla.
    pub field_t: Vector,
    random: Random,
}

impl Magnetometer {
    /// A magnetometer.
    pub fn new(seed: u64) -> Self {
        Self { field_t: [0.0; 3], random: Random::new(seed, "magnetometer") }
    }

    /// One step.
    pub fn step(&mut self, attitude: &Attitude, environment: &Environment, faults: &Faults) {
        let noise = [(); 3].map(|()| FIELD_NOISE_T * self.random.normal());
        let felt = add(add(attitude.to_body(environment.field_orbital_t), FIELD_OFFSET_T), noise);
        for (axis, (shown, felt)) in self.field_t.iter_mut().zip(felt).enumerate() {
            let stuck = FaultKind::MagnetometerStuck { axis: axis as u8 };
            if faults.severity(stuck, environment.at) <= 0.0 {
                *shown = felt;
            }
        }
    }
}
