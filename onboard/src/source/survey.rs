//! What of a file of packets is none, by place: found before any of it is taken, so that the words
//! are the same however often taking it was cut.

use std::fmt::Write as _;

use bytes::Bytes;

use super::{
    Malformed, PRIMARY_BYTES, parse,
    stream::{Run, Stream},
};
use crate::triage;

/// Faulty packets that are named by their place; the others are counted.
const NAMED_MAX: usize = 8;
/// Bytes that are looked into at once.
const CHUNK_BYTES: usize = 4096;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Packets that can be taken.
    pub packets: u64,
    /// What can't, in words; none where all can, idle packets aside.
    pub faults: Option<String>,
}

/// Looks through a file of packets behind one another; tiles are those of `imager_apid`.
pub fn survey(bytes: &Bytes, packet_bytes_max: usize, imager_apid: u16) -> Survey {
    let mut stream = Stream::in_step(packet_bytes_max);
    let (mut packets, mut faulty, mut named) = (0, 0u64, Vec::new());
    let mut take = |stream: &mut Stream| {
        while let Some(packet) = stream.poll() {
            let offset = stream.taken_to() - packet.len() as u64;
            match judge(packet, imager_apid) {
                Ok(()) => packets += 1,
                Err(Malformed::Idle) => {}
                Err(reason) => {
                    faulty += 1;
                    if named.len() < NAMED_MAX {
                        named.push((offset, reason.to_string()));
                    }
                }
            }
        }
    };
    for chunk in bytes.chunks(CHUNK_BYTES) {
        stream.push(chunk, 0);
        take(&mut stream);
    }
    stream.finish();
    take(&mut stream);
    let stray = stream.take_stray();
    let runs: Vec<Run> = stream.runs().to_vec();
    let named_stray: u64 = runs.iter().map(|run| run.bytes).sum();
    let said = |run: Run| (run.offset, of_run(run, bytes, packet_bytes_max));
    let mut all: Vec<(u64, String)> = runs.into_iter().map(said).chain(named).collect();
    all.sort();
    let mut words = String::new();
    for (offset, reason) in &all {
        let _ = writeln!(words, "at byte {offset}: {reason}");
    }
    if stray > named_stray {
        let _ = writeln!(words, "and {} more bytes of no packet", stray - named_stray);
    }
    if faulty > NAMED_MAX as u64 {
        let _ = writeln!(words, "and {} more faulty packets", faulty - NAMED_MAX as u64);
    }
    let faults = match words.trim_end() {
        "" if bytes.is_empty() => Some("the file is empty".to_owned()),
        "" => None,
        words => Some(words.to_owned()),
    };
    Survey { packets, faults }
}

fn judge(packet: Bytes, imager_apid: u16) -> Result<(), Malformed> {
    let packet = parse(packet)?;
    if packet.apid.0 != imager_apid {
        return Ok(());
    }
    let data = packet.bytes.slice_ref(packet.data());
    triage::read_tile(&data).map(drop).ok_or(Malformed::Tile)
}

/// What the first header of a run of stray bytes says, where it is one.
fn of_run(run: Run, bytes: &Bytes, packet_bytes_max: usize) -> String {
    let Run { offset, bytes: count } = run;
    let rest = bytes.get(offset as usize..).unwrap_or_default();
    let Some([id, _, _, _, high, low]) = rest.first_chunk::<PRIMARY_BYTES>() else {
        return format!("{count} bytes of no packet");
    };
    let length = PRIMARY_BYTES + usize::from(u16::from_be_bytes([*high, *low])) + 1;
    let left = rest.len();
    match id >> 4 {
        0 if length > left && count == left as u64 => {
            format!("a packet of {length} bytes by its header is cut: {left} are there")
        }
        0 if length > packet_bytes_max => format!(
            "{count} bytes of no packet; a header there says {length} bytes, where \
             packet_bytes_max = {packet_bytes_max}"
        ),
        1 => format!("{count} bytes of no packet; a telecommand's header stands there"),
        _ => format!("{count} bytes of no packet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(apid: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, apid, 0xc0, 0, 0, length - 1];
        bytes.resize(PRIMARY_BYTES + usize::from(length), 9);
        bytes
    }

    fn faults(bytes: Vec<u8>) -> (u64, String) {
        let Survey { packets, faults } = survey(&bytes.into(), 1024, 300);
        (packets, faults.unwrap_or_default())
    }

    #[test]
    fn what_is_wrong_has_its_place_and_its_reason() {
        let good = packet(9, 20);
        assert_eq!(faults(good.repeat(3)), (3, String::new()));
        let torn = [&b"torn"[..], &good.repeat(2)].concat();
        assert_eq!(faults(torn), (2, "at byte 0: 4 bytes of no packet".into()));
        let cut = [&good[..], &packet(9, 200)[..50]].concat();
        let said = "at byte 26: a packet of 206 bytes by its header is cut: 50 are there";
        assert_eq!(faults(cut), (1, said.into()));
        let mut late = packet(9, 4);
        late[0] = 0x08;
        let (packets, said) = faults([late, good.clone()].concat());
        assert_eq!((packets, said.as_str()), (1, "at byte 0: the secondary header is cut short"));
        let (packets, said) = faults(vec![0xff; 5000]);
        assert_eq!((packets, said.as_str()), (0, "at byte 0: 5000 bytes of no packet"));
        assert_eq!(faults(Vec::new()), (0, "the file is empty".into()));
    }

    #[test]
    fn many_faults_are_counted_and_idle_packets_are_none() {
        let mut idle = packet(0xff, 8);
        idle[0] = 0x07;
        assert_eq!(faults([packet(9, 20), idle].concat()), (1, String::new()));
        // Three bytes that begin no packet, then two that are.
        let pair = packet(9, 20).repeat(2);
        let (packets, said) = faults([&b"\xff\xff\xff"[..], &pair].concat().repeat(20));
        assert!(packets >= 20 && said.lines().count() == 9, "{packets}: {said}");
        assert!(said.ends_with("more bytes of no packet"), "{said}");
    }
}
