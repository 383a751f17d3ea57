//! The steps of rate and round trip that a ground tells of a contact.

use codecs::{link::wire::PlannedContact, time::Tai};
use groundstation::contacts::Stepped;

use super::{Along, SECOND_NS, Window, flight_ns};

/// A change of the flight that a budget's plan makes a step of, ns.
pub(super) const DELAY_NS: i64 = 1_000_000;
/// Most steps of a contact: as many as are told beside the contacts of a week.
const STEPS_MAX: usize = 32;
/// Change of rate that a step holds, as a part, and of the round trip: a window has room for more
/// than that. Wider where the contact would have too many.
const RATE_PART: f64 = 0.05;
const RTT_PART: f64 = 0.2;
const WIDER: f64 = 1.25;

/// A time at one rate.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from: Tai,
    to: Tai,
    rate_bps: f64,
    delay_ns: i64,
}

impl Piece {
    fn seconds(&self) -> f64 {
        self.to.since(self.from) as f64 / 1e9
    }
}

/// What is planned of a contact.
pub(super) fn of(window: &Window, rate_bps: f64, ground_ns: i64) -> Stepped {
    let pieces = pieces(window, rate_bps);
    let bits: f64 = pieces.iter().map(|piece| piece.rate_bps * piece.seconds()).sum();
    let seconds = window.to.since(window.from) as f64 / 1e9;
    let rtt_ns = |delay_ns: i64| (2 * delay_ns + ground_ns).max(0).unsigned_abs();
    let middle = window.from.plus(window.to.since(window.from) / 2);
    let whole = PlannedContact {
        rise: window.rise,
        set: window.to,
        rate_bps: (bits / seconds.max(1e-9)) as u64,
        rtt_ns: rtt_ns(flight_ns(window.range_km(middle))),
    };
    let mut wide = 1.0;
    let steps = loop {
        let steps = merged(&pieces, wide);
        if steps.len() <= STEPS_MAX {
            break steps;
        }
        wide *= WIDER;
    };
    let changes = steps.iter().enumerate().map(|(at, step)| {
        // While receivers lock nothing is sent, and what comes first is at the first rate.
        let from = if at == 0 { window.rise } else { step.from };
        (from, step.rate_bps as u64, rtt_ns(step.delay_ns))
    });
    Stepped::new(whole, changes.collect())
}

/// The contact as finely as it is known.
fn pieces(window: &Window, rate_bps: f64) -> Vec<Piece> {
    let within = |piece: Piece| {
        let (from, to) = (piece.from.max(window.from), piece.to.min(window.to));
        (from < to && piece.rate_bps > 0.0).then_some(Piece { from, to, ..piece })
    };
    match &window.geometry {
        Along::Radio(radio) => {
            let ends = radio.planned.iter().skip(1).map(|next| next.from).chain([window.to]);
            let piece = |(of, to): (&crate::link::radio::Planned, Tai)| {
                let (from, delay_ns) = (of.from, of.delay_ns);
                within(Piece { from, to, rate_bps: of.rate_bps, delay_ns })
            };
            radio.planned.iter().zip(ends).filter_map(piece).collect()
        }
        Along::Fixed(range_km) => {
            let delay_ns = flight_ns(*range_km);
            within(Piece { from: window.from, to: window.to, rate_bps, delay_ns })
                .into_iter()
                .collect()
        }
        Along::Track(_) | Along::Steady(_) => {
            let seconds = window.to.since(window.from) / SECOND_NS;
            let piece = |second: i64| {
                let from = window.from.plus(second * SECOND_NS);
                let sky = window.sky(from)?;
                within(Piece {
                    from,
                    to: from.plus(SECOND_NS),
                    rate_bps: rate_bps * sky.rate_share,
                    delay_ns: flight_ns(sky.range_km),
                })
            };
            (0..=seconds).filter_map(piece).collect()
        }
    }
}

