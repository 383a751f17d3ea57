//! What a run found out, as plain values: the summary, the tables and the page are made of it.

use codecs::time::Tai;

/// A run's answer. Indexes name places in the lists beside them.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The scenario's name.
    pub name: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Hash over every packet: the same binary and the same seed give the same.
    pub trace: u64,
    /// Simulated time: from when.
    pub from: Tai,
    /// Simulated time: until when.
    pub until: Tai,
    /// What listened.
    pub stations: Vec<Station>,
    /// What flew.
    pub satellites: Vec<Satellite>,
    /// Contacts in the order of their rise.
    pub contacts: Vec<Contact>,
    /// Units that the archive holds, in the order of their receipts.
    pub deliveries: Vec<Delivery>,
    /// What the money of the scenario is called; empty where nothing costs.
    pub currency: String,
}

/// Something that listens.
#[derive(Clone, Debug, PartialEq)]
pub struct Station {
    /// Its name.
    pub name: String,
    /// Latitude and longitude, degrees; none of a relay that stands on no ground.
    pub place: Option<(f64, f64)>,
}

/// Something that flies.
#[derive(Clone, Debug, PartialEq)]
pub struct Satellite {
    /// Its name.
    pub name: String,
    /// How it went, at instants that are evenly apart.
    pub samples: Vec<Sample>,
    /// What became of the units that it made.
    pub ends: Ends,
}

/// A satellite at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Tai,
    /// Latitude and longitude of the point below, degrees; none beyond the earth's neighbourhood.
    pub place: Option<(f64, f64)>,
    /// Bytes held without a receipt.
    pub backlog_bytes: u64,
    /// What the link could carry then, bit/s.
    pub capacity_bps: f64,
    /// Bytes of units archived since the start.
    pub delivered_bytes: u64,
}

/// How the lives of units ended. Made is the sum of the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Made on board.
    pub made: u64,
    /// In the archive, with a receipt.
    pub delivered: u64,
    /// Still held on board.
    pub held: u64,
    /// Left out or given up on board, told by a void.
    pub void: u64,
    /// Lost with a medium or by a power cut before they were durable on board; nobody was told that
    /// they were safe.
    pub lost: u64,
}

/// A contact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contact {
    /// Which satellite.
    pub satellite: usize,
    /// Which station.
    pub station: usize,
    /// When it began.
    pub rise: Tai,
    /// When it ended.
    pub set: Tai,
    /// Greatest elevation, degrees; not a number where there is no ground.
    pub max_elevation_deg: f64,
    /// What the link could carry, bytes.
    pub capacity_bytes: f64,
    /// Bytes of units that were archived of it.
    pub delivered_bytes: u64,
    /// What it cost, in the scenario's currency.
    pub cost: f64,
}

/// A unit on its way, by the instants that it passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Of which satellite.
    pub satellite: usize,
    /// By which station.
    pub station: usize,
    /// Its length, bytes.
    pub bytes: u32,
    /// Its priority, higher first.
    pub priority: u8,
    /// Of what was captured on board, the oldest.
    pub captured: Tai,
    /// Durable on board.
    pub stored: Tai,
    /// The contact began that carried it; earlier than `stored` where it was made in contact.
    pub contact: Tai,
    /// Its last sending began.
    pub sent: Tai,
    /// Its last byte arrived.
    pub arrived: Tai,
    /// Durable in the archive.
    pub archived: Tai,
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
    /// For the link: repeats and flight.
    Link,
    /// For the archive.
    Archive,
}

impl Wait {
    /// All of them, in the order of a unit's way.
    pub const ALL: [Self; 5] = [Self::Making, Self::Contact, Self::Turn, Self::Link, Self::Archive];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Making => "block and store on board",
            Self::Contact => "contact",
            Self::Turn => "turn in the contact",
            Self::Link => "link",
            Self::Archive => "archive",
        }
    }
}

impl Delivery {
    /// From capture to the archive, seconds.
    pub fn latency_s(&self) -> f64 {
        seconds(self.captured, self.archived)
    }

    /// Seconds in each place, in the order of [`Wait::ALL`]; their sum is the latency.
    pub fn waits_s(&self) -> [f64; 5] {
        // What is made in contact waits for none.
        let contact = self.contact.max(self.stored).min(self.sent);
        let instants =
            [self.captured, self.stored, contact, self.sent, self.arrived, self.archived];
        std::array::from_fn(|at| seconds(instants[at], instants[at + 1]))
    }
}

fn seconds(from: Tai, until: Tai) -> f64 {
    until.since(from) as f64 / 1e9
}

/// The answer in a few numbers.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Summary {
    /// The scenario's name.
    pub name: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Hash over every packet, hexadecimal.
    pub trace: String,
    /// Simulated seconds.
    pub simulated_s: f64,
    /// Satellites that flew.
    pub satellites: usize,
    /// Contacts that there were.
    pub contacts: usize,
    /// Seconds of them.
    pub contact_s: f64,
    /// Units made on board.
    pub units_made: u64,
    /// Units in the archive.
    pub units_delivered: u64,
    /// Units still on board.
    pub units_held: u64,
    /// Units left out, told by voids.
    pub units_void: u64,
    /// Units lost before they were durable.
    pub units_lost: u64,
    /// Bytes of units in the archive.
    pub delivered_bytes: u64,
    /// What the links could carry, bytes.
    pub capacity_bytes: f64,
    /// Delivered over capacity.
    pub capacity_used: f64,
    /// Capture to archive, median, seconds; none without a delivery.
    pub latency_p50_s: Option<f64>,
    /// Capture to archive, 99th in a hundred, seconds.
    pub latency_p99_s: Option<f64>,
    /// Where bytes waited: name, and seconds that a byte waited there on average.
    pub waited: Vec<(&'static str, f64)>,
    /// What the contacts cost; none where the scenario has no prices.
    pub cost: Option<f64>,
    /// Its currency.
    pub currency: String,
}

