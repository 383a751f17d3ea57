//! What was written to a connection and may yet have to be written to the next one.
//!
//! A stream that breaks takes with it what the peer's system had not confirmed. Pieces stay here
//! until it has, and go out again, from the start of the first that is open, when it reconnects.

use crate::archive::record::Position;
use bytes::Bytes;
use std::collections::VecDeque;

/// Bytes that may wait here: what a connection's buffer holds, with room. At the bound the door
/// takes no more from the archive.
pub const BYTES_MAX: usize = 1 << 20;

/// Pieces in order, each of whole frames or packets.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Pieces that this connection has whole, and bytes of the next one.
    whole: usize,
    part: usize,
    /// Bytes given to this connection.
    written: u64,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// The first unit that it holds something of.
    from: Position,
    /// Where it ends in this connection's stream, once it is written whole.
    end: u64,
}

impl Outbox {
    /// Adds whole frames or packets; `from` is the first unit that any came from.
    pub fn push(&mut self, bytes: Bytes, from: Position) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        self.pieces.push_back(Piece { bytes, from, end: u64::MAX });
    }

    /// Whether more should wait until some of it is confirmed.
    pub const fn is_full(&self) -> bool {
        self.bytes >= BYTES_MAX
    }

    /// Whether nothing waits, neither to be written nor to be confirmed.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// What is to be written next.
    pub fn unwritten(&self) -> Option<&[u8]> {
        self.pieces.get(self.whole).map(|piece| piece.bytes.get(self.part..).unwrap_or_default())
    }

    /// Bytes given to this connection so far.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The connection took this many of the bytes of [`unwritten`](Self::unwritten).
    pub fn wrote(&mut self, count: usize) {
        self.written += count as u64;
        self.part += count;
        if let Some(piece) = self.pieces.get_mut(self.whole)
            && self.part >= piece.bytes.len()
        {
            piece.end = self.written;
            (self.whole, self.part) = (self.whole + 1, 0);
        }
    }

    /// The peer's system has the first `bytes` of this connection.
    pub fn confirmed(&mut self, bytes: u64) {
        while self.whole > 0
            && let Some(piece) = self.pieces.pop_front_if(|piece| piece.end <= bytes)
        {
            self.whole -= 1;
            self.bytes -= piece.bytes.len();
        }
    }

    /// The first unit that something is open of.
    pub fn open_from(&self) -> Option<Position> {
        self.pieces.iter().map(|piece| piece.from).min()
    }

    /// Another connection: everything unconfirmed is to be written again. How many bytes had been
    /// written before.
    pub fn reconnected(&mut self) -> usize {
        let again = self.pieces.iter().take(self.whole).map(|piece| piece.bytes.len()).sum();
        (self.whole, self.part, self.written) = (0, 0, 0);
        self.pieces.iter_mut().for_each(|piece| piece.end = u64::MAX);
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(offset: u64) -> Position {
        Position { segment: 0, offset }
    }

    proptest! {
        /// Whatever is written, confirmed and broken off: the peer gets every piece whole, in
        /// order, and what is no longer open it has.
        #[test]
        fn a_peer_that_breaks_off_gets_every_piece(
            pieces in prop::collection::vec(1usize..40, 1..30),
            steps in prop::collection::vec((0u8..4, 0usize..60), 0..200),
        ) {
            let mut outbox = Outbox::default();
            let mut peer: Vec<u8> = Vec::new();
            let mut got = 0;
            let mut next = 0;
            // Pieces say their number and length, so that a peer can cut the stream.
            let body = |number: usize| {
                let mut body = vec![number as u8, pieces[number] as u8];
                body.resize(2 + pieces[number], 0xAA);
                body
            };
            let mut read = |peer: &mut Vec<u8>| {
                while peer.len() >= 2 && peer.len() >= 2 + usize::from(peer[1]) {
                    let number = usize::from(peer[0]);
                    assert_eq!(peer[..2 + usize::from(peer[1])], body(number)[..]);
                    assert!(number <= got, "piece {number} before {got}");
                    got = got.max(number + 1);
                    peer.drain(..2 + usize::from(peer[1]));
                }
                got
            };
            let finish = [(1, usize::MAX), (2, 0)];
            for (step, amount) in steps.into_iter().chain(finish.repeat(80)) {
                match step {
                    0 if next < pieces.len() => {
                        outbox.push(body(next).into(), at(next as u64));
                        next += 1;
                    }
                    1 => if let Some(bytes) = outbox.unwritten() {
                        let count = amount.min(bytes.len());
                        peer.extend_from_slice(&bytes[..count]);
                        outbox.wrote(count);
                    },
                    2 => {
                        let whole = read(&mut peer);
                        outbox.confirmed(outbox.written());
                        let open = outbox.open_from().map_or(next, |from| from.offset as usize);
                        prop_assert!(open <= whole);
                    }
                    3 => {
                        read(&mut peer);
                        peer.clear();
                        outbox.reconnected();
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(read(&mut peer), next);
            prop_assert!(outbox.is_empty());
        }
    }
}
