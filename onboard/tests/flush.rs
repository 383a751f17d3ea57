//! What waiting for company between contacts is worth, on recorded packets at one a second.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use codecs::{ids::Apid, time::Tai};
use onboard::{config::Squeeze, squeeze::Squeezer};

const SECOND: u64 = 1_000_000_000;
const RECORDED: &str = "packets/jpss/J01_G011_LZ_2021-04-09T00-00-00Z_V01.DAT1";
/// Half an hour without a contact.
const PACKETS: usize = 1_800;

/// The recording, or a printed reason why the test ends here.
fn recorded() -> Option<Bytes> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("GROUNDTRACK_DATA").map_or(root, PathBuf::from);
    let read = std::fs::read(data.join(RECORDED));
    read.inspect_err(|error| println!("skipped: {RECORDED}: {error}")).ok().map(Bytes::from)
}

fn packets(mut bytes: Bytes) -> Vec<Bytes> {
    let mut packets = Vec::new();
    while let Some([_, _, _, _, high, low]) = bytes.first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low])) + 7;
        if length > bytes.len() {
            break;
        }
        packets.push(bytes.split_to(length));
    }
    // One kind, as housekeeping is.
    let length = packets.first().map(Bytes::len);
    packets.retain(|packet| Some(packet.len()) == length);
    packets.truncate(PACKETS);
    packets
}

/// Bytes in for one byte out, and packets in a block.
fn squeezed(packets: &[Bytes], flush_ms: u64) -> (f64, f64) {
    let settings = Squeeze::default();
    let mut squeezer = Squeezer::new(settings.block_packets, flush_ms * 1_000_000, settings.level);
    let (mut blocks, mut out) = (0, 0);
    for (at, packet) in packets.iter().enumerate() {
        let now = at as u64 * SECOND;
        let mut closed = squeezer.flush(now).unwrap();
        closed.extend(squeezer.push(Apid(1), packet.clone(), Tai(1), 0.0, now).unwrap());
        blocks += closed.len();
        out += closed.iter().map(|block| block.bytes.len()).sum::<usize>();
    }
    let left = squeezer.flush(u64::MAX).unwrap();
    blocks += left.len();
    out += left.iter().map(|block| block.bytes.len()).sum::<usize>();
    let bytes: usize = packets.iter().map(Bytes::len).sum();
    (bytes as f64 / out as f64, packets.len() as f64 / blocks as f64)
}

#[test]
fn at_one_packet_a_second_blocks_between_contacts_are_worth_their_wait() {
    let Some(bytes) = recorded() else { return };
    let packets = packets(bytes);
    let settings = Squeeze::default();
    let [near, away] = [settings.flush_ms, settings.flush_away_ms].map(|ms| squeezed(&packets, ms));
    println!(
        "{} packets: {} ms {:.2}x ({:.1} a block), {} ms {:.2}x ({:.1} a block)",
        packets.len(),
        settings.flush_ms,
        near.0,
        near.1,
        settings.flush_away_ms,
        away.0,
        away.1
    );
    assert!(away.1 > 60.0, "full blocks by default");
    assert!(away.0 > 1.5 * near.0, "{:.2}x against {:.2}x", away.0, near.0);
}
