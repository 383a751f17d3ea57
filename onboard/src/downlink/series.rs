//! The plan of one bearer's link over time, for whoever paces by it.

use codecs::{
    link::congestion::{Series, Step},
    time::Tai,
};

use super::{Bearer, Contact, Downlink, SECOND_NS};

/// How far ahead steps are told: longer than any low pass, and a plan is read anew every second.
const AHEAD_NS: i64 = 3_600 * SECOND_NS;

impl Downlink {
    /// Rate and round trip of a bearer's link by the plan, on the clock of `now_ns`; nothing where
    /// no plan is believed. Contacts that meet are steps of one. What is known least is when a
    /// contact begins and ends, so its first and last step are as wide as time may be off.
    pub fn series(&self, bearer: Bearer, now_ns: u64) -> Series {
        let Some((now, margin)) = self.time(now_ns) else { return Series::default() };
        let is_near = |of: &&Contact| {
            of.bearer.is_none_or(|of| of == bearer)
                && of.planned.set.plus(margin) > now
                && of.planned.rise.plus(-margin) <= now.plus(AHEAD_NS)
        };
        let near: Vec<&Contact> =
            self.live(now, margin).unwrap_or_default().iter().filter(is_near).collect();
        let edges = near.iter().flat_map(|of| {
            let (rise, set) = (of.planned.rise, of.planned.set);
            [rise.plus(-margin), rise, set, set.plus(margin)]
        });
        let step = |at: Tai| {
            let within = |margin: i64| {
                let lasts = move |of: &&&Contact| {
                    of.planned.rise.plus(-margin) <= at && at < of.planned.set.plus(margin)
                };
                near.iter().filter(lasts).map(|of| of.planned).max_by_key(|of| of.rate_bps)
            };
            // Between two stations the better one is what an antenna would take.
            let best = within(0).or_else(|| within(margin));
            let since = i128::from(now_ns) + i128::from(at.0) - i128::from(now.0);
            Step {
                from_ns: u64::try_from(since.max(0)).unwrap_or(u64::MAX),
                rate_bps: best.map_or(0, |of| of.rate_bps),
                rtt_ns: best.map_or(0, |of| of.rtt_ns),
            }
        };
        let mut edges: Vec<Tai> = edges.collect();
        edges.sort_unstable();
        edges.dedup();
        Series::new(edges.into_iter().map(step).collect())
    }
}
