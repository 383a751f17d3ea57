//! Frames to channel access data units: what [`super::CaduDecoder`] undoes.

use super::symbols::Packer;
use super::{BlockCode, CaduError, Coding, Convolutional, Randomized};
use crate::fec::reed_solomon::Block;
use crate::fec::{convolutional, ldpc};
use crate::sync::marker::Marker;
use crate::sync::randomizer::{Randomizer, Sequence};
use alloc::vec::Vec;

/// Writes a stream of units.
#[derive(Clone, Debug)]
pub struct CaduEncoder {
    marker: Marker,
    code: Code,
    randomizer: Option<Randomizer>,
    inner: Option<Inner>,
    frame_bytes: usize,
    block_bytes: usize,
}

#[derive(Clone, Debug)]
enum Code {
    None,
    ReedSolomon(Block),
    Ldpc(ldpc::Encoder),
}

#[derive(Clone, Debug)]
struct Inner {
    encoder: convolutional::Encoder,
    bits: Packer,
    unit: Vec<u8>,
}

impl CaduEncoder {
    /// Writes frames of a length behind a marker. What the coding leaves open is what the standard
    /// in force prescribes.
    pub fn new(coding: &Coding, frame_bytes: usize, marker: Marker) -> Result<Self, CaduError> {
        let block_bytes = coding.block_bytes(frame_bytes)?;
        let code = match coding.block {
            BlockCode::None => Code::None,
            BlockCode::ReedSolomon(_) => {
                coding.reed_solomon(frame_bytes)?.map_or(Code::None, Code::ReedSolomon)
            }
            BlockCode::Ldpc(code) => Code::Ldpc(ldpc::Encoder::new(code)),
        };
        let sequence = match coding.randomized {
            Randomized::No => None,
            Randomized::With(sequence) => Some(sequence),
            Randomized::Either => Some(Sequence::Long),
        };
        let randomizer = sequence.map(|sequence| Randomizer::new(sequence, block_bytes));
        let inner = coding.convolutional.map(|code| {
            let code = match code {
                Convolutional::Known(code) => code,
                Convolutional::Any(rate) => convolutional::Code::standard(rate),
            };
            let encoder = convolutional::Encoder::new(code);
            Inner { encoder, bits: Packer::default(), unit: Vec::new() }
        });
        Ok(Self { marker, code, randomizer, inner, frame_bytes, block_bytes })
    }

    /// Appends the unit of a frame. Symbols of a convolutional code that fill no byte wait for the
    /// next unit.
    pub fn push(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), CaduError> {
        if frame.len() != self.frame_bytes {
            return Err(CaduError::FrameBytes(frame.len()));
        }
        let Some(mut inner) = self.inner.take() else { return self.unit(frame, out) };
        inner.unit.clear();
        let made = self.unit(frame, &mut inner.unit);
        let Inner { encoder, bits, unit } = &mut inner;
        encoder.bytes(unit, |bit| bits.push(bit, out));
        self.inner = Some(inner);
        made
    }

    /// Ends the stream: flushes a convolutional code with zeros, which bring the last unit's
    /// symbols out of its register, and fills the last byte.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(Inner { encoder, bits, .. }) = &mut self.inner {
            encoder.bytes(&[0], |bit| bits.push(bit, out));
            bits.fill(out);
        }
    }

    fn unit(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), CaduError> {
        out.extend(self.marker.to_bytes());
        let start = out.len();
        match &mut self.code {
            Code::None => out.extend_from_slice(frame),
            Code::ReedSolomon(code) => {
                out.extend_from_slice(frame);
                out.resize(start + self.block_bytes, 0);
                code.encode(out.get_mut(start..).unwrap_or_default())?;
            }
            Code::Ldpc(code) => {
                let mut bits = Packer::default();
                code.encode(frame, |bit| bits.push(bit, out));
            }
        }
        if let Some(randomizer) = &self.randomizer {
            randomizer.apply(out.get_mut(start..).unwrap_or_default());
        }
        Ok(())
    }
}
