//! Squeeze: recorded telemetry in self-contained blocks, one context per APID and length.
//!
//! ```text
//! Squeezer (packets as they come: blocks by count and deadline) ; file (whole files) ─► explain, salvage
//! ```

pub mod file;
pub mod salvage;
pub mod explain;

use std::collections::BTreeMap;

use bytes::Bytes;
use codecs::{
    ids::Apid,
    link::MAX_UNIT_BYTES,
    squeeze::columns::{Level, MAX_PACKET_BYTES, MIN_PACKET_BYTES, SqueezeError, squeeze},
    time::Tai,
};

/// Contexts open at once; at the bound the one with the nearest deadline is closed early.
const CONTEXTS_MAX: usize = 64;
/// Bytes of packets that wait in all contexts; at the bound likewise.
const WAITING_BYTES_MAX: usize = 4 * MAX_UNIT_BYTES;
/// Bytes that close a block: squeezed badly, it still fits a unit with its header.
const BLOCK_BYTES_MAX: usize = MAX_UNIT_BYTES - 4096;

/// Score from which packets do not wait for company between contacts.
const URGENT: f32 = 0.5;

/// A finished block.
#[derive(Debug, PartialEq)]
pub struct Block {
    /// Whose packets.
    pub apid: Apid,
    /// How many.
    pub packets: usize,
    /// Their bytes before.
    pub source_bytes: usize,
    /// Time of the first.
    pub captured: Tai,
    /// Largest anomaly score among them, 0 to 1.
    pub score: f32,
    /// The block.
    pub bytes: Bytes,
}

#[derive(Debug, Default)]
struct Context {
    packets: Vec<Bytes>,
    bytes: usize,
    captured: Tai,
    score: f32,
    due_ns: u64,
}

/// Blocks that are being filled.
#[derive(Debug)]
pub struct Squeezer {
    block_packets: usize,
    flush_ns: u64,
    /// Of packets whose score is urgent.
    urgent_ns: u64,
    level: Level,
    contexts: BTreeMap<(Apid, usize), Context>,
    waiting_bytes: usize,
}

impl Squeezer {
    /// A squeezer that closes blocks at `block_packets` packets or after `flush_ns`.
    pub fn new(block_packets: usize, flush_ns: u64, level: Level) -> Self {
        Self {
            block_packets,
            flush_ns,
            urgent_ns: flush_ns,
            level,
            contexts: BTreeMap::new(),
            waiting_bytes: 0,
        }
    }

    /// Closes blocks after `flush_ns` from now on; those that are open likewise, should that be
    /// sooner. What is urgent keeps the deadline that it had.
    pub fn set_flush(&mut self, flush_ns: u64, now_ns: u64) {
        self.flush_ns = flush_ns;
        let due = now_ns.saturating_add(flush_ns);
        self.contexts.values_mut().for_each(|context| context.due_ns = context.due_ns.min(due));
    }

    /// Adds a packet; the blocks that this closes come back.
    pub fn push(
        &mut self,
        apid: Apid,
        packet: Bytes,
        captured: Tai,
        score: f32,
        now_ns: u64,
    ) -> Result<Vec<Block>, SqueezeError> {
        if !(MIN_PACKET_BYTES..=MAX_PACKET_BYTES).contains(&packet.len()) {
            return Err(SqueezeError::Length(packet.len()));
        }
        let key = (apid, packet.len());
        let mut closed = Vec::new();
        let full = self
            .contexts
            .get(&key)
            .is_some_and(|context| context.bytes + packet.len() > BLOCK_BYTES_MAX);
        if full {
            closed.extend(self.close(key)?);
        }
        while self.is_crowded(key) {
            let nearest = self.contexts.iter().min_by_key(|(_, context)| context.due_ns);
            let Some(nearest) = nearest.map(|(key, _)| *key) else { break };
            closed.extend(self.close(nearest)?);
        }
        self.waiting_bytes += packet.len();
        let context = self.contexts.entry(key).or_insert_with(|| Context {
            captured,
            due_ns: now_ns.saturating_add(self.flush_ns),
            ..Context::default()
        });
        context.bytes += packet.len();
        context.score = context.score.max(score);
        if score >= URGENT {
            context.due_ns = context.due_ns.min(now_ns.saturating_add(self.urgent_ns));
        }
        context.packets.push(packet);
        if context.packets.len() >= self.block_packets {
            closed.extend(self.close(key)?);
        }
        Ok(closed)
    }

