//! What an encoder writes, its decoder reads: the pairs that need several modules, or whose
//! module's own tests hold single values only. And single wrong bits in golden frames and units.

use bytes::Bytes;
use codecs::fec::convolutional::{self, Rate};
use codecs::fec::ldpc::{self, Size};
use codecs::fec::reed_solomon::{Block, Code, Outcome};
use codecs::frame::aos::{AosBuilder, AosConfig, AosFrame};
use codecs::frame::cadu::{BlockCode, CaduDecoder, CaduEncoder, Coding};
use codecs::frame::cltu::{self, End, Mode};
use codecs::frame::tm::{TmBuilder, TmConfig, TmFrame};
use codecs::frame::{Format, Kind};
use codecs::ids::{Apid, Origin};
use codecs::package::{Digest, Signature, sign};
use codecs::packet::encapsulation::{self, EncapsulationView};
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use codecs::sync::marker::Marker;
use codecs::tensor::Tensor;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeSet;

fn loud(bit: bool) -> i8 {
    if bit { -24 } else { 24 }
}

const LDPC: [ldpc::Code; 6] = [
    ldpc::Code::Tc128,
    ldpc::Code::Tc512,
    ldpc::Code::C2,
    ldpc::Code::Ar4ja(ldpc::Rate::Half, Size::K1024),
    ldpc::Code::Ar4ja(ldpc::Rate::TwoThirds, Size::K1024),
    ldpc::Code::Ar4ja(ldpc::Rate::FourFifths, Size::K1024),
];

thread_local! {
    static PAIRS: RefCell<Vec<(ldpc::Encoder, ldpc::Decoder)>> = RefCell::new(
        LDPC.iter().map(|code| (ldpc::Encoder::new(*code), ldpc::Decoder::new(*code))).collect(),
    );
}

fn noise(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), length)
}

const CODINGS: [&str; 9] = [
    "none",
    "randomized:131071",
    "randomized:255",
    "rs:223:i1:dual",
    "rs:223:i4:conventional,randomized:131071",
    "rs:223:i5:dual,randomized",
    "rs:239:i8:dual,randomized:255",
    "rs:239:i2:conventional",
    "rs:223:i3:dual,randomized:tc",
];

