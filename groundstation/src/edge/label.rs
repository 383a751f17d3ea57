//! Whose a reception is and on which channel it is numbered, by the frame's own header.

use super::{
    config::{Carrying, Input},
    intake::Reception,
    recorded::Stamp,
};
use codecs::{
    fec::crc::crc16_holds,
    frame::{Kind, VirtualChannel},
    ids::{Channel, Codec, SpacecraftId},
    link::object::{Annotation, Quality},
    mission::Definition,
};
use std::{collections::BTreeSet, sync::Arc};

/// Channels of spacecraft that the mission does not know that are numbered apart; beyond them what
/// claims to be of yet another one is unidentified, so that noise can't make channels without end.
pub const FOREIGN_MAX: usize = 64;

/// Where a reception belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The mission's number.
    pub spacecraft: SpacecraftId,
    /// Its virtual channel, a stream, or `unidentified`.
    pub channel: Channel,
    /// Format of its inside.
    pub codec: Codec,
    /// What all its codes together say of it.
    pub quality: Quality,
}

/// What a site says of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assumed {
    /// Whose receptions are that don't say so believably.
    pub spacecraft: SpacecraftId,
    /// Stream number of what has no virtual channel.
    pub stream: u32,
}

/// Labels receptions by the mission's map.
#[derive(Debug)]
pub struct Labeller {
    mission: Arc<Definition>,
    foreign: BTreeSet<Channel>,
}

impl Labeller {
    /// Knows spacecraft by the mission.
    pub fn new(mission: Arc<Definition>) -> Self {
        Self { mission, foreign: BTreeSet::new() }
    }

    /// Where a reception belongs. Nothing is left out: what can't be believed is unidentified.
    pub fn label(&mut self, heard: &Reception, carrying: &Carrying, assumed: &Assumed) -> Label {
        let kind = match carrying {
            Carrying::Cadus { format, .. } | Carrying::Frames(format) => format.kind,
            Carrying::Packets => return plain(heard, assumed, Codec::SpacePacket),
            Carrying::Ax25 => return plain(heard, assumed, Codec::Ax25Frame),
        };
        let named = identifiers(kind, &heard.bytes);
        let owner = named.and_then(|channel| {
            let (craft, format) = self.mission.frame_owner(channel.version, channel.scid)?;
            (format.length == heard.bytes.len()).then_some((craft, format))
        });
        let checked = owner.is_some_and(|(_, format)| format.fecf);
        let (quality, believable) = match heard.quality {
            Quality::Erred => (Quality::Erred, heard.identified),
            quality if !checked => (quality, quality != Quality::Undetermined || owner.is_some()),
            quality => match (crc16_holds(&heard.bytes), quality) {
                // Whose the frame is stands in it: with a check that fails it stands there no more.
                (false, _) => (Quality::Erred, false),
                (true, Quality::Undetermined) => (Quality::Good, true),
                (true, quality) => (quality, true),
            },
        };
        let codec = codec_of(kind);
        let place = named.filter(|_| believable).and_then(|named| {
            let channel = Channel::from(named);
            match owner {
                Some((craft, _)) => Some((craft, channel)),
                None => self.admits(channel).then_some((assumed.spacecraft, channel)),
            }
        });
        let (spacecraft, channel) = place.unwrap_or((assumed.spacecraft, Channel::UNIDENTIFIED));
        Label { spacecraft, channel, codec, quality }
    }

    /// The same, with what is told of how an input heard it.
    pub fn heard(&mut self, heard: &Reception, of: &Input, came: Stamp) -> (Label, Annotation) {
        let label = self.label(heard, &of.carrying, &of.assumed);
        let annotation = Annotation {
            received: came.received,
            source: came.source,
            quality: label.quality,
            antenna: of.antenna,
            corrected_symbols: heard.corrected_symbols,
        };
        (label, annotation)
    }

    /// Whether a channel that is no one's gets numbers of its own. The station flags its frames.
    fn admits(&mut self, channel: Channel) -> bool {
        self.foreign.contains(&channel)
            || (self.foreign.len() < FOREIGN_MAX && self.foreign.insert(channel))
    }
}

