//! Packets out of a line of bytes: by their own headers, or framed by KISS.

use std::{cmp::Ordering, collections::VecDeque};

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

/// Packets behind one another that are looked for, and as many as are believed before a cut one:
/// payload looks like one header often, and like two seldom.
const CHAIN_MAX: usize = 4;
const CHAIN_MIN: usize = 2;
/// Runs of stray bytes that are remembered by their place.
const RUNS_MAX: usize = 8;

/// Bytes of no packet, behind one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where the first one stands, from the stream's start.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
}

/// Finds packets in bytes as they come. Holds at most two packets of the largest size.
///
/// A header that was hit says a length that never comes, and what follows would be held for it. So a
/// packet that was begun is given up once the line is silent in its middle for a time
/// ([`Stream::giving_up_after`]), and what is held is looked through for the next.
#[derive(Debug)]
pub struct Stream {
    delimiting: Delimiting,
    packet_bytes_max: usize,
    held: VecDeque<u8>,
    /// Where the first byte held stands in the stream.
    at: u64,
    /// Silence in the middle of a packet that ends it, and when a byte came last.
    give_up_ns: Option<u64>,
    heard_ns: u64,
    /// The byte in front starts a packet, as far as anyone knows: the one before ended there.
    in_step: bool,
    kiss: Kiss,
    /// Packets, and where each ends.
    whole: VecDeque<(Bytes, u64)>,
    taken_to: u64,
    stray_bytes: u64,
    runs: Vec<Run>,
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
            at: 0,
            give_up_ns: None,
            heard_ns: 0,
            in_step: false,
            kiss: Kiss::default(),
            whole: VecDeque::new(),
            taken_to: 0,
            stray_bytes: 0,
            runs: Vec::new(),
        }
    }

    /// Gives a packet up that was begun, once nothing came for so long. A KISS frame ends at the
    /// next one's beginning and needs no such thing.
    pub fn giving_up_after(self, silence_ns: u64) -> Self {
        Self { give_up_ns: Some(silence_ns), ..self }
    }

    /// A stream that is known to begin with a packet, as a file of them does.
    pub fn in_step(packet_bytes_max: usize) -> Self {
        Self { in_step: true, ..Self::new(Delimiting::Packets, packet_bytes_max) }
    }

    /// When the packet that was begun is given up, unless more of it comes.
    pub fn timeout(&self) -> Option<u64> {
        let begun = self.give_up_ns.filter(|_| !self.held.is_empty());
        begun.map(|silence| self.heard_ns.saturating_add(silence))
    }

    /// The line is silent at `now_ns`: gives up what is due. Not to be called where bytes wait to be
    /// read, however late.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        if self.timeout().is_some_and(|due| due <= now_ns) {
            self.finish();
        }
    }

    /// Nothing follows what is held: packets in it, or stray. Out of step, packets are believed that
    /// stand behind one another up to the end, or several of them before one that is cut.
    pub fn finish(&mut self) {
        while !self.held.is_empty() {
            let held = self.held.len();
            let believed = |length: &usize| *length <= held && (self.in_step || self.stands());
            match self.plausible(0).filter(believed) {
                Some(length) => self.take(length),
                None => self.slip(),
            }
        }
        self.in_step = false;
    }

    /// Whether what is held begins with packets behind one another, as far as is worth looking.
    fn stands(&self) -> bool {
        let (mut end, mut whole) = (0, 0);
        while let Some(length) = self.plausible(end).filter(|_| whole < CHAIN_MAX) {
            match (end + length).cmp(&self.held.len()) {
                Ordering::Less => (end, whole) = (end + length, whole + 1),
                Ordering::Equal => return true,
                Ordering::Greater => return whole >= CHAIN_MIN,
            }
        }
        whole >= CHAIN_MAX || (whole >= CHAIN_MIN && self.held.len() - end < PRIMARY_BYTES)
    }

    /// Takes bytes of the line that came at `now_ns`; drain [`Stream::poll`] before the next.
    pub fn push(&mut self, bytes: &[u8], now_ns: u64) {
        self.heard_ns = now_ns;
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
        let (packet, end) = self.whole.pop_front()?;
        self.taken_to = end;
        Some(packet)
    }

    /// Where the packet ended that was polled last, from the stream's start.
    pub fn taken_to(&self) -> u64 {
        self.taken_to
    }

    /// Whether nothing is held and no packet waits.
    pub fn is_drained(&self) -> bool {
        self.held.is_empty() && self.whole.is_empty()
    }

    /// The first runs of bytes of no packet, by their place; of KISS frames none.
    pub fn runs(&self) -> &[Run] {
        &self.runs
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
        // Fill looks like a row of the shortest packets there are.
        let blank = !self.in_step && (0..PRIMARY_BYTES).all(|offset| byte(offset) == Some(0));
        (!blank && id >> 4 == 0 && length <= self.packet_bytes_max).then_some(length)
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
            self.take(length);
        }
    }

    fn take(&mut self, length: usize) {
        let packet: Vec<u8> = self.held.drain(..length).collect();
        self.in_step = true;
        self.at += length as u64;
        self.whole.push_back((packet.into(), self.at));
    }

    fn slip(&mut self) {
        self.held.pop_front();
        self.in_step = false;
        self.stray_bytes += 1;
        let room = self.runs.len() < RUNS_MAX;
        match self.runs.last_mut() {
            Some(run) if run.offset + run.bytes == self.at => run.bytes += 1,
            _ if room => self.runs.push(Run { offset: self.at, bytes: 1 }),
            _ => {}
        }
        self.at += 1;
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
                        self.whole.push_back((Bytes::copy_from_slice(packet), 0));
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
            stream.push(piece, 0);
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
        stream.push(&[packet(1, 5), packet(2, 9), b"end".to_vec()].concat(), 0);
        stream.finish();
        let found: Vec<Bytes> = std::iter::from_fn(|| stream.poll()).collect();
        assert_eq!(found, [packet(1, 5), packet(2, 9)]);
        assert_eq!((stream.take_stray(), stream.taken_to()), (3, 26));
        assert_eq!(stream.runs(), [Run { offset: 26, bytes: 3 }]);
    }

    #[test]
    fn a_cut_packet_costs_itself_once_the_line_was_silent() {
        const SILENCE: u64 = 500_000_000;
        let cut = |length: u16| {
            let [high, low] = length.to_be_bytes();
            [0x08, 100, 0xc0, 0, high, low, 7, 7, 7, 7, 7, 7, 7, 7]
        };
        for false_length in [60, 5_000, 65_535] {
            let mut stream = Stream::new(Delimiting::Packets, 65_542).giving_up_after(SILENCE);
            let mut found = read(&mut stream, &[packet(1, 20), packet(2, 20)].concat(), 7);
            stream.push(&cut(false_length), 10);
            stream.push(&[packet(3, 20), packet(4, 20)].concat(), 20);
            assert!(stream.poll().is_none(), "they are held for the false length");
            assert_eq!(stream.timeout(), Some(20 + SILENCE));
            stream.handle_timeout(19 + SILENCE);
            assert!(stream.poll().is_none(), "not before its time");
            stream.handle_timeout(20 + SILENCE);
            found.extend(std::iter::from_fn(|| stream.poll()));
            assert_eq!(found, (1..5).map(|of| packet(of, 20)).collect::<Vec<_>>());
            assert_eq!((stream.take_stray(), stream.timeout()), (14, None));
        }
        // Payload that looks like a header, and a packet that is cut by the silence itself.
        let mut stream = Stream::new(Delimiting::Packets, 65_542).giving_up_after(SILENCE);
        stream.push(&packet(1, 20).repeat(2), 0);
        stream.push(&[0x08, 100, 0xc0, 0, 0x7f, 0xff, 1, 2, 3, 4], 0);
        stream.push(&[packet(5, 9), packet(6, 9), packet(7, 9)[..11].to_vec()].concat(), 0);
        stream.handle_timeout(SILENCE);
        let found: Vec<Bytes> = std::iter::from_fn(|| stream.poll()).collect();
        assert_eq!(found, [packet(1, 20), packet(1, 20), packet(5, 9), packet(6, 9)]);
        assert_eq!(stream.take_stray(), 10 + 11);
        // A lone packet that nothing follows is one too, and a line of zeros is none.
        let mut stream = Stream::new(Delimiting::Packets, 65_542).giving_up_after(SILENCE);
        stream.push(&packet(9, 20), 0);
        stream.handle_timeout(SILENCE);
        assert_eq!(stream.poll().unwrap(), packet(9, 20));
        stream.push(&[0; 700], SILENCE);
        stream.handle_timeout(2 * SILENCE);
        assert_eq!((stream.poll(), stream.take_stray()), (None, 700));
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
            prop_assert!(stream.runs.len() <= RUNS_MAX);
            // Whatever it held, at the end every byte was a packet's or is counted.
            if !kiss {
                let mut again = Stream::new(delimiting, 200);
                let mut packets = 0;
                for piece in bytes.chunks(chunk) {
                    again.push(piece, 0);
                    packets += std::iter::from_fn(|| again.poll()).map(|of| of.len()).sum::<usize>();
                }
                again.finish();
                packets += std::iter::from_fn(|| again.poll()).map(|of| of.len()).sum::<usize>();
                prop_assert_eq!(packets as u64 + again.take_stray(), bytes.len() as u64);
            }
        }
    }
}
