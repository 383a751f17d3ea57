//! Error correction: any symbols in, what was sent out where it can be.

use crate::input::{Input, pieces};
use codecs::fec::convolutional::{self, Rate, Synchroniser};
use codecs::fec::kernels;
use codecs::fec::ldpc::{self, Size};
use codecs::fec::reed_solomon::{Block, Code, Outcome};
use std::cell::RefCell;

/// The loudest symbols of a codeword that a decoder of ours is at its best with.
const LOUD: i8 = 24;

fn symbols(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|byte| byte.cast_signed()).collect()
}

fn loud(bit: bool) -> i8 {
    if bit { -LOUD } else { LOUD }
}

fn code_of(input: &mut Input<'_>) -> convolutional::Code {
    let rate = input.choose(&Rate::ALL);
    let flags = input.byte();
    convolutional::Code::standard(rate).with_inverter(flags & 1 != 0).with_c2_first(flags & 2 != 0)
}

/// The Viterbi decoder: the same bits on every kernel and in any pieces; clean symbols decode.
pub fn convolutional(data: &[u8]) {
    let mut input = Input(data);
    let code = code_of(&mut input);
    let cut = input.byte();
    let received = symbols(input.0);
    let mut expected = None;
    for kernel in kernels::viterbi::Kernel::all() {
        let mut decoder = convolutional::Decoder::on(kernel, code);
        let mut whole = Vec::new();
        decoder.push(&received, &mut whole);
        let last = decoder.finish(&mut whole);
        let mut parts = Vec::new();
        for piece in pieces(input.0, cut) {
            decoder.push(&symbols(piece), &mut parts);
        }
        assert_eq!((decoder.finish(&mut parts), &parts), (last, &whole), "chunks or a reset show");
        let found = (whole, last);
        assert_eq!(*expected.get_or_insert(found.clone()), found, "kernels differ");
    }

    let sent = input.take(600);
    let mut clean = Vec::new();
    let mut encoder = convolutional::Encoder::new(code);
    encoder.bytes(sent, |bit| clean.push(loud(bit)));
    encoder.bytes(&[0], |bit| clean.push(loud(bit)));
    let mut decoder = convolutional::Decoder::new(code);
    let mut found = Vec::new();
    decoder.push(&clean, &mut found);
    decoder.finish(&mut found);
    assert_eq!(found.get(..sent.len()), Some(sent));
}

/// Node synchronisation: bounded output, whatever comes; found where the symbols are clean.
pub fn node_sync(data: &[u8]) {
    let mut input = Input(data);
    let rate = input.choose(&Rate::ALL);
    let (skip, cut) = (usize::from(input.byte()) % rate.symbols(), input.byte());
    let code = convolutional::Code::standard(rate);
    let mut synchroniser = Synchroniser::new([code]);
    // Enough for two searches, made of what little the fuzzer gives.
    let mut stream = Vec::new();
    let mut encoder = convolutional::Encoder::new(code);
    let mut register = 0x1Du8;
    while stream.len() < 2 * synchroniser.window() + skip {
        register = register.wrapping_mul(29).wrapping_add(input.byte() | 1);
        encoder.bytes(&[register], |bit| stream.push(loud(bit).cast_unsigned()));
    }
    let places = stream.len();
    while !input.0.is_empty() {
        let place = usize::from(input.word()) % places;
        stream[place] = input.byte();
    }
    let mut out = Vec::new();
    let mut locks = 0;
    for piece in pieces(&stream[skip..], cut) {
        synchroniser.push(&symbols(piece), &mut out, |event| {
            locks += u32::from(matches!(event, convolutional::sync::Event::Locked(_)));
        });
    }
    synchroniser.finish(&mut out);
    assert!(8 * out.len() <= places + 8, "more bits than symbols");
    assert!(locks > 0 || out.is_empty(), "bits without a lock");
}

const LDPC_CODES: [ldpc::Code; 5] = [
    ldpc::Code::Tc128,
    ldpc::Code::Tc512,
    ldpc::Code::Ar4ja(ldpc::Rate::Half, Size::K1024),
    ldpc::Code::Ar4ja(ldpc::Rate::FourFifths, Size::K1024),
    ldpc::Code::C2,
];

/// Iterations that fill in what a code punctures.
const ENOUGH: u32 = 20;

struct LdpcPair {
    code: ldpc::Code,
    encoder: ldpc::Encoder,
    decoders: Vec<ldpc::Decoder>,
}

thread_local! {
    /// Made once: a generator matrix takes longer than a million short inputs.
    static PAIRS: RefCell<Vec<LdpcPair>> = const { RefCell::new(Vec::new()) };
}

