//! Packets out of a line of bytes: by their own headers, or framed by KISS.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Deserialize;

use super::PRIMARY_BYTES;

/// How packets stand in the line's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delimiting {
    /// Space packets behind one another, found by headers that make sense.
    #[default]
    Packets,
    /// KISS frames of a terminal node controller: one packet each.
    Kiss,
}

const FRAME_END: u8 = 0xc0;
const ESCAPE: u8 = 0xdb;
const ESCAPED_END: u8 = 0xdc;
const ESCAPED_ESCAPE: u8 = 0xdd;

/// Finds packets in bytes as they come. Holds at most two packets of the largest size.
#[derive(Debug)]
pub struct Stream {
    delimiting: Delimiting,
    packet_bytes_max: usize,
    held: VecDeque<u8>,
    /// The byte in front starts a packet, as far as anyone knows: the one before ended there.
    in_step: bool,
    kiss: Kiss,
    whole: VecDeque<Bytes>,
    stray_bytes: u64,
}

#[derive(Debug, Default)]
struct Kiss {
    frame: Vec<u8>,
    escaped: bool,
    broken: bool,
}

impl Stream {
    /// A stream that has heard nothing.
    pub fn new(delimiting: Delimiting, packet_bytes_max: usize) -> Self {
        Self {
            delimiting,
            packet_bytes_max,
            held: VecDeque::new(),
            in_step: false,
            kiss: Kiss::default(),
            whole: VecDeque::new(),
            stray_bytes: 0,
        }
    }

    /// A stream that is known to begin with a packet, as a file of them does.
    pub fn in_step(packet_bytes_max: usize) -> Self {
        Self { in_step: true, ..Self::new(Delimiting::Packets, packet_bytes_max) }
    }

    /// Nothing follows: what is held is a last packet, or stray.
    pub fn finish(&mut self) {
        while !self.held.is_empty() {
            match self.plausible(0) {
                Some(length) if length <= self.held.len() => {
                    let packet: Vec<u8> = self.held.drain(..length).collect();
                    self.whole.push_back(packet.into());
                }
                _ => self.slip(),
            }
        }
    }

    /// Takes bytes of the line; drain [`Stream::poll`] before the next.
    pub fn push(&mut self, bytes: &[u8]) {
        match self.delimiting {
            Delimiting::Packets => {
                self.held.extend(bytes);
                self.find();
            }
            Delimiting::Kiss => bytes.iter().for_each(|byte| self.kiss_byte(*byte)),
        }
    }

    /// The next whole packet.
    pub fn poll(&mut self) -> Option<Bytes> {
        self.whole.pop_front()
    }

    /// Bytes of no packet, since it was last asked.
    pub fn take_stray(&mut self) -> u64 {
        std::mem::take(&mut self.stray_bytes)
    }

    /// Length of the packet whose header stands at `at`, where that makes sense.
    fn plausible(&self, at: usize) -> Option<usize> {
        let byte = |offset: usize| self.held.get(at + offset).copied();
        let (id, high, low) = (byte(0)?, byte(4)?, byte(5)?);
        byte(PRIMARY_BYTES - 1)?;
        // Version 0, telemetry (CCSDS 133.0-B-2 §4.1.3.2, §4.1.3.3.2).
        let length = PRIMARY_BYTES + usize::from(u16::from_be_bytes([high, low])) + 1;
        (id >> 4 == 0 && length <= self.packet_bytes_max).then_some(length)
    }

    fn find(&mut self) {
        while self.held.len() >= PRIMARY_BYTES {
            let Some(length) = self.plausible(0) else {
                self.slip();
                continue;
            };
            if self.held.len() < length {
                return;
            }
            // Out of step, the header behind must make sense too: payload looks like one often.
            if !self.in_step {
                if self.held.len() < length + PRIMARY_BYTES {
                    return;
                }
                if self.plausible(length).is_none() {
                    self.slip();
                    continue;
                }
            }
            let packet: Vec<u8> = self.held.drain(..length).collect();
            self.in_step = true;
            self.whole.push_back(packet.into());
        }
    }

    fn slip(&mut self) {
        self.held.pop_front();
        self.in_step = false;
        self.stray_bytes += 1;
    }

