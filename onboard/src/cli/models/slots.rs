//! `onboard models install, promote, rollback, list`: slots that no flight has open; `pack` is for
//! those that one has.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use codecs::package::{MANIFEST_FILE, PIECE_HEADER_BYTES, Piece, SIGNATURE_FILE, Trust};
use serde_json::json;

use super::TrustArgs;
use crate::{
    config::Models,
    models::{Slots, Task, Thresholds, thresholds::THRESHOLDS_FILE},
    shell::models::{Folder, Loader, open, prove},
};

#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Folder of slots; made where there is none
    slots: PathBuf,
    /// Folder of a package or a threshold file, or a bundle
    package: PathBuf,
    #[command(flatten)]
    trusted: TrustArgs,
    /// Asks it from the next start on
    #[arg(long)]
    promote: bool,
}

#[derive(Debug, Args)]
pub struct TaskArgs {
    /// Folder of slots
    slots: PathBuf,
    /// `telemetry` or `tiles`
    #[arg(value_parser = task)]
    task: Task,
    #[command(flatten)]
    trusted: TrustArgs,
}

#[derive(Debug, Args)]
pub struct PackArgs {
    /// Folder of a package or a threshold file
    package: PathBuf,
    /// Folder to write the pieces into
    out: PathBuf,
    /// Bytes of a piece, at most 1 MiB
    #[arg(long, default_value_t = 256 << 10, value_parser = clap::value_parser!(u64)
        .range(128..=1 << 20))]
    piece_bytes: u64,
    #[command(flatten)]
    trusted: TrustArgs,
}

fn task(name: &str) -> Result<Task, String> {
    Task::named(name).ok_or_else(|| "telemetry or tiles".into())
}

/// Whether a folder holds slots.
pub fn is_slots(dir: &Path) -> bool {
    !dir.join(MANIFEST_FILE).exists()
        && ["journal.0", "journal.1"].iter().any(|name| dir.join(name).is_file())
}

fn slots(dir: &Path, trusted: &TrustArgs) -> anyhow::Result<Slots<Folder>> {
    let folder = Folder::open(dir)?;
    let mut slots =
        Slots::open(folder, trusted.trust()?).with_context(|| dir.display().to_string())?;
    for notice in slots.take_notices() {
        say!("note: {notice}");
    }
    Ok(slots)
}

fn existing(args: &TaskArgs) -> anyhow::Result<Slots<Folder>> {
    let shown = args.slots.display();
    anyhow::ensure!(is_slots(&args.slots), "{shown}: no model slots here: install a package first");
    slots(&args.slots, &args.trusted)
}

/// Lists what is in the slots.
pub fn list(dir: &Path, trusted: &TrustArgs, json: bool) -> anyhow::Result<()> {
    let slots = slots(dir, trusted)?;
    if json {
        say!("{}", json!({ "slots": slots.list(), "received": slots.received() }));
        return Ok(());
    }
    for view in slots.list() {
        let held = &view.held;
        let failed = held.failed.as_ref().map(|why| format!(", failed: {why}")).unwrap_or_default();
        let (task, slot) = (view.task.name(), view.slot.letter());
        say!("{task} {slot}: {} {}, {}{failed}", held.name, held.version, view.role);
        if let Some(digest) = &held.thresholds {
            say!("  thresholds of SHA-256 {digest}");
        }
        for (name, value) in &held.parameters {
            say!("  {name} = {value}");
        }
    }
    if let Some(digest) = slots.received() {
        say!("received and not installed: SHA-256 {digest}");
    }
    if let Some((digest, total, here)) = slots.under_way() {
        say!("on its way: {here} of {total} bytes of SHA-256 {digest}");
    }
    Ok(())
}

/// A threshold file as one, once it holds; none where the path is a package's.
fn thresholds(path: &Path, trust: &Trust) -> anyhow::Result<Option<Bytes>> {
    let bundle = if path.is_file() {
        Bytes::from(std::fs::read(path)?)
    } else if path.join(THRESHOLDS_FILE).is_file() {
        let file = |name: &str| std::fs::read(path.join(name));
        Thresholds::bundle(&file(THRESHOLDS_FILE)?, &file(SIGNATURE_FILE)?)?
    } else {
        return Ok(None);
    };
    if !Thresholds::is_bundle(&bundle) {
        return Ok(None);
    }
    Thresholds::from_bundle(&bundle, trust).with_context(|| path.display().to_string())?;
    Ok(Some(bundle))
}

