//! A run in a few numbers.

use std::fmt;

use serde::Serialize;

use super::page::{bytes, duration, percent};
use crate::world::answer::{Answer, ContactAnswer, CraftAnswer, LatencySample, SourceBytes};
use crate::world::pools::JobsAnswer;
use crate::world::scenario::Scenario;

/// What a minute of contact costs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    /// Name of the money; empty where nothing costs.
    pub currency: String,
    /// A minute of contact, by the number of its site.
    pub per_minute: Vec<f64>,
}

impl Prices {
    /// The prices that a scenario states.
    pub fn of(scenario: &Scenario) -> Self {
        let Some(cost) = &scenario.cost else { return Self::default() };
        let usual = cost.per_minute;
        let sites = scenario.site.iter().map(|site| site.cost_per_minute.unwrap_or(usual));
        // A scenario without sites has one that is not named.
        let per_minute = if scenario.site.is_empty() { vec![usual] } else { sites.collect() };
        Self { currency: cost.currency.clone(), per_minute }
    }

    /// What a contact costs.
    pub fn contact(&self, contact: &ContactAnswer) -> f64 {
        let per_minute = self.per_minute.get(contact.site).copied().unwrap_or(0.0);
        per_minute * (contact.set_s - contact.rise_s) / 60.0
    }
}

/// Where a unit waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For company in a block, and for the store.
    Making,
    /// For a contact.
    Contact,
    /// For its turn in a contact.
    Turn,
    /// In contact, from its first sending to its last: what came before was lost, or not receipted.
    Again,
    /// For the link and the archive, from its last sending on.
    Link,
}

impl Wait {
    /// All of them, in the order of a unit's way.
    pub const ALL: [Self; 5] = [Self::Making, Self::Contact, Self::Turn, Self::Again, Self::Link];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Making => "block and store on board",
            Self::Contact => "contact",
            Self::Turn => "turn in the contact",
            Self::Again => "sent again",
            Self::Link => "link and archive",
        }
    }
}

/// Seconds in each place, in the order of [`Wait::ALL`]; their sum is the latency. While no contact is
/// open a unit waits for one, whether it was sent before or not.
pub fn waits_s(unit: &LatencySample, contacts: &[ContactAnswer]) -> [f64; 5] {
    let LatencySample { captured_s, stored_s, sent_s, last_sent_s, archived_s, .. } = *unit;
    let stored = (sent_s - stored_s).max(0.0);
    let turn = open_s(contacts, stored_s, sent_s).min(stored);
    let repeated = (last_sent_s - sent_s).max(0.0);
    let again = open_s(contacts, sent_s, last_sent_s).min(repeated);
    // What was on its way when a contact closed comes in all the same: only where another one had
    // risen by then did it wait for that.
    let risen = contacts.partition_point(|contact| contact.rise_s <= archived_s);
    let risen_s = contacts[..risen].last().map_or(last_sent_s, |contact| contact.rise_s);
    let until_s = risen_s.max(last_sent_s);
    let resumed = (until_s - last_sent_s - open_s(contacts, last_sent_s, until_s)).max(0.0);
    [
        stored_s - captured_s,
        stored - turn + repeated - again + resumed,
        turn,
        again,
        archived_s - last_sent_s - resumed,
    ]
}

/// Seconds of contact between two times.
fn open_s(contacts: &[ContactAnswer], from_s: f64, to_s: f64) -> f64 {
    // Contacts are in order: those before and behind need no look.
    let first = contacts.partition_point(|contact| contact.set_s < from_s);
    let during = contacts[first..].iter().take_while(|contact| contact.rise_s < to_s);
    during.map(|of| (of.set_s.min(to_s) - of.rise_s.max(from_s)).max(0.0)).sum()
}

/// Where bytes waited: a name, and how long a byte did on average.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waited {
    /// For what.
    pub wait: &'static str,
    /// Seconds.
    pub seconds: f64,
}

