//! The ground core: its files, and the whole way from a session's bytes to what is shown.

use crate::{
    disk::MemoryDisk,
    input::{Input, pieces},
};
use bytes::Bytes;
use codecs::fec::crc::crc32c;
use codecs::ids::{KeyPrefix, Origin, RangeSet, SpacecraftId};
use codecs::link::object::{Annotation, HEADER_BYTES, ObjectReader};
use codecs::link::receiver::{Receiver, ReceiverConfig, ReceiverEvent};
use codecs::link::wire::Limits;
use codecs::mission::Definition;
use codecs::time::Tai;
use groundstation::admit::{self, Action, Principal};
use groundstation::archive::index::Index;
use groundstation::archive::intake::Progress;
use groundstation::archive::record::{Position, Record};
use groundstation::archive::segment::{SegmentHeader, file_name};
use groundstation::archive::volume::Volume;
use groundstation::archive::{Archive, Archived, Now, Settings};
use groundstation::ledger::{Ledger, PREFIXES_MAX, RANGES_MAX};
use groundstation::process::Process;
use groundstation::receipt::{Ingest, SessionId, Tally, lost_by_us};
use groundstation::uplink;
use groundstation::{config::Config, edge};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// Annotations: what is read encodes to what the protocol knows of it.
pub fn annotation(data: &[u8]) {
    if let Some(bytes) = data.first_chunk() {
        let annotation = Annotation::decode(*bytes);
        assert_eq!(Annotation::decode(annotation.encode()), annotation);
    }
}

/// A KISS stream: the same frames however it is cut.
pub fn kiss(data: &[u8]) {
    let mut input = Input(data);
    let cut = input.byte();
    let read = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let (mut reader, mut frames) = (edge::kiss::KissReader::default(), Vec::new());
        chunks.for_each(|chunk| reader.push(chunk, &mut |frame: Bytes| frames.push(frame)));
        (frames, reader.malformed)
    };
    let whole = read(&mut std::iter::once(input.0));
    assert_eq!(whole, read(&mut pieces(input.0, cut)));
    assert!(whole.0.iter().map(Bytes::len).sum::<usize>() <= data.len());
}

/// Station and edge files: an error in words, or a configuration that can be checked.
pub fn files(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = codecs::config::parse::<Config>("station.toml", text) {
        assert!(!error.to_string().is_empty());
    }
    if let Ok(config) = edge::config::EdgeConfig::parse("edge.toml", text, Path::new("")) {
        let _ = (config.check(), config.profile(), config.origin(), config.pins());
    }
}

/// The uplink log: whatever stands in it, no number is given twice, and it is written anew as it
/// was understood.
pub fn uplink_log(data: &[u8]) {
    let read = uplink::read(data);
    let id = read.id(1);
    let queue = uplink::recall("d", id, read);
    let anew = uplink::read(&uplink::rewrite(&queue, id));
    assert_eq!((anew.unread, anew.id(2)), (0, id));
    let again = uplink::recall("d", id, anew);
    assert!(again.counters().eq(queue.counters()));
    assert_eq!(again.objects().count(), queue.objects().count());
}

/// Records, indexes, headers and checkpoints of an archive, at any place.
pub fn records(data: &[u8]) {
    let mut input = Input(data);
    let (kind, segment, offset) = (input.byte(), u64::from(input.byte()), u64::from(input.word()));
    let bytes = input.rest();
    match kind % 4 {
        0 => {
            if let Some(record) = Record::read(bytes, Position { segment, offset }) {
                assert!(record.bytes() > 0);
            }
        }
        1 => {
            if let Some(index) = Index::decode(bytes, segment) {
                assert!(index.ranges().values().all(|set| !set.is_empty()));
                let again = Index::decode(&index.encode(segment), segment);
                assert_eq!(again.map(|again| again.by_offset()), Some(index.by_offset()));
            }
        }
        2 => {
            if let Ok((header, length)) = SegmentHeader::decode(bytes) {
                assert!(length <= bytes.len());
                assert_eq!(SegmentHeader::decode(&header.encode()).map(|of| of.0), Ok(header));
            }
        }
        _ => {
            if let Ok(ledger) = Ledger::from_checkpoint(bytes) {
                assert!(ledger.counters().count() <= PREFIXES_MAX);
                assert_eq!(Ledger::from_checkpoint(&ledger.checkpoint()), Ok(ledger));
            }
        }
    }
}

/// An archive whose files hold anything: it opens or says why, and takes units afterwards.
pub fn segments(data: &[u8]) {
    let mut input = Input(data);
    let mut disk = MemoryDisk::default();
    for number in 0..u64::from(input.byte() % 4) {
        let length = usize::from(input.word());
        disk.put(&file_name(number), input.take(length));
    }
    let mut station = match Station::open(disk.clone()) {
        Some(station) => station,
        None => return,
    };
    station.object(&mut Input(&[0, 0, 3, 0, 7, 0, 1, 9, 0, 2, 5, 5]));
    station.commit();
    let audited = groundstation::audit::audit(&mut disk);
    assert!(audited.is_ok(), "an audit tells of damage, it does not fail of it");
}

