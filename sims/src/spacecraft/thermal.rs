//! Temperatures: six nodes with heat capacity, joined by conduction, radiating into space, warmed
//! by the Sun, the earth and what the boxes dissipate.

use super::environment::Environment;
use super::faults::{FaultKind, Faults};
use crate::rng::Random;

const STEFAN_BOLTZMANN: f64 = 5.670_374e-8;
const SOLAR_CONSTANT_W_M2: f64 = 1361.0;
const EARTH_INFRARED_W_M2: f64 = 237.0;
const ALBEDO: f64 = 0.3;
const KELVIN: f64 = 273.15;
/// Battery heater: on below, off above, and its power.
const HEATER_ON_C: f64 = 6.0;
const HEATER_OFF_C: f64 = 9.0;
const HEATER_W: f64 = 4.0;

/// The nodes in the order of the telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// Frame and panels of the body.
    Structure,
    /// Battery pack.
    Battery,
    /// Solar wings.
    Array,
    /// Imager.
    Payload,
    /// Computers and radio.
    Electronics,
    /// Radiator, looking to deep space.
    Radiator,
}

/// Number of nodes.
pub const NODES: usize = 6;

struct Body {
    capacity_j_k: f64,
    /// Area times emissivity towards space and earth.
    emitting_m2: f64,
    /// Area times absorptivity, towards the Sun and towards the earth's albedo.
    sun_m2: f64,
    earth_m2: f64,
}

const BODIES: [Body; NODES] = [
    Body { capacity_j_k: 5200.0, emitting_m2: 0.090, sun_m2: 0.035, earth_m2: 0.025 },
    Body { capacity_j_k: 900.0, emitting_m2: 0.002, sun_m2: 0.0, earth_m2: 0.0 },
    Body { capacity_j_k: 1100.0, emitting_m2: 0.290, sun_m2: 0.120, earth_m2: 0.100 },
    Body { capacity_j_k: 1400.0, emitting_m2: 0.012, sun_m2: 0.001, earth_m2: 0.008 },
    Body { capacity_j_k: 1600.0, emitting_m2: 0.002, sun_m2: 0.0, earth_m2: 0.0 },
    Body { capacity_j_k: 500.0, emitting_m2: 0.038, sun_m2: 0.002, earth_m2: 0.002 },
];

/// Conductances between nodes, watts a kelvin.
const LINKS: [(Node, Node, f64); 6] = [
    (Node::Structure, Node::Battery, 0.10),
    (Node::Structure, Node::Array, 0.06),
    (Node::Structure, Node::Payload, 0.15),
    (Node::Structure, Node::Electronics, 0.40),
    (Node::Electronics, Node::Radiator, 0.35),
    (Node::Payload, Node::Radiator, 0.12),
];

/// State of the thermal subsystem.
#[derive(Clone, Debug)]
pub struct Thermal {
    /// True temperatures.
    pub celsius: [f64; NODES],
    /// Battery heater.
    pub heater_on: bool,
    /// What the thermistors show.
    pub shown_c: [f64; NODES],
    random: Random,
}

/// Heat made inside the boxes, watts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dissipation {
    /// In the battery, its heater apart.
    pub battery_w: f64,
    /// In computers, radio and wheel drives.
    pub electronics_w: f64,
    /// In the imager.
    pub payload_w: f64,
    /// Power that the array turns into electricity instead of heat.
    pub array_taken_w: f64,
}

impl Thermal {
    /// Everything at 15 °C.
    pub fn new(seed: u64) -> Self {
        Self {
            celsius: [15.0; NODES],
            heater_on: false,
            shown_c: [15.0; NODES],
            random: Random::new(seed, "thermistors"),
        }
    }

    /// A node's true temperature.
    pub fn of(&self, node: Node) -> f64 {
        self.celsius[node as usize]
    }

    /// What the battery heater draws now.
    pub fn heater_w(&self) -> f64 {
        if self.heater_on { HEATER_W } else { 0.0 }
    }

    /// One step, explicit: stable far beyond the longest step used (the stiffest node follows in
    /// about four minutes).
    pub fn step(
        &mut self,
        environment: &Environment,
        faults: &Faults,
        heat: Dissipation,
        dt_s: f64,
    ) {
        let sun = SOLAR_CONSTANT_W_M2 * environment.illumination;
        let albedo =
            SOLAR_CONSTANT_W_M2 * ALBEDO * environment.ground_sun_deg.to_radians().sin().max(0.0);
        let aged = faults.severity(FaultKind::RadiatorCoating, environment.at);
        let mut watts: [f64; NODES] = std::array::from_fn(|index| {
            let body = &BODIES[index];
            let kelvin = self.celsius[index] + KELVIN;
            let aged = if index == Node::Radiator as usize { aged } else { 0.0 };
            let (takes, gives) = (1.0 + 14.0 * aged, 1.0 / (1.0 + aged));
            takes * (body.sun_m2 * sun + body.earth_m2 * (albedo + EARTH_INFRARED_W_M2))
                - gives * body.emitting_m2 * STEFAN_BOLTZMANN * kelvin.powi(4)
        });
        watts[Node::Battery as usize] += heat.battery_w + self.heater_w();
        watts[Node::Electronics as usize] += heat.electronics_w;
        watts[Node::Payload as usize] += heat.payload_w;
        watts[Node::Array as usize] -= heat.array_taken_w;
        for (a, b, conductance) in LINKS {
            let flow = conductance * (self.of(a) - self.of(b));
            watts[a as usize] -= flow;
            watts[b as usize] += flow;
        }
        for ((celsius, watts), body) in self.celsius.iter_mut().zip(watts).zip(&BODIES) {
            *celsius += watts * dt_s / body.capacity_j_k;
        }
        self.show(environment, faults);
        // The heater believes the thermistor, as the real one would.
        let battery = self.shown_c[Node::Battery as usize];
        self.heater_on = battery < if self.heater_on { HEATER_OFF_C } else { HEATER_ON_C };
        let broken = |kind| faults.severity(kind, environment.at) > 0.0;
        self.heater_on =
            (self.heater_on || broken(FaultKind::HeaterOn)) && !broken(FaultKind::HeaterOff);
    }

    fn show(&mut self, environment: &Environment, faults: &Faults) {
        let stuck = faults.severity(FaultKind::StuckThermistor, environment.at) > 0.0;
        for (index, (shown, celsius)) in self.shown_c.iter_mut().zip(self.celsius).enumerate() {
            let noise = 0.05 * self.random.normal();
            if !(stuck && index == Node::Battery as usize) {
                *shown = celsius + noise;
            }
        }
    }
}
