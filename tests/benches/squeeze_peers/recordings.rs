//! Packets that real spacecraft sent, of one APID and length in each recording.

use std::collections::BTreeMap;

pub struct Recording {
    pub name: &'static str,
    /// Bytes of a packet.
    pub length: usize,
    pub data: Vec<u8>,
}

/// The recordings that are there.
pub fn all() -> Vec<Recording> {
    let files = [
        ("NOAA-20", "packets/jpss/J01_G011_LZ_2021-04-09T00-00-00Z_V01.DAT1"),
        ("CSA", "packets/csa/csa_apid00400.tlm"),
        ("CTIM", "packets/ctim/ccsds_2021_155_14_39_51"),
    ];
    let read = |(name, file)| {
        let path = tests::recorded(file)?;
        let bytes = std::fs::read(path).expect("a readable recording");
        let ((_, length), data) = most(&bytes);
        Some(Recording { name, length, data })
    };
    files.into_iter().filter_map(read).collect()
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
