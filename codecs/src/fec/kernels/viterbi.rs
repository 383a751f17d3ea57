//! Add, compare, select of 64 states in vector registers: twins of `portable` in
//! `convolutional/trellis.rs`, which says what is computed and why 8 bits suffice.

use crate::fec::convolutional::{Metrics, StepCosts, confidence, pair_costs};

super::choice::kernel!("avx2"; "avx512vbmi" of "avx512f", "avx512bw", "avx512vl", "avx512vbmi");

impl Kernel {
    /// Advances the trellis if this is a vector kernel; `None` leaves the work to the portable
    /// twin. Runs as many steps as both `costs` and `decisions` have.
    pub(crate) fn run(
        self,
        metrics: &mut Metrics,
        costs: &[StepCosts],
        decisions: &mut [u64],
    ) -> Option<u64> {
        match self.0 {
            Set::Portable => {
                let _ = (metrics, costs, decisions);
                None
            }
            // SAFETY: the value was made only where the processor has these features.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => Some(unsafe { x86::avx2(metrics, costs, decisions) }),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => Some(unsafe { x86::avx512(metrics, costs, decisions) }),
        }
    }

    /// [`pair_costs`] in the kernel's instructions.
    pub(crate) fn pair_costs(self, symbols: &[[i8; 2]], inverted: bool, costs: &mut [StepCosts]) {
        match self.0 {
            Set::Portable => pair_costs(symbols, inverted, costs),
            // SAFETY: the value was made only where the processor has these features.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { x86::pair_costs_avx2(symbols, inverted, costs) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { x86::pair_costs_avx512(symbols, inverted, costs) },
        }
    }

