//! SDP4: what Moon and Sun do to an orbit of 225 minutes or more, and resonance with the turning
//! earth (Hoots and Roehrich, Spacetrack Report 3, 1980; Vallado et al., AIAA 2006-6753).

use std::f64::consts::{PI, TAU};

use pulp::Simd;

use super::lanes::{Block, Lanes};
use super::near::Instant;
use super::resonance::Resonance;
use super::terms::{MeanElements, Prepared, Terms, XKE, numbers};

const SOLAR_MOTION: f64 = 1.194_59e-5;
const SOLAR_ECCENTRICITY: f64 = 0.016_75;
const LUNAR_MOTION: f64 = 1.583_521_8e-4;
const LUNAR_ECCENTRICITY: f64 = 0.054_90;
/// The earth's turning, radians a minute.
pub const EARTH_TURN: f64 = 4.375_269_088_011_3e-3;

numbers! {
    /// Amplitudes of one body's periodic terms.
    Body {
        /// Its mean anomaly at the epoch, radians.
        anomaly,
        e2, e3, i2, i3, l2, l3, l4, gh2, gh3, gh4, h2, h3,
    }
}

numbers! {
    /// What an orbit of 225 minutes or more has beside [`Terms`].
    DeepTerms {
        /// Rates of the elements by Moon and Sun, a minute.
        eccentricity_dot, inclination_dot, anomaly_dot, argument_dot, node_dot,
        /// Inclination at the epoch.
        inclination,
        /// Sidereal angle at the epoch.
        sidereal,
    }
}

/// All of a deep orbit but its resonance.
#[derive(Clone, Debug)]
pub struct Deep<T> {
    terms: DeepTerms<T>,
    sun: Body<T>,
    moon: Body<T>,
}

impl<T: Copy> Deep<T> {
    /// All numbers, in their order.
    pub fn list(&self) -> Vec<T> {
        [self.terms.list(), self.sun.list(), self.moon.list()].concat()
    }

    /// From a list in the same order; what is missing is `rest`.
    pub fn from_list(list: &mut impl Iterator<Item = T>, rest: T) -> Self {
        Self {
            terms: DeepTerms::from_list(list, rest),
            sun: Body::from_list(list, rest),
            moon: Body::from_list(list, rest),
        }
    }
}

struct Attraction {
    body: Body<f64>,
    eccentricity_dot: f64,
    inclination_dot: f64,
    anomaly_dot: f64,
    perigee_dot: f64,
    node_pull: f64,
}

struct Geometry {
    sin_i: f64,
    cos_i: f64,
    sin_argument: f64,
    cos_argument: f64,
    e: f64,
    motion: f64,
}

impl Deep<f64> {
    /// Each number in every lane.
    #[inline(always)]
    pub fn lanes<S: Simd>(&self, simd: S) -> Deep<Lanes<S>> {
        Deep {
            terms: self.terms.lanes(simd),
            sun: self.sun.lanes(simd),
            moon: self.moon.lanes(simd),
        }
    }
}

impl Deep<Block> {
    /// The lanes of a group of each block.
    #[inline(always)]
    pub fn lanes<S: Simd>(&self, simd: S, group: usize) -> Deep<Lanes<S>> {
        Deep {
            terms: self.terms.lanes(simd, group),
            sun: self.sun.lanes(simd, group),
            moon: self.moon.lanes(simd, group),
        }
    }
}

/// Where a body's orbit lies: node against the satellite's, inclination, perigee.
struct Tilt {
    sin_h: f64,
    cos_h: f64,
    sin_i: f64,
    cos_i: f64,
    sin_g: f64,
    cos_g: f64,
}

