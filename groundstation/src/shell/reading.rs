//! An archive that a command reads, beside a running daemon or without one: that it is the one that
//! was kept, and what of it can't be read any more.

use super::{disk::Folder, follow::START, mission, witness};
use crate::{
    archive::{
        read::{Damaged, claims, missing, replay},
        record::Position,
        segment::number_of,
        storage::Storage as _,
        twice::Twice,
    },
    audit::{self, Damage},
    config::Config,
    gaps::{Contact, ContactId, Contacts as _, Heard},
    witness::Finding,
};
use anyhow::{Context as _, bail};
use codecs::{
    ids::{SeqRange, SpacecraftId},
    mission::Definition,
};
use serde::Serialize;

/// Places named one by one; the rest is counted.
const LISTED_MAX: usize = 1_000;
/// Places named to a person.
const SHOWN_MAX: usize = 10;

/// The archive of a station, or why it can't be read: `run` refuses the same.
pub fn open(config: &Config) -> anyhow::Result<Folder> {
    let dir = config.path(&config.archive.dir);
    let what = || format!("archive {}", dir.display());
    let path = witness::path(config);
    let witness = witness::load(&path).with_context(|| path.display().to_string())?;
    let mut folder = Folder::at(&dir);
    let found = match dir.is_dir() {
        true => audit::ledger_of(&mut folder).with_context(what)?,
        false => None,
    };
    match (witness.judge(found), found) {
        (Finding::Emptied(last), _) => bail!(
            "{} is empty or gone, and ledger {last:016x} was kept there (says {}): mount it, or \
             bring it back with `groundstation restore`",
            what(),
            path.display()
        ),
        (Finding::Other(last), _) => {
            tracing::warn!("{}: another ledger than {last:016x} is kept here now", what());
        }
        (Finding::First, None) => {
            bail!("{}: nothing was archived there yet; `groundstation run` does", what())
        }
        (Finding::First | Finding::Same, _) => {}
    }
    Ok(folder)
}

/// Refuses spacecraft that neither mission, station file nor archive know: what was to be asked of
/// another would look like nothing.
pub fn known(
    config: &Config,
    definition: &Definition,
    folder: &mut Folder,
    wanted: &[SpacecraftId],
) -> anyhow::Result<()> {
    let mut known = mission::spacecraft(definition);
    known
        .extend(config.principals.iter().flat_map(|of| &of.spacecraft).map(|id| SpacecraftId(*id)));
    if wanted.iter().all(|id| known.contains(id)) {
        return Ok(());
    }
    // Only now: the newest segment must be read for it.
    let claims = claims(folder)?;
    known.extend(claims.came.keys().chain(claims.let_go.keys()).map(|of| of.spacecraft));
    let newest = folder.list()?.iter().filter_map(|name| number_of(name)).max().unwrap_or(0);
    let (start, end) =
        (Position { segment: newest, offset: 0 }, Position { segment: u64::MAX, offset: u64::MAX });
    replay(folder, &Twice::NOTHING, start, end, |unit| {
        known.insert(unit.key.prefix.spacecraft);
        Ok(())
    })?;
    match wanted.iter().find(|id| !known.contains(id)) {
        Some(unknown) => bail!(
            "spacecraft {}: neither mission, station file nor archive knows it; they know {}",
            unknown.0,
            known.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(", ")
        ),
        None => Ok(()),
    }
}

/// Finds a contact in what was received. Reads the whole archive: a contact may begin long before
/// the moment that names it.
pub fn contact(folder: &mut Folder, id: &ContactId) -> anyhow::Result<Contact> {
    let mut heard = Heard::default();
    let (start, end) = (START, Position { segment: u64::MAX, offset: u64::MAX });
    let twice = Twice::find(folder)?;
    replay(folder, &twice, start, end, |unit| {
        if unit.key.prefix.spacecraft == id.spacecraft {
            heard.note(id.spacecraft, unit.received);
        }
        Ok(())
    })?;
    pick(&heard.of(id.spacecraft), id)
}

/// The contact of a name.
pub fn pick(contacts: &[Contact], id: &ContactId) -> anyhow::Result<Contact> {
    let found = contacts.iter().find(|contact| contact.is(id));
    found.copied().with_context(|| {
        let known: Vec<String> = contacts
            .iter()
            .rev()
            .take(SHOWN_MAX)
            .map(|contact| contact.id(id.spacecraft).to_string())
            .collect();
        match known.is_empty() {
            true => format!("contact {id}: nothing was received of spacecraft {}", id.spacecraft.0),
            false => format!("no contact {id}; the latest are {}", known.join(", ")),
        }
    })
}

/// What could not be read.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PassedOver {
    /// Places.
    pub count: u64,
    /// Bytes of them, at most.
    pub bytes: u64,
    /// The first of them.
    pub places: Vec<Damage>,
}

impl PassedOver {
    /// Begins with the segments from `from` on that are not there.
    pub fn missing(folder: &mut Folder, from: u64) -> anyhow::Result<Self> {
        let mut passed_over = Self::default();
        let gone = missing(folder)?;
        let gone = gone.ranges().iter();
        let gone = gone.filter_map(|run| SeqRange::new(run.first.max(from), run.last));
        gone.for_each(|run| passed_over.add(Damage::missing(run)));
        Ok(passed_over)
    }

    /// Adds what a reading came upon.
    pub fn note(&mut self, damaged: &Damaged) {
        self.add(damaged.into());
    }

    fn add(&mut self, damage: Damage) {
        self.count += 1;
        self.bytes += damage.bytes;
        if self.places.len() < LISTED_MAX {
            self.places.push(damage);
        }
    }

    /// Whether everything could be read.
    pub const fn is_none(&self) -> bool {
        self.count == 0
    }

    /// Lines for a person; none where everything could be read.
    pub fn lines(&self) -> Vec<String> {
        if self.is_none() {
            return Vec::new();
        }
        let mut lines = vec![format!(
            "passed over: {} damaged places of the archive, {} bytes; what stood there is not in \
             this",
            self.count, self.bytes
        )];
        lines.extend(self.places.iter().take(SHOWN_MAX).map(|place| format!("  {place}")));
        if self.count > SHOWN_MAX as u64 {
            lines.push(format!("  and {} more", self.count - SHOWN_MAX as u64));
        }
        lines.push("`groundstation audit` names each, and how to bring it back".into());
        lines
    }
}
