//! Coded packets to packets.

use super::gather::Gather;
use super::vector::{from_edges, last_word, store, words};
use super::{PocketError, check_bytes, count};
use crate::squeeze::bits::BitReader;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

/// Restores the packets of one source, one by one.
pub struct PocketDecoder {
    packet_bytes: usize,
    /// The last packet and mask that are known.
    packet: Known,
    mask: Known,
    gathers: Vec<Gather>,
    /// Room: the mask's changes of late.
    window: Vec<u64>,
    /// Room: the mask as it was sent.
    sent: Vec<u64>,
}

/// A vector of some packet back, and room for the next.
struct Known {
    words: Vec<u64>,
    next: Vec<u64>,
    /// Packets since, lost or not understood; `None` where it was never known.
    behind: Option<u32>,
}

impl Known {
    fn new(words: usize) -> Self {
        Self { words: vec![0; words], next: vec![0; words], behind: None }
    }

    fn miss(&mut self, packets: u32) {
        self.behind = self.behind.map(|behind| behind.saturating_add(packets));
    }

    fn is_within(&self, bridges: u32) -> bool {
        self.behind.is_some_and(|behind| behind <= bridges)
    }

    fn renew(&mut self) {
        mem::swap(&mut self.words, &mut self.next);
        self.behind = Some(0);
    }
}

/// What a coded packet's head says.
struct Head {
    /// Losses in a row that it bridges (V).
    bridges: u32,
    /// Whether all bits of the window are sent (c).
    with_window: bool,
    /// Whether the mask is in the packet (f).
    send_mask: bool,
    /// Whether the packet comes whole (r).
    uncompressed: bool,
}

impl PocketDecoder {
    /// For packets of so many bytes. It knows nothing until a mask and a whole packet came; an
    /// encoder begins with both.
    pub fn new(packet_bytes: usize) -> Result<Self, PocketError> {
        check_bytes(packet_bytes)?;
        let words = words(packet_bytes);
        Ok(Self {
            packet_bytes,
            packet: Known::new(words),
            mask: Known::new(words),
            gathers: vec![Gather::default(); words],
            window: vec![0; words],
            sent: vec![0; words],
        })
    }

    /// Tells of coded packets that did not come. Each must be told before the next that comes:
    /// sequence counts show them.
    pub fn lost(&mut self, packets: u32) {
        self.packet.miss(packets);
        self.mask.miss(packets);
    }

    /// Appends the packet that is in a coded packet to `out`. After an error nothing is appended
    /// and the packet counts as lost; the coder goes on with the next.
    pub fn decode(&mut self, coded: &[u8], out: &mut Vec<u8>) -> Result<(), PocketError> {
        self.front(coded, true, out).map(|_| ())
    }

    /// As [`decode`](Self::decode), from the front of coded packets that stand behind one another;
    /// how many bytes this one took. After an error there is no telling where the next begins.
    pub fn decode_front(&mut self, coded: &[u8], out: &mut Vec<u8>) -> Result<usize, PocketError> {
        self.front(coded, false, out)
    }

    fn front(
        &mut self,
        coded: &[u8],
        whole: bool,
        out: &mut Vec<u8>,
    ) -> Result<usize, PocketError> {
        let mut bits = BitReader::new(coded);
        let result = self.read(&mut bits).and_then(|found| {
            let used = bits.used();
            if whole && found.ends() && used < coded.len() {
                return Err(PocketError::Rest { used, bytes: coded.len() });
            }
            Ok((found, used))
        });
        match result {
            Ok((found, used)) => {
                self.settle(&found)?;
                store(&self.packet.words, self.packet_bytes, out);
                Ok(used)
            }
            Err(error) => {
                self.lost(1);
                Err(error)
            }
        }
    }

    /// Reads a packet into the room for the next.
    fn read(&mut self, bits: &mut BitReader<'_>) -> Result<Found, PocketError> {
        let head = self.read_head(bits)?;
        let bridged = self.mask.is_within(head.bridges);
        let contradicts = head.send_mask && bridged && self.sent != self.mask.next;
        if head.send_mask {
            self.mask.next.copy_from_slice(&self.sent);
        }
        let mask = bridged || head.send_mask;
        let packet = if head.uncompressed {
            self.read_whole(bits)?;
            true
        } else {
            if mask {
                self.read_changing(bits, head.with_window)?;
            }
            mask && !contradicts && self.packet.is_within(head.bridges)
        };
        Ok(Found {
            mask,
            packet,
            uncompressed: head.uncompressed,
            contradicts,
            bridges: head.bridges,
        })
    }