fn plain(heard: &Reception, assumed: &Assumed, codec: Codec) -> Label {
    let channel = Channel::stream(assumed.stream);
    Label { spacecraft: assumed.spacecraft, channel, codec, quality: heard.quality }
}

const fn codec_of(kind: Kind) -> Codec {
    match kind {
        Kind::Aos => Codec::AosFrame,
        Kind::Uslp => Codec::UslpFrame,
        // The configuration refuses command frames, which no spacecraft sends.
        Kind::Tm | Kind::Tc => Codec::TmFrame,
    }
}

/// The global virtual channel that the first bytes name; none where they are of another kind.
fn identifiers(kind: Kind, frame: &[u8]) -> Option<VirtualChannel> {
    let [a, b, c, d] = *frame.first_chunk()?;
    let head = u16::from_be_bytes([a, b]);
    Some(match kind {
        // CCSDS 132.0-B-3 §4.1.2.2: 2 bits of version, 10 of spacecraft, 3 of channel.
        Kind::Tm if a >> 6 == codecs::frame::tm::VERSION => VirtualChannel {
            version: codecs::frame::tm::VERSION,
            scid: head >> 4 & 0x3FF,
            vcid: b >> 1 & 0x07,
            map: 0,
        },
        // CCSDS 732.0-B-5 §4.1.2.2: 2, 8 and 6 bits.
        Kind::Aos if a >> 6 == codecs::frame::aos::VERSION => VirtualChannel {
            version: codecs::frame::aos::VERSION,
            scid: head >> 6 & 0xFF,
            vcid: b & 0x3F,
            map: 0,
        },
        // CCSDS 732.1-B-3 §4.1.2.2: 4, 16, 1 (source or destination), 6 and 4 bits, of which the
        // last, the MAP, is left out: the frame count is of all of them together, so that only
        // together they are in the order of sending.
        Kind::Uslp if a >> 4 == codecs::frame::uslp::VERSION => VirtualChannel {
            version: codecs::frame::uslp::VERSION,
            scid: u16::from(a & 0x0F) << 12 | u16::from(b) << 4 | u16::from(c >> 4),
            vcid: (c & 0x07) << 3 | d >> 5,
            map: 0,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_points_of_one_virtual_channel_are_numbered_together() {
        let of = |map: u8| {
            let header = codecs::frame::uslp::UslpHeader {
                scid: 0x1234,
                vcid: 5,
                map,
                ..Default::default()
            };
            let content = codecs::frame::uslp::Content {
                insert_zone: &[],
                rule: codecs::frame::uslp::Rule::Packets(None),
                upid: 0,
                zone: &[0; 20],
                ocf: None,
                fecf: codecs::frame::uslp::Fecf::None,
            };
            let frame = codecs::frame::uslp::build(&header, &content).unwrap();
            identifiers(Kind::Uslp, &frame).map(Channel::from).unwrap()
        };
        assert_eq!(of(3), of(0));
        assert_eq!(of(15).as_virtual_channel(), Some((12, 0x1234, 5, 0)));
    }
    use codecs::fec::crc::crc16;

    const ASSUMED: Assumed = Assumed { spacecraft: SpacecraftId(8), stream: 5 };
    const MISSION: &str = r#"
mission = "sky"
domain = "sky"
[[spacecraft]]
id = 7
name = "SKY-7"
frames = [
    { kind = "aos", scid = 40, length = 32 },
    { kind = "tm", scid = 300, length = 32, fecf = true },
]
"#;

    fn label(labeller: &mut Labeller, kind: &str, bytes: &[u8], how: (Quality, bool)) -> Label {
        let heard = Reception {
            bytes: bytes.to_vec().into(),
            quality: how.0,
            corrected_symbols: 0,
            identified: how.1,
        };
        let carrying = Carrying::Frames(kind.parse().unwrap());
        labeller.label(&heard, &carrying, &ASSUMED)
    }

    fn labeller() -> Labeller {
        Labeller::new(Arc::new(Definition::from_toml(MISSION).unwrap()))
    }

    fn aos(scid: u16, vcid: u8) -> Vec<u8> {
        let mut frame = vec![0; 32];
        frame[..2].copy_from_slice(&(1 << 14 | scid << 6 | u16::from(vcid)).to_be_bytes());
        frame
    }

    fn tm(scid: u16, vcid: u8) -> Vec<u8> {
        let mut frame = vec![0; 32];
        frame[..2].copy_from_slice(&(scid << 4 | u16::from(vcid) << 1).to_be_bytes());
        let crc = crc16(&frame[..30]);
        frame[30..].copy_from_slice(&crc.to_be_bytes());
        frame
    }

    #[test]
    fn a_frame_goes_by_its_own_header() {
        let labeller = &mut labeller();
        let good = label(labeller, "aos:32", &aos(40, 3), (Quality::Good, true));
        assert_eq!(good.spacecraft, SpacecraftId(7));
        assert_eq!(good.channel, Channel::virtual_channel(1, 40, 3, 0));
        assert_eq!(good.codec, Codec::AosFrame);
        let bare = label(labeller, "aos:32", &aos(40, 3), (Quality::Undetermined, false));
        assert_eq!((bare.channel, bare.quality), (good.channel, Quality::Undetermined));
        let tm = label(labeller, "tm:32", &tm(300, 5), (Quality::Undetermined, false));
        assert_eq!(tm.channel, Channel::virtual_channel(0, 300, 5, 0));
        assert_eq!(tm.quality, Quality::Good, "its check field holds");
    }

    #[test]
    fn an_erred_frame_keeps_its_channel_only_where_its_identifiers_were_right() {
        let labeller = &mut labeller();
        let known = label(labeller, "aos:32", &aos(40, 3), (Quality::Erred, true));
        assert_eq!(known.channel, Channel::virtual_channel(1, 40, 3, 0));
        let lost = label(labeller, "aos:32", &aos(40, 3), (Quality::Erred, false));
        assert_eq!((lost.spacecraft, lost.channel), (SpacecraftId(8), Channel::UNIDENTIFIED));
        let mut broken = tm(300, 5);
        broken[20] ^= 1;
        let broken = label(labeller, "tm:32", &broken, (Quality::Good, true));
        assert_eq!((broken.channel, broken.quality), (Channel::UNIDENTIFIED, Quality::Erred));
    }

    #[test]
    fn strangers_are_numbered_apart_up_to_a_bound_and_noise_is_unidentified() {
        let labeller = &mut labeller();
        let stranger = label(labeller, "aos:32", &aos(41, 3), (Quality::Good, true));
        assert_eq!(stranger.spacecraft, SpacecraftId(8), "what the site assumes");
        assert_eq!(stranger.channel, Channel::virtual_channel(1, 41, 3, 0));
        let noise = label(labeller, "aos:32", &aos(41, 3), (Quality::Undetermined, false));
        assert_eq!(noise.channel, Channel::UNIDENTIFIED);
        let other = label(labeller, "tm:32", &aos(40, 3), (Quality::Good, true));
        assert_eq!(other.channel, Channel::UNIDENTIFIED, "an AOS frame where TM is expected");
        for vcid in 0..64 {
            label(labeller, "aos:32", &aos(50, vcid), (Quality::Good, true));
        }
        let beyond = label(labeller, "aos:32", &aos(51, 0), (Quality::Good, true));
        assert_eq!(beyond.channel, Channel::UNIDENTIFIED);
        let known = label(labeller, "aos:32", &aos(41, 3), (Quality::Good, true));
        assert_eq!(known.channel, stranger.channel);
    }

    #[test]
    fn packets_go_on_the_stream_of_their_input() {
        let heard = Reception {
            bytes: vec![0; 20].into(),
            quality: Quality::Undetermined,
            corrected_symbols: 0,
            identified: false,
        };
        let label = labeller().label(&heard, &Carrying::Packets, &ASSUMED);
        assert_eq!((label.channel, label.codec), (Channel::stream(5), Codec::SpacePacket));
        assert_eq!(label.spacecraft, SpacecraftId(8));
    }
}
