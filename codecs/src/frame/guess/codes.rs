//! Which randomiser and block code make codewords of blocks.

use super::Evidence;
use crate::fec::ldpc;
use crate::fec::reed_solomon::{Basis, Block, CODEWORD_BYTES, Code, Outcome, Strength};
use crate::frame::cadu::{BlockCode, Coding, Randomized, ReedSolomon};
use crate::sync::randomizer::{Randomizer, Sequence};
use alloc::vec;
use alloc::vec::Vec;

/// Blocks that each code is tried on.
const TRIED: usize = 12;
/// The same for an LDPC code, none of whose codewords are chance.
const TRIED_LDPC: usize = 4;
/// Iterations of an LDPC decoder: a right guess on a fair signal needs fewer.
const ITERATIONS: u32 = 20;

/// What a coding makes of blocks.
pub(super) struct Coded {
    pub(super) coding: Coding,
    pub(super) frames: Vec<Vec<u8>>,
    pub(super) evidence: Option<Evidence>,
}

/// Every coding that fits most of the blocks; where none does, the blocks as they are and without
/// each sequence.
///
/// The sequence of period 255 is itself a codeword of every Reed-Solomon code here, so a code that
/// fits with it fits without it: which one it is, only the frames tell.
pub(super) fn fitting(blocks: &[Vec<u8>]) -> Vec<Coded> {
    let randomized =
        [Randomized::No, Randomized::With(Sequence::Legacy), Randomized::With(Sequence::Long)];
    let (mut coded, mut plain) = (Vec::new(), Vec::new());
    for randomized in randomized {
        let upright = derandomized(blocks, randomized);
        // A block of one byte over and over is a codeword of nearly everything.
        let telling = |block: &&Vec<u8>| block.windows(2).any(|pair| pair.first() != pair.last());
        let tried: Vec<_> = upright.iter().filter(telling).take(TRIED).cloned().collect();
        if let Some(block) = best_reed_solomon(&tried).or_else(|| best_ldpc(&tried)) {
            let coding = Coding { block, randomized, ..Coding::NONE };
            coded.push(decode(coding, upright));
        } else {
            let coding = Coding { randomized, ..Coding::NONE };
            plain.push(Coded { coding, frames: upright, evidence: None });
        }
    }
    if coded.is_empty() { plain } else { coded }
}

fn derandomized(blocks: &[Vec<u8>], randomized: Randomized) -> Vec<Vec<u8>> {
    let mut upright = blocks.to_vec();
    if let (Randomized::With(sequence), Some(block)) = (randomized, blocks.first()) {
        let randomizer = Randomizer::new(sequence, block.len());
        upright.iter_mut().for_each(|block| randomizer.apply(block));
    }
    upright
}

/// The strongest code with the most codewords: what (255,223) makes is also of (255,239).
fn best_reed_solomon(blocks: &[Vec<u8>]) -> Option<BlockCode> {
    let bytes = blocks.first()?.len();
    let mut best: Option<(usize, ReedSolomon)> = None;
    for strength in [Strength::Sixteen, Strength::Eight] {
        for basis in [Basis::Dual, Basis::Conventional] {
            for interleave in [1, 2, 3, 4, 5, 8] {
                let code = ReedSolomon { code: Code { strength, basis }, interleave };
                let Some(block) = shortened(&code, bytes) else { continue };
                let fits: usize = blocks.iter().map(|bytes| codewords(&block, bytes)).sum();
                let most = interleave * blocks.len();
                if 2 * fits > most && best.is_none_or(|(found, _)| fits > found) {
                    best = Some((fits, code));
                }
            }
        }
    }
    best.map(|(_, code)| BlockCode::ReedSolomon(code))
}

/// The blocks of a code that are so long, if there are such.
fn shortened(code: &ReedSolomon, block_bytes: usize) -> Option<Block> {
    if !block_bytes.is_multiple_of(code.interleave) {
        return None;
    }
    let fill = CODEWORD_BYTES.checked_sub(block_bytes / code.interleave)?;
    Block::new(code.code, code.interleave, fill).ok()
}

/// Codewords of a block that are right or can be corrected.
fn codewords(code: &Block, block: &[u8]) -> usize {
    let mut block = block.to_vec();
    let report = code.decode(&mut block).unwrap_or_default();
    report.outcomes().iter().filter(|outcome| **outcome != Outcome::Failed).count()
}

fn best_ldpc(blocks: &[Vec<u8>]) -> Option<BlockCode> {
    let bytes = blocks.first()?.len();
    let blocks = blocks.get(..TRIED_LDPC).unwrap_or(blocks);
    let telemetry = |code: &ldpc::Code| matches!(code, ldpc::Code::C2 | ldpc::Code::Ar4ja(..));
    let long = |code: &ldpc::Code| code.symbols() == 8 * bytes;
    ldpc::Code::ALL.into_iter().filter(telemetry).filter(long).find_map(|code| {
        let mut decoder = ldpc::Decoder::new(code);
        let mut info = vec![0; code.info_bits() / 8];
        let fits = blocks
            .iter()
            .filter(|block| decoder.decode(&hard(block), ITERATIONS, &mut info).converged)
            .count();
        (2 * fits > blocks.len()).then_some(BlockCode::Ldpc(code))
    })
}

/// Bits as symbols.
fn hard(block: &[u8]) -> Vec<i8> {
    let bits = block.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1));
    bits.map(|bit| if bit == 1 { -24 } else { 24 }).collect()
}

/// The frames of all blocks, whose sequence is already off.
fn decode(coding: Coding, mut blocks: Vec<Vec<u8>>) -> Coded {
    let (mut fits, mut of) = (0, 0);
    let mut frames = Vec::new();
    match coding.block {
        BlockCode::None => frames = blocks,
        BlockCode::ReedSolomon(code) => {
            let bytes = blocks.first().map_or(0, Vec::len);
            let Some(code) = shortened(&code, bytes) else {
                return Coded { coding, frames, evidence: None };
            };
            for block in &mut blocks {
                let report = code.decode(block).unwrap_or_default();
                of += report.outcomes().len();
                fits += report.outcomes().len() - report.failed() as usize;
                if report.failed() == 0 {
                    block.truncate(code.frame_bytes());
                    frames.push(core::mem::take(block));
                }
            }
        }
        BlockCode::Ldpc(code) => {
            let mut decoder = ldpc::Decoder::new(code);
            for block in &blocks {
                let mut info = vec![0; code.info_bits() / 8];
                of += 1;
                if decoder.decode(&hard(block), ITERATIONS, &mut info).converged {
                    fits += 1;
                    frames.push(info);
                }
            }
        }
    }
    Coded { coding, frames, evidence: Some(Evidence::new("codewords that decode", fits, of)) }
}
