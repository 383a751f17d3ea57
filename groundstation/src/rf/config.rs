//! What the station file says of a spacecraft's radio, checked.

use crate::{admit::Table, door::spec::Destination};
use codecs::{
    frame::cltu::CltuCoding,
    ids::{Apid, Origin, SpacecraftId},
    link::rf::{PARTS_APID, SIGNED_APID},
    packet::space::IDLE_APID,
};
use serde::Deserialize;
use std::{collections::BTreeSet, fmt};

/// Radios of a station: each may hold as many parts as a rebuilder holds.
pub const RADIOS_MAX: usize = 64;

/// A `[[rf]]` of the station file: a spacecraft whose units are taken out of its frames.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RfConfig {
    /// Which spacecraft, by number.
    pub spacecraft: u16,
    /// Its store, 32 hexadecimal digits, where more than one is enrolled for it.
    pub origin: Option<String>,
    /// Application whose packets carry parts of units, 0 to 2046.
    #[serde(default = "parts_apid")]
    pub parts_apid: u16,
    /// Bits a second that its uplink carries; 0: nothing is said.
    #[serde(default)]
    pub uplink_bps: u64,
    /// Who radiates what is said: a modem, `udp:HOST:PORT`, a unit a datagram, or `tcp:HOST:PORT`,
    /// or an edge that has one, `edge:NAME`.
    pub to: Option<String>,
    /// Spacecraft identifier in TC frames, 0 to 1023.
    pub scid: Option<u16>,
    /// Virtual channel of TC frames, 0 to 63.
    #[serde(default)]
    pub vc: u8,
    /// Access point, 0 to 63, where frames have segment headers.
    pub map: Option<u8>,
    /// `cltu:bch`, `cltu:bch,randomized`, `cltu:ldpc128` or `cltu:ldpc512`.
    #[serde(default = "coding")]
    pub coding: String,
    /// Application whose packets carry what is said, 0 to 2046.
    #[serde(default = "signed_apid")]
    pub signed_apid: u16,
    /// Seconds between two sayings of the same.
    #[serde(default = "repeat_s")]
    pub repeat_s: u64,
    /// Seconds between two sayings of the time; 0: it is not said.
    #[serde(default = "time_s")]
    pub time_s: u64,
}

const fn parts_apid() -> u16 {
    PARTS_APID.0
}

const fn signed_apid() -> u16 {
    SIGNED_APID.0
}

fn coding() -> String {
    "cltu:bch".into()
}

const fn repeat_s() -> u64 {
    60
}

const fn time_s() -> u64 {
    60
}

/// Most seconds between two sayings.
const PAUSE_S_MAX: u64 = 86_400;
/// Most bits a second of an uplink.
const UPLINK_BPS_MAX: u64 = 1_000_000_000;

/// The same, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Radio {
    /// Which spacecraft.
    pub spacecraft: SpacecraftId,
    /// Its store, where that is stated.
    pub origin: Option<Origin>,
    /// Application whose packets carry parts.
    pub parts_apid: Apid,
    /// The way up, where there is one.
    pub up: Option<Up>,
}

/// A way up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// Bits a second, not 0.
    pub rate_bps: u64,
    /// Who radiates it.
    pub to: To,
    /// What stands around packets.
    pub framing: Framing,
    /// Application of the packets.
    pub apid: Apid,
    /// Time between two sayings of the same, ns.
    pub repeat_ns: u64,
    /// Time between two sayings of the time, ns; 0: it is not said.
    pub time_ns: u64,
}

/// Who radiates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// A modem that the station reaches itself.
    Modem(Modem),
    /// The edge of this name, with the modem that it reaches.
    Edge(String),
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Modem(modem) => modem.fmt(f),
            Self::Edge(name) => write!(f, "edge:{name}"),
        }
    }
}

/// Where units for the air go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Modem {
    /// A datagram each, to a host and port.
    Udp(String),
    /// A stream to a host and port.
    Tcp(String),
}

impl fmt::Display for Modem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(host) => write!(f, "udp:{host}"),
            Self::Tcp(host) => write!(f, "tcp:{host}"),
        }
    }
}

/// TC frames and their coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Spacecraft identifier.
    pub scid: u16,
    /// Virtual channel.
    pub vc: u8,
    /// Access point, where frames have segment headers.
    pub map: Option<u8>,
    /// Coding.
    pub coding: CltuCoding,
}

/// Key of the station file, and what is wrong with its value.
type Wrong = (String, String);

