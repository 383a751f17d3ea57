//! The spacecraft: one struct a subsystem, each with a `step`, and the packets they make.
//!
//! ```text
//! environment ─► power ◄─► thermal      faults (labels apart) ─► truth
//!       └─► attitude ◄─► wheels ─► sensors ─► packets ─► recorder
//!       └─► imager ───────────────────────────┘└─► payload (pictures as files)
//! ```
//!
//! To extend it, add a subsystem to [`Subsystems`], step it in [`Spacecraft::step`], and give its
//! values a packet here and in the mission file.

pub mod environment;
pub mod faults;
pub mod power;
pub mod thermal;
pub mod attitude;
pub mod wheels;
pub mod sensors;
pub mod imager;
pub mod place;
pub mod packets;
pub mod payload;
pub mod recorder;
pub mod truth;

use crate::orbit::elements::{ElementSet, ElementsError};
use crate::rng::Random;
use attitude::Attitude;
use codecs::time::Tai;
use environment::Environment;
use faults::{FaultKind, Faults};
use packets::{EventCode, Packetizer};
use power::{Demand, Power, Temperatures};
use recorder::Recorder;
use sensors::{Gyro, Magnetometer};
use thermal::{Dissipation, Node, Thermal};
use wheels::Wheels;

/// Steps a second; the fastest packet goes out with each.
pub const STEPS_PER_S: u64 = 20;
const STEP_NS: i64 = 1_000_000_000 / STEPS_PER_S as i64;
/// Seconds between tiles while the ground is lit.
const TILE_PERIOD_S: u64 = 12;
/// How long the imager draws power for a tile.
const EXPOSURE_S: u64 = 2;
/// Orbits flown before the start, so that temperatures and charge are those of a life in orbit.
const SETTLING_S: i64 = 2 * 5_740;

/// Every part that has a state.
#[derive(Clone, Debug)]
pub struct Subsystems {
    /// Array, battery, loads.
    pub power: Power,
    /// Temperatures and heater.
    pub thermal: Thermal,
    /// Where the body points.
    pub attitude: Attitude,
    /// Reaction wheels.
    pub wheels: Wheels,
    /// Angular rate sensor.
    pub gyro: Gyro,
    /// Field sensor.
    pub magnetometer: Magnetometer,
    /// The imager is taking a tile.
    pub imaging: bool,
    /// The battery is low: the payload rests.
    pub resting: bool,
    /// The transmitter is on.
    pub transmitting: bool,
}

/// The spacecraft in flight.
pub struct Spacecraft {
    orbit: ElementSet,
    seed: u64,
    faults: Faults,
    /// When the transmitter is on: the contacts it knows of.
    contacts: Vec<(Tai, Tai)>,
    parts: Subsystems,
    packetizer: Packetizer,
    noticed: Noticed,
    now: Tai,
    steps: u64,
    next_tile: u32,
    cloudy: Vec<bool>,
    upsets: Random,
    recorder: Option<Recorder>,
}

/// What the last step saw: an event is a difference to it.
#[derive(Clone, Copy, Default, PartialEq)]
struct Noticed {
    dark: bool,
    heater: bool,
    slewing: bool,
    lit_ground: bool,
    transmitting: bool,
}

impl Spacecraft {
    /// A spacecraft that has been in orbit for a while when it starts.
    pub fn new(
        orbit: ElementSet,
        start: Tai,
        seed: u64,
        faults: Faults,
        contacts: Vec<(Tai, Tai)>,
    ) -> Result<Self, ElementsError> {
        let parts = Subsystems {
            power: Power::new(0.85),
            thermal: Thermal::new(seed),
            attitude: Attitude::default(),
            wheels: Wheels::new(seed),
            gyro: Gyro::new(seed),
            magnetometer: Magnetometer::new(seed),
            imaging: false,
            resting: false,
            transmitting: false,
        };
        let mut craft = Self {
            orbit,
            seed,
            faults,
            contacts,
            parts,
            packetizer: Packetizer::default(),
            noticed: Noticed::default(),
            now: start,
            steps: 0,
            next_tile: 0,
            cloudy: Vec::new(),
            upsets: Random::new(seed, "upsets"),
            recorder: None,
        };
        craft.settle(start)?;
        Ok(craft)
    }

    /// Lets charge and temperatures find their cycle, in steps of a second without attitude.
    fn settle(&mut self, start: Tai) -> Result<(), ElementsError> {
        for second in -SETTLING_S..0 {
            let environment = Environment::at(&self.orbit, start.plus(second * 1_000_000_000))?;
            step_energy(&mut self.parts, &environment, &self.faults, 1.0);
        }
        let electronics = self.parts.thermal.of(Node::Electronics);
        self.parts.wheels.wheels.iter_mut().for_each(|wheel| wheel.celsius = electronics + 3.0);
        let environment = Environment::at(&self.orbit, start)?;
        self.noticed = self.notice(&environment);
        Ok(())
    }

