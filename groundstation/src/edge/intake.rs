//! What a modem sends, cut into receptions: frames, packets, and how well each came through.

use super::{config::Carrying, kiss::KissReader};
use bytes::{Bytes, BytesMut};
use codecs::{
    fec::reed_solomon::Outcome,
    frame::{
        Format, Kind, MAX_FRAME_BYTES,
        cadu::{self, CaduDecoder, CaduError, Symbols},
    },
    link::object::Quality,
    packet::{self, Extent, MAX_PACKET_BYTES, Protocol},
};

/// A unit as it was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reception {
    /// Its bytes, as good as its codes could make them.
    pub bytes: Bytes,
    /// What its codes say of it.
    pub quality: Quality,
    /// Symbols that Reed-Solomon codes corrected.
    pub corrected_symbols: u16,
    /// Whether the identifiers at its front are right although the frame is not: their codewords
    /// were.
    pub identified: bool,
}

impl Reception {
    fn unchecked(bytes: Bytes) -> Self {
        let quality = Quality::Undetermined;
        Self { bytes, quality, corrected_symbols: 0, identified: false }
    }
}

/// What became of a stream so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntakeCounts {
    /// Datagrams and KISS frames that hold no unit of the kind configured.
    pub malformed: u64,
    /// Bytes behind the last whole unit.
    pub trailing_bytes: u64,
    /// Bits in which no marker was found.
    pub skipped_bits: u64,
    /// Times that the marker was lost.
    pub sync_lost: u64,
    /// Whether coded units are found at present.
    pub in_sync: bool,
}

/// Nothing tells where the next unit starts: the stream must begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {} begins {offset} bytes into the stream: nothing tells where the next one does", .what)]
pub struct StreamLost {
    /// What was expected.
    pub what: &'static str,
    /// Where.
    pub offset: u64,
}

/// How the bytes of an input are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// A stream.
    Stream,
    /// One unit a datagram.
    Datagrams,
    /// One unit a KISS frame.
    Kiss,
}

/// Reads one connection, file or socket.
#[derive(Debug)]
pub struct Intake {
    kiss: Option<KissReader>,
    inside: Inside,
    malformed: u64,
    trailing_bytes: u64,
}

#[derive(Debug)]
enum Inside {
    Cadus {
        decoder: Box<CaduDecoder>,
        symbols: Symbols,
    },
    /// Units end to end.
    Row {
        cut: Cut,
        carried: BytesMut,
        offset: u64,
    },
    /// Each piece is a unit.
    Whole(Cut),
}

/// What tells how long a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Frames(Format),
    Packets,
    Ax25,
}

/// Longest AX.25 frame with ten addresses and a long information field: a bound, not a rule.
const AX25_BYTES_MAX: usize = 8_192;
/// Two addresses and a control field.
const AX25_BYTES_MIN: usize = 15;

impl Intake {
    /// Reads what is carried in an envelope.
    ///
    /// # Errors
    /// The frames don't fit the code.
    pub fn new(carrying: &Carrying, envelope: Envelope) -> Result<Self, CaduError> {
        let cut = match carrying {
            Carrying::Cadus { format, coding, marker, symbols } => {
                let decoder = CaduDecoder::new(coding, format.max_length(), *marker)?;
                let inside = Inside::Cadus { decoder: Box::new(decoder), symbols: *symbols };
                return Ok(Self { kiss: None, inside, malformed: 0, trailing_bytes: 0 });
            }
            Carrying::Frames(format) => Cut::Frames(*format),
            Carrying::Packets => Cut::Packets,
            Carrying::Ax25 => Cut::Ax25,
        };
        let inside = match envelope {
            Envelope::Stream => Inside::Row { cut, carried: BytesMut::new(), offset: 0 },
            Envelope::Datagrams | Envelope::Kiss => Inside::Whole(cut),
        };
        let kiss = (envelope == Envelope::Kiss).then(KissReader::default);
        Ok(Self { kiss, inside, malformed: 0, trailing_bytes: 0 })
    }

