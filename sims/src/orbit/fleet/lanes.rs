//! Numbers side by side: one value per lane, as many as the processor takes at once.
//!
//! Everything is made of operations that IEEE 754 rounds exactly, so that a lane of the widest
//! register and the portable twin give the same bits.

use core::f64::consts::{FRAC_2_PI, FRAC_PI_2, FRAC_PI_4, FRAC_PI_8};
use core::ops::{Add, Div, Mul, Neg, Sub};
use pulp::Simd;

/// Satellites of a block: the widest register's lanes.
pub const WIDTH: usize = 8;
/// A number of each satellite of a block.
pub type Block = [f64; WIDTH];

/// One number a lane.
#[derive(Clone, Copy)]
pub struct Lanes<S: Simd> {
    simd: S,
    /// The numbers.
    pub of: S::f64s,
}

macro_rules! operator {
    ($name:ident, $method:ident, $op:ident) => {
        impl<S: Simd> $name for Lanes<S> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self { of: self.simd.$op(self.of, other.of), ..self }
            }
        }
        impl<S: Simd> $name<f64> for Lanes<S> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: f64) -> Self {
                Self { of: self.simd.$op(self.of, self.simd.splat_f64s(other)), ..self }
            }
        }
    };
}
operator!(Add, add, add_f64s);
operator!(Sub, sub, sub_f64s);
operator!(Mul, mul, mul_f64s);
operator!(Div, div, div_f64s);

impl<S: Simd> Neg for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self { of: self.simd.neg_f64s(self.of), ..self }
    }
}

/// Half turns are taken off in three pieces of 33 bits, so that products with a whole number of
/// turns are exact up to some 10^6 radians.
const HALF_PI_HIGH: f64 = f64::from_bits(FRAC_PI_2.to_bits() & !0x3fff_ffff);
const HALF_PI_LOW: f64 = FRAC_PI_2 - HALF_PI_HIGH;
/// What is left of half a turn after the 53 bits of the constant.
const HALF_PI_REST: f64 = 6.123_233_995_736_766e-17;
/// Adding it leaves a number of up to 51 bits rounded to a whole one, in the lowest bits.
const ROUNDING: f64 = 6_755_399_441_055_744.0;

/// Coefficients of the series of sine, from x^15 down to x^3.
const SINE: [f64; 7] = [
    -1.0 / 1_307_674_368_000.0,
    1.0 / 6_227_020_800.0,
    -1.0 / 39_916_800.0,
    1.0 / 362_880.0,
    -1.0 / 5_040.0,
    1.0 / 120.0,
    -1.0 / 6.0,
];
/// Coefficients of the series of cosine, from x^16 down to x^2.
const COSINE: [f64; 8] = [
    1.0 / 20_922_789_888_000.0,
    -1.0 / 87_178_291_200.0,
    1.0 / 479_001_600.0,
    -1.0 / 3_628_800.0,
    1.0 / 40_320.0,
    -1.0 / 720.0,
    1.0 / 24.0,
    -0.5,
];
/// Coefficients of the series of the arc tangent, from x^23 down to x^3.
const ARC_TANGENT: [f64; 11] = [
    -1.0 / 23.0,
    1.0 / 21.0,
    -1.0 / 19.0,
    1.0 / 17.0,
    -1.0 / 15.0,
    1.0 / 13.0,
    -1.0 / 11.0,
    1.0 / 9.0,
    -1.0 / 7.0,
    1.0 / 5.0,
    -1.0 / 3.0,
];
/// Tangents of a sixteenth, an eighth and three sixteenths of pi.
const TAN_PI_16: f64 = 0.198_912_367_379_658;
const TAN_PI_8: f64 = 0.414_213_562_373_095_03;
const TAN_3_PI_16: f64 = 0.668_178_637_919_298_9;

impl<S: Simd> Lanes<S> {
    /// These numbers.
    #[inline(always)]
    pub fn new(simd: S, of: S::f64s) -> Self {
        Self { simd, of }
    }

    /// The same number in every lane.
    #[inline(always)]
    pub fn all(simd: S, number: f64) -> Self {
        Self { simd, of: simd.splat_f64s(number) }
    }

    /// The lanes of a block's group: a block fills one register of the widest kind, or several.
    #[inline(always)]
    pub fn load(simd: S, block: &Block, group: usize) -> Self {
        let groups = S::as_simd_f64s(block).0;
        let of = match groups.get(group) {
            Some(of) => *of,
            None => simd.splat_f64s(f64::NAN),
        };
        Self { simd, of }
    }

    /// The same number in every lane of another's kind.
    #[inline(always)]
    pub fn same(self, number: f64) -> Self {
        Self::all(self.simd, number)
    }

    /// `self * by + to`, rounded once.
    #[inline(always)]
    pub fn fma(self, by: Self, to: Self) -> Self {
        Self { of: self.simd.mul_add_f64s(self.of, by.of, to.of), ..self }
    }

    /// `self * self`.
    #[inline(always)]
    pub fn square(self) -> Self {
        self * self
    }

    /// Square root.
    #[inline(always)]
    pub fn sqrt(self) -> Self {
        Self { of: self.simd.sqrt_f64s(self.of), ..self }
    }

    /// Magnitude.
    #[inline(always)]
    pub fn abs(self) -> Self {
        Self { of: self.simd.abs_f64s(self.of), ..self }
    }

