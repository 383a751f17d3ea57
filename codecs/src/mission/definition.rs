//! The model of a mission: spacecraft and their frames, containers of parameters, what follows.
//!
//! It has no format of its own: a TOML file fills it today, XTCE can fill it as well.

use crate::{
    ids::{Apid, Channel, SpacecraftId},
    link::custody::Durability,
};
use alloc::{boxed::Box, string::String, vec::Vec};

use super::{
    DefinitionError,
    plan::Plans,
    task::{Contract, DataClass},
};

/// Number of a parameter within one definition: its place in [`Definition::parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(pub u32);

/// How far apart two antennas' receptions of one frame are at most, unless the mission says
/// otherwise: light takes a twentieth of a second around the Earth, and clocks at antennas are set
/// by network.
pub const MERGE_WINDOW_NS_DEFAULT: i64 = 2_000_000_000;

/// Everything that a mission says about its telemetry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition {
    /// Name of the mission.
    pub mission: String,
    /// Domain of custody: one ledger and its edges.
    pub domain: String,
    /// Least class of a receipt that lets a store erase the unit.
    pub reclaimable: Durability,
    /// Spacecraft of the mission.
    pub spacecraft: Vec<Spacecraft>,
    /// Receptions of one frame by two antennas are less than this apart, in nanoseconds.
    pub merge_window_ns: i64,
    /// Names of channels, for people.
    pub channels: Vec<ChannelName>,
    /// Types that parameters share.
    pub types: Vec<ParameterType>,
    /// Parameters; their place is their [`ParameterId`].
    pub parameters: Vec<Parameter>,
    /// Layouts of packets.
    pub containers: Vec<Container>,
    /// Payload products.
    pub products: Vec<ProductName>,
    /// Task contracts of this mission's own.
    pub tasks: Vec<Contract>,
    /// What is sent to inference pools, and when.
    pub rules: Vec<Rule>,
}

/// A spacecraft and the frames it is known by.
#[derive(Clone, Debug, PartialEq)]
pub struct Spacecraft {
    /// The mission's number.
    pub id: SpacecraftId,
    /// Name for people.
    pub name: String,
    /// Frames that belong to it.
    pub frames: Vec<FrameFormat>,
}

/// Kind of transfer frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameKind {
    /// TM (CCSDS 132.0-B-3), transfer frame version number 0.
    Tm,
    /// AOS (CCSDS 732.0-B-5), transfer frame version number 1.
    Aos,
    /// USLP (CCSDS 732.1-B-3) of one length, transfer frame version number 12.
    Uslp,
}

impl FrameKind {
    /// Transfer frame version number, as the first bits of the frame have it: two, of USLP four.
    pub const fn version(self) -> u8 {
        match self {
            Self::Tm => 0,
            Self::Aos => 1,
            Self::Uslp => crate::frame::uslp::VERSION,
        }
    }
}

/// Frames that a spacecraft sends: what the (version, spacecraft identifier) pair maps to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameFormat {
    /// Kind of frame.
    pub kind: FrameKind,
    /// Spacecraft identifier in the frame header.
    pub scid: u16,
    /// Length of every frame in bytes.
    pub length: usize,
    /// Whether the frame ends with a frame error control field.
    pub fecf: bool,
    /// Whether an operational control field stands before it; a USLP frame says so itself.
    pub ocf: bool,
    /// Length of the insert zone in bytes (AOS, USLP).
    pub insert_zone: usize,
}

/// Name of a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelName {
    /// Name for people.
    pub name: String,
    /// Which channel.
    pub place: ChannelPlace,
}

/// A channel before a spacecraft is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelPlace {
    /// A virtual channel of any frame of the mission.
    Virtual(u8),
    /// A stream that the mission numbers.
    Stream(u32),
}

/// A packet layout: which packets it describes and what stands in them, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Name for people.
    pub name: String,
    /// Packets with this APID have this layout.
    pub apid: Apid,
    /// Time field that makes the secondary header.
    pub time: Option<TimeField>,
    /// What stands behind the headers.
    pub entries: Vec<Entry>,
}

/// Time code of a secondary header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeField {
    /// CUC without P-field, epoch 1958 TAI (CCSDS 301.0-B-4 §3.2).
    Cuc {
        /// Octets of whole seconds, 1 to 4.
        coarse: u8,
        /// Octets of fractions, 0 to 3.
        fine: u8,
    },
}

impl TimeField {
    /// Length in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Cuc { coarse, fine } => coarse as usize + fine as usize,
        }
    }
}

/// One entry of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The next bits are this parameter.
    Parameter(ParameterId),
    /// The next bits mean nothing.
    Skip {
        /// How many.
        bits: u32,
    },
}