    fn kiss_byte(&mut self, byte: u8) {
        let Kiss { frame, escaped, broken } = &mut self.kiss;
        match (byte, *escaped) {
            (FRAME_END, _) => {
                let frame = std::mem::take(frame);
                let broken = std::mem::take(broken) || std::mem::take(escaped);
                // The first byte is the command; 0 of any port is data.
                match frame.split_first() {
                    Some((command, packet)) if !broken && command & 0x0f == 0 => {
                        self.whole.push_back(Bytes::copy_from_slice(packet));
                    }
                    _ => self.stray_bytes += frame.len() as u64,
                }
                return;
            }
            (ESCAPE, false) => {
                *escaped = true;
                return;
            }
            (ESCAPED_END, true) => frame.push(FRAME_END),
            (ESCAPED_ESCAPE, true) => frame.push(ESCAPE),
            (_, true) => *broken = true,
            (_, false) => frame.push(byte),
        }
        *escaped = false;
        // One byte more than a packet, so that a longer one is seen to be longer.
        if frame.len() > self.packet_bytes_max + 2 {
            self.stray_bytes += frame.len() as u64;
            frame.clear();
            *broken = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(count: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0x08, 100, 0xc0, count, 0, (length - 1) as u8];
        bytes.resize(PRIMARY_BYTES + length, count.wrapping_mul(37));
        bytes
    }

    fn read(stream: &mut Stream, bytes: &[u8], chunk: usize) -> Vec<Bytes> {
        let mut found = Vec::new();
        for piece in bytes.chunks(chunk) {
            stream.push(piece);
            found.extend(std::iter::from_fn(|| stream.poll()));
        }
        found
    }

    fn kiss(packet: &[u8]) -> Vec<u8> {
        let mut out = vec![FRAME_END, 0];
        for byte in packet {
            match *byte {
                FRAME_END => out.extend([ESCAPE, ESCAPED_END]),
                ESCAPE => out.extend([ESCAPE, ESCAPED_ESCAPE]),
                byte => out.push(byte),
            }
        }
        out.push(FRAME_END);
        out
    }

    #[test]
    fn noise_costs_only_the_packet_that_it_hit() {
        let packets: Vec<Vec<u8>> = (0..40).map(|of| packet(of, 20)).collect();
        let mut line = [b"\xff\xfftorn".to_vec(), packets[..20].concat()].concat();
        // Half of the twentieth is lost.
        line.truncate(line.len() - 13);
        line.extend(packets[20..].concat());
        for chunk in [1, 7, 4096] {
            let mut stream = Stream::new(Delimiting::Packets, 1024);
            let found = read(&mut stream, &line, chunk);
            for (at, packet) in packets.iter().enumerate() {
                // The one behind the gap is eaten with it where the length said so.
                if !(19..=20).contains(&at) {
                    assert!(found.iter().any(|of| of == packet), "packet {at}, chunks of {chunk}");
                }
            }
            assert!(stream.take_stray() >= 6);
        }
    }

    #[test]
    fn the_end_of_a_file_is_as_good_as_another_header() {
        let mut stream = Stream::in_step(1024);
        stream.push(&[packet(1, 5), packet(2, 9), b"end".to_vec()].concat());
        stream.finish();
        let found: Vec<Bytes> = std::iter::from_fn(|| stream.poll()).collect();
        assert_eq!(found, [packet(1, 5), packet(2, 9)]);
        assert_eq!(stream.take_stray(), 3);
    }

    #[test]
    fn kiss_frames_come_out_whole_and_broken_ones_are_counted() {
        let packet = [&packet(1, 3)[..], &[FRAME_END, ESCAPE, 7]].concat();
        let mut stream = Stream::new(Delimiting::Kiss, 64);
        assert_eq!(read(&mut stream, &kiss(&packet), 1), std::slice::from_ref(&packet));
        let broken = [FRAME_END, 0, 1, 2, ESCAPE, 9, FRAME_END];
        let command = [FRAME_END, 1, 50, FRAME_END];
        assert!(read(&mut stream, &[&broken[..], &command].concat(), 3).is_empty());
        assert_eq!(stream.take_stray(), 5);
        assert!(read(&mut stream, &vec![5; 10_000], 100).is_empty());
        assert!(stream.kiss.frame.len() <= 66, "a line without an end holds no memory");
        assert_eq!(read(&mut stream, &[&[FRAME_END][..], &kiss(&packet)].concat(), 9), [packet]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_and_little_is_held(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            chunk in 1usize..300,
            kiss in any::<bool>(),
        ) {
            let delimiting = if kiss { Delimiting::Kiss } else { Delimiting::Packets };
            let mut stream = Stream::new(delimiting, 200);
            for packet in read(&mut stream, &bytes, chunk) {
                prop_assert!(packet.len() <= 202);
            }
            prop_assert!(stream.held.len() <= 2 * 200 + chunk && stream.kiss.frame.len() <= 202);
        }
    }
}