/// Installs a package, or puts a threshold file in force for the active one.
pub fn install(args: &InstallArgs) -> anyhow::Result<()> {
    let trust = args.trusted.trust()?;
    if let Some(bundle) = thresholds(&args.package, &trust)? {
        let task = Thresholds::from_bundle(&bundle, &trust)?.task;
        let mut slots = slots(&args.slots, &args.trusted)?;
        slots.put(&bundle)?;
        let of = slots.set_thresholds(task)?;
        say!("{}: thresholds {} {} in force", task.name(), of.name, of.version);
        return Ok(());
    }
    let package = open(&args.package, &trust)?;
    let manifest = package.manifest();
    let task = Task::ALL.into_iter().find(|task| manifest.fulfils(task.contract()));
    let task = task.with_context(|| {
        format!("{}: does none of the tasks here, it does {:?}", manifest.name, manifest.tasks)
    })?;
    let bundle = match args.package.is_file() {
        true => std::fs::read(&args.package)?.into(),
        false => onboard_model::Package::bundle(&args.package, &trust)?,
    };
    let loader =
        Loader::new(&Models { runtime: args.trusted.runtime.clone(), ..Models::default() });
    let mut slots = slots(&args.slots, &args.trusted)?;
    slots.put(&bundle)?;
    let slot = slots.install(task, &mut |package| prove(&loader, package))?;
    let (name, version) = (&manifest.name, &manifest.version);
    say!("{} {}: {name} {version}, known answers hold", task.name(), slot.letter());
    if args.promote {
        let slot = slots.promote(task)?;
        say!("{} {}: active", task.name(), slot.letter());
    }
    Ok(())
}

/// Makes the other slot active.
pub fn promote(args: &TaskArgs) -> anyhow::Result<()> {
    let slot = existing(args)?.promote(args.task)?;
    say!("{} {}: active", args.task.name(), slot.letter());
    Ok(())
}

/// Takes the active slot out of service.
pub fn roll_back(args: &TaskArgs) -> anyhow::Result<()> {
    let next = existing(args)?.roll_back(args.task, "by command")?;
    match next {
        Some(slot) => say!("{} {}: active", args.task.name(), slot.letter()),
        None => say!("{}: no model, statistics are in charge", args.task.name()),
    }
    Ok(())
}

/// Writes pieces.
pub fn pack(args: &PackArgs) -> anyhow::Result<()> {
    let trust = args.trusted.trust()?;
    let bundle = match thresholds(&args.package, &trust)? {
        Some(bundle) => bundle,
        None => onboard_model::Package::bundle(&args.package, &trust)?,
    };
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let content = args.piece_bytes as usize - PIECE_HEADER_BYTES;
    let pieces = Piece::cut(&bundle, content);
    for (number, piece) in pieces.iter().enumerate() {
        let path = args.out.join(format!("piece-{number:04}"));
        std::fs::write(&path, piece.encode()).with_context(|| path.display().to_string())?;
    }
    let stale = stale(&args.out, pieces.len())?;
    for path in &stale {
        std::fs::remove_file(path).with_context(|| path.display().to_string())?;
    }
    if !stale.is_empty() {
        say!("{} pieces of a longer pack before are removed", stale.len());
    }
    let digest = codecs::package::Digest::of(&bundle);
    say!("{} pieces of {} bytes, SHA-256 {digest}", pieces.len(), bundle.len());
    Ok(())
}

/// Pieces of an earlier pack that lie behind the last of this one: sent with it, they spoil it.
fn stale(out: &Path, pieces: usize) -> anyhow::Result<Vec<PathBuf>> {
    let is_stale = |name: &str| {
        let number = name.strip_prefix("piece-").filter(|digits| digits.len() >= 4);
        number.and_then(|digits| digits.parse::<usize>().ok()).is_some_and(|of| of >= pieces)
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(out).with_context(|| out.display().to_string())? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_stale) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #[test]
    fn pieces_behind_the_last_one_are_stale_and_other_files_are_left() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["piece-0000", "piece-0002", "piece-0003", "piece-12", "notes", "piece-0003.x"]
        {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let mut found = super::stale(dir.path(), 2).unwrap();
        found.sort();
        assert_eq!(found, ["piece-0002", "piece-0003"].map(|name| dir.path().join(name)));
    }
}
