use super::*;
use alloc::string::String;
use proptest::prelude::*;
use std::path::PathBuf;

fn block_of(packets: &[Vec<u8>], level: Level) -> Vec<u8> {
    let slices: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    squeeze(&slices, level).unwrap()
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

const LEVELS: [Level; 2] = [Level::Fast, Level::Dense];

#[test]
fn golden_header() {
    let packets = telemetry(16, 20, 5);
    for (level, method) in [(Level::Fast, 2), (Level::Dense, 3)] {
        let block = block_of(&packets, level);
        assert_eq!(block[..8], [b'S', b'q', 0x20 | method, 0, 0, 20, 0, 16]);
        let one = block_of(&telemetry(1, 20, 0x5A)[..1], Level::Fast);
        assert_eq!(one[..8], [b'S', b'q', 0x20, 0, 0, 20, 0, 1], "one packet is stored");
        assert_eq!(one.len(), HEADER_BYTES + 20);
    }
}

#[test]
fn blocks_of_version_1_are_read() {
    #[rustfmt::skip]
    let block = [
        0x53, 0x71, 0x11, 0x00, 0x00, 0x16, 0x00, 0x28, 0xc3, 0x30, 0x11, 0xdc, 0x28, 0xb5,
        0x2f, 0xfd, 0x60, 0x72, 0x02, 0xcd, 0x00, 0x00, 0x60, 0x50, 0x74, 0x00, 0x2a, 0xc0,
        0x00, 0x00, 0x0f, 0x00, 0x02, 0x00, 0x02, 0x04, 0x10, 0x00, 0x6c, 0x2a, 0x51, 0xf4,
        0x3e, 0x2c, 0x40, 0xc9, 0x01,
    ];
    let read = unsqueeze(&block, MAX_BLOCK_BYTES).unwrap();
    assert_eq!((read.count(), read.packet_length), (40, 22));
    assert!(read.packets().all(|packet| packet[4..6] == [0, 15]));
    assert_eq!(explain(&block), Ok(Vec::new()));
}

/// Long packets that repeat themselves, but not from one to the next, are for zstd.
#[test]
fn dumps_of_memory_are_squeezed_whole() {
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let words: Vec<[u8; 24]> = (0..40).map(|_| [(); 24].map(|()| noise())).collect();
    let packets: Vec<Vec<u8>> = (0..16)
        .map(|_| {
            let mut packet = vec![8, 100, 0xC0, noise(), 1, 0xDF];
            packet.extend((0..20).flat_map(|_| words[usize::from(noise()) % 40]));
            packet
        })
        .collect();
    let block = block_of(&packets, Level::Dense);
    assert_eq!(block[2], 0x24);
    assert!(block.len() * 3 < packets.len() * packets[0].len(), "{}", block.len());
    let read = unsqueeze(&block, MAX_BLOCK_BYTES).unwrap();
    assert_eq!(read.packets().collect::<Vec<_>>(), packets);
    assert_eq!(explain(&block), Ok(Vec::new()));
    for cut in (0..block.len()).step_by(7) {
        assert!(unsqueeze(&block[..cut], MAX_BLOCK_BYTES).is_err(), "cut at {cut}");
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (a, b) = ([8u8, 100, 0, 0, 0, 1, 1, 1], [8u8, 101, 0, 0, 0, 1, 1, 1]);
    assert_eq!(squeeze(&[], Level::Fast), Err(SqueezeError::Count(0)));
    assert_eq!(squeeze(&[&a, &b], Level::Fast), Err(SqueezeError::Mixed(1)));
    assert_eq!(squeeze(&[&a, &a[..7]], Level::Fast), Err(SqueezeError::Mixed(1)));
    assert_eq!(squeeze(&[&a[..6]], Level::Fast), Err(SqueezeError::Length(6)));
    assert_eq!(squeeze(&vec![&a[..]; 4097], Level::Fast), Err(SqueezeError::Count(4097)));
    let large = vec![0u8; 65_542];
    assert!(matches!(
        squeeze(&vec![&large[..]; 65], Level::Fast),
        Err(SqueezeError::TooLarge { .. })
    ));
}

#[test]
fn the_callers_limit_holds() {
    let block = block_of(&telemetry(64, 40, 1), Level::Fast);
    assert!(unsqueeze(&block, 64 * 40).is_ok());
    assert_eq!(
        unsqueeze(&block, 64 * 40 - 1),
        Err(SqueezeError::TooLarge { bytes: 2560, limit: 2559 })
    );
}

#[test]
fn every_truncation_and_every_flipped_bit_is_noticed_or_harmless() {
    let packets = telemetry(24, 24, 9);
    let pieces = [&packets[..], &packets[..1]];
    for (packets, level) in pieces.iter().flat_map(|piece| LEVELS.map(|level| (piece, level))) {
        let block = block_of(packets, level);
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
    #![proptest_config(ProptestConfig::with_cases(64))]

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
        for level in LEVELS {
            let block = block_of(&packets, level);
            prop_assert!(block.len() <= HEADER_BYTES + count * length);
            let read = unsqueeze(&block, MAX_BLOCK_BYTES).unwrap();
            prop_assert_eq!(&read.packets().collect::<Vec<_>>(), &packets);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        method in prop::sample::select(vec![0u8, 0x11, 0x22, 0x23]),
    ) {
        if method > 0 && bytes.len() > 12 {
            bytes[..2].copy_from_slice(&MAGIC);
            bytes[2] = method;
            bytes[3..5].fill(0);
            bytes[6] &= 1;
        }
        if method == 0x11 && bytes.len() > 12 {
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
fn ratio(packets: &[Vec<u8>], level: Level) -> f64 {
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

const RECORDINGS: [&str; 2] =
    ["csa/csa_apid00400.tlm", "jpss/J01_G011_LZ_2021-04-09T00-00-00Z_V01.DAT1"];

#[test]
fn recorded_packets_shrink_as_measured() {
    for (file, fast_least, dense_least) in [(RECORDINGS[0], 5.5, 6.6), (RECORDINGS[1], 4.3, 6.5)] {
        let Some(packets) = recorded(file) else { continue };
        let (fast, dense) = (ratio(&packets, Level::Fast), ratio(&packets, Level::Dense));
        let name: String = file.chars().take_while(|letter| *letter != '/').collect();
        std::println!(
            "{name}: {} packets of {} bytes, 64 a block: {fast:.2} fast, {dense:.2} dense",
            packets.len(),
            packets[0].len()
        );
        assert!(fast > fast_least, "{name}, fast: {fast:.2}, {fast_least} expected");
        assert!(dense > dense_least, "{name}, dense: {dense:.2}, {dense_least} expected");
    }
}

/// Any one block of a recording lost: every packet of every other is there, byte for byte.
#[test]
fn a_lost_block_costs_its_own_packets_and_no_others() {
    let recorded = RECORDINGS.iter().filter_map(|file| recorded(file));
    for packets in recorded.chain([telemetry(1000, 40, 3)]) {
        let packets = &packets[..packets.len().min(300)];
        for level in LEVELS {
            let chunks: Vec<_> = packets.chunks(64).collect();
            let blocks: Vec<_> = chunks.iter().map(|chunk| block_of(chunk, level)).collect();
            for lost in 0..blocks.len() {
                // Read the others in an order of their own, so that none can lean on another.
                for at in (0..blocks.len()).rev().filter(|at| *at != lost) {
                    let read = unsqueeze(&blocks[at], MAX_BLOCK_BYTES).unwrap();
                    assert!(read.packets().eq(chunks[at].iter().map(|packet| packet.as_slice())));
                }
            }
        }
    }
}

#[test]
fn every_column_of_a_block_is_told_once() {
    for level in LEVELS {
        let block = block_of(&telemetry(64, 40, 1), level);
        let told = explain(&block).unwrap();
        let mut column = 0;
        for group in &told {
            assert_eq!(group.column, column);
            column += group.width;
        }
        assert_eq!(column, 40);
        let bits: usize = told.iter().map(|group| group.bits).sum();
        assert!(bits > 0 && bits <= 8 * block.len(), "{bits}");
        assert_eq!((told[0].transform, told[0].coding), ("constant", "once"));
    }
}
