//! What pieces of a stream pin in memory while they wait for the bytes before them.
//!
//! The transport copies what one read of the socket gave, up to 64 KiB, into one allocation, and
//! what of it belongs to a stream is a slice that keeps all of it. It counts the slice. One that
//! sends trains of datagrams of which only the last is of use, and leaves a hole before that, pins
//! forty times what its credit says. So from where the process's memory is crowded, each datagram
//! is laid into a buffer of its own, at the cost of a copy: what is pinned is then what is counted.

use std::{
    fmt,
    io::IoSliceMut,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use quinn::udp::RecvMeta;

/// Bytes received between two looks at the process's memory: what is pinned can't have grown by
/// more, since no batch is larger than what came in it.
pub const LOOK_BYTES: usize = 8 << 20;

/// Whether memory is crowded, asked seldom.
pub struct Crowd {
    look: Box<dyn Fn() -> bool + Send + Sync>,
    crowded: AtomicBool,
    unlooked_bytes: AtomicUsize,
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd").field("crowded", &self.crowded).finish_non_exhaustive()
    }
}

impl Crowd {
    /// Looks by asking whether the process's memory is more than it should be.
    pub fn new(look: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let look = Box::new(look);
        Self { look, crowded: AtomicBool::new(false), unlooked_bytes: AtomicUsize::new(0) }
    }

    /// Whether it was crowded at the last look.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// Counts what was received, and looks when it is time.
    pub(super) fn received(&self, bytes: usize) {
        let unlooked = self.unlooked_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unlooked >= LOOK_BYTES {
            self.unlooked_bytes.store(0, Ordering::Relaxed);
            self.crowded.store((self.look)(), Ordering::Relaxed);
        }
    }
}

/// Lays the datagrams of the first buffer into all of them, each into its own where there are as
/// many; how many buffers then hold something.
pub(super) fn spread(buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
    let (Some((first, others)), Some((whole, places))) =
        (buffers.split_first_mut(), meta.split_first_mut())
    else {
        return 0;
    };
    let stride = whole.stride.max(1);
    let buffers = 1 + others.len().min(places.len());
    let each = whole.len.div_ceil(stride).div_ceil(buffers).max(1) * stride;
    let received = first.get(..whole.len).unwrap_or_default();
    let mut filled = 1;
    for (chunk, (buffer, place)) in received.chunks(each).skip(1).zip(others.iter_mut().zip(places))
    {
        let Some(room) = buffer.get_mut(..chunk.len()) else { break };
        room.copy_from_slice(chunk);
        *place = *whole;
        place.len = chunk.len();
        filled += 1;
    }
    whole.len = whole.len.min(each);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Datagrams of a length in one buffer, the last one shorter; what comes of it, read as the
    /// transport reads.
    fn laid(datagrams: usize, stride: usize, slots: usize) -> (Vec<usize>, Vec<Vec<u8>>) {
        let mut memory = vec![vec![0; 1 << 16]; slots];
        let sent: Vec<Vec<u8>> = (0..datagrams)
            .map(|number| vec![number as u8; stride - usize::from(number + 1 == datagrams)])
            .collect();
        let whole = sent.concat();
        memory[0][..whole.len()].copy_from_slice(&whole);
        let mut meta = vec![RecvMeta::default(); slots];
        (meta[0].len, meta[0].stride) = (whole.len(), stride);
        let mut buffers: Vec<IoSliceMut<'_>> =
            memory.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let filled = spread(&mut buffers, &mut meta);
        let lengths = meta.iter().take(filled).map(|of| of.len).collect();
        let read = buffers.iter().zip(&meta).take(filled);
        let read = read.flat_map(|(buffer, of)| buffer[..of.len].chunks(of.stride));
        let read: Vec<Vec<u8>> = read.map(<[u8]>::to_vec).collect();
        assert_eq!(read, sent, "{datagrams} of {stride}");
        (lengths, read)
    }

    #[test]
    fn every_datagram_comes_out_once_in_order_and_pins_no_other() {
        for datagrams in 1..=32 {
            let (lengths, _) = laid(datagrams, 1_452, 32);
            assert_eq!(lengths.len(), datagrams);
            assert!(lengths.iter().all(|length| *length <= 1_452), "{lengths:?}");
        }
        // More than there are buffers share them evenly.
        let (lengths, _) = laid(45, 1_452, 32);
        assert!(lengths.iter().all(|length| *length <= 2 * 1_452), "{lengths:?}");
        laid(64, 1_000, 32);
        laid(3, 9, 1);
    }

    #[test]
    fn memory_is_looked_at_each_few_megabytes() {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&looks);
        let crowd = Crowd::new(move || counted.fetch_add(1, Ordering::Relaxed) == 0);
        crowd.received(LOOK_BYTES - 1);
        assert!(!crowd.is_crowded() && looks.load(Ordering::Relaxed) == 0);
        crowd.received(1);
        assert!(crowd.is_crowded());
        crowd.received(LOOK_BYTES);
        assert!(!crowd.is_crowded(), "it ends with its cause");
    }
}
