//! Plans against every plan there is.

use proptest::prelude::*;

use super::{
    Problem, greedy,
    mount::{Mount, Pointing},
    problem::{Antenna, Candidate, Demand},
    solve,
};

const SECOND: i64 = 1_000_000_000;

/// The best of all subsets that can be flown.
fn brute(problem: &Problem) -> f64 {
    let count = problem.candidates.len();
    let clash: Vec<u32> = (0..count)
        .map(|a| {
            let with = |b: &usize| *b < a && problem.fault(&[*b, a]).is_some();
            (0..count).filter(with).map(|b| 1 << b).sum()
        })
        .collect();
    (0u32..1 << count)
        .filter(|set| (0..count).all(|a| set & 1 << a == 0 || set & clash[a] == 0))
        .map(|set| problem.worth((0..count).filter(|a| set & 1 << a != 0)))
        .fold(0.0, f64::max)
}

fn antenna() -> impl Strategy<Value = Antenna> {
    let mount = prop_oneof![
        Just(Mount::Free),
        (1.0f64..20.0, 1.0f64..20.0)
            .prop_map(|(a, b)| Mount::AzimuthElevation { rates_deg_s: [a, b] }),
        (1.0f64..20.0, any::<bool>()).prop_map(|(a, east)| Mount::XY { rates_deg_s: [a, a], east }),
    ];
    (0i64..90, 0i64..60, mount).prop_map(|(setup, teardown, mount)| Antenna {
        setup_ns: setup * SECOND,
        teardown_ns: teardown * SECOND,
        mount,
    })
}

fn demand(needs: bool) -> impl Strategy<Value = Demand> {
    let need = if needs { 100.0f64..3000.0 } else { 1e9..2e9 };
    (1.0f64..5.0, need, 0.0f64..0.5, any::<bool>(), 0i64..60).prop_map(
        move |(value, need, surplus, several, switch)| Demand {
            value,
            need_s: if needs { need } else { f64::INFINITY },
            surplus,
            several,
            switch_ns: switch * SECOND,
        },
    )
}

fn problem(
    antennas: usize,
    candidates: usize,
    needs: bool,
    span_s: i64,
) -> impl Strategy<Value = Problem> {
    let point = || {
        (0.0f64..360.0, 5.0f64..90.0)
            .prop_map(|(azimuth_deg, elevation_deg)| Pointing { azimuth_deg, elevation_deg })
    };
    let candidate =
        (0usize..4, 0usize..antennas, 0..span_s, 60i64..700, 0.5f64..1.0, point(), point())
            .prop_map(move |(satellite, antenna, from, length, use_of, start, end)| Candidate {
                satellite,
                antenna,
                pass: 0,
                from: from * SECOND,
                to: (from + length) * SECOND,
                seconds: length as f64 * use_of,
                start,
                end,
            });
    (
        prop::collection::vec(antenna(), antennas),
        prop::collection::vec(demand(needs), 4),
        prop::collection::vec(candidate, 1..=candidates),
    )
        .prop_map(|(antennas, demands, candidates)| Problem { antennas, demands, candidates })
}

fn alone(problem: Problem) -> Problem {
    let demands = problem.demands.iter().map(|of| Demand { several: true, ..*of }).collect();
    Problem { demands, ..problem }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// One antenna, every second welcome: the plan is the best there is, and known to be.
    #[test]
    fn an_antenna_alone_is_planned_exactly(of in problem(1, 13, false, 3000).prop_map(alone)) {
        let (found, best) = (solve(&of), brute(&of));
        prop_assert!((found.worth - best).abs() < 1e-6 * best, "{} of {best}", found.worth);
        prop_assert!(found.gap() < 1e-9);
    }

    /// Antennas that share spacecraft and needs: a plan that can be flown, not below the greedy one
    /// and not above the best; the bound is above that.
    #[test]
    fn a_plan_lies_between_the_greedy_one_and_the_bound(of in problem(3, 13, true, 2500)) {
        let (found, best) = (solve(&of), brute(&of));
        prop_assert_eq!(of.fault(&found.chosen), None);
        let first = of.worth(greedy(&of));
        prop_assert!((found.worth - of.worth(found.chosen.iter().copied())).abs() < 1e-9 * best);
        prop_assert!(found.worth >= first * (1.0 - 1e-12), "{} below greedy {first}", found.worth);
        prop_assert!(found.worth <= best * (1.0 + 1e-9), "{} above {best}", found.worth);
        prop_assert!(found.bound >= best * (1.0 - 1e-9), "bound {} below {best}", found.bound);
        prop_assert!(found.worth > 0.85 * best, "{} of {best}", found.worth);
    }

    /// Hundreds of contacts: nothing overlaps on an antenna, with set-up, tear-down and slew.
    #[test]
    fn many_contacts_never_overlap(of in problem(4, 300, true, 40_000)) {
        let found = solve(&of);
        prop_assert_eq!(of.fault(&found.chosen), None);
        prop_assert!(found.worth >= of.worth(greedy(&of)) * (1.0 - 1e-12));
        prop_assert!(found.worth <= found.bound * (1.0 + 1e-9));
    }
}

/// How often the best is found, and how far off the worst is.
#[test]
fn small_plans_are_mostly_the_best() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut best_found, mut worst, mut gaps) = (0, 1.0f64, Vec::new());
    const CASES: usize = 200;
    for _ in 0..CASES {
        let of = problem(3, 13, true, 2500).new_tree(&mut runner).unwrap().current();
        let (found, best) = (solve(&of), brute(&of));
        best_found += usize::from(found.worth > best * (1.0 - 1e-9));
        worst = worst.min(found.worth / best);
        gaps.push(found.gap());
    }
    gaps.sort_by(f64::total_cmp);
    println!("{best_found} of {CASES} best, worst {worst:.4}, median gap {:.4}", gaps[CASES / 2]);
    assert!(best_found >= CASES * 95 / 100, "{best_found} of {CASES}");
    assert!(worst > 0.9, "{worst}");
}
