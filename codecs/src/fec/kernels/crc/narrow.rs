//! Registers of 16 bytes: those of short input, and of processors that have no wider ones.

use super::division::{PRESETS, QUOTIENT, power, rest};

#[cfg(target_arch = "aarch64")]
use core::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

const REGISTER_BYTES: usize = 16;
const STRIDE_BYTES: usize = 4 * REGISTER_BYTES;

/// Factors of the low and the high half that move a register by so many bits.
const fn factors(bits: u32) -> [u64; 2] {
    [power(bits), power(bits + 64)]
}
const OVER_REGISTER: [u64; 2] = factors(128);
const OVER_STRIDE: [u64; 2] = factors(512);
/// 16 bits further, for the check itself.
const TO_END: [u64; 2] = factors(16);

/// A register that multiplies without carries.
///
/// # Safety
/// Methods may be called only where the processor has the implementation's instructions.
pub(super) unsafe trait Register: Copy {
    /// The first of so many bytes that count, 1 to 16, becomes the most significant; what is above
    /// is zeros.
    unsafe fn load(bytes: &[u8; REGISTER_BYTES], count: usize) -> Self;
    unsafe fn number(value: u128) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    /// The sum of the products of both halves.
    unsafe fn multiply(self, factors: &[u64; 2]) -> Self;
    /// The remainder of 80 bits.
    unsafe fn remainder(self) -> u16;
}

/// Fewer bytes than a register has, as a number.
#[inline(always)]
fn short(bytes: &[u8]) -> u128 {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        // What both have is the same in both.
        let first = u128::from(u64::from_be_bytes(*first));
        return first << (8 * (bytes.len() - 8)) | u128::from(u64::from_be_bytes(*last));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let first = u64::from(u32::from_be_bytes(*first));
        let value = first << (8 * (bytes.len() - 4)) | u64::from(u32::from_be_bytes(*last));
        return u128::from(value);
    }
    u128::from(bytes.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte)))
}

/// The CRC-16 of bytes.
///
/// # Safety
/// The processor has the instructions of `R`.
#[inline(always)]
pub(super) unsafe fn fold<R: Register>(bytes: &[u8]) -> u16 {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(first) = bytes.first_chunk::<REGISTER_BYTES>() else {
            let preset = PRESETS.get(bytes.len()).copied().unwrap_or(0);
            let value = R::number(short(bytes) ^ u128::from(preset));
            return value.multiply(&TO_END).remainder();
        };
        // Zeros in front change nothing: the head is what ends its register.
        let head_bytes = (bytes.len() - 1) % REGISTER_BYTES + 1;
        let preset = PRESETS.get(head_bytes).copied().unwrap_or(0);
        let mut sum = R::load(first, head_bytes).xor(R::number(u128::from(preset)));
        let (strides, rest) = bytes.get(head_bytes..).unwrap_or(&[]).as_chunks::<STRIDE_BYTES>();
        if let [first, more @ ..] = strides {
            let mut sums = registers::<R>(first);
            sums[0] = sums[0].xor(sum.multiply(&OVER_REGISTER));
            for stride in more {
                for (sum, next) in sums.iter_mut().zip(registers::<R>(stride)) {
                    *sum = sum.multiply(&OVER_STRIDE).xor(next);
                }
            }
            let [first, others @ ..] = sums;
            sum = first;
            for next in others {
                sum = sum.multiply(&OVER_REGISTER).xor(next);
            }
        }
        for register in rest.as_chunks().0 {
            sum = sum.multiply(&OVER_REGISTER).xor(R::load(register, REGISTER_BYTES));
        }
        sum.multiply(&TO_END).remainder()
    }
}

/// # Safety
/// The processor has the instructions of `R`.
#[inline(always)]
unsafe fn registers<R: Register>(stride: &[u8; STRIDE_BYTES]) -> [R; 4] {
    let mut registers = stride.as_chunks::<REGISTER_BYTES>().0.iter();
    core::array::from_fn(|_| {
        let bytes = registers.next().unwrap_or(&[0; REGISTER_BYTES]);
        // SAFETY: the caller's promise.
        unsafe { R::load(bytes, REGISTER_BYTES) }
    })
}

