//! What stands around each frame or packet, so that a stream can be cut again.

use super::spec::FramingKind;
use codecs::frame::cadu::{CaduEncoder, CaduError, Coding};

const FEND: u8 = 0xC0;
const FESC: u8 = 0xDB;
const TFEND: u8 = 0xDC;
const TFESC: u8 = 0xDD;
/// Data for port 0 of a KISS modem.
const KISS_DATA: u8 = 0x00;

/// Writes frames or packets one after another.
#[derive(Clone, Debug)]
pub struct Framing {
    kind: FramingKind,
    coding: Coding,
    /// For the length of frames that came last: a convolutional code goes on between frames.
    encoder: Option<(usize, CaduEncoder)>,
}

/// Why something can't be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Its length does not fit the field before it.
    #[error("{0} bytes don't fit a length of two bytes")]
    Length(usize),
    /// The coding carries no frames of this length.
    #[error(transparent)]
    Coding(#[from] CaduError),
}

impl Framing {
    /// A framing; the coding is that of CADUs.
    pub const fn new(kind: FramingKind, coding: Coding) -> Self {
        Self { kind, coding, encoder: None }
    }

    /// Appends one frame or packet in its form.
    pub fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FramingError> {
        match self.kind {
            FramingKind::Raw => out.extend_from_slice(bytes),
            FramingKind::Length16 => {
                let length =
                    u16::try_from(bytes.len()).map_err(|_| FramingError::Length(bytes.len()))?;
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(bytes);
            }
            FramingKind::Length32 => {
                // Units are far below 4 GiB.
                out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
                out.extend_from_slice(bytes);
            }
            FramingKind::Kiss => kiss(bytes, out),
            FramingKind::Cadu => {
                let encoder = match &mut self.encoder {
                    Some((length, encoder)) if *length == bytes.len() => encoder,
                    other => {
                        let marker = self.coding.marker();
                        let encoder = CaduEncoder::new(&self.coding, bytes.len(), marker)?;
                        &mut other.insert((bytes.len(), encoder)).1
                    }
                };
                encoder.push(bytes, out)?;
            }
        }
        Ok(())
    }
}

fn kiss(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[FEND, KISS_DATA]);
    for byte in bytes {
        match *byte {
            FEND => out.extend_from_slice(&[FESC, TFEND]),
            FESC => out.extend_from_slice(&[FESC, TFESC]),
            other => out.push(other),
        }
    }
    out.push(FEND);
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::frame::cadu::CaduDecoder;

    fn framed(kind: FramingKind, parts: &[&[u8]]) -> Vec<u8> {
        let mut framing = Framing::new(kind, Coding::NONE);
        let mut out = Vec::new();
        parts.iter().for_each(|part| framing.write(part, &mut out).unwrap());
        out
    }

    #[test]
    fn lengths_and_escapes_stand_where_they_must() {
        let parts: [&[u8]; 2] = [&[1, 2], &[FEND, 3, FESC]];
        assert_eq!(framed(FramingKind::Raw, &parts), [1, 2, FEND, 3, FESC]);
        assert_eq!(framed(FramingKind::Length16, &parts), [0, 2, 1, 2, 0, 3, FEND, 3, FESC]);
        let long = framed(FramingKind::Length32, &parts[..1]);
        assert_eq!(long, [0, 0, 0, 2, 1, 2]);
        let kiss = framed(FramingKind::Kiss, &parts);
        let wanted = [FEND, 0, 1, 2, FEND, FEND, 0, FESC, TFEND, 3, FESC, TFESC, FEND].as_slice();
        assert_eq!(kiss, wanted);
        let mut framing = Framing::new(FramingKind::Length16, Coding::NONE);
        let error = framing.write(&vec![0; 65_536], &mut Vec::new());
        assert_eq!(error, Err(FramingError::Length(65_536)));
    }

    #[test]
    fn a_receiver_reads_the_coded_frames_back() {
        let coding: Coding = "rs:223:i2:dual,randomized:255".parse().unwrap();
        let mut framing = Framing::new(FramingKind::Cadu, coding);
        let frames: Vec<Vec<u8>> = (0..5u8).map(|at| vec![at.wrapping_mul(31); 446]).collect();
        let mut stream = Vec::new();
        frames.iter().for_each(|frame| framing.write(frame, &mut stream).unwrap());
        let mut decoder = CaduDecoder::new(&coding, 446, coding.marker()).unwrap();
        let mut got = Vec::new();
        decoder.push(&stream, &mut |frame| got.push(frame.bytes.to_vec()));
        decoder.finish(&mut |frame| got.push(frame.bytes.to_vec()));
        assert_eq!(got, frames);
        assert!(framing.write(&[0; 445], &mut Vec::new()).is_err());
    }
}
