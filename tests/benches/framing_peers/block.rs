//! Reed-Solomon: the check, and the decoder by the number of wrong symbols.

use crate::figures::{Noise, Table, by};
use codecs::fec::kernels::reed_solomon::Kernel;
use codecs::fec::reed_solomon::{Block, Code};

const CODEWORDS: usize = 1024;

/// Blocks with so many wrong symbols each.
fn blocks(block: &Block, count: usize, errors: usize, noise: &mut Noise) -> Vec<Vec<u8>> {
    let word = |_| {
        let mut word = noise.bytes(block.bytes());
        block.encode(&mut word).expect("a block");
        let first = noise.below(255);
        for n in 0..errors {
            word[(first + 13 * n) % 255] ^= 0x5A;
        }
        word
    };
    (0..count).map(word).collect()
}

pub fn measure(table: &mut Table) {
    let single = Block::new(Code::ALL[0], 1, 0).expect("a block");
    let (mut noise, mut peer) = (Noise(1), fec::reed_solomon::Decoder::new_ccsds());
    let mut message = vec![0; single.frame_bytes()];
    let mut scratch = vec![0; single.bytes()];
    let work = ((CODEWORDS * single.bytes()) as f64 / 1e6, "MB/s");

    let four = Block::new(Code::ALL[0], 4, 0).expect("a block");
    let words = blocks(&four, CODEWORDS / 4, 0, &mut noise);
    for kernel in Kernel::all() {
        let block = four.clone().with_kernel(kernel);
        let check = || assert!(words.iter().all(|word| block.holds(word)));
        table.row(format!("RS(255,223) I=4 check, {}", kernel.name()), work, check, Vec::new());
    }
    let words = blocks(&single, CODEWORDS, 0, &mut noise);
    let check = || assert!(words.iter().all(|word| single.holds(word)));
    let theirs = by("fec", || {
        for word in &words {
            peer.decode_ccsds_dual(word, &mut message).expect("clean");
        }
    });
    table.row("RS(255,223) I=1 check", work, check, vec![theirs]);

    for errors in [0, 1, 8, 16] {
        let words = blocks(&single, CODEWORDS, errors, &mut noise);
        let ours = || {
            for word in &words {
                scratch.copy_from_slice(word);
                assert_eq!(single.decode(&mut scratch).expect("a block").failed(), 0);
            }
        };
        let theirs = by("fec", || {
            for word in &words {
                peer.decode_ccsds_dual(word, &mut message).expect("correctable");
            }
        });
        let what = format!("RS(255,223) decode, {errors} errors a codeword");
        table.row(what, work, ours, vec![theirs]);
    }
    let words = blocks(&single, CODEWORDS, 16, &mut noise);
    let portable = single.portable();
    let ours = || {
        for word in &words {
            scratch.copy_from_slice(word);
            assert_eq!(portable.decode(&mut scratch).expect("a block").failed(), 0);
        }
    };
    let what = "RS(255,223) decode, 16 errors a codeword, portable";
    table.row(what, work, ours, Vec::new());
}
