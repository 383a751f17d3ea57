//! Source: datagrams, bytes of a line and files in; space packets with their onboard time and tiles
//! out, everything else counted.
//!
//! ```text
//! socket ─► datagram ─┐
//! serial line ─► stream ─► limits ─► packet ─► pipeline
//! folder ─► file ─► survey ─► packets ─┘
//!                └► image ─► tiles, each with its place ─► pipeline
//! ```

pub mod limits;
pub mod stream;
pub mod folder;
pub mod place;
pub mod image;
pub mod survey;
pub mod taking;

use bytes::Bytes;
use codecs::{ids::Apid, time::Tai};
use serde::Serialize;

/// Shortest packet taken: primary header, secondary header with the time, one byte
/// (CCSDS 133.0-B-2 §4.1.2 allows one byte of data in all).
pub const PACKET_BYTES_MIN: usize = PRIMARY_BYTES + 1;
/// Longest packet: length field of 65,535 means 65,536 bytes of data (CCSDS 133.0-B-2 §4.1.3.5.3).
pub const PACKET_BYTES_MAX: usize = PRIMARY_BYTES + 65_536;
const PRIMARY_BYTES: usize = 6;
const IDLE_APID: u16 = 0x7ff;
/// A packet further than this from the clock is not believed as time; a source that restarts with
/// another clock is, once it has said so several times.
const STEP_MAX_NS: i64 = 60_000_000_000;
const STEPS_TO_BELIEVE: u8 = 5;

/// A space packet that was found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who made it.
    pub apid: Apid,
    /// Its own time; absent without a secondary header.
    pub time: Option<Tai>,
    /// All of it.
    pub bytes: Bytes,
}

impl Packet {
    /// Bytes behind the secondary header, if there is one.
    pub fn data(&self) -> &[u8] {
        let start = if self.time.is_some() { PRIMARY_BYTES + 7 } else { PRIMARY_BYTES };
        self.bytes.get(start..).unwrap_or_default()
    }
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Malformed {
    /// Less than a header and one byte.
    #[error("shorter than a space packet can be")]
    Short,
    /// Another packet version.
    #[error("the packet version is not 0")]
    Version,
    /// A telecommand where telemetry belongs.
    #[error("a telecommand on the telemetry source")]
    Telecommand,
    /// The length field and the datagram disagree.
    #[error("the length field does not fit the datagram")]
    Length,
    /// A secondary header that ends before its time does.
    #[error("the secondary header is cut short")]
    Time,
    /// An idle packet, which carries nothing.
    #[error("an idle packet")]
    Idle,
    /// A frame of another length than configured.
    #[error("a frame of another length than configured")]
    FrameLength,
    /// A tile whose sizes contradict its pixels, or that nothing here can score.
    #[error("a tile whose sizes contradict its pixels")]
    Tile,
}

/// Reads one datagram as one space packet (CCSDS 133.0-B-2 §4.1.3).
pub fn parse(bytes: Bytes) -> Result<Packet, Malformed> {
    let Some([id, apid_low, _, _, length @ ..]) = bytes.first_chunk::<PRIMARY_BYTES>() else {
        return Err(Malformed::Short);
    };
    if bytes.len() < PACKET_BYTES_MIN {
        return Err(Malformed::Short);
    }
    if id >> 5 != 0 {
        return Err(Malformed::Version);
    }
    if id & 0x10 != 0 {
        return Err(Malformed::Telecommand);
    }
    if usize::from(u16::from_be_bytes(*length)) + 1 != bytes.len() - PRIMARY_BYTES {
        return Err(Malformed::Length);
    }
    let apid = u16::from_be_bytes([id & 0x07, *apid_low]);
    if apid == IDLE_APID {
        return Err(Malformed::Idle);
    }
    let time = if id & 0x08 == 0 {
        None
    } else {
        let cuc = bytes.get(PRIMARY_BYTES..).and_then(|rest| rest.first_chunk::<7>());
        Some(Tai::from_cuc43(*cuc.ok_or(Malformed::Time)?))
    };
    Ok(Packet { apid: Apid(apid), time, bytes })
}

/// What came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceCounts {
    /// Packets or frames taken.
    pub taken: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams dropped, by reason.
    pub malformed: std::collections::BTreeMap<String, u64>,
}

impl SourceCounts {
    /// Counts a datagram that was dropped, and says whether this is worth a line: the first of its
    /// reason and each power of two after it.
    pub fn dropped(&mut self, reason: Malformed) -> Option<u64> {
        let count = self.malformed.entry(reason.to_string()).or_default();
        *count += 1;
        count.is_power_of_two().then_some(*count)
    }

