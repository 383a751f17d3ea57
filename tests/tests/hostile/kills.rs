//! SIGKILL at arbitrary instants under load: nothing receipted is missing, nothing stands twice.
//! This shows the process surviving, not the disk: that is the forgetful double's to show, in the
//! archive's own tests.

use super::client::{Client, Station, object};
use codecs::{
    ids::{Channel, RangeSet, SeqRange},
    link::wire::Message,
};
use std::time::Duration;

/// Kills without `KILLS` in the environment.
const KILLS_DEFAULT: u64 = 200;
/// Kills of one station: its archive stays small enough to be proved in a moment.
const KILLS_A_STATION: u64 = 500;
const STREAM: u32 = 1;
const UNITS_AN_OBJECT: u64 = 7;

/// Sends objects until the connection breaks: first those of before that are not held whole, then
/// new ones. Receipts go to `receipted`.
async fn load(
    mut client: Client,
    held: &RangeSet,
    next: &mut u64,
    receipted: &mut RangeSet,
    mut counted: impl FnMut(u64),
) {
    let whole = |first: u64| SeqRange { first, last: first + UNITS_AN_OBJECT - 1 };
    let known = *next;
    let mut again = (0..known)
        .step_by(UNITS_AN_OBJECT as usize)
        .filter(|first| !held.missing_from(whole(*first)).is_empty());
    let connection = client.connection.clone();
    loop {
        let opened = tokio::select! {
            stream = connection.open_uni() => stream,
            message = client.message() => {
                let Ok(message) = message else { return };
                if let Message::Receipts { entries, .. } = message {
                    let entries =
                        entries.iter().filter(|keys| keys.channel == Channel::stream(STREAM));
                    entries.flat_map(|keys| &keys.ranges).for_each(|r| receipted.insert(*r));
                    counted(receipted.count());
                }
                continue;
            }
        };
        let Ok(mut stream) = opened else { return };
        let first = again.next().unwrap_or_else(|| {
            *next += UNITS_AN_OBJECT;
            *next - UNITS_AN_OBJECT
        });
        let bytes = object(STREAM, first, UNITS_AN_OBJECT, |_| {});
        if stream.write_all(&bytes).await.is_err() || stream.finish().is_err() {
            return;
        }
        // Breathe, so that receipts are read.
        tokio::task::yield_now().await;
    }
}

/// What one station lived through.
struct Toll {
    receipted: RangeSet,
    /// From the start of the daemon to its first receipt, in milliseconds.
    first_receipt_ms: Vec<u64>,
}

/// Kills a station so many times under load; what it receipted is held at each return, and in the
/// archive at the end, once. The wall clock steps by an hour, to and fro, at each restart.
async fn kill(kills: u64, seed: &mut u64) -> Toll {
    let mut station = Station::start();
    station.configure(|text| {
        let small = "[archive]\nsegment_bytes = 4_194_304";
        text.replace("[archive]", small) + "\n[clock]\nsimulated_offset_s = 0.0\n"
    });
    let (mut next, mut receipted, mut first_receipt_ms) = (0u64, RangeSet::new(), Vec::new());
    for kill in 0..kills {
        let mut client = Client::connect(&station, Some(station.identity("a"))).await.unwrap();
        let durable = client.hello(kill).await;
        let held: RangeSet = durable.iter().flat_map(|keys| &keys.ranges).copied().collect();
        for range in receipted.ranges() {
            assert_eq!(held.missing_from(*range), [], "receipted before kill {kill}, not held");
        }
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lives = Duration::from_millis(5 + (*seed >> 33) % 120);
        let (before, mut first) = (receipted.count(), None);
        let loaded = load(client, &held, &mut next, &mut receipted, |count| {
            if count > before {
                first.get_or_insert_with(|| station.started.elapsed().as_millis() as u64);
            }
        });
        let _ = tokio::time::timeout(lives, loaded).await;
        first_receipt_ms.extend(first);
        let step = [3_600.0, 0.0, -3_600.0, 0.0][kill as usize % 4];
        station = station.kill_and_restart_after(|text| {
            let (rest, _) = text.split_once("simulated_offset_s = ").unwrap();
            format!("{rest}simulated_offset_s = {step:?}\n")
        });
    }
    let audit = station.audit();
    assert_eq!(audit["duplicates"], 0, "{audit}");
    let found: RangeSet = audit["keys"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|key| key["ranges"].as_array().unwrap())
        .map(|range| SeqRange {
            first: range[0].as_u64().unwrap(),
            last: range[1].as_u64().unwrap(),
        })
        .collect();
    for range in receipted.ranges() {
        assert_eq!(found.missing_from(*range), [], "receipted and not on disk");
    }
    Toll { receipted, first_receipt_ms }
}

#[tokio::test]
async fn kills_under_load_lose_nothing_receipted() {
    let kills = std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS_DEFAULT);
    let (mut left, mut seed, mut receipted, mut waits) = (kills, 7u64, 0, Vec::new());
    while left > 0 {
        let here = left.min(KILLS_A_STATION);
        let toll = kill(here, &mut seed).await;
        receipted += toll.receipted.count();
        waits.extend(toll.first_receipt_ms);
        left -= here;
    }
    assert!(receipted > 0, "the load never got a receipt");
    waits.sort_unstable();
    println!(
        "{kills} kills: {receipted} units receipted, 0 missing, 0 twice; from start to first \
         receipt {} ms in the median, {} at the most",
        waits[waits.len() / 2],
        waits[waits.len() - 1],
    );
}
