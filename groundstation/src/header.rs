//! What a frame says of itself, and whether the spacecraft that its key names sends such frames.

use codecs::frame::aos::{self, AosConfig, AosFrame};
use codecs::frame::extract::FrameConfig;
use codecs::frame::tm::{self, TmConfig, TmFrame};
use codecs::frame::uslp::{self, Fecf, UslpConfig, UslpFrame};
use codecs::ids::{Codec, SpacecraftId};
use codecs::mission::Definition;
use codecs::mission::definition::{FrameFormat, FrameKind};

/// Why a frame was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// Its header names a spacecraft that the mission doesn't know, or another one than its key.
    Foreign,
    /// It has another length than the mission says.
    Length,
    /// It is no frame of its kind.
    Malformed,
    /// It has no count, so that nothing tells its place.
    Uncounted,
}

impl Flag {
    /// A short word for counters and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Length => "wrong_length",
            Self::Malformed => "malformed",
            Self::Uncounted => "uncounted",
        }
    }
}

/// The fields that order and judge a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Virtual channel.
    pub vc: u8,
    /// Virtual channel frame count.
    pub count: u64,
    /// Frames before the count starts again.
    pub modulus: u64,
    /// Its own check failed.
    pub erred: bool,
    /// The frame has a check, so that one that holds says something.
    pub checked: bool,
    /// Of the channel of idle frames, whose count means nothing.
    pub idle: bool,
}

/// The frames of a mission.
#[derive(Clone, Debug)]
pub struct Formats(Vec<Known>);

#[derive(Clone, Debug)]
struct Known {
    owner: SpacecraftId,
    version: u8,
    scid: u16,
    length: usize,
    config: FrameConfig,
}

impl Formats {
    /// Knows frames by what the mission says of them.
    pub fn new(definition: &Definition) -> Self {
        let known = definition.spacecraft.iter().flat_map(|craft| {
            craft.frames.iter().map(|format| Known {
                owner: craft.id,
                version: format.kind.version(),
                scid: format.scid,
                length: format.length,
                config: config_of(format),
            })
        });
        Self(known.collect())
    }

    /// How the frames look that this one is of, if it is one that its key's spacecraft sends.
    pub fn judge(
        &self,
        spacecraft: SpacecraftId,
        codec: Codec,
        frame: &[u8],
    ) -> Result<&FrameConfig, Flag> {
        let &[first, second, third, ..] = frame else { return Err(Flag::Malformed) };
        let head = u32::from_be_bytes([0, first, second, third]);
        // 132.0-B-3 §4.1.2.2 and 732.0-B-5 §4.1.2.2: two bits of version, then 10 or 8 of scid;
        // 732.1-B-3 §4.1.2.2: four and 16.
        let (version, bits, scid) = match codec {
            Codec::TmFrame => (tm::VERSION, 2, (head >> 12) & 0x3FF),
            Codec::AosFrame => (aos::VERSION, 2, (head >> 14) & 0xFF),
            Codec::UslpFrame => (uslp::VERSION, 4, (head >> 4) & 0xFFFF),
            _ => return Err(Flag::Malformed),
        };
        let scid = scid as u16;
        if first >> (8 - bits) != version {
            return Err(Flag::Malformed);
        }
        let known = self.0.iter().find(|known| (known.version, known.scid) == (version, scid));
        match known {
            Some(known) if known.owner != spacecraft => Err(Flag::Foreign),
            Some(known) if known.length != frame.len() => Err(Flag::Length),
            Some(known) => Ok(&known.config),
            None => Err(Flag::Foreign),
        }
    }

    /// Reads what orders and judges a frame.
    pub fn read(&self, spacecraft: SpacecraftId, codec: Codec, frame: &[u8]) -> Result<Head, Flag> {
        match self.judge(spacecraft, codec, frame)? {
            FrameConfig::Tm(config) => {
                let view = TmFrame::parse(frame, config).map_err(|_| Flag::Malformed)?;
                Ok(Head {
                    vc: view.header().vcid,
                    count: view.header().count.into(),
                    modulus: tm::COUNT_MODULUS.into(),
                    erred: !view.fecf_holds(),
                    checked: config.fecf,
                    idle: false,
                })
            }
            FrameConfig::Aos(config) => {
                let view = AosFrame::parse(frame, config).map_err(|_| Flag::Malformed)?;
                Ok(Head {
                    vc: view.header().vcid,
                    count: view.header().count.into(),
                    modulus: aos::COUNT_MODULUS.into(),
                    erred: !view.fecf_holds(),
                    checked: config.fecf,
                    idle: view.is_idle(),
                })
            }
            FrameConfig::Uslp(config) => {
                let view = UslpFrame::parse(frame, config).map_err(|_| Flag::Malformed)?;
                let header = view.header();
                if header.count.bytes == 0 {
                    return Err(Flag::Uncounted);
                }
                Ok(Head {
                    vc: header.vcid,
                    count: header.count.value,
                    modulus: header.count.modulus(),
                    erred: !view.fecf_holds(),
                    checked: config.fecf != Fecf::None,
                    idle: header.vcid == uslp::IDLE_VCID,
                })
            }
            FrameConfig::Tc(_) => Err(Flag::Malformed),
        }
    }
}

/// Frames before the count of a virtual channel starts again; 0 where frames have none.
pub fn modulus(config: &FrameConfig) -> u64 {
    match config {
        FrameConfig::Tm(_) => tm::COUNT_MODULUS.into(),
        FrameConfig::Aos(_) => aos::COUNT_MODULUS.into(),
        _ => 0,
    }
}

fn config_of(format: &FrameFormat) -> FrameConfig {
    match format.kind {
        FrameKind::Tm => FrameConfig::Tm(TmConfig::new(format.length).with_fecf(format.fecf)),
        FrameKind::Aos => {
            let mut config = AosConfig::new(format.length).with_fecf(format.fecf);
            config.insert_zone = format.insert_zone;
            config.ocf = format.ocf;
            FrameConfig::Aos(config)
        }
        FrameKind::Uslp => FrameConfig::Uslp(UslpConfig {
            insert_zone: format.insert_zone,
            fecf: if format.fecf { Fecf::Crc16 } else { Fecf::None },
            ..UslpConfig::new(Some(format.length))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::frame::aos::AosBuilder;

    const MISSION: &str = "mission = 'm'\n[[spacecraft]]\nid = 7\nname = 'A'\n\
        [[spacecraft.frames]]\nkind = 'aos'\nscid = 71\nlength = 128\nfecf = true\n";

    #[test]
    fn a_head_is_what_the_frame_says() {
        let formats = Formats::new(&Definition::from_toml(MISSION).unwrap());
        let config = AosConfig::new(128).with_fecf(true);
        let mut builder = AosBuilder::new(config, 71, 3, 0x00AB_CDEF).unwrap();
        let mut frames = vec![];
        builder.push(&[0, 1, 0xC0, 0, 0, 0, 0], &mut |frame| frames.push(frame)).unwrap();
        builder.flush(&mut |frame| frames.push(frame));
        let read = |frame: &[u8]| formats.read(SpacecraftId(7), Codec::AosFrame, frame);
        let head = read(&frames[0]).unwrap();
        assert_eq!((head.vc, head.count, head.modulus), (3, 0x00AB_CDEF, 1 << 24));
        assert!(head.checked && !head.erred && !head.idle);
        let mut broken = frames[0].to_vec();
        broken[50] ^= 1;
        assert!(read(&broken).unwrap().erred);
        for cut in 0..frames[0].len() {
            assert!(read(&frames[0][..cut]).is_err());
        }
    }
}