    /// The lesser of two.
    #[inline(always)]
    pub fn min(self, other: Self) -> Self {
        Self { of: self.simd.min_f64s(self.of, other.of), ..self }
    }

    /// The greater of two.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        Self { of: self.simd.max_f64s(self.of, other.of), ..self }
    }

    /// `yes` in lanes where `self` is less than `than`, else `no`.
    #[inline(always)]
    pub fn less(self, than: Self, yes: Self, no: Self) -> Self {
        let mask = self.simd.less_than_f64s(self.of, than.of);
        Self { of: self.simd.select_f64s(mask, yes.of, no.of), ..self }
    }

    /// Whether any lane is greater than a number.
    #[inline(always)]
    pub fn any_above(self, number: f64) -> bool {
        let mask = self.simd.greater_than_f64s(self.of, self.simd.splat_f64s(number));
        self.simd.first_true_m64s(mask) < S::F64_LANES
    }

    /// The sum of `coefficients[i] * self^(n - 1 - i)`.
    #[inline(always)]
    fn polynomial<const N: usize>(self, coefficients: [f64; N]) -> Self {
        let mut sum = self.same(coefficients[0]);
        let mut at = 1;
        while at < N {
            sum = sum.fma(self, self.same(coefficients[at]));
            at += 1;
        }
        sum
    }

    /// The bits of the nearest whole number in the lowest bits, and that number.
    #[inline(always)]
    fn round(self) -> (S::u64s, Self) {
        let shifted = self + ROUNDING;
        (self.simd.transmute_u64s_f64s(shifted.of), shifted - ROUNDING)
    }

    /// The nearest whole number, up to 2^51.
    #[inline(always)]
    pub fn nearest(self) -> Self {
        self.round().1
    }

    /// Sine and cosine of radians up to some 10^6, to 2e-15.
    #[inline(always)]
    pub fn sin_cos(self) -> (Self, Self) {
        let simd = self.simd;
        let (quadrant, turns) = (self * FRAC_2_PI).round();
        let turns = -turns;
        let x = turns.fma(self.same(HALF_PI_HIGH), self);
        let x = turns.fma(self.same(HALF_PI_LOW), x);
        let x = turns.fma(self.same(HALF_PI_REST), x);
        let square = x.square();
        let sine = (square * x).fma(square.polynomial(SINE), x);
        let cosine = square.fma(square.polynomial(COSINE), self.same(1.0));
        // Odd quadrants swap the two; bit 1 of the quadrant (of its successor) turns the sign.
        let (one, two) = (simd.splat_u64s(1), simd.splat_u64s(2));
        let odd = simd.equal_u64s(simd.and_u64s(quadrant, one), one);
        let s = simd.select_f64s(odd, cosine.of, sine.of);
        let c = simd.select_f64s(odd, sine.of, cosine.of);
        let next = simd.add_u64s(quadrant, one);
        let minus_s = simd.equal_u64s(simd.and_u64s(quadrant, two), two);
        let minus_c = simd.equal_u64s(simd.and_u64s(next, two), two);
        let s = simd.select_f64s(minus_s, simd.neg_f64s(s), s);
        let c = simd.select_f64s(minus_c, simd.neg_f64s(c), c);
        (Self { simd, of: s }, Self { simd, of: c })
    }

    /// Sine and cosine of up to a tenth of a radian, to 3e-15.
    #[inline(always)]
    pub fn small_sin_cos(self) -> (Self, Self) {
        let square = self.square();
        let sine = square.polynomial([-1.0 / 5_040.0, 1.0 / 120.0, -1.0 / 6.0]);
        let cosine = square.polynomial([1.0 / 40_320.0, -1.0 / 720.0, 1.0 / 24.0, -0.5]);
        ((square * self).fma(sine, self), square.fma(cosine, self.same(1.0)))
    }

    /// The angle of the point (`x`, `self`), -pi to pi, to 1e-15 of a turn.
    #[inline(always)]
    pub fn atan2(self, x: Self) -> Self {
        let (ay, ax) = (self.abs(), x.abs());
        let (low, high) = (ay.min(ax), ay.max(ax));
        // The angle of (high, low) less 0, pi/8 or pi/4, whichever is near.
        let zero = self.same(0.0);
        let (below, beyond) = (high * TAN_PI_16, high * TAN_3_PI_16);
        let tangent = low.less(below, zero, low.less(beyond, self.same(TAN_PI_8), self.same(1.0)));
        let base =
            low.less(below, zero, low.less(beyond, self.same(FRAC_PI_8), self.same(FRAC_PI_4)));
        let over = tangent.fma(low, high).max(self.same(f64::MIN_POSITIVE));
        let t = (-tangent).fma(high, low) / over;
        let square = t.square();
        let angle = base + (square * t).fma(square.polynomial(ARC_TANGENT), t);
        let angle = ax.less(ay, self.same(FRAC_PI_2) - angle, angle);
        let angle = x.less(zero, self.same(2.0 * FRAC_PI_2) - angle, angle);
        self.less(zero, -angle, angle)
    }
}

/// Sine and cosine of the sum of two angles of which both are known.
#[inline(always)]
pub fn turned<S: Simd>(
    (sin, cos): (Lanes<S>, Lanes<S>),
    (by_sin, by_cos): (Lanes<S>, Lanes<S>),
) -> (Lanes<S>, Lanes<S>) {
    (sin.fma(by_cos, cos * by_sin), cos.fma(by_cos, -(sin * by_sin)))
}