/// Pieces that are alike as one, at their mean rate and their shortest flight.
fn merged(pieces: &[Piece], wide: f64) -> Vec<Piece> {
    let mut steps: Vec<Piece> = Vec::new();
    let mut first = None::<Piece>;
    let differs = |a: f64, b: f64, part: f64| (a - b).abs() > part * wide * a.max(b);
    for piece in pieces {
        let alike = first.is_some_and(|first| {
            !differs(first.rate_bps, piece.rate_bps, RATE_PART)
                && !differs(first.delay_ns as f64, piece.delay_ns as f64, RTT_PART)
        });
        match steps.last_mut().filter(|last| alike && last.to == piece.from) {
            Some(last) => {
                let bits = last.rate_bps * last.seconds() + piece.rate_bps * piece.seconds();
                last.to = piece.to;
                last.rate_bps = bits / last.seconds();
                last.delay_ns = last.delay_ns.min(piece.delay_ns);
            }
            None => {
                steps.push(*piece);
                first = Some(*piece);
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use codecs::time::Tai;

    use super::{super::Windows, *};
    use crate::{contact::passes, link::budget::file, orbit::satellite};

    const LINK: &str = include_str!("../../../../missions/links/x-band.toml");
    const ELEMENTS: &str = include_str!("../../../../missions/sky-7/elements.json");

    /// A day of SKY-7 over the link's station, with the rate of each pass in steps or not.
    fn day(by_budget: bool) -> (Windows, f64) {
        let of = file::read("x-band.toml", LINK).unwrap();
        let satellites = satellite::read(ELEMENTS).unwrap();
        let set = satellites[0].elements().unwrap();
        let from = Tai::from_rfc3339("2026-11-23T09:00:00Z").unwrap();
        let sites = [(of.station.clone(), of.min_elevation_deg)];
        let to = from.plus(86_400 * SECOND_NS);
        let mut windows = Windows::of_orbit(set, &sites, from, to, SECOND_NS).unwrap();
        let rate_bps = if by_budget { windows.by_radio(&of, 3).unwrap() } else { 100e6 };
        assert_eq!(windows.iter().count(), passes(set, &sites[0].0, from, to, 5.0).unwrap().len());
        (windows, rate_bps)
    }

    #[test]
    fn a_contacts_steps_meet_and_carry_what_the_contact_does() {
        for by_budget in [true, false] {
            let (windows, rate_bps) = day(by_budget);
            for (window, told) in windows.iter().zip(windows.plan(rate_bps, 10_000_000)) {
                let (whole, parts) = (told.whole, told.parts);
                assert!(parts.len() <= STEPS_MAX, "{}", parts.len());
                assert!(parts.windows(2).all(|two| two[0].set == two[1].rise));
                let ends = (parts[0].rise, parts[parts.len() - 1].set);
                assert_eq!(ends, (window.rise, window.to));
                let of = |part: &PlannedContact| {
                    let from = part.rise.max(window.from);
                    part.set.since(from) as f64 / 1e9 * part.rate_bps as f64
                };
                let bits = parts.iter().map(of).sum::<f64>();
                let mean = of(&whole);
                assert!((bits / mean - 1.0).abs() < 0.01, "{bits} in steps, {mean} in one");
                // A high pass is far faster at its middle; no step hides that.
                if window.max_elevation_deg > 40.0 {
                    let most = parts.iter().map(|part| part.rate_bps).max().unwrap();
                    assert!(most as f64 > 1.25 * whole.rate_bps as f64, "{most} {whole:?}");
                    assert!(parts.len() > 10);
                }
                // Modems take 10 ms beside the flight.
                assert!(parts.iter().all(|part| part.rtt_ns > 13_000_000), "{parts:?}");
            }
        }
    }

    #[test]
    fn each_step_is_near_the_rate_that_is_flown_under_a_clear_sky() {
        let (mut windows, _) = day(false);
        let clear = file::read(
            "x-band.toml",
            &LINK.replace(
                "[channel]",
                "[channel]\nrain = false\nclouds = false\nscintillation = false",
            ),
        );
        let peak_bps = windows.by_radio(&clear.unwrap(), 1).unwrap();
        let plan = windows.plan(peak_bps, 0);
        for (window, told) in windows.iter().zip(&plan) {
            let seconds = window.to.since(window.from) / SECOND_NS;
            for at in (0..seconds).map(|second| window.from.plus(second * SECOND_NS)) {
                let step = told.parts.iter().find(|part| part.rise <= at && at < part.set);
                let (flown, told) = (peak_bps * window.share(at), step.unwrap().rate_bps as f64);
                assert!((told / flown - 1.0).abs() < 0.2, "{flown} flown, {told} told");
            }
        }
    }
}