    /// Takes the next bytes, or the next datagram, and hands out what it completes.
    ///
    /// # Errors
    /// The stream can't be followed any longer.
    pub fn push(
        &mut self,
        chunk: &[u8],
        sink: &mut impl FnMut(Reception),
    ) -> Result<(), StreamLost> {
        let Self { kiss, inside, malformed, .. } = self;
        match (kiss, inside) {
            (Some(kiss), Inside::Whole(cut)) => {
                kiss.push(chunk, &mut |bytes| whole(*cut, bytes, malformed, sink));
            }
            (None, Inside::Whole(cut)) => {
                whole(*cut, Bytes::copy_from_slice(chunk), malformed, sink);
            }
            (_, Inside::Cadus { decoder, symbols }) => {
                decoder.push_symbols(*symbols, chunk, &mut |frame| sink(heard(frame)));
            }
            (_, Inside::Row { cut, carried, offset }) => {
                carried.extend_from_slice(chunk);
                row(*cut, carried, offset, sink)?;
            }
        }
        Ok(())
    }

    /// The stream ended: hands out what waited for more.
    pub fn finish(&mut self, sink: &mut impl FnMut(Reception)) {
        match &mut self.inside {
            Inside::Cadus { decoder, .. } => decoder.finish(&mut |frame| sink(heard(frame))),
            Inside::Row { carried, .. } => {
                self.trailing_bytes += carried.len() as u64;
                carried.clear();
            }
            Inside::Whole(_) => {}
        }
    }

    /// What became of the stream so far.
    pub fn counts(&self) -> IntakeCounts {
        let (sync, in_sync) = match &self.inside {
            Inside::Cadus { decoder, .. } => (decoder.counts().sync, decoder.is_in_sync()),
            _ => (codecs::sync::marker::SyncCounts::default(), false),
        };
        IntakeCounts {
            malformed: self.malformed + self.kiss.as_ref().map_or(0, |kiss| kiss.malformed),
            trailing_bytes: self.trailing_bytes,
            skipped_bits: sync.skipped_bits,
            sync_lost: sync.lost,
            in_sync,
        }
    }
}

/// A frame out of coded units.
fn heard(frame: cadu::Frame) -> Reception {
    let cadu::Frame { bytes, quality } = frame;
    let codewords = quality.codewords;
    let corrected = codewords.corrected();
    let checked = !codewords.outcomes().is_empty() || quality.ldpc.is_some();
    let mended = corrected > 0 || quality.ldpc.is_some_and(|decoded| decoded.iterations > 0);
    let judged = match (checked, quality.is_good()) {
        (false, _) => Quality::Undetermined,
        (true, false) => Quality::Erred,
        (true, true) if mended => Quality::Corrected,
        (true, true) => Quality::Good,
    };
    // Byte n is of codeword n modulo the depth (CCSDS 131.0-B-5 §4.3.5).
    let codeword = |byte: usize| codewords.outcomes().get(byte % codewords.outcomes().len());
    let named = match bytes.first() {
        Some(first) if first >> 4 == codecs::frame::uslp::VERSION => 0..4,
        _ => 0..2,
    };
    let identified = !codewords.outcomes().is_empty()
        && named.into_iter().all(|byte| codeword(byte).is_some_and(|of| *of != Outcome::Failed));
    let corrected_symbols = corrected.min(u32::from(u16::MAX)) as u16;
    Reception { bytes, quality: judged, corrected_symbols, identified }
}

fn whole(cut: Cut, bytes: Bytes, malformed: &mut u64, sink: &mut impl FnMut(Reception)) {
    let fits = match cut {
        Cut::Frames(format) => format.extent(&bytes) == Some(bytes.len()),
        Cut::Packets => packet_extent(&bytes) == Ok(Some(bytes.len())),
        Cut::Ax25 => (AX25_BYTES_MIN..=AX25_BYTES_MAX).contains(&bytes.len()),
    };
    match fits {
        true => sink(Reception::unchecked(bytes)),
        false => *malformed += 1,
    }
}

