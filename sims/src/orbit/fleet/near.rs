//! SGP4 on every lane: secular terms, Kepler's equation, periodic terms.

use pulp::Simd;

use super::lanes::{Lanes, turned};
use super::terms::{J2, LONG_PERIOD, RADIUS_KM, Terms, XKE};

/// Position, km, and velocity, km/s, in TEME; not a number where there is no orbit any more.
#[derive(Clone, Copy)]
pub struct LaneState<S: Simd> {
    /// Position, km.
    pub position_km: [Lanes<S>; 3],
    /// Velocity, km/s.
    pub velocity_km_s: [Lanes<S>; 3],
}

/// How Kepler's equation is solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kepler {
    /// So many Newton rounds, whose corrections stay below a tenth of a radian.
    Rounds(u32),
    /// Until it is solved, up to ten rounds.
    Any,
}

impl Kepler {
    /// What orbits up to this eccentricity need for a millimetre.
    pub fn up_to(eccentricity: f64) -> Self {
        match eccentricity {
            round if round < 0.025 => Self::Rounds(2),
            round if round < 0.08 => Self::Rounds(3),
            _ => Self::Any,
        }
    }
}

/// Elements of an instant, all secular and third-body terms in.
pub struct Instant<S: Simd> {
    /// Semi-major axis, earth radii.
    pub axis: Lanes<S>,
    /// Mean motion, radians a minute.
    pub motion: Lanes<S>,
    /// Eccentricity.
    pub eccentricity: Lanes<S>,
    /// Argument of perigee.
    pub argument: Lanes<S>,
    /// Ascending node.
    pub node: Lanes<S>,
    /// Mean anomaly.
    pub anomaly: Lanes<S>,
    /// Sine and cosine of the inclination.
    pub inclination: (Lanes<S>, Lanes<S>),
}

/// Elements of a near-earth orbit `t` minutes after its epoch.
#[inline(always)]
pub fn secular<S: Simd>(of: &Terms<Lanes<S>>, t: Lanes<S>) -> Instant<S> {
    let t2 = t.square();
    let anomaly = of.anomaly_dot.fma(t, of.anomaly);
    let argument = of.argument_dot.fma(t, of.argument);
    let node = of.node_drag.fma(t2, of.node_dot.fma(t, of.node));
    let (_, cos) = anomaly.sin_cos();
    let swing = of.eta.fma(cos, t.same(1.0));
    let late = of.anomaly_drag * (swing.square().fma(swing, -of.anomaly_start));
    let late = of.omega.fma(t, late);
    let (anomaly, argument) = (anomaly + late, argument - late);
    // 1 - c1 t - d2 t^2 - d3 t^3 - d4 t^4
    let shrink = -of.d4.fma(t, of.d3).fma(t, of.d2).fma(t, of.c1).fma(t, t.same(-1.0));
    let (sin, _) = anomaly.sin_cos();
    let rounder = of.drag_c5.fma(sin - of.sin_anomaly, of.drag_c4 * t);
    let longitude = of.t5.fma(t, of.t4).fma(t, of.t3).fma(t, of.t2) * t2;
    let axis = of.axis * shrink.square();
    // Below zero by up to a thousandth it is taken for a circle.
    let (one, none) = (t.same(1.0), t.same(f64::NAN));
    let raw = of.eccentricity - rounder;
    let e = raw.less(one, raw.max(t.same(1e-6)), none);
    Instant {
        axis,
        motion: t.same(XKE) / (axis * axis.sqrt()),
        eccentricity: raw.less(t.same(-0.001), none, e),
        argument,
        node,
        anomaly: of.motion.fma(longitude, anomaly),
        inclination: (of.sin_inclination, of.cos_inclination),
    }
}

/// The correction of one Newton round.
#[inline(always)]
fn newton<S: Simd>(
    (u, ax, ay): (Lanes<S>, Lanes<S>, Lanes<S>),
    at: Lanes<S>,
    (sin, cos): (Lanes<S>, Lanes<S>),
) -> Lanes<S> {
    let slope = u.same(1.0) - cos.fma(ax, sin * ay);
    (u - at + ax.fma(sin, -(ay * cos))) / slope
}

/// An angle and what it is corrected by. Only where perigee is deep in the earth is that large.
#[inline(always)]
fn corrected<S: Simd>(
    angle: (Lanes<S>, Lanes<S>),
    by: Lanes<S>,
    how: Kepler,
) -> (Lanes<S>, Lanes<S>) {
    match how {
        Kepler::Rounds(_) => turned(angle, by.small_sin_cos()),
        Kepler::Any => turned(angle, by.sin_cos()),
    }
}

