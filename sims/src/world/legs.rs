//! The links of one spacecraft over a scenario: its contacts with sites, and a leg each way.

mod steps;

use std::sync::Arc;

use codecs::time::Tai;
use groundstation::contacts::Stepped;

use super::{
    fades::{Faded, Fades},
    net::Leg,
};
use crate::{
    contact::{Pass, passes},
    link::{
        Disturbances, Fixed, Frames, Geometry, LIGHT_KM_S, LinkModel, LinkSettings, LossSettings,
        Sky, Track,
        budget::file::{ChannelTable, Described},
        radio::{Planned, RadioError, RadioLink, Weather},
    },
    orbit::{ElementSet, ElementsError, Station},
    rng::mix,
};

const SECOND_NS: i64 = 1_000_000_000;
/// A site's way to the station: a line of a gigabit over a few thousand kilometres.
const GROUND_BPS: f64 = 1e9;
const GROUND_DELAY_NS: i64 = 20_000_000;

/// A contact with a site.
#[derive(Clone, Debug)]
pub struct Window {
    /// Number of the site.
    pub site: usize,
    /// From when on datagrams pass: the rise, and the time that receivers take to lock.
    pub from: Tai,
    /// The set.
    pub to: Tai,
    /// When it rises.
    pub rise: Tai,
    /// Elevation at culmination, degrees.
    pub max_elevation_deg: f64,
    /// Which of the site's antennas hears it, from 1 on, where spacecraft compete for them.
    pub antenna: Option<usize>,
    geometry: Along,
}

#[derive(Clone, Debug)]
enum Along {
    Track(Track),
    /// The same at one rate, however far it is.
    Steady(Track),
    Fixed(f64),
    Radio(Arc<Radio>),
}

/// A pass by its link's budget.
#[derive(Debug)]
struct Radio {
    flown: RadioLink,
    /// What a planner expects, who knows the orbit and no weather.
    planned: Vec<Planned>,
    /// The greatest rate of all passes, bit/s.
    peak_bps: f64,
}

impl Window {
    /// A whole pass over a site.
    ///
    /// # Errors
    /// Elements that can't be flown so far.
    pub fn of_pass(
        satellite: &ElementSet,
        (site, station): (usize, &Station),
        pass: &Pass,
    ) -> Result<Self, ElementsError> {
        let track = Track::of_pass(satellite, station, pass)?;
        Ok(Self {
            site,
            rise: pass.rise,
            from: pass.rise,
            to: pass.set,
            max_elevation_deg: pass.max_elevation_deg,
            antenna: None,
            geometry: Along::Track(track.full_at(satellite.perigee_height_km())),
        })
    }

    /// What an antenna hears of it.
    pub fn planned(self, antenna: usize, (rise, to): (Tai, Tai), lock_ns: i64) -> Self {
        Self { antenna: Some(antenna), rise, from: rise.plus(lock_ns), to, ..self }
    }

    /// Rate at an instant, as a share of the rate overhead.
    pub fn share(&self, at: Tai) -> f64 {
        self.sky(at).map_or(0.0, |sky| sky.rate_share)
    }

    fn sky(&self, at: Tai) -> Option<Sky> {
        match &self.geometry {
            Along::Track(track) => track.sky(at),
            Along::Steady(track) => track.sky(at).map(|sky| Sky { rate_share: 1.0, ..sky }),
            Along::Fixed(range_km) => Some(Sky { range_km: *range_km, rate_share: 1.0 }),
            Along::Radio(radio) => radio.flown.sky(at).map(|sky| Sky {
                rate_share: sky.rate_share * radio.flown.peak_bps() / radio.peak_bps,
                ..sky
            }),
        }
    }

    /// Distance at an instant within it, whether or not anything passes then.
    fn range_km(&self, at: Tai) -> f64 {
        match &self.geometry {
            Along::Radio(radio) => radio.flown.moment(at).map_or(0.0, |moment| moment.range_km),
            _ => self.sky(at).map_or(0.0, |sky| sky.range_km),
        }
    }

    fn frames(&self, at: Tai) -> Option<Frames> {
        match &self.geometry {
            Along::Radio(radio) => radio.flown.frames(at),
            _ => None,
        }
    }
}

/// All contacts of a spacecraft, in order and apart from each other.
#[derive(Clone, Debug, Default)]
pub struct Windows(Vec<Window>, Fades);

impl Windows {
    /// From contacts that are in order and apart.
    pub fn of(windows: Vec<Window>) -> Self {
        Self(windows, Fades::default())
    }

