use super::matrix::Entry;
use super::*;
use crate::fec::kernels::ldpc::Kernel;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::eprintln;

/// Numbers that look random and are the same every time (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll() as u8).collect()
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.roll() >> 11) as f64 / (1_u64 << 53) as f64).sum::<f64>() - 6.0
    }

    fn channel(&mut self, symbols: &[bool], rate: f64, ebn0_db: f64) -> Vec<i8> {
        let deviation = (0.5 / (10_f64.powf(ebn0_db / 10.0) * rate)).sqrt();
        symbols
            .iter()
            .map(|symbol| {
                let sent = if *symbol { -1.0 } else { 1.0 };
                ((sent + deviation * self.normal()) * 24.0).round().clamp(-127.0, 127.0) as i8
            })
            .collect()
    }
}

fn encode(encoder: &mut Encoder, info: &[u8]) -> Vec<bool> {
    let mut symbols = Vec::new();
    encoder.encode(info, |symbol| symbols.push(symbol));
    symbols
}

/// The codes that fit the time of an ordinary test.
fn short() -> impl Iterator<Item = Code> {
    Code::ALL.into_iter().filter(|code| code.info_bits() < 16_384)
}

#[test]
fn lengths_are_the_standards() {
    // 131.0-B-5 table 7-5 and §7.3; 231.0-B-4 §4.
    let lengths: Vec<(usize, usize)> =
        Code::ALL.iter().map(|code| (code.symbols(), code.info_bits())).collect();
    let expected = [
        (128, 64),
        (512, 256),
        (8160, 7136),
        (2048, 1024),
        (1536, 1024),
        (1280, 1024),
        (8192, 4096),
        (6144, 4096),
        (5120, 4096),
        (32_768, 16_384),
        (24_576, 16_384),
        (20_480, 16_384),
    ];
    assert_eq!(lengths, expected);
}

#[test]
fn matrices_have_their_weights_and_no_short_cycles() {
    for code in Code::ALL {
        let matrix = Matrix::of(code);
        let weights: Vec<usize> = matrix.rows.iter().map(Vec::len).collect();
        let expected = match code {
            Code::C2 => vec![32; 2],
            Code::Tc128 | Code::Tc512 => vec![8; 4],
            Code::Ar4ja(rate, _) => {
                let middle = match rate {
                    Rate::Half => 6,
                    Rate::TwoThirds => 10,
                    Rate::FourFifths => 18,
                };
                [3, middle, middle].into_iter().flat_map(|weight| [weight; 4]).collect()
            }
        };
        assert_eq!(weights, expected, "{code:?}");
        // Two rows that share two columns close a cycle of four: two pairs of entries with the
        // same blocks and the same difference of shifts. The counts are those of the expanded
        // matrices, found by another program; the thin codes have some.
        let cycles = match code {
            Code::Ar4ja(Rate::TwoThirds, Size::K1024) => 128,
            Code::Ar4ja(Rate::FourFifths, Size::K1024) => 320,
            Code::Ar4ja(Rate::FourFifths, Size::K4096) => 128,
            Code::Ar4ja(Rate::FourFifths, Size::K16384) => 512,
            _ => 0,
        };
        let z = matrix.z;
        let mut seen = BTreeSet::new();
        let mut found = 0;
        for row in &matrix.rows {
            let mut row = row.clone();
            row.sort_unstable();
            for (at, first) in row.iter().enumerate() {
                for second in row.iter().skip(at + 1) {
                    let difference = (second.shift + z - first.shift) % z;
                    found += usize::from(!seen.insert((first.column, second.column, difference)));
                    if first.column == second.column {
                        let other = (first.column, second.column, z - difference);
                        found += usize::from(!seen.insert(other));
                    }
                }
            }
        }
        assert_eq!(found * z, cycles, "{code:?}");
    }
}

