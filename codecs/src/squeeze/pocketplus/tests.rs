use super::*;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

fn encode(config: PocketConfig, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut encoder = PocketEncoder::new(config).unwrap();
    let coded = packets.iter().map(|packet| {
        let mut out = Vec::new();
        encoder.encode(packet, &mut out).unwrap();
        out
    });
    coded.collect()
}

/// What the decoder makes of coded packets; `None` is one that got lost.
fn decode(bytes: usize, coded: &[Option<&Vec<u8>>]) -> Vec<Result<Vec<u8>, PocketError>> {
    let mut decoder = PocketDecoder::new(bytes).unwrap();
    let mut found = Vec::new();
    for coded in coded {
        match coded {
            Some(coded) => {
                let mut out = Vec::new();
                found.push(decoder.decode(coded, &mut out).map(|()| out));
            }
            None => decoder.lost(1),
        }
    }
    found
}

/// A counter, a word that wanders, one that seldom changes, and noise that comes and goes.
fn telemetry(count: usize, bytes: usize) -> Vec<Vec<u8>> {
    let packet = |row: usize| {
        let noise = row.wrapping_mul(2_654_435_761) >> 7;
        let byte = |column: usize| match column % 7 {
            0 => row,
            1 => 100 + row * row / 97,
            2 => row / 40,
            3 if row / 30 % 2 == 1 => noise >> (column % 9),
            _ => column,
        };
        (0..bytes).map(|column| byte(column) as u8).collect()
    };
    (0..count).map(packet).collect()
}

#[test]
fn golden_bits_of_the_first_packets() {
    let config = PocketConfig::new(1, 0);
    let coded = encode(config, &[vec![0b1011_0011], vec![0b1011_0001], vec![0b1011_0001]]);
    // 10 0000 0: no change, V 0, not the usual; 1 10: the mask, no edges; 1 11000110: whole.
    assert_eq!(coded[0], [0b1000_0001, 0b1011_1000, 0b1101_0110, 0b0110_0000]);
    // 11000000 10 0001 0: the last bit but one changed, V 1, it is sent now; 1 0: the usual, it.
    assert_eq!(coded[1], [0b1100_0000, 0b1000_0101, 0b0000_0000]);
    // 10 0000 1 0: no change now, but one packet ago, so that V is 0; the usual, that bit.
    assert_eq!(coded[2], [0b1000_0010]);
}

#[test]
fn golden_bits_of_counts_and_runs() {
    let bits = |counts: &[u32]| {
        let mut bits = crate::squeeze::bits::BitWriter::default();
        counts.iter().for_each(|count| count::put_count(&mut bits, *count));
        bits.finish()
    };
    assert_eq!(bits(&[1, 2, 33]), [0b0110_0000, 0b0110_1111, 0b1000_0000]);
    assert_eq!(bits(&[34]), [0b1111_0000, 0b0000_0000]);
    assert_eq!(bits(&[66]), [0b1110_1000, 0b0000_0000]);
    assert_eq!(bits(&[65_535]), [0b1110_0000, 0b0000_0111, 0b1111_1111, 0b1110_1000]);
    for count in 1..=65_535 {
        let bytes = bits(&[count]);
        let mut reader = crate::squeeze::bits::BitReader::new(&bytes);
        assert_eq!(count::take_count(&mut reader), Ok(Some(count)));
    }
}

#[test]
fn periods_count_from_the_first_packet_whatever_the_robustness() {
    for robustness in 0..=MAX_ROBUSTNESS {
        let config = PocketConfig {
            new_mask_every: 0,
            send_mask_every: 0,
            uncompressed_every: 5,
            ..PocketConfig::new(30, robustness)
        };
        let coded = encode(config, &vec![vec![7; 30]; 33]);
        for (at, coded) in coded.iter().enumerate() {
            let whole = at <= usize::from(robustness) || at.is_multiple_of(5);
            assert_eq!(coded.len() > 30, whole, "R {robustness}, packet {at}");
        }
    }
}

#[test]
fn what_no_coder_takes_is_refused() {
    let of = |bytes, robustness| PocketEncoder::new(PocketConfig::new(bytes, robustness)).err();
    assert_eq!(of(0, 0), Some(PocketError::PacketBytes(0)));
    assert_eq!(of(8192, 0), Some(PocketError::PacketBytes(8192)));
    assert_eq!(of(8191, 8), Some(PocketError::Robustness(8)));
    assert_eq!(of(8191, 7), None);
    assert!(PocketDecoder::new(8192).is_err());
    let config = PocketConfig::new(5, 1);
    let length = PocketError::Length { found: 4, agreed: 5 };
    assert_eq!(PocketEncoder::with_mask(config, &[0; 4]).err(), Some(length));
    let mut out = vec![7];
    assert_eq!(PocketEncoder::new(config).unwrap().encode(&[0; 4], &mut out), Err(length));
    assert_eq!(out, [7]);
}

