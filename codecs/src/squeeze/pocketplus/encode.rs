//! Packets to coded packets.

use super::gather::Gather;
use super::vector::{edges, last_word, load, words};
use super::{MAX_EFFECTIVE, PocketConfig, PocketError, count};
use crate::squeeze::bits::BitWriter;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

/// Codes the packets of one source, one by one.
pub struct PocketEncoder {
    config: PocketConfig,
    lanes: Vec<Lane>,
    /// The mask's changes (D) of this packet and as many before as robustness asks for, in turn.
    changes: Vec<u64>,
    /// Which of them is this packet's.
    turn: usize,
    /// All of them together (X).
    window: Vec<u64>,
    /// Bit i: whether the mask changed i packets ago.
    changed: u32,
    /// Bit i: whether a new mask was begun i packets ago (p).
    renewed: u32,
    /// Packets before this one (t); no more are told apart than matter.
    before: u32,
    new_mask: Countdown,
    send_mask: Countdown,
    uncompressed: Countdown,
}

/// What is known of a word's bits.
#[derive(Clone)]
struct Lane {
    /// The packet (I).
    packet: u64,
    /// The mask (M): bits that are sent.
    mask: u64,
    /// What changed since the last new mask (B).
    build: u64,
    gather: Gather,
}

/// Raises a flag every so many packets.
struct Countdown {
    period: u32,
    left: u32,
}

impl Countdown {
    fn new(period: u32) -> Self {
        Self { period, left: period }
    }

    fn is_due(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        let due = self.left == 0 && self.period > 0;
        if due {
            self.left = self.period;
        }
        due
    }
}

/// The flags of a packet (p, f and r).
#[derive(Clone, Copy)]
struct Flags {
    new_mask: bool,
    send_mask: bool,
    uncompressed: bool,
}

impl PocketEncoder {
    /// A coder that begins with an empty mask: no bit is expected to change.
    pub fn new(config: PocketConfig) -> Result<Self, PocketError> {
        config.check()?;
        let words = words(config.packet_bytes);
        let lane = Lane { packet: 0, mask: 0, build: 0, gather: Gather::default() };
        Ok(Self {
            lanes: vec![lane; words],
            changes: vec![0; words * (usize::from(config.robustness) + 1)],
            turn: 0,
            window: vec![0; words],
            changed: 0,
            renewed: 0,
            before: 0,
            new_mask: Countdown::new(config.new_mask_every),
            send_mask: Countdown::new(config.send_mask_every),
            uncompressed: Countdown::new(config.uncompressed_every),
            config,
        })
    }

    /// A coder that begins with a mask, of a packet's length: ones are bits that are expected to
    /// change.
    pub fn with_mask(config: PocketConfig, mask: &[u8]) -> Result<Self, PocketError> {
        let mut encoder = Self::new(config)?;
        encoder.check(mask)?;
        for (lane, mask) in encoder.lanes.iter_mut().zip(load(mask)) {
            lane.mask = mask;
        }
        Ok(encoder)
    }

    fn check(&self, bytes: &[u8]) -> Result<(), PocketError> {
        let (found, agreed) = (bytes.len(), self.config.packet_bytes);
        if found == agreed { Ok(()) } else { Err(PocketError::Length { found, agreed }) }
    }

    /// Appends the coded packet to `out`, as whole bytes: as a rule fewer than the packet's;
    /// with a torn mask and its changes it may have ten times as many.
    pub fn encode(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), PocketError> {
        self.check(packet)?;
        let flags = self.flags();
        self.take(packet, flags.new_mask);
        let mut bits = BitWriter::behind(mem::take(out));
        let all_changed = self.put_changes(&mut bits);
        let usual = !flags.send_mask && !flags.uncompressed;
        bits.put(usual.into(), 1);
        if !usual {
            bits.put(flags.send_mask.into(), 1);
            if flags.send_mask {
                self.put_mask(&mut bits);
            }
            bits.put(flags.uncompressed.into(), 1);
        }
        if flags.uncompressed {
            count::put_count(&mut bits, 8 * packet.len() as u32);
            put_bytes(&mut bits, packet);
        } else {
            self.put_changing(&mut bits, all_changed);
        }
        *out = bits.finish();
        self.before = self.before.saturating_add(1);
        Ok(())
    }

