//! What a recording holds, counted from the extractor's events.

use super::FirstHeader;
use super::extract::{Content, DropReason, Event, Rejection};
use crate::packet::{Protocol, space::IDLE_APID, space::PacketView};
use alloc::collections::BTreeMap;

/// Where first header pointers point, over frames that carry packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pointers {
    /// Frames in which a packet starts.
    pub start: u64,
    /// Frames in which none does.
    pub no_start: u64,
    /// Frames of idle data only.
    pub idle: u64,
}

/// Counts over the frames of a recording or channel.
///
/// Virtual channel 63 of AOS and USLP is idle: it stands in `frames` and `virtual_channels` and nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames, rejected ones included.
    pub frames: u64,
    /// Frames a virtual channel.
    pub virtual_channels: BTreeMap<u8, u64>,
    /// Frames a spacecraft identifier.
    pub spacecraft: BTreeMap<u16, u64>,
    /// Control commands of the link, among the frames.
    pub control_frames: u64,
    /// Frames whose count did not follow their predecessor's.
    pub gaps: u64,
    /// Frames missing, as the counts tell.
    pub lost_frames: u64,
    /// Frames whose CRC fails, used or not.
    pub erred_frames: u64,
    /// Frames whose header was corrected by its error control (AOS).
    pub corrected_headers: u64,
    /// Frames left out as a whole.
    pub rejected_frames: u64,
    /// First header pointers.
    pub first_header_pointer: Pointers,
    /// Whole packets, idle ones included.
    pub packets: u64,
    /// Packets that only fill.
    pub idle_packets: u64,
    /// Packets that began in an earlier frame.
    pub spanning_packets: u64,
    /// Packets that the first header pointer cut short; not among `packets`.
    pub truncated_packets: u64,
    /// Packets with bytes from a frame whose CRC failed.
    pub erred_packets: u64,
    /// Encapsulation packets among `packets`.
    pub encapsulation_packets: u64,
    /// Space packets an APID, idle ones included.
    pub apids: BTreeMap<u16, u64>,
    /// Bytes of packets, headers included.
    pub bytes: u64,
    /// Length of the longest packet.
    pub longest_packet: u64,
    /// Units that are no packets.
    pub units: u64,
    /// Bytes of units.
    pub unit_bytes: u64,
    /// Units that came in segments.
    pub spanning_units: u64,
    /// Units with bytes from a frame whose CRC failed.
    pub erred_units: u64,
    /// Packets in progress and rests of zones that were left out, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Counts one event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Frame { channel, content, corrected_symbols, erred, .. } => {
                self.frames += 1;
                self.corrected_headers += u64::from(*corrected_symbols > 0);
                self.erred_frames += u64::from(*erred);
                *self.virtual_channels.entry(channel.vcid).or_default() += 1;
                *self.spacecraft.entry(channel.scid).or_default() += 1;
                self.control_frames += u64::from(matches!(content, Content::Control(_)));
                let pointers = &mut self.first_header_pointer;
                match content {
                    Content::Packets(FirstHeader::At(_)) => pointers.start += 1,
                    Content::Packets(FirstHeader::NoStart) => pointers.no_start += 1,
                    Content::Packets(FirstHeader::IdleData) => pointers.idle += 1,
                    _ => {}
                }
            }
            Event::Rejected(why) => {
                self.frames += 1;
                self.rejected_frames += 1;
                self.erred_frames += u64::from(*why == Rejection::Fecf);
            }
            Event::Gap { lost, .. } => {
                self.gaps += 1;
                self.lost_frames += lost;
            }
            Event::Packet { protocol, bytes, spanning, erred, .. } => {
                self.packet(*protocol, bytes.len(), *spanning);
                self.erred_packets += u64::from(*erred);
                if let Ok(packet) = PacketView::parse(bytes) {
                    *self.apids.entry(packet.apid().0).or_default() += 1;
                }
            }
            Event::Idle { protocol, length, spanning, .. } => {
                self.packet(*protocol, *length, *spanning);
                self.idle_packets += 1;
                if *protocol == Protocol::Space {
                    *self.apids.entry(IDLE_APID.0).or_default() += 1;
                }
            }
            Event::Unit { bytes, spanning, erred, .. } => {
                self.units += 1;
                self.unit_bytes += bytes.len() as u64;
                self.spanning_units += u64::from(*spanning);
                self.erred_units += u64::from(*erred);
            }
            Event::Dropped { reason, .. } => {
                self.truncated_packets += u64::from(*reason == DropReason::CutByPointer);
                *self.dropped.entry(reason.name()).or_default() += 1;
            }
        }
    }

    fn packet(&mut self, protocol: Protocol, length: usize, spanning: bool) {
        self.packets += 1;
        self.spanning_packets += u64::from(spanning);
        self.encapsulation_packets += u64::from(protocol == Protocol::Encapsulation);
        self.bytes += length as u64;
        self.longest_packet = self.longest_packet.max(length as u64);
    }
}