impl RfConfig {
    /// Reads it.
    pub fn check(&self) -> Result<Radio, Wrong> {
        let wrong = |field: &str, message: &str| {
            Err((format!("rf of spacecraft {}: {field}", self.spacecraft), message.to_string()))
        };
        if self.parts_apid >= IDLE_APID.0 {
            return wrong("parts_apid", "must be from 0 to 2046");
        }
        let up = self.up()?;
        let origin = self.origin.as_deref().map(Origin::from_hex);
        if origin == Some(None) {
            return wrong("origin", "must be 32 hexadecimal digits");
        }
        Ok(Radio {
            spacecraft: SpacecraftId(self.spacecraft),
            origin: origin.flatten(),
            parts_apid: Apid(self.parts_apid),
            up,
        })
    }

    /// Reads the way up; checked even where its rate is 0, which is how it is switched off.
    fn up(&self) -> Result<Option<Up>, Wrong> {
        let wrong = |field: &str, message: &str| {
            Err((format!("rf of spacecraft {}: {field}", self.spacecraft), message.to_string()))
        };
        let to = match self.to.as_deref().map(to) {
            Some(None) => return wrong("to", "must be udp:HOST:PORT, tcp:HOST:PORT or edge:NAME"),
            None if self.uplink_bps > 0 => {
                return wrong(
                    "to",
                    "missing; uplink_bps needs a modem, such as udp:127.0.0.1:5001",
                );
            }
            stated => stated.flatten(),
        };
        if self.scid.is_none() && self.uplink_bps > 0 {
            return wrong("scid", "missing; the spacecraft identifier of its TC frames");
        }
        let scid = self.scid.unwrap_or(0);
        if scid > 0x3FF {
            return wrong("scid", "must be from 0 to 1023");
        }
        if self.vc > 0x3F {
            return wrong("vc", "must be from 0 to 63");
        }
        if self.map.is_some_and(|map| map > 0x3F) {
            return wrong("map", "must be from 0 to 63");
        }
        let coding = match self.coding.parse() {
            Ok(coding) => coding,
            Err(error) => return wrong("coding", &format!("{error}")),
        };
        if self.signed_apid >= IDLE_APID.0 {
            return wrong("signed_apid", "must be from 0 to 2046");
        }
        if self.uplink_bps > UPLINK_BPS_MAX {
            return wrong("uplink_bps", "must be at most 1000000000");
        }
        if !(1..=PAUSE_S_MAX).contains(&self.repeat_s) {
            return wrong("repeat_s", "must be from 1 to 86400");
        }
        if self.time_s > PAUSE_S_MAX {
            return wrong("time_s", "must be at most 86400");
        }
        let Some(to) = to.filter(|_| self.uplink_bps > 0) else { return Ok(None) };
        Ok(Some(Up {
            rate_bps: self.uplink_bps,
            to,
            framing: Framing { scid, vc: self.vc, map: self.map, coding },
            apid: Apid(self.signed_apid),
            repeat_ns: self.repeat_s * 1_000_000_000,
            time_ns: self.time_s * 1_000_000_000,
        }))
    }
}

fn to(text: &str) -> Option<To> {
    match text.strip_prefix("edge:") {
        Some(name) => (!name.is_empty()).then(|| To::Edge(name.into())),
        None => modem(text).map(To::Modem),
    }
}

/// A modem's place, in the words that doors use.
pub fn modem(text: &str) -> Option<Modem> {
    match text.replacen("tcp:", "tcp-client:", 1).parse() {
        Ok(Destination::Udp(host)) => Some(Modem::Udp(host)),
        Ok(Destination::TcpClient(host)) => Some(Modem::Tcp(host)),
        _ => None,
    }
}

/// Reads all of them, and holds them against the table: whose radio it is must be known.
pub fn check_all(radios: &[RfConfig], table: &Table) -> Result<(), Wrong> {
    if radios.len() > RADIOS_MAX {
        return Err(("rf".into(), format!("{} of them; at most {RADIOS_MAX}", radios.len())));
    }
    let mut seen = BTreeSet::new();
    for radio in radios {
        let checked = radio.check()?;
        if let Err(error) = table.store_of(checked.spacecraft, checked.origin) {
            let key = format!("rf of spacecraft {}: origin", radio.spacecraft);
            return Err((key, error.to_string()));
        }
        if let Some(Up { to: To::Edge(name), .. }) = &checked.up
            && table.carrier(name, checked.spacecraft).is_none()
        {
            let key = format!("rf of spacecraft {}: to", radio.spacecraft);
            let why = format!(
                "no [[principal]] {name} may carry for it; `groundstation enroll edge {name}` makes one"
            );
            return Err((key, why));
        }
        if !seen.insert(radio.spacecraft) {
            let key = format!("rf of spacecraft {}", radio.spacecraft);
            return Err((key, "stands twice; one section a spacecraft".into()));
        }
    }
    Ok(())
}