/// Length of the packet at the front, once its header is whole; an error where none is.
fn packet_extent(bytes: &[u8]) -> Result<Option<usize>, ()> {
    match packet::extent(bytes) {
        Extent::Known { protocol: Protocol::Space, length } => Ok(Some(length)),
        Extent::Short { .. } => Ok(None),
        _ => Err(()),
    }
}

fn row(
    cut: Cut,
    carried: &mut BytesMut,
    offset: &mut u64,
    sink: &mut impl FnMut(Reception),
) -> Result<(), StreamLost> {
    loop {
        let (length, what, bound) = match cut {
            Cut::Frames(format) => (Ok(format.extent(carried)), "frame", MAX_FRAME_BYTES),
            Cut::Packets => (packet_extent(carried), "space packet", MAX_PACKET_BYTES),
            Cut::Ax25 => (Err(()), "AX.25 frame", 0),
        };
        let lost = StreamLost { what, offset: *offset };
        let length = match length {
            Ok(Some(length)) if length <= bound => length,
            Ok(None) if carried.len() < header_bytes(cut) => return Ok(()),
            _ => return Err(lost),
        };
        if carried.len() < length {
            return Ok(());
        }
        *offset += length as u64;
        sink(Reception::unchecked(carried.split_to(length).freeze()));
    }
}

