//! A file to frames, whatever stands around them.

use super::input::{Input, fill};
use super::source::{Setup, Source, Usage};
use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use codecs::frame::cadu::{CaduDecoder, Frame, Symbols};
use codecs::frame::cltu::CltuDecoder;
use codecs::frame::{Format, Framing, MAX_FRAME_BYTES};
use std::io::Read;

/// Bytes read at a time.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// What stood around the frames.
pub(super) struct Tally {
    /// Bytes after the last whole frame of those that stand end to end.
    pub(super) trailing_bytes: u64,
    /// What undid the codes, at the end of the stream.
    pub(super) decoder: Option<Decoder>,
}

/// What undoes the codes of a stream.
pub(super) enum Decoder {
    Cadus(Box<CaduDecoder>),
    Cltus(Box<CltuDecoder>),
}

impl Decoder {
    /// Frames that the code could not correct.
    pub(super) fn failed_frames(&self) -> u64 {
        match self {
            Self::Cadus(decoder) => decoder.counts().failed_frames,
            Self::Cltus(decoder) => decoder.counts().rejected,
        }
    }
}

/// Hands out every frame of a recording; those with a codeword that failed are left out, and show
/// as gaps.
pub(super) fn frames(
    mut input: Input,
    source: &Source,
    setup: &Setup,
    take: &mut impl FnMut(&Bytes),
) -> anyhow::Result<Tally> {
    let at = || format!("can't read {}", source.file.display());
    let format = setup.frames.format();
    let mut decoder = match setup.framing {
        Framing::Bare => {
            let trailing_bytes = bare(&mut input, format, take).with_context(at)?;
            return Ok(Tally { trailing_bytes, decoder: None });
        }
        Framing::Cltus(coding) => Decoder::Cltus(Box::new(CltuDecoder::new(coding))),
        Framing::Cadus { marker, coding } => {
            let length = format.length.ok_or_else(|| {
                let kind = format.kind.name();
                Usage(format!("marked units are of one length: say --frame {kind}:LENGTH"))
            })?;
            let decoder = CaduDecoder::new(&coding, length, marker).map_err(|error| {
                Usage(format!("--frame {format} and --coding {coding}: {error}"))
            })?;
            Decoder::Cadus(Box::new(decoder))
        }
    };
    coded(&mut input, setup.symbols, &mut decoder, take).with_context(at)?;
    Ok(Tally { trailing_bytes: 0, decoder: Some(decoder) })
}

/// Frames end to end; returns the bytes after the last whole one.
pub(super) fn bare(
    mut file: impl Read,
    format: Format,
    take: &mut impl FnMut(&Bytes),
) -> std::io::Result<u64> {
    let mut carried = Bytes::new();
    loop {
        // A chunk of its own each time: packets in progress hold no slices of the last.
        let mut chunk = BytesMut::zeroed(carried.len() + CHUNK_BYTES);
        let (front, room) = chunk.split_at_mut(carried.len());
        front.copy_from_slice(&carried);
        let read = fill(&mut file, room)?;
        let ended = read < room.len();
        chunk.truncate(carried.len() + read);
        let mut rest = chunk.freeze();
        while let Some(length) = format.extent(&rest).filter(|length| *length <= rest.len()) {
            take(&rest.split_to(length));
        }
        // Bytes that begin no frame have no frame behind them either.
        if ended || (format.extent(&rest).is_none() && rest.len() >= MAX_FRAME_BYTES) {
            let unread = std::io::copy(&mut file, &mut std::io::sink())?;
            return Ok(rest.len() as u64 + unread);
        }
        carried = rest;
    }
}

fn coded(
    mut file: impl Read,
    symbols: Symbols,
    decoder: &mut Decoder,
    take: &mut impl FnMut(&Bytes),
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let filled = fill(&mut file, &mut chunk)?;
        let ended = filled < chunk.len();
        match decoder {
            Decoder::Cadus(decoder) => {
                let mut good = |frame: Frame| {
                    if frame.quality.is_good() {
                        take(&frame.bytes);
                    }
                };
                decoder.push_symbols(symbols, &chunk[..filled], &mut good);
                if ended {
                    decoder.finish(&mut good);
                }
            }
            Decoder::Cltus(decoder) => {
                let mut take = |frame: Bytes| take(&frame);
                decoder.push(symbols, &chunk[..filled], &mut take);
                if ended {
                    decoder.finish(&mut take);
                }
            }
        }
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a few bytes at a time, as a pipe may.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let most = buffer.len().min(1000);
            (&mut self.0).take(most as u64).read(buffer)
        }
    }

    fn found(file: impl Read, format: &str) -> (Vec<Bytes>, u64) {
        let mut frames = Vec::new();
        let mut take = |frame: &Bytes| frames.push(frame.clone());
        let trailing = bare(file, format.parse().unwrap(), &mut take).unwrap();
        (frames, trailing)
    }

    #[test]
    fn chunks_and_short_reads_change_nothing() {
        let bytes: Vec<u8> =
            (0..3 * CHUNK_BYTES as u32 + 37).map(|n| (n.wrapping_mul(n) >> 5) as u8).collect();
        let (frames, trailing) = found(&bytes[..], "aos:100");
        assert_eq!((frames.len(), trailing), (bytes.len() / 100, bytes.len() as u64 % 100));
        assert!(frames.iter().zip(bytes.chunks(100)).all(|(frame, bytes)| frame == bytes));
        assert_eq!(found(Trickle(&bytes), "aos:100"), (frames, trailing));
    }

    #[test]
    fn frames_that_tell_their_length_are_followed_to_the_first_that_lies() {
        let unlock = [0x30, 0x7B, 0x00, 0x07, 0x00, 0x00, 0x55, 0x75];
        let mut bytes = unlock.repeat(200_000);
        assert_eq!(found(&bytes[..], "tc").0.len(), 200_000);
        bytes[8 * 150_000] = 0xFF;
        let (frames, trailing) = found(Trickle(&bytes), "tc");
        assert_eq!((frames.len(), trailing), (150_000, 8 * 50_000));
        assert_eq!(found(&[0xFF; 20][..], "uslp"), (Vec::new(), 20));
    }
}
