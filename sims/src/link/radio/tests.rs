use super::*;
use crate::link::budget::file;
use crate::link::budget::transmitter::range_km;
use crate::link::{LinkModel, Reason, Verdict};

const SECOND: i64 = 1_000_000_000;
const X_BAND: &str = include_str!("../../../../missions/links/x-band.toml");
const KA_BAND: &str = include_str!("../../../../missions/links/ka-band.toml");

fn described(text: &str, changes: &[(&str, &str)]) -> Described {
    let mut text = text.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    file::read("link.toml", &text).unwrap()
}

/// A pass of ten minutes up to 80 degrees.
fn pass() -> Track {
    let samples = (0..=600).map(|second| {
        let elevation = 5.0 + 75.0 * (f64::from(second) / 600.0 * std::f64::consts::PI).sin();
        Some((range_km(elevation, 550.0), elevation))
    });
    Track::new(Tai(0), SECOND, samples.collect())
}

/// A satellite that stands still for some hours.
fn still(hours: usize) -> Track {
    let look = Some((range_km(35.0, 35_786.0), 35.0));
    Track::new(Tai(0), SECOND, vec![look; hours * 3600 + 1])
}

#[test]
fn a_pass_waits_for_lock_and_climbs_with_the_elevation() {
    let of = described(X_BAND, &[]);
    let link = RadioLink::fly(&of, &pass(), Weather::Clear).unwrap();
    // 800 ms of search.
    assert!(link.sky(Tai(700_000_000)).is_none() && link.sky(Tai(900_000_000)).is_some());
    let share = |second: i64| link.sky(Tai(second * SECOND)).unwrap().rate_share;
    assert!(share(300) == 1.0 && share(2) < 0.6, "{}", share(2));
    // Each step is what the elevation's clear sky allows with the margin.
    for (_, moment) in link.moments() {
        let best = of.ladder.highest(moment.clear_db - of.margin_db).unwrap_or(0);
        assert_eq!(moment.modcod, of.ladder.steps()[best]);
        assert!(moment.frames.error < 1e-6);
    }
    assert!(link.sky(Tai(700 * SECOND)).is_none());
    let peak = link.peak_bps() * 600.0;
    assert!(link.capacity_bits() > 0.5 * peak && link.capacity_bits() < peak);
}

#[test]
fn a_plan_has_few_steps_and_all_of_the_capacity() {
    let of = described(X_BAND, &[]);
    let link = RadioLink::fly(&of, &pass(), Weather::Clear).unwrap();
    let plan = link.plan(200_000);
    assert!((20..200).contains(&plan.len()), "{}", plan.len());
    let span = |two: &[Planned]| two[1].from.since(two[0].from) as f64 / 1e9 * two[0].rate_bps;
    let bits = plan.windows(2).map(span).sum::<f64>();
    assert!((bits / link.capacity_bits() - 1.0).abs() < 1e-6);
    for (at, moment) in link.moments() {
        let step = plan[plan.partition_point(|step| step.from <= at) - 1];
        let flight_ns = moment.range_km / LIGHT_KM_S * 1e9;
        assert!((step.delay_ns as f64 - flight_ns).abs() <= 200_001.0);
    }
    assert_eq!(plan.last().unwrap().rate_bps, 0.0);
}

#[test]
fn the_same_seed_gives_the_same_sky_and_another_another() {
    let of = described(KA_BAND, &[]);
    let fades = |seed| {
        let link = RadioLink::fly(&of, &still(1), Weather::Seeded(seed)).unwrap();
        link.moments().map(|(_, moment)| moment.es_n0_db).collect::<Vec<_>>()
    };
    assert_eq!(fades(1), fades(1));
    assert_ne!(fades(1), fades(2));
}