#[test]
fn ranks_are_known() {
    // C2's 1022 checks have rank 1020 (131.0-B-5 §7.3); the telecommand codes have full rank.
    for (code, expected) in [(Code::Tc128, 64), (Code::Tc512, 256), (Code::C2, 1020)] {
        let matrix = Matrix::of(code);
        let words = (matrix.columns * matrix.z).div_ceil(64);
        let mut rows: Vec<Vec<u64>> = Vec::new();
        for row in &matrix.rows {
            for place in 0..matrix.z {
                let mut bits = vec![0; words];
                for entry in row {
                    let at = matrix.at(entry, place);
                    bits[at / 64] ^= 1_u64 << (at % 64);
                }
                rows.push(bits);
            }
        }
        let mut rank = 0;
        for column in 0..matrix.columns * matrix.z {
            let set = |row: &Vec<u64>| (row[column / 64] >> (column % 64)) & 1 == 1;
            let Some(pivot) = (rank..rows.len()).find(|row| set(&rows[*row])) else { continue };
            rows.swap(rank, pivot);
            let (above, below) = rows.split_at_mut(rank + 1);
            for row in below.iter_mut().filter(|row| set(row)) {
                row.iter_mut().zip(&above[rank]).for_each(|(ours, theirs)| *ours ^= theirs);
            }
            rank += 1;
        }
        assert_eq!(rank, expected, "{code:?}");
    }
}

#[test]
fn encoded_words_satisfy_every_check() {
    for code in Code::ALL {
        let mut encoder = Encoder::new(code);
        let info = Dice(1).bytes(code.info_bits() / 8);
        let symbols = encode(&mut encoder, &info);
        assert_eq!(symbols.len(), code.symbols());
        // Systematic.
        let packed: Vec<u8> = symbols
            .chunks(8)
            .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
            .collect();
        assert_eq!(packed[..info.len()], info[..], "{code:?}");
        assert!(encoder.all_checks_hold(), "{code:?}");
    }
}

#[test]
fn c2_generators_are_the_published_ones() {
    // 131.0-B-5 annex: first rows of the generator circulants B(1,1), B(1,2), B(2,1), in hex with
    // a leading zero bit.
    let published = [
        (
            0,
            0,
            "55BF56CC55283DFEEFEA8C8CFF04E1EBD9067710988E25048D67525426939E2068D2DC6FCD2F822BEB6BD9\
             6C8A76F4932AAE9BC53AD20A2A9C86BB461E43759C",
        ),
        (
            0,
            1,
            "6855AE08698A50AA3051768793DC238544AF3FE987391021AAF6383A6503409C3CE971A80B3ECE12363EE8\
             09A01D91204F1811123EAB867D3E40E8C652585D28",
        ),
        (
            1,
            0,
            "62B21CF0AEE0649FA67B7D0EA6551C1CD194CA77501E0FCF8C85867B9CF679C18BCF7939E10F8550661848\
             A4E0A9E9EDB7DAB9EDABA18C168C8E28AACDDEAB1E",
        ),
        (
            1,
            1,
            "64B71F486AD57125660C4512247B229F0017BA649C6C11148FB00B70808286F1A9790748D296A593FA4FD2\
             C6D7AAF7750F0C71B31AEE5B400C7F5D73AAF00710",
        ),
    ];
    let mut encoder = Encoder::new(Code::C2);
    for (block, parity, hex) in published {
        let bits: Vec<bool> = hex
            .chars()
            .flat_map(|digit| {
                let digit = digit.to_digit(16).unwrap();
                (0..4).rev().map(move |place| (digit >> place) & 1 == 1)
            })
            .skip(1)
            .collect();
        assert_eq!(bits.len(), 511);
        // The first row that is sent: information bit 18 of block 0, whose circulants are 18 on.
        let first = if block == 0 { 18 } else { 511 * block };
        let mut info = vec![0; 892];
        info[(first - 18) / 8] |= 0x80 >> ((first - 18) % 8);
        let symbols = encode(&mut encoder, &info);
        let turned = if block == 0 { 18 } else { 0 };
        let start = 7136 + 511 * parity;
        let ours: Vec<bool> = (0..511).map(|at| symbols[start + (at + turned) % 511]).collect();
        assert_eq!(ours, bits, "block {block}, parity {parity}");
    }
}

#[test]
fn clean_words_need_no_iteration() {
    for code in short() {
        let info = Dice(2).bytes(code.info_bits() / 8);
        let symbols = encode(&mut Encoder::new(code), &info);
        let soft: Vec<i8> = symbols.iter().map(|symbol| if *symbol { -24 } else { 24 }).collect();
        let mut out = vec![0; info.len()];
        let decoded = Decoder::new(code).decode(&soft, 20, &mut out);
        assert!(decoded.converged, "{code:?}");
        // AR4JA's last block isn't sent: its bits must be found.
        assert!(matches!(code, Code::Ar4ja(..)) || decoded.iterations == 0, "{decoded:?}");
        assert_eq!(out, info, "{code:?}");
    }
}

