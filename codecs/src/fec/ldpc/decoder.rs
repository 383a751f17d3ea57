//! The decoder: iterates until all checks hold or its caller's patience ends.

use super::Code;
use super::pass::{Pass, Plan};
use crate::fec::kernels::ldpc::Kernel;
use alloc::vec;
use alloc::vec::Vec;

/// What is known of a bit that both ends know: C2's fill.
const CERTAIN: i8 = i8::MAX;

/// What a symbol makes believed: half of it, so that a bit's neighbours can say several times as
/// much before its belief saturates. Taken whole, beliefs that stand at the limit lose what they
/// were told, and three codewords of (8192,4096) in a thousand never converge, whatever the noise.
const fn halved(symbol: i8) -> i8 {
    // Away from zero: the weakest symbol still says something.
    let magnitude = symbol.unsigned_abs().div_ceil(2) as i8;
    if symbol < 0 { -magnitude } else { magnitude }
}

/// The outcome of a codeword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Whether all checks hold: without it the codeword is to be marked as failed. The chance
    /// that a wrong codeword passes is small for long codes; the CRC of a frame covers it.
    pub converged: bool,
    /// Iterations run; 0 if the symbols' signs were a codeword.
    pub iterations: u32,
}

/// Decodes one code; holds all working space, so that nothing is allocated per codeword.
#[derive(Debug, Clone)]
pub struct Decoder {
    code: Code,
    kernel: Kernel,
    plan: Plan,
    /// Blocks as [`Plan::block`] places them.
    beliefs: Vec<i8>,
    messages: Vec<i8>,
    /// What is believed first and last, in the order of the code.
    word: Vec<i8>,
}

impl Decoder {
    /// A decoder on the fastest kernel of this processor.
    pub fn new(code: Code) -> Self {
        Self::on(Kernel::best(), code)
    }

    /// The same on a kernel of the caller's choice, or on a narrower one for the codes whose
    /// circulants wouldn't fill its registers.
    pub fn on(kernel: Kernel, code: Code) -> Self {
        let kernel = kernel.for_circulant(code.circulant());
        let plan = Plan::new(code, kernel.lanes());
        Self {
            beliefs: vec![0; plan.beliefs()],
            messages: vec![0; plan.messages()],
            word: vec![0; plan.word()],
            code,
            kernel,
            plan,
        }
    }

    /// The code it decodes.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Decodes one codeword of soft symbols into `info` (most significant bit first), with at
    /// most this many iterations. Symbols missing count as erased; `info` takes what it has room
    /// for. A noiseless symbol is best near ±24: much weaker ones lose resolution, much stronger
    /// ones leave weak codes' beliefs no room to grow.
    pub fn decode(&mut self, symbols: &[i8], iterations_max: u32, info: &mut [u8]) -> Decoded {
        self.load(symbols);
        let mut iterations = 0;
        let converged = loop {
            if self.is_codeword() {
                break true;
            }
            if iterations == iterations_max {
                break false;
            }
            iterations += 1;
            let pass =
                Pass { plan: &self.plan, beliefs: &mut self.beliefs, messages: &mut self.messages };
            self.kernel.iterate(pass);
        };
        self.give(info);
        Decoded { converged, iterations }
    }

    fn load(&mut self, symbols: &[i8]) {
        let (fill, sent) = (self.code.fill_bits(), self.code.symbols() - self.code.tail_symbols());
        self.messages.fill(0);
        self.word.fill(0);
        self.word.iter_mut().take(fill).for_each(|belief| *belief = CERTAIN);
        let symbols = symbols.iter().take(sent);
        for (belief, symbol) in self.word.iter_mut().skip(fill).zip(symbols) {
            *belief = halved(*symbol);
        }
        self.plan.lay_out(&self.word, &mut self.beliefs);
    }

    /// Whether the signs of all beliefs satisfy all checks, and each information bit has one.
    fn is_codeword(&self) -> bool {
        // Erased bits are believed to be 0, and zeros are a codeword.
        self.kernel.holds(&self.plan, &self.beliefs) && {
            let info = self.code.fill_bits() + self.code.info_bits();
            let mut blocks = self.plan.blocks(&self.beliefs).take(info / self.code.circulant());
            blocks.all(|block| !block.contains(&0))
        }
    }

    fn give(&mut self, info: &mut [u8]) {
        let words = self.word.chunks_exact_mut(self.code.circulant());
        for (word, block) in words.zip(self.plan.blocks(&self.beliefs)) {
            word.copy_from_slice(block);
        }
        let (fill, bits) = (self.code.fill_bits(), self.code.info_bits());
        let beliefs = self.word.get(fill..fill + bits).unwrap_or(&[]);
        for (byte, beliefs) in info.iter_mut().zip(beliefs.as_chunks::<8>().0) {
            // Eight signs, gathered into the highest byte by one multiplication.
            let signs = u64::from_be_bytes(beliefs.map(|belief| belief as u8 >> 7));
            *byte = (signs.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
        }
    }
}