fn attraction(
    of: &Geometry,
    by: &Tilt,
    strength: f64,
    mean_motion: f64,
    body_e: f64,
) -> Attraction {
    let Tilt { sin_h, cos_h, sin_i: zi, cos_i: zc, sin_g, cos_g } = *by;
    let (e2, beta2) = (of.e * of.e, 1.0 - of.e * of.e);
    let beta = beta2.sqrt();
    let a1 = cos_g * cos_h + sin_g * zc * sin_h;
    let a3 = -sin_g * cos_h + cos_g * zc * sin_h;
    let a7 = -cos_g * sin_h + sin_g * zc * cos_h;
    let a8 = sin_g * zi;
    let a9 = sin_g * sin_h + cos_g * zc * cos_h;
    let a10 = cos_g * zi;
    let a2 = of.cos_i * a7 + of.sin_i * a8;
    let a4 = of.cos_i * a9 + of.sin_i * a10;
    let a5 = -of.sin_i * a7 + of.cos_i * a8;
    let a6 = -of.sin_i * a9 + of.cos_i * a10;
    let (s, c) = (of.sin_argument, of.cos_argument);
    let x1 = a1 * c + a2 * s;
    let x2 = a3 * c + a4 * s;
    let x3 = -a1 * s + a2 * c;
    let x4 = -a3 * s + a4 * c;
    let (x5, x6, x7, x8) = (a5 * s, a6 * s, a5 * c, a6 * c);
    let z31 = 12.0 * x1 * x1 - 3.0 * x3 * x3;
    let z32 = 24.0 * x1 * x2 - 6.0 * x3 * x4;
    let z33 = 12.0 * x2 * x2 - 3.0 * x4 * x4;
    let z1 = 2.0 * (3.0 * (a1 * a1 + a2 * a2) + z31 * e2) + beta2 * z31;
    let z2 = 2.0 * (6.0 * (a1 * a3 + a2 * a4) + z32 * e2) + beta2 * z32;
    let z3 = 2.0 * (3.0 * (a3 * a3 + a4 * a4) + z33 * e2) + beta2 * z33;
    let z11 = -6.0 * a1 * a5 + e2 * (-24.0 * x1 * x7 - 6.0 * x3 * x5);
    let z12 =
        -6.0 * (a1 * a6 + a3 * a5) + e2 * (-24.0 * (x2 * x7 + x1 * x8) - 6.0 * (x3 * x6 + x4 * x5));
    let z13 = -6.0 * a3 * a6 + e2 * (-24.0 * x2 * x8 - 6.0 * x4 * x6);
    let z21 = 6.0 * a2 * a5 + e2 * (24.0 * x1 * x5 - 6.0 * x3 * x7);
    let z22 =
        6.0 * (a4 * a5 + a2 * a6) + e2 * (24.0 * (x2 * x5 + x1 * x6) - 6.0 * (x4 * x7 + x3 * x8));
    let z23 = 6.0 * a4 * a6 + e2 * (24.0 * x2 * x6 - 6.0 * x4 * x8);
    let s3 = strength / of.motion;
    let s2 = -0.5 * s3 / beta;
    let s4 = s3 * beta;
    let s1 = -15.0 * of.e * s4;
    let (s5, s6, s7) = (x1 * x3 + x2 * x4, x2 * x3 + x1 * x4, x2 * x4 - x1 * x3);
    let long = -21.0 - 9.0 * e2;
    Attraction {
        body: Body {
            anomaly: 0.0,
            e2: 2.0 * s1 * s6,
            e3: 2.0 * s1 * s7,
            i2: 2.0 * s2 * z12,
            i3: 2.0 * s2 * (z13 - z11),
            l2: -2.0 * s3 * z2,
            l3: -2.0 * s3 * (z3 - z1),
            l4: -2.0 * s3 * long * body_e,
            gh2: 2.0 * s4 * z32,
            gh3: 2.0 * s4 * (z33 - z31),
            gh4: -18.0 * s4 * body_e,
            h2: -2.0 * s2 * z22,
            h3: -2.0 * s2 * (z23 - z21),
        },
        eccentricity_dot: s1 * mean_motion * s5,
        inclination_dot: s2 * mean_motion * (z11 + z13),
        anomaly_dot: -mean_motion * s3 * (z1 + z3 - 14.0 - 6.0 * e2),
        perigee_dot: s4 * mean_motion * (z31 + z33 - 6.0),
        node_pull: -mean_motion * s2 * (z21 + z23),
    }
}

