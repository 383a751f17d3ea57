use super::*;
use crate::packet::space::PacketView;
use proptest::prelude::*;

#[test]
fn a_header_with_ten_bits_of_spacecraft() {
    let bytes = [0x48, 0x45, 0xA0, 0xB0, 0xC0, 0xF9];
    let header = AosHeader::read(bytes, true);
    let cycle = Some(9);
    let said = AosHeader { scid: 0x321, vcid: 5, count: 0xA0_B0C0, replay: true, cycle };
    assert_eq!(header, said);
    assert_eq!(header.emit(), bytes);
    assert_eq!(AosHeader::read(bytes, false).scid, 0x21, "eight bits for older missions");
}

/// Spacecraft 71, channel 0, count 5: one 9-byte packet and idle fill, CRC at the end.
const GOLDEN: [u8; 32] = [
    0x51, 0xC0, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x08, 0x64, 0xC0, 0x01, 0x00, 0x02, 0xAA, 0xBB,
    0xCC, 0x07, 0xFF, 0xC0, 0x00, 0x00, 0x06, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x30, 0x69,
];

#[test]
fn golden_frame_reads_and_writes() {
    let config = AosConfig::new(32).with_fecf(true);
    let mut builder = AosBuilder::new(config.clone(), 71, 0, 5).unwrap();
    let mut frames = Vec::new();
    builder.push(&GOLDEN[8..17], &mut |frame| frames.push(frame)).unwrap();
    assert_eq!((frames.len(), builder.pending()), (0, 9));
    builder.flush(&mut |frame| frames.push(frame));
    builder.flush(&mut |frame| frames.push(frame));
    assert_eq!(frames, [&GOLDEN[..]]);
    assert_eq!((builder.next_count(), builder.pending()), (6, 0));

    let frame = AosFrame::parse(&GOLDEN, &config).unwrap();
    assert_eq!(frame.channel(), VirtualChannel { version: 1, scid: 71, vcid: 0, map: 0 });
    assert_eq!((frame.header().count, frame.first_header()), (5, FirstHeader::At(0)));
    assert_eq!(frame.packet_zone(), 8..30);
    assert!(frame.fecf_holds() && !frame.is_idle());
    assert!(frame.ocf().is_none() && frame.insert_zone().is_empty());
    assert!(PacketView::parse(&GOLDEN[17..30]).unwrap().is_idle());
}

#[test]
fn every_truncation_and_every_flip_is_survived() {
    let config = AosConfig::new(32).with_fecf(true);
    for end in 0..GOLDEN.len() {
        let length = FrameError::Length { expected: 32, found: end };
        assert_eq!(AosFrame::parse(&GOLDEN[..end], &config).unwrap_err(), length);
    }
    for bit in 0..GOLDEN.len() * 8 {
        let mut bytes = GOLDEN;
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
        match AosFrame::parse(&bytes, &config) {
            Ok(frame) => assert!(!frame.fecf_holds(), "bit {bit}"),
            Err(error) => {
                assert!(bit < 2 && matches!(error, FrameError::Version { .. }), "bit {bit}");
            }
        }
    }
}

#[test]
fn optional_fields_take_their_room() {
    let mut config = AosConfig::new(64).with_fecf(true);
    (config.insert_zone, config.ocf) = (5, true);
    let mut builder = AosBuilder::new(config.clone(), 1, 2, COUNT_MODULUS - 1).unwrap();
    builder.set_ocf([1, 2, 3, 4]);
    let mut frames = Vec::new();
    builder.push(&GOLDEN[8..17], &mut |frame| frames.push(frame)).unwrap();
    builder.flush(&mut |frame| frames.push(frame));
    let frame = AosFrame::parse(&frames[0], &config).unwrap();
    assert_eq!((frame.ocf(), frame.insert_zone()), (Some([1, 2, 3, 4]), &[0; 5][..]));
    assert_eq!(frame.packet_zone(), 13..58);
    assert!(frame.fecf_holds());
    assert_eq!(builder.next_count(), 0, "24 bits wrap");
}

#[test]
fn impossible_configurations_are_refused() {
    let refused = |config, scid, vcid| AosBuilder::new(config, scid, vcid, 0).unwrap_err();
    assert!(matches!(refused(AosConfig::new(64), 256, 0), BuildError::Identifier { .. }));
    assert!(matches!(refused(AosConfig::new(64), 1, 63), BuildError::Identifier { .. }));
    assert_eq!(refused(AosConfig::new(8), 1, 0), BuildError::Zone(0));
    assert_eq!(refused(AosConfig::new(8 + 2047), 1, 0), BuildError::Zone(2047));
    let mut config = AosConfig::new(64);
    config.insert_zone = usize::MAX;
    let error = AosFrame::parse(&[0x40; 64], &config).unwrap_err();
    assert!(matches!(error, FrameError::NoRoom { .. }));
}

