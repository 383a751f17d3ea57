//! KISS: frames between a terminal node controller and its host (the 1987 paper by Chepponis and
//! Karn, as direwolf and soundmodem serve it over TCP).

use bytes::{Bytes, BytesMut};
use codecs::frame::MAX_FRAME_BYTES;

const FEND: u8 = 0xC0;
const FESC: u8 = 0xDB;
const TFEND: u8 = 0xDC;
const TFESC: u8 = 0xDD;
/// Low half of the type byte: data to or from the air. The high half is the port.
const DATA: u8 = 0;

/// Cuts a KISS stream into the data frames in it.
#[derive(Debug, Default)]
pub struct KissReader {
    frame: BytesMut,
    /// Behind the first delimiter: what stands before it began elsewhere.
    inside: bool,
    escaped: bool,
    /// The frame breaks a rule or the bound: left out at its end.
    spoiled: bool,
    /// Frames left out: too long, or with an escape that means nothing.
    pub malformed: u64,
}

impl KissReader {
    /// Takes bytes and hands out each data frame that they end; commands to the controller are
    /// passed over.
    pub fn push(&mut self, chunk: &[u8], sink: &mut impl FnMut(Bytes)) {
        for byte in chunk {
            match (*byte, self.escaped) {
                (FEND, _) => self.delimit(sink),
                _ if !self.inside => {}
                (FESC, false) => self.escaped = true,
                (TFEND, true) => self.add(FEND),
                (TFESC, true) => self.add(FESC),
                (_, true) => self.spoiled = true,
                (byte, false) => self.add(byte),
            }
        }
    }

    fn add(&mut self, byte: u8) {
        self.escaped = false;
        // The type byte comes on top of the longest frame.
        if self.frame.len() > MAX_FRAME_BYTES {
            self.spoiled = true;
        } else {
            self.frame.extend_from_slice(&[byte]);
        }
    }

    fn delimit(&mut self, sink: &mut impl FnMut(Bytes)) {
        let frame = self.frame.split().freeze();
        let whole = !self.spoiled && !self.escaped;
        (self.inside, self.escaped, self.spoiled) = (true, false, false);
        match frame.first() {
            // Delimiters may stand in a row.
            None if whole => {}
            Some(kind) if whole => {
                if kind & 0x0F == DATA && frame.len() > 1 {
                    sink(frame.slice(1..));
                }
            }
            _ => self.malformed += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(frame: &[u8], kind: u8) -> Vec<u8> {
        let mut out = vec![FEND];
        // Data on port 12 has a type that must be escaped as well.
        for byte in [kind].iter().chain(frame) {
            match *byte {
                FEND => out.extend([FESC, TFEND]),
                FESC => out.extend([FESC, TFESC]),
                byte => out.push(byte),
            }
        }
        out.push(FEND);
        out
    }

    fn read(stream: &[u8], chunk: usize) -> (Vec<Bytes>, u64) {
        let (mut reader, mut frames) = (KissReader::default(), Vec::new());
        stream.chunks(chunk).for_each(|part| reader.push(part, &mut |frame| frames.push(frame)));
        (frames, reader.malformed)
    }

    proptest! {
        #[test]
        fn frames_come_back_however_the_stream_is_cut(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 1..6),
            port in 0u8..16,
            chunk in 1usize..50,
        ) {
            let stream: Vec<u8> =
                sent.iter().flat_map(|frame| encode(frame, port << 4)).collect();
            let (frames, malformed) = read(&stream, chunk);
            prop_assert_eq!(malformed, 0);
            prop_assert_eq!(frames, sent);
        }

        #[test]
        fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..300)) {
            read(&garbage, 7);
        }
    }

    #[test]
    fn what_is_no_data_frame_is_passed_over_or_counted() {
        let data = encode(b"ok", 0);
        let with = |before: &[u8]| read(&[before, &data[..]].concat(), 3);
        assert_eq!(with(b"tail of a frame").0, ["ok"]);
        assert_eq!(with(&encode(b"\x32", 1)), (vec!["ok".into()], 0), "a TX delay");
        assert_eq!(with(&[FEND, 0, b'x', FESC, b'y', FEND]), (vec!["ok".into()], 1));
        assert_eq!(with(&[FEND, 0, b'x', FESC, FEND]), (vec!["ok".into()], 1));
        let long = encode(&vec![1; MAX_FRAME_BYTES + 1], 0);
        assert_eq!(with(&long), (vec!["ok".into()], 1));
        let longest = encode(&vec![1; MAX_FRAME_BYTES], 0);
        assert_eq!(with(&longest).0.len(), 2);
    }
}