/// Whatever is lost, of any `robustness` packets in a row, costs itself and nothing else.
#[test]
fn losing_as_many_packets_as_agreed_costs_only_those() {
    let packets = telemetry(260, 33);
    for robustness in 0..=MAX_ROBUSTNESS {
        let config = PocketConfig {
            new_mask_every: 5,
            send_mask_every: 11,
            uncompressed_every: 0,
            ..PocketConfig::new(33, robustness)
        };
        let coded = encode(config, &packets);
        for lost in 1..=usize::from(robustness) {
            for first in 0..lost + 2 {
                let came = |at: usize| (at + first).is_multiple_of(lost + 1);
                let kept: Vec<_> =
                    coded.iter().enumerate().map(|(at, coded)| came(at).then_some(coded)).collect();
                let wanted = packets.iter().enumerate().filter(|(at, _)| came(*at));
                let found = decode(33, &kept);
                assert!(
                    wanted.map(|(_, packet)| Ok(packet.clone())).eq(found),
                    "R {robustness}, {lost} lost between two, from {first}"
                );
            }
        }
    }
}

/// After a longer loss the decoder says so until a mask and a whole packet came.
#[test]
fn a_longer_loss_is_told_until_it_can_be_mended() {
    let packets = telemetry(400, 40);
    let coded = encode(PocketConfig::new(40, 1), &packets);
    let came = |at: usize| !(110..130).contains(&at);
    let kept: Vec<_> = coded.iter().enumerate().map(|(at, c)| came(at).then_some(c)).collect();
    let found = decode(40, &kept);
    let (before, after) = found.split_at(110);
    assert!(before.iter().zip(&packets).all(|(found, packet)| found.as_ref() == Ok(packet)));
    // Masks come at 150, 200 and so on, whole packets at 200, 300: the 21st one received after.
    let told = after.iter().take_while(|found| matches!(found, Err(PocketError::Lost { .. })));
    assert_eq!(told.count(), 70);
    let mended = &after[70..];
    assert!(mended.iter().zip(&packets[200..]).all(|(found, packet)| found.as_ref() == Ok(packet)));
}

/// A decoder that is not told of a loss may restore wrong packets until a mask shows it; from there
/// on it restores none that is wrong.
#[test]
fn a_loss_that_nobody_told_of_is_noticed_at_the_next_mask() {
    let packets = telemetry(130, 40);
    let config = PocketConfig { new_mask_every: 0, ..PocketConfig::new(40, 0) };
    let coded = encode(config, &packets);
    let mut noticed = 0;
    for lost in 1..45 {
        let kept: Vec<_> = coded.iter().enumerate().filter(|(at, _)| *at != lost).collect();
        let found = decode(40, &kept.iter().map(|(_, coded)| Some(*coded)).collect::<Vec<_>>());
        let contradiction = found.iter().position(|f| *f == Err(PocketError::Contradiction));
        let Some(at) = contradiction else { continue };
        noticed += 1;
        for ((packet, _), found) in kept.iter().zip(&found).skip(at) {
            assert!(found.as_ref().is_ok_and(|found| *found == packets[*packet]) || found.is_err());
        }
        // A whole packet comes with number 100, which is one less where one is lost.
        assert!(found[99..].iter().all(Result::is_ok));
    }
    assert!(noticed > 0);
}

#[test]
fn a_decoder_that_comes_late_starts_at_a_mask_and_a_whole_packet() {
    let packets = telemetry(130, 20);
    let coded = encode(PocketConfig::new(20, 2), &packets);
    let found = decode(20, &coded[3..].iter().map(Some).collect::<Vec<_>>());
    let first = found.iter().position(Result::is_ok).unwrap();
    // The mask comes with packets 50 and 100, counted from 0, a whole one with 100.
    assert_eq!(first + 3, 100);
    assert!(found[first..].iter().zip(&packets[100..]).all(|(f, packet)| f.as_ref() == Ok(packet)));
}

#[test]
fn packets_behind_one_another_come_apart() {
    let packets = telemetry(50, 13);
    let coded = encode(PocketConfig::new(13, 1), &packets).concat();
    let mut decoder = PocketDecoder::new(13).unwrap();
    let (mut rest, mut out) = (&coded[..], Vec::new());
    while !rest.is_empty() {
        rest = &rest[decoder.decode_front(rest, &mut out).unwrap()..];
    }
    assert_eq!(out, packets.concat());
}