/// LDPC: the same on every kernel; what converges is a codeword; what was sent comes back.
pub fn ldpc(data: &[u8]) {
    let mut input = Input(data);
    let code = input.choose(&LDPC_CODES);
    PAIRS.with_borrow_mut(|pairs| {
        let place = pairs.iter().position(|pair| pair.code == code).unwrap_or_else(|| {
            let kernels = kernels::ldpc::Kernel::all();
            let decoders = kernels.into_iter().map(|kernel| ldpc::Decoder::on(kernel, code));
            let (encoder, decoders) = (ldpc::Encoder::new(code), decoders.collect());
            pairs.push(LdpcPair { code, encoder, decoders });
            pairs.len() - 1
        });
        ldpc_with(&mut pairs[place], &mut input);
    });
}

fn ldpc_with(pair: &mut LdpcPair, input: &mut Input<'_>) {
    let info_bytes = pair.code.info_bits() / 8;
    let (iterations, raw, harms) = (u32::from(input.byte() % 12), input.byte(), input.byte() & 3);
    let clean = raw & 1 == 0 && harms == 0;
    // AR4JA punctures a fifth of its symbols and more: even a clean word takes a few iterations.
    let iterations = if clean { ENOUGH } else { iterations };
    let mut sent = input.take(info_bytes).to_vec();
    sent.resize(info_bytes, 0x5A);
    let mut word = Vec::new();
    pair.encoder.encode(&sent, |bit| word.push(loud(bit)));
    assert_eq!(word.len(), pair.code.symbols());
    if raw & 1 != 0 {
        word = symbols(input.rest());
    }
    for _ in 0..harms {
        let place = usize::from(input.word()) % word.len().max(1);
        word.get_mut(place).into_iter().for_each(|symbol| *symbol = symbol.saturating_neg());
    }
    let mut expected = None;
    for decoder in &mut pair.decoders {
        let mut info = vec![0; info_bytes];
        let decoded = decoder.decode(&word, iterations, &mut info);
        assert!(decoded.iterations <= iterations);
        let found = (decoded.converged, decoded.iterations, info);
        assert_eq!(*expected.get_or_insert(found.clone()), found, "kernels differ");
    }
    let Some((converged, _, info)) = expected else { return };
    if clean {
        assert!(converged && info == sent, "a clean word comes back");
    }
    if converged {
        let mut again = Vec::new();
        pair.encoder.encode(&info, |bit| again.push(loud(bit)));
        let mut twice = vec![0; info_bytes];
        let decoded = pair.decoders[0].decode(&again, ENOUGH, &mut twice);
        assert!(decoded.converged && twice == info, "what converged is a codeword");
    }
}

/// Reed-Solomon blocks: the portable twin agrees, up to E wrong symbols come right, and a codeword
/// that fails stays as it was.
pub fn reed_solomon(data: &[u8]) {
    let mut input = Input(data);
    let code = input.choose(&Code::ALL);
    let (interleave, fill) = (usize::from(input.byte() % 10), usize::from(input.byte()));
    let Ok(block) = Block::new(code, interleave, fill) else { return };
    let portable = block.clone().portable();
    let (raw, errors) = (input.byte(), usize::from(input.byte() % 40));
    let harms: Vec<_> = (0..errors).map(|_| (input.word(), input.byte() | 1)).collect();
    let mut sent = input.take(block.bytes()).to_vec();
    sent.resize(block.bytes(), 0);
    if raw & 1 == 0 {
        block.encode(&mut sent).expect("its length");
        assert!(block.holds(&sent) && portable.holds(&sent));
    }
    let mut received = sent.clone();
    for (place, change) in harms {
        received[usize::from(place) % sent.len()] ^= change;
    }
    let mut wrong = vec![0; interleave];
    for (place, (a, b)) in sent.iter().zip(&received).enumerate() {
        wrong[place % interleave] += usize::from(a != b);
    }
    let (mut found, mut twin) = (received.clone(), received.clone());
    let report = block.decode(&mut found).expect("its length");
    assert_eq!(portable.decode(&mut twin), Ok(report), "the portable twin differs");
    assert_eq!(found, twin);
    assert_eq!(report.outcomes().len(), interleave);
    for (lane, outcome) in report.outcomes().iter().enumerate() {
        let of = |bytes: &[u8]| -> Vec<u8> {
            bytes.iter().skip(lane).step_by(interleave).copied().collect()
        };
        let changed = of(&found).iter().zip(of(&received)).filter(|(a, b)| *a != b).count();
        match outcome {
            Outcome::Clean | Outcome::Failed => assert_eq!(changed, 0),
            Outcome::Corrected(count) => {
                assert_eq!(changed, usize::from(*count));
                assert!((1..=code.strength.correctable()).contains(&changed));
            }
        }
        if raw & 1 == 0 && wrong[lane] <= code.strength.correctable() {
            assert_eq!(of(&found), of(&sent), "{} wrong symbols come right", wrong[lane]);
        }
    }
    if report.failed() == 0 {
        assert!(block.holds(&found), "what was corrected is right");
    }
}