/// Prepares the deep terms. `epoch` is days of UTC since 1949-12-31T00:00 and `sidereal` the
/// sidereal angle then.
pub fn prepare(
    of: &MeanElements,
    shared: &Prepared,
    epoch: f64,
    sidereal: f64,
) -> (Deep<f64>, Option<Resonance>) {
    let terms = &shared.terms;
    let (sin_i, cos_i) = (terms.sin_inclination, terms.cos_inclination);
    let (sin_node, cos_node) = of.node.sin_cos();
    let (sin_argument, cos_argument) = of.argument.sin_cos();
    let e = of.eccentricity;
    let geometry = Geometry { sin_i, cos_i, sin_argument, cos_argument, e, motion: terms.motion };

    // Where the Moon's orbit lies on that day.
    let day = epoch + 18_261.5;
    let moon_node = (4.523_602_0 - 9.242_202_9e-4 * day).rem_euclid(TAU);
    let (sin, cos) = moon_node.sin_cos();
    let moon_cos_i = 0.913_751_64 - 0.035_680_96 * cos;
    let moon_sin_i = (1.0 - moon_cos_i * moon_cos_i).sqrt();
    let moon_sin_h = 0.089_683_511 * sin / moon_sin_i;
    let moon_cos_h = (1.0 - moon_sin_h * moon_sin_h).sqrt();
    let gamma = 5.835_151_4 + 0.001_944_368_0 * day;
    let zx = 0.397_854_16 * sin / moon_sin_i;
    let zy = moon_cos_h * cos + 0.917_448_67 * moon_sin_h * sin;
    let (moon_sin_g, moon_cos_g) = (gamma + zx.atan2(zy) - moon_node).sin_cos();

    let sun_tilt = Tilt {
        sin_h: sin_node,
        cos_h: cos_node,
        sin_i: 0.397_854_16,
        cos_i: 0.917_448_67,
        sin_g: -0.980_884_58,
        cos_g: 0.194_590_5,
    };
    let moon_tilt = Tilt {
        sin_h: sin_node * moon_cos_h - cos_node * moon_sin_h,
        cos_h: moon_cos_h * cos_node + moon_sin_h * sin_node,
        sin_i: moon_sin_i,
        cos_i: moon_cos_i,
        sin_g: moon_sin_g,
        cos_g: moon_cos_g,
    };
    let mut sun =
        attraction(&geometry, &sun_tilt, 2.986_479_7e-6, SOLAR_MOTION, SOLAR_ECCENTRICITY);
    let mut moon =
        attraction(&geometry, &moon_tilt, 4.796_806_5e-7, LUNAR_MOTION, LUNAR_ECCENTRICITY);
    sun.body.anomaly = (6.256_583_7 + 0.017_201_977 * day).rem_euclid(TAU);
    moon.body.anomaly = (4.719_967_2 + 0.229_971_50 * day - gamma).rem_euclid(TAU);

    // At an inclination within three degrees of the equator the node is left alone.
    let flat = !(5.235_987_7e-2..=PI - 5.235_987_7e-2).contains(&of.inclination);
    let node_dot = |pull: f64| if flat || sin_i == 0.0 { 0.0 } else { pull / sin_i };
    let (sun_node, moon_node) = (node_dot(sun.node_pull), node_dot(moon.node_pull));
    let deep = DeepTerms {
        eccentricity_dot: sun.eccentricity_dot + moon.eccentricity_dot,
        inclination_dot: sun.inclination_dot + moon.inclination_dot,
        anomaly_dot: sun.anomaly_dot + moon.anomaly_dot,
        argument_dot: sun.perigee_dot - cos_i * sun_node + moon.perigee_dot - cos_i * moon_node,
        node_dot: sun_node + moon_node,
        inclination: of.inclination,
        sidereal: sidereal.rem_euclid(TAU),
    };
    let resonance = Resonance::of(of, shared, &deep);
    (Deep { terms: deep, sun: sun.body, moon: moon.body }, resonance)
}

/// What resonance made of longitude and mean motion, on every lane.
#[derive(Clone, Copy)]
pub enum Pulled<S: Simd> {
    /// There is none.
    No,
    /// One revolution a day: the longitude against the earth.
    Day {
        /// Radians.
        longitude: Lanes<S>,
        /// Radians a minute.
        motion: Lanes<S>,
    },
    /// Two revolutions a day: twice the node's longitude against the earth, and the anomaly.
    HalfDay {
        /// Radians.
        longitude: Lanes<S>,
        /// Radians a minute.
        motion: Lanes<S>,
    },
}

/// A number near 1 to the power of 2/3.
#[inline(always)]
fn two_thirds<S: Simd>(x: Lanes<S>) -> Lanes<S> {
    let by = x - 1.0;
    let y = by.fma(by.fma(by.same(-1.0 / 9.0), by.same(2.0 / 3.0)), by.same(1.0));
    let y2 = y.square();
    let y = y - (y2 * y - x.square()) / (y2 * 3.0);
    let y2 = y.square();
    y - (y2 * y - x.square()) / (y2 * 3.0)
}

struct Periodic<S: Simd> {
    e: Lanes<S>,
    i: Lanes<S>,
    l: Lanes<S>,
    gh: Lanes<S>,
    h: Lanes<S>,
}