/// Codings, and frame lengths that they carry.
fn coding() -> impl Strategy<Value = (Coding, usize)> {
    (prop::sample::select(&CODINGS), 1usize..120).prop_map(|(text, symbols)| {
        let coding: Coding = text.parse().unwrap();
        let interleave = match coding.block {
            BlockCode::ReedSolomon(code) => code.interleave,
            _ => 1,
        };
        (coding, interleave * symbols)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn convolutional_symbols_decode(
        rate in prop::sample::select(&Rate::ALL),
        inverted: bool,
        c2_first: bool,
        sent in prop::collection::vec(any::<u8>(), 1..300),
    ) {
        let code = convolutional::Code::standard(rate);
        let code = code.with_inverter(inverted).with_c2_first(c2_first);
        let mut symbols = Vec::new();
        let mut encoder = convolutional::Encoder::new(code);
        encoder.bytes(&sent, |bit| symbols.push(loud(bit)));
        // Six zeros end the trellis.
        encoder.bytes(&[0], |bit| symbols.push(loud(bit)));
        let mut decoder = convolutional::Decoder::new(code);
        let mut found = Vec::new();
        decoder.push(&symbols, &mut found);
        decoder.finish(&mut found);
        prop_assert_eq!(&found[..sent.len()], &sent);
    }

    #[test]
    fn ldpc_words_decode_through_a_few_wrong_symbols(
        place in 0..LDPC.len(),
        seed in noise(64),
        wrong in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        PAIRS.with_borrow_mut(|pairs| {
            let (encoder, decoder) = &mut pairs[place];
            let bytes = LDPC[place].info_bits() / 8;
            let sent: Vec<u8> = seed.iter().cycle().take(bytes).copied().collect();
            let mut symbols = Vec::new();
            encoder.encode(&sent, |bit| symbols.push(loud(bit)));
            let wrong: BTreeSet<_> = wrong.iter().map(|at| at.index(symbols.len())).collect();
            wrong.into_iter().for_each(|at| symbols[at] = -symbols[at] / 4);
            let mut found = vec![0; bytes];
            let decoded = decoder.decode(&symbols, 40, &mut found);
            prop_assert!(decoded.converged);
            prop_assert_eq!(found, sent);
            Ok(())
        })?;
    }

    #[test]
    fn reed_solomon_blocks_decode_through_as_many_wrong_symbols_as_the_code_bears(
        code in prop::sample::select(&Code::ALL),
        interleave in prop::sample::select(&[1usize, 2, 3, 4, 5, 8]),
        fill in 0usize..200,
        seed in noise(223),
        wrong in prop::collection::vec(any::<prop::sample::Index>(), 0..=16),
        change in 1u8..,
    ) {
        let block = Block::new(code, interleave, fill).unwrap();
        let mut sent: Vec<u8> = seed.into_iter().cycle().take(block.bytes()).collect();
        block.encode(&mut sent).unwrap();
        let mut received = sent.clone();
        let symbols = block.bytes() / interleave;
        // In the last codeword, as many as it bears; the others stay clean.
        let places: BTreeSet<_> = wrong.iter().map(|at| at.index(symbols)).collect();
        let places: Vec<_> = places.into_iter().take(code.strength.correctable()).collect();
        places.iter().for_each(|at| received[at * interleave + interleave - 1] ^= change);
        let report = block.decode(&mut received).unwrap();
        prop_assert_eq!(received, sent);
        let expected =
            if places.is_empty() { Outcome::Clean } else { Outcome::Corrected(places.len() as u8) };
        prop_assert_eq!(report.outcomes().last(), Some(&expected));
        prop_assert!(report.outcomes()[..interleave - 1].iter().all(|one| *one == Outcome::Clean));
    }

    #[test]
    fn units_of_every_coding_decode_however_the_stream_is_cut(
        (coding, frame_bytes) in coding(),
        seeds in prop::collection::vec(noise(32), 1..6),
        cut in 1usize..700,
    ) {
        let mut encoder = CaduEncoder::new(&coding, frame_bytes, Marker::TELEMETRY).unwrap();
        let sent: Vec<Vec<u8>> = seeds
            .into_iter()
            .map(|seed| seed.into_iter().cycle().take(frame_bytes).collect())
            .collect();
        let mut stream = Vec::new();
        sent.iter().for_each(|frame| encoder.push(frame, &mut stream).unwrap());
        let mut decoder = CaduDecoder::new(&coding, frame_bytes, Marker::TELEMETRY).unwrap();
        let mut found = Vec::new();
        stream.chunks(cut).for_each(|chunk| decoder.push(chunk, &mut |frame| found.push(frame)));
        decoder.finish(&mut |frame| found.push(frame));
        prop_assert!(found.iter().all(|frame| frame.quality.is_good()));
        prop_assert!(found.iter().map(|frame| &frame.bytes).eq(&sent));
    }

    #[test]
    fn zones_behind_one_another_are_the_packets(
        lengths in prop::collection::vec(1usize..200, 1..20),
        length in 24usize..120,
        fecf: bool,
        ocf: bool,
    ) {
        let packet = |(n, length): (u16, &usize)| {
            let header = PacketHeader::telemetry(Apid(7), SequenceCount(n));
            build(&header, &vec![n as u8; *length]).unwrap()
        };
        let packets: Vec<_> = (0u16..).zip(&lengths).map(packet).collect();
        let sent = packets.concat();

        let config = TmConfig::new(length).with_fecf(fecf);
        let mut builder = TmBuilder::new(config.clone(), 5, 1, 250).unwrap();
        let mut frames: Vec<Bytes> = Vec::new();
        let mut sink = |frame| frames.push(frame);
        packets.iter().for_each(|packet| builder.push(packet, &mut sink).unwrap());
        builder.flush(&mut sink);
        let mut zones = Vec::new();
        for (n, frame) in (250u8..=255).chain(0..=255).cycle().zip(&frames) {
            let view = TmFrame::parse(frame, &config).unwrap();
            prop_assert!(view.fecf_holds());
            prop_assert!(frames.len() > 200 || view.header().count == n);
            zones.extend_from_slice(&frame[view.packet_zone()]);
        }
        prop_assert_eq!(&zones[..sent.len()], &sent);

        let config = AosConfig { ocf, ..AosConfig::new(length).with_fecf(fecf) };
        let mut builder = AosBuilder::new(config.clone(), 5, 1, 0xFF_FFFE).unwrap();
        let mut frames: Vec<Bytes> = Vec::new();
        let mut sink = |frame| frames.push(frame);
        packets.iter().for_each(|packet| builder.push(packet, &mut sink).unwrap());
        builder.flush(&mut sink);
        let mut zones = Vec::new();
        for (n, frame) in (0xFF_FFFE..).zip(&frames) {
            let view = AosFrame::parse(frame, &config).unwrap();
            prop_assert!(view.fecf_holds());
            prop_assert_eq!(view.header().count, n % (1 << 24));
            zones.extend_from_slice(&frame[view.packet_zone()]);
        }
        prop_assert_eq!(&zones[..sent.len()], &sent);
    }

    #[test]
    fn what_users_write_prints_as_it_reads(
        digits in "([0-9A-F]{2}){2,8}",
        length in 16usize..=65_536,
        aos: bool,
        origin: [u8; 16],
        (coding, _) in coding(),
    ) {
        let marker: Marker = digits.parse().unwrap();
        prop_assert_eq!(marker.to_string(), &*digits);
        prop_assert_eq!(marker.to_bytes().count(), digits.len() / 2);
        let format = Format { kind: if aos { Kind::Aos } else { Kind::Tm }, length: Some(length) };
        prop_assert_eq!(format.to_string().parse(), Ok(format));
        prop_assert_eq!(coding.to_string().parse(), Ok(coding));
        prop_assert_eq!(Origin::from_hex(&Origin(origin).to_string()), Some(Origin(origin)));
    }

    #[test]
    fn digests_signatures_and_tensors_come_back(
        message in prop::collection::vec(any::<u8>(), 0..100),
        key: [u8; 32],
        values in prop::collection::vec(any::<f32>(), 0..20),
    ) {
        let digest = Digest::of(&message);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        let signature = sign(&message, &key);
        prop_assert!(signature.verifies(&message));
        let list = Signature::list_to_json(std::slice::from_ref(&signature));
        prop_assert_eq!(Signature::list_from_json(list.as_bytes()), Ok(vec![signature]));
        let tensor = Tensor::from_f32("x", vec![values.len() as u64], &values).unwrap();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&tensor.to_f32().unwrap()), bits(&values));
    }
}