    /// The first packets carry all, so that a decoder starts whatever is lost of them (§3). The
    /// periods count from the first, whatever the robustness.
    fn flags(&mut self) -> Flags {
        let robustness = u32::from(self.config.robustness);
        let mut flags = Flags { new_mask: false, send_mask: true, uncompressed: true };
        if self.before > 0 {
            let due = Flags {
                new_mask: self.new_mask.is_due(),
                send_mask: self.send_mask.is_due(),
                uncompressed: self.uncompressed.is_due(),
            };
            if self.before > robustness {
                flags = due;
            }
        }
        flags
    }

    /// Takes a packet into the mask (§4).
    fn take(&mut self, packet: &[u8], new_mask: bool) {
        self.turn = (self.turn + 1) % (usize::from(self.config.robustness) + 1);
        let words = self.lanes.len();
        let changes = self.changes.chunks_exact_mut(words).nth(self.turn).unwrap_or_default();
        let first = self.before == 0;
        let mut changed = 0;
        for ((lane, word), change) in self.lanes.iter_mut().zip(load(packet)).zip(changes) {
            // Before the first packet there is nothing that it could differ from.
            let differs = if first { 0 } else { word ^ lane.packet };
            let mask = differs | if new_mask { lane.build } else { lane.mask };
            *change = mask ^ lane.mask;
            changed |= *change;
            lane.build = if new_mask { 0 } else { differs | lane.build };
            (lane.packet, lane.mask) = (word, mask);
        }
        self.changed = self.changed << 1 | u32::from(changed != 0);
        self.renewed = self.renewed << 1 | u32::from(new_mask);
    }

    /// How the mask changed of late (h, §5). Whether all bits that did so have to be sent: a
    /// decoder that lost more than one new mask can't know those that left the mask.
    fn put_changes(&mut self, bits: &mut BitWriter) -> bool {
        let robustness = u32::from(self.config.robustness);
        let recent = self.changed & ((2 << robustness) - 1) != 0;
        if recent {
            self.window.fill(0);
            for changes in self.changes.chunks_exact(self.lanes.len()) {
                self.window.iter_mut().zip(changes).for_each(|(all, change)| *all |= change);
            }
            count::put_runs(bits, self.window.iter().copied());
        } else {
            count::put_runs(bits, core::iter::empty());
        }
        let bridges = self.bridges();
        bits.put(bridges, 4);
        if !recent || bridges == 0 {
            return false;
        }
        let lanes = || self.lanes.iter().zip(&self.window);
        let left = lanes().any(|(lane, window)| window & !lane.mask != 0);
        bits.put(left.into(), 1);
        if !left {
            return false;
        }
        // From the packet's first bit on.
        for (lane, window) in lanes().rev() {
            let mut rest = *window;
            while rest != 0 {
                let lowest = rest & rest.wrapping_neg();
                bits.put((lane.mask & lowest == 0).into(), 1);
                rest ^= lowest;
            }
        }
        let renewals = self.renewed & ((2 << bridges) - 1);
        let all = renewals.count_ones() > 1;
        bits.put(all.into(), 1);
        all
    }

    /// Losses in a row that this packet bridges (V): one more for each packet before the
    /// robustness asked for that changed no mask.
    fn bridges(&self) -> u32 {
        let robustness = u32::from(self.config.robustness);
        if self.before <= robustness {
            return robustness;
        }
        let quiet = (self.changed >> (robustness + 1)).trailing_zeros();
        (robustness + quiet).min(self.before).min(MAX_EFFECTIVE)
    }

    /// The whole mask (q), as where it turns from zeros to ones and back.
    fn put_mask(&self, bits: &mut BitWriter) {
        let last = last_word(self.config.packet_bytes);
        let behind = self.lanes.len() - 1;
        let edges = edges(self.lanes.iter().map(|lane| lane.mask));
        let within = |(at, edges)| if at == behind { edges & last } else { edges };
        count::put_runs(bits, edges.enumerate().map(within));
    }

    /// The bits under the mask, and with them those of the window where asked for (u).
    fn put_changing(&mut self, bits: &mut BitWriter, with_window: bool) {
        for (lane, window) in self.lanes.iter_mut().zip(&self.window) {
            let mask = if with_window { lane.mask | window } else { lane.mask };
            lane.gather.set(mask);
            if mask != 0 {
                bits.put_long(lane.gather.gather(lane.packet), lane.gather.count);
            }
        }
    }
}

fn put_bytes(bits: &mut BitWriter, bytes: &[u8]) {
    let (words, rest) = bytes.as_chunks::<4>();
    words.iter().for_each(|word| bits.put(u32::from_be_bytes(*word), 32));
    rest.iter().for_each(|byte| bits.put((*byte).into(), 8));
}
