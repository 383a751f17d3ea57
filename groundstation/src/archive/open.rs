//! Opening an archive: the last checkpoint, and a scan of what came after it.

use super::{
    Archive, Settings,
    blocks::{self, Blocks},
    holes,
    index::Index,
    intake::Intake,
    losses, note_if_void,
    record::{BLOCK_BYTES, Position},
    retain::Floor,
    scan::{Hole, ScanEnd, Step, scan},
    seal::{Chain, Ending, write_end},
    segment::{HeaderError, SegmentHeader, file_name, number_of},
    storage::{Storage, StoredFile},
    volume::Volume,
};
use crate::ledger::Ledger;
use codecs::{ids::RangeSet, time::Tai};
use std::{collections::BTreeMap, io};

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Segments on disk.
    pub segments: usize,
    /// Segments that had to be scanned.
    pub scanned: usize,
    /// Units found in those.
    pub units: u64,
    /// Records that were acknowledged and no longer hold.
    pub damage: Vec<(u64, Hole)>,
    /// Stretches of the last commit that were never finished.
    pub torn: Vec<(u64, Hole)>,
    /// Segments that a crash left without a single record.
    pub removed: Vec<u64>,
    /// Segments that are not there, though a header or an index knows of them.
    pub missing: RangeSet,
    /// Units that went with those and are marked lost from now on.
    pub lost: u64,
}

/// Why an archive can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk says no.
    #[error("archive {name}: {error}")]
    Io {
        /// Which file.
        name: String,
        /// What the system says.
        error: io::Error,
    },
    /// Written by another version.
    #[error("archive {name}: {error}; use a program of that version or another archive folder")]
    Version {
        /// Which file.
        name: String,
        /// Which version.
        error: HeaderError,
    },
    /// No header and no floor holds, so the ledger can't be known.
    #[error("archive: none of {0} segments has a header that holds; restore one from a copy")]
    NoHeader(usize),
}

fn at(name: String) -> impl FnOnce(io::Error) -> OpenError {
    move |error| OpenError::Io { name, error }
}

/// A segment that opening looks at.
struct Candidate<F> {
    number: u64,
    file: F,
    header: Option<(SegmentHeader, u64)>,
}

impl<S: Storage> Archive<S> {
    /// Opens or begins an archive. `fresh_ledger_id` names the ledger of one that is begun.
    ///
    /// What the scan finds is synced before this returns, so that nothing is told durable that the
    /// disk may still lose.
    pub fn open(
        mut storage: S,
        settings: Settings,
        fresh_ledger_id: u64,
    ) -> Result<(Self, OpenReport), OpenError> {
        let names = storage.list().map_err(at("folder".into()))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        let floor = Floor::settle(&mut storage, &names, &mut numbers, fresh_ledger_id)
            .map_err(at("floor".into()))?;
        let mut report = OpenReport::default();
        let known = floor.header().is_some();
        let candidates = candidates(&mut storage, &mut numbers, known, &mut report)?;
        report.segments = numbers.len();
        let mut volume = Volume::new(storage, settings, fresh_ledger_id, &numbers, floor);
        volume.conflicts = names.iter().filter(|name| name.ends_with(".conflict")).count();
        let intake = Intake::new(Ledger::new(), Blocks::new(blocks::COUNT));
        let mut archive = Self { intake, volume };
        archive.recover(candidates, &mut report)?;
        let volume = &mut archive.volume;
        let between = losses::read(&mut volume.storage, &names, volume.next_number);
        if let Some(header) = between.map_err(at("checkpoint".into()))? {
            archive.intake.ledger = header.checkpoint;
        }
        let Self { intake, volume } = &mut archive;
        holes::settle(intake, volume, &names, &numbers, &mut report)
            .map_err(at("missing segments".into()))?;
        Ok((archive, report))
    }

