//! Packets that real spacecraft sent, of one APID and length in each recording.

use std::collections::BTreeMap;

/// One recording.
pub struct Recording {
    /// Whose packets.
    pub name: &'static str,
    /// Bytes of a packet.
    pub length: usize,
    /// Seconds from one packet to the next, on average; none where the packets do not tell.
    pub interval_s: Option<f64>,
    /// The packets, behind one another.
    pub data: Vec<u8>,
}

/// Reads a packet's time, in seconds.
type Time = fn(&[u8]) -> Option<f64>;

/// The recordings that are there.
pub fn all() -> Vec<Recording> {
    let files: [(_, _, Time); 3] = [
        ("NOAA-20", "packets/jpss/J01_G011_LZ_2021-04-09T00-00-00Z_V01.DAT1", day_segmented),
        ("CSA", "packets/csa/csa_apid00400.tlm", unix_low_first),
        // A dump of memory: its packets were never sent as they arose.
        ("CTIM", "packets/ctim/ccsds_2021_155_14_39_51", |_| None),
    ];
    let read = |(name, file, time): (&'static str, &str, Time)| {
        let path = crate::recorded(file)?;
        let bytes = std::fs::read(path).expect("a readable recording");
        let ((_, length), data) = most(&bytes);
        let steps = (data.len() / length).saturating_sub(1);
        let ends = (time(&data), time(&data[steps * length..]));
        let interval_s = match ends {
            (Some(first), Some(last)) if steps > 0 => Some((last - first) / steps as f64),
            _ => None,
        };
        Some(Recording { name, length, interval_s, data })
    };
    files.into_iter().filter_map(read).collect()
}

/// CDS time behind the primary header: days, milliseconds of the day (CCSDS 301.0-B-4 §3.3).
fn day_segmented(packet: &[u8]) -> Option<f64> {
    let [d0, d1, m0, m1, m2, m3] = *packet.get(6..)?.first_chunk()?;
    let days = u16::from_be_bytes([d0, d1]);
    Some(f64::from(days) * 86_400.0 + f64::from(u32::from_be_bytes([m0, m1, m2, m3])) / 1e3)
}

/// Seconds since 1970, low byte first, behind the primary header. No definition comes with the
/// recording; the field reads as June 2025 and counts ten a packet throughout.
fn unix_low_first(packet: &[u8]) -> Option<f64> {
    Some(f64::from(u32::from_le_bytes(*packet.get(6..)?.first_chunk()?)))
}

/// Of the packets of one APID and length, those with the most bytes.
fn most(mut bytes: &[u8]) -> ((u16, usize), Vec<u8>) {
    let mut sources: BTreeMap<(u16, usize), Vec<u8>> = BTreeMap::new();
    while let Some([first, second, _, _, high, low]) = bytes.first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low])) + 7;
        let Some((packet, rest)) = bytes.split_at_checked(length) else { break };
        let apid = u16::from_be_bytes([first & 7, *second]);
        sources.entry((apid, length)).or_default().extend_from_slice(packet);
        bytes = rest;
    }
    sources.into_iter().max_by_key(|(_, data)| data.len()).expect("packets")
}
