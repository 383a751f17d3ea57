//! Memory for large things that are read, used again: fresh pages cost as much as copying into them.

use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// Pieces that are kept, and the largest.
const KEPT_MAX: usize = 4;
const KEPT_BYTES_MAX: usize = 2 << 20;

/// What is kept of one server at the most.
pub const ROOMS_BYTES: u64 = (KEPT_MAX * KEPT_BYTES_MAX) as u64;

/// A piece may be so many times as large as what is read into it: small things are kept longer than
/// large ones, and hold all of it.
const SPARE: usize = 4;

/// Pieces that nobody uses now.
#[derive(Clone, Debug, Default)]
pub struct Rooms(Arc<Mutex<Vec<Vec<u8>>>>);

impl Rooms {
    /// A piece for about so many bytes, at most as large as that is set aside.
    pub fn take(&self, bytes: usize) -> Room {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let most = bytes.saturating_mul(SPARE);
        // The latest is in the processor's caches.
        let at = kept.iter().rposition(|piece| (bytes..=most).contains(&piece.capacity()));
        let piece = at.map(|at| kept.remove(at));
        let piece = piece.unwrap_or_else(|| Vec::with_capacity(bytes.min(KEPT_BYTES_MAX)));
        Room { piece, home: self.clone() }
    }
}

/// A piece in use; it goes back when the last who reads it is done.
#[derive(Debug)]
pub struct Room {
    /// What is read.
    pub piece: Vec<u8>,
    home: Rooms,
}

impl Room {
    /// What was read.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut piece = std::mem::take(&mut self.piece);
        piece.clear();
        let mut kept = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if (1..=KEPT_BYTES_MAX).contains(&piece.capacity()) {
            if kept.len() >= KEPT_MAX {
                kept.remove(0);
            }
            kept.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(rooms: &Rooms) -> usize {
        rooms.0.lock().unwrap().len()
    }

    #[test]
    fn a_piece_comes_back_after_its_last_reader_and_is_taken_again() {
        let rooms = Rooms::default();
        let mut room = rooms.take(1000);
        room.piece.extend_from_slice(&[7; 1000]);
        let at = room.piece.as_ptr();
        let bytes = room.into_bytes();
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!((kept(&rooms), &part[..]), (0, &[7; 10][..]));
        drop(part);
        assert_eq!(kept(&rooms), 1);
        let again = rooms.take(900);
        assert_eq!((again.piece.as_ptr(), again.piece.len()), (at, 0), "another piece");
    }

    #[test]
    fn what_is_kept_is_bounded_and_small_things_hold_little() {
        let rooms = Rooms::default();
        drop(rooms.take(100_000));
        assert!(rooms.take(10).piece.capacity() < 100_000);
        assert!(rooms.take(usize::MAX).piece.capacity() <= KEPT_BYTES_MAX, "on somebody's word");
        let mut large = rooms.take(KEPT_BYTES_MAX);
        large.piece.reserve(KEPT_BYTES_MAX + 1);
        let before = kept(&rooms);
        drop(large);
        assert_eq!(kept(&rooms), before);
        let many: Vec<Room> = (0..20).map(|_| rooms.take(5000)).collect();
        drop(many);
        assert_eq!(kept(&rooms), KEPT_MAX);
    }
}
