//! The edge's file: one TOML that says what to hear, where to keep it, and whom to send it to.

mod place;

pub use place::Place;

use place::place;

use super::{
    intake::{Envelope, Intake},
    label::Assumed,
    radiate::UplinkConfig,
    recorded::{Begun, Recorded},
};
use crate::{
    admit::KeyHash,
    rf::config::{Modem, modem},
};
use codecs::{
    config::{ConfigError, host_port, parse},
    frame::{
        Format, Kind,
        cadu::{Coding, Symbols},
    },
    ids::{Origin, SpacecraftId},
    link::{congestion::Series, custody::Durability, profile::Profile},
    mission::{Definition, definition::FrameKind},
    sync::marker::Marker,
};
use codecs_quic::{MTU_DEFAULT, MTU_MAX, MTU_MIN};
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Least length of a segment: several of the largest units.
const SEGMENT_BYTES_MIN: u64 = 4 << 20;

/// The edge's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeConfig {
    /// The mission definition: which frames are whose.
    pub mission: PathBuf,
    /// The mission's number of the antenna, where an input says no other.
    #[serde(default)]
    pub antenna: u16,
    /// Where units go.
    pub station: Station,
    /// Certificate, key, pins and the spool's name.
    pub identity: Identity,
    /// Where units are kept until the station has them.
    #[serde(default)]
    pub spool: SpoolConfig,
    /// What is told of its state.
    #[serde(default)]
    pub status: StatusConfig,
    /// Simulated time, for demonstrations.
    #[serde(default)]
    pub clock: crate::config::Clock,
    /// What is heard.
    #[serde(default, rename = "input")]
    pub inputs: Vec<InputConfig>,
    /// What radiates.
    pub uplink: Option<UplinkConfig>,
    /// The folder of the file: what its paths are relative to.
    #[serde(skip)]
    pub base: PathBuf,
}

/// Where units go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Station {
    /// Host and port, UDP.
    pub address: String,
    /// Name sent in the handshake; the pin decides.
    #[serde(default = "server_name")]
    pub server_name: String,
    /// Transport profile: leo, geo, lunar, deep.
    #[serde(default = "profile")]
    pub profile: String,
    /// Largest UDP payload to search for, 1200 to 6550 bytes; the station must allow it too.
    #[serde(default = "mtu_max")]
    pub mtu_max: u16,
    /// Rate of the way there, bit/s, where nobody else uses it: noise on it is then no sign of too
    /// much. 0, or absent: it is shared.
    #[serde(default)]
    pub rate_bps: u64,
    /// Its round trip without a queue, ms; 0, or absent: measured.
    #[serde(default)]
    pub rtt_ms: f64,
}

impl Station {
    /// What is known of the way there.
    pub fn leg(&self) -> Series {
        match self.rate_bps {
            0 => Series::default(),
            rate => Series::constant(rate, (self.rtt_ms * 1e6) as u64),
        }
    }
}

fn server_name() -> String {
    "station".into()
}

fn profile() -> String {
    "leo".into()
}

const fn mtu_max() -> u16 {
    MTU_DEFAULT
}

/// Who the edge is; paths are relative to the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// `sha256:` and the digest of each SubjectPublicKeyInfo that may be the station's.
    pub station_pins: Vec<String>,
    /// Name of its spool, 32 hexadecimal digits.
    pub origin: String,
}

/// Where units are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolConfig {
    /// A folder of its own.
    pub dir: PathBuf,
    /// Most bytes on the disk.
    pub spool_bytes: u64,
    /// Length at which a segment is closed.
    pub segment_bytes: u64,
    /// How long a unit may wait for others before it is synced.
    pub commit_ms: u64,
    /// Class of a receipt from which a unit may be erased: `local` or `object-store`; what the
    /// mission says where it is absent.
    pub reclaim: Option<String>,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            dir: "spool".into(),
            spool_bytes: 2 << 30,
            segment_bytes: 16 << 20,
            commit_ms: 20,
            reclaim: None,
        }
    }
}

/// What is told of its state.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusConfig {
    /// Seconds between status lines; 0 for none.
    pub interval_s: u64,
    /// JSON file to keep with it, replaced whole.
    pub file: Option<PathBuf>,
    /// TCP address for /status (JSON) and /metrics.
    pub http: Option<SocketAddr>,
}

impl Default for StatusConfig {
    fn default() -> Self {
        Self { interval_s: 10, file: None, http: None }
    }
}

/// What an input carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Carries {
    /// Marked, coded units as a stream.
    Cadus,
    /// Frames without marker or code.
    #[default]
    Frames,
    /// Space packets.
    Packets,
    /// AX.25 frames.
    Ax25,
}

