use super::{cases::*, *};

/// Goodput of one flow over a link.
fn goodput(link: &Link, law: Law, regime: &Regime, objects: u64) -> f64 {
    let flow = Flow { law, from_ns: 0, bulk: regime.bulk(objects) };
    let report = fly(link, &[flow], 1).unwrap().remove(0);
    assert_eq!(report.outcome.ended, None, "{law:?}");
    assert_eq!(report.outcome.acknowledged_ns.len() as u64, objects, "{law:?}");
    report.goodput(link, None)
}

#[test]
fn a_planned_link_is_used_whatever_is_lost_on_it() {
    for (_, loss) in LOSSES {
        let link = LEO_50.link(loss);
        let ours = goodput(&link, Law::Plan, &LEO_50, 12);
        println!("{ours}");
        assert!(ours > 0.85, "{loss:?}: {ours}");
    }
}