    /// Counts one taken.
    pub fn took(&mut self, bytes: usize) {
        self.taken += 1;
        self.bytes += bytes as u64;
    }
}

/// Onboard time: what the latest packet said plus the monotonic time since.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    seen: Option<(Tai, u64)>,
    strange: u8,
}

impl Clock {
    /// Takes a packet's time at monotonic `now_ns`.
    pub fn see(&mut self, time: Tai, now_ns: u64) {
        let Some((_, _)) = self.seen else {
            self.seen = Some((time, now_ns));
            return;
        };
        let ahead = time.since(self.at(now_ns));
        if ahead.abs() > STEP_MAX_NS {
            self.strange += 1;
            if self.strange < STEPS_TO_BELIEVE {
                return;
            }
            self.seen = Some((time, now_ns));
        } else if ahead > 0 {
            // A packet that waited says an earlier time; only one from ahead moves the clock.
            self.seen = Some((time, now_ns));
        }
        self.strange = 0;
    }

    /// Takes trusted time from the ground where no packet has said any.
    pub fn trust(&mut self, time: Tai, now_ns: u64) {
        if self.seen.is_none() {
            self.seen = Some((time, now_ns));
        }
    }

    /// The time at monotonic `now_ns`; 1970 until a packet has said one.
    pub fn at(&self, now_ns: u64) -> Tai {
        self.seen.map_or(Tai(0), |(time, at)| time.plus(now_ns.saturating_sub(at) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn packet(apid: u16, time: Tai, data: &[u8]) -> Vec<u8> {
        let mut out = vec![0x08 | (apid >> 8) as u8, apid as u8, 0xc0, 0];
        out.extend_from_slice(&((7 + data.len() - 1) as u16).to_be_bytes());
        out.extend_from_slice(&time.to_cuc43());
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn whole_packets_pass_and_every_cut_is_refused() {
        let time = Tai(1_800_000_000_000_000_000);
        let bytes = packet(300, time, b"tile");
        let parsed = parse(bytes.clone().into()).unwrap();
        assert_eq!((parsed.apid, parsed.data()), (Apid(300), &b"tile"[..]));
        assert!(parsed.time.unwrap().since(time).abs() < 100);
        for cut in 0..bytes.len() {
            assert!(parse(bytes[..cut].to_vec().into()).is_err());
        }
        let longer = [&bytes[..], b"x"].concat();
        assert_eq!(parse(longer.into()), Err(Malformed::Length));
    }

    #[test]
    fn each_kind_of_nonsense_has_its_reason() {
        let good = packet(300, Tai(0), b"tile");
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            parse(bytes.into()).unwrap_err()
        };
        assert_eq!(with(0, 0x29), Malformed::Version);
        assert_eq!(with(0, 0x19), Malformed::Telecommand);
        assert_eq!(with(5, 0xff), Malformed::Length);
        assert_eq!(parse(packet(0x7ff, Tai(0), b"x").into()), Err(Malformed::Idle));
        assert_eq!(parse(vec![0x08, 1, 0, 0, 0, 0, 9].into()), Err(Malformed::Time));
        assert_eq!(parse(Bytes::new()), Err(Malformed::Short));
    }

    #[test]
    fn logging_thins_out() {
        let mut counts = SourceCounts::default();
        let lines = (0..1000).filter_map(|_| counts.dropped(Malformed::Length)).count();
        assert_eq!(lines, 10);
        assert_eq!(counts.malformed.values().sum::<u64>(), 1000);
    }

    #[test]
    fn time_flows_between_packets_and_one_wild_packet_does_not_move_it() {
        let mut clock = Clock::default();
        let start = Tai(1_800_000_000_000_000_000);
        clock.see(start, SECOND);
        assert_eq!(clock.at(3 * SECOND), start.plus(2 * SECOND as i64));
        clock.see(start, 2 * SECOND);
        assert_eq!(clock.at(3 * SECOND), start.plus(2 * SECOND as i64), "late packets wait");
        clock.see(Tai(0), 3 * SECOND);
        assert_eq!(clock.at(3 * SECOND), start.plus(2 * SECOND as i64));
        (0..5).for_each(|_| clock.see(Tai(7), 4 * SECOND));
        assert_eq!(clock.at(4 * SECOND), Tai(7), "a source that insists is believed");
    }
}
