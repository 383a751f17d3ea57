//! What the spacecraft says: space packets with CUC time, laid out as the mission file tells.

use super::attitude::{Attitude, Mode};
use super::environment::Environment;
use super::imager::{BANDS, EDGE, Tile};
use super::place;
use super::power::Power;
use super::thermal::Thermal;
use super::wheels::{WHEELS, Wheels};
use super::{Subsystems, adcs_angles_deg};
use codecs::ids::Apid;
use codecs::time::Tai;
use std::collections::BTreeMap;

/// Electrical power, 1 Hz.
pub const EPS: Apid = Apid(100);
/// Temperatures, 0.5 Hz.
pub const THERMAL: Apid = Apid(101);
/// Attitude, wheels, magnetometer, 5 Hz.
pub const ADCS: Apid = Apid(102);
/// Position, 1 Hz.
pub const NAV: Apid = Apid(103);
/// Events.
pub const EVENT: Apid = Apid(110);
/// Gyro, 20 Hz.
pub const GYRO: Apid = Apid(120);
/// Imager tiles.
pub const IMAGER: Apid = Apid(300);

/// Where the values of a packet begin: behind its header and its time.
pub const VALUES: usize = 13;

const SEQUENCE_COUNTS: u16 = 1 << 14;
/// In the last byte of a tile's header: attitude and corners follow.
const HAS_PLACE: u8 = 1;

/// What the spacecraft itself notices; what is broken it doesn't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum EventCode {
    /// The software started.
    Boot = 1,
    /// The Sun went behind the earth.
    EclipseEntry = 10,
    /// The Sun came back.
    EclipseExit = 11,
    /// The battery heater went on; the value is the temperature shown.
    HeaterOn = 20,
    /// The battery heater went off.
    HeaterOff = 21,
    /// A slew began; the value is the roll it leaves.
    SlewStart = 30,
    /// A slew ended.
    SlewEnd = 31,
    /// The ground below is lit: the imager works.
    ImagingStart = 40,
    /// The ground below is dark.
    ImagingEnd = 41,
    /// The transmitter went on.
    TransmitterOn = 50,
    /// The transmitter went off.
    TransmitterOff = 51,
}

/// Writes packets and keeps the sequence count of each APID.
#[derive(Clone, Debug, Default)]
pub struct Packetizer {
    counts: BTreeMap<Apid, u16>,
}

impl Packetizer {
    /// One packet around its data (CCSDS 133.0-B-2 §4.1; secondary header: CUC 4+3, implicit
    /// P-field).
    pub fn packet(&mut self, apid: Apid, at: Tai, data: &[u8]) -> Vec<u8> {
        /// Octets of the time.
        const TIME: usize = 7;
        let count = self.counts.entry(apid).or_default();
        let mut packet = Vec::with_capacity(6 + TIME + data.len());
        packet.extend((0x0800 | apid.0).to_be_bytes());
        packet.extend((0xc000 | *count).to_be_bytes());
        packet.extend(((TIME + data.len() - 1) as u16).to_be_bytes());
        packet.extend(at.to_cuc43());
        packet.extend(data);
        *count = (*count + 1) % SEQUENCE_COUNTS;
        packet
    }

    /// Electrical power.
    pub fn eps(&mut self, at: Tai, environment: &Environment, parts: &Subsystems) -> Vec<u8> {
        let power: &Power = &parts.power;
        let mut data = Vec::with_capacity(18);
        data.extend(unsigned(power.voltage_v * 1e3));
        data.extend(signed(power.current_a * 1e3));
        data.extend(unsigned(power.charge * 1e4));
        power.string_a.iter().for_each(|current| data.extend(unsigned(current * 1e3)));
        data.extend(unsigned(power.solar_w * 100.0));
        data.extend(unsigned(power.load_w * 100.0));
        data.push(match environment.illumination {
            light if light <= 0.0 => 0,
            light if light < 1.0 => 1,
            _ => 2,
        });
        data.push(
            u8::from(parts.thermal.heater_on) << 7
                | u8::from(parts.imaging) << 6
                | u8::from(parts.transmitting) << 5,
        );
        self.packet(EPS, at, &data)
    }

    /// Temperatures of the nodes and of the wheels' bearings, hundredths of a degree.
    pub fn thermal(&mut self, at: Tai, thermal: &Thermal, wheels: &Wheels) -> Vec<u8> {
        let bearings = wheels.wheels.iter().map(|wheel| wheel.celsius);
        let all = thermal.shown_c.iter().copied().chain(bearings);
        let data: Vec<u8> = all.flat_map(|celsius| signed(celsius * 100.0)).collect();
        self.packet(THERMAL, at, &data)
    }

