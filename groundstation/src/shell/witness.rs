//! The witness on disk, replaced whole.

use super::wall_clock;
use crate::{
    config::Config,
    witness::{Finding, Witness},
};
use anyhow::{Context as _, bail};
use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Where it stands: beside the station file, named after the archive's folder.
pub fn path(config: &Config) -> PathBuf {
    let name = config.archive.dir.file_name().unwrap_or("archive".as_ref());
    let mut name = name.to_os_string();
    name.push(".ledgers");
    config.path(Path::new(&name))
}

/// Reads it; absent is empty.
pub fn load(path: &Path) -> io::Result<Witness> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Witness::from_text(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Witness::default()),
        Err(error) => Err(error),
    }
}

/// Replaces it; durable when this returns.
pub fn store(path: &Path, witness: &Witness) -> io::Result<()> {
    let fresh = path.with_extension("ledgers.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(witness.text().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Refuses an archive that is empty where one was kept, unless a new ledger is wanted: a disk that
/// is not mounted must not become a new archive on the disk below.
pub fn refuse_emptied(config: &Config, found: Option<u64>, new_ledger: bool) -> anyhow::Result<()> {
    let path = path(config);
    let witness = load(&path).with_context(|| format!("{}", path.display()))?;
    match witness.judge(found) {
        Finding::Emptied(last) if !new_ledger => bail!(
            "archive {} is empty, and ledger {last:016x} was kept there (says {}): mount it or \
             bring it back; `--new-ledger` begins a new one, and what the old one alone held is \
             asked for again",
            config.path(&config.archive.dir).display(),
            path.display()
        ),
        Finding::Emptied(last) => tracing::warn!("ledger {last:016x} is gone; a new one begins"),
        Finding::Other(last) => tracing::warn!("another ledger than {last:016x} is kept here now"),
        Finding::First | Finding::Same => {}
    }
    Ok(())
}

/// Notes the ledger that is kept from now on, behind the `older` ones that a bucket knows; all that
/// were kept before it. A station without the file keeps its units all the same.
pub fn note(config: &Config, older: &[u64], ledger: u64) -> BTreeSet<u64> {
    let path = path(config);
    let mut witness = load(&path).unwrap_or_default();
    let before: BTreeSet<u64> = witness.before(ledger).collect();
    for id in older.iter().filter(|id| !before.contains(id)) {
        witness.note(*id, wall_clock());
    }
    if witness.note(ledger, wall_clock())
        && let Err(error) = store(&path, &witness)
    {
        let file = path.display();
        tracing::warn!(%error, %file, "an emptied archive will not be told from a fresh one");
    }
    witness.before(ledger).collect()
}