/// One input as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputConfig {
    /// Name in status and logs; `from` where there is none.
    pub name: Option<String>,
    /// udp:ADDRESS, tcp:HOST:PORT, tcp-listen:ADDRESS, kiss:HOST:PORT, kiss-listen:ADDRESS,
    /// file:PATH or - for standard input.
    pub from: String,
    /// What it carries.
    pub carries: Carries,
    /// Kind and length of frames: aos:LENGTH, tm:LENGTH, uslp:LENGTH or uslp.
    pub frame: Option<String>,
    /// What was done to the frames, as `groundstation inspect --coding` takes it.
    pub coding: Option<String>,
    /// Marker before each unit, in hexadecimal; the code's own where absent.
    pub asm: Option<String>,
    /// How symbols lie in bytes: packed, bits or soft.
    pub symbols: Option<String>,
    /// Whose receptions are that don't say so believably; the mission's only spacecraft where
    /// absent.
    pub spacecraft: Option<u16>,
    /// Stream number of packets and AX.25 frames.
    pub stream: u32,
    /// When the first bit of a recording came, RFC 3339, or `file`: as long before the file was
    /// last written as all of it took. The time of reading where absent.
    pub received: Option<String>,
    /// Bit/s at which a recording came.
    pub rate: Option<String>,
    /// The mission's number of the antenna.
    pub antenna: Option<u16>,
    /// Higher goes first and is given up last.
    pub priority: Option<u8>,
}

/// Priority of an input that says none.
const PRIORITY: u8 = 128;

/// What is in the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrying {
    /// Marked, coded units.
    Cadus {
        /// The frames in them.
        format: Format,
        /// What was done to the frames.
        coding: Coding,
        /// What stands before each unit.
        marker: Marker,
        /// How symbols lie in bytes.
        symbols: Symbols,
    },
    /// Bare frames.
    Frames(Format),
    /// Space packets.
    Packets,
    /// AX.25 frames.
    Ax25,
}

/// As options say it, defaults written out.
impl fmt::Display for Carrying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cadus { format, coding, marker, symbols } => {
                write!(f, "cadus {format} {coding} {marker} {symbols}")
            }
            Self::Frames(format) => write!(f, "frames {format}"),
            Self::Packets => f.write_str("packets"),
            Self::Ax25 => f.write_str("ax25"),
        }
    }
}

/// One input, understood.
#[derive(Clone, Debug)]
pub struct Input {
    /// Name in status and logs.
    pub name: String,
    /// Where its bytes come from.
    pub place: Place,
    /// How units are delimited.
    pub envelope: Envelope,
    /// What is in them.
    pub carrying: Carrying,
    /// What is assumed where they don't say.
    pub assumed: Assumed,
    /// When a recording was heard, where that is said.
    pub recorded: Option<Recorded>,
    /// The mission's number of the antenna.
    pub antenna: u16,
    /// Higher goes first.
    pub priority: u8,
}

impl EdgeConfig {
    /// Reads a file's text; `base` is its folder.
    pub fn parse(file: &str, text: &str, base: &Path) -> Result<Self, ConfigError> {
        let config: Self = parse(file, text)?;
        Ok(Self { base: base.into(), ..config })
    }

    /// A path of the file, which may be relative to it.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// What is wrong with its values, in one sentence that begins with the key.
    pub fn check(&self) -> Result<(), String> {
        self.profile()?;
        self.origin()?;
        self.pins()?;
        self.reclaim(Durability::Local)?;
        let address = &self.station.address;
        host_port(address).map_err(|wrong| format!("station.address = {address:?}: {wrong}"))?;
        let mtu = self.station.mtu_max;
        if !(MTU_MIN..=MTU_MAX).contains(&mtu) {
            return Err(format!("station.mtu_max = {mtu}: {MTU_MIN} to {MTU_MAX} bytes"));
        }
        let SpoolConfig { spool_bytes, segment_bytes, commit_ms, .. } = self.spool;
        if segment_bytes < SEGMENT_BYTES_MIN {
            return Err(format!("spool.segment_bytes = {segment_bytes}: at least 4194304"));
        }
        let least = codecs_store::SEGMENTS_MIN;
        if spool_bytes / segment_bytes < least {
            return Err(format!(
                "spool.spool_bytes = {spool_bytes}: at least {least} segments of {segment_bytes}"
            ));
        }
        if commit_ms > 1_000 {
            return Err(format!("spool.commit_ms = {commit_ms}: at most 1000"));
        }
        if self.status.http.is_some_and(|address| !address.ip().is_loopback()) {
            return Err("status.http: a loopback address; it tells and takes no password".into());
        }
        Ok(())
    }

