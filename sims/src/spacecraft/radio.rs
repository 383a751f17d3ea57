//! The transmitter: packets to frames, frames to coded units, and idle frames in between.

use codecs::frame::aos::{AosBuilder, AosConfig, AosIdle};
use codecs::frame::cadu::{CaduEncoder, CaduError, Coding, CodingError};
use codecs::frame::{BuildError, Format, FormatError};
use thiserror::Error;

/// Frames of the radio link: five interleaved codewords carry them.
pub const FRAME: &str = "aos:1115";
/// What is done to them, as both sides are told.
pub const CODING: &str = "rs:223:i5:dual,randomized:255";
/// Spacecraft identifier in the frames, as the mission has it.
const SCID: u16 = 71;
/// Virtual channel of what happens now.
const LIVE: u8 = 0;
/// Virtual channel of what the recorder held.
const RECORDED: u8 = 1;

/// Why there is no transmitter, or it can't send.
#[derive(Debug, Error)]
pub enum RadioError {
    /// A constant of this file contradicts another.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// A constant of this file contradicts another.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A constant of this file contradicts another.
    #[error(transparent)]
    Unit(#[from] CaduError),
    /// Bytes that are no packet.
    #[error(transparent)]
    Frame(#[from] BuildError),
}

/// The transmitter.
#[derive(Debug)]
pub struct Radio {
    live: AosBuilder,
    recorded: AosBuilder,
    idle: AosIdle,
    encoder: CaduEncoder,
}

impl Radio {
    /// A transmitter that has sent nothing.
    pub fn new() -> Result<Self, RadioError> {
        let (format, coding): (Format, Coding) = (FRAME.parse()?, CODING.parse()?);
        let length = format.max_length();
        let config = AosConfig::new(length).with_fecf(true);
        Ok(Self {
            live: AosBuilder::new(config.clone(), SCID, LIVE, 0)?,
            recorded: AosBuilder::new(config.clone(), SCID, RECORDED, 0)?,
            idle: AosIdle::new(config, SCID, 0)?,
            encoder: CaduEncoder::new(&coding, length, coding.marker())?,
        })
    }

    /// Takes a packet of now; the units that it completes are appended.
    pub fn live(&mut self, packet: &[u8], units: &mut Vec<Vec<u8>>) -> Result<(), RadioError> {
        let mut frames = Vec::new();
        self.live.push(packet, &mut |frame| frames.push(frame))?;
        frames.iter().try_for_each(|frame| self.unit(frame, units))
    }

    /// Takes a packet of the recorder.
    pub fn recorded(&mut self, packet: &[u8], units: &mut Vec<Vec<u8>>) -> Result<(), RadioError> {
        let mut frames = Vec::new();
        self.recorded.push(packet, &mut |frame| frames.push(frame))?;
        frames.iter().try_for_each(|frame| self.unit(frame, units))
    }

    /// Fills up the frames in progress, so that nothing waits in them.
    pub fn flush(&mut self, units: &mut Vec<Vec<u8>>) -> Result<(), RadioError> {
        let mut frames = Vec::new();
        self.live.flush(&mut |frame| frames.push(frame));
        self.recorded.flush(&mut |frame| frames.push(frame));
        frames.iter().try_for_each(|frame| self.unit(frame, units))
    }

    /// A unit for when there is nothing to say.
    pub fn idle(&mut self, units: &mut Vec<Vec<u8>>) -> Result<(), RadioError> {
        let frame = self.idle.frame();
        self.unit(&frame, units)
    }

    fn unit(&mut self, frame: &[u8], units: &mut Vec<Vec<u8>>) -> Result<(), RadioError> {
        let mut unit = Vec::new();
        self.encoder.push(frame, &mut unit)?;
        units.push(unit);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::frame::cadu::CaduDecoder;
    use codecs::ids::Apid;
    use codecs::packet::space::{PacketHeader, SequenceCount, build};

    #[test]
    fn a_receiver_gets_back_every_unit() {
        let mut radio = Radio::new().unwrap();
        let packet =
            build(&PacketHeader::telemetry(Apid(9), SequenceCount(1)), &[7; 3000]).unwrap();
        let mut units = Vec::new();
        radio.live(&packet, &mut units).unwrap();
        radio.recorded(&packet, &mut units).unwrap();
        radio.flush(&mut units).unwrap();
        radio.idle(&mut units).unwrap();
        let coding: Coding = CODING.parse().unwrap();
        let mut decoder = CaduDecoder::new(&coding, 1115, coding.marker()).unwrap();
        let mut frames = Vec::new();
        units.iter().for_each(|unit| decoder.push(unit, &mut |frame| frames.push(frame)));
        decoder.finish(&mut |frame| frames.push(frame));
        assert_eq!(frames.len(), units.len());
        assert!(frames.iter().all(|frame| frame.quality.is_good()));
        // Two frames and a third filled up, on each of two channels, and an idle one.
        assert_eq!(units.len(), 7);
        assert!(units.iter().all(|unit| unit.len() == 4 + 5 * 255));
    }
}
