//! What was found, as tables for people or one document for programs.

use crate::blocks::BlocksRow;
use crate::tiles::TilesRow;
use serde_json::{Value, json};

/// Bounds of the table at equal loss: share of packets lost over share of frames lost.
const LOSSES: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 9.0];

#[derive(Default)]
pub struct Found {
    pub blocks: Vec<BlocksRow>,
    pub tiles: Vec<TilesRow>,
}

impl Found {
    pub fn print(&self, as_json: bool) {
        if as_json {
            println!("{}", self.document());
            return;
        }
        self.print_blocks();
        self.at_equal_loss();
        self.print_tiles();
    }

    fn document(&self) -> Value {
        let packets = self.blocks.iter().map(|row| {
            json!({
                "recording": row.recording, "block_packets": row.block_packets,
                "packets_held_back": row.block_packets - 1, "held_back_s": row.held_back_s,
                "loss_over_frame_loss": row.loss, "codec": row.figures.name,
                "ratio": row.figures.ratio, "encode_mb_s": row.figures.encode_mb_s,
                "decode_mb_s": row.figures.decode_mb_s, "lossless": true,
            })
        });
        let samples = self.tiles.iter().map(|row| {
            json!({
                "scenes": row.scenes, "max_error": row.max_error, "codec": row.figures.name,
                "ratio": row.figures.ratio, "encode_mb_s": row.figures.encode_mb_s,
                "decode_mb_s": row.figures.decode_mb_s,
            })
        });
        json!({
            "clock": "CPU time, one core",
            "rows": packets.collect::<Vec<_>>(),
            "imagery": samples.collect::<Vec<_>>(),
        })
    }

    fn print_blocks(&self) {
        let mut before = None;
        for row in &self.blocks {
            if before.replace((row.recording, row.block_packets))
                != Some((row.recording, row.block_packets))
            {
                let held = row.held_back_s.map_or(String::new(), |s| format!(" ({s:.0} s)"));
                println!(
                    "\n{}, {} packet{} a block{held} | ratio | encode MB/s | decode MB/s \
                     | loss",
                    row.recording,
                    row.block_packets,
                    if row.block_packets == 1 { "" } else { "s" }
                );
                println!("--- | --- | --- | --- | ---");
            }
            let of = &row.figures;
            println!(
                "{} | {:.2} | {:.1} | {:.1} | {:.2}",
                of.name, of.ratio, of.encode_mb_s, of.decode_mb_s, row.loss
            );
        }
    }

    /// The best ratio of each codec, and the block size that gives it, among those that lose no
    /// more where frames are lost.
    fn at_equal_loss(&self) {
        let mut recordings: Vec<&str> = self.blocks.iter().map(|row| row.recording).collect();
        recordings.dedup();
        for recording in recordings {
            let of: Vec<&BlocksRow> =
                self.blocks.iter().filter(|row| row.recording == recording).collect();
            print!("\n{recording}, ratio (packets a block) at a loss of at most");
            LOSSES.iter().for_each(|loss| print!(" | {loss:.1}"));
            println!("\n---{}", " | ---".repeat(LOSSES.len()));
            let mut names: Vec<&str> = Vec::new();
            of.iter().for_each(|row| {
                if !names.contains(&row.figures.name) {
                    names.push(row.figures.name);
                }
            });
            for name in names {
                print!("{name}");
                for loss in LOSSES {
                    let may = of.iter().filter(|row| row.figures.name == name);
                    let may = may.filter(|row| row.loss <= loss);
                    match may.max_by(|a, b| a.figures.ratio.total_cmp(&b.figures.ratio)) {
                        Some(row) => print!(" | {:.2} ({})", row.figures.ratio, row.block_packets),
                        None => print!(" | -"),
                    }
                }
                println!();
            }
        }
    }

    fn print_tiles(&self) {
        let mut before = None;
        for row in &self.tiles {
            if before.replace((row.scenes, row.max_error)) != Some((row.scenes, row.max_error)) {
                let bound = match row.max_error {
                    0 => "lossless".to_owned(),
                    error => format!("off by {error} at most"),
                };
                println!("\n{}, {bound} | ratio | encode MB/s | decode MB/s", row.scenes);
                println!("--- | --- | --- | ---");
            }
            let of = &row.figures;
            println!(
                "{} | {:.3} | {:.1} | {:.1}",
                of.name, of.ratio, of.encode_mb_s, of.decode_mb_s
            );
        }
    }
}
