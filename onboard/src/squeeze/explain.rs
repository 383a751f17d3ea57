//! Which column of which packets was written how, over all blocks of a file.

use std::collections::BTreeMap;

use codecs::squeeze::columns::{SqueezeError, explain, unsqueeze};
use serde::Serialize;

/// What the blocks of one APID and length chose.
#[derive(Debug, Default)]
struct Source {
    blocks: usize,
    stored: usize,
    packets: usize,
    squeezed_bytes: usize,
    /// By first column, width, transform and coding: blocks and bits.
    ways: BTreeMap<(usize, usize, &'static str, &'static str), (usize, usize)>,
}

/// Choices of many blocks.
#[derive(Debug, Default)]
pub struct Explanation {
    sources: BTreeMap<(u16, usize), Source>,
}

/// Packets of one APID and length.
#[derive(Debug, PartialEq, Serialize)]
pub struct Told {
    /// Application process identifier.
    pub apid: u16,
    /// Bytes of a packet.
    pub packet_bytes: usize,
    /// Packets.
    pub packets: usize,
    /// Blocks.
    pub blocks: usize,
    /// Blocks that would not get smaller.
    pub stored: usize,
    /// Plain bytes by squeezed bytes.
    pub ratio: f64,
    /// Its columns, by the first.
    pub columns: Vec<Column>,
}

/// Columns that some blocks wrote in one way.
#[derive(Debug, PartialEq, Serialize)]
pub struct Column {
    /// First column, from 0.
    pub first: usize,
    /// Last column.
    pub last: usize,
    /// Bytes that were read as one number.
    pub width: usize,
    /// What was kept of them.
    pub transform: &'static str,
    /// How that was written.
    pub coding: &'static str,
    /// Share of the blocks that did so, 0 to 1.
    pub share: f64,
    /// Bits a packet where they did.
    pub bits_per_packet: f64,
}

impl Explanation {
    /// Takes a block.
    pub fn add(&mut self, apid: u16, block: &[u8]) -> Result<(), SqueezeError> {
        let opened = unsqueeze(block, usize::MAX)?;
        let source = self.sources.entry((apid, opened.packet_length)).or_default();
        let told = explain(block)?;
        source.blocks += 1;
        source.stored += usize::from(told.is_empty());
        source.packets += opened.count();
        source.squeezed_bytes += block.len();
        for group in told {
            let way = (group.column, group.width, group.transform, group.coding);
            let way = source.ways.entry(way).or_default();
            way.0 += 1;
            way.1 += group.bits;
        }
        Ok(())
    }

    /// What was chosen; neighbours that are constant in as many blocks stand as one.
    pub fn told(&self) -> Vec<Told> {
        self.sources.iter().map(|((apid, length), source)| source.told(*apid, *length)).collect()
    }
}

impl Source {
    fn told(&self, apid: u16, packet_bytes: usize) -> Told {
        let mut columns: Vec<Column> = Vec::new();
        for ((first, width, transform, coding), (blocks, bits)) in &self.ways {
            let share = *blocks as f64 / self.blocks as f64;
            let per_block = self.packets as f64 / self.blocks as f64;
            let bits_per_packet = *bits as f64 / *blocks as f64 / per_block;
            match columns.last_mut() {
                Some(before)
                    if (before.last + 1, before.coding, before.share)
                        == (*first, "once", share)
                        && *coding == "once" =>
                {
                    before.last = *first;
                    before.bits_per_packet += bits_per_packet;
                }
                _ => columns.push(Column {
                    first: *first,
                    last: first + width - 1,
                    width: *width,
                    transform,
                    coding,
                    share,
                    bits_per_packet,
                }),
            }
        }
        Told {
            apid,
            packet_bytes,
            packets: self.packets,
            blocks: self.blocks,
            stored: self.stored,
            ratio: (self.packets * packet_bytes) as f64 / self.squeezed_bytes.max(1) as f64,
            columns,
        }
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { apid, packet_bytes, packets, blocks, stored, ratio, .. } = self;
        write!(
            out,
            "APID {apid}, {packet_bytes} bytes: {packets} packets in {blocks} blocks, {stored} of \
             them stored, {ratio:.2}x\n  columns    blocks  bits/packet  as"
        )?;
        for column in &self.columns {
            let Column { first, last, width, transform, coding, share, bits_per_packet } = column;
            let columns = if first == last { first.to_string() } else { format!("{first}-{last}") };
            let share = 100.0 * share;
            write!(out, "\n  {columns:9}  {share:5.1}%  {bits_per_packet:11.2}  {transform}")?;
            if *coding != "once" {
                write!(out, " of u{}, {coding}", 8 * width)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::squeeze::columns::{Level, squeeze};

    #[test]
    fn a_counter_and_a_constant_are_told_apart() {
        let packets: Vec<[u8; 12]> = (0..64u16)
            .map(|at| {
                [8, 42, 0xC0, at as u8, 0, 5, 1, 2, ((at * 9) >> 8) as u8, (at * 9) as u8, 3, 4]
            })
            .collect();
        let slices: Vec<&[u8]> = packets.iter().map(|packet| &packet[..]).collect();
        let block = squeeze(&slices, Level::Fast).unwrap();
        let mut explanation = Explanation::default();
        explanation.add(42, &block).unwrap();
        explanation.add(42, &block).unwrap();
        let told = explanation.told();
        assert_eq!((told.len(), told[0].packets, told[0].blocks, told[0].stored), (1, 128, 2, 0));
        let at = |column| told[0].columns.iter().find(|told| told.first == column).unwrap();
        assert_eq!((at(0).last, at(0).transform, at(0).share), (2, "constant", 1.0));
        let ramp = at(8);
        assert_eq!((ramp.last, ramp.width), (9, 2), "{ramp:?}");
        assert_eq!((ramp.transform, ramp.coding), ("second difference", "sparse"));
        assert!(ramp.bits_per_packet < 1.0, "{ramp:?}");
        let text = told[0].to_string();
        assert!(text.starts_with("APID 42, 12 bytes: 128 packets in 2 blocks"), "{text}");
    }
}