/// A named quantity.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name, unique in the mission.
    pub name: String,
    /// Place of its type in [`Definition::types`].
    pub kind: usize,
    /// Limits of its engineering value.
    pub limits: Option<Limits>,
}

/// How a parameter is written and what its number means.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterType {
    /// Bits in the packet.
    pub encoding: Encoding,
    /// Engineering unit; empty where it has none.
    pub unit: String,
    /// From raw to engineering value.
    pub calibrator: Calibrator,
    /// Texts of raw values, by ascending value.
    pub enumeration: Box<[(i64, String)]>,
}

/// Bits of a value, most significant first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Unsigned integer.
    Unsigned {
        /// Bits, 1 to 64.
        bits: u8,
    },
    /// Integer in two's complement.
    Signed {
        /// Bits, 2 to 64.
        bits: u8,
    },
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl Encoding {
    /// Length in bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Unsigned { bits } | Self::Signed { bits } => bits as u32,
            Self::F32 => 32,
            Self::F64 => 64,
        }
    }
}

/// From raw to engineering value.
#[derive(Clone, Debug, PartialEq)]
pub enum Calibrator {
    /// The raw value is the engineering value.
    Identity,
    /// The sum of `coefficient i` times raw to the power of i.
    Polynomial(Box<[f64]>),
}

/// Limits in engineering values; a value beyond one has left it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Red below.
    pub red_low: Option<f64>,
    /// Yellow below.
    pub yellow_low: Option<f64>,
    /// Yellow above.
    pub yellow_high: Option<f64>,
    /// Red above.
    pub red_high: Option<f64>,
    /// Samples in a row that it takes to believe a change, at least 1.
    pub persistence: u16,
}

/// A payload product.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductName {
    /// Kind, as rules name it.
    pub kind: String,
    /// Name for people.
    pub name: String,
}

/// Heavy work that something sets off.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What sets it off.
    pub trigger: Trigger,
    /// Task contract, such as `cloud-mask/1`.
    pub task: String,
    /// Seconds that it may take from its start, queues and retries included.
    pub deadline_s: f64,
    /// Smaller goes first.
    pub priority: u8,
    /// How freely the data may travel.
    pub data_class: DataClass,
    /// Regions that it may be worked on in; none named is any.
    pub regions: Vec<String>,
    /// Export licences that a pool must be cleared for.
    pub export: Vec<String>,
    /// Most that one job may cost, in the station's currency.
    pub budget: Option<f64>,
}

/// What sets off a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A product of this kind arrived.
    Product(String),
    /// An alarm was raised.
    Alarm,
    /// A span of onboard time is over, on a fixed grid, and these parameters had values in it.
    Parameters {
        /// Which.
        names: Vec<String>,
        /// Length of a span in nanoseconds.
        every_ns: i64,
        /// The last so many values of each are looked at; a span with fewer is left out. 0 for tasks
        /// of words, which take what there is.
        samples: usize,
    },
}

impl Definition {
    /// Reads a mission file.
    pub fn from_toml(text: &str) -> Result<Self, DefinitionError> {
        super::file::read(text)
    }

    /// Compiles the containers for decoding.
    pub fn plans(&self) -> Plans {
        Plans::new(self)
    }

    /// The parameter of a number.
    pub fn parameter(&self, id: ParameterId) -> Option<&Parameter> {
        self.parameters.get(id.0 as usize)
    }

    /// The type of a parameter.
    pub fn type_of(&self, id: ParameterId) -> Option<&ParameterType> {
        self.types.get(self.parameter(id)?.kind)
    }

    /// The number of a parameter.
    pub fn parameter_named(&self, name: &str) -> Option<ParameterId> {
        let place = self.parameters.iter().position(|parameter| parameter.name == name)?;
        Some(ParameterId(place as u32))
    }

    /// Which spacecraft a frame's own header names, and how its frames look.
    pub fn frame_owner(&self, version: u8, scid: u16) -> Option<(SpacecraftId, FrameFormat)> {
        self.spacecraft.iter().find_map(|craft| {
            let frame = craft
                .frames
                .iter()
                .find(|frame| frame.kind.version() == version && frame.scid == scid)?;
            Some((craft.id, *frame))
        })
    }

    /// A spacecraft's channels with their names.
    pub fn channels_of(&self, spacecraft: &Spacecraft) -> Vec<(Channel, String)> {
        let mut named = Vec::new();
        for channel in &self.channels {
            match channel.place {
                ChannelPlace::Stream(number) => {
                    named.push((Channel::stream(number), channel.name.clone()));
                }
                ChannelPlace::Virtual(vc) => named.extend(spacecraft.frames.iter().map(|frame| {
                    let version = frame.kind.version();
                    (Channel::virtual_channel(version, frame.scid, vc, 0), channel.name.clone())
                })),
            }
        }
        named
    }
}