    /// Scans candidates (oldest first; the first has the checkpoint) into the ledger.
    fn recover(
        &mut self,
        mut candidates: Vec<Candidate<S::File>>,
        report: &mut OpenReport,
    ) -> Result<(), OpenError> {
        let ends: BTreeMap<u64, u64> = candidates
            .iter()
            .filter_map(|candidate| candidate.header.as_ref()?.0.previous)
            .collect();
        if let Some((header, _)) = candidates.first().and_then(|first| first.header.as_ref()) {
            self.volume.ledger_id = header.ledger_id;
            self.intake.ledger = header.checkpoint.clone();
        } else if let Some(header) = self.volume.floor.header() {
            // No unit yet, or no header that holds: the floor is what everything follows on.
            self.volume.ledger_id = header.ledger_id;
            self.intake.ledger = header.checkpoint.clone();
        }
        for candidate in &mut candidates {
            let number = candidate.number;
            let from = candidate.header.as_ref().map_or(BLOCK_BYTES as u64, |header| header.1);
            let end = ends.get(&number).copied();
            let mut index = Index::default();
            let mut chain = Chain::of(&candidate.file, from).map_err(at(file_name(number)))?;
            let (mut units, mut unit_bytes, mut latest) = (0, 0, Tai(0));
            let ledger = &mut self.intake.ledger;
            let found = scan(
                &candidate.file,
                number,
                from,
                end.unwrap_or(u64::MAX),
                end.is_some(),
                |step| {
                    match step {
                        Step::Unit { offset, header, bytes } => {
                            units += 1;
                            unit_bytes += bytes.len() as u64;
                            latest = latest.max(header.received);
                            chain.scanned(&header, Position { segment: number, offset });
                            index.add(&header.key, offset);
                            ledger.note(&header.key, bytes.len() as u64);
                            note_if_void(ledger, &header.key, bytes);
                        }
                        Step::Damage(hole) => report.damage.push((number, hole)),
                    }
                    Ok(())
                },
            );
            let found = found.map_err(at(file_name(number)))?;
            report.scanned += 1;
            report.units += units;
            let ended = match end {
                Some(end) => end,
                None => {
                    let ending = Ending {
                        number,
                        at: found.end,
                        units,
                        bytes: unit_bytes,
                        sealed: latest,
                        footer: chain.footer(),
                    };
                    let settled = settle_tail(&mut candidate.file, &found, &ending);
                    settled.map_err(at(file_name(number)))?
                }
            };
            self.volume.footer = found.footer.unwrap_or_else(|| chain.footer());
            report.torn.extend(found.torn.into_iter().map(|hole| (number, hole)));
            let volume = &mut self.volume;
            volume.previous = Some((number, ended));
            volume.catalogue.add(&mut volume.storage, number, &index);
        }
        self.volume.storage.sync_names().map_err(at("folder".into()))
    }
}

/// The tail is made durable before anyone hears of it, and sealed, so that what a crash cut short is
/// a segment like any other; where it ends. Torn tails stay as they are, for people to look at.
fn settle_tail(file: &mut impl StoredFile, found: &ScanEnd, ending: &Ending) -> io::Result<u64> {
    file.sync()?;
    if found.sealed || !found.torn.is_empty() {
        return Ok(found.end);
    }
    // To a block: only a sealed file ends elsewhere.
    let cut = found.end.next_multiple_of(BLOCK_BYTES as u64);
    let sealed = match cut == found.end {
        true => write_end(file, ending),
        false => Err(io::ErrorKind::InvalidData.into()),
    };
    sealed.or_else(|_| {
        file.truncate(cut)?;
        file.sync()?;
        Ok(found.end)
    })
}

/// The last segments, from the newest checkpoint that holds on; removes what a crash left empty.
fn candidates<S: Storage>(
    storage: &mut S,
    numbers: &mut Vec<u64>,
    floor: bool,
    report: &mut OpenReport,
) -> Result<Vec<Candidate<S::File>>, OpenError> {
    let mut candidates = Vec::new();
    let mut rest = numbers.clone();
    while let Some(number) = rest.pop() {
        let name = file_name(number);
        let file = storage.open(&name).map_err(at(name.clone()))?;
        let header = match SegmentHeader::read(&file, number).map_err(at(name.clone()))? {
            Ok(header) => Some(header),
            Err(error @ HeaderError::Version(_)) => return Err(OpenError::Version { name, error }),
            Err(error) => {
                tracing::warn!(segment = number, %error, "segment header does not hold");
                None
            }
        };
        let newest = candidates.is_empty();
        let from = header.as_ref().map_or(BLOCK_BYTES as u64, |header| header.1);
        if newest && is_empty(&file, number, from, header.is_some()).map_err(at(name.clone()))? {
            storage.remove(&name).map_err(at(name))?;
            numbers.retain(|other| *other != number);
            report.removed.push(number);
            continue;
        }
        let checkpoint = header.is_some();
        candidates.push(Candidate { number, file, header });
        if checkpoint {
            candidates.reverse();
            return Ok(candidates);
        }
    }
    if !floor && !candidates.is_empty() {
        return Err(OpenError::NoHeader(numbers.len()));
    }
    // The floor says what was held before the first of them.
    candidates.reverse();
    Ok(candidates)
}

/// Whether the newest segment never held a record: nothing in it can have been acknowledged.
///
/// Behind a header that holds, anything that is not zero counts as a record that was there.
fn is_empty(file: &impl StoredFile, number: u64, from: u64, header: bool) -> io::Result<bool> {
    // The first unit answers the question: the scan is broken off there.
    let mut found_unit = false;
    let scanned = scan(file, number, from, u64::MAX, false, |step| {
        found_unit |= matches!(step, Step::Unit { .. });
        if found_unit { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    });
    if found_unit {
        return Ok(false);
    }
    let found = scanned?;
    Ok(found.end == from && !found.sealed && (!header || found.torn.is_empty()))
}