#[test]
fn every_truncation_and_stray_byte_is_noticed_and_costs_one_packet() {
    let packets = telemetry(90, 21);
    let coded = encode(PocketConfig::new(21, 1), &packets);
    for at in 1..coded.len() - 1 {
        for cut in 0..=coded[at].len() {
            let mut damaged = coded[at][..cut].to_vec();
            if cut == coded[at].len() {
                damaged.push(0);
            }
            let mut kept: Vec<_> = coded.iter().map(Some).collect();
            kept[at] = Some(&damaged);
            let found = decode(21, &kept);
            let error = found[at].as_ref().unwrap_err();
            let told = matches!(error, PocketError::Truncated(_) | PocketError::Rest { .. });
            assert!(told, "{error:?}");
            assert_eq!(found[at + 1].as_ref(), Ok(&packets[at + 1]), "packet {at} cut to {cut}");
        }
    }
}

/// Packets that a few changes lead from one to the next, and which of them get lost.
fn stream() -> impl Strategy<Value = (PocketConfig, Vec<Vec<u8>>, Vec<bool>)> {
    let sizes = (1usize..70, 0u8..=7, 0u32..12, 0u32..25, 0u32..40, 1usize..90);
    sizes.prop_flat_map(|(bytes, robustness, p, f, r, count)| {
        let config = PocketConfig {
            packet_bytes: bytes,
            robustness,
            new_mask_every: p,
            send_mask_every: f,
            uncompressed_every: r,
        };
        let change = prop::collection::vec((0..bytes, any::<u8>()), 0..4);
        (
            Just(config),
            prop::collection::vec(change, count),
            prop::collection::vec(prop::bool::weighted(0.3), count),
        )
            .prop_map(|(config, changes, lost)| {
                let mut packet = vec![0x5A; config.packet_bytes];
                let packets = changes.into_iter().map(|changes| {
                    changes.into_iter().for_each(|(at, value)| packet[at] ^= value & value >> 3);
                    packet.clone()
                });
                (config, packets.collect(), lost)
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn packets_come_back((config, packets, _) in stream(), mask: u8) {
        let coded = encode(config, &packets);
        let found = decode(config.packet_bytes, &coded.iter().map(Some).collect::<Vec<_>>());
        prop_assert!(found.iter().zip(&packets).all(|(f, packet)| f.as_ref() == Ok(packet)));
        let mask = vec![mask; config.packet_bytes];
        let mut encoder = PocketEncoder::with_mask(config, &mask).unwrap();
        let mut decoder = PocketDecoder::new(config.packet_bytes).unwrap();
        for packet in &packets {
            let (mut coded, mut out) = (Vec::new(), Vec::new());
            encoder.encode(packet, &mut coded).unwrap();
            prop_assert_eq!(decoder.decode(&coded, &mut out), Ok(()));
            prop_assert_eq!(&out, packet);
        }
    }

    /// Any losses that are told: what is restored is right, and short ones cost only themselves.
    #[test]
    fn no_loss_makes_a_wrong_packet((config, packets, lost) in stream()) {
        let coded = encode(config, &packets);
        let kept: Vec<_> = coded.iter().zip(&lost).map(|(c, lost)| (!lost).then_some(c)).collect();
        let mut found = decode(config.packet_bytes, &kept).into_iter();
        let (mut in_step, mut missing) = (false, 0);
        for (at, packet) in packets.iter().enumerate() {
            if lost[at] {
                missing += 1;
                continue;
            }
            let found = found.next().unwrap();
            let first = at <= usize::from(config.robustness);
            if first || in_step && missing <= u32::from(config.robustness) {
                prop_assert_eq!(&found, &Ok(packet.clone()));
            }
            match found {
                Ok(restored) => prop_assert_eq!(&restored, packet),
                Err(PocketError::Lost { bridges }) => {
                    prop_assert!(missing > u32::from(bridges) || !in_step);
                }
                Err(error) => prop_assert!(false, "{}", error),
            }
            in_step = first || in_step && missing <= u32::from(config.robustness);
            missing = 0;
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in 1usize..40,
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6),
    ) {
        let start = encode(PocketConfig::new(bytes, 0), &telemetry(3, bytes));
        let mut decoder = PocketDecoder::new(bytes).unwrap();
        for coded in start.iter().chain(&pieces) {
            let mut out = Vec::new();
            let result = decoder.decode(coded, &mut out);
            prop_assert_eq!(out.len(), if result.is_ok() { bytes } else { 0 });
        }
    }
}