const MISSION: &str = "mission = \"m\"\ndomain = \"d\"\n\n[[spacecraft]]\nid = 7\nname = \"s\"\n\n\
    [[spacecraft.frames]]\nkind = \"aos\"\nscid = 71\nlength = 64\n\n\
    [[channel]]\nname = \"h\"\nvc = 0\n\n\
    [[packet]]\napid = 42\nname = \"c\"\ntime = \"cuc:4:3\"\n\n\
    [[packet.parameter]]\nname = \"a\"\ntype = \"i16\"\nunit = \"V\"\n\
    polynomial = [0.5, 2.0]\nlimits = { red_low = 1.0, yellow_high = 8.5, persistence = 3 }\n";
static DEFINITION: LazyLock<Arc<Definition>> =
    LazyLock::new(|| Arc::new(Definition::from_toml(MISSION).expect("a mission of ours")));
const ORIGIN: Origin = Origin([7; 16]);
const SESSION: SessionId = SessionId(1);

/// Everything of the ground but its shells.
struct Station {
    disk: MemoryDisk,
    ingest: Ingest,
    volume: Volume<MemoryDisk>,
    receiver: Receiver,
    process: Process,
    principal: Principal,
    mission: BTreeSet<SpacecraftId>,
    now: Now,
    /// Units taken since the last commit.
    tally: Tally,
    receipted: BTreeMap<KeyPrefix, RangeSet>,
}

impl Station {
    /// None where the archive says why it can't be opened.
    fn open(disk: MemoryDisk) -> Option<Self> {
        let settings = Settings { segment_bytes: 64 << 10 };
        let Archive { intake, volume } = Archive::open(disk.clone(), settings, 5).ok()?.0;
        let principal = Principal {
            name: "p".into(),
            origin: ORIGIN,
            spacecraft: [SpacecraftId(7)].into(),
            actions: [Action::Deliver].into(),
        };
        Some(Self {
            disk,
            receiver: receiver(volume.ledger_id()),
            ingest: Ingest::new(intake),
            volume,
            process: Process::new(Arc::clone(&DEFINITION)),
            principal,
            mission: [SpacecraftId(7), SpacecraftId(8)].into(),
            now: Now { mono_ms: 0, tai: Tai(1_800_000_000_000_000_000) },
            tally: Tally::default(),
            receipted: BTreeMap::new(),
        })
    }

