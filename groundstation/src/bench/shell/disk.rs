//! The raw disk, written as the archive writes it.

use super::super::report::Sample;
use super::child::cpu_s;
use crate::{
    archive::storage::{Storage as _, StoredFile as _},
    shell::disk::{Folder, WriteMode},
    sys::aligned::Aligned,
};
use anyhow::Context as _;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Bytes of a write: a full block of the archive, in whole megabytes.
const WRITE_BYTES: usize = 1 << 20;

/// Writes for so long, and syncs as often as a commit is due.
pub fn measure(
    dir: &Path,
    segment_bytes: u64,
    commit: Duration,
    seconds: f64,
) -> anyhow::Result<(Sample, WriteMode)> {
    let mut folder = Folder::at(dir);
    let mut block = Aligned::zeroed(WRITE_BYTES);
    for (at, byte) in block.iter_mut().enumerate() {
        *byte = (at as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3];
    }
    let (began, cpu) = (Instant::now(), cpu_s());
    let (mut bytes, mut files) = (0, 0);
    let write = |folder: &mut Folder, files: &mut u64, bytes: &mut u64| -> std::io::Result<()> {
        while began.elapsed().as_secs_f64() < seconds {
            let mut file = folder.create(&format!("disk-{files}"), segment_bytes)?;
            *files += 1;
            let mut synced = Instant::now();
            let mut at = 0;
            while at + WRITE_BYTES as u64 <= segment_bytes
                && began.elapsed().as_secs_f64() < seconds
            {
                let count = file.write_at(at, &block)?;
                at += count as u64;
                *bytes += count as u64;
                if synced.elapsed() >= commit {
                    file.sync()?;
                    synced = Instant::now();
                }
            }
            file.sync()?;
        }
        Ok(())
    };
    let written = write(&mut folder, &mut files, &mut bytes);
    let (wall_s, cpu_s) = (began.elapsed().as_secs_f64(), cpu_s() - cpu);
    for file in 0..files {
        let _ = folder.remove(&format!("disk-{file}"));
    }
    written.with_context(|| format!("write to {}", dir.display()))?;
    Ok((Sample { bytes, frames: 0, wall_s, cpu_s }, folder.write_mode()))
}
