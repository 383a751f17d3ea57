use super::*;
use proptest::prelude::*;

/// Spacecraft 0x4321 as the source, channel 5, access point 3, bypass, OCF, two bytes of count
/// (0x0102); packets from byte 2 on; CRC-16.
const GOLDEN: [u8; 23] = [
    0xC4, 0x32, 0x10, 0xA6, 0x00, 0x16, 0x8A, 0x01, 0x02, 0x00, 0x00, 0x02, 0xAA, 0xBB, 0xCC, 0xDD,
    0xEE, 0x01, 0x02, 0x03, 0x04, 0xD6, 0x0A,
];

const CONFIG: UslpConfig = UslpConfig { fecf: Fecf::Crc16, ..UslpConfig::new(None) };

fn header() -> UslpHeader {
    UslpHeader {
        scid: 0x4321,
        vcid: 5,
        map: 3,
        bypass: true,
        count: Count { value: 0x0102, bytes: 2 },
        ..UslpHeader::default()
    }
}

#[test]
fn golden_frame_reads_and_writes() {
    let bytes = GOLDEN;
    let frame = UslpFrame::parse(&bytes, &CONFIG).unwrap();
    assert_eq!(*frame.header(), header());
    assert_eq!((frame.rule(), frame.upid()), (Rule::Packets(Some(2)), UPID_PACKETS));
    assert_eq!((frame.zone(), frame.ocf()), (12..17, Some([1, 2, 3, 4])));
    assert_eq!(frame.data(), [0xAA, 0xBB, 0xCC, 0xDD, 0xEE]);
    assert!(frame.fecf_holds() && !frame.is_idle() && frame.insert_zone().is_empty());
    assert_eq!(extent(&bytes), Some(23));
    let content = Content {
        insert_zone: &[],
        rule: Rule::Packets(Some(2)),
        upid: UPID_PACKETS,
        zone: &[0xAA, 0xBB, 0xCC, 0xDD, 0xEE],
        ocf: Some([1, 2, 3, 4]),
        fecf: Fecf::Crc16,
    };
    assert_eq!(build(&header(), &content).unwrap(), bytes);
    let outside = Content { rule: Rule::Packets(Some(5)), ..content };
    assert_eq!(build(&header(), &outside), Err(BuildError::Data { length: 5, max: 65_518 }));
}

