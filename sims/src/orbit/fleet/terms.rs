//! What SGP4 makes of an element set before it is propagated (Hoots and Roehrich, Spacetrack
//! Report 3, 1980; Vallado et al., AIAA 2006-6753). Constants of WGS-72.

use pulp::Simd;

use super::lanes::{Block, Lanes};

/// Equatorial radius, km.
pub const RADIUS_KM: f64 = 6378.135;
/// Square root of the gravitational parameter, earth radii to 3/2 a minute.
pub const XKE: f64 = 0.074_366_916_133_173_42;
/// Second zonal harmonic.
pub const J2: f64 = 0.001_082_616;
const J3: f64 = -0.000_002_538_81;
const J4: f64 = -0.000_001_655_97;

/// Mean elements as SGP4 takes them: radians, and radians a minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanElements {
    /// Inclination.
    pub inclination: f64,
    /// Right ascension of the ascending node.
    pub node: f64,
    /// Eccentricity.
    pub eccentricity: f64,
    /// Argument of perigee.
    pub argument: f64,
    /// Mean anomaly.
    pub anomaly: f64,
    /// Mean motion as published, after Kozai.
    pub motion: f64,
    /// Drag term (B*), per earth radius.
    pub drag: f64,
}

/// A struct of numbers of one kind: plain, one a lane, or a block of them.
macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $field:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name<T> { $($(#[$of])* pub $field: T),* }

        impl<T: Copy> $name<T> {
            /// All of them, in their order.
            pub fn list(&self) -> Vec<T> {
                vec![$(self.$field),*]
            }

            /// From a list in the same order; what is missing is `rest`.
            pub fn from_list(list: &mut impl Iterator<Item = T>, rest: T) -> Self {
                Self { $($field: list.next().unwrap_or(rest)),* }
            }
        }

        // No closure: one that is not inlined is compiled for no particular processor.
        impl $name<f64> {
            /// Each number in every lane.
            #[inline(always)]
            pub fn lanes<S: Simd>(&self, simd: S) -> $name<Lanes<S>> {
                $name { $($field: Lanes::all(simd, self.$field)),* }
            }
        }

        impl $name<Block> {
            /// The lanes of a group of each block.
            #[inline(always)]
            pub fn lanes<S: Simd>(&self, simd: S, group: usize) -> $name<Lanes<S>> {
                $name { $($field: Lanes::load(simd, &self.$field, group)),* }
            }
        }
    };
}
pub(super) use numbers;

numbers! {
    /// Terms of an orbit whose period is below 225 minutes, and what all orbits share.
    Terms {
        /// Mean anomaly at the epoch and its rate.
        anomaly, anomaly_dot,
        /// Argument of perigee at the epoch and its rate.
        argument, argument_dot,
        /// Ascending node at the epoch, its rate, and the drag on it.
        node, node_dot, node_drag,
        /// Eccentricity at the epoch.
        eccentricity,
        /// Semi-major axis at the epoch, earth radii.
        axis,
        /// Mean motion at the epoch, after Brouwer.
        motion,
        /// Drag: the axis' linear term, the eccentricity's, the longitude's square.
        c1, drag_c4, t2,
        /// Drag of higher order; zero where perigee is below 220 km.
        omega, eta, anomaly_drag, anomaly_start, d2, d3, d4, drag_c5, sin_anomaly, t3, t4, t5,
        /// Inclination at the epoch.
        sin_inclination, cos_inclination,
    }
}

/// What [`prepare`] found out.
pub struct Prepared {
    /// The terms.
    pub terms: Terms<f64>,
    /// Whether it is an orbit of 225 minutes or more.
    pub deep: bool,
    /// Rates of perigee and node together, which resonance needs.
    pub perigee_longitude_dot: f64,
}

/// Why elements are no orbit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoOrbit {
    /// Not closed.
    #[error("the eccentricity is not within 0 and 1")]
    Eccentricity,
    /// It does not go round, or not forward.
    #[error("the mean motion is not positive")]
    Motion,
}

