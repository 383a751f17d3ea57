//! What is sent: AOS frames full of packets, in objects made once and sent again and again.

use anyhow::Context as _;
use bytes::Bytes;
use codecs::{
    frame::{
        aos::{AosBuilder, AosConfig},
        extract::{Event, Extractor, FrameConfig},
    },
    ids::{Apid, Channel, Codec, KeyPrefix, Origin, SpacecraftId, StoreEpoch},
    link::object::{HEADER_BYTES, ObjectHeader, unit_footprint, write_unit},
    packet::space::{PacketHeader, SequenceCount, build},
    time::Tai,
};

/// Frames as the reference measures them: the code block of RS(255,223) with I=5.
pub const FRAME_BYTES: usize = 1_115;
/// Frames of an object: about a megabyte, one write.
pub const FRAMES_AN_OBJECT: u32 = 930;
/// Objects that differ; then they come again under new sequences.
pub const OBJECTS: usize = 32;
/// Lengths of packets, in turn: most lie within a frame, one in a few spans two.
const PACKET_BYTES: [usize; 5] = [96, 240, 412, 180, 900];

/// What reads the frames.
pub fn extractor() -> Extractor {
    Extractor::new(FrameConfig::Aos(AosConfig::new(FRAME_BYTES).with_fecf(true)))
}

/// Bodies of so many objects, whose units are so many frames of a spacecraft each.
pub fn objects(
    spacecraft: SpacecraftId,
    count: usize,
    frames_each: u32,
) -> anyhow::Result<Vec<Bytes>> {
    let config = AosConfig::new(FRAME_BYTES).with_fecf(true);
    let mut builder = AosBuilder::new(config, spacecraft.0, 0, 0).context("a channel of frames")?;
    let mut frames = Vec::new();
    let wanted = count * frames_each as usize;
    // Noise, so that nothing on the way profits from zeros.
    let mut noise = 0x2545_F491_4F6C_DD1D_u64;
    for length in PACKET_BYTES.iter().cycle() {
        let data: Vec<u8> = (0..length - 6)
            .map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                noise as u8
            })
            .collect();
        let header = PacketHeader::telemetry(Apid(100), SequenceCount(0));
        let packet = build(&header, &data).context("a packet")?;
        builder.push(&packet, &mut |frame| frames.push(frame)).context("a frame")?;
        if frames.len() >= wanted {
            break;
        }
    }
    let bodies = frames[..wanted].chunks(frames_each as usize).map(|frames| {
        let mut body = Vec::new();
        frames.iter().for_each(|frame| write_unit(&mut body, None, frame));
        body.into()
    });
    Ok(bodies.collect())
}

/// The counter that they are of: missions give spacecraft here their own number as the frames'.
pub fn prefix(origin: Origin, spacecraft: SpacecraftId, epoch: u64) -> KeyPrefix {
    let channel = Channel::virtual_channel(1, spacecraft.0, 0, 0);
    KeyPrefix { origin, epoch: StoreEpoch(epoch), spacecraft, channel }
}

/// The header of an object of [`FRAMES_AN_OBJECT`] frames whose first has this sequence.
pub fn header(prefix: &KeyPrefix, first: u64, body: &Bytes) -> ObjectHeader {
    header_of(prefix, Codec::AosFrame, first, FRAMES_AN_OBJECT, body)
}

/// The header of an object of so many units.
pub fn header_of(
    prefix: &KeyPrefix,
    codec: Codec,
    first: u64,
    count: u32,
    body: &Bytes,
) -> ObjectHeader {
    ObjectHeader {
        annotated: false,
        codec,
        priority: 1,
        epoch: prefix.epoch,
        spacecraft: prefix.spacecraft,
        channel: prefix.channel,
        first,
        count,
        length: body.len() as u32,
        created: Tai(0),
    }
}

/// Bytes of an object on its stream.
pub const fn object_bytes() -> u64 {
    let units = FRAMES_AN_OBJECT as usize * unit_footprint(FRAME_BYTES, false);
    (HEADER_BYTES + units) as u64
}

/// What became of frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Frames whose check field holds.
    pub frames: u64,
    /// Those whose does not.
    pub erred: u64,
    /// Packets taken out of them.
    pub packets: u64,
}

impl Count {
    /// Reads one frame.
    pub fn frame(&mut self, extractor: &mut Extractor, frame: &Bytes) {
        extractor.push(frame, &mut |event| match event {
            Event::Frame { erred: false, .. } => self.frames += 1,
            Event::Frame { .. } | Event::Rejected(_) => self.erred += 1,
            Event::Packet { .. } => self.packets += 1,
            _ => {}
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::link::object::ObjectReader;

    #[test]
    fn what_is_sent_is_whole_frames_of_whole_packets() {
        let bodies = objects(SpacecraftId(7), OBJECTS, FRAMES_AN_OBJECT).unwrap();
        let prefix = prefix(Origin([1; 16]), SpacecraftId(7), 1);
        let (mut extractor, mut count) = (extractor(), Count::default());
        for (at, body) in (0..).zip(&bodies) {
            let header = header(&prefix, at * u64::from(FRAMES_AN_OBJECT), body);
            let mut reader = ObjectReader::new();
            reader.push(header.encode().to_vec().into());
            reader.push(body.clone());
            while let Some(unit) = reader.poll_unit().unwrap() {
                assert!(unit.intact && unit.bytes.len() == FRAME_BYTES);
                count.frame(&mut extractor, &unit.bytes);
            }
            reader.finish().unwrap();
            assert_eq!(object_bytes(), (HEADER_BYTES + body.len()) as u64);
        }
        assert_eq!((count.frames, count.erred), (32 * 930, 0));
        assert!(count.packets > 2 * count.frames);
    }
}