#[test]
fn noisy_words_are_corrected() {
    for code in short() {
        // Well above each code's threshold.
        let ebn0_db = match code {
            Code::Ar4ja(Rate::Half, _) => 2.4,
            Code::Ar4ja(Rate::TwoThirds, _) => 3.1,
            Code::Ar4ja(Rate::FourFifths, _) => 4.2,
            Code::C2 => 4.5,
            Code::Tc128 => 6.0,
            Code::Tc512 => 4.5,
        };
        let mut encoder = Encoder::new(code);
        let mut decoder = Decoder::new(code);
        let mut dice = Dice(3);
        let rate = code.info_bits() as f64 / code.symbols() as f64;
        for _ in 0..4 {
            let info = dice.bytes(code.info_bits() / 8);
            let symbols = encode(&mut encoder, &info);
            let soft = dice.channel(&symbols, rate, ebn0_db);
            let mut out = vec![0; info.len()];
            let decoded = decoder.decode(&soft, 50, &mut out);
            eprintln!("{code:?}: {decoded:?}");
            assert!(decoded.converged && out == info, "{code:?}");
        }
    }
}

#[test]
fn beliefs_at_their_limit_still_converge() {
    // Little noise, and yet beliefs of undivided symbols saturated and then never agreed.
    let code = Code::Ar4ja(Rate::Half, Size::K4096);
    let (mut encoder, mut decoder) = (Encoder::new(code), Decoder::new(code));
    for seed in [274, 964, 2643] {
        let mut dice = Dice(seed);
        let info = dice.bytes(code.info_bits() / 8);
        let soft = dice.channel(&encode(&mut encoder, &info), 0.5, 1.9);
        let mut out = vec![0; info.len()];
        assert!(decoder.decode(&soft, 50, &mut out).converged && out == info, "seed {seed}");
    }
}

#[test]
fn nothing_received_is_no_codeword() {
    for code in short() {
        let mut out = vec![0; code.info_bits() / 8];
        let decoded = Decoder::new(code).decode(&[], 3, &mut out);
        assert!(!decoded.converged, "{code:?}: zeros of nothing passed as a codeword");
    }
}

#[test]
fn entries_are_where_the_permutation_formula_puts_them() {
    // 131.0-B-5 §7.4.2.4 by hand for M = 128: pi_1(0) = 32 * 3 + 1, pi_1(127) = 32 * 2 + 31.
    let matrix = Matrix::of(Code::Ar4ja(Rate::FourFifths, Size::K1024));
    let last = (matrix.columns - 4) * matrix.z;
    let at = |row: usize, place: usize| -> Vec<usize> {
        let entries: &Vec<Entry> = &matrix.rows[row];
        let mut columns: Vec<usize> = entries
            .iter()
            .map(|entry| matrix.at(entry, place))
            .filter(|column| *column >= last)
            .map(|column| column - last)
            .collect();
        columns.sort_unstable();
        columns
    };
    assert_eq!(at(0, 0), [0, 97]);
    assert_eq!(at(3, 31), [95, 127]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn kernels_give_the_same(seed in any::<u64>(), which in 0_usize..9, louder in 0_u32..5) {
        let code = Code::ALL[which];
        let mut dice = Dice(seed);
        // Loud noise saturates beliefs and messages.
        let symbols = dice.bytes(code.symbols());
        let symbols: Vec<i8> = symbols.iter().map(|byte| *byte as i8 >> (4 - louder)).collect();
        let results: Vec<(Decoded, Vec<u8>)> = Kernel::all()
            .into_iter()
            .map(|kernel| {
                let mut out = vec![0; code.info_bits() / 8];
                (Decoder::on(kernel, code).decode(&symbols, 7, &mut out), out)
            })
            .collect();
        prop_assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn any_length_is_taken_without_panic(symbols in prop::collection::vec(any::<i8>(), 0..700)) {
        let mut out = [0; 40];
        Decoder::new(Code::Tc512).decode(&symbols, 5, &mut out);
        Decoder::new(Code::Tc128).decode(&symbols, 5, &mut out[..3]);
    }
}