/// A run in a few numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The scenario's name.
    pub scenario: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Hash over everything that was sent, hexadecimal.
    pub trace: String,
    /// Simulated seconds, of the spacecraft flown longest.
    pub simulated_s: u64,
    /// Seconds that the scenario lasts.
    pub scenario_s: u64,
    /// Whether it was stopped early: all that follows is of the part that was flown.
    pub stopped: bool,
    /// Spacecraft that flew.
    pub spacecraft: usize,
    /// Contacts that there were.
    pub contacts: usize,
    /// Seconds of them.
    pub contact_s: f64,
    /// Packets that sensors made.
    pub packets: u64,
    /// Their bytes.
    pub packet_bytes: u64,
    /// Units that stores numbered durably.
    pub units: u64,
    /// Units in the archive.
    pub units_archived: u64,
    /// Units still on board.
    pub units_held: u64,
    /// Units that a void names.
    pub units_void: u64,
    /// Units that are told to be lost.
    pub units_lost: u64,
    /// What is against the custody contract, a line each; none is the only good number.
    pub broken: Vec<String>,
    /// Bytes of units in the archive.
    pub delivered_bytes: u64,
    /// Bytes on board without a receipt at the end.
    pub backlog_bytes: u64,
    /// Connections made.
    pub connections: u64,
    /// What the links could have carried, bytes.
    pub capacity_bytes: u64,
    /// Share of it that arrived, headers and repeats included.
    pub capacity_used: f64,
    /// Capture to archive, median by bytes, seconds; none without a delivery.
    pub latency_p50_s: Option<f64>,
    /// Capture to archive, 99 bytes in 100, seconds.
    pub latency_p99_s: Option<f64>,
    /// Where the bytes are that sensors made.
    pub sources: SourceBytes,
    /// Where bytes waited.
    pub waited: Vec<Waited>,
    /// Faults that came.
    pub faults: usize,
    /// Frames that radios sent.
    pub frames: u64,
    /// Frames that noise took.
    pub frames_lost: u64,
    /// Frames that were sent while nobody heard them.
    pub frames_unheard: u64,
    /// Passes that there were to hear for the spacecraft and the time that were flown; 0 where
    /// spacecraft compete for no antenna.
    pub passes: u64,
    /// Passes that no antenna heard.
    pub passes_unserved: u64,
    /// Seconds of them.
    pub unserved_s: f64,
    /// Antennas that spacecraft competed for.
    pub antennas: usize,
    /// Share of the time flown that these were at work, set-up and tear-down among it.
    pub antennas_busy: f64,
    /// What the contacts cost; none where the scenario has no prices.
    pub cost: Option<f64>,
    /// Its currency.
    pub currency: String,
    /// What became of heavy work; none where the scenario has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<JobsAnswer>,
}

