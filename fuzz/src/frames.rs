//! One frame or command unit each: fields that fill it exactly, and rebuilding gives it back.

use crate::input::{Input, pieces};
use bytes::Bytes;
use codecs::frame::aos::{self, AosConfig, AosFrame, Service};
use codecs::frame::cadu::Symbols;
use codecs::frame::clcw::Clcw;
use codecs::frame::cltu::{self, CltuCoding, CltuDecoder, End, Mode};
use codecs::frame::tc::{self, TcConfig, TcFrame};
use codecs::frame::tm::{self, TmConfig, TmFrame};
use codecs::frame::uslp::{self, Content, Fecf, UslpConfig, UslpFrame};
use codecs::sync::randomizer::{Randomizer, Sequence};

/// Where a slice lies in the frame that it must be a part of.
fn place(frame: &[u8], part: &[u8]) -> usize {
    let range = frame.as_ptr_range();
    let part_range = part.as_ptr_range();
    assert!(range.start <= part_range.start && part_range.end <= range.end, "outside the frame");
    part.as_ptr().addr() - frame.as_ptr().addr()
}

/// TM frames.
pub fn tm(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let frame = input.rest();
    let length = if flags & 2 == 0 { frame.len() } else { usize::from(flags) };
    let config = TmConfig::new(length).with_fecf(flags & 1 != 0);
    let Ok(view) = TmFrame::parse(frame, &config) else { return };
    let zone = view.packet_zone();
    let trailer = 4 * usize::from(view.ocf().is_some()) + 2 * usize::from(config.fecf);
    assert_eq!(tm::HEADER_BYTES + view.secondary_header().len(), zone.start);
    assert!(!zone.is_empty());
    assert_eq!(zone.end + trailer, frame.len());
    assert_eq!(view.ocf().is_some(), view.header().ocf);
    assert_eq!(view.channel().vcid, view.header().vcid);
    if !view.secondary_header().is_empty() {
        assert_eq!(place(frame, view.secondary_header()), tm::HEADER_BYTES);
    }
    view.fecf_holds();
}

/// AOS frames.
pub fn aos(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let insert_zone = usize::from(input.byte() & 0x1F);
    let services = input.choose(&[Service::Packets, Service::Bits, Service::Access]);
    let frame = input.rest();
    let config = AosConfig {
        length: if flags & 32 == 0 { frame.len() } else { usize::from(flags) },
        insert_zone: if flags & 16 == 0 { 0 } else { insert_zone },
        header_error_control: flags & 1 != 0,
        ocf: flags & 2 != 0,
        fecf: flags & 4 != 0,
        wide_scid: flags & 8 != 0,
        services: [services; 64],
    };
    let Ok(view) = AosFrame::parse(frame, &config) else { return };
    let zone = view.packet_zone();
    let pointer = match view.service() {
        Service::Packets => {
            assert_eq!(Ok(zone.clone()), config.packet_zone());
            aos::MPDU_HEADER_BYTES
        }
        Service::Bits => aos::MPDU_HEADER_BYTES,
        Service::Access => 0,
    };
    assert_eq!(view.service(), if view.is_idle() { Service::Access } else { services });
    assert!(view.valid_bits().is_none_or(|bits| bits <= 8 * zone.len()));
    assert!(view.corrected_symbols() <= if config.header_error_control { 2 } else { 0 });
    assert!(!zone.is_empty());
    let trailer = 4 * usize::from(config.ocf) + 2 * usize::from(config.fecf);
    assert_eq!(zone.end + trailer, frame.len());
    let control = if config.header_error_control { aos::HEADER_ERROR_CONTROL_BYTES } else { 0 };
    assert_eq!(place(frame, view.insert_zone()), aos::HEADER_BYTES + control);
    assert_eq!(aos::HEADER_BYTES + control + view.insert_zone().len() + pointer, zone.start);
    assert_eq!(view.ocf().is_some(), config.ocf);
    assert!(view.header().scid < if config.wide_scid { 1024 } else { 256 });
    assert!(view.header().count < aos::COUNT_MODULUS);
    assert_eq!(view.is_idle(), view.header().vcid == aos::IDLE_VCID);
    view.fecf_holds();
}

/// USLP frames: a frame rebuilt from its parts is the same frame.
pub fn uslp(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let config = UslpConfig {
        length: None,
        insert_zone: usize::from(flags >> 2),
        fecf: [Fecf::None, Fecf::Crc16, Fecf::Crc32, Fecf::None][usize::from(flags & 3)],
        truncated_bytes: (flags & 3 == 3).then_some(usize::from(flags >> 2)),
    };
    let frame = input.rest();
    let Ok(view) = UslpFrame::parse(frame, &config) else { return };
    assert_eq!(config.extent(frame), Some(frame.len()));
    let zone = view.zone();
    if frame[3] & 1 != 0 {
        // Truncated: identifiers, a byte, and data to the end. None of these is ever built.
        assert_eq!(zone, uslp::TRUNCATED_HEADER_BYTES + 1..frame.len());
        assert_eq!(view.data(), &frame[zone]);
        return;
    }
    let content = Content {
        insert_zone: view.insert_zone(),
        rule: view.rule(),
        upid: view.upid(),
        zone: &frame[zone.clone()],
        ocf: view.ocf(),
        fecf: config.fecf,
    };
    assert_eq!(view.insert_zone().len(), config.insert_zone);
    assert!(!view.data().is_empty() && view.data().len() <= zone.len());
    assert_eq!(place(frame, view.data()), zone.start);
    let built = uslp::build(view.header(), &content).expect("parts of a frame");
    assert_eq!(built.len(), frame.len());
    let again = UslpFrame::parse(&built, &config).expect("a frame of ours");
    assert_eq!(
        (again.header(), again.rule(), again.upid()),
        (view.header(), view.rule(), view.upid())
    );
    assert_eq!((again.data(), again.ocf()), (view.data(), view.ocf()));
    assert!(again.fecf_holds());
    // Two bits of the header are spare; the rest, and with it the check, is the sender's own.
    if view.fecf_holds() && frame[6] & 0x30 == 0 {
        assert_eq!(built, frame);
    }
}

