//! Rounds of all codecs in turn, by CPU time, and their medians.

use rustix::time::{ClockId, clock_gettime};

/// Rounds of each codec; odd, for a median.
const ROUNDS: usize = 5;
/// The least CPU time that is measured as one.
const TIMED_MIN_S: f64 = 0.004;

type Pack<'a> = Box<dyn Fn() -> Vec<Vec<u8>> + 'a>;
type Unpack<'a> = Box<dyn Fn(&[Vec<u8>]) + 'a>;

/// One codec on one piece of work, which is cut in pieces that are each decoded alone.
pub struct Contender<'a> {
    pub name: &'static str,
    pub pack: Pack<'a>,
    /// Decodes all pieces and compares them with what went in.
    pub unpack: Unpack<'a>,
}

/// What a codec made of the work.
pub struct Figures {
    pub name: &'static str,
    /// Bytes of each piece.
    pub pieces: Vec<usize>,
    pub ratio: f64,
    /// Megabytes of the work a CPU-second.
    pub encode_mb_s: f64,
    pub decode_mb_s: f64,
}

fn cpu_s() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// CPU time of one go, over as many as it takes to be measured.
fn timed(mut once: impl FnMut()) -> f64 {
    let (begun, mut times) = (cpu_s(), 0);
    loop {
        once();
        times += 1;
        let taken = cpu_s() - begun;
        if taken >= TIMED_MIN_S {
            return taken / f64::from(times);
        }
    }
}

/// All codecs on the same work of so many bytes, round after round so that a busy moment is
/// shared.
pub fn measure(contenders: &[Contender<'_>], bytes: usize) -> Vec<Figures> {
    let packed: Vec<Vec<Vec<u8>>> = contenders.iter().map(|codec| (codec.pack)()).collect();
    let mut times = vec![(Vec::new(), Vec::new()); contenders.len()];
    for _ in 0..ROUNDS {
        for ((codec, packed), (packing, unpacking)) in
            contenders.iter().zip(&packed).zip(&mut times)
        {
            packing.push(timed(|| drop((codec.pack)())));
            unpacking.push(timed(|| (codec.unpack)(packed)));
        }
    }
    let rate = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        bytes as f64 / 1e6 / times[times.len() / 2]
    };
    let figures = |((codec, packed), (packing, unpacking)): ((&Contender, &Vec<Vec<u8>>), _)| {
        let pieces: Vec<usize> = packed.iter().map(Vec::len).collect();
        Figures {
            name: codec.name,
            ratio: bytes as f64 / pieces.iter().sum::<usize>() as f64,
            pieces,
            encode_mb_s: rate(packing),
            decode_mb_s: rate(unpacking),
        }
    };
    contenders.iter().zip(&packed).zip(times).map(figures).collect()
}