/// The CRC-16 of bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "ssse3,pclmulqdq")]
pub(super) fn pclmul(bytes: &[u8]) -> u16 {
    // SAFETY: this function is called only where the processor has the instructions.
    unsafe { fold::<__m128i>(bytes) }
}

/// The CRC-16 of bytes.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,aes")]
pub(super) fn pmull(bytes: &[u8]) -> u16 {
    // SAFETY: this function is called only where the processor has the instructions.
    unsafe { fold::<uint8x16_t>(bytes) }
}

// SAFETY (of every method): the trait's callers have the instructions; loads are of 16 bytes.
#[cfg(target_arch = "x86_64")]
unsafe impl Register for __m128i {
    #[inline(always)]
    unsafe fn load(bytes: &[u8; REGISTER_BYTES], count: usize) -> Self {
        unsafe {
            // Places below 0 give zeros.
            let places = _mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
            let places = _mm_sub_epi8(_mm_set1_epi8(count as i8 - 1), places);
            _mm_shuffle_epi8(_mm_loadu_si128(bytes.as_ptr().cast()), places)
        }
    }

    #[inline(always)]
    unsafe fn number(value: u128) -> Self {
        unsafe { _mm_set_epi64x((value >> 64) as i64, value as i64) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { _mm_xor_si128(self, other) }
    }

    #[inline(always)]
    unsafe fn multiply(self, [low, high]: &[u64; 2]) -> Self {
        unsafe {
            let factors = _mm_set_epi64x(*high as i64, *low as i64);
            _mm_xor_si128(
                _mm_clmulepi64_si128::<0x00>(self, factors),
                _mm_clmulepi64_si128::<0x11>(self, factors),
            )
        }
    }

    #[inline(always)]
    unsafe fn remainder(self) -> u16 {
        unsafe {
            let above = _mm_srli_si128::<2>(self);
            let product = _mm_clmulepi64_si128::<0x00>(above, _mm_set_epi64x(0, QUOTIENT as i64));
            let quotient = _mm_xor_si128(above, _mm_srli_si128::<8>(product));
            rest(_mm_cvtsi128_si32(self) as u16, _mm_cvtsi128_si32(quotient) as u16)
        }
    }
}

/// Two numbers of 64 bits multiplied.
#[cfg(target_arch = "aarch64")]
#[inline]
#[target_feature(enable = "neon,aes")]
fn product(a: u64, b: u64) -> u128 {
    vmull_p64(a, b)
}

// SAFETY: as above.
#[cfg(target_arch = "aarch64")]
unsafe impl Register for uint8x16_t {
    #[inline(always)]
    unsafe fn load(bytes: &[u8; REGISTER_BYTES], count: usize) -> Self {
        unsafe {
            // Places below 0 are past the end, which gives zeros.
            let places: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
            let last = vdupq_n_u8((count as u8).wrapping_sub(1));
            let places = vsubq_u8(last, vld1q_u8(places.as_ptr()));
            vqtbl1q_u8(vld1q_u8(bytes.as_ptr()), places)
        }
    }

    #[inline(always)]
    unsafe fn number(value: u128) -> Self {
        unsafe { vld1q_u8(value.to_le_bytes().as_ptr()) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { veorq_u8(self, other) }
    }

    #[inline(always)]
    unsafe fn multiply(self, [low, high]: &[u64; 2]) -> Self {
        unsafe {
            let halves = vreinterpretq_u64_u8(self);
            let low = product(vgetq_lane_u64::<0>(halves), *low);
            Self::number(low ^ product(vgetq_lane_u64::<1>(halves), *high))
        }
    }

    #[inline(always)]
    unsafe fn remainder(self) -> u16 {
        unsafe {
            let halves = vreinterpretq_u64_u8(self);
            let (low, high) = (vgetq_lane_u64::<0>(halves), vgetq_lane_u64::<1>(halves));
            let above = low >> 16 | high << 48;
            let quotient = above ^ (product(above, QUOTIENT) >> 64) as u64;
            rest(low as u16, quotient as u16)
        }
    }
}
