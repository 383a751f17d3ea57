//! Lanes of the LDPC decoder in vector registers; `ldpc/pass.rs` is written over them, and says
//! with its arrays what each operation means.

use crate::fec::ldpc::pass::{self, Array, Pass, Plan};

super::choice::kernel!("avx2"; "avx512bw" of "avx512f", "avx512bw", "avx512vl");

impl Kernel {
    /// The lanes of its registers.
    pub(crate) const fn lanes(self) -> usize {
        match self.0 {
            Set::Portable => Array::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => 32,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => 64,
        }
    }

    /// This kernel, or a narrower one where a circulant has too few rows to fill a register.
    pub(crate) const fn for_circulant(self, z: usize) -> Self {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 if 32 <= z && z < 64 => Self(Set::Avx2),
            _ if z < self.lanes() => Self::PORTABLE,
            _ => self,
        }
    }

    /// One iteration. The plan is to be for [`lanes`](Self::lanes).
    pub(crate) fn iterate(self, pass: Pass<'_>) {
        match self.0 {
            Set::Portable => match pass.plan.rows_at_once() / Array::LANES {
                1 => pass::iterate::<Array, 1>(pass),
                2 => pass::iterate::<Array, 2>(pass),
                _ => pass::iterate::<Array, 4>(pass),
            },
            // SAFETY: the value was made only where the processor has these features.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { x86::iterate_avx2(pass) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { x86::iterate_avx512(pass) },
        }
    }

    /// Whether all checks hold.
    pub(crate) fn holds(self, plan: &Plan, beliefs: &[i8]) -> bool {
        match self.0 {
            Set::Portable => pass::holds::<Array>(plan, beliefs),
            // SAFETY: the value was made only where the processor has these features.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { x86::holds_avx2(plan, beliefs) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { x86::holds_avx512(plan, beliefs) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::fec::ldpc::pass::{self, Lanes, Pass, Plan};
    use core::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    pub fn iterate_avx2(pass: Pass<'_>) {
        match pass.plan.rows_at_once() / Avx2::LANES {
            1 => pass::iterate::<Avx2, 1>(pass),
            _ => pass::iterate::<Avx2, 2>(pass),
        }
    }

    #[target_feature(enable = "avx2")]
    pub fn holds_avx2(plan: &Plan, beliefs: &[i8]) -> bool {
        pass::holds::<Avx2>(plan, beliefs)
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
    pub fn iterate_avx512(pass: Pass<'_>) {
        pass::iterate::<Avx512, 1>(pass);
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
    pub fn holds_avx512(plan: &Plan, beliefs: &[i8]) -> bool {
        pass::holds::<Avx512>(plan, beliefs)
    }

    /// Methods whose bodies are intrinsics: `name(self: a, b) = body over the registers a, b`.
    macro_rules! intrinsics {
        ($($name:ident($me:ident: $mine:ident $(, $other:ident)*) = $body:expr;)+) => {
            $(
                #[inline(always)]
                fn $name($me $(, $other: Self)*) -> Self {
                    let $mine = $me.0;
                    $(let $other = $other.0;)*
                    // SAFETY: values of this type exist only within the functions above, which
                    // run where the processor has the features.
                    Self(unsafe { $body })
                }
            )+
        };
    }

    #[derive(Clone, Copy)]
    struct Avx2(__m256i);

    impl Lanes for Avx2 {
        const LANES: usize = 32;

        #[inline(always)]
        fn splat(value: i8) -> Self {
            // SAFETY: called only within the functions above.
            Self(unsafe { _mm256_set1_epi8(value) })
        }

        #[inline(always)]
        fn load(from: &[i8]) -> Option<Self> {
            let from = from.first_chunk::<{ Self::LANES }>()?;
            // SAFETY: as above; 32 bytes are there, and an unaligned load takes them.
            Some(Self(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }))
        }

        #[inline(always)]
        fn store(self, to: &mut [i8]) {
            if let Some(to) = to.first_chunk_mut::<{ Self::LANES }>() {
                // SAFETY: as above.
                unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), self.0) };
            }
        }

        #[inline(always)]
        fn any_negative(self) -> bool {
            // SAFETY: called only within the functions above.
            unsafe { _mm256_movemask_epi8(self.0) != 0 }
        }

        intrinsics! {
            add(self: a, b) = _mm256_adds_epi8(a, b);
            sub(self: a, b) = _mm256_subs_epi8(a, b);
            abs(self: a) = _mm256_abs_epi8(a);
            min(self: a, b) = _mm256_min_epu8(a, b);
            max(self: a, b) = _mm256_max_epu8(a, b);
            xor(self: a, b) = _mm256_xor_si256(a, b);
            and(self: a, b) = _mm256_and_si256(a, b);
            quarter(self: a) =
                _mm256_and_si256(_mm256_srli_epi16::<2>(a), _mm256_set1_epi8(0x3F));
            where_equal(self: a, b, then, otherwise) =
                _mm256_blendv_epi8(otherwise, then, _mm256_cmpeq_epi8(a, b));
            // A sign of zero would make zero.
            signed_as(self: a, sign) =
                _mm256_sign_epi8(a, _mm256_or_si256(sign, _mm256_set1_epi8(1)));
        }
    }

    #[derive(Clone, Copy)]
    struct Avx512(__m512i);

    impl Lanes for Avx512 {
        const LANES: usize = 64;

        #[inline(always)]
        fn splat(value: i8) -> Self {
            // SAFETY: called only within the functions above.
            Self(unsafe { _mm512_set1_epi8(value) })
        }

        #[inline(always)]
        fn load(from: &[i8]) -> Option<Self> {
            let from = from.first_chunk::<{ Self::LANES }>()?;
            // SAFETY: as above; 64 bytes are there, and an unaligned load takes them.
            Some(Self(unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }))
        }

        #[inline(always)]
        fn store(self, to: &mut [i8]) {
            if let Some(to) = to.first_chunk_mut::<{ Self::LANES }>() {
                // SAFETY: as above.
                unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), self.0) };
            }
        }

        #[inline(always)]
        fn any_negative(self) -> bool {
            // SAFETY: called only within the functions above.
            unsafe { _mm512_movepi8_mask(self.0) != 0 }
        }

        intrinsics! {
            add(self: a, b) = _mm512_adds_epi8(a, b);
            sub(self: a, b) = _mm512_subs_epi8(a, b);
            abs(self: a) = _mm512_abs_epi8(a);
            min(self: a, b) = _mm512_min_epu8(a, b);
            max(self: a, b) = _mm512_max_epu8(a, b);
            xor(self: a, b) = _mm512_xor_si512(a, b);
            and(self: a, b) = _mm512_and_si512(a, b);
            quarter(self: a) =
                _mm512_and_si512(_mm512_srli_epi16::<2>(a), _mm512_set1_epi8(0x3F));
            where_equal(self: a, b, then, otherwise) =
                _mm512_mask_blend_epi8(_mm512_cmpeq_epi8_mask(a, b), otherwise, then);
            signed_as(self: a, sign) = _mm512_mask_sub_epi8(
                a,
                _mm512_movepi8_mask(sign),
                _mm512_setzero_si512(),
                a
            );
        }
    }
}
