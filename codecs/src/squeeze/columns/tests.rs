use super::*;
use alloc::string::String;
use proptest::prelude::*;
use std::path::PathBuf;

fn block_of(packets: &[Vec<u8>]) -> Vec<u8> {
    let slices: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    squeeze(&slices, DEFAULT_LEVEL).unwrap()
}

fn telemetry(count: usize, length: usize, seed: u8) -> Vec<Vec<u8>> {
    (0..count)
        .map(|row| {
            let mut packet = vec![8, 100, 0xC0, row as u8, 0, (length - 7) as u8];
            packet.extend((6..length).map(|column| match column % 4 {
                0 => seed,
                1 => (row * column) as u8,
                2 => (row * row / 7) as u8,
                _ => ((row * 2_654_435_761) >> (column % 13)) as u8,
            }));
            packet
        })
        .collect()
}

#[test]
fn golden_header() {
    let packets = telemetry(16, 20, 5);
    let block = block_of(&packets);
    assert_eq!(block[..8], [b'S', b'q', 0x11, 0, 0, 20, 0, 16]);
    let one = block_of(&packets[..1]);
    assert_eq!(one[..8], [b'S', b'q', 0x10, 0, 0, 20, 0, 1], "one packet is stored");
    assert_eq!(one.len(), HEADER_BYTES + 20);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (a, b) = ([8u8, 100, 0, 0, 0, 1, 1, 1], [8u8, 101, 0, 0, 0, 1, 1, 1]);
    assert_eq!(squeeze(&[], 3), Err(SqueezeError::Count(0)));
    assert_eq!(squeeze(&[&a, &b], 3), Err(SqueezeError::Mixed(1)));
    assert_eq!(squeeze(&[&a, &a[..7]], 3), Err(SqueezeError::Mixed(1)));
    assert_eq!(squeeze(&[&a[..6]], 3), Err(SqueezeError::Length(6)));
    assert_eq!(squeeze(&vec![&a[..]; 4097], 3), Err(SqueezeError::Count(4097)));
    let large = vec![0u8; 65_542];
    assert!(matches!(squeeze(&vec![&large[..]; 65], 3), Err(SqueezeError::TooLarge { .. })));
}

#[test]
fn the_callers_limit_holds() {
    let block = block_of(&telemetry(64, 40, 1));
    assert!(unsqueeze(&block, 64 * 40).is_ok());
    assert_eq!(
        unsqueeze(&block, 64 * 40 - 1),
        Err(SqueezeError::TooLarge { bytes: 2560, limit: 2559 })
    );
}

#[test]
fn every_truncation_and_every_flipped_bit_is_noticed_or_harmless() {
    let packets = telemetry(24, 24, 9);
    for packets in [&packets[..], &packets[..1]] {
        let block = block_of(packets);
        let whole = unsqueeze(&block, MAX_BLOCK_BYTES).unwrap();
        for cut in 0..block.len() {
            assert!(unsqueeze(&block[..cut], MAX_BLOCK_BYTES).is_err(), "cut at {cut}");
        }
        for bit in 0..block.len() * 8 {
            let mut flipped = block.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = unsqueeze(&flipped, MAX_BLOCK_BYTES) {
                assert_eq!(read, whole, "bit {bit}");
            }
        }
    }
}

#[test]
fn a_small_block_that_claims_much_gives_an_error() {
    let mut bomb = b"Sq\x11\x00\x10\x00\x04\x00\x00\x00\x00\x00".to_vec();
    bomb.extend(zstd::bulk::compress(&vec![0u8; 64 << 20], 3).unwrap());
    assert_eq!(unsqueeze(&bomb, MAX_BLOCK_BYTES), Err(SqueezeError::Truncated));
}

proptest! {
    #[test]
    fn packets_come_back(
        count in 1usize..130, length in 7usize..90, bytes in prop::collection::vec(any::<u8>(), 90),
        noise in prop::collection::vec((any::<u16>(), any::<u8>()), 0..200),
    ) {
        let mut packets = vec![bytes[..length].to_vec(); count];
        for (at, value) in noise {
            let at = usize::from(at) % (count * length);
            if at % length > 1 {
                packets[at / length][at % length] = value;
            }
        }
        let block = block_of(&packets);
        prop_assert!(block.len() <= HEADER_BYTES + count * length);
        let read = unsqueeze(&block, MAX_BLOCK_BYTES).unwrap();
        prop_assert_eq!(read.packets().collect::<Vec<_>>(), packets);
    }

    #[test]
    fn no_bytes_make_it_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300), like_a_block in any::<bool>(),
    ) {
        if like_a_block && bytes.len() > 12 {
            bytes[..2].copy_from_slice(&MAGIC);
            bytes[2] = 0x11;
            bytes[3] = 0;
            let inside = zstd::bulk::compress(&bytes[12..], 3).unwrap();
            bytes.truncate(12);
            bytes.extend(inside);
        }
        let _ = unsqueeze(&bytes, MAX_BLOCK_BYTES);
    }
}

/// Packets of one length in a file of recorded data, or a printed reason.
fn recorded(file: &str) -> Option<Vec<Vec<u8>>> {
    let root = std::env::var_os("GROUNDTRACK_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let path = root.join("packets").join(file);
    let Ok(bytes) = std::fs::read(&path) else {
        std::println!("skipped: no recording at {}; set GROUNDTRACK_DATA", path.display());
        return None;
    };
    let length = usize::from(u16::from_be_bytes([bytes[4], bytes[5]])) + 7;
    Some(bytes.chunks_exact(length).map(<[u8]>::to_vec).collect())
}

/// Ratio over a recording at 64 packets a block, headers counted.
fn ratio(packets: &[Vec<u8>], level: i32) -> f64 {
    let (mut source, mut squeezed) = (0, 0);
    for chunk in packets.chunks(64) {
        let slices: Vec<&[u8]> = chunk.iter().map(Vec::as_slice).collect();
        let block = squeeze(&slices, level).unwrap();
        let back = unsqueeze(&block, MAX_BLOCK_BYTES).unwrap();
        assert_eq!(back.packets().collect::<Vec<_>>(), chunk);
        source += back.data.len();
        squeezed += block.len();
    }
    source as f64 / squeezed as f64
}

#[test]
fn recorded_packets_shrink_as_measured() {
    for (file, least) in
        [("csa/csa_apid00400.tlm", 4.6), ("jpss/J01_G011_LZ_2021-04-09T00-00-00Z_V01.DAT1", 4.6)]
    {
        let Some(packets) = recorded(file) else { continue };
        let (three, nineteen) = (ratio(&packets, 3), ratio(&packets, 19));
        let name: String = file.chars().take_while(|letter| *letter != '/').collect();
        std::println!(
            "{name}: {} packets of {} bytes, 64 a block: {three:.2} at level 3, \
             {nineteen:.2} at level 19",
            packets.len(),
            packets[0].len()
        );
        assert!(three > least, "{name} shrank by {three:.2} only, {least} expected");
    }
}
