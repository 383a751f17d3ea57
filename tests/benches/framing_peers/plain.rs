//! What every packet pays: its check and its header.

use crate::figures::{Noise, Table, by};
use ccsds::spacepacket::decode_packets;
use codecs::fec::crc::crc16;
use codecs::fec::kernels::crc::Kernel;
use codecs::ids::Apid;
use codecs::packet::space::{PacketHeader, PacketView, SequenceCount, build};
use codecs::packet::{Extent, extent};
use crc_fast::CrcAlgorithm::Crc16Ibm3740;
use spacepackets::SpHeader;
use std::hint::black_box;

const PACKETS: usize = 262_144;
/// Bytes that a round of checks goes over, whatever their length.
const CHECKED_BYTES: usize = 1 << 18;

/// The table that the `crc` crate calls its fastest.
static TABLES: crc::Crc<u16, crc::Table<16>> =
    crc::Crc::<u16, crc::Table<16>>::new(&crc::CRC_16_IBM_3740);

fn checks(table: &mut Table) {
    for length in [16, 64, 256, 1113, 4096, 65_542] {
        let bytes = Noise(3).bytes(length);
        let times = CHECKED_BYTES.div_ceil(length);
        assert_eq!(crc16(&bytes), TABLES.checksum(&bytes));
        assert_eq!(u64::from(crc16(&bytes)), crc_fast::checksum(Crc16Ibm3740, &bytes));
        let all = |check: fn(&[u8]) -> u64| {
            let bytes = &bytes;
            move || {
                for _ in 0..times {
                    black_box(check(black_box(bytes)));
                }
            }
        };
        let peers = vec![
            by("crc", all(|bytes| u64::from(TABLES.checksum(bytes)))),
            by("crc-fast", all(|bytes| crc_fast::checksum(Crc16Ibm3740, bytes))),
        ];
        let work = ((times * length) as f64 / 1e6, "MB/s");
        table.row(format!("CRC-16, {length} bytes"), work, all(|b| u64::from(crc16(b))), peers);
        let portable = all(|bytes| u64::from(Kernel::PORTABLE.crc16(bytes)));
        table.row(format!("CRC-16, {length} bytes, portable"), work, portable, Vec::new());
    }
}

fn ours(mut rest: &[u8]) -> (usize, u64) {
    let (mut packets, mut sum) = (0, 0);
    while let Extent::Known { length, .. } = extent(rest)
        && let Some((packet, after)) = rest.split_at_checked(length)
    {
        let view = PacketView::parse(packet).expect("space packets");
        sum += u64::from(view.apid().0) + u64::from(view.sequence_count().0);
        packets += 1;
        rest = after;
    }
    (packets, sum)
}

fn by_spacepackets(mut rest: &[u8]) -> (usize, u64) {
    use spacepackets::CcsdsPacket;
    let (mut packets, mut sum) = (0, 0);
    while let Ok((header, _)) = SpHeader::from_be_bytes(rest) {
        sum += u64::from(header.apid().value()) + u64::from(header.seq_count().value());
        packets += 1;
        let Some(after) = rest.get(header.packet_len()..) else { break };
        rest = after;
    }
    (packets, sum)
}

fn by_ccsds(bytes: &[u8]) -> (usize, u64) {
    let packets = decode_packets(bytes).map(|packet| packet.expect("space packets").header);
    packets.fold((0, 0), |(packets, sum), header| {
        (packets + 1, sum + u64::from(header.apid) + u64::from(header.sequence_id))
    })
}

fn iteration(table: &mut Table) {
    let mut noise = Noise(4);
    let mut stream = Vec::new();
    for n in 0..PACKETS {
        let length = 40 + noise.below(67);
        let count = SequenceCount(n as u16 % SequenceCount::MODULUS);
        let header = PacketHeader::telemetry(Apid(100), count);
        stream.extend_from_slice(&build(&header, &noise.bytes(length)).expect("a packet"));
    }
    let found = ours(&stream);
    assert_eq!(found.0, PACKETS);
    let stream = &stream;
    let peers = vec![
        by("spacepackets", || assert_eq!(by_spacepackets(black_box(stream)), found)),
        by("ccsds", || assert_eq!(by_ccsds(black_box(stream)), found)),
    ];
    let mean = stream.len() / PACKETS;
    let what = format!("space packet iteration, mean {mean} bytes");
    let ours = || assert_eq!(ours(black_box(stream)), found);
    table.row(what, (PACKETS as f64 / 1e6, "M packets/s"), ours, peers);
}

pub fn measure(table: &mut Table) {
    checks(table);
    iteration(table);
}