    /// The same under a sky that closes now and then.
    pub fn faded(self, fades: Fades) -> Self {
        Self(self.0, fades)
    }

    /// Whether the sky is closed at an instant.
    pub fn is_faded(&self, at: Tai) -> bool {
        self.1.holds(at)
    }

    /// The passes over sites of a satellite. Where two see it, the one that saw it first keeps it
    /// until it sets.
    ///
    /// # Errors
    /// Elements that can't be flown so far.
    pub fn of_orbit(
        satellite: &ElementSet,
        sites: &[(Station, f64)],
        from: Tai,
        to: Tai,
        lock_ns: i64,
    ) -> Result<Self, ElementsError> {
        let mut found = Vec::new();
        for (site, (station, mask_deg)) in sites.iter().enumerate() {
            for pass in passes(satellite, station, from, to, *mask_deg)? {
                found.push((site, pass));
            }
        }
        found.sort_by_key(|(site, pass)| (pass.rise, *site));
        let mut windows: Vec<Window> = Vec::new();
        for (site, pass) in found {
            let free = windows.last().map_or(Tai(i64::MIN), |last| last.to);
            let rise = pass.rise.max(free);
            if rise.plus(lock_ns) >= pass.set {
                continue;
            }
            let Some((station, _)) = sites.get(site) else { continue };
            let whole = Window::of_pass(satellite, (site, station), &pass)?;
            windows.push(Window { rise, from: rise.plus(lock_ns), ..whole });
        }
        Ok(Self::of(windows))
    }

    /// Contacts at one distance: so long, every so often, the first `offset_ns` after the start.
    pub fn fixed(
        range_km: f64,
        (from, to): (Tai, Tai),
        (contact_ns, period_ns, offset_ns): (i64, i64, i64),
        lock_ns: i64,
    ) -> Self {
        let mut windows = Vec::new();
        let mut rise = from.plus(offset_ns);
        while rise < to {
            let set = rise.plus(contact_ns.min(period_ns)).min(to);
            if rise.plus(lock_ns) < set {
                windows.push(Window {
                    site: 0,
                    rise,
                    from: rise.plus(lock_ns),
                    to: set,
                    max_elevation_deg: 90.0,
                    antenna: None,
                    geometry: Along::Fixed(range_km),
                });
            }
            rise = rise.plus(period_ns.max(SECOND_NS));
        }
        Self::of(windows)
    }

    /// Lets a link's budget and its weather decide what passes, where the contacts are passes; the
    /// greatest rate, bit/s, which shares are of.
    ///
    /// # Errors
    /// A pass that is too long to be flown.
    pub fn by_radio(&mut self, of: &Described, seed: u64) -> Result<f64, RadioError> {
        let mut radios = Vec::new();
        for window in &self.0 {
            let Along::Track(track) = &window.geometry else { continue };
            let weather = Weather::Seeded(mix(seed ^ window.rise.0 as u64));
            let flown = RadioLink::fly(of, track, weather)?;
            let clear = RadioLink::fly(of, track, Weather::Clear)?;
            radios.push((flown, clear.plan(steps::DELAY_NS)));
        }
        let peak_bps = radios.iter().map(|(flown, _)| flown.peak_bps()).fold(1.0, f64::max);
        let tracks = self.0.iter_mut().filter(|of| matches!(of.geometry, Along::Track(_)));
        for (window, (flown, planned)) in tracks.zip(radios) {
            window.geometry = Along::Radio(Arc::new(Radio { flown, planned, peak_bps }));
        }
        Ok(peak_bps)
    }

    /// Sends at one rate over whole passes, as a radio does that nobody tells to change.
    pub fn steady(&mut self) {
        for window in &mut self.0 {
            if let Along::Track(track) = &window.geometry {
                window.geometry = Along::Steady(track.clone());
            }
        }
    }

    /// The contact that began last by an instant: where a unit was heard that arrives then.
    pub fn last(&self, at: Tai) -> Option<&Window> {
        let next = self.0.partition_point(|window| window.from <= at);
        self.0.get(next.checked_sub(1)?)
    }

    /// Cuts every contact where the path changes hands: so long after its start and every so long
    /// from there, a gap.
    pub fn cut(&mut self, every_ns: i64, gap_ns: i64) {
        let every_ns = every_ns.max(SECOND_NS);
        let mut parts = Vec::new();
        for window in &self.0 {
            let (mut from, mut next) = (window.from, window.from.plus(every_ns));
            while from < window.to {
                let to = next.min(window.to);
                parts.push(Window { rise: from, from, to, ..window.clone() });
                (from, next) = (next.plus(gap_ns), next.plus(every_ns));
            }
        }
        self.0 = parts;
    }