/// Kepler's equation in equinoctial form: sine and cosine of the eccentric longitude.
#[inline(always)]
fn kepler<S: Simd>(
    u: Lanes<S>,
    (ax, ay): (Lanes<S>, Lanes<S>),
    how: Kepler,
) -> (Lanes<S>, Lanes<S>) {
    let one = u.same(1.0);
    let mut at = u;
    let (mut sin, mut cos) = u.sin_cos();
    match how {
        Kepler::Rounds(rounds) => {
            for _ in 0..rounds {
                let by = newton((u, ax, ay), at, (sin, cos));
                at = at + by;
                (sin, cos) = turned((sin, cos), by.small_sin_cos());
            }
        }
        Kepler::Any => {
            const SOLVED: f64 = 1e-12;
            let mut last = one;
            for _ in 0..10 {
                let by = newton((u, ax, ay), at, (sin, cos));
                let by = by.min(u.same(0.95)).max(u.same(-0.95));
                // A lane that is solved stays: its neighbours must not change its last bits.
                let by = last.less(u.same(SOLVED), u.same(0.0), by);
                at = at + by;
                (sin, cos) = at.sin_cos();
                last = by.abs();
                if !last.any_above(SOLVED) {
                    break;
                }
            }
        }
    }
    (sin, cos)
}

/// Long- and short-period terms, and the state in TEME.
#[inline(always)]
pub fn state<S: Simd>(of: &Instant<S>, how: Kepler) -> LaneState<S> {
    let Instant { axis, motion, argument, node, anomaly, inclination, .. } = *of;
    let (one, zero) = (axis.same(1.0), axis.same(0.0));
    let e = of.eccentricity;
    let (sin_i, cos_i) = inclination;

    let (sin, cos) = argument.sin_cos();
    let ax = e * cos;
    let over = one / (axis * (one - e.square()));
    // At an inclination of 180 degrees the divisor vanishes.
    let tilt = (one + cos_i).max(axis.same(1.5e-12));
    let lx = sin_i * (cos_i * 5.0 + 3.0) * (-0.25 * LONG_PERIOD) / tilt;
    let ay = e.fma(sin, over * sin_i * (-0.5 * LONG_PERIOD));
    let u = anomaly + argument + over * lx * ax;
    let (sin, cos) = kepler(u, (ax, ay), how);

    let e_cos = ax.fma(cos, ay * sin);
    let e_sin = ax.fma(sin, -(ay * cos));
    let beta2 = one - ax.fma(ax, ay.square());
    let p = axis * beta2;
    let r = axis * (one - e_cos);
    let over_r = one / r;
    let beta = beta2.sqrt();
    let temp = e_sin / (one + beta);
    let a_r = axis * over_r;
    let sin_u = a_r * (sin - ay - ax * temp);
    let cos_u = a_r * (cos - ax + ay * temp);
    let sin_2u = cos_u * sin_u * 2.0;
    let cos_2u = one - sin_u.square() * 2.0;
    let over_p = one / p;
    let temp1 = over_p * (0.5 * J2);
    let temp2 = temp1 * over_p;
    let cos_i2 = cos_i.square();
    let con41 = cos_i2 * 3.0 - 1.0;
    let x1mth2 = one - cos_i2;
    let x7thm1 = cos_i2 * 7.0 - 1.0;

    let radius = r * (one - temp2 * beta * con41 * 1.5) + temp1 * x1mth2 * cos_2u * 0.5;
    let u_by = temp2 * x7thm1 * sin_2u * -0.25;
    let (sin_u, cos_u) = corrected((sin_u, cos_u), u_by, how);
    let node_by = temp2 * cos_i * sin_2u * 1.5;
    let (sin_n, cos_n) = corrected(node.sin_cos(), node_by, how);
    let tilt_by = temp2 * cos_i * sin_i * cos_2u * 1.5;
    let (sin_i, cos_i) = corrected((sin_i, cos_i), tilt_by, how);

    let (xmx, xmy) = (-(sin_n * cos_i), cos_n * cos_i);
    let along = [xmx.fma(sin_u, cos_n * cos_u), xmy.fma(sin_u, sin_n * cos_u), sin_i * sin_u];
    let across =
        [xmx.fma(cos_u, -(cos_n * sin_u)), xmy.fma(cos_u, -(sin_n * sin_u)), sin_i * cos_u];
    // Not a number where the orbit is open, below the ground, or past its fall.
    let none = axis.same(f64::NAN);
    let alive = radius.less(one, none, one);
    let alive = p.less(zero, none, alive);
    let length = radius * RADIUS_KM * alive;
    let root = axis.sqrt();
    let r_dot = root * e_sin * over_r - motion * temp1 * x1mth2 * sin_2u * (1.0 / XKE);
    let rv_dot = p.sqrt() * over_r + motion * temp1 * (x1mth2 * cos_2u + con41 * 1.5) * (1.0 / XKE);
    let (r_dot, rv_dot) = (r_dot * (RADIUS_KM * XKE / 60.0), rv_dot * (RADIUS_KM * XKE / 60.0));
    let alive_r = r_dot * alive;
    LaneState {
        position_km: [along[0] * length, along[1] * length, along[2] * length],
        velocity_km_s: [
            along[0].fma(alive_r, across[0] * rv_dot),
            along[1].fma(alive_r, across[1] * rv_dot),
            along[2].fma(alive_r, across[2] * rv_dot),
        ],
    }
}
