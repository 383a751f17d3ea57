//! The codes next to the demodulator: bits are counted decoded.

use crate::figures::{Contender, Noise, Table, by};
use codecs::fec::convolutional;
use codecs::fec::kernels;
use codecs::fec::ldpc::{self, Code, Rate, Size};
use labrador_ldpc::LDPCCode;

const MESSAGE_BYTES: usize = 1 << 15;
const ITERATIONS: u32 = 10;
/// A noiseless symbol of LDPC codes.
const LEVEL: i8 = 24;

fn viterbi(table: &mut Table) {
    let mut noise = Noise(5);
    let code = convolutional::Code::BASIC.with_inverter(false);
    let message = noise.bytes(MESSAGE_BYTES);
    let mut symbols: Vec<i8> = Vec::new();
    let mut encoder = convolutional::Encoder::new(code);
    // A byte of zeros flushes ours; the peer wants six zeros and nothing behind.
    encoder.bytes(&[&message[..], &[0]].concat(), |bit| {
        let noise = noise.below(81) as i8 - 40 + noise.below(81) as i8 / 2 - 20;
        symbols.push(if bit { noise - 64 } else { noise + 64 });
    });
    let soft: Vec<u8> = symbols
        .iter()
        .take(symbols.len() - 4)
        .map(|symbol| (127 - i16::from(*symbol)) as u8)
        .collect();

    let mut decoder = convolutional::Decoder::new(code);
    let (mut out, mut theirs) = (Vec::new(), vec![0; MESSAGE_BYTES]);
    // Its generators have the newest bit last: those of the standard, mirrored.
    let mut peer = fec::ConvDecoder::new(2, 7, &[0o117, 0o155]);
    let ours = || {
        out.clear();
        decoder.push(&symbols, &mut out);
        decoder.finish(&mut out);
        assert_eq!(out[..MESSAGE_BYTES], message);
    };
    let peer = by("fec", || {
        peer.decode_soft(&soft, &mut theirs).expect("a message");
        assert_eq!(theirs, message);
    });
    let work = (MESSAGE_BYTES as f64 * 8.0 / 1e6, "Mbit/s");
    table.row("Viterbi K=7 rate 1/2, soft", work, ours, vec![peer]);
    // What a processor without the best kernel's features gets.
    for kernel in kernels::viterbi::Kernel::all().into_iter().skip(1) {
        let mut decoder = convolutional::Decoder::on(kernel, code);
        let mut out = Vec::new();
        let ours = || {
            out.clear();
            decoder.push(&symbols, &mut out);
            decoder.finish(&mut out);
        };
        table.row(format!("the same, {}", kernel.name()), work, ours, Vec::new());
    }
}

/// The peer's decoder of the same code, with the memory that it wants.
struct Labrador {
    code: LDPCCode,
    output: Vec<u8>,
    working: Vec<i8>,
    bits: Vec<u8>,
}

impl Labrador {
    fn new(code: LDPCCode) -> Self {
        Self {
            output: vec![0; code.output_len()],
            working: vec![0; code.decode_ms_working_len()],
            bits: vec![0; code.decode_ms_working_u8_len()],
            code,
        }
    }

    fn decode(&mut self, symbols: &[i8]) -> bool {
        let Self { code, output, working, bits } = self;
        code.decode_ms(symbols, output, working, bits, ITERATIONS as usize).0
    }
}

fn parity(table: &mut Table, what: &str, code: Code, peer: Option<LDPCCode>) {
    let mut noise = Noise(6);
    let info = noise.bytes(code.info_bits() / 8);
    let (mut sent, mut out) = (Vec::new(), vec![0; info.len()]);
    ldpc::Encoder::new(code).encode(&info, |bit| sent.push(if bit { -LEVEL } else { LEVEL }));
    let mut decoder = ldpc::Decoder::new(code);
    assert!(decoder.decode(&sent, ITERATIONS, &mut out).converged && out == info);
    let mut peer = peer.map(Labrador::new);
    if let Some(peer) = &mut peer {
        assert!(peer.decode(&sent) && peer.output[..info.len()] == info, "another code");
    }
    // What no codeword is near to takes every iteration.
    let lost: Vec<i8> =
        sent.iter().map(|_| if noise.below(2) == 0 { LEVEL } else { -LEVEL }).collect();
    let ours = || assert!(!decoder.decode(&lost, ITERATIONS, &mut out).converged);
    let peers: Vec<Contender<'_>> =
        peer.iter_mut().map(|peer| by("labrador-ldpc", || assert!(!peer.decode(&lost)))).collect();
    let work = (code.info_bits() as f64 / 1e6, "Mbit/s");
    table.row(format!("LDPC {what}, {ITERATIONS} iterations"), work, ours, peers);
    for kernel in kernels::ldpc::Kernel::all().into_iter().skip(1) {
        let mut decoder = ldpc::Decoder::on(kernel, code);
        let ours = || assert!(!decoder.decode(&lost, ITERATIONS, &mut out).converged);
        table.row(format!("the same, {}", kernel.name()), work, ours, Vec::new());
    }
}

pub fn measure(table: &mut Table) {
    viterbi(table);
    parity(table, "C2 (8160,7136)", Code::C2, None);
    let half = |size| Code::Ar4ja(Rate::Half, size);
    parity(table, "AR4JA 1/2 k=1024", half(Size::K1024), Some(LDPCCode::TM2048));
    parity(table, "AR4JA 1/2 k=4096", half(Size::K4096), Some(LDPCCode::TM8192));
    parity(table, "TC (512,256)", Code::Tc512, Some(LDPCCode::TC512));
}