    /// The instant that the next step is for.
    pub fn now(&self) -> Tai {
        self.now
    }

    /// The subsystems as they are.
    pub fn parts(&self) -> &Subsystems {
        &self.parts
    }

    /// The same with a recorder of a bounded size: the imager rests while it is full.
    pub fn with_recorder(mut self, recorder: Recorder) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// The recorder, for whoever stores more exactly than it does.
    pub fn recorder(&mut self) -> Option<&mut Recorder> {
        self.recorder.as_mut()
    }

    /// The payload's duty: it rests while the battery is low, until that has charge again, and
    /// while the recorder is full.
    fn payload_allowed(&mut self) -> bool {
        /// Charge below which the payload rests, and from which it works again.
        const CHARGE: [f64; 2] = [0.25, 0.4];
        let charge = self.parts.power.charge;
        self.parts.resting = charge < if self.parts.resting { CHARGE[1] } else { CHARGE[0] };
        !self.parts.resting && !self.recorder.as_ref().is_some_and(Recorder::is_full)
    }

    /// Which pixels of the latest tile cloud truly hides: for scoring only, no packet tells it.
    pub fn cloudy(&self) -> &[bool] {
        &self.cloudy
    }

    /// One step of 50 ms; the packets of its instant are appended.
    pub fn step(&mut self, packets: &mut Vec<Vec<u8>>) -> Result<(), ElementsError> {
        /// The step in seconds.
        const DT_S: f64 = 1.0 / STEPS_PER_S as f64;
        let before = packets.len();
        let environment = Environment::at(&self.orbit, self.now)?;
        let (second, first) = (self.steps / STEPS_PER_S, self.steps.is_multiple_of(STEPS_PER_S));
        let lit = environment.ground_sun_deg > 0.0;
        let was_cut = self.parts.power.cut;
        let allowed = self.payload_allowed() && !was_cut;
        self.parts.imaging = lit && allowed && second % TILE_PERIOD_S < EXPOSURE_S;
        let contacts = &self.contacts;
        self.parts.transmitting =
            !was_cut && contacts.iter().any(|(rise, set)| (*rise..=*set).contains(&self.now));

        if was_cut {
            // Nobody holds the body any more.
            let disturbance = self.parts.attitude.disturbance_nm(&environment);
            self.parts.attitude.step(disturbance, DT_S);
        } else {
            step_pointing(&mut self.parts, &environment, &self.faults, DT_S);
        }
        step_energy(&mut self.parts, &environment, &self.faults, DT_S);

        if self.parts.power.cut {
            // Without power nothing is measured, stored or sent.
            self.steps += 1;
            self.now = self.now.plus(STEP_NS);
            return Ok(());
        }
        if self.steps == 0 || was_cut {
            packets.push(self.packetizer.event(self.now, EventCode::Boot, 0.0));
            self.noticed = self.notice(&environment);
        }
        self.tell_events(&environment, packets);
        packets.push(self.packetizer.gyro(self.now, &self.parts));
        if self.steps.is_multiple_of(STEPS_PER_S / 5) {
            packets.push(self.packetizer.adcs(self.now, &self.parts));
        }
        if first {
            let mut eps = self.packetizer.eps(self.now, &environment, &self.parts);
            self.upset(&mut eps);
            packets.push(eps);
            packets.push(self.packetizer.nav(self.now, &environment));
            if second.is_multiple_of(2) {
                let (thermal, wheels) = (&self.parts.thermal, &self.parts.wheels);
                packets.push(self.packetizer.thermal(self.now, thermal, wheels));
            }
            if lit && allowed && second.is_multiple_of(TILE_PERIOD_S) {
                packets.push(self.tile(&environment));
            }
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.step(
                packets.iter().skip(before).map(Vec::len).sum(),
                self.parts.transmitting,
                DT_S,
            );
        }
        self.steps += 1;
        self.now = self.now.plus(STEP_NS);
        Ok(())
    }

    /// Radiation turns a bit of a packet's values over, now and then.
    fn upset(&mut self, packet: &mut [u8]) {
        let often = 0.1 * self.faults.severity(FaultKind::Upsets, self.now);
        // Draws only where the fault is there, so that it changes nothing else.
        if often > 0.0 && self.upsets.chance(often) {
            let values = &mut packet[packets::VALUES..];
            let bit = self.upsets.bits() as usize % (8 * values.len());
            values[bit / 8] ^= 0x80 >> (bit % 8);
        }
    }

