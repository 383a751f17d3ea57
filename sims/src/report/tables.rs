//! The tables of an answer.

use std::sync::Arc;

use codecs::time::Tai;

use super::{
    summary::{Prices, waits_s},
    table::{Table, Values},
};
use crate::world::answer::{Answer, ContactAnswer, CraftAnswer, LatencySample, Sample, TrackPoint};

/// Name of each file, without its ending, and what stands in it.
pub fn tables(answer: &Answer, prices: &Prices) -> [(&'static str, Table); 4] {
    let all = All(answer);
    [
        ("samples", all.samples()),
        ("tracks", all.tracks()),
        ("contacts", all.contacts(prices)),
        ("deliveries", all.deliveries()),
    ]
}

/// Rows of all spacecraft, one behind the other.
struct All<'a>(&'a Answer);

type RowsOf<T> = fn(&CraftAnswer) -> &[T];

impl All<'_> {
    fn names<T>(&self, rows: RowsOf<T>) -> Values {
        let named = self.0.craft.iter().flat_map(|craft| {
            let name: Arc<str> = craft.name.as_str().into();
            std::iter::repeat_n(name, rows(craft).len())
        });
        Values::Word(named.collect())
    }

    fn each<'a, T: 'a>(&'a self, rows: RowsOf<T>) -> impl Iterator<Item = &'a T> {
        self.0.craft.iter().flat_map(rows)
    }

    fn instants<T>(&self, rows: RowsOf<T>, at_s: fn(&T) -> f64) -> Values {
        let start = Tai(self.0.start_ns);
        Values::Instant(self.each(rows).map(|row| start.plus((at_s(row) * 1e9) as i64)).collect())
    }

    fn numbers<T>(&self, rows: RowsOf<T>, of: fn(&T) -> f64) -> Values {
        Values::Number(self.each(rows).map(of).collect())
    }

    fn counts<T>(&self, rows: RowsOf<T>, of: fn(&T) -> u64) -> Values {
        Values::Count(self.each(rows).map(of).collect())
    }

    fn samples(&self) -> Table {
        let rows: RowsOf<Sample> = |craft| &craft.series;
        Table::default()
            .with("spacecraft", self.names(rows))
            .with("time", self.instants(rows, |of| of.at_s))
            .with("backlog_units", self.counts(rows, |of| of.backlog_units))
            .with("backlog_bytes", self.counts(rows, |of| of.backlog_bytes))
            .with("made_bytes", self.counts(rows, |of| of.made_bytes))
            .with("delivered_bytes", self.counts(rows, |of| of.delivered_bytes))
            .with("carried_bytes", self.counts(rows, |of| of.carried_bytes))
            .with("rate_bps", self.numbers(rows, |of| of.rate_bps))
    }

    fn tracks(&self) -> Table {
        let rows: RowsOf<TrackPoint> = |craft| &craft.ground_track;
        Table::default()
            .with("spacecraft", self.names(rows))
            .with("time", self.instants(rows, |of| of.at_s))
            .with("latitude_deg", self.numbers(rows, |of| of.latitude_deg))
            .with("longitude_deg", self.numbers(rows, |of| of.longitude_deg))
            .with("height_km", self.numbers(rows, |of| of.height_km))
    }

    fn contacts(&self, prices: &Prices) -> Table {
        let rows: RowsOf<ContactAnswer> = |craft| &craft.contacts;
        let sites: Vec<Arc<str>> = self.0.sites.iter().map(|of| of.name.as_str().into()).collect();
        let unknown: Arc<str> = "".into();
        let site = |of: &ContactAnswer| sites.get(of.site).unwrap_or(&unknown).clone();
        Table::default()
            .with("spacecraft", self.names(rows))
            .with("site", Values::Word(self.each(rows).map(site).collect()))
            .with("antenna", self.counts(rows, |of| of.antenna.map_or(0, |of| of as u64)))
            .with("rise", self.instants(rows, |of| of.rise_s))
            .with("set", self.instants(rows, |of| of.set_s))
            .with("max_elevation_deg", self.numbers(rows, |of| of.max_elevation_deg))
            .with("capacity_bytes", self.counts(rows, |of| of.capacity_bytes))
            .with("carried_bytes", self.counts(rows, |of| of.carried_bytes))
            .with("cost", Values::Number(self.each(rows).map(|of| prices.contact(of)).collect()))
    }

    fn deliveries(&self) -> Table {
        let rows: RowsOf<LatencySample> = |craft| &craft.latency;
        let waits: Vec<[f64; 5]> = self
            .0
            .craft
            .iter()
            .flat_map(|craft| craft.latency.iter().map(|of| waits_s(of, &craft.contacts)))
            .collect();
        let waited = |at: usize| Values::Number(waits.iter().map(|of| of[at]).collect());
        Table::default()
            .with("spacecraft", self.names(rows))
            .with("channel", self.counts(rows, |of| of.channel))
            .with("bytes", self.counts(rows, |of| of.bytes.into()))
            .with("captured", self.instants(rows, |of| of.captured_s))
            .with("stored", self.instants(rows, |of| of.stored_s))
            .with("sent", self.instants(rows, |of| of.sent_s))
            .with("sent_last", self.instants(rows, |of| of.last_sent_s))
            .with("archived", self.instants(rows, |of| of.archived_s))
            .with("waited_contact_s", waited(1))
            .with("waited_turn_s", waited(2))
            .with("waited_again_s", waited(3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::summary::tests::{answer, prices};

    #[test]
    fn every_table_can_be_written() {
        let rows = tables(&answer(), &prices()).map(|(_, table)| {
            table.write(Vec::new()).unwrap();
            table.rows()
        });
        assert_eq!(rows, [200, 200, 2, 2]);
    }
}