/// A frame of 64 bytes with a check, full of one packet.
fn golden(kind: Kind) -> Bytes {
    let header = PacketHeader::telemetry(Apid(7), SequenceCount(1));
    let packet = build(&header, &[0xA5; 100]).unwrap();
    let mut frames = Vec::new();
    match kind {
        Kind::Tm => {
            let config = TmConfig::new(64).with_fecf(true);
            let mut builder = TmBuilder::new(config, 5, 1, 9).unwrap();
            builder.push(&packet, &mut |frame| frames.push(frame)).unwrap();
        }
        _ => {
            let config = AosConfig { ocf: true, ..AosConfig::new(64).with_fecf(true) };
            let mut builder = AosBuilder::new(config, 5, 1, 9).unwrap();
            builder.push(&packet, &mut |frame| frames.push(frame)).unwrap();
        }
    }
    frames.swap_remove(0)
}

/// Every copy of the bytes with one bit wrong.
fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..8 * bytes.len()).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        flipped
    })
}

#[test]
fn a_wrong_bit_in_a_checked_frame_never_passes() {
    let tm = TmConfig::new(64).with_fecf(true);
    let frame = golden(Kind::Tm);
    assert!(TmFrame::parse(&frame, &tm).unwrap().fecf_holds());
    for flipped in flips(&frame) {
        assert!(!TmFrame::parse(&flipped, &tm).is_ok_and(|view| view.fecf_holds()));
    }
    let aos = AosConfig { ocf: true, ..AosConfig::new(64).with_fecf(true) };
    let frame = golden(Kind::Aos);
    assert!(AosFrame::parse(&frame, &aos).unwrap().fecf_holds());
    for flipped in flips(&frame) {
        assert!(!AosFrame::parse(&flipped, &aos).is_ok_and(|view| view.fecf_holds()));
    }
}

