//! What scoring allocates: nothing a sample, nor a window that statistics judge.

use codecs::time::Tai;
use onboard::score::{TelemetryScorer, TelemetrySettings, features::Window};
use tests::sys::count::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn value(index: i64) -> f64 {
    (index as f64 / 7.0).sin() * 100.0
}

fn second(index: i64) -> Tai {
    Tai(index * 1_000_000_000)
}

#[test]
fn samples_and_features_cost_no_allocation() {
    let mut window = Window::new(64);
    (0..64).for_each(|index| window.push(second(index), value(index)));
    let first = window.features();
    let (taken, last) = allocations(|| {
        let mut last = first;
        for index in 64..5000 {
            window.push(second(index), value(index));
            if index % 16 == 0 {
                last = window.features();
            }
        }
        last
    });
    assert_ne!(first, last);
    assert_eq!(taken, 0);
}

#[test]
fn judging_by_statistics_costs_no_allocation() {
    let mut scorer = TelemetryScorer::new(None, TelemetrySettings::default()).unwrap();
    let channels: Vec<_> =
        (0..20).map(|channel| scorer.watch(&format!("channel {channel}")).unwrap()).collect();
    let mut fly = |seconds: std::ops::Range<i64>| {
        let mut judged = 0;
        for index in seconds {
            for channel in &channels {
                scorer.take(*channel, second(index), value(index));
            }
            scorer.judge(&mut |_| judged += 1);
        }
        judged
    };
    // The first windows that wait together make room for all later ones.
    fly(0..80);
    let (taken, judged) = allocations(|| fly(80..4080));
    assert_eq!((taken, judged), (0, 20 * 4000 / 16));
}
