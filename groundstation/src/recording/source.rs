//! What a user says of a recording, and what follows from it.

use super::guess;
use super::input::Input;
use codecs::frame::aos::{AosConfig, Service};
use codecs::frame::cadu::{Coding, CodingError, Symbols};
use codecs::frame::cltu::{CltuCoding, CltuCodingError};
use codecs::frame::extract::FrameConfig;
use codecs::frame::tc::TcConfig;
use codecs::frame::tm::TmConfig;
use codecs::frame::uslp::{Fecf, UslpConfig};
use codecs::frame::{Format, Framing, Kind, guess::Guess};
use codecs::sync::marker::Marker;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

/// The check field at the end of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Check {
    /// None.
    #[default]
    None,
    /// Two bytes.
    #[value(name = "16")]
    Bits16,
    /// Four bytes: USLP only.
    #[value(name = "32")]
    Bits32,
}

/// A recording and what is known of it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Source {
    /// Kind and length in bytes of every frame: aos:LENGTH, tm:LENGTH or uslp:LENGTH; uslp and tc
    /// alone where each frame tells its own length
    #[arg(long, value_name = "KIND:LENGTH", required_unless_present = "guess")]
    pub frame: Option<Format>,
    /// A CRC ends every frame (16 bits, or --fecf=32): check it, count failures, and keep it out
    /// of the packets
    #[arg(
        long,
        value_name = "BITS",
        num_args = 0..=1,
        require_equals = true,
        default_value = "none",
        default_missing_value = "16"
    )]
    pub fecf: Check,
    /// Length in bytes of the insert zone of AOS and USLP frames
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub insert_zone: usize,
    /// An operational control field ends the data of AOS frames; TM and USLP frames say so
    /// themselves
    #[arg(long)]
    pub ocf: bool,
    /// Two bytes of error control end the header of AOS frames
    #[arg(long)]
    pub header_error_control: bool,
    /// The spacecraft identifier of AOS frames has ten bits (CCSDS 732.0-B-5)
    #[arg(long)]
    pub wide_scid: bool,
    /// What a channel carries instead of packets: VC:bits or VC:units of AOS, MAP:units of TC (VC
    /// without segment headers); may be given again for another channel
    #[arg(long, value_name = "CHANNEL:SERVICE", value_parser = carried)]
    pub service: Vec<(u8, Service)>,
    /// TC frames have no segment headers
    #[arg(long)]
    pub no_segments: bool,
    /// The file is a stream of marked units, coded like this: parts joined by commas, such as
    /// conv:1/2,rs:223:i4:dual,randomized:255. rs:223 or rs:239, depth i1, i2, i3, i4, i5 or i8,
    /// dual or conventional; ldpc:c2 or ldpc:1/2:1024; conv:1/2 to conv:7/8 as the standard has
    /// them (1/2 with the inverter), or :any, :inverted, :plain, :swapped; nrzm; randomized:255 or
    /// randomized:131071, or randomized to find out; none is a stream with markers only. TC frames:
    /// cltu:bch, cltu:bch,randomized, cltu:ldpc128 or cltu:ldpc512
    #[arg(long, value_name = "CODING")]
    pub coding: Option<Coded>,
    /// The marker before each unit, in hexadecimal; says --coding none where that is not given
    #[arg(long, value_name = "MARKER")]
    pub asm: Option<Marker>,
    /// How symbols lie in the file: packed (eight bits a byte), bits (one bit a byte) or soft (one
    /// signed byte a symbol, positive for 0). Says --coding none where that is not given
    #[arg(long, value_name = "FORM")]
    pub symbols: Option<Symbols>,
    /// Try what fits, show the evidence, and go on with the best; reads the first 8 MiB for that
    #[arg(long, conflicts_with_all = [
        "frame", "fecf", "insert_zone", "ocf", "header_error_control", "wide_scid", "service",
        "no_segments", "coding", "symbols",
    ])]
    pub guess: bool,
    /// The recording; - is standard input. Frames end to end, or, as --coding, --asm and --symbols
    /// say, marked and coded units
    pub file: PathBuf,
}

/// Arguments that don't go together: exit code 2, like what can't be parsed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// What `--coding` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coded {
    /// Marked units of telemetry.
    Units(Coding),
    /// Command units.
    Commands(CltuCoding),
}

impl FromStr for Coded {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.starts_with("cltu") {
            true => {
                text.parse().map(Self::Commands).map_err(|error: CltuCodingError| error.to_string())
            }
            false => text.parse().map(Self::Units).map_err(|error: CodingError| error.to_string()),
        }
    }
}

/// Everything needed to read a recording.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The frames.
    pub frames: FrameConfig,
    /// How they lie in the file.
    pub framing: Framing,
    /// How symbols lie in its bytes.
    pub symbols: Symbols,
    /// What was guessed, the best first.
    pub guesses: Vec<Guess>,
}

impl Setup {
    /// Whether a check field ends the frames.
    pub(super) const fn checks_frames(&self) -> bool {
        match &self.frames {
            FrameConfig::Tm(config) => config.fecf,
            FrameConfig::Aos(config) => config.fecf,
            FrameConfig::Uslp(config) => !matches!(config.fecf, Fecf::None),
            FrameConfig::Tc(config) => config.fecf,
        }
    }
}