    /// The mask's changes (h), and the mask itself (q, §5).
    fn read_head(&mut self, bits: &mut BitReader<'_>) -> Result<Head, PocketError> {
        let length = 8 * self.packet_bytes as u32;
        self.window.fill(0);
        let recent = count::take_runs(bits, &mut self.window, length)?;
        let bridges = count::take(bits, 4)?;
        let with_window = self.change_mask(bits, recent, bridges)?;
        let mut head = Head { bridges, with_window, send_mask: false, uncompressed: false };
        if count::take(bits, 1)? == 0 {
            head.send_mask = count::take(bits, 1)? == 1;
            if head.send_mask {
                self.sent.fill(0);
                count::take_runs(bits, &mut self.sent, length)?;
                from_edges(&mut self.sent, last_word(self.packet_bytes));
            }
            head.uncompressed = count::take(bits, 1)? == 1;
        }
        Ok(head)
    }

    /// Takes the changes over into the next mask; whether all bits that changed are sent (c).
    fn change_mask(
        &mut self,
        bits: &mut BitReader<'_>,
        recent: bool,
        bridges: u32,
    ) -> Result<bool, PocketError> {
        self.mask.next.copy_from_slice(&self.mask.words);
        if !recent {
            return Ok(false);
        }
        let masks = self.mask.next.iter_mut().zip(&self.window);
        if bridges == 0 {
            // Nothing lies between, so that each change is one from the mask before.
            masks.for_each(|(mask, window)| *mask ^= window);
            return Ok(false);
        }
        if count::take(bits, 1)? == 0 {
            masks.for_each(|(mask, window)| *mask |= window);
            return Ok(false);
        }
        for (mask, window) in masks.rev() {
            let mut rest = *window;
            *mask |= rest;
            while rest != 0 {
                let lowest = rest & rest.wrapping_neg();
                if count::take(bits, 1)? == 1 {
                    *mask ^= lowest;
                }
                rest ^= lowest;
            }
        }
        Ok(count::take(bits, 1)? == 1)
    }

    /// The whole packet, behind its length.
    fn read_whole(&mut self, bits: &mut BitReader<'_>) -> Result<(), PocketError> {
        let length = count::take_count(bits)?;
        if length != Some(8 * self.packet_bytes as u32) {
            return Err(PocketError::Damaged(bits.used()));
        }
        let end = |bits: &BitReader<'_>| PocketError::Truncated(bits.used());
        // It comes from its first bit on, which is in the last word.
        let mut width = 64 - 8 * (self.packet_bytes.wrapping_neg() % 8) as u32;
        for word in self.packet.next.iter_mut().rev() {
            *word = bits.take_long(width).ok_or_else(|| end(bits))?.reverse_bits();
            width = 64;
        }
        Ok(())
    }

    /// The bits under the next mask, and those of the window where they come with it.
    fn read_changing(
        &mut self,
        bits: &mut BitReader<'_>,
        with_window: bool,
    ) -> Result<(), PocketError> {
        let masks = self.mask.next.iter().zip(&self.window);
        let packets = self.packet.words.iter().zip(&mut self.packet.next);
        for ((gather, (mask, window)), (before, next)) in
            self.gathers.iter_mut().zip(masks).zip(packets)
        {
            let mask = if with_window { mask | window } else { *mask };
            *next = *before;
            if mask != 0 {
                gather.set(mask);
                let found = bits.take_long(gather.count);
                let found = found.ok_or_else(|| PocketError::Truncated(bits.used()))?;
                *next = before & !mask | gather.scatter(found);
            }
        }
        Ok(())
    }

    /// Makes what was found the last that is known.
    fn settle(&mut self, found: &Found) -> Result<(), PocketError> {
        self.lost(1);
        if found.mask {
            self.mask.renew();
        }
        if found.packet {
            self.packet.renew();
            return Ok(());
        }
        if found.contradicts {
            // What was lost in silence may be in the last packet too.
            self.packet.behind = None;
            return Err(PocketError::Contradiction);
        }
        Err(PocketError::Lost { bridges: found.bridges as u8 })
    }
}

/// What is known after a packet.
struct Found {
    mask: bool,
    packet: bool,
    uncompressed: bool,
    contradicts: bool,
    bridges: u32,
}

impl Found {
    /// Whether it was read to its end, which can't be found without a mask.
    fn ends(&self) -> bool {
        self.mask || self.uncompressed
    }
}
