//! Health: what the flight software tells of itself, as a packet that goes the way of all others.
//!
//! The layout is fixed; `missions/onboard-health.toml` describes it for the ground, and a test
//! decodes every field with it.

use bytes::Bytes;
use codecs::{ids::Apid, time::Tai};

use crate::source::Packet;

/// Sources whose counts a packet has room for; the first in the configuration.
pub const SOURCES_TOLD: usize = 4;

/// Phase of a bearer that is not configured.
pub const NOT_THERE: u8 = 255;

/// How each bearer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkHealth {
    /// Connection and radio: 0 sleep, 1 wait, 2 acquire, 3 send, 4 drain; [`NOT_THERE`].
    pub phases: [u8; 2],
    /// Connections that a station welcomed.
    pub welcomes: u32,
    /// Seconds since a station was heard; the field's end where none was.
    pub silence_s: u32,
}

/// How models and the configuration stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChargeHealth {
    /// Models that are suspended now: bit 0 telemetry, bit 1 tiles.
    pub suspended: u8,
    /// Suspensions since the start.
    pub suspensions: u32,
    /// Where the configuration is from: 0 the file, 1 and 2 slots a and b.
    pub from: u8,
    /// 0 no trial, 1 one waits for the next start, 2 on trial, 3 the last was confirmed, 4 the last
    /// was rolled back.
    pub trial: u8,
}

/// What was lost or put aside, and by whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TroubleHealth {
    /// Segments of the store that were damaged at this start.
    pub damaged_segments: u32,
    /// Units voided for damage, or for a cut while they were written, at this start and since.
    pub damaged_units: u32,
    /// Datagrams that the system dropped before they were read.
    pub overrun: u32,
    /// Files of which something could not be taken.
    pub files_rejected: u32,
}

/// One reading. Counts run since the start unless they say otherwise; what exceeds its field stays
/// at the field's end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Seconds since the start.
    pub uptime_s: u32,
    /// Starts of this store.
    pub boots: u32,
    /// Datagrams dropped as malformed.
    pub malformed: u32,
    /// Units numbered, held without a receipt, receipted, voided: over all boots.
    pub units: [u64; 4],
    /// Units given up for want of room.
    pub evicted: u32,
    /// Units on board without a receipt, and their bytes.
    pub backlog: [u64; 2],
    /// Bytes of the store, and how many it may have.
    pub store: [u64; 2],
    /// Bytes written since the store was formatted.
    pub written: u64,
    /// Bytes written for one of units and voids, in hundredths.
    pub amplification_percent: u32,
    /// Memory of the process and its limit, bytes; a limit of 0 is none.
    pub memory: [u64; 2],
    /// Share of one processor since the last packet, in thousandths.
    pub cpu_permille: u16,
    /// Longest time between two pets of the watchdog since the last packet, milliseconds.
    pub watchdog_gap_ms: u32,
    /// CRC-32C of the configuration file.
    pub configuration: u32,
    /// 1 where a packet or the ground said what time it is.
    pub time_known: u8,
    /// Models in use: bit 0 telemetry, bit 1 tiles.
    pub models: u8,
    /// Taken and dropped, source by source.
    pub sources: [[u32; 2]; SOURCES_TOLD],
    /// How each bearer stands.
    pub link: LinkHealth,
    /// How models and the configuration stand.
    pub charge: ChargeHealth,
    /// What was lost or put aside.
    pub trouble: TroubleHealth,
}

impl Health {
    /// The packet (CCSDS 133.0-B-2), with its time as CUC of four and three octets.
    pub fn packet(&self, apid: Apid, count: u16, time: Tai) -> Packet {
        let mut data = Vec::with_capacity(256);
        let mut put = |bytes: &[u8]| data.extend_from_slice(bytes);
        put(&time.to_cuc43());
        put(&self.uptime_s.to_be_bytes());
        put(&self.boots.to_be_bytes());
        put(&self.malformed.to_be_bytes());
        self.units.iter().for_each(|of| put(&of.to_be_bytes()));
        put(&self.evicted.to_be_bytes());
        self.backlog.iter().for_each(|of| put(&of.to_be_bytes()));
        self.store.iter().for_each(|of| put(&of.to_be_bytes()));
        put(&self.written.to_be_bytes());
        put(&self.amplification_percent.to_be_bytes());
        self.memory.iter().for_each(|of| put(&of.to_be_bytes()));
        put(&self.cpu_permille.to_be_bytes());
        put(&self.watchdog_gap_ms.to_be_bytes());
        put(&self.configuration.to_be_bytes());
        put(&[self.time_known, self.models]);
        self.sources.iter().flatten().for_each(|of| put(&of.to_be_bytes()));
        put(&self.link.phases);
        put(&self.link.welcomes.to_be_bytes());
        put(&self.link.silence_s.to_be_bytes());
        put(&[self.charge.suspended]);
        put(&self.charge.suspensions.to_be_bytes());
        put(&[self.charge.from, self.charge.trial]);
        let TroubleHealth { damaged_segments, damaged_units, overrun, files_rejected } =
            self.trouble;
        [damaged_segments, damaged_units, overrun, files_rejected]
            .iter()
            .for_each(|of| put(&of.to_be_bytes()));
        let [id, low] = (0x0800 | apid.0 & 0x07ff).to_be_bytes();
        let [high, count] = (0xc000 | count & 0x3fff).to_be_bytes();
        let [length, bytes] = (data.len() as u16 - 1).to_be_bytes();
        let header = [id, low, high, count, length, bytes];
        Packet { apid, time: Some(time), bytes: Bytes::from([&header[..], &data].concat()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::mission::Definition;

    #[test]
    fn the_ground_reads_every_field_by_the_committed_definition() {
        let health = Health {
            uptime_s: 1,
            boots: 2,
            malformed: 3,
            units: [4, 5, 6, 7],
            evicted: 8,
            backlog: [9, 10],
            store: [11, 12],
            written: 13,
            amplification_percent: 1400,
            memory: [15, 16],
            cpu_permille: 170,
            watchdog_gap_ms: 18,
            configuration: 19,
            time_known: 20,
            models: 21,
            sources: [[22, 23], [24, 25], [26, 27], [28, 29]],
            link: LinkHealth { phases: [30, 31], welcomes: 32, silence_s: 33 },
            charge: ChargeHealth { suspended: 34, suspensions: 35, from: 36, trial: 37 },
            trouble: TroubleHealth {
                damaged_segments: 38,
                damaged_units: 39,
                overrun: 40,
                files_rejected: 41,
            },
        };
        let fragment = include_str!("../../missions/onboard-health.toml");
        let text = format!("mission = \"m\"\ndomain = \"d\"\n{fragment}");
        let definition = Definition::from_toml(&text).unwrap();
        let time = Tai(1_800_000_000_000_000_000);
        let packet = health.packet(Apid(90), 5, time);
        let parsed = crate::source::parse(packet.bytes.clone()).unwrap();
        assert_eq!((parsed.apid, parsed.bytes.len()), (Apid(90), packet.bytes.len()));
        let mut seen = Vec::new();
        definition.plans().decode(&packet.bytes, &mut |sample| seen.push(sample.value)).unwrap();
        // Each field stands for its place, so that two that changed places are seen.
        let wanted: Vec<f64> = (1..=41).map(f64::from).collect();
        assert_eq!(seen, wanted);
        assert_eq!(definition.parameters.len(), 41, "nothing that the packet does not have");
    }
}