/// Bytes after which a unit's length is known.
const fn header_bytes(cut: Cut) -> usize {
    match cut {
        Cut::Frames(Format { kind: Kind::Uslp, .. }) => codecs::frame::uslp::HEADER_BYTES,
        Cut::Frames(_) | Cut::Ax25 => 1,
        Cut::Packets => packet::MAX_HEADER_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::frame::cadu::{CaduEncoder, Coding};

    fn receptions(intake: &mut Intake, bytes: &[u8], chunk: usize) -> Vec<Reception> {
        let mut heard = Vec::new();
        for part in bytes.chunks(chunk) {
            intake.push(part, &mut |reception| heard.push(reception)).unwrap();
        }
        intake.finish(&mut |reception| heard.push(reception));
        heard
    }

    fn frame(number: u8) -> Vec<u8> {
        let mut frame = vec![number; 892];
        frame[..6].copy_from_slice(&[0x6A, 0x05, 0, 0, number, 0]);
        frame
    }

    fn cadus(frames: u8) -> (Intake, Vec<u8>, usize) {
        let coding: Coding = "rs:223:i4:dual,randomized:255".parse().unwrap();
        let mut encoder = CaduEncoder::new(&coding, 892, coding.marker()).unwrap();
        let mut stream = Vec::new();
        (0..frames).for_each(|number| encoder.push(&frame(number), &mut stream).unwrap());
        let format = "aos:892".parse().unwrap();
        let (marker, symbols) = (coding.marker(), Symbols::Packed);
        let carrying = Carrying::Cadus { format, coding, marker, symbols };
        let intake = Intake::new(&carrying, Envelope::Stream).unwrap();
        let unit = stream.len() / usize::from(frames);
        (intake, stream, unit)
    }

    #[test]
    fn quality_is_what_the_codewords_say() {
        let (mut intake, mut stream, unit) = cadus(4);
        // Unit 1: three wrong symbols, mended. Unit 2: codeword 3 beyond mending, the first whole.
        // Unit 3: codeword 0 beyond mending, so that even its identifiers can't be believed.
        (0..3).for_each(|symbol| stream[unit + 4 + 40 * symbol] ^= 0xFF);
        (0..40).for_each(|symbol| stream[2 * unit + 4 + 3 + 16 * symbol] ^= 0xFF);
        (0..40).for_each(|symbol| stream[3 * unit + 4 + 16 * symbol] ^= 0xFF);
        let heard = receptions(&mut intake, &stream, 1000);
        let told: Vec<_> = heard.iter().map(|of| (of.quality, of.identified)).collect();
        assert_eq!(
            told,
            [
                (Quality::Good, true),
                (Quality::Corrected, true),
                (Quality::Erred, true),
                (Quality::Erred, false),
            ]
        );
        assert_eq!(heard[1].corrected_symbols, 3);
        assert_eq!(heard[1].bytes, frame(1));
    }

    #[test]
    fn units_end_to_end_are_cut_wherever_the_stream_is() {
        let frames: Vec<u8> = (0..5).flat_map(frame).collect();
        let format = "aos:892".parse().unwrap();
        let mut intake = Intake::new(&Carrying::Frames(format), Envelope::Stream).unwrap();
        let heard = receptions(&mut intake, &[&frames[..], &[1, 2, 3]].concat(), 77);
        assert_eq!(heard.len(), 5);
        assert_eq!(intake.counts().trailing_bytes, 3);
        assert!(heard.iter().all(|of| of.quality == Quality::Undetermined));

        let packet = [0x08, 0x21, 0xC0, 0x00, 0x00, 0x01, 0xAA, 0xBB];
        let mut intake = Intake::new(&Carrying::Packets, Envelope::Stream).unwrap();
        let heard = receptions(&mut intake, &packet.repeat(3), 5);
        assert_eq!(heard.len(), 3);
        let lost = intake.push(&[0xFF; 9], &mut |_| {}).unwrap_err();
        assert_eq!(lost, StreamLost { what: "space packet", offset: 24 });
    }

    #[test]
    fn a_datagram_is_a_unit_or_is_counted() {
        let format = "aos:892".parse().unwrap();
        let mut intake = Intake::new(&Carrying::Frames(format), Envelope::Datagrams).unwrap();
        let mut heard = Vec::new();
        let mut sink = |reception: Reception| heard.push(reception.bytes);
        intake.push(&frame(1), &mut sink).unwrap();
        intake.push(&frame(2)[1..], &mut sink).unwrap();
        intake.push(&[], &mut sink).unwrap();
        assert_eq!(heard, [frame(1)]);
        assert_eq!(intake.counts().malformed, 2);
    }

    #[test]
    fn coded_units_that_never_synchronise_are_counted_while_they_come() {
        let (mut intake, stream, unit) = cadus(8);
        let format = "aos:892".parse().unwrap();
        // As where the coding was forgotten: the markers are too far apart.
        let (marker, symbols) = (Coding::NONE.marker(), Symbols::Packed);
        let wrong = Carrying::Cadus { format, coding: Coding::NONE, marker, symbols };
        let mut wrong = Intake::new(&wrong, Envelope::Stream).unwrap();
        let mut sink = |_| {};
        for datagram in stream.chunks(unit) {
            wrong.push(datagram, &mut sink).unwrap();
            intake.push(datagram, &mut sink).unwrap();
        }
        let (wrong, right) = (wrong.counts(), intake.counts());
        assert!(!wrong.in_sync && wrong.skipped_bits > 4 * 8 * unit as u64, "{wrong:?}");
        assert_eq!((right.in_sync, right.skipped_bits), (true, 0));
    }

    #[test]
    fn kiss_frames_carry_units() {
        let packet = [0x08, 0x21, 0xC0, 0x00, 0x00, 0x01, 0xAA, 0xBB];
        let stream = [&[0xC0, 0x00], &packet[..2], &[0xDB, 0xDC], &packet[3..], &[0xC0]].concat();
        let mut intake = Intake::new(&Carrying::Packets, Envelope::Kiss).unwrap();
        let heard = receptions(&mut intake, &[&stream[..], &[0, 1, 2, 0xC0]].concat(), 3);
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].bytes[..], packet);
        assert_eq!(intake.counts().malformed, 1, "what is no packet");
    }
}