#[test]
fn every_truncation_and_every_flip_is_noticed() {
    let bytes = GOLDEN;
    for end in 0..bytes.len() {
        assert!(UslpFrame::parse(&bytes[..end], &CONFIG).is_err(), "{end}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes;
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
        match UslpFrame::parse(&bytes, &CONFIG) {
            Ok(frame) => assert!(!frame.fecf_holds(), "bit {bit}"),
            Err(FrameError::Version { .. }) => assert!(bit < 4),
            Err(FrameError::Truncated) => assert_eq!(bit, 31),
            Err(_) => {}
        }
    }
}

#[test]
fn pointers_stay_in_the_zone_and_cut_the_fill() {
    let mut bytes = GOLDEN;
    bytes[11] = 5;
    let error = UslpFrame::parse(&bytes, &CONFIG).unwrap_err();
    assert_eq!(error, FrameError::Pointer { pointer: 5, zone: 5 });
    // The same zone as the start of a unit that ends at byte 2.
    (bytes[9], bytes[11]) = (0x20, 2);
    let frame = UslpFrame::parse(&bytes, &CONFIG).unwrap();
    assert_eq!(frame.rule(), Rule::UnitStart(Some(2)));
    assert_eq!((frame.data().len(), frame.zone().len()), (3, 5));
    (bytes[10], bytes[11]) = (0xFF, 0xFF);
    let frame = UslpFrame::parse(&bytes, &CONFIG).unwrap();
    assert_eq!((frame.rule(), frame.data().len()), (Rule::UnitStart(None), 5));
    // Without a pointer two more bytes are data.
    bytes[9] = 0xE0;
    assert_eq!(UslpFrame::parse(&bytes, &CONFIG).unwrap().data().len(), 7);
}

#[test]
fn counts_of_every_length_wrap() {
    assert_eq!(Count { value: 0, bytes: 0 }.modulus(), 1);
    assert_eq!(Count { value: 0, bytes: 3 }.modulus(), 1 << 24);
    assert_eq!(Count { value: 0, bytes: 200 }.modulus(), 1 << 56);
}

#[test]
fn idle_frames_hold_the_standards_fill() {
    let config = UslpConfig { insert_zone: 2, fecf: Fecf::Crc32, ..UslpConfig::new(Some(32)) };
    let mut fill = IdleFill::new();
    let frame = build_idle(&header(), &config, 32, Some([1, 2, 3, 4]), &mut fill).unwrap();
    let view = UslpFrame::parse(&frame, &config).unwrap();
    assert!(view.is_idle() && view.fecf_holds());
    assert_eq!((view.header().vcid, view.upid(), view.zone()), (63, UPID_IDLE, 12..24));
    let published = [0xFF, 0xFF, 0xFF, 0xFF, 0x6D, 0xB6, 0xD8, 0x61, 0x45, 0x1F, 0x11, 0xF1];
    assert_eq!(view.data(), published);
    for length in [0, 16, MAX_FRAME_BYTES + 1, usize::MAX] {
        assert!(build_idle(&header(), &config, length, None, &mut fill).is_err(), "{length}");
    }
    assert_eq!(build_idle(&header(), &config, 17, None, &mut fill).unwrap().len(), 17);
}

#[test]
fn truncated_frames_read_where_their_length_is_configured() {
    // Spacecraft 0x4321, channel 5, access point 3, whole units of identifier 5.
    let bytes = [0xC4, 0x32, 0x10, 0xA7, 0xE5, 0xAA, 0xBB];
    assert_eq!(UslpFrame::parse(&bytes, &CONFIG).unwrap_err(), FrameError::Truncated);
    let config = UslpConfig { truncated_bytes: Some(7), insert_zone: 9, ..CONFIG };
    let frame = UslpFrame::parse(&bytes, &config).unwrap();
    let UslpHeader { scid, vcid, map, count, .. } = *frame.header();
    assert_eq!((scid, vcid, map, count.bytes), (0x4321, 5, 3, 0));
    assert_eq!((frame.rule(), frame.upid(), frame.data()), (Rule::Unsegmented, 5, &bytes[5..]));
    assert!(frame.fecf_holds() && frame.ocf().is_none() && frame.insert_zone().is_empty());
    assert_eq!((config.extent(&bytes), config.extent(&GOLDEN)), (Some(7), Some(23)));
    for end in 0..bytes.len() {
        assert!(UslpFrame::parse(&bytes[..end], &config).is_err());
    }
    let mut other = bytes;
    other[4] = 0x05;
    assert_eq!(UslpFrame::parse(&other, &config).unwrap_err(), FrameError::TruncatedRule(0));
    for (length, bytes) in [(5, &bytes[..5]), (40, &[0xC1; 40])] {
        let config = UslpConfig { truncated_bytes: Some(length), ..config };
        assert!(UslpFrame::parse(bytes, &config).is_err(), "{length}");
    }
    // Other frames of the channel read as ever.
    assert!(UslpFrame::parse(&GOLDEN, &UslpConfig { insert_zone: 0, ..config }).is_ok());
}

fn rules() -> impl Strategy<Value = Rule> {
    (0u8..8, prop_oneof![0u16..20, Just(0xFFFF)])
        .prop_map(|(bits, pointer)| Rule::read(bits, pointer))
}

fn fecfs() -> impl Strategy<Value = Fecf> {
    prop_oneof![Just(Fecf::None), Just(Fecf::Crc16), Just(Fecf::Crc32)]
}

proptest! {
    #[test]
    fn frames_round_trip(
        (scid, vcid, map) in (any::<u16>(), 0u8..64, 0u8..16),
        (destination, bypass, control) in any::<(bool, bool, bool)>(),
        (value, bytes) in (any::<u64>(), 0u8..8),
        rule in rules(),
        upid in 0u8..32,
        zone in prop::collection::vec(any::<u8>(), 20..100),
        insert in prop::collection::vec(any::<u8>(), 0..9),
        ocf: Option<[u8; 4]>,
        fecf in fecfs(),
    ) {
        let count = Count { value: value % Count { value, bytes }.modulus(), bytes };
        let header = UslpHeader { scid, destination, vcid, map, bypass, control, count };
        let content = Content { insert_zone: &insert, rule, upid, zone: &zone, ocf, fecf };
        let bytes = build(&header, &content).unwrap();
        prop_assert_eq!(extent(&bytes), Some(bytes.len()));
        let config = UslpConfig { insert_zone: insert.len(), fecf, ..UslpConfig::new(None) };
        let frame = UslpFrame::parse(&bytes, &config).unwrap();
        prop_assert_eq!(*frame.header(), header);
        prop_assert_eq!((frame.rule(), frame.upid(), frame.ocf()), (rule, upid, ocf));
        prop_assert_eq!(frame.insert_zone(), &insert[..]);
        prop_assert_eq!(&bytes[frame.zone()], &zone[..]);
        prop_assert!(frame.fecf_holds());
        for end in 0..bytes.len() {
            prop_assert!(UslpFrame::parse(&bytes[..end], &config).is_err());
        }
    }

    #[test]
    fn any_bytes_are_survived(
        mut bytes in prop::collection::vec(any::<u8>(), 8..64),
        insert_zone in prop_oneof![0usize..70, Just(usize::MAX)],
        fecf in fecfs(),
        honest: bool,
    ) {
        bytes[0] = bytes[0] & 0x0F | 0xC0;
        if honest {
            (bytes[3], bytes[4], bytes[5]) = (bytes[3] & 0xFE, 0, bytes.len() as u8 - 1);
        }
        let config = UslpConfig { insert_zone, fecf, ..UslpConfig::new(None) };
        if let Ok(frame) = UslpFrame::parse(&bytes, &config) {
            prop_assert!(!frame.data().is_empty());
            prop_assert!(frame.zone().end <= bytes.len());
            frame.fecf_holds();
        }
    }
}