impl Source {
    /// A recording of bare frames.
    pub fn frames(frame: Format, file: PathBuf) -> Self {
        Self { frame: Some(frame), file, ..Self::default() }
    }

    /// What follows from the arguments, or from the file where they ask for that.
    pub(super) fn setup(&self, input: &mut Input) -> anyhow::Result<Setup> {
        let Some(format) = self.frame else { return guess::setup(self, input) };
        let framing = self.framing(format)?;
        let symbols = self.symbols.unwrap_or_default();
        Ok(Setup { frames: self.config(format)?, framing, symbols, guesses: Vec::new() })
    }

    fn framing(&self, format: Format) -> Result<Framing, Usage> {
        let coded = match (self.coding, self.asm, self.symbols) {
            (None, None, None) => return Ok(Framing::Bare),
            (coding, ..) => coding.unwrap_or(Coded::Units(Coding::NONE)),
        };
        match (coded, format.kind) {
            (Coded::Commands(_), Kind::Tc) if self.asm.is_some() => {
                Err(Usage("--asm says nothing of command units".to_owned()))
            }
            (Coded::Commands(coding), Kind::Tc) => Ok(Framing::Cltus(coding)),
            (Coded::Commands(coding), _) => {
                Err(Usage(format!("--coding {coding} carries commands: say --frame tc")))
            }
            (Coded::Units(_), Kind::Tc) => Err(Usage(
                "tc frames are sent in command units: say --coding cltu:bch, cltu:bch,randomized, \
                 cltu:ldpc128 or cltu:ldpc512"
                    .to_owned(),
            )),
            (Coded::Units(coding), _) => {
                Ok(Framing::Cadus { marker: self.asm.unwrap_or_else(|| coding.marker()), coding })
            }
        }
    }

    fn check(&self, format: Format) -> Result<(), Usage> {
        let is = |kind| format.kind == kind;
        let misplaced = [
            ("--insert-zone", self.insert_zone > 0, is(Kind::Aos) || is(Kind::Uslp)),
            ("--ocf", self.ocf, is(Kind::Aos)),
            ("--header-error-control", self.header_error_control, is(Kind::Aos)),
            ("--wide-scid", self.wide_scid, is(Kind::Aos)),
            ("--service", !self.service.is_empty(), is(Kind::Aos) || is(Kind::Tc)),
            ("--no-segments", self.no_segments, is(Kind::Tc)),
            ("--fecf=32", self.fecf == Check::Bits32, is(Kind::Uslp)),
        ];
        for (flag, given, fits) in misplaced {
            if given && !fits {
                return Err(Usage(format!("{flag} says nothing of {} frames", format.kind.name())));
            }
        }
        if let Some(length) = format.length
            && self.insert_zone >= length
        {
            let zone = self.insert_zone;
            return Err(Usage(format!("--insert-zone {zone} leaves no room in {format}")));
        }
        let mut named = BTreeSet::new();
        for (channel, service) in &self.service {
            if *service == Service::Bits && !is(Kind::Aos) {
                return Err(Usage("--service with bits is of AOS frames alone".to_owned()));
            }
            if !named.insert(channel) {
                return Err(Usage(format!("--service names channel {channel} twice")));
            }
        }
        Ok(())
    }

    fn config(&self, format: Format) -> anyhow::Result<FrameConfig> {
        self.check(format)?;
        let fecf = self.fecf != Check::None;
        Ok(match format.kind {
            Kind::Tm => FrameConfig::Tm(TmConfig::new(format.max_length()).with_fecf(fecf)),
            Kind::Aos => {
                let plain = AosConfig {
                    insert_zone: self.insert_zone,
                    header_error_control: self.header_error_control,
                    ocf: self.ocf,
                    wide_scid: self.wide_scid,
                    ..AosConfig::new(format.max_length()).with_fecf(fecf)
                };
                if let Err(error) = plain.packet_zone() {
                    return Err(
                        Usage(format!("--frame {format} with these fields: {error}")).into()
                    );
                }
                let services = self.service.iter();
                FrameConfig::Aos(services.fold(plain, |config, (channel, service)| {
                    config.with_service(*channel, *service)
                }))
            }
            Kind::Uslp => FrameConfig::Uslp(UslpConfig {
                insert_zone: self.insert_zone,
                fecf: match self.fecf {
                    Check::None => Fecf::None,
                    Check::Bits16 => Fecf::Crc16,
                    Check::Bits32 => Fecf::Crc32,
                },
                ..UslpConfig::new(format.length)
            }),
            Kind::Tc => {
                let access = self.service.iter().fold(0, |access, (channel, service)| {
                    access | u64::from(*service == Service::Access) << channel
                });
                FrameConfig::Tc(TcConfig { access, ..TcConfig::new(!self.no_segments, fecf) })
            }
        })
    }
}

/// Reads `5:bits`.
fn carried(text: &str) -> Result<(u8, Service), String> {
    let shape = || "expected CHANNEL:SERVICE, such as 5:bits or 5:units".to_owned();
    let (channel, service) = text.split_once(':').ok_or_else(shape)?;
    let channel: u8 = channel.parse().map_err(|_| shape())?;
    if channel > 63 {
        return Err(format!("channel {channel} is over 63"));
    }
    match service {
        "packets" => Ok((channel, Service::Packets)),
        "bits" => Ok((channel, Service::Bits)),
        "units" => Ok((channel, Service::Access)),
        _ => Err(shape()),
    }
}
