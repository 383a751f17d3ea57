use super::*;
use alloc::{vec, vec::Vec};
use proptest::prelude::*;

const MISSION: &str = r#"
mission = "m"
[[packet]]
apid = 100
name = "ALL"
time = "cuc:4:3"
[[packet.parameter]]
name = "U16"
type = "u16"
polynomial = [1.0, 0.5, 2.0]
[[packet.parameter]]
name = "I8"
type = "i8"
enumeration = { -2 = "minus two", 3 = "three" }
[[packet.parameter]]
name = "BIT3"
type = "bits:3"
[[packet.parameter]]
type = "skip:2"
[[packet.parameter]]
name = "BIT64"
type = "bits:64"
[[packet.parameter]]
name = "BIT3B"
type = "bits:3"
enumeration = { 5 = "five" }
[[packet.parameter]]
name = "F32"
type = "f32"
[[packet.parameter]]
name = "F64"
type = "f64"
[[packet]]
apid = 101
name = "TIMELESS"
[[packet.parameter]]
name = "ONLY"
type = "u8"
"#;

fn plans() -> Plans {
    Definition::from_toml(MISSION).unwrap().plans()
}

fn packet(apid: u16, data: &[u8]) -> Vec<u8> {
    let secondary = if apid == 100 { 0x0800 } else { 0 };
    let mut packet = (apid | secondary).to_be_bytes().to_vec();
    packet.extend([0xC0, 5]);
    packet.extend((data.len() as u16 - 1).to_be_bytes());
    packet.extend(data);
    packet
}

fn full() -> Vec<u8> {
    let mut data = Tai(1_795_392_037_000_000_000).to_cuc43().to_vec();
    data.extend([0x00, 0x03, 0xFE]);
    // 101, two unused, 64 bits of 0x0123456789ABCDEF, 101
    let bits = (0b101u128 << 69) | (0x0123_4567_89AB_CDEFu128 << 3) | 0b101;
    data.extend(&bits.to_be_bytes()[7..]);
    data.extend(1.5f32.to_be_bytes());
    data.extend((-2.25f64).to_be_bytes());
    packet(100, &data)
}

#[test]
fn every_kind_of_field_decodes() {
    let plans = plans();
    let mut got = vec![];
    let decoded = plans.decode(&full(), &mut |sample| got.push(sample)).unwrap();
    assert_eq!((decoded.samples, decoded.missing), (7, 0));
    assert_eq!((decoded.apid, decoded.sequence_count), (Apid(100), 5));
    let time = decoded.time.unwrap();
    assert!(time.since(Tai(1_795_392_037_000_000_000)).abs() < 31);
    assert!(got.iter().all(|sample| sample.time == time));
    let raws: Vec<Raw> = got.iter().map(|sample| sample.raw).collect();
    assert_eq!(
        raws,
        [
            Raw::Unsigned(3),
            Raw::Signed(-2),
            Raw::Unsigned(5),
            Raw::Unsigned(0x0123_4567_89AB_CDEF),
            Raw::Unsigned(5),
            Raw::Float(1.5),
            Raw::Float(-2.25),
        ]
    );
    assert_eq!(got[0].value, 1.0 + 1.5 + 18.0);
    let texts: Vec<_> = got.iter().filter_map(|sample| sample.text).collect();
    assert_eq!(texts, ["minus two", "five"]);
}

#[test]
fn a_short_packet_gives_what_is_whole() {
    let plans = plans();
    let whole = full();
    let short = packet(100, &whole[6..16]);
    let mut names = vec![];
    let decoded = plans.decode(&short, &mut |sample| names.push(sample.parameter.0)).unwrap();
    assert_eq!((decoded.samples, decoded.missing), (2, 5));
    assert_eq!(names, [0, 1]);
}

#[test]
fn what_does_not_fit_the_mission_is_named() {
    let plans = plans();
    let mut none = |_: Sample<'_>| panic!("nothing to decode");
    let whole = full();
    assert_eq!(
        plans.decode(&whole[..30], &mut none),
        Err(PlanError::Length { stated: whole.len(), found: 30 })
    );
    assert_eq!(plans.decode(&[], &mut none), Err(PlanError::Length { stated: 0, found: 0 }));
    assert_eq!(plans.decode(&packet(7, &[0]), &mut none), Err(PlanError::Apid(Apid(7))));
    let mut headless = whole.clone();
    headless[0] &= !0x08;
    assert_eq!(plans.decode(&headless, &mut none), Err(PlanError::NoTime(Apid(100))));
}

#[test]
fn packets_without_a_time_take_the_fallback() {
    let plans = plans();
    let mut times = vec![];
    let only = packet(101, &[9]);
    let decoded = plans.decode_or_at(&only, Tai(77), &mut |sample| times.push(sample.time));
    assert_eq!(decoded.unwrap().time, None);
    assert_eq!(times, [Tai(77)]);
}

proptest! {
    #[test]
    fn bits_are_those_of_the_plain_way(
        bytes in prop::collection::vec(any::<u8>(), 0..24), start in 0u32..200, count in 1u32..=64,
    ) {
        let plain = (start..start + count).try_fold(0u64, |word, bit| {
            let byte = bytes.get((bit / 8) as usize)?;
            Some((word << 1) | u64::from((byte >> (7 - bit % 8)) & 1))
        });
        prop_assert_eq!(read_bits(&bytes, start, count), plain);
    }

    #[test]
    fn no_packet_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), fit in any::<bool>()) {
        let plans = plans();
        let mut bytes = bytes;
        if fit && bytes.len() > 6 {
            bytes[0] = 0x08;
            bytes[1] = 100;
            let stated = (bytes.len() as u16 - 7).to_be_bytes();
            bytes[4..6].copy_from_slice(&stated);
        }
        if let Ok(decoded) = plans.decode(&bytes, &mut |_| ()) {
            prop_assert!(decoded.samples + decoded.missing <= 7);
            prop_assert_eq!(plans.identify(&bytes).unwrap().time, decoded.time);
        }
    }
}