    /// One object, out of the fuzzer's bytes: its header made valid, or taken as it comes.
    fn object(&mut self, input: &mut Input) {
        let (raw, cut) = (input.byte() & 1 == 1, input.byte());
        let mut bytes = Vec::new();
        if raw {
            let length = usize::from(input.byte());
            bytes.extend_from_slice(input.take(length));
        } else {
            let (codec, flags) = (input.byte(), input.byte());
            let craft = input.byte() % 9;
            let channel = codecs::ids::Channel(match input.byte() % 5 {
                0 => u64::MAX,
                1 => u64::MAX - 1,
                2 => codecs::ids::Channel::virtual_channel(1, 71, 0, 0).0,
                _ => codecs::ids::Channel::stream(1).0,
            });
            let (count, first) = (input.byte() % 5 + 1, input.byte());
            let mut body = Vec::new();
            for _ in 0..count {
                let length = usize::from(input.byte());
                let unit = input.take(length);
                body.extend_from_slice(&(unit.len() as u32).to_be_bytes());
                body.extend_from_slice(&crc32c(unit).to_be_bytes());
                if flags & 1 == 1 {
                    body.extend_from_slice(&[flags; 16]);
                }
                body.extend_from_slice(unit);
            }
            let codecs = [1, 2, 3, 4, 16, 32, 48, 49];
            bytes.extend_from_slice(b"GTO1\x01");
            bytes.extend_from_slice(&[flags & 1, codecs[usize::from(codec % 8)], 1]);
            bytes.extend_from_slice(&u64::from(flags >> 6).to_be_bytes());
            bytes.extend_from_slice(&[0, craft, 0, 0, 0, 0, 0, count]);
            bytes.extend_from_slice(&channel.0.to_be_bytes());
            bytes.extend_from_slice(&u64::from(first).to_be_bytes());
            bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&[0; 16]);
            let check = crc32c(&bytes).to_be_bytes();
            bytes.extend_from_slice(&check);
            assert_eq!(bytes.len(), HEADER_BYTES);
            bytes.extend_from_slice(&body);
        }
        let mut reader = ObjectReader::new();
        let mut admitted = None;
        for piece in pieces(&bytes, cut) {
            reader.push(Bytes::copy_from_slice(piece));
            if admitted.is_none() {
                match reader.poll_header() {
                    Ok(None) => continue,
                    Ok(Some(header)) => {
                        if admit::judge(&self.principal, &self.mission, &header).is_err() {
                            return;
                        }
                        admitted = Some(header);
                    }
                    Err(_) => return,
                }
            }
            let Some(header) = admitted else { continue };
            let prefix = header.prefix(ORIGIN);
            loop {
                let taken =
                    self.ingest.take_object(SESSION, prefix, header.codec, &mut reader, self.now);
                match taken {
                    Ok(Progress::Drained) => break,
                    Ok(Progress::NoRoom) => self.commit(),
                    Err(_) => return,
                }
            }
        }
    }

    fn commit(&mut self) {
        let Self { ingest, volume, now, .. } = self;
        while let Some(batch) = ingest.intake().next_batch() {
            volume.write(batch, *now, || ingest.ledger().settled());
        }
        let claims = ingest.intake().claims();
        let commit = volume.commit(*now, || ingest.ledger().settled());
        let judged = claims.iter().map(|(claim, bytes)| volume.judge(claim, bytes)).collect();
        let committed = ingest.settle(&commit, &claims, judged, *now);
        assert!(committed.tally.balances(), "each unit has one fate");
        self.tally.add(&committed.tally);
        assert!(self.tally.balances());
        let mut archived: Vec<Archived> = Vec::new();
        commit.into_iter().flatten().for_each(|batch| archived.extend(batch.publish().units()));
        assert_eq!(archived.len() as u64, committed.tally.archived, "what is told is archived");
        for unit in &archived {
            let outcome = self.process.take(unit, self.now.tai);
            assert!(!outcome.events.is_empty(), "an archived unit is told at least");
        }
        for (_, fates) in committed.fates {
            for (prefix, ranges) in fates.receipts {
                let now_ns = self.now.mono_ms * 1_000_000;
                ranges.ranges().iter().for_each(|of| self.receiver.receipt(prefix, *of, now_ns));
                self.receipted.entry(prefix).or_default().extend(&ranges);
            }
            for of in fates.refusals {
                self.receiver.refuse(of.prefix, of.range, of.reason, of.retry_after_ms);
            }
        }
        self.held();
    }

    /// What was receipted is held, and the ledger within its bounds.
    fn held(&self) {
        let ledger = self.ingest.ledger();
        for (prefix, ranges) in &self.receipted {
            let held = ledger.counter(prefix).map(|counter| &counter.held);
            let missing = |of| held.is_none_or(|held| !held.missing_from(of).is_empty());
            assert!(!ranges.ranges().iter().any(|of| missing(*of)), "receipted and not held");
        }
        assert!(ledger.counters().count() <= PREFIXES_MAX);
        let within = ledger.counters().all(|(_, counter)| {
            counter.held.len() <= RANGES_MAX && counter.voided.len() <= RANGES_MAX
        });
        assert!(within, "ranges beyond the bound");
    }

    fn control(&mut self, bytes: &[u8]) -> bool {
        if self.receiver.control_bytes(bytes).is_err() {
            self.receiver = receiver(self.volume.ledger_id());
            return false;
        }
        while let Some(event) = self.receiver.poll_event() {
            if let ReceiverEvent::Hello { channels, .. } = event {
                let durable = self.ingest.durable(ORIGIN);
                let id = self.volume.ledger_id();
                let lost = lost_by_us(ORIGIN, |ledger| ledger == id, &channels, &durable);
                self.receiver.welcome(self.now.tai, durable);
                lost.into_iter().for_each(|(prefix, ranges)| self.receiver.ask(prefix, ranges));
            }
        }
        let mut bytes = 0;
        while let Some(message) = self.receiver.poll_control() {
            bytes += message.len();
        }
        assert!(bytes < 8 << 20, "{bytes} bytes of answers");
        true
    }

    /// Power is cut: what was not synced is gone.
    fn crash(self) -> Self {
        let mut after = Self::open(self.disk.crash()).expect("what is synced opens");
        after.receipted = self.receipted;
        after.held();
        after
    }
}

fn receiver(ledger: u64) -> Receiver {
    let limits = Limits { object_bytes_max: 2 << 20, unit_bytes_max: 1 << 20, objects_max: 8 };
    let config = ReceiverConfig { ledger, domain: "d".into(), limits, commit_ns: 10_000_000 };
    Receiver::new(config, ORIGIN)
}

/// A session's bytes through the whole ground core: control and objects, commits and power cuts.
pub fn ground(data: &[u8]) {
    let mut input = Input(data);
    let mut station = Station::open(MemoryDisk::default()).expect("an empty disk");
    while !input.0.is_empty() {
        match input.byte() % 8 {
            0..=3 => station.object(&mut input),
            4 => station.commit(),
            5 => {
                let length = usize::from(input.byte());
                station.control(input.take(length));
            }
            6 => {
                let ms = u64::from(input.word());
                station.now.mono_ms += ms;
                station.now.tai = station.now.tai.plus(ms as i64 * 1_000_000);
                station.receiver.handle_timeout(station.now.mono_ms * 1_000_000);
                station.control(&[]);
            }
            _ => station = station.crash(),
        }
    }
    station.commit();
    let receipted: u64 = station.receipted.values().map(RangeSet::count).sum();
    let mut disk = station.crash().disk;
    let audit = groundstation::audit::audit(&mut disk).expect("the disk reads");
    assert!(audit.is_clean() && audit.duplicates == 0, "{audit:?}");
    assert!(audit.units >= receipted, "{receipted} receipted, {} archived", audit.units);
}
