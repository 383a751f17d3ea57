//! What a spacecraft's sensors say in a world: the whole model, or packets of a stated size.

use codecs::{ids::Apid, time::Tai};
use serde::Deserialize;

use crate::{
    orbit::ElementSet,
    rng::Random,
    spacecraft::{STEPS_PER_S, Spacecraft, faults::Faults, packets::Packetizer},
};

const SECOND_NS: u64 = 1_000_000_000;
/// Housekeeping of a stated size.
const HOUSEKEEPING: Apid = Apid(150);
/// Payload of a stated size.
const PAYLOAD: Apid = Apid(160);
/// Most data in one packet; larger payloads are cut.
const DATA_BYTES_MAX: usize = 8_000;

/// What is made, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Every packet of the spacecraft model at its own rate: 28 a second, and a tile of an image
    /// every 12 s by day. Needs an orbit.
    pub sensors: bool,
    /// Bytes of a housekeeping packet, where there is no model.
    pub packet_bytes: usize,
    /// Seconds between them.
    pub every_s: f64,
    /// Bytes that a payload makes at once.
    pub payload_bytes: usize,
    /// Seconds between those; none where it is 0.
    pub payload_every_s: f64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            sensors: false,
            packet_bytes: 200,
            every_s: 10.0,
            payload_bytes: 0,
            payload_every_s: 0.0,
        }
    }
}

/// The source of one spacecraft.
pub enum Source {
    /// The spacecraft model.
    Model(Box<Spacecraft>),
    /// Packets of a stated size.
    Stated(Box<Stated>),
}

/// Packets of a stated size.
pub struct Stated {
    telemetry: Telemetry,
    packetizer: Packetizer,
    random: Random,
    values: [f64; 8],
    next_ns: [u64; 2],
}

impl Source {
    /// A source that starts at `start`.
    ///
    /// # Errors
    /// A model without an orbit, or elements that can't be flown.
    pub fn new(
        telemetry: &Telemetry,
        orbit: Option<&ElementSet>,
        (start, contacts): (Tai, Vec<(Tai, Tai)>),
        seed: u64,
    ) -> anyhow::Result<Self> {
        if telemetry.sensors {
            let orbit = orbit.ok_or_else(|| {
                anyhow::anyhow!("telemetry.sensors needs a spacecraft with an orbit")
            })?;
            let craft = Spacecraft::new(orbit.clone(), start, seed, Faults::default(), contacts)?;
            return Ok(Self::Model(Box::new(craft)));
        }
        Ok(Self::Stated(Box::new(Stated {
            telemetry: *telemetry,
            packetizer: Packetizer::default(),
            random: Random::new(seed, "telemetry"),
            values: [0.0; 8],
            next_ns: [0, 0],
        })))
    }

    /// When it wants to be asked next, nanoseconds since the start.
    pub fn due_ns(&self, now_ns: u64) -> u64 {
        match self {
            Self::Model(_) => now_ns + SECOND_NS,
            Self::Stated(stated) => stated.next_ns.into_iter().min().unwrap_or(u64::MAX),
        }
    }

    /// The packets up to now, with a clock that is `stamp`ed as the spacecraft reads it.
    ///
    /// # Errors
    /// An orbit that can't be flown on.
    pub fn take(&mut self, now_ns: u64, now: Tai, stamp: Tai) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut packets = Vec::new();
        match self {
            Self::Model(craft) => {
                for _ in 0..STEPS_PER_S {
                    if craft.now() > now {
                        break;
                    }
                    craft.step(&mut packets)?;
                }
            }
            Self::Stated(stated) => stated.take(now_ns, stamp, &mut packets),
        }
        Ok(packets)
    }
}

impl Stated {
    fn take(&mut self, now_ns: u64, stamp: Tai, packets: &mut Vec<Vec<u8>>) {
        let Telemetry { packet_bytes, every_s, payload_bytes, payload_every_s, .. } =
            self.telemetry;
        let [housekeeping, payload] = &mut self.next_ns;
        if *housekeeping <= now_ns {
            *housekeeping = now_ns + period(every_s);
            let data = slow(&mut self.random, &mut self.values, packet_bytes);
            packets.push(self.packetizer.packet(HOUSEKEEPING, stamp, &data));
        }
        if payload_every_s <= 0.0 || payload_bytes == 0 {
            *payload = u64::MAX;
        } else if *payload <= now_ns {
            *payload = now_ns + period(payload_every_s);
            let mut left = payload_bytes;
            while left > 0 {
                let length = left.min(DATA_BYTES_MAX);
                left -= length;
                let random = &mut self.random;
                // An image that is squeezed already: nothing is to be had from it.
                let data: Vec<u8> = std::iter::repeat_with(|| random.bits().to_be_bytes())
                    .flatten()
                    .take(length)
                    .collect();
                packets.push(self.packetizer.packet(PAYLOAD, stamp, &data));
            }
        }
    }
}

fn period(seconds: f64) -> u64 {
    ((seconds * 1e9) as u64).max(1_000_000)
}

/// Values that drift slowly, with noise in their last bits, as housekeeping does.
fn slow(random: &mut Random, values: &mut [f64; 8], bytes: usize) -> Vec<u8> {
    for value in values.iter_mut() {
        *value += random.normal() * 0.01;
    }
    let mut data = Vec::with_capacity(bytes);
    for at in 0..bytes.div_ceil(2) {
        let value = values.get(at % 8).copied().unwrap_or_default() * 1_000.0 + at as f64 * 10.0;
        let noise = if at % 3 == 0 { random.bits() as i16 & 3 } else { 0 };
        data.extend((value as i16 ^ noise).to_be_bytes());
    }
    data.truncate(bytes);
    data
}