    /// Attitude, wheels and magnetometer.
    pub fn adcs(&mut self, at: Tai, parts: &Subsystems) -> Vec<u8> {
        let mut data = Vec::with_capacity(1 + 12 + 6 * WHEELS + 6);
        data.push((parts.attitude.mode as u8) << 4);
        for angle in adcs_angles_deg(&parts.attitude) {
            data.extend((angle as f32).to_be_bytes());
        }
        for wheel in &parts.wheels.wheels {
            data.extend(signed(wheel.speed_rad_s * 60.0 / std::f64::consts::TAU));
            data.extend(signed(wheel.current_a * 1e3));
            data.extend(unsigned(wheel.vibration_g * 1e3));
        }
        for field in parts.magnetometer.field_t {
            data.extend(signed(field * 1e8));
        }
        self.packet(ADCS, at, &data)
    }

    /// Position over the ground and speed.
    pub fn nav(&mut self, at: Tai, environment: &Environment) -> Vec<u8> {
        let ground = environment.ground;
        let mut data = Vec::with_capacity(24);
        for value in [ground.latitude_deg, ground.longitude_deg, ground.height_m] {
            data.extend((value as f32).to_be_bytes());
        }
        for velocity in environment.state.velocity_km_s {
            data.extend(((velocity * 1000.0) as f32).to_be_bytes());
        }
        self.packet(NAV, at, &data)
    }

    /// Gyro rates in degrees a second.
    pub fn gyro(&mut self, at: Tai, parts: &Subsystems) -> Vec<u8> {
        let rates = parts.gyro.rate_rad_s;
        let data: Vec<u8> =
            rates.iter().flat_map(|rate| (rate.to_degrees() as f32).to_be_bytes()).collect();
        self.packet(GYRO, at, &data)
    }

    /// An event with one value.
    pub fn event(&mut self, at: Tai, code: EventCode, value: f64) -> Vec<u8> {
        /// Nothing of what is noticed here is worse than information.
        const INFORMATION: u8 = 1;
        let mut data = Vec::with_capacity(8);
        data.extend((code as u16).to_be_bytes());
        data.extend([INFORMATION, 0]);
        data.extend((value as f32).to_be_bytes());
        self.packet(EVENT, at, &data)
    }

    /// A tile of the imager.
    pub fn tile(
        &mut self,
        at: Tai,
        id: u32,
        environment: &Environment,
        attitude: &Attitude,
        tile: &Tile,
    ) -> Vec<u8> {
        let place = place::encode(environment, attitude);
        let mut data = Vec::with_capacity(20 + place.len() + tile.pixels.len());
        data.extend(id.to_be_bytes());
        data.extend((EDGE as u16).to_be_bytes());
        data.extend((EDGE as u16).to_be_bytes());
        data.extend([BANDS as u8, 8]);
        data.extend((environment.ground.latitude_deg as f32).to_be_bytes());
        data.extend((environment.ground.longitude_deg as f32).to_be_bytes());
        data.extend([tile.cloud_percent, HAS_PLACE]);
        data.extend(place);
        data.extend(&tile.pixels);
        self.packet(IMAGER, at, &data)
    }
}

/// Whether a slew is under way.
pub(super) fn slewing(parts: &Subsystems) -> bool {
    parts.attitude.mode == Mode::Slewing
}

fn unsigned(value: f64) -> [u8; 2] {
    (value.round().clamp(0.0, f64::from(u16::MAX)) as u16).to_be_bytes()
}

fn signed(value: f64) -> [u8; 2] {
    (value.round().clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_the_header_that_the_standard_draws() {
        let mut packetizer = Packetizer::default();
        let at = Tai::from_rfc3339("2026-11-23T12:00:00.500Z").unwrap();
        let packet = packetizer.event(at, EventCode::Boot, 1.0);
        assert_eq!(packet[..6], [0x08, 110, 0xc0, 0x00, 0, 14]);
        assert_eq!(Tai::from_cuc43(packet[6..13].try_into().unwrap()), at);
        assert_eq!(packet[13..], [0, 1, 1, 0, 0x3f, 0x80, 0, 0]);
        assert_eq!(packetizer.event(at, EventCode::Boot, 1.0)[3], 1);
        assert_eq!(packetizer.nav_count(), 0);
    }

    impl Packetizer {
        fn nav_count(&self) -> u16 {
            self.counts.get(&NAV).copied().unwrap_or_default()
        }
    }

    #[test]
    fn counts_wrap_after_fourteen_bits() {
        let mut packetizer = Packetizer::default();
        packetizer.counts.insert(EVENT, SEQUENCE_COUNTS - 1);
        packetizer.event(Tai(0), EventCode::Boot, 0.0);
        assert_eq!(packetizer.counts[&EVENT], 0);
    }

    #[test]
    fn values_beyond_their_field_stop_at_its_end() {
        assert_eq!(unsigned(-3.0), [0, 0]);
        assert_eq!(unsigned(1e9), [0xff, 0xff]);
        assert_eq!(signed(-1e9), [0x80, 0]);
    }
}