    /// The transport profile.
    pub fn profile(&self) -> Result<Profile, String> {
        let name = &self.station.profile;
        Profile::named(name).ok_or_else(|| {
            let known: Vec<_> = Profile::ALL.iter().map(|profile| profile.name).collect();
            format!("station.profile = {name:?}: one of {}", known.join(", "))
        })
    }

    /// The modem that radiates, where there is one, and its rate.
    pub fn uplink(&self) -> Result<Option<(Modem, u64)>, String> {
        let Some(UplinkConfig { to, rate_bps }) = &self.uplink else { return Ok(None) };
        let modem = modem(to)
            .ok_or_else(|| format!("uplink.to = {to:?}: udp:HOST:PORT or tcp:HOST:PORT"))?;
        Ok(Some((modem, *rate_bps)))
    }

    /// Name of the spool.
    pub fn origin(&self) -> Result<Origin, String> {
        let text = &self.identity.origin;
        Origin::from_hex(text)
            .ok_or_else(|| format!("identity.origin = {text:?}: 32 hexadecimal digits"))
    }

    /// Digests of the keys that may be the station's.
    pub fn pins(&self) -> Result<Vec<[u8; 32]>, String> {
        if self.identity.station_pins.is_empty() {
            return Err("identity.station_pins: at least one, or no station is trusted".into());
        }
        let read = |text: &String| {
            KeyHash::from_text(text).map(|hash| hash.0).ok_or_else(|| {
                format!("identity.station_pins {text:?}: \"sha256:\" and 64 hexadecimal digits")
            })
        };
        self.identity.station_pins.iter().map(read).collect()
    }

    /// Class of a receipt from which a unit may be erased; `mission` is what the mission says.
    pub fn reclaim(&self, mission: Durability) -> Result<Durability, String> {
        let Some(name) = &self.spool.reclaim else { return Ok(mission) };
        Durability::named(name)
            .ok_or_else(|| format!("spool.reclaim = {name:?}: \"local\" or \"object-store\""))
    }

    /// Bounds of the spool. What is given up goes a segment at a time: finding the oldest looks at
    /// every unit, and that is no work for each commit.
    pub fn limits(&self, reclaim: Durability) -> codecs_store::Limits {
        let SpoolConfig { spool_bytes, segment_bytes, .. } = self.spool;
        codecs_store::Limits {
            capacity_bytes: spool_bytes,
            segment_bytes,
            least_class: reclaim as u8,
            evict_bytes: segment_bytes,
            evict_on_full: false,
        }
    }

    /// The inputs, understood; an error names the input and the key. Without any an edge brings its
    /// spool to the station.
    pub fn inputs(&self, mission: &Definition) -> Result<Vec<Input>, String> {
        let understood = |input: &InputConfig| {
            let name = input.name.clone().unwrap_or_else(|| input.from.clone());
            self.input(input, mission, &name).map_err(|error| format!("input {name}: {error}"))
        };
        let inputs: Vec<Input> = self.inputs.iter().map(understood).collect::<Result<_, _>>()?;
        for (at, input) in inputs.iter().enumerate() {
            if inputs[..at].iter().any(|other| other.name == input.name) {
                return Err(format!(
                    "input {}: named twice; give it a name of its own",
                    input.name
                ));
            }
        }
        Ok(inputs)
    }

    fn input(
        &self,
        input: &InputConfig,
        mission: &Definition,
        name: &str,
    ) -> Result<Input, String> {
        let (place, kiss) = place(&input.from, &self.base)?;
        let carrying = carrying(input)?;
        let envelope = match (&place, kiss, &carrying) {
            (_, true, Carrying::Cadus { .. }) => {
                return Err("carries: KISS carries frames, packets or ax25, not cadus".into());
            }
            (_, true, _) => Envelope::Kiss,
            (Place::Udp(_), false, Carrying::Cadus { .. }) => Envelope::Stream,
            (Place::Udp(_), false, _) => Envelope::Datagrams,
            (_, false, Carrying::Ax25) => {
                return Err("carries: ax25 frames have no length of their own: take them from \
                            kiss:, kiss-listen: or udp:"
                    .into());
            }
            (_, false, _) => Envelope::Stream,
        };
        if let Carrying::Cadus { format, .. } | Carrying::Frames(format) = &carrying {
            length_known(format, mission)?;
        }
        Intake::new(&carrying, envelope).map_err(|error| format!("frame, coding: {error}"))?;
        let known = |id: u16| mission.spacecraft.iter().any(|craft| craft.id.0 == id);
        let spacecraft = match (input.spacecraft, &mission.spacecraft[..]) {
            (Some(id), _) if known(id) => SpacecraftId(id),
            (Some(id), _) => return Err(format!("spacecraft = {id}: the mission has no such one")),
            (None, [only]) => only.id,
            (None, _) => {
                return Err(
                    "spacecraft: say whose receptions are that don't say so themselves; the \
                            mission has more than one"
                        .into(),
                );
            }
        };
        let recorded = recorded(input, &place, &carrying)?;
        Ok(Input {
            name: name.into(),
            place,
            envelope,
            carrying,
            recorded,
            assumed: Assumed { spacecraft, stream: input.stream },
            antenna: input.antenna.unwrap_or(self.antenna),
            priority: input.priority.unwrap_or(PRIORITY),
        })
    }
}

