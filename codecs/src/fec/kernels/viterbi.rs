//! Add, compare, select of 64 states in vector registers: twins of `portable` in
//! `convolutional/trellis.rs`, which says what is computed and why 8 bits suffice.

use crate::fec::convolutional::{Metrics, StepCosts, confidence, pair_costs};

super::choice::kernel!("avx2"; "avx512vbmi" of "avx512f", "avx512bw", "avx512vl", "avx512vbmi", "bmi2");

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

    /// What one step of a group needs to know of its lanes.
    ///
    /// Followers take the lanes of the two states before them: the newest bit stands where the
    /// oldest stood, in bit `k` of the lane behind step `k` of 0 to 5. A step then moves only the
    /// metrics that cross, over one distance, which takes less long than any lane to any. Six
    /// steps, a group, turn the lanes back to the order of [`Metrics`].
    struct Turn {
        /// For each lane, the symbols of the branch that stays in it: from the lower of two states
        /// to a new bit of 0, or from the upper to a 1. The branch that crosses has their
        /// complement.
        symbols: [u8; STATES],
        /// 1 in each lane whose new bit is 1: there the lower state crosses, and wins ties.
        one: [u8; STATES],
    }

    static TURNS: [Turn; GROUP] = [turn(0), turn(1), turn(2), turn(3), turn(4), turn(5)];
    /// For each lane in the order of [`Metrics`], the one where the first step left its state.
    static TURNED_ONCE: [u8; STATES] = turned_once();

    const _: () = assert!(1 << GROUP == STATES);

    /// The lane where step `step` leaves the state that has `lane` in the order of [`Metrics`].
    const fn turned(lane: usize, step: usize) -> usize {
        ((lane << (step + 1)) | (lane >> (GROUP - step - 1))) % STATES
    }

    #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    const fn turn(step: usize) -> Turn {
        let mut turn = Turn { symbols: [0; STATES], one: [0; STATES] };
        let mut lane = 0;
        while lane < STATES {
            turn.symbols[turned(lane, step)] = BRANCH[lane % 32];
            turn.one[turned(lane, step)] = (lane / 32) as u8;
            lane += 1;
        }
        turn
    }

    #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    const fn turned_once() -> [u8; STATES] {
        let mut table = [0; STATES];
        let mut lane = 0;
        while lane < STATES {
            table[lane] = turned(lane, 0) as u8;
            lane += 1;
        }
        table
    }

    /// [`Turn`] in registers.
    struct Turned {
        symbols: __m512i,
        complements: __m512i,
        one: __m512i,
    }

    impl Turn {
        #[target_feature(enable = "avx512f,avx512bw")]
        fn load(&self) -> Turned {
            let symbols = load(&self.symbols);
            let complements = _mm512_xor_si512(symbols, _mm512_set1_epi8(3));
            Turned { symbols, complements, one: load(&self.one) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn load(bytes: &[u8; 64]) -> __m512i {
        // SAFETY: the array has 64 bytes; unaligned load.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    /// Exchanges lanes whose numbers differ in bit `BIT`.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn exchange<const BIT: usize>(all: __m512i) -> __m512i {
        match BIT {
            0 => _mm512_or_si512(_mm512_slli_epi16::<8>(all), _mm512_srli_epi16::<8>(all)),
            1 => _mm512_rol_epi32::<16>(all),
            2 => _mm512_shuffle_epi32::<0b10_11_00_01>(all),
            3 => _mm512_shuffle_epi32::<0b01_00_11_10>(all),
            4 => _mm512_shuffle_i64x2::<0b10_11_00_01>(all, all),
            _ => _mm512_shuffle_i64x2::<0b01_00_11_10>(all, all),
        }
    }

    /// One bit in each `stride`, the lowest.
    const fn every(stride: usize) -> u64 {
        u64::MAX / (u64::MAX >> (64 - stride))
    }

    /// The lanes whose new bit is 1 behind step `step`: their bit `step` is set.
    const fn one_lanes(step: usize) -> u64 {
        !(every(2 << step) * (u64::MAX >> (64 - (1 << step))))
    }

    /// Brings bits from the lanes where step `STEP` left them to the order of [`Metrics`]: lane
    /// numbers turn right by `STEP + 1` of their six bits. Integer units do it, idle otherwise.
    #[target_feature(enable = "bmi2")]
    fn order<const STEP: usize>(bits: u64) -> u64 {
        let (low, high) = (STEP + 1, GROUP - STEP - 1);
        let mut ordered = 0;
        if low <= high {
            // Lanes alike in their low bits stand together behind the turn.
            let alike = const { every(2 << STEP) };
            for part in 0..1 << low {
                ordered |= _pext_u64(bits, alike << part) << (part << high);
            }
        } else {
            // Lanes alike in their high bits stood together before it.
            let alike = const { every(1 << (GROUP - STEP - 1)) };
            for part in 0..1 << high {
                ordered |= _pdep_u64(bits >> (part << low), alike << part);
            }
        }
        ordered
    }

    /// Step `STEP` of a group; returns its decisions.
    #[target_feature(enable = "avx2,bmi2,avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn step<const STEP: usize>(all: &mut __m512i, turn: &Turned, costs: StepCosts) -> u64 {
        let costs = _mm512_set1_epi32(i32::from_le_bytes(costs));
        // No sum exceeds 250: it needs no saturation, which takes longer.
        let stay = _mm512_add_epi8(*all, _mm512_shuffle_epi8(costs, turn.symbols));
        let cross =
            _mm512_add_epi8(exchange::<STEP>(*all), _mm512_shuffle_epi8(costs, turn.complements));
        *all = _mm512_min_epu8(stay, cross);
        let crossed = _mm512_cmplt_epu8_mask(cross, _mm512_add_epi8(stay, turn.one));
        order::<STEP>(crossed ^ const { one_lanes(STEP) })
    }

    #[target_feature(enable = "avx2,bmi2,avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub fn avx512(metrics: &mut Metrics, costs: &[StepCosts], decisions: &mut [u64]) -> u64 {
        let [t0, t1, t2, t3, t4, t5] = &TURNS;
        let [t0, t1, t2, t3, t4, t5] =
            [t0.load(), t1.load(), t2.load(), t3.load(), t4.load(), t5.load()];
        let steps = costs.len().min(decisions.len());
        let (groups, last_costs) = costs.split_at(steps).0.as_chunks::<GROUP>();
        let (words, last_words) = decisions.split_at_mut(steps).0.as_chunks_mut::<GROUP>();
        let mut all = load(&metrics.0);
        let mut growth = 0;
        for ([c0, c1, c2, c3, c4, c5], words) in groups.iter().zip(words) {
            let least = least(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
            *words = [
                step::<0>(&mut all, &t0, *c0),
                step::<1>(&mut all, &t1, *c1),
                step::<2>(&mut all, &t2, *c2),
                step::<3>(&mut all, &t3, *c3),
                step::<4>(&mut all, &t4, *c4),
                step::<5>(&mut all, &t5, *c5),
            ];
            all = _mm512_sub_epi8(all, _mm512_set1_epi8(least as i8));
            growth += u64::from(least);
        }
        if !last_costs.is_empty() {
            let least = least(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
            for (costs, word) in last_costs.iter().zip(last_words) {
                *word = step::<0>(&mut all, &t0, *costs);
                // Back at once: the group may end anywhere.
                all = _mm512_permutexvar_epi8(load(&TURNED_ONCE), all);
            }
            all = _mm512_sub_epi8(all, _mm512_set1_epi8(least as i8));
            growth += u64::from(least);
        }
        // SAFETY: the array has 64 bytes; unaligned store.
        unsafe { _mm512_storeu_si512(metrics.0.as_mut_ptr().cast(), all) };
        growth
    }
}