    /// What a link's file says of every pass beside its radio: outages after its rise, and hands
    /// that it goes through.
    pub fn disturb(&mut self, of: &Described) {
        let disturbances: Vec<_> =
            self.0.iter().map(|window| of.disturbances(window.rise)).collect();
        let outages: Vec<_> =
            disturbances.iter().flat_map(|of| of.outages.iter().copied()).collect();
        self.without(&outages);
        if let Some(handover) = disturbances.first().and_then(|of| of.handover) {
            self.cut(handover.every_ns, handover.gap_ns);
        }
    }

    /// Takes times out in which nothing passes.
    pub fn without(&mut self, outages: &[(Tai, Tai)]) {
        for (begin, end) in outages {
            let mut left = Vec::new();
            for window in self.0.drain(..) {
                let before = Window { to: window.to.min(*begin), ..window.clone() };
                let after = Window { from: window.from.max(*end), ..window };
                left.extend([before, after].into_iter().filter(|part| part.from < part.to));
            }
            left.dedup_by_key(|part| (part.from, part.to));
            self.0 = left;
        }
    }

    /// Each, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Window> {
        self.0.iter()
    }

    /// The contact at an instant, with its number.
    pub fn at(&self, at: Tai) -> Option<(usize, &Window)> {
        let index = self.0.partition_point(|window| window.to < at);
        self.0.get(index).filter(|window| window.from <= at).map(|window| (index, window))
    }

    /// What a ground would tell of them: each one's mean, and its steps of rate and round trip as
    /// the orbit and a clear sky have them. `ground_ns` is what both ways take beside the flight.
    pub fn plan(&self, rate_bps: f64, ground_ns: i64) -> Vec<Stepped> {
        self.0.iter().map(|window| steps::of(window, rate_bps, ground_ns)).collect()
    }

    /// Bits that a link of this rate at its best carries in a contact through its fades.
    pub fn bits(&self, window: &Window, rate_bps: f64) -> f64 {
        self.sum(window, |at| if self.is_faded(at) { 0.0 } else { window.share(at) }) * rate_bps
    }

    /// The integral of something over a contact, in seconds: by the middles of equal parts, of a
    /// second at most.
    fn sum(&self, window: &Window, of: impl Fn(Tai) -> f64) -> f64 {
        let length = window.to.since(window.from).max(0);
        let parts = (length / SECOND_NS + i64::from(length % SECOND_NS != 0)).max(1);
        let part = length as f64 / parts as f64;
        let middle = |n: i64| window.from.plus(((n as f64 + 0.5) * part) as i64);
        (0..parts).map(|n| of(middle(n))).sum::<f64>() * part / 1e9
    }
}

/// The same, as the link model asks for it.
#[derive(Clone, Debug)]
pub struct Shared {
    windows: Arc<Windows>,
    /// Up, where a budget decides nothing but whether there is lock.
    back: bool,
}

impl Shared {
    /// One direction over these contacts.
    pub fn new(windows: &Arc<Windows>, direction: &Direction) -> Self {
        Self { windows: Arc::clone(windows), back: direction.back }
    }
}

impl Geometry for Shared {
    fn sky(&self, at: Tai) -> Option<Sky> {
        let window = self.windows.at(at)?.1;
        let sky = window.sky(at)?;
        let steady = self.back && matches!(window.geometry, Along::Radio(_));
        Some(if steady { Sky { rate_share: 1.0, ..sky } } else { sky })
    }

    fn frames(&self, at: Tai) -> Option<Frames> {
        if self.back { None } else { self.windows.at(at)?.1.frames(at) }
    }
}

/// How one direction behaves.
#[derive(Clone, Copy, Debug)]
pub struct Direction {
    /// Rate overhead, bit/s.
    pub rate_bps: f64,
    /// Time spent on the ground beside the flight.
    pub ground_delay_ns: i64,
    /// Longest wait in the queue.
    pub queue_ns: i64,
    /// What is lost.
    pub loss: LossSettings,
    /// Share of datagrams that come late, and by up to how many ns.
    pub late: (f64, i64),
    /// Share of datagrams that come twice.
    pub twice_share: f64,
    /// Up to the spacecraft.
    pub back: bool,
    /// Units of modems pass instead of datagrams.
    pub modem: bool,
}

