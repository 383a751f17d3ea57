//! Electrical power: solar strings, a battery of two cells in series, loads, a charge regulator.

use super::environment::Environment;
use super::faults::{FaultKind, Faults};

/// Strings of the array.
pub const STRINGS: usize = 3;
const SOLAR_CONSTANT_W_M2: f64 = 1361.0;
const STRING_AREA_M2: f64 = 0.055;
const EFFICIENCY: f64 = 0.29;
/// Loss a kelvin above 28 °C, triple-junction cells.
const EFFICIENCY_PER_K: f64 = -0.0025;
/// Voltage at which a string gives its most.
const STRING_VOLTAGE_V: f64 = 16.0;
const CAPACITY_C: f64 = 5.2 * 3600.0;
/// Where the regulator stops pushing current.
const FULL_VOLTAGE_V: f64 = 8.2;
const MAX_CHARGE_A: f64 = 2.6;

/// Charge from which loads get power again after the battery was empty.
const CHARGE_AGAIN: f64 = 0.05;

/// What draws power beside the battery heater and the wheels.
const BASE_LOAD_W: f64 = 9.5;
const IMAGER_LOAD_W: f64 = 6.0;
const TRANSMITTER_LOAD_W: f64 = 11.0;

/// What the other subsystems ask for in a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demand {
    /// Battery heater on.
    pub heater_w: f64,
    /// Drive power of the wheels.
    pub wheels_w: f64,
    /// The imager is taking a tile.
    pub imaging: bool,
    /// The transmitter is on.
    pub transmitting: bool,
}

/// Energy through the subsystem since its start, joules: what came in went somewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ledger {
    /// From the array, after regulation.
    pub solar_j: f64,
    /// Into the loads.
    pub load_j: f64,
    /// Into the cells' chemistry (negative: out of it).
    pub stored_j: f64,
    /// Lost in the cells' resistance.
    pub heat_j: f64,
}

/// State of the power subsystem.
#[derive(Clone, Debug)]
pub struct Power {
    /// Charge in the battery, 0 to 1.
    pub charge: f64,
    /// Voltage at the battery's terminals.
    pub voltage_v: f64,
    /// Battery current, positive while charging.
    pub current_a: f64,
    /// Current of each string.
    pub string_a: [f64; STRINGS],
    /// Power taken from the array.
    pub solar_w: f64,
    /// Power drawn by everything.
    pub load_w: f64,
    /// Heat made in the battery.
    pub battery_heat_w: f64,
    /// The battery was empty and has no charge to speak of yet: nothing gets power.
    pub cut: bool,
    /// Energy so far.
    pub ledger: Ledger,
}

impl Power {
    /// A battery at a charge between 0 and 1.
    pub fn new(charge: f64) -> Self {
        Self {
            charge,
            voltage_v: open_voltage_v(charge),
            current_a: 0.0,
            string_a: [0.0; STRINGS],
            solar_w: 0.0,
            load_w: BASE_LOAD_W,
            battery_heat_w: 0.0,
            cut: false,
            ledger: Ledger::default(),
        }
    }

    /// One step: what the array can give, what the loads take, what the battery makes of the rest.
    pub fn step(
        &mut self,
        environment: &Environment,
        faults: &Faults,
        demand: Demand,
        temperatures_c: Temperatures,
        dt_s: f64,
    ) {
        let cell = faults.severity(FaultKind::BatteryCell, environment.at);
        let cold = (20.0 - temperatures_c.battery).max(0.0);
        let resistance = 0.11 * (1.0 + 0.03 * cold) * (1.0 + 6.0 * cell);
        let capacity = CAPACITY_C / (1.0 + 0.5 * cell);

        // Wings turn about the pitch axis, so that only the Sun's angle to that axis costs power.
        let [_, side, _] = environment.sun_orbital;
        let cosine = (1.0 - side * side).max(0.0).sqrt();
        let warm = 1.0 + EFFICIENCY_PER_K * (temperatures_c.array - 28.0);
        let string_w = SOLAR_CONSTANT_W_M2
            * environment.illumination
            * STRING_AREA_M2
            * EFFICIENCY
            * cosine
            * warm.max(0.0);
        let available: [f64; STRINGS] = std::array::from_fn(|index| {
            let lost = FaultKind::SolarString { string: index as u8 };
            string_w * (1.0 - faults.severity(lost, environment.at).min(1.0))
        });
        let available_w: f64 = available.iter().sum();

        self.load_w = BASE_LOAD_W
            + demand.heater_w
            + demand.wheels_w
            + if demand.imaging { IMAGER_LOAD_W } else { 0.0 }
            + if demand.transmitting { TRANSMITTER_LOAD_W } else { 0.0 };

        // The regulator gives the battery what is left, up to its current and voltage limits.
        let open = open_voltage_v(self.charge);
        let current = |load_w: f64| battery_current_a(available_w - load_w, open, resistance);
        let is_beyond = |current: f64| -current * dt_s / capacity > self.charge;
        self.cut =
            if self.cut { self.charge < CHARGE_AGAIN } else { is_beyond(current(self.load_w)) };
        if self.cut {
            self.load_w = 0.0;
        }
        let wanted = current(self.load_w);
        let taper = ((FULL_VOLTAGE_V - open) / resistance).max(0.0);
        self.current_a = wanted.min(MAX_CHARGE_A).min(taper);
        self.voltage_v = open + self.current_a * resistance;
        self.solar_w = self.load_w + self.current_a * self.voltage_v;
        // What isn't taken stays in the cells as heat of the array: strings share the rest evenly.
        let taken =
            if available_w > 0.0 { (self.solar_w / available_w).clamp(0.0, 1.0) } else { 0.0 };
        self.string_a = available.map(|watts| watts * taken / STRING_VOLTAGE_V);
        self.battery_heat_w = self.current_a * self.current_a * resistance;
        self.charge = (self.charge + self.current_a * dt_s / capacity).clamp(0.0, 1.0);

        self.ledger.solar_j += self.solar_w.max(0.0) * dt_s;
        self.ledger.load_j += self.load_w * dt_s;
        self.ledger.stored_j += self.current_a * open * dt_s;
        self.ledger.heat_j += self.battery_heat_w * dt_s;
    }
}

/// Temperatures that the power subsystem feels.
#[derive(Clone, Copy, Debug)]
pub struct Temperatures {
    /// The cells.
    pub battery: f64,
    /// The array.
    pub array: f64,
}

/// Voltage of two lithium-ion cells at rest over charge: steep at the ends, flat between.
fn open_voltage_v(charge: f64) -> f64 {
    let q = charge.clamp(0.0, 1.0);
    2.0 * (3.35 + 0.75 * q - 0.25 * (-18.0 * q).exp() + 0.08 * (q - 0.5).powi(3))
}

/// Current that brings a power into a source with inner resistance; discharge ends at the current
/// of the greatest power the battery can give.
fn battery_current_a(power_w: f64, open_v: f64, resistance: f64) -> f64 {
    let root = (open_v * open_v + 4.0 * resistance * power_w).max(0.0).sqrt();
    (root - open_v) / (2.0 * resistance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resting_voltage_rises_with_charge() {
        let steps: Vec<f64> =
            (0..=100).map(|step| open_voltage_v(f64::from(step) / 100.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(steps[0] > 6.0 && steps[100] < 8.3);
    }

    #[test]
    fn current_carries_the_power_asked_for() {
        for power in [-20.0, -5.0, 0.0, 12.0] {
            let current = battery_current_a(power, 7.4, 0.1);
            assert!((current * (7.4 + current * 0.1) - power).abs() < 1e-9);
        }
    }
}
