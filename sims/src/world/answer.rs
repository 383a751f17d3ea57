//! What a run came to: plain values, for whoever prints, plots or stores them.

use codecs::time::Tai;
use serde::Serialize;

use super::{conserve::Conservation, pools::JobsAnswer};

/// What a scenario came to.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// Name of the scenario.
    pub scenario: String,
    /// Seed that it was flown with.
    pub seed: u64,
    /// When it starts, nanoseconds TAI.
    pub start_ns: i64,
    /// How long it lasts, seconds.
    pub duration_s: u64,
    /// Spacecraft of the scenario; where a flight was stopped, not all may have been flown.
    pub spacecraft: usize,
    /// Sites of antennas, as contacts name them by number.
    pub sites: Vec<Site>,
    /// Each spacecraft.
    pub craft: Vec<CraftAnswer>,
    /// Units by what became of them, over all spacecraft.
    pub conservation: Conservation,
    /// Datagrams and frames that were sent, as one number: the same for the same binary, scenario
    /// and seed.
    pub trace: u64,
    /// Datagrams and frames that were sent.
    pub sent: u64,
    /// Faults that came.
    pub faults: Vec<FaultAnswer>,
    /// What became of jobs; none where the scenario has none.
    pub jobs: Option<JobsAnswer>,
    /// Antennas, where spacecraft compete for them: as they were planned for the time that was flown.
    pub antennas: Vec<AntennaAnswer>,
}

/// What an antenna did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AntennaAnswer {
    /// Number of its site.
    pub site: usize,
    /// Which of the site's, from 1 on.
    pub number: usize,
    /// Contacts that it was given.
    pub contacts: u64,
    /// Seconds of them.
    pub contact_s: f64,
    /// Seconds of work: those, and set-up and tear-down.
    pub busy_s: f64,
}

/// An antenna's site.
#[derive(Clone, Debug, Serialize)]
pub struct Site {
    /// Name.
    pub name: String,
    /// Degrees north; none where the scenario has no place on Earth.
    pub latitude_deg: Option<f64>,
    /// Degrees east.
    pub longitude_deg: Option<f64>,
}

/// A fault that came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultAnswer {
    /// Seconds since the start.
    pub at_s: f64,
    /// What.
    pub what: String,
    /// Number of the spacecraft; none for the station.
    pub craft: Option<usize>,
}

/// What became of one spacecraft.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CraftAnswer {
    /// Name.
    pub name: String,
    /// Its state over time.
    pub series: Vec<Sample>,
    /// Its contacts, in order of rise.
    pub contacts: Vec<ContactAnswer>,
    /// When each unit was captured and archived, in order of archiving.
    pub latency: Vec<LatencySample>,
    /// Where it was; empty where it has no orbit around the Earth.
    pub ground_track: Vec<TrackPoint>,
    /// Where the bytes of its sensors are.
    pub sources: SourceBytes,
    /// Packets that sensors made.
    pub packets: u64,
    /// Their bytes.
    pub packet_bytes: u64,
    /// Units archived.
    pub delivered_units: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Bytes of objects handed to the transport, repeats included; payload of frames over RF.
    pub object_bytes: u64,
    /// Bytes that the link could have carried in its contacts.
    pub capacity_bytes: u64,
    /// Bytes that arrived over the link, all headers but IP's and UDP's included.
    pub carried_bytes: u64,
    /// Connections made.
    pub connections: u64,
    /// Times that it started.
    pub boots: u64,
    /// Frames that its radio sent; 0 without one.
    pub frames: u64,
    /// Of these, what noise took.
    pub frames_lost: u64,
    /// Of these, what was sent while nobody heard it.
    pub frames_unheard: u64,
    /// Seconds that it was flown: less than the scenario lasts where it was stopped.
    pub flown_s: f64,
    /// Passes that there were to hear while it was flown, where spacecraft compete for antennas.
    pub passes: u64,
    /// Their seconds.
    pub passes_s: f64,
    /// Of these, passes that no antenna heard.
    pub unserved: u64,
    /// Their seconds.
    pub unserved_s: f64,
}

/// The state of a spacecraft at one time; sums are since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the start.
    pub at_s: f64,
    /// Units on board without a receipt.
    pub backlog_units: u64,
    /// Their bytes.
    pub backlog_bytes: u64,
    /// Bytes of packets made so far.
    pub made_bytes: u64,
    /// Bytes of units archived so far.
    pub delivered_bytes: u64,
    /// Bytes that arrived over the link so far.
    pub carried_bytes: u64,
    /// Rate of the link now, bit/s; 0 between contacts.
    pub rate_bps: f64,
}

/// A contact.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ContactAnswer {
    /// Number of the site.
    pub site: usize,
    /// Rise, seconds since the start.
    pub rise_s: f64,
    /// Set, seconds since the start.
    pub set_s: f64,
    /// Elevation at culmination, degrees; 90 where the scenario has no place on Earth.
    pub max_elevation_deg: f64,
    /// Which of the site's antennas, from 1 on, where spacecraft compete for them.
    pub antenna: Option<usize>,
    /// Bytes that the link could have carried.
    pub capacity_bytes: u64,
    /// Bytes that arrived over it.
    pub carried_bytes: u64,
}

