//! The few numbers that a run is summed up by.

use std::fmt;

use serde::Serialize;

use super::{
    answer::{Answer, Waits},
    conserve::Conservation,
};

/// What a run came to, in short.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Name of the scenario.
    pub scenario: String,
    /// Seed that it was flown with.
    pub seed: u64,
    /// Simulated seconds.
    pub duration_s: u64,
    /// Spacecraft.
    pub spacecraft: usize,
    /// Contacts.
    pub contacts: usize,
    /// Seconds of contact, over all spacecraft.
    pub contact_s: f64,
    /// Bytes of packets that sensors made.
    pub made_bytes: u64,
    /// Units archived.
    pub delivered_units: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Bytes on board without a receipt at the end.
    pub backlog_bytes: u64,
    /// Bytes that the links could have carried.
    pub capacity_bytes: u64,
    /// Share of it that was used, headers and repeats included.
    pub capacity_share: f64,
    /// Median latency from capture to archive, seconds; none where nothing was delivered.
    pub latency_p50_s: Option<f64>,
    /// The latency that one unit in a hundred exceeds.
    pub latency_p99_s: Option<f64>,
    /// Where bytes waited, means weighted by bytes.
    pub waits: Waits,
    /// Connections made.
    pub connections: u64,
    /// Faults that came.
    pub faults: usize,
    /// Custody at the end, unit by unit.
    pub conservation: Conservation,
    /// Everything that was sent, as one number.
    pub trace: String,
}

impl From<&Answer> for Summary {
    fn from(answer: &Answer) -> Self {
        let sum = |of: fn(&super::answer::CraftAnswer) -> u64| answer.craft.iter().map(of).sum();
        let contacts = || answer.craft.iter().flat_map(|craft| &craft.contacts);
        let delivered_bytes: u64 = sum(|craft| craft.delivered_bytes);
        let mean = |of: fn(&Waits) -> f64| {
            let weighted = |craft: &super::answer::CraftAnswer| {
                of(&craft.waits) * craft.delivered_bytes as f64
            };
            answer.craft.iter().map(weighted).sum::<f64>() / (delivered_bytes as f64).max(1.0)
        };
        Self {
            scenario: answer.scenario.clone(),
            seed: answer.seed,
            duration_s: answer.duration_s,
            spacecraft: answer.craft.len(),
            contacts: contacts().count(),
            contact_s: contacts().map(|of| of.set_s - of.rise_s).sum(),
            made_bytes: sum(|craft| craft.packet_bytes),
            delivered_units: sum(|craft| craft.delivered_units),
            delivered_bytes,
            backlog_bytes: sum(|craft| craft.series.last().map_or(0, |last| last.backlog_bytes)),
            capacity_bytes: sum(|craft| craft.capacity_bytes),
            capacity_share: answer.capacity_share(),
            latency_p50_s: answer.latency_s(0.5),
            latency_p99_s: answer.latency_s(0.99),
            waits: Waits {
                block_s: mean(|waits| waits.block_s),
                store_s: mean(|waits| waits.store_s),
                link_s: mean(|waits| waits.link_s),
            },
            connections: sum(|craft| craft.connections),
            faults: answer.faults.len(),
            conservation: answer.conservation.clone(),
            trace: format!("{:016x}", answer.trace),
        }
    }
}

/// Bytes as people say them.
fn bytes(count: u64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut at = 0;
    while value >= 1_000.0 && at + 1 < units.len() {
        value /= 1_000.0;
        at += 1;
    }
    let unit = units.get(at).copied().unwrap_or_default();
    if at == 0 { format!("{count} {unit}") } else { format!("{value:.2} {unit}") }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |of: Option<f64>| of.map_or("none".to_owned(), |of| format!("{of:.1} s"));
        let hours = |s: f64| s / 3_600.0;
        let Conservation { numbered, archived, held, voided, lost, broken } = &self.conservation;
        writeln!(f, "{} (seed {})", self.scenario, self.seed)?;
        writeln!(
            f,
            "flown        {:.1} h, {} spacecraft, {} contacts of {:.1} h in all, {} connections, {} \
             faults",
            hours(self.duration_s as f64),
            self.spacecraft,
            self.contacts,
            hours(self.contact_s),
            self.connections,
            self.faults
        )?;
        writeln!(
            f,
            "delivered    {} units, {} of {} that sensors made; {} still on board",
            self.delivered_units,
            bytes(self.delivered_bytes),
            bytes(self.made_bytes),
            bytes(self.backlog_bytes)
        )?;
        writeln!(
            f,
            "latency      {} median, {} at the 99th percentile, from capture to archive",
            seconds(self.latency_p50_s),
            seconds(self.latency_p99_s)
        )?;
        writeln!(
            f,
            "waited       {:.1} s for a block, {:.1} s in the store, {:.1} s on the link, by bytes",
            self.waits.block_s, self.waits.store_s, self.waits.link_s
        )?;
        writeln!(
            f,
            "capacity     {:.1} % used of {}",
            self.capacity_share * 100.0,
            bytes(self.capacity_bytes)
        )?;
        writeln!(
            f,
            "custody      {numbered} units numbered: {archived} archived, {held} held, {voided} \
             left out, {lost} lost"
        )?;
        for line in broken {
            writeln!(f, "broken       {line}")?;
        }
        write!(f, "trace        {}", self.trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_said_as_people_say_them() {
        assert_eq!(
            [bytes(999), bytes(1_500), bytes(2_340_000_000)],
            ["999 bytes", "1.50 kB", "2.34 GB"]
        );
    }
}