/// Works out the terms.
pub fn prepare(of: &MeanElements) -> Result<Prepared, NoOrbit> {
    let MeanElements { inclination, node, eccentricity: e, argument, anomaly, motion, drag } = *of;
    if !(0.0..1.0).contains(&e) {
        return Err(NoOrbit::Eccentricity);
    }
    if !(motion > 0.0 && motion.is_finite()) {
        return Err(NoOrbit::Motion);
    }
    let (sin_i, cos_i) = inclination.sin_cos();
    let cos_i2 = cos_i * cos_i;
    let beta2 = 1.0 - e * e;
    let beta = beta2.sqrt();
    // From Kozai's mean motion to Brouwer's.
    let con41 = 3.0 * cos_i2 - 1.0;
    let kozai_axis = (XKE / motion).powf(2.0 / 3.0);
    let d = 0.75 * J2 * con41 / (beta * beta2);
    let del = d / (kozai_axis * kozai_axis);
    let axis = kozai_axis * (1.0 - del * del - del * (1.0 / 3.0 + 134.0 * del * del / 81.0));
    let motion = motion / (1.0 + d / (axis * axis));
    if motion.is_nan() || motion <= 0.0 {
        return Err(NoOrbit::Motion);
    }
    let axis = (XKE / motion).powf(2.0 / 3.0);
    let perigee = axis * (1.0 - e);
    let deep = std::f64::consts::TAU / motion >= 225.0;
    let simple = deep || perigee < 220.0 / RADIUS_KM + 1.0;

    // Density of the air, by the height of perigee.
    let perigee_km = (perigee - 1.0) * RADIUS_KM;
    let s_km = match perigee_km {
        low if low < 98.0 => 20.0,
        low if low < 156.0 => low - 78.0,
        _ => 78.0,
    };
    let q4 = ((120.0 - s_km) / RADIUS_KM).powi(4);
    let s = s_km / RADIUS_KM + 1.0;
    let p2 = 1.0 / (axis * beta2 * axis * beta2);
    let xi = 1.0 / (axis - s);
    let eta = axis * e * xi;
    let (eta2, e_eta) = (eta * eta, e * eta);
    let psi2 = (1.0 - eta2).abs();
    let coef = q4 * xi.powi(4);
    let coef1 = coef / psi2.powf(3.5);
    let c2 = coef1
        * motion
        * (axis * (1.0 + 1.5 * eta2 + e_eta * (4.0 + eta2))
            + 0.375 * J2 * xi / psi2 * con41 * (8.0 + 3.0 * eta2 * (8.0 + eta2)));
    let c1 = drag * c2;
    let c3 = if e > 1e-4 { -2.0 * coef * xi * LONG_PERIOD * motion * sin_i / e } else { 0.0 };
    let c4 = 2.0
        * motion
        * coef1
        * axis
        * beta2
        * (eta * (2.0 + 0.5 * eta2) + e * (0.5 + 2.0 * eta2)
            - J2 * xi / (axis * psi2)
                * (-3.0 * con41 * (1.0 - 2.0 * e_eta + eta2 * (1.5 - 0.5 * e_eta))
                    + 0.75
                        * (1.0 - cos_i2)
                        * (2.0 * eta2 - e_eta * (1.0 + eta2))
                        * (2.0 * argument).cos()));
    let c5 = 2.0 * coef1 * axis * beta2 * (1.0 + 2.75 * (eta2 + e_eta) + e_eta * eta2);

    // Secular rates.
    let cos_i4 = cos_i2 * cos_i2;
    let temp1 = 1.5 * J2 * p2 * motion;
    let temp2 = 0.5 * temp1 * J2 * p2;
    let temp3 = -0.468_75 * J4 * p2 * p2 * motion;
    let anomaly_dot = motion
        + 0.5 * temp1 * beta * con41
        + 0.0625 * temp2 * beta * (13.0 - 78.0 * cos_i2 + 137.0 * cos_i4);
    let argument_dot = -0.5 * temp1 * (1.0 - 5.0 * cos_i2)
        + 0.0625 * temp2 * (7.0 - 114.0 * cos_i2 + 395.0 * cos_i4)
        + temp3 * (3.0 - 36.0 * cos_i2 + 49.0 * cos_i4);
    let node_dot1 = -temp1 * cos_i;
    let node_dot = node_dot1
        + (0.5 * temp2 * (4.0 - 19.0 * cos_i2) + 2.0 * temp3 * (3.0 - 7.0 * cos_i2)) * cos_i;

    let mut terms = Terms {
        anomaly,
        anomaly_dot,
        argument,
        argument_dot,
        node,
        node_dot,
        node_drag: 3.5 * beta2 * node_dot1 * c1,
        eccentricity: e,
        axis,
        motion,
        c1,
        drag_c4: drag * c4,
        t2: 1.5 * c1,
        sin_inclination: sin_i,
        cos_inclination: cos_i,
        ..Terms::default()
    };
    if !simple {
        let d2 = 4.0 * axis * xi * c1 * c1;
        let temp = d2 * xi * c1 / 3.0;
        let d3 = (17.0 * axis + s) * temp;
        let d4 = 0.5 * temp * axis * xi * (221.0 * axis + 31.0 * s) * c1;
        terms.omega = drag * c3 * argument.cos();
        terms.eta = eta;
        terms.anomaly_drag = if e > 1e-4 { -2.0 / 3.0 * coef * drag / e_eta } else { 0.0 };
        terms.anomaly_start = (1.0 + eta * anomaly.cos()).powi(3);
        (terms.d2, terms.d3, terms.d4) = (d2, d3, d4);
        terms.drag_c5 = drag * c5;
        terms.sin_anomaly = anomaly.sin();
        terms.t3 = d2 + 2.0 * c1 * c1;
        terms.t4 = 0.25 * (3.0 * d3 + c1 * (12.0 * d2 + 10.0 * c1 * c1));
        terms.t5 = 0.2
            * (3.0 * d4 + 12.0 * c1 * d3 + 6.0 * d2 * d2 + 15.0 * c1 * c1 * (2.0 * d2 + c1 * c1));
    }
    Ok(Prepared { terms, deep, perigee_longitude_dot: argument_dot + node_dot })
}

/// Third over second zonal harmonic: what the long-period terms go by.
pub const LONG_PERIOD: f64 = J3 / J2;