impl Direction {
    /// The same with the queue, delay, losses and disorder that a link's file says.
    pub fn through(self, channel: &ChannelTable, rate_bps: f64) -> Self {
        const MILLISECOND_NS: f64 = 1e6;
        Self {
            rate_bps,
            ground_delay_ns: (channel.ground_delay_ms * MILLISECOND_NS) as i64,
            queue_ns: (channel.queue_ms * MILLISECOND_NS) as i64,
            loss: LossSettings { mean: channel.loss_share, burst_packets: channel.burst_packets },
            late: (channel.reorder_share, (channel.reorder_ms * MILLISECOND_NS) as i64),
            twice_share: channel.duplicate_share,
            ..self
        }
    }

    /// What a link model goes by; fades are no part of it.
    pub fn settings(&self, seed: u64) -> LinkSettings {
        LinkSettings {
            rate_bps: self.rate_bps,
            ground_delay_ns: self.ground_delay_ns,
            queue_ns: self.queue_ns,
            loss: self.loss,
            seed,
        }
    }
}

/// A leg over these contacts.
pub fn leg(windows: &Arc<Windows>, direction: &Direction, seed: u64) -> Box<dyn Leg> {
    let model = LinkModel::new(direction.settings(seed), Shared::new(windows, direction));
    let model = if direction.modem { model.without_overhead() } else { model };
    let model = match (direction.late.0 > 0.0 || direction.twice_share > 0.0).then(Default::default)
    {
        None => model,
        Some(disturbances) => model.with_disturbances(Disturbances {
            late_share: direction.late.0,
            late_ns: direction.late.1,
            twice_share: direction.twice_share,
            ..disturbances
        }),
    };
    if direction.back {
        return Box::new(model);
    }
    let windows = Arc::clone(windows);
    Box::new(Faded { inner: model, fades: move |at| windows.is_faded(at) })
}

/// A leg between an antenna's site and the station: a way that is there all the time.
pub fn ground(seed: u64) -> Box<dyn Leg> {
    let settings = LinkSettings {
        rate_bps: GROUND_BPS,
        ground_delay_ns: GROUND_DELAY_NS,
        queue_ns: SECOND_NS / 10,
        loss: LossSettings::NONE,
        seed,
    };
    Box::new(LinkModel::new(settings, Fixed { range_km: 0.0 }))
}

/// One-way flight over a distance, nanoseconds.
pub fn flight_ns(range_km: f64) -> i64 {
    (range_km / LIGHT_KM_S * 1e9) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600 * SECOND_NS;

    fn windows() -> Windows {
        Windows::fixed(1_000.0, (Tai(0), Tai(10 * HOUR)), (HOUR, 4 * HOUR, HOUR), SECOND_NS)
    }

    #[test]
    fn contacts_come_in_order_and_datagrams_pass_after_the_lock() {
        let windows = windows();
        assert_eq!(windows.iter().count(), 3);
        assert!(windows.at(Tai(HOUR)).is_none(), "receivers lock");
        assert_eq!(windows.at(Tai(HOUR + SECOND_NS)).map(|(index, _)| index), Some(0));
        assert!(windows.at(Tai(3 * HOUR)).is_none());
        assert_eq!(windows.at(Tai(5 * HOUR + 2 * SECOND_NS)).map(|(index, _)| index), Some(1));
        let plan = windows.plan(1e6, 0);
        assert_eq!((plan[0].whole.rise, plan[0].whole.set), (Tai(HOUR), Tai(2 * HOUR)));
        assert_eq!(plan[0].whole.rate_bps, 1_000_000);
        assert_eq!(plan[0].parts, [plan[0].whole], "nothing changes");
    }

    #[test]
    fn outages_and_handovers_leave_holes() {
        let mut windows = windows();
        windows.without(&[(Tai(HOUR + HOUR / 2), Tai(6 * HOUR))]);
        assert_eq!(windows.iter().count(), 2);
        assert!(
            windows.at(Tai(HOUR + HOUR / 4)).is_some()
                && windows.at(Tai(5 * HOUR + HOUR / 2)).is_none()
        );
        let mut windows = self::windows();
        windows.cut(60 * SECOND_NS, 5 * SECOND_NS);
        assert!(windows.iter().count() > 100);
        assert!(windows.at(Tai(HOUR + 63 * SECOND_NS)).is_none());
        assert!(windows.at(Tai(HOUR + 70 * SECOND_NS)).is_some());
        // Contacts of 1.9 s count as what they are.
        let mut windows = self::windows();
        windows.cut(2 * SECOND_NS, SECOND_NS / 10);
        let bits: f64 = windows.iter().map(|window| windows.bits(window, 1e6)).sum();
        let open: i64 = windows.iter().map(|window| window.to.since(window.from)).sum();
        assert!((bits - open as f64 / 1e3).abs() < 1.0, "{bits} bits in {open} ns");
    }
}