#[inline(always)]
fn periodic<S: Simd>(of: &Body<Lanes<S>>, t: Lanes<S>, motion: f64, e: f64) -> Periodic<S> {
    let mean = t.fma(t.same(motion), of.anomaly);
    let (sin, _) = mean.sin_cos();
    let (sin, cos) = sin.fma(t.same(2.0 * e), mean).sin_cos();
    let f2 = (sin * 0.5).fma(sin, t.same(-0.25));
    let f3 = sin * cos * -0.5;
    Periodic {
        e: of.e2.fma(f2, of.e3 * f3),
        i: of.i2.fma(f2, of.i3 * f3),
        l: of.l4.fma(sin, of.l2.fma(f2, of.l3 * f3)),
        gh: of.gh4.fma(sin, of.gh2.fma(f2, of.gh3 * f3)),
        h: of.h2.fma(f2, of.h3 * f3),
    }
}

/// Elements of a deep orbit `t` minutes after its epoch.
#[inline(always)]
pub fn secular<S: Simd>(
    of: &Terms<Lanes<S>>,
    deep: &Deep<Lanes<S>>,
    pulled: Pulled<S>,
    t: Lanes<S>,
) -> Instant<S> {
    let Deep { terms: deep, sun, moon } = deep;
    let t2 = t.square();
    let argument = of.argument_dot.fma(t, of.argument);
    let argument = deep.argument_dot.fma(t, argument);
    let node = of.node_drag.fma(t2, of.node_dot.fma(t, of.node));
    let node = deep.node_dot.fma(t, node);
    let turn = t.fma(t.same(EARTH_TURN), deep.sidereal);
    let (anomaly, motion) = match pulled {
        Pulled::No => {
            let anomaly = of.anomaly_dot.fma(t, of.anomaly);
            (deep.anomaly_dot.fma(t, anomaly), of.motion)
        }
        Pulled::Day { longitude, motion } => (longitude - node - argument + turn, motion),
        Pulled::HalfDay { longitude, motion } => (longitude - node * 2.0 + turn * 2.0, motion),
    };
    let e = deep.eccentricity_dot.fma(t, of.eccentricity) - of.drag_c4 * t;
    let inclination = deep.inclination_dot.fma(t, deep.inclination);
    let shrink = -of.c1.fma(t, t.same(-1.0));
    // The axis from the motion: only resonance moves it far from the one of the epoch.
    let axis = match pulled {
        Pulled::No => of.axis,
        _ => of.axis * two_thirds(of.motion / motion),
    } * shrink.square();
    let motion = t.same(XKE) / (axis * axis.sqrt());
    let anomaly = of.motion.fma(of.t2 * t2, anomaly);

    // Moon and Sun.
    let (s, m) = (
        periodic(sun, t, SOLAR_MOTION, SOLAR_ECCENTRICITY),
        periodic(moon, t, LUNAR_MOTION, LUNAR_ECCENTRICITY),
    );
    let inclination = inclination + s.i + m.i;
    let (l, gh, h) = (s.l + m.l, s.gh + m.gh, s.h + m.h);
    let (zero, one, none) = (t.same(0.0), t.same(1.0), t.same(f64::NAN));
    let perturbed = e.max(t.same(1e-6)) + s.e + m.e;
    let e = e.less(one, perturbed, none);
    let e = perturbed.less(zero, none, e);
    let (sin_i, cos_i) = inclination.sin_cos();

    // By Lyddane where the plane is near the equator's.
    let safe = sin_i.abs().max(t.same(1e-9));
    let by_node = h / safe;
    let (sin_n, cos_n) = node.sin_cos();
    let tilt = s.i + m.i;
    let alpha = sin_i * sin_n + h * cos_n + tilt * cos_i * sin_n;
    let beta = sin_i * cos_n - h * sin_n + tilt * cos_i * cos_n;
    // The remainder keeps the node's sign, as the reference's does.
    let size = node.abs();
    let size = size - (size * (1.0 / TAU) - 0.5).nearest() * TAU;
    let wrapped = node.less(zero, -size, size);
    let gap = alpha.atan2(beta) - wrapped;
    let low_node = wrapped + gap - (gap * (1.0 / TAU)).nearest() * TAU;
    let low_argument = argument + gh - tilt * wrapped * sin_i + cos_i * (wrapped - low_node);
    let flat = t.same(0.2);
    let argument = inclination.less(flat, low_argument, argument + gh - cos_i * by_node);
    let node = inclination.less(flat, low_node, node + by_node);
    Instant {
        axis,
        motion,
        eccentricity: e,
        argument,
        node,
        anomaly: anomaly + l,
        inclination: (sin_i, cos_i),
    }
}
