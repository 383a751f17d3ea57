//! The tables of an answer.

use std::sync::Arc;

use super::{
    answer::{Answer, Delivery},
    table::{Table, Values},
};

/// Name of each file, without its ending, and what stands in it.
pub fn tables(answer: &Answer) -> [(&'static str, Table); 3] {
    [
        ("samples", samples(answer)),
        ("contacts", contacts(answer)),
        ("deliveries", deliveries(answer)),
    ]
}

/// Names as a column shares them.
struct Names(Vec<Arc<str>>);

impl Names {
    fn of<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        Self(names.map(|name| name.as_str().into()).collect())
    }

    fn column(&self, indexes: impl Iterator<Item = usize>) -> Values {
        let unknown: Arc<str> = "".into();
        Values::Word(indexes.map(|at| self.0.get(at).unwrap_or(&unknown).clone()).collect())
    }
}

fn satellites(answer: &Answer) -> Names {
    Names::of(answer.satellites.iter().map(|craft| &craft.name))
}

fn stations(answer: &Answer) -> Names {
    Names::of(answer.stations.iter().map(|station| &station.name))
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn samples(answer: &Answer) -> Table {
    let crafts = || answer.satellites.iter().enumerate();
    let all =
        || crafts().flat_map(|(index, craft)| craft.samples.iter().map(move |of| (index, of)));
    let place = |of: fn((f64, f64)) -> f64| {
        Values::Number(all().map(|(_, sample)| sample.place.map_or(f64::NAN, of)).collect())
    };
    Table::default()
        .with("satellite", satellites(answer).column(all().map(|(index, _)| index)))
        .with("time", Values::Instant(all().map(|(_, of)| of.at).collect()))
        .with("latitude_deg", place(|(latitude, _)| latitude))
        .with("longitude_deg", place(|(_, longitude)| longitude))
        .with(
            "backlog_bytes",
            Values::Count(all().map(|(_, of)| count(of.backlog_bytes)).collect()),
        )
        .with("capacity_bps", Values::Number(all().map(|(_, of)| of.capacity_bps).collect()))
        .with(
            "delivered_bytes",
            Values::Count(all().map(|(_, of)| count(of.delivered_bytes)).collect()),
        )
}

fn contacts(answer: &Answer) -> Table {
    let all = || answer.contacts.iter();
    Table::default()
        .with("satellite", satellites(answer).column(all().map(|of| of.satellite)))
        .with("station", stations(answer).column(all().map(|of| of.station)))
        .with("rise", Values::Instant(all().map(|of| of.rise).collect()))
        .with("set", Values::Instant(all().map(|of| of.set).collect()))
        .with("max_elevation_deg", Values::Number(all().map(|of| of.max_elevation_deg).collect()))
        .with("capacity_bytes", Values::Number(all().map(|of| of.capacity_bytes).collect()))
        .with("delivered_bytes", Values::Count(all().map(|of| count(of.delivered_bytes)).collect()))
        .with("cost", Values::Number(all().map(|of| of.cost).collect()))
}

fn deliveries(answer: &Answer) -> Table {
    let all = || answer.deliveries.iter();
    let instant = |of: fn(&Delivery) -> codecs::time::Tai| Values::Instant(all().map(of).collect());
    Table::default()
        .with("satellite", satellites(answer).column(all().map(|of| of.satellite)))
        .with("station", stations(answer).column(all().map(|of| of.station)))
        .with("bytes", Values::Count(all().map(|of| of.bytes.into()).collect()))
        .with("priority", Values::Count(all().map(|of| of.priority.into()).collect()))
        .with("captured", instant(|of| of.captured))
        .with("stored", instant(|of| of.stored))
        .with("contact", instant(|of| of.contact))
        .with("sent", instant(|of| of.sent))
        .with("arrived", instant(|of| of.arrived))
        .with("archived", instant(|of| of.archived))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::answer::tests::answer;

    #[test]
    fn every_table_can_be_written() {
        let rows = tables(&answer()).map(|(_, table)| {
            table.write(Vec::new()).unwrap();
            table.rows()
        });
        assert_eq!(rows, [200, 2, 2]);
    }
}
