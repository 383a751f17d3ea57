//! The lanes against the `sgp4` crate, against themselves, and against what can't be flown.

use proptest::prelude::*;
use pulp::WithSimd;

use super::*;

fn elements() -> impl Strategy<Value = MeanElements> {
    let turn = 0.0..std::f64::consts::TAU;
    // Perigee above 190 km, from low orbits to beyond the geostationary one.
    let shape = (0.2f64..16.3, 0.0f64..0.95).prop_map(|(revolutions, e)| {
        let axis = (terms::XKE / (revolutions * std::f64::consts::TAU / 1440.0)).powf(2.0 / 3.0);
        (revolutions, e.min(1.0 - 1.03 / axis).max(0.0))
    });
    (shape, 0.0f64..std::f64::consts::PI, turn.clone(), turn.clone(), turn, -1e-4f64..2e-4)
        .prop_map(|((revolutions, eccentricity), inclination, node, argument, anomaly, drag)| {
            MeanElements {
                inclination,
                node,
                eccentricity,
                argument,
                anomaly,
                motion: revolutions * std::f64::consts::TAU / 1440.0,
                drag,
            }
        })
}

/// Years since J2000 that the `sgp4` crate takes, and ours.
fn epoch(days: f64) -> (f64, f64, f64) {
    // 1949-12-31 is 18,263.5 days before J2000.
    let years = (days - 18_263.5) / 365.25;
    (years, days, sgp4::afspc_epoch_to_sidereal_time(years))
}

fn reference(of: &MeanElements, years: f64) -> Option<sgp4::Constants> {
    let orbit = sgp4::Orbit::from_kozai_elements(
        &sgp4::WGS72,
        of.inclination,
        of.node,
        of.eccentricity,
        of.argument,
        of.anomaly,
        of.motion,
    )
    .ok()?;
    let sidereal = sgp4::afspc_epoch_to_sidereal_time;
    sgp4::Constants::new(sgp4::WGS72, sidereal, years, of.drag, orbit).ok()
}

fn scalar(of: &mut Propagator, minutes: &[f64]) -> States {
    let mut out = States::default();
    of.reach(minutes);
    out.resize(minutes.len());
    Track { of, minutes, out: &mut out }.with_simd(pulp::Scalar);
    out
}

/// Bits, with every kind of "not a number" taken for one.
fn bits(of: &States) -> Vec<Vec<u64>> {
    let parts = of.position_km.iter().chain(&of.velocity_km_s);
    let bits = |x: &f64| if x.is_nan() { 0 } else { x.to_bits() };
    parts.map(|part| part.iter().map(bits).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any orbit, within ten days of its epoch, is where the `sgp4` crate says, to a metre.
    #[test]
    fn any_orbit_is_where_the_crate_says(
        of in elements(),
        days in 15_000.0f64..29_000.0,
        minutes in prop::collection::vec(-15_000.0f64..15_000.0, 1..20),
    ) {
        let (years, days, sidereal) = epoch(days);
        let reference = reference(&of, years).unwrap();
        let mut ours = Propagator::new(&of, days, sidereal).unwrap();
        let mut out = States::default();
        ours.states(&minutes, &mut out);
        for (at, t) in minutes.iter().enumerate() {
            let position = out.position_km.each_ref().map(|part| part[at]);
            let Ok(theirs) = reference.propagate(sgp4::MinutesSinceEpoch(*t)) else {
                prop_assert!(position[0].is_nan(), "not refused at {t}");
                continue;
            };
            let velocity = out.velocity_km_s.each_ref().map(|part| part[at]);
            let below = theirs.position.iter().map(|x| x * x).sum::<f64>().sqrt() < terms::RADIUS_KM;
            if below {
                // The crate goes on under the ground.
                prop_assert!(position[0].is_nan());
                continue;
            }
            let off = |a: [f64; 3], b: [f64; 3]| {
                a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
            };
            prop_assert!(off(position, theirs.position) < 1e-3, "{} km", off(position, theirs.position));
            prop_assert!(off(velocity, theirs.velocity) < 1e-6);
        }
    }

    /// The widest registers and the portable twin give the same bits, alone and in a fleet.
    #[test]
    fn every_width_gives_the_same_bits(
        of in prop::collection::vec(elements(), 1..20),
        start in -20_000.0f64..20_000.0,
    ) {
        let (_, days, sidereal) = epoch(27_000.0);
        let mut all: Vec<_> =
            of.iter().map(|of| Propagator::new(of, days, sidereal).unwrap()).collect();
        let minutes: Vec<f64> = (0..all.len()).map(|at| start + 77.0 * at as f64).collect();
        let mut fleet = States::default();
        Fleet::new(&all).states(&minutes, &mut fleet);
        for (at, one) in all.iter_mut().enumerate() {
            let mut wide = States::default();
            one.states(&minutes, &mut wide);
            prop_assert_eq!(bits(&wide), bits(&scalar(one, &minutes)));
            let here = |of: &States| bits(of).into_iter().map(|part| part[at]).collect::<Vec<_>>();
            prop_assert_eq!(here(&fleet), here(&wide));
        }
    }

    #[test]
    fn sines_and_angles_are_right(x in -1e5f64..1e5, y in -1.0f64..1.0, z in -1.0f64..1.0) {
        let lanes = |x| Lanes::all(pulp::Scalar, x);
        let (sin, cos) = lanes(x).sin_cos();
        prop_assert!((sin.of - x.sin()).abs() < 1e-15 && (cos.of - x.cos()).abs() < 1e-15);
        let (sin, cos) = lanes(y / 10.0).small_sin_cos();
        prop_assert!((sin.of - (y / 10.0).sin()).abs() < 3e-15);
        prop_assert!((cos.of - (y / 10.0).cos()).abs() < 3e-15);
        prop_assert!((lanes(y).atan2(lanes(z)).of - y.atan2(z)).abs() < 2e-15);
    }
}

#[test]
fn what_is_no_orbit_is_refused() {
    let sound = MeanElements {
        inclination: 1.0,
        node: 0.0,
        eccentricity: 0.001,
        argument: 0.0,
        anomaly: 0.0,
        motion: 0.06,
        drag: 0.0,
    };
    let refused = |of: MeanElements| Propagator::new(&of, 0.0, 0.0).err();
    assert_eq!(refused(sound), None);
    for eccentricity in [-0.1, 1.0, f64::NAN] {
        assert_eq!(refused(MeanElements { eccentricity, ..sound }), Some(NoOrbit::Eccentricity));
    }
    for motion in [-1.0, 0.0, f64::NAN, f64::INFINITY] {
        assert_eq!(refused(MeanElements { motion, ..sound }), Some(NoOrbit::Motion));
    }
}

#[test]
fn times_without_end_have_no_state() {
    let of = MeanElements {
        inclination: 1.1,
        node: 0.0,
        eccentricity: 0.7,
        argument: 4.0,
        anomaly: 0.0,
        motion: 8.7e-3,
        drag: 0.0,
    };
    let mut out = States::default();
    Propagator::new(&of, 20_000.0, 1.0)
        .unwrap()
        .states(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 0.0], &mut out);
    let there: Vec<bool> = out.position_km[0].iter().map(|x| x.is_finite()).collect();
    assert_eq!(there, [false, false, false, false, true]);
}
