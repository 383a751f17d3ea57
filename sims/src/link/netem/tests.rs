//! Settings against the link that they stand for.

use super::super::{Disturbances, Fixed, LinkSettings, Reason, Sky, Track, Verdict};
use super::*;

const SECOND: i64 = 1_000_000_000;

fn settings(loss: LossSettings) -> LinkSettings {
    LinkSettings { rate_bps: 1e6, ground_delay_ns: 5_000_000, queue_ns: SECOND / 5, loss, seed: 3 }
}

fn link(loss: LossSettings) -> LinkModel<Fixed> {
    // 100 ms of flight.
    LinkModel::new(settings(loss), Fixed { range_km: 29_979.245_8 })
}

fn command(setting: &Setting, header: usize) -> String {
    let commands = setting.commands("veth0", header);
    commands.iter().map(|words| words.join(" ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_link_is_told_as_tc_takes_it() {
    let clear = link(LossSettings::NONE).netem(Tai(0), Direction::Down).unwrap();
    assert_eq!(
        command(&clear, 14),
        "qdisc replace dev veth0 root handle 6e: netem limit 26 delay 105000us rate 1000000bit -14"
    );
    let noisy = link(LossSettings { mean: 0.2, burst_packets: 4.0 });
    let noisy = noisy.netem(Tai(0), Direction::Up).unwrap();
    // In: 0.25 * 0.2 / 0.8. A fifth of the air is lost, so as much of the rate. 128 bytes a packet.
    assert_eq!(
        command(&noisy, 0),
        "qdisc replace dev veth0 root handle 6e: netem limit 239 delay 105000us \
         loss gemodel 6.2500% 25.0000% 100% 0% rate 800000bit"
    );
}

#[test]
fn late_packets_wait_in_a_second_netem_and_copies_in_none() {
    let disturbed = |late_share, twice_share| {
        let late_ns = 8_000_000;
        let of = Disturbances { late_share, late_ns, twice_share, ..Disturbances::default() };
        link(LossSettings::NONE).with_disturbances(of).netem(Tai(0), Direction::Down)
    };
    let late = command(&disturbed(0.03, 0.0).unwrap(), 14);
    let second = "qdisc replace dev veth0 parent 6e:1 handle 6f: netem limit 26 \
                  delay 4000us 4000us reorder 97.0000%";
    assert_eq!(late.lines().nth(1), Some(second));
    let twice = command(&disturbed(0.0, 0.01).unwrap(), 14);
    assert!(twice.contains("duplicate 1.0000%") && twice.lines().count() == 1, "{twice}");
    assert_eq!(disturbed(0.03, 0.01), Err(NetemError::CopiesAndLate));
}

#[test]
fn settings_change_with_the_pass_and_only_then() {
    // Out of sight, nearer, nearer, and out of sight again.
    let samples = vec![None, Some((2_000.0, 10.0)), Some((1_000.0, 60.0)), None];
    let track = Track::new(Tai(0), 10 * SECOND, samples);
    let link = LinkModel::new(settings(LossSettings::NONE), track);
    let mut shaper = Shaper::new(link, Direction::Down, SECOND / 2);
    let mut said = Vec::new();
    let mut now = Tai(0);
    while now < Tai(40 * SECOND) {
        if let Some(setting) = shaper.turn(now).unwrap() {
            said.push((now.0 / (SECOND / 2), setting.clone()));
        }
        assert!(shaper.turn(now).unwrap().is_none(), "once is enough");
        now = shaper.due();
    }
    let closed: Vec<i64> =
        said.iter().filter(|(_, of)| *of == Setting::Closed).map(|(at, _)| *at).collect();
    assert_eq!((closed[0], closed.len()), (0, 2), "{closed:?}");
    let open: Vec<&Netem> = said
        .iter()
        .filter_map(|(_, of)| if let Setting::Open(of) = of { Some(of) } else { None })
        .collect();
    assert_eq!(said[1].0, 20, "it rises at 10 s");
    assert!(open.len() >= 20, "every half second of the way: {}", open.len());
    assert!(open.windows(2).all(|pair| pair[0].rate_bps <= pair[1].rate_bps));
    assert!(open.windows(2).all(|pair| pair[0].delay_us >= pair[1].delay_us));
    // A quarter of the rate at twice the distance.
    assert_eq!((open[0].rate_bps, open[open.len() - 1].rate_bps), (250_000, 1_000_000));
    let steady = LinkModel::new(settings(LossSettings::NONE), Fixed { range_km: 500.0 });
    let mut steady = Shaper::new(steady, Direction::Down, SECOND);
    let changes = (0..100).filter(|n| steady.turn(Tai(n * SECOND)).unwrap().is_some()).count();
    assert_eq!(changes, 1);
}

/// A link whose code loses frames.
#[derive(Clone, Copy)]
struct Coded(Frames);

impl Geometry for Coded {
    fn sky(&self, _: Tai) -> Option<Sky> {
        Some(Sky { range_km: 0.0, rate_share: 1.0 })
    }

    fn frames(&self, _: Tai) -> Option<Frames> {
        Some(self.0)
    }
}

#[test]
fn netem_loses_as_often_and_in_such_bursts_as_the_link_does() {
    const PACKETS: i64 = 200_000;
    let burst = LossSettings { mean: 0.01, burst_packets: 3.0 };
    // Frames that hold several packets, and packets that take several frames.
    for (bits, error, loss) in
        [(64_800.0, 0.01, burst), (8_000.0, 0.01, LossSettings::NONE), (64_800.0, 0.002, burst)]
    {
        let mut link = LinkModel::new(settings(loss), Coded(Frames { bits, error }));
        let Setting::Open(of) = link.netem(Tai(0), Direction::Down).unwrap() else { panic!() };
        let [enter, leave] = of.turns.unwrap().map(|of| of as f64 / 1e6);
        let lost: Vec<bool> = (0..PACKETS)
            .map(|n| link.offer(Tai(n * SECOND), 1_452) == Verdict::Dropped(Reason::Lost))
            .collect();
        let share = lost.iter().filter(|lost| **lost).count() as f64 / PACKETS as f64;
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        let length = share * PACKETS as f64 / bursts;
        let (told, told_length) = (enter / (enter + leave), 1.0 / leave);
        assert!((share / told - 1.0).abs() < 0.1, "{bits}, {error}: {share} lost, {told} told");
        assert!(
            (length / told_length - 1.0).abs() < 0.25,
            "{bits}, {error}: {length} long, {told_length} told"
        );
        // What arrives of a full link is the same.
        assert_eq!(of.rate_bps, rounded(1e6 * (1.0 - told)));
    }
}