fn recorded(
    input: &InputConfig,
    place: &Place,
    carrying: &Carrying,
) -> Result<Option<Recorded>, String> {
    let symbols = match carrying {
        Carrying::Cadus { symbols, .. } => *symbols,
        _ => Symbols::Packed,
    };
    let recorded = Recorded::new(input.received.as_deref(), input.rate.as_deref(), symbols)?;
    match (place, recorded) {
        (Place::Stdin, Some(Recorded { begun: Begun::File, .. })) => {
            Err("received = \"file\": standard input has no time of its own; write one".into())
        }
        (place, Some(_)) if !place.ends() => {
            Err("received: what a socket brings has the time of its coming; only file:PATH and - \
                 are recordings"
                .into())
        }
        (_, recorded) => Ok(recorded),
    }
}

/// Refuses frames of a length that no spacecraft of the mission sends: each would be a stranger's.
/// A mission that lists no frames leaves it open; of USLP it can't list any.
fn length_known(format: &Format, mission: &Definition) -> Result<(), String> {
    let listed = mission.spacecraft.iter().flat_map(|craft| &craft.frames);
    let known: BTreeSet<String> =
        listed.map(|frame| format!("{}:{}", kind_of(frame.kind).name(), frame.length)).collect();
    let asked = format.length.map(|length| format!("{}:{length}", format.kind.name()));
    match asked {
        Some(asked) if format.kind != Kind::Uslp && !known.is_empty() => {
            let list = || known.iter().cloned().collect::<Vec<_>>().join(", ");
            let wrong = || format!("frame = {asked:?}: the mission has frames of {}", list());
            known.contains(&asked).then_some(()).ok_or_else(wrong)
        }
        _ => Ok(()),
    }
}

const fn kind_of(kind: FrameKind) -> Kind {
    match kind {
        FrameKind::Tm => Kind::Tm,
        FrameKind::Aos => Kind::Aos,
        FrameKind::Uslp => Kind::Uslp,
    }
}

fn carrying(input: &InputConfig) -> Result<Carrying, String> {
    fn read<T: FromStr<Err: fmt::Display>>(key: &str, text: &str) -> Result<T, String> {
        text.parse().map_err(|error| format!("{key} = {text:?}: {error}"))
    }
    let format = || {
        let text = input.frame.as_deref().ok_or("frame: missing; aos:LENGTH, tm:LENGTH or uslp")?;
        match read::<Format>("frame", text)? {
            Format { kind: Kind::Tc, .. } => {
                Err("frame: commands go up; an edge hears aos, tm and uslp".to_owned())
            }
            format => Ok(format),
        }
    };
    let coded = [("coding", &input.coding), ("asm", &input.asm), ("symbols", &input.symbols)];
    let stray = coded.iter().find(|(_, value)| value.is_some());
    if let (Some((key, _)), true) = (stray, input.carries != Carries::Cadus) {
        return Err(format!("{key}: says something of cadus alone; write carries = \"cadus\""));
    }
    Ok(match input.carries {
        Carries::Cadus => {
            let format = format()?;
            if format.length.is_none() {
                return Err(format!(
                    "frame: units are of one length: {}:LENGTH",
                    format.kind.name()
                ));
            }
            let coding = match &input.coding {
                Some(text) => read::<Coding>("coding", text)?,
                None => {
                    let missing = "coding: missing; what was done to the frames, such as \
                                   rs:223:i4:dual,randomized:255, or none";
                    return Err(missing.into());
                }
            };
            let marker = match &input.asm {
                Some(text) => read("asm", text)?,
                None => coding.marker(),
            };
            let symbols = match &input.symbols {
                Some(text) => read("symbols", text)?,
                None => Symbols::default(),
            };
            Carrying::Cadus { format, coding, marker, symbols }
        }
        Carries::Frames => Carrying::Frames(format()?),
        Carries::Packets => Carrying::Packets,
        Carries::Ax25 => Carrying::Ax25,
    })
}

#[cfg(test)]
pub(crate) mod tests;