impl Answer {
    /// The answer in a few numbers.
    pub fn summary(&self) -> Summary {
        let total =
            |of: fn(&Ends) -> u64| self.satellites.iter().map(|craft| of(&craft.ends)).sum();
        let delivered_bytes = self.deliveries.iter().map(|unit| u64::from(unit.bytes)).sum();
        let capacity_bytes: f64 = self.contacts.iter().map(|contact| contact.capacity_bytes).sum();
        let mut latencies: Vec<f64> = self.deliveries.iter().map(Delivery::latency_s).collect();
        latencies.sort_by(f64::total_cmp);
        let cost: f64 = self.contacts.iter().map(|contact| contact.cost).sum();
        Summary {
            name: self.name.clone(),
            seed: self.seed,
            trace: format!("{:016x}", self.trace),
            simulated_s: seconds(self.from, self.until),
            satellites: self.satellites.len(),
            contacts: self.contacts.len(),
            contact_s: self.contacts.iter().map(|of| seconds(of.rise, of.set)).sum(),
            units_made: total(|of| of.made),
            units_delivered: total(|of| of.delivered),
            units_held: total(|of| of.held),
            units_void: total(|of| of.void),
            units_lost: total(|of| of.lost),
            delivered_bytes,
            capacity_bytes,
            capacity_used: if capacity_bytes > 0.0 {
                delivered_bytes as f64 / capacity_bytes
            } else {
                0.0
            },
            latency_p50_s: quantile(&latencies, 0.5),
            latency_p99_s: quantile(&latencies, 0.99),
            waited: self.waited(delivered_bytes),
            cost: (!self.currency.is_empty()).then_some(cost),
            currency: self.currency.clone(),
        }
    }

    fn waited(&self, delivered_bytes: u64) -> Vec<(&'static str, f64)> {
        let mut sums = [0.0; 5];
        for unit in &self.deliveries {
            for (sum, wait) in sums.iter_mut().zip(unit.waits_s()) {
                *sum += wait * f64::from(unit.bytes);
            }
        }
        let bytes = delivered_bytes.max(1) as f64;
        Wait::ALL.into_iter().zip(sums).map(|(wait, sum)| (wait.name(), sum / bytes)).collect()
    }
}

/// The value that this share of a sorted list is at or below.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((share * last as f64).ceil() as usize).copied()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// Two satellites, one contact each, one unit each.
    pub fn answer() -> Answer {
        let zero = Tai::from_rfc3339("2026-11-27T03:00:00Z").unwrap();
        let at = |s: i64| zero.plus(s * SECOND);
        let sample = |s| Sample {
            at: at(s),
            place: Some((s as f64 / 10.0, s as f64)),
            backlog_bytes: 1_000,
            capacity_bps: 1e6,
            delivered_bytes: 500,
        };
        let ends = Ends { made: 3, delivered: 1, held: 1, void: 1, lost: 0 };
        let craft = |name: &str| Satellite {
            name: name.into(),
            samples: (0..100).map(|n| sample(n * 6)).collect(),
            ends,
        };
        let contact = |satellite| Contact {
            satellite,
            station: 0,
            rise: at(100),
            set: at(400),
            max_elevation_deg: 40.0,
            capacity_bytes: 2_000.0,
            delivered_bytes: 500,
            cost: 2.5,
        };
        let unit = |satellite, captured| Delivery {
            satellite,
            station: 0,
            bytes: 500,
            priority: 10,
            captured: at(captured),
            stored: at(captured + 5),
            contact: at(100),
            sent: at(210),
            arrived: at(211),
            archived: at(212),
        };
        Answer {
            name: "two <of> them".into(),
            seed: 7,
            trace: 0xabc,
            from: zero,
            until: at(600),
            stations: vec![Station { name: "Kiruna".into(), place: Some((67.86, 20.96)) }],
            satellites: vec![craft("SKY-7"), craft("SKY-8")],
            contacts: vec![contact(0), contact(1)],
            deliveries: vec![unit(0, 0), unit(1, 200)],
            currency: "EUR".into(),
        }
    }

    #[test]
    fn where_a_unit_waited_adds_up_to_its_latency() {
        let [before, within] = [answer().deliveries[0], answer().deliveries[1]];
        assert_eq!(before.waits_s(), [5.0, 95.0, 110.0, 1.0, 1.0]);
        // Made while the contact lasted: it waited for no contact.
        assert_eq!(within.waits_s(), [5.0, 0.0, 5.0, 1.0, 1.0]);
        for unit in [before, within] {
            assert_eq!(unit.waits_s().iter().sum::<f64>(), unit.latency_s());
        }
    }

    #[test]
    fn the_summary_is_the_sum_of_what_was_seen() {
        let summary = answer().summary();
        assert_eq!((summary.units_made, summary.units_delivered, summary.units_void), (6, 2, 2));
        assert_eq!((summary.delivered_bytes, summary.capacity_used), (1_000, 0.25));
        assert_eq!((summary.latency_p50_s, summary.latency_p99_s), (Some(212.0), Some(212.0)));
        assert_eq!(summary.waited[1], ("contact", 47.5));
        assert_eq!((summary.cost, summary.contact_s), (Some(5.0), 600.0));
    }

    #[test]
    fn a_run_without_a_contact_has_a_summary_too() {
        let silent = Answer { contacts: vec![], deliveries: vec![], ..answer() }.summary();
        assert_eq!((silent.latency_p50_s, silent.capacity_used), (None, 0.0));
        assert!(silent.waited.iter().all(|(_, seconds)| *seconds == 0.0));
    }
}