proptest! {
    #[test]
    fn headers_round_trip(
        scid in 0u16..1024,
        vcid in 0u8..64,
        count in 0u32..COUNT_MODULUS,
        replay: bool,
        cycle in prop::option::of(0u8..16),
    ) {
        let header = AosHeader { scid, vcid, count, replay, cycle };
        let bytes = header.emit();
        prop_assert_eq!(AosHeader::read(bytes, true), header);
        prop_assert_eq!(bytes[5] >> 7, u8::from(replay));
        prop_assert_eq!(bytes[5] >> 6 & 1, u8::from(cycle.is_some()));
    }

    #[test]
    fn any_bytes_in_any_configuration_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        insert_zone in 0usize..80,
        flags in 0u8..16,
    ) {
        let config = AosConfig {
            length: bytes.len(),
            insert_zone,
            header_error_control: flags & 1 != 0,
            ocf: flags & 2 != 0,
            fecf: flags & 4 != 0,
            wide_scid: flags & 8 != 0,
            ..AosConfig::new(0)
        };
        if let Ok(frame) = AosFrame::parse(&bytes, &config) {
            prop_assert!(!frame.packet_zone().is_empty());
            prop_assert!(frame.packet_zone().end <= bytes.len());
            prop_assert_eq!(frame.insert_zone().len(), insert_zone);
            prop_assert_eq!(frame.ocf().is_some(), config.ocf);
            frame.fecf_holds();
        }
    }
}

#[test]
fn two_wrong_symbols_of_a_header_are_corrected_and_three_refused() {
    let mut config = AosConfig::new(40);
    config.header_error_control = true;
    let mut builder = AosBuilder::new(config.clone(), 71, 5, 9).unwrap();
    let mut frames = Vec::new();
    builder.push(&GOLDEN[8..17], &mut |frame| frames.push(frame)).unwrap();
    builder.flush(&mut |frame| frames.push(frame));
    let right = AosFrame::parse(&frames[0], &config).unwrap();
    assert_eq!((right.corrected_symbols(), right.packet_zone()), (0, 10..40));
    let mut bytes = frames[0].to_vec();
    // The version and the virtual channel.
    (bytes[0], bytes[1]) = (bytes[0] ^ 0xF0, bytes[1] ^ 0x0F);
    let frame = AosFrame::parse(&bytes, &config).unwrap();
    assert_eq!((frame.corrected_symbols(), frame.header()), (2, right.header()));
    bytes[5] ^= 0x80;
    assert_eq!(AosFrame::parse(&bytes, &config).unwrap_err(), FrameError::HeaderControl);
    // The count stands outside.
    let mut bytes = frames[0].to_vec();
    bytes[4] ^= 1;
    let frame = AosFrame::parse(&bytes, &config).unwrap();
    assert_eq!((frame.corrected_symbols(), frame.header().count), (0, 8));
}

#[test]
fn idle_frames_hold_the_standards_fill_without_a_pointer() {
    let mut config = AosConfig::new(24).with_fecf(true);
    (config.header_error_control, config.ocf) = (true, true);
    let mut idle = AosIdle::new(config.clone(), 71, COUNT_MODULUS - 1).unwrap();
    idle.set_ocf([1, 2, 3, 4]);
    let (first, second) = (idle.frame(), idle.frame());
    let frame = AosFrame::parse(&first, &config).unwrap();
    assert!(frame.is_idle() && frame.fecf_holds());
    assert_eq!((frame.packet_zone(), frame.ocf()), (8..18, Some([1, 2, 3, 4])));
    let fill = [0xFF, 0xFF, 0xFF, 0xFF, 0x6D, 0xB6, 0xD8, 0x61, 0x45, 0x1F, 0x11, 0xF1];
    assert_eq!(first[8..18], fill[..10]);
    assert_eq!(second[8..10], fill[10..], "the fill runs on from frame to frame");
    assert_eq!(AosFrame::parse(&second, &config).unwrap().header().count, 0);
    assert!(AosIdle::new(AosConfig::new(6), 1, 0).is_err());
    assert!(AosIdle::new(AosConfig::new(24), 256, 0).is_err());
}