    /// Whether a packet of this context would break a bound.
    fn is_crowded(&self, key: (Apid, usize)) -> bool {
        self.waiting_bytes + key.1 > WAITING_BYTES_MAX
            || (self.contexts.len() >= CONTEXTS_MAX && !self.contexts.contains_key(&key))
    }

    /// When the next block is due.
    pub fn timeout(&self) -> Option<u64> {
        self.contexts.values().map(|context| context.due_ns).min()
    }

    /// Closes what is due by `now_ns`; all of it with `u64::MAX`.
    pub fn flush(&mut self, now_ns: u64) -> Result<Vec<Block>, SqueezeError> {
        let due = self.contexts.iter().filter(|(_, context)| context.due_ns <= now_ns);
        let due: Vec<_> = due.map(|(key, _)| *key).collect();
        let mut closed = Vec::new();
        for key in due {
            closed.extend(self.close(key)?);
        }
        Ok(closed)
    }

    fn close(&mut self, key: (Apid, usize)) -> Result<Option<Block>, SqueezeError> {
        let Some(context) = self.contexts.remove(&key) else { return Ok(None) };
        self.waiting_bytes -= context.bytes;
        let packets: Vec<&[u8]> = context.packets.iter().map(|packet| &packet[..]).collect();
        let bytes = squeeze(&packets, self.level)?.into();
        Ok(Some(Block {
            apid: key.0,
            packets: packets.len(),
            source_bytes: context.bytes,
            captured: context.captured,
            score: context.score,
            bytes,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::squeeze::columns::unsqueeze;
    use proptest::prelude::*;

    fn packet(apid: u16, length: usize, count: u8) -> Bytes {
        let mut bytes = vec![count; length];
        bytes[..2].copy_from_slice(&apid.to_be_bytes());
        bytes.into()
    }

    #[test]
    fn blocks_wait_longer_between_contacts_and_what_is_urgent_does_not() {
        let packet = |apid: u16| Bytes::from(vec![0x08, apid as u8, 0xc0, 0, 0, 3, 1, 2, 3, 4]);
        let mut squeezer = Squeezer::new(64, 1000, Level::Fast);
        squeezer.set_flush(60_000, 0);
        let push = |squeezer: &mut Squeezer, apid, score, now| {
            squeezer.push(Apid(apid), packet(apid), Tai(1), score, now).unwrap()
        };
        push(&mut squeezer, 1, 0.0, 100);
        assert_eq!(squeezer.timeout(), Some(60_100));
        push(&mut squeezer, 2, 0.6, 200);
        assert_eq!(squeezer.timeout(), Some(1200));
        assert_eq!(squeezer.flush(1200).unwrap()[0].apid, Apid(2));
        // A rise: what waited goes within the short time.
        squeezer.set_flush(1000, 5000);
        assert_eq!(squeezer.timeout(), Some(6000));
        squeezer.set_flush(60_000, 5500);
        assert_eq!(squeezer.timeout(), Some(6000), "never later than it was");
    }

    #[test]
    fn blocks_close_by_count_and_by_deadline() {
        let mut squeezer = Squeezer::new(4, 1000, Level::Fast);
        let push = |squeezer: &mut Squeezer, apid, length, at| {
            squeezer.push(Apid(apid), packet(apid, length, at as u8), Tai(1), 0.0, at).unwrap()
        };
        for at in 0..3 {
            assert!(push(&mut squeezer, 100, 40, at).is_empty());
        }
        assert!(push(&mut squeezer, 100, 41, 3).is_empty(), "another length, another context");
        let closed = push(&mut squeezer, 100, 40, 4);
        assert_eq!((closed.len(), closed[0].packets), (1, 4));
        let back = unsqueeze(&closed[0].bytes, 1 << 20).unwrap();
        assert_eq!(back.packets().last(), Some(packet(100, 40, 4)));
        assert_eq!(squeezer.timeout(), Some(1003));
        assert!(squeezer.flush(1002).unwrap().is_empty());
        assert_eq!(squeezer.flush(1003).unwrap()[0].packets, 1);
        assert_eq!(squeezer.timeout(), None);
    }

    #[test]
    fn contexts_and_bytes_are_bounded() {
        let mut squeezer = Squeezer::new(4096, 1000, Level::Fast);
        let mut closed = 0;
        for apid in 0..200u16 {
            let packet = packet(apid, 50, 0);
            closed += squeezer.push(Apid(apid), packet, Tai(0), 0.0, apid.into()).unwrap().len();
        }
        assert_eq!(closed, 200 - CONTEXTS_MAX);
        let mut squeezer = Squeezer::new(4096, 1000, Level::Fast);
        let mut largest = 0;
        for count in 0..20 {
            for block in squeezer.push(Apid(1), packet(1, 60_000, count), Tai(0), 0.0, 0).unwrap() {
                largest = largest.max(block.source_bytes);
            }
        }
        assert!(largest > MAX_UNIT_BYTES / 2 && largest <= BLOCK_BYTES_MAX);
        let mut squeezer = Squeezer::new(4096, 1000, Level::Fast);
        let (mut pushed, mut left) = (0, 0);
        for apid in 0..300u16 {
            let packet = packet(apid % 50, 60_000, 0);
            pushed += packet.len();
            let blocks = squeezer.push(Apid(apid % 50), packet, Tai(0), 0.0, apid.into()).unwrap();
            left += blocks.iter().map(|block| block.source_bytes).sum::<usize>();
            assert!(pushed - left <= WAITING_BYTES_MAX);
        }
        assert!(left > 0);
    }

    proptest! {
        /// Packets of a context leave in order, none twice, none lost, none later than due.
        #[test]
        fn every_packet_leaves_once_and_in_time(
            arrivals in prop::collection::vec((0u16..4, 20usize..23, 0u64..400), 1..80),
        ) {
            const FLUSH_NS: u64 = 1000;
            let mut squeezer = Squeezer::new(5, FLUSH_NS, Level::Fast);
            let mut waiting: BTreeMap<(u16, usize), Vec<(u64, u8)>> = BTreeMap::new();
            let mut now = 0;
            let check = |waiting: &mut BTreeMap<_, Vec<(u64, u8)>>, blocks: Vec<Block>, now| {
                for block in blocks {
                    let opened = unsqueeze(&block.bytes, 1 << 20).unwrap();
                    let context = waiting.get_mut(&(block.apid.0, opened.packet_length)).unwrap();
                    let left: Vec<_> = context.drain(..block.packets).collect();
                    assert!(left.iter().all(|(arrived, _)| arrived + FLUSH_NS >= now));
                    let seeds = left.iter().map(|(_, seed)| *seed);
                    assert!(opened.packets().map(|packet| packet[6]).eq(seeds));
                }
            };
            for (seed, (apid, length, gap)) in arrivals.into_iter().enumerate() {
                let arrival = now + gap;
                while let Some(due) = squeezer.timeout().filter(|due| *due <= arrival) {
                    let blocks = squeezer.flush(due).unwrap();
                    check(&mut waiting, blocks, due);
                }
                now = arrival;
                waiting.entry((apid, length)).or_default().push((now, seed as u8));
                let packet = packet(apid, length, seed as u8);
                let blocks = squeezer.push(Apid(apid), packet, Tai(0), 0.0, now).unwrap();
                check(&mut waiting, blocks, now);
            }
            let blocks = squeezer.flush(u64::MAX).unwrap();
            check(&mut waiting, blocks, now);
            prop_assert!(waiting.values().all(Vec::is_empty));
        }
    }
}