#[test]
fn a_wrong_bit_in_a_coded_unit_is_set_right_or_is_the_marker_s() {
    let coding: Coding = "rs:223:i1:dual,randomized:131071".parse().unwrap();
    let frame: Vec<u8> = (0..20).collect();
    let mut encoder = CaduEncoder::new(&coding, frame.len(), Marker::TELEMETRY).unwrap();
    let mut unit = Vec::new();
    encoder.push(&frame, &mut unit).unwrap();
    for flipped in flips(&unit) {
        let mut decoder = CaduDecoder::new(&coding, frame.len(), Marker::TELEMETRY).unwrap();
        let mut found = Vec::new();
        decoder.push(&flipped, &mut |frame| found.push(frame));
        decoder.finish(&mut |frame| found.push(frame));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bytes, frame);
        let quality = found[0].quality;
        assert_eq!(quality.marker_errors + quality.codewords.corrected(), 1);
    }
    for end in 0..unit.len() {
        let mut decoder = CaduDecoder::new(&coding, frame.len(), Marker::TELEMETRY).unwrap();
        decoder.push(&unit[..end], &mut |_| panic!("a frame of {end} bytes of a unit"));
        decoder.finish(&mut |_| panic!("a frame of {end} bytes of a unit"));
    }
}

#[test]
fn a_wrong_bit_in_a_command_unit_is_set_right_or_refused() {
    let sent: Vec<u8> = (0..21).collect();
    let unit = cltu::encode(&sent, None).unwrap();
    for (bit, flipped) in flips(&unit).enumerate() {
        let block = bit / 8 >= 2 && bit / 8 < unit.len() - 8;
        let found = cltu::decode(&flipped, Mode::Correct, None).unwrap();
        assert_eq!(found.data[..sent.len()], sent, "bit {bit}");
        // The filler bit of a block is outside the code.
        assert_eq!(found.corrected, usize::from(block && (bit - 16) % 64 != 63), "bit {bit}");
        if block && (bit - 16) % 64 != 63 {
            let strict = cltu::decode(&flipped, Mode::Detect, None).unwrap();
            assert_eq!(strict.end, End::Rejected, "bit {bit}");
        }
    }
}

#[test]
fn every_truncation_and_flip_of_an_encapsulation_packet_is_survived() {
    for (user, reserved) in [(0, 0), (5, 0), (5, 9)] {
        let header = encapsulation::EncapsulationHeader {
            protocol: 4,
            user,
            reserved,
            ..encapsulation::EncapsulationHeader::default()
        };
        let packet = encapsulation::build(&header, &[1, 2, 3]).unwrap();
        for end in 0..packet.len() {
            assert!(EncapsulationView::parse(&packet[..end]).is_err(), "{end} bytes");
        }
        for flipped in flips(&packet) {
            // A length that is told wrongly is refused; what else changes, changes one field.
            if let Ok(view) = EncapsulationView::parse(&flipped) {
                assert_eq!(view.bytes().len(), packet.len());
            }
        }
    }
}