#[test]
fn adaptive_coding_follows_rain_and_loses_little() {
    let of = described(KA_BAND, &[]);
    let link = RadioLink::fly(&of, &still(4), Weather::Seeded(11)).unwrap();
    let fixed = described(
        KA_BAND,
        &[("choose = \"adaptive\"", "choose = \"fixed\"\nfixed = \"32APSK 4/5\"")],
    );
    let fixed = RadioLink::fly(&fixed, &still(4), Weather::Seeded(11)).unwrap();
    // The same rain falls on both; one steps down, the other loses frames.
    let lost = |link: &RadioLink| {
        let count = link.moments().count() as f64;
        link.moments().map(|(_, moment)| moment.frames.error).sum::<f64>() / count
    };
    let worst = link.moments().map(|(_, moment)| moment.rain_db).fold(0.0, f64::max);
    assert!(worst > 3.0, "it rains: {worst} dB");
    assert!(link.changes() > 10 && lost(&link) < 0.02, "{} {}", link.changes(), lost(&link));
    assert!(lost(&fixed) > 5.0 * lost(&link), "{} {}", lost(&fixed), lost(&link));
    assert!(link.capacity_bits() > fixed.capacity_bits());
}

#[test]
fn losses_of_packets_are_those_of_the_frames() {
    // Below its need by 0.55 dB, DVB-S2 is taken to lose three frames in a hundred.
    let fixed = [("choose = \"variable\"", "choose = \"fixed\"\nfixed = \"QPSK 3/4\"")];
    let of = described(X_BAND, &fixed);
    let strong = of.link.budget(40.0, 800.0, Air::Clear).es_n0_db;
    let extra = strong - (4.03 - 0.55);
    let weak =
        ("implementation_loss_db = 1.0", &format!("implementation_loss_db = {}", 1.0 + extra));
    let of = described(X_BAND, &[fixed[0], (weak.0, weak.1)]);
    let track = Track::new(Tai(0), SECOND, vec![Some((800.0, 40.0)); 4_000]);
    let flown = Arc::new(RadioLink::fly(&of, &track, Weather::Clear).unwrap());
    let [forth, back] = of.settings(&flown, 3);
    let mut down = LinkModel::new(forth, Way::Forth(flown.clone()));
    let mut up = LinkModel::new(back, Way::Back(flown.clone()));
    let (mut lost, mut of_all) = (0, 0);
    for at in 0..150_000i64 {
        let now = Tai(2 * SECOND + at * 20_000_000);
        of_all += 1;
        lost += i32::from(down.offer(now, 1_172) == Verdict::Dropped(Reason::Lost));
    }
    // 9,600 bits in frames of 48,328: a packet lies in 1 + 9,600 / 48,328 frames on average.
    let one = flown.moment(Tai(9 * SECOND)).unwrap().frames;
    let expected = one.error * (1.0 + 9_600.0 / one.bits);
    let share = f64::from(lost) / f64::from(of_all);
    assert!((share / expected - 1.0).abs() < 0.1, "{share} {expected}");
    // The way back is thin and clean.
    assert_eq!(up.rate_bps(Tai(9 * SECOND)), 256e3);
    assert!(matches!(up.offer(Tai(9 * SECOND), 100), Verdict::DeliverAt(_)));
    assert_eq!(up.offer(Tai(0), 100), Verdict::Dropped(Reason::Invisible));
}

#[test]
fn a_deep_fade_costs_the_lock() {
    let shadows = "[channel]\nshadowing = { open_s = 20, shadow_s = 5, rice_db = 15, \
                   shadow_mean_db = 40, shadow_sigma_db = 1 }";
    let of = described(X_BAND, &[("[channel]", shadows)]);
    let link = RadioLink::fly(&of, &pass(), Weather::Seeded(2)).unwrap();
    let moments: Vec<_> = link.moments().collect();
    let dark = moments.iter().filter(|(_, moment)| moment.es_n0_db < -10.0).count();
    let unlocked = moments.iter().filter(|(_, moment)| !moment.locked).count();
    // Each shadow costs its own time and the search after it.
    assert!(dark > 1_000 && unlocked > dark + 800, "{dark} {unlocked}");
}

#[test]
fn absurd_passes_are_refused() {
    let of = described(KA_BAND, &[]);
    let long = Track::new(Tai(0), 1_000 * SECOND, vec![Some((38_000.0, 35.0)); 1_000]);
    assert!(matches!(RadioLink::fly(&of, &long, Weather::Clear), Err(RadioError::TooLong { .. })));
    let empty = Track::new(Tai(0), SECOND, vec![None]);
    assert!(matches!(RadioLink::fly(&of, &empty, Weather::Clear), Err(RadioError::Empty)));
}