    /// [`confidence`] in the kernel's instructions.
    pub(crate) fn confidence(self, costs: &[StepCosts]) -> u64 {
        match self.0 {
            Set::Portable => confidence(costs),
            // SAFETY: the value was made only where the processor has these features.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { x86::confidence_avx2(costs) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { x86::confidence_avx512(costs) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::fec::convolutional::{
        BRANCH, GROUP, Metrics, STATES, StepCosts, confidence, pair_costs,
    };
    use core::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    pub fn pair_costs_avx2(symbols: &[[i8; 2]], inverted: bool, costs: &mut [StepCosts]) {
        pair_costs(symbols, inverted, costs);
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
    pub fn pair_costs_avx512(symbols: &[[i8; 2]], inverted: bool, costs: &mut [StepCosts]) {
        pair_costs(symbols, inverted, costs);
    }

    #[target_feature(enable = "avx2")]
    pub fn confidence_avx2(costs: &[StepCosts]) -> u64 {
        confidence(costs)
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
    pub fn confidence_avx512(costs: &[StepCosts]) -> u64 {
        confidence(costs)
    }

    /// The least of 64 bytes given as two halves.
    #[target_feature(enable = "avx2")]
    fn least(low: __m256i, high: __m256i) -> u8 {
        let all = _mm256_min_epu8(low, high);
        let half = _mm_min_epu8(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
        // The least byte of each pair, then the least 16-bit word.
        let pairs = _mm_min_epu8(half, _mm_srli_epi16::<8>(half));
        let words = _mm_and_si128(pairs, _mm_set1_epi16(0xFF));
        _mm_cvtsi128_si32(_mm_minpos_epu16(words)) as u8
    }

    #[target_feature(enable = "avx2")]
    pub fn avx2(metrics: &mut Metrics, costs: &[StepCosts], decisions: &mut [u64]) -> u64 {
        // SAFETY: both arrays are 32 bytes or more; unaligned loads.
        let (branch, mut even, mut odd) = unsafe {
            (
                _mm256_loadu_si256(BRANCH.as_ptr().cast()),
                _mm256_loadu_si256(metrics.0.as_ptr().cast()),
                _mm256_loadu_si256(metrics.0.as_ptr().add(32).cast()),
            )
        };
        let mut growth = 0;
        for (costs, decisions) in costs.chunks(GROUP).zip(decisions.chunks_mut(GROUP)) {
            let least = least(even, odd);
            for (costs, decision) in costs.iter().zip(decisions) {
                let costs = _mm256_set1_epi32(i32::from_le_bytes(*costs));
                let direct = _mm256_shuffle_epi8(costs, branch);
                let complement =
                    _mm256_shuffle_epi8(costs, _mm256_xor_si256(branch, _mm256_set1_epi8(3)));
                // Pairs of lanes apart; packing leaves quarters in the order 0, 2, 1, 3.
                let bytes = _mm256_set1_epi16(0xFF);
                let lower = _mm256_packus_epi16(
                    _mm256_and_si256(even, bytes),
                    _mm256_and_si256(odd, bytes),
                );
                let upper =
                    _mm256_packus_epi16(_mm256_srli_epi16::<8>(even), _mm256_srli_epi16::<8>(odd));
                let lower = _mm256_permute4x64_epi64::<0b11_01_10_00>(lower);
                let upper = _mm256_permute4x64_epi64::<0b11_01_10_00>(upper);
                let a = _mm256_adds_epu8(lower, direct);
                let b = _mm256_adds_epu8(upper, complement);
                even = _mm256_min_epu8(a, b);
                // The least is the lower's sum: the survivor comes from there, ties included.
                let from_lower = _mm256_movemask_epi8(_mm256_cmpeq_epi8(even, a));
                let a = _mm256_adds_epu8(lower, complement);
                let b = _mm256_adds_epu8(upper, direct);
                odd = _mm256_min_epu8(a, b);
                let odd_from_lower = _mm256_movemask_epi8(_mm256_cmpeq_epi8(odd, a));
                *decision =
                    !(u64::from(from_lower as u32) | (u64::from(odd_from_lower as u32) << 32));
            }
            let all = _mm256_set1_epi8(least as i8);
            even = _mm256_sub_epi8(even, all);
            odd = _mm256_sub_epi8(odd, all);
            growth += u64::from(least);
        }
        // SAFETY: the array has 64 bytes; unaligned stores.
        unsafe {
            _mm256_storeu_si256(metrics.0.as_mut_ptr().cast(), even);
            _mm256_storeu_si256(metrics.0.as_mut_ptr().add(32).cast(), odd);
        }
        growth
    }

    /// For each lane of the result, the lane of its lower predecessor.
    static LOWER: [u8; STATES] = predecessors(0);
    /// For each lane of the result, the lane of its upper predecessor.
    static UPPER: [u8; STATES] = predecessors(1);
    /// For each lane of the result, the symbols of the branch from its lower predecessor.
    static SYMBOLS: [u8; STATES] = symbols();

    #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    const fn predecessors(oldest: usize) -> [u8; STATES] {
        let mut table = [0; STATES];
        let mut place = 0;
        while place < STATES {
            table[place] = (place % 32 * 2 + oldest) as u8;
            place += 1;
        }
        table
    }

    #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    const fn symbols() -> [u8; STATES] {
        let mut table = [0; STATES];
        let mut place = 0;
        while place < STATES {
            table[place] = BRANCH[place % 32] ^ if place < 32 { 0 } else { 3 };
            place += 1;
        }
        table
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub fn avx512(metrics: &mut Metrics, costs: &[StepCosts], decisions: &mut [u64]) -> u64 {
        // SAFETY: each array has 64 bytes; unaligned loads.
        let (lower_lanes, upper_lanes, symbols, mut all) = unsafe {
            (
                _mm512_loadu_si512(LOWER.as_ptr().cast()),
                _mm512_loadu_si512(UPPER.as_ptr().cast()),
                _mm512_loadu_si512(SYMBOLS.as_ptr().cast()),
                _mm512_loadu_si512(metrics.0.as_ptr().cast()),
            )
        };
        let complements = _mm512_xor_si512(symbols, _mm512_set1_epi8(3));
        let mut growth = 0;
        for (costs, decisions) in costs.chunks(GROUP).zip(decisions.chunks_mut(GROUP)) {
            let least = least(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
            for (costs, decision) in costs.iter().zip(decisions) {
                let costs = _mm512_set1_epi32(i32::from_le_bytes(*costs));
                let a = _mm512_adds_epu8(
                    _mm512_permutexvar_epi8(lower_lanes, all),
                    _mm512_shuffle_epi8(costs, symbols),
                );
                let b = _mm512_adds_epu8(
                    _mm512_permutexvar_epi8(upper_lanes, all),
                    _mm512_shuffle_epi8(costs, complements),
                );
                all = _mm512_min_epu8(a, b);
                *decision = _mm512_cmplt_epu8_mask(b, a);
            }
            all = _mm512_sub_epi8(all, _mm512_set1_epi8(least as i8));
            growth += u64::from(least);
        }
        // SAFETY: the array has 64 bytes; unaligned store.
        unsafe { _mm512_storeu_si512(metrics.0.as_mut_ptr().cast(), all) };
        growth
    }
}