    fn tile(&mut self, environment: &Environment) -> Vec<u8> {
        let ground = environment.ground;
        let unix_s = self.now.to_unix_nanos().div_euclid(1_000_000_000);
        let tile = imager::render(self.seed, ground.latitude_deg, ground.longitude_deg, unix_s);
        let packet = self.packetizer.tile(
            self.now,
            self.next_tile,
            environment,
            &self.parts.attitude,
            &tile,
        );
        self.next_tile += 1;
        self.cloudy = tile.cloudy;
        packet
    }

    fn notice(&self, environment: &Environment) -> Noticed {
        Noticed {
            dark: environment.illumination <= 0.0,
            heater: self.parts.thermal.heater_on,
            slewing: packets::slewing(&self.parts),
            lit_ground: environment.ground_sun_deg > 0.0,
            transmitting: self.parts.transmitting,
        }
    }

    fn tell_events(&mut self, environment: &Environment, packets: &mut Vec<Vec<u8>>) {
        let (before, now) = (self.noticed, self.notice(environment));
        let battery_c = self.parts.thermal.shown_c[Node::Battery as usize];
        let roll_deg = self.parts.attitude.angles_rad[0].to_degrees();
        let changes = [
            (before.dark, now.dark, EventCode::EclipseEntry, EventCode::EclipseExit, 0.0),
            (before.heater, now.heater, EventCode::HeaterOn, EventCode::HeaterOff, battery_c),
            (before.slewing, now.slewing, EventCode::SlewStart, EventCode::SlewEnd, roll_deg),
            (
                before.lit_ground,
                now.lit_ground,
                EventCode::ImagingStart,
                EventCode::ImagingEnd,
                environment.ground_sun_deg,
            ),
            (
                before.transmitting,
                now.transmitting,
                EventCode::TransmitterOn,
                EventCode::TransmitterOff,
                0.0,
            ),
        ];
        for (was, is, begun, ended, value) in changes {
            if was != is {
                let code = if is { begun } else { ended };
                packets.push(self.packetizer.event(self.now, code, value));
            }
        }
        self.noticed = now;
    }
}

/// Roll, pitch and yaw in degrees.
pub(crate) fn adcs_angles_deg(attitude: &Attitude) -> [f64; 3] {
    attitude.angles_rad.map(f64::to_degrees)
}

/// Attitude, wheels and the sensors that feel them.
fn step_pointing(parts: &mut Subsystems, environment: &Environment, faults: &Faults, dt_s: f64) {
    use crate::orbit::vector::{add, scale, sub};
    let field = parts.attitude.to_body(environment.field_orbital_t);
    let rods = 1.0 - faults.severity(FaultKind::Rods, environment.at).min(1.0);
    let unloading = scale(parts.wheels.unloading_nm(field), rods);
    // The wheels take over what the rods put in, so that unloading doesn't turn the body.
    let wanted = sub(parts.attitude.control(environment.at, dt_s), unloading);
    let surroundings_c = parts.thermal.of(Node::Electronics);
    let exerted = parts.wheels.step(wanted, faults, environment.at, surroundings_c, dt_s);
    let disturbance = parts.attitude.disturbance_nm(environment);
    parts.attitude.step(add(add(exerted, unloading), disturbance), dt_s);
    parts.gyro.step(&parts.attitude, environment, faults, parts.wheels.vibration_g());
    parts.magnetometer.step(&parts.attitude, environment, faults);
}

/// Power and temperatures, which drive one another.
fn step_energy(parts: &mut Subsystems, environment: &Environment, faults: &Faults, dt_s: f64) {
    /// Share of the loads that ends as heat in the electronics; the rest leaves by radio or is
    /// heat elsewhere.
    const ELECTRONICS_SHARE: f64 = 0.65;
    if parts.power.cut {
        parts.thermal.heater_on = false;
    }
    let demand = Demand {
        heater_w: parts.thermal.heater_w(),
        wheels_w: parts.wheels.power_w(),
        imaging: parts.imaging,
        transmitting: parts.transmitting,
    };
    let temperatures_c = Temperatures {
        battery: parts.thermal.of(Node::Battery),
        array: parts.thermal.of(Node::Array),
    };
    parts.power.step(environment, faults, demand, temperatures_c, dt_s);
    let heat = Dissipation {
        battery_w: parts.power.battery_heat_w,
        electronics_w: (parts.power.load_w - demand.heater_w) * ELECTRONICS_SHARE,
        payload_w: if parts.imaging { 5.0 } else { 0.5 },
        array_taken_w: parts.power.solar_w.max(0.0),
    };
    parts.thermal.step(environment, faults, heat, dt_s);
}
