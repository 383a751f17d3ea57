//! What the daemon's memory reaches, beside what `check` said that it may.

use super::{
    client::{Client, Station, object_of},
    range,
};

/// Connects so many spacecraft, lets each deliver, and measures while all are connected.
async fn measure(count: u16) -> (u64, u64, u64) {
    let station = Station::fleet(count);
    let budget = station.budget();
    let mut clients = Vec::new();
    for id in 1..=count {
        let identity = station.identity(&format!("s{id}"));
        let mut client = Client::connect(&station, Some(identity)).await.unwrap();
        client.hello(1).await;
        clients.push((id, client));
    }
    for (id, client) in &clients {
        for first in (0..400).step_by(100) {
            client.object(object_of(*id, 1, first, 100, |_| {})).await;
        }
    }
    for (_, client) in &mut clients {
        client.receipted(1, range(399, 399)).await;
    }
    let (now, highest) = station.memory();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{count} spacecraft connected: RSS {:.1} MiB, highest {:.1}, budget {:.1}",
        mib(now),
        mib(highest),
        mib(budget)
    );
    (now, highest, budget)
}

#[tokio::test]
async fn four_spacecraft_fit_in_64_megabytes() {
    let (_, highest, budget) = measure(4).await;
    assert!(highest < 64_000_000, "{highest}");
    assert!(highest < budget, "{highest} of {budget}");
}

#[tokio::test]
async fn a_hundred_spacecraft_stay_within_the_printed_budget() {
    let (_, highest, budget) = measure(100).await;
    assert!(highest < budget, "{highest} of {budget}");
    // The budget is the sum of bounds that meet only under attack; without one there is room.
    assert!(highest < 300_000_000, "{highest}");
}
