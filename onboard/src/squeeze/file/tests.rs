use super::*;
use proptest::prelude::*;

const SQUEEZING: Squeezing =
    Squeezing { block_packets: 8, level: Level::Fast, segment_bytes: SEGMENT_BYTES };

fn packet_of(apid: u16, length: usize, seed: u8) -> Vec<u8> {
    let mut packet = vec![seed; length];
    packet[..2].copy_from_slice(&(0x0800 | apid).to_be_bytes());
    packet[2..4].copy_from_slice(&(0xC000 | u16::from(seed)).to_be_bytes());
    packet[4..6].copy_from_slice(&((length - 7) as u16).to_be_bytes());
    packet
}

/// All segments, squeezed as a shell does it.
fn squeezed(squeezing: Squeezing, plain: &[u8]) -> Vec<Segment> {
    let (mut at, mut segments) = (0, Vec::new());
    while at < plain.len() {
        let until = plain.len().min(at + squeezing.segment_bytes + LOOK_AHEAD_BYTES);
        let segment = squeezing.segment(&plain[at..until], until == plain.len()).unwrap();
        assert!(segment.consumed > 0);
        at += segment.consumed;
        segments.push(segment);
    }
    segments
}

fn back(segment: &[u8]) -> Result<Plain, FileError> {
    let (header, parts) = segment.split_first_chunk().ok_or(FileError::Part(0))?;
    let Announced::Segment { parts: length, plain, crc } = announced(header)? else {
        return Err(FileError::Part(0));
    };
    unsqueeze_segment(parts.get(..length).ok_or(FileError::Part(0))?, plain, crc)
}

fn interleaved() -> Vec<u8> {
    let packets = (0..90u8).flat_map(|at| match at % 3 {
        0 => packet_of(100, 40, at),
        1 => packet_of(101, 40, at),
        _ => packet_of(100, 30, at),
    });
    packets.collect()
}

#[test]
fn interleaved_packets_come_back_in_their_order() {
    let plain = interleaved();
    let segments = squeezed(SQUEEZING, &plain);
    assert_eq!((segments.len(), segments[0].stray_bytes), (1, 0));
    assert_eq!(segments[0].blocks.len(), 3 * 4, "30 packets a source, 8 a block");
    let whole = back(&segments[0].bytes).unwrap();
    assert_eq!((whole.bytes, whole.packets), (plain, 90));
}

#[test]
fn what_is_no_packet_is_found_and_kept() {
    let mut plain = b"\xFF\xFEgarbage in front".to_vec();
    plain.extend(interleaved());
    plain.extend(b"\xE0between");
    plain.extend(interleaved());
    let cut = packet_of(7, 60, 1);
    plain.extend(&cut[..33]);
    let segments = squeezed(SQUEEZING, &plain);
    // The byte in front of a gap looks like the end of no packet, so that one packet goes with it.
    assert!(segments[0].stray_bytes < 18 + 8 + 33 + 2 * 40, "{}", segments[0].stray_bytes);
    assert_eq!(back(&segments[0].bytes).unwrap().bytes, plain);
    let sole = squeezed(SQUEEZING, &cut[..1]);
    assert_eq!(back(&sole[0].bytes).unwrap().bytes, &cut[..1]);
}

#[test]
fn every_cut_and_every_flipped_byte_of_a_segment_is_an_error() {
    let mut plain = interleaved();
    plain.truncate(400);
    let segment = &squeezed(SQUEEZING, &plain)[0].bytes;
    for cut in 0..segment.len() {
        assert!(back(&segment[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..segment.len() {
        for bit in [0x01, 0x10, 0x80] {
            let mut flipped = segment.clone();
            flipped[at] ^= bit;
            if let Ok(read) = back(&flipped) {
                assert_eq!(read.bytes, plain, "byte {at}");
            }
        }
    }
}

#[test]
fn errors_say_where() {
    let mut segment = squeezed(SQUEEZING, &interleaved()).remove(0);
    let sound = segment.bytes.clone();
    let (at, _) = sound.windows(2).enumerate().find(|(_, pair)| pair == b"Sq").unwrap();
    segment.bytes[at] = b'!';
    assert_eq!(
        back(&segment.bytes),
        Err(FileError::Block { at: at - 4 - SEGMENT_HEADER_BYTES, error: SqueezeError::Magic })
    );
    let lies = announced(&[0xFF; 12]).unwrap_err();
    assert!(matches!(lies, FileError::Length { .. }), "{lies}");
    assert_eq!(announced(&end(1 << 40)), Ok(Announced::End { plain: 1 << 40 }));
}

#[test]
fn a_small_segment_that_claims_much_gives_an_error() {
    let bomb = zstd::bulk::compress(&vec![0u8; 64 << 20], 3).unwrap();
    let mut parts = Vec::new();
    put_part(&mut parts, &bomb);
    put_part(&mut parts, &bomb);
    assert_eq!(unsqueeze_segment(&parts, 100, 0), Err(FileError::Zstd("order")));
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let packet = (0u16..3, prop::sample::select(vec![7usize, 20, 33]), any::<u8>());
    prop_oneof![
        8 => packet.prop_map(|(apid, length, seed)| packet_of(apid, length, seed)),
        1 => prop::collection::vec(any::<u8>(), 1..12),
        1 => prop::collection::vec(Just(0u8), 1..9),
    ]
}

proptest! {
    #[test]
    fn any_file_comes_back(
        pieces in prop::collection::vec(piece(), 0..120), cut in 0usize..30,
        segment_bytes in prop::sample::select(vec![1usize, 50, 700, SEGMENT_BYTES]),
        dense in prop::bool::weighted(0.1),
    ) {
        let mut plain = pieces.concat();
        plain.truncate(plain.len().saturating_sub(cut));
        let level = if dense { Level::Dense } else { Level::Fast };
        let segments = squeezed(Squeezing { segment_bytes, level, ..SQUEEZING }, &plain);
        let read: Vec<u8> =
            segments.iter().flat_map(|segment| back(&segment.bytes).unwrap().bytes).collect();
        prop_assert_eq!(read, plain);
    }

    #[test]
    fn no_parts_make_it_panic(
        order in prop::collection::vec(0u8..9, 0..40),
        stray in prop::collection::vec(any::<u8>(), 0..20),
        rest in prop::collection::vec(any::<u8>(), 0..60), plain in 0usize..5000,
    ) {
        let mut parts = Vec::new();
        put_part(&mut parts, &zstd::bulk::compress(&order, 1).unwrap());
        put_part(&mut parts, &zstd::bulk::compress(&stray, 1).unwrap());
        parts.extend(rest);
        let _ = unsqueeze_segment(&parts, plain, 0);
    }
}