/// Telecommand frames: a frame rebuilt from its parts is the same frame.
pub fn tc(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let config = TcConfig::new(flags & 1 != 0, flags & 2 != 0);
    let frame = input.rest();
    let Ok(view) = TcFrame::parse(frame, &config) else { return };
    assert_eq!(tc::extent(frame), Some(frame.len()));
    let start = tc::HEADER_BYTES + usize::from(view.segment().is_some());
    assert_eq!(place(frame, view.data()), start);
    assert_eq!(start + view.data().len() + 2 * usize::from(config.fecf), frame.len());
    let built = tc::build(view.header(), view.segment(), view.data(), config.fecf);
    let built = built.expect("parts of a frame");
    if view.fecf_holds() && frame[0] & 0x0C == 0 {
        assert_eq!(built, frame);
    }
    let again = TcFrame::parse(&built, &config).expect("a frame of ours");
    assert_eq!((again.header(), again.segment()), (view.header(), view.segment()));
    assert_eq!((again.data(), again.control()), (view.data(), view.control()));
}

/// Control words: what is read writes the same four bytes.
pub fn clcw(data: &[u8]) {
    let Some(field) = data.first_chunk() else { return };
    if let Ok(word) = Clcw::read(*field) {
        assert_eq!(word.emit(), *field);
    }
}

/// Streams of command units: the same frames however they are cut, and what was encoded comes out.
pub fn units(data: &[u8]) {
    let mut input = Input(data);
    let coding = input.choose(&CltuCoding::ALL);
    let form = input.choose(&[Symbols::Packed, Symbols::Bits, Symbols::Soft]);
    let (cut, mode) = (input.byte(), input.byte());
    let mut stream = input.rest().to_vec();
    if mode & 1 == 0
        && let CltuCoding::Bch { randomized } = coding
    {
        // Units behind noise, which the fuzzer need not find.
        let randomizer = Randomizer::new(Sequence::Telecommand, 64);
        let command = tc::Control::SetExpected(mode).frame(5, 1, true).expect("a frame");
        let unit = cltu::encode(&command, randomized.then_some(&randomizer)).expect("a unit");
        stream.extend_from_slice(&unit);
    }
    let read = |cut: u8| {
        let mut decoder = CltuDecoder::new(coding);
        let mut frames: Vec<Bytes> = Vec::new();
        pieces(&stream, cut).for_each(|piece| {
            decoder.push(form, piece, &mut |frame| frames.push(frame));
        });
        decoder.finish(&mut |frame| frames.push(frame));
        (frames, *decoder.counts())
    };
    let (frames, counts) = read(cut);
    assert_eq!((&frames, &counts), (&read(cut.wrapping_add(3)).0, &counts));
    assert_eq!(counts.frames, frames.len() as u64);
    assert_eq!(counts.units, counts.tails + counts.rejected + counts.cut);
    for frame in &frames {
        assert_eq!(tc::extent(frame), Some(frame.len()));
    }
}

/// Command units: what is decoded adds up, and one wrong bit a block is set right.
pub fn cltu(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let mode = if flags & 1 == 0 { Mode::Correct } else { Mode::Detect };
    let randomizer = Randomizer::new(Sequence::Telecommand, 64);
    let randomizer = (flags & 2 != 0).then_some(&randomizer);
    let bit = usize::from(input.byte());
    let bytes = input.rest();
    if let Some(start) = cltu::find(bytes, mode) {
        let unit = cltu::decode(&bytes[start..], mode, randomizer).expect("it starts here");
        let blocks = unit.data.len() / cltu::DATA_BYTES;
        assert_eq!(unit.data.len() % cltu::DATA_BYTES, 0);
        assert!(unit.corrected <= blocks && (mode == Mode::Correct || unit.corrected == 0));
        let last = usize::from(unit.end != End::Cut);
        assert_eq!(unit.consumed, cltu::START.len() + cltu::BLOCK_BYTES * (blocks + last));
        assert!(unit.consumed <= bytes.len() - start);
        let mut frames = unit.frames();
        let framed: usize = frames.by_ref().map(<[u8]>::len).sum();
        assert_eq!(framed + frames.rest().len(), unit.data.len());
    }
    let Ok(mut unit) = cltu::encode(bytes, randomizer) else { return };
    if mode == Mode::Correct {
        // One bit of each block, the filler left out.
        let blocks = unit.len() - cltu::START.len() - cltu::BLOCK_BYTES;
        for block in unit[cltu::START.len()..][..blocks].chunks_mut(cltu::BLOCK_BYTES) {
            block[bit % 63 / 8] ^= 0x80 >> (bit % 63 % 8);
        }
    }
    let found = cltu::decode(&unit, mode, randomizer).expect("a unit of ours");
    assert_eq!((found.end, found.consumed), (End::Tail, unit.len()));
    assert_eq!(&found.data[..bytes.len()], bytes);
}