/// A unit's way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencySample {
    /// When what is in it was captured first, seconds since the start.
    pub captured_s: f64,
    /// When it was durable on board, seconds since the start.
    pub stored_s: f64,
    /// When its object was handed to the transport first, seconds since the start.
    pub sent_s: f64,
    /// When it was handed on last: later than that where it went again.
    pub last_sent_s: f64,
    /// When it was archived and synced, seconds since the start.
    pub archived_s: f64,
    /// Its bytes.
    pub bytes: u32,
    /// Its channel.
    pub channel: u64,
}

impl LatencySample {
    /// Seconds from capture to archive.
    pub fn latency_s(&self) -> f64 {
        self.archived_s - self.captured_s
    }
}

/// A point of a ground track.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TrackPoint {
    /// Seconds since the start.
    pub at_s: f64,
    /// Degrees north.
    pub latitude_deg: f64,
    /// Degrees east.
    pub longitude_deg: f64,
    /// Kilometres above the ellipsoid.
    pub height_km: f64,
}

/// Bytes that sensors made, by where they are at the end: `made` is the sum of all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceBytes {
    /// All that sensors made.
    pub made: u64,
    /// In units of the archive.
    pub archived: u64,
    /// In units on board that are to come down.
    pub waiting: u64,
    /// In units that stay on board until somebody asks for them.
    pub kept: u64,
    /// In blocks that are still open, or on their way into the store.
    pub open: u64,
    /// Left out by the policy, as voids tell.
    pub left_out: u64,
    /// In units that were given up for want of room, as voids tell.
    pub given_up: u64,
    /// Lost with the power before they were durable, or with a damaged store.
    pub lost: u64,
    /// Not taken: there was no power, or the store could write nothing.
    pub not_taken: u64,
}

impl SourceBytes {
    /// The places with their names, in the order of a byte's way.
    pub fn places(&self) -> [(&'static str, u64); 8] {
        [
            ("archived", self.archived),
            ("on board", self.waiting),
            ("kept on board until asked for", self.kept),
            ("in open blocks", self.open),
            ("left out", self.left_out),
            ("given up for want of room", self.given_up),
            ("lost with the power", self.lost),
            ("not taken", self.not_taken),
        ]
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.made += other.made;
        self.archived += other.archived;
        self.waiting += other.waiting;
        self.kept += other.kept;
        self.open += other.open;
        self.left_out += other.left_out;
        self.given_up += other.given_up;
        self.lost += other.lost;
        self.not_taken += other.not_taken;
    }
}

/// Latency within which a share of the delivered bytes came, 0 to 1; none where nothing did. By bytes,
/// since a spacecraft's own short records, made while it is heard, would outnumber what it is for.
pub fn latency_quantile<'a>(
    samples: impl IntoIterator<Item = &'a LatencySample>,
    quantile: f64,
) -> Option<f64> {
    let mut all: Vec<(f64, u64)> =
        samples.into_iter().map(|of| (of.latency_s(), of.bytes.into())).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bytes: u64 = all.iter().map(|of| of.1).sum();
    let wanted = (bytes as f64 * quantile.clamp(0.0, 1.0)).ceil() as u64;
    let mut so_far = 0;
    let reached = |of: &&(f64, u64)| {
        so_far += of.1;
        so_far >= wanted
    };
    all.iter().find(reached).map(|of| of.0)
}

impl Answer {
    /// Latency from capture to archive over all spacecraft, by bytes, seconds.
    pub fn latency_s(&self, quantile: f64) -> Option<f64> {
        latency_quantile(self.craft.iter().flat_map(|craft| &craft.latency), quantile)
    }

    /// Share of what the links could have carried that was used.
    pub fn capacity_share(&self) -> f64 {
        let sum = |of: fn(&CraftAnswer) -> u64| self.craft.iter().map(of).sum::<u64>() as f64;
        sum(|craft| craft.carried_bytes) / sum(|craft| craft.capacity_bytes).max(1.0)
    }

    /// Seconds that the spacecraft flown longest was flown.
    pub fn flown_s(&self) -> f64 {
        self.craft.iter().map(|craft| craft.flown_s).fold(0.0, f64::max)
    }

    /// Whether it was ended early: some spacecraft was not flown to the end.
    pub fn is_part(&self) -> bool {
        let short = |craft: &CraftAnswer| craft.flown_s + 1.0 < self.duration_s as f64;
        self.craft.len() < self.spacecraft || self.craft.iter().any(short)
    }

    /// When it starts.
    pub fn start(&self) -> Tai {
        Tai(self.start_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_taken_over_what_was_delivered() {
        let sample = |archived_s| LatencySample {
            captured_s: 1.0,
            stored_s: 1.0,
            sent_s: 1.0,
            last_sent_s: 1.0,
            archived_s,
            bytes: 1,
            channel: 0,
        };
        let samples: Vec<_> = (0..=100).map(|n| sample(1.0 + f64::from(100 - n))).collect();
        assert_eq!(latency_quantile(&samples, 0.5), Some(50.0));
        assert_eq!(latency_quantile(&samples, 0.99), Some(99.0));
        let mut heavy = samples;
        heavy[0].bytes = 300;
        assert_eq!(latency_quantile(&heavy, 0.5), Some(100.0), "most bytes came last");
        assert_eq!(latency_quantile(&[], 0.5), None);
    }
}