impl Summary {
    /// The summary of an answer.
    pub fn of(answer: &Answer, prices: &Prices) -> Self {
        let total = |of: fn(&CraftAnswer) -> u64| answer.craft.iter().map(of).sum();
        let contacts = || answer.craft.iter().flat_map(|craft| &craft.contacts);
        let custody = &answer.conservation;
        Self {
            scenario: answer.scenario.clone(),
            seed: answer.seed,
            trace: format!("{:016x}", answer.trace),
            simulated_s: answer.flown_s().round() as u64,
            scenario_s: answer.duration_s,
            stopped: answer.is_part(),
            spacecraft: answer.craft.len(),
            contacts: contacts().count(),
            contact_s: contacts().map(|contact| contact.set_s - contact.rise_s).sum(),
            packets: total(|craft| craft.packets),
            packet_bytes: total(|craft| craft.packet_bytes),
            units: custody.numbered,
            units_archived: custody.archived,
            units_held: custody.held,
            units_void: custody.voided,
            units_lost: custody.lost,
            broken: custody.broken.clone(),
            delivered_bytes: total(|craft| craft.delivered_bytes),
            backlog_bytes: total(|craft| craft.series.last().map_or(0, |of| of.backlog_bytes)),
            connections: total(|craft| craft.connections),
            capacity_bytes: total(|craft| craft.capacity_bytes),
            capacity_used: answer.capacity_share(),
            latency_p50_s: answer.latency_s(0.5),
            latency_p99_s: answer.latency_s(0.99),
            sources: answer.craft.iter().fold(SourceBytes::default(), |mut sum, craft| {
                sum.add(&craft.sources);
                sum
            }),
            waited: waited(&answer.craft),
            faults: answer.faults.len(),
            frames: total(|craft| craft.frames),
            frames_lost: total(|craft| craft.frames_lost),
            frames_unheard: total(|craft| craft.frames_unheard),
            passes: total(|craft| craft.passes),
            passes_unserved: total(|craft| craft.unserved),
            unserved_s: answer.craft.iter().map(|craft| craft.unserved_s).sum(),
            antennas: answer.antennas.len(),
            antennas_busy: answer.antennas.iter().map(|of| of.busy_s).fold(0.0, std::ops::Add::add)
                / (answer.antennas.len() as f64 * answer.flown_s()).max(1.0),
            cost: (!prices.currency.is_empty())
                .then(|| contacts().map(|contact| prices.contact(contact)).sum()),
            currency: prices.currency.clone(),
            jobs: answer.jobs.clone(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |count: u64| bytes(count as f64);
        let part = match self.stopped {
            true => format!(" of {} (stopped early)", duration(self.scenario_s as f64)),
            false => String::new(),
        };
        let latency = |of: Option<f64>| of.map_or_else(|| "none".to_owned(), duration);
        writeln!(f, "{} (seed {})", self.scenario, self.seed)?;
        writeln!(
            f,
            "flown        {}{part}, {} spacecraft, {} of {} in all, {}, {}",
            duration(self.simulated_s as f64),
            self.spacecraft,
            counted(self.contacts as u64, "contact"),
            duration(self.contact_s),
            counted(self.connections, "connection"),
            counted(self.faults as u64, "fault")
        )?;
        writeln!(
            f,
            "delivered    {} in {} units; {} on board",
            size(self.delivered_bytes),
            self.units_archived,
            size(self.backlog_bytes)
        )?;
        // What is squeezed in units, as it was made; places that hold nothing go without a word.
        let places = self.sources.places().into_iter().enumerate();
        let places = places.filter(|(at, (_, bytes))| *at < 2 || *bytes > 0);
        let places = places.map(|(_, (place, bytes))| format!("{} {place}", size(bytes)));
        writeln!(
            f,
            "sensors made {}: {}",
            size(self.sources.made),
            places.collect::<Vec<_>>().join(", ")
        )?;
        writeln!(
            f,
            "latency      {} median, {} at the 99th percentile, from capture to archive, by bytes",
            latency(self.latency_p50_s),
            latency(self.latency_p99_s)
        )?;
        let waited = self.waited.iter().map(|of| format!("{} {}", duration(of.seconds), of.wait));
        writeln!(f, "waited for   {}, by bytes", waited.collect::<Vec<_>>().join(", "))?;
        let (used, capacity) = (percent(self.capacity_used), size(self.capacity_bytes));
        writeln!(f, "capacity     {used} used of {capacity}")?;
        if self.frames > 0 {
            let Self { frames, frames_lost, frames_unheard, .. } = self;
            writeln!(
                f,
                "radio        {frames} frames: {frames_lost} lost to noise, {frames_unheard} sent \
                 while nobody heard"
            )?;
        }
        if self.antennas > 0 {
            let (all, not) = (self.passes, self.passes_unserved);
            writeln!(
                f,
                "antennas     {} at work for {} of the time; {} of {all} passes not served, {}",
                self.antennas,
                percent(self.antennas_busy),
                not,
                duration(self.unserved_s)
            )?;
        }
        if let Some(cost) = self.cost {
            writeln!(f, "cost         {cost:.2} {}", self.currency)?;
        }
        if let Some(jobs) = &self.jobs {
            writeln!(
                f,
                "jobs         {} of {} done by pools, {} failed; {} median, {} at the 99th \
                 percentile, from archive to result; cost {:.2} {}",
                jobs.done,
                jobs.jobs,
                jobs.failed,
                latency(jobs.latency_p50_s),
                latency(jobs.latency_p99_s),
                jobs.cost,
                self.currency
            )?;
        }
        writeln!(
            f,
            "custody      {} units numbered: {} archived, {} held, {} left out or skipped, {} lost",
            self.units, self.units_archived, self.units_held, self.units_void, self.units_lost
        )?;
        for line in &self.broken {
            writeln!(f, "broken       {line}")?;
        }
        write!(f, "trace        {}", self.trace)
    }
}

/// A number of things.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn waited(craft: &[CraftAnswer]) -> Vec<Waited> {
    let mut sums = [0.0; Wait::ALL.len()];
    let mut bytes = 0.0;
    for craft in craft {
        for unit in &craft.latency {
            bytes += f64::from(unit.bytes);
            for (sum, wait) in sums.iter_mut().zip(waits_s(unit, &craft.contacts)) {
                *sum += wait * f64::from(unit.bytes);
            }
        }
    }
    let named = Wait::ALL.into_iter().zip(sums);
    named
        .map(|(wait, sum)| Waited { wait: wait.name(), seconds: sum / f64::max(bytes, 1.0) })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::world::{
        answer::{AntennaAnswer, Sample, Site, TrackPoint},
        conserve::Conservation,
    };
    use codecs::time::Tai;

    pub fn prices() -> Prices {
        Prices { currency: "EUR".into(), per_minute: vec![0.5] }
    }

    /// Two spacecraft, one contact each, one unit each.
    pub fn answer() -> Answer {
        let sample = |n: u32| Sample {
            at_s: f64::from(n) * 6.0,
            backlog_bytes: 1_000,
            delivered_bytes: 500,
            rate_bps: 1e6,
            ..Sample::default()
        };
        let point = |n: u32| TrackPoint {
            at_s: f64::from(n) * 6.0,
            latitude_deg: f64::from(n) / 10.0,
            longitude_deg: f64::from(n),
            height_km: 550.0,
        };
        let contact = ContactAnswer {
            site: 0,
            rise_s: 100.0,
            set_s: 400.0,
            max_elevation_deg: 40.0,
            antenna: Some(1),
            capacity_bytes: 2_000,
            carried_bytes: 600,
        };
        let craft = |name: &str, captured_s| CraftAnswer {
            name: name.into(),
            series: (0..100).map(sample).collect(),
            contacts: vec![contact],
            latency: vec![LatencySample {
                captured_s,
                stored_s: captured_s + 5.0,
                sent_s: 210.0,
                last_sent_s: 210.0,
                archived_s: 212.0,
                bytes: 500,
                channel: 1,
            }],
            ground_track: (0..100).map(point).collect(),
            sources: SourceBytes { made: 900, archived: 800, open: 100, ..SourceBytes::default() },
            passes: 3,
            unserved: 1,
            flown_s: 600.0,
            delivered_bytes: 500,
            capacity_bytes: 2_000,
            carried_bytes: 600,
            ..CraftAnswer::default()
        };
        let conservation = Conservation {
            numbered: 6,
            archived: 2,
            held: 2,
            voided: 2,
            ..Conservation::default()
        };
        Answer {
            scenario: "two <of> them".into(),
            seed: 7,
            start_ns: Tai::from_rfc3339("2026-11-27T03:00:00Z").unwrap().0,
            duration_s: 600,
            spacecraft: 2,
            sites: vec![Site {
                name: "Kiruna".into(),
                latitude_deg: Some(67.86),
                longitude_deg: Some(20.96),
            }],
            craft: vec![craft("SKY-7", 0.0), craft("SKY-8", 200.0)],
            conservation,
            trace: 0xabc,
            sent: 10,
            faults: vec![],
            jobs: None,
            antennas: vec![AntennaAnswer {
                site: 0,
                number: 1,
                contacts: 2,
                contact_s: 600.0,
                busy_s: 300.0,
            }],
        }
    }

    #[test]
    fn where_a_unit_waited_adds_up_to_its_latency() {
        let answer = answer();
        let waits = |of: &CraftAnswer| waits_s(&of.latency[0], &of.contacts);
        assert_eq!(waits(&answer.craft[0]), [5.0, 95.0, 110.0, 0.0, 2.0]);
        // Made while the contact lasted: it waited for no contact.
        assert_eq!(waits(&answer.craft[1]), [5.0, 0.0, 5.0, 0.0, 2.0]);
        for craft in &answer.craft {
            assert_eq!(waits(craft).iter().sum::<f64>(), craft.latency[0].latency_s());
        }
    }

    #[test]
    fn a_wait_over_several_contacts_is_split_among_them() {
        let unit = LatencySample { stored_s: 0.0, sent_s: 1_000.0, ..answer().craft[0].latency[0] };
        let unit = LatencySample { last_sent_s: 1_000.0, ..unit };
        let one = answer().craft[0].contacts[0];
        let at = |rise_s, set_s| ContactAnswer { rise_s, set_s, ..one };
        let contacts = [at(-50.0, -10.0), at(100.0, 200.0), at(500.0, 600.0), at(990.0, 1_400.0)];
        assert_eq!(waits_s(&unit, &contacts)[1..3], [790.0, 210.0]);
    }

    #[test]
    fn time_without_a_contact_is_a_wait_for_one_also_after_the_first_sending() {
        let one = answer().craft[0].contacts[0];
        let at = |rise_s, set_s| ContactAnswer { rise_s, set_s, ..one };
        let contacts = [at(0.0, 100.0), at(5_000.0, 5_100.0), at(9_000.0, 9_100.0)];
        let of = |sent_s, last_sent_s, archived_s| {
            let of = answer().craft[0].latency[0];
            let of = LatencySample { captured_s: 0.0, stored_s: 0.0, sent_s, ..of };
            let waits = waits_s(&LatencySample { last_sent_s, archived_s, ..of }, &contacts);
            assert_eq!(waits.iter().sum::<f64>(), archived_s);
            waits
        };
        // Lost just before a set, and sent again 20 s after the next rise.
        assert_eq!(of(90.0, 5_020.0, 5_022.0), [0.0, 4_900.0, 90.0, 30.0, 2.0]);
        // Lost over a whole contact more.
        assert_eq!(of(90.0, 9_020.0, 9_022.0), [0.0, 8_800.0, 90.0, 130.0, 2.0]);
        // Handed on once, and what was left of it came with the next contact.
        assert_eq!(of(90.0, 90.0, 5_003.0), [0.0, 4_900.0, 90.0, 0.0, 13.0]);
        // On its way when the contact closed: light from Mars takes that long.
        assert_eq!(of(90.0, 90.0, 840.0), [0.0, 0.0, 90.0, 0.0, 750.0]);
    }

    #[test]
    fn a_small_share_is_no_zero() {
        let mut answer = answer();
        answer.craft[0].carried_bytes = 0;
        answer.craft[1].carried_bytes = 1;
        answer.craft[1].capacity_bytes = 40_000_000;
        let text = Summary::of(&answer, &prices()).to_string();
        assert!(text.contains("capacity     0.0000025 % used of"), "{text}");
        answer.craft[1].carried_bytes = 0;
        let text = Summary::of(&answer, &prices()).to_string();
        assert!(text.contains("capacity     0 % used of"), "{text}");
    }

    #[test]
    fn places_of_the_sensors_bytes_are_told_where_there_is_anything() {
        let text = Summary::of(&answer(), &prices()).to_string();
        let line = "sensors made 1.8 kB: 1.6 kB archived, 0 B on board, 200 B in open blocks\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn the_summary_is_the_sum_of_what_was_seen() {
        let summary = Summary::of(&answer(), &prices());
        assert_eq!((summary.units, summary.units_archived, summary.units_void), (6, 2, 2));
        assert_eq!((summary.delivered_bytes, summary.capacity_used), (1_000, 0.3));
        assert_eq!(summary.latency_p99_s, Some(212.0));
        assert_eq!(summary.waited[1], Waited { wait: "contact", seconds: 47.5 });
        assert_eq!((summary.cost, summary.contact_s), (Some(5.0), 600.0));
        assert_eq!((summary.antennas, summary.antennas_busy, summary.passes), (1, 0.5, 6));
    }

    #[test]
    fn a_run_without_a_contact_has_a_summary_too() {
        let mut silent = answer();
        for craft in &mut silent.craft {
            *craft = CraftAnswer { name: craft.name.clone(), ..CraftAnswer::default() };
        }
        let summary = Summary::of(&silent, &Prices::default());
        assert_eq!((summary.latency_p50_s, summary.capacity_used), (None, 0.0));
        assert_eq!(summary.cost, None);
        assert!(summary.waited.iter().all(|of| of.seconds == 0.0));
    }
}
