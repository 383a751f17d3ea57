//! The bound on counters that were used, on disk: no crash makes one be used again.

use codecs::ids::SpacecraftId;
use std::{
    fs::{File, rename},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// The file of one spacecraft.
#[derive(Clone)]
pub struct CounterFile {
    path: PathBuf,
}

impl CounterFile {
    /// In the archive's folder; with the bound that it holds. Where it can't be read the clock is
    /// what makes counters rise.
    pub fn open(folder: &Path, spacecraft: SpacecraftId) -> io::Result<(Self, u64)> {
        let path = folder.join(format!("rf-{}.counter", spacecraft.0));
        let kept = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
            text => match text.ok().and_then(|text| text.trim_end().parse().ok()) {
                Some(kept) => kept,
                None => {
                    let file = path.display();
                    tracing::warn!("{file}: no number; counters of statements go by the clock");
                    0
                }
            },
        };
        Ok((Self { path }, kept))
    }

    /// Keeps a bound; returns after the disk has it.
    pub fn keep(&self, bound: u64) -> io::Result<()> {
        let anew = self.path.with_extension("new");
        let mut file = File::create(&anew)?;
        writeln!(file, "{bound}")?;
        file.sync_all()?;
        rename(&anew, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_and_nonsense_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let open = || CounterFile::open(dir.path(), SpacecraftId(7)).unwrap();
        let (file, kept) = open();
        assert_eq!(kept, 0);
        file.keep(u64::MAX).unwrap();
        file.keep(41).unwrap();
        assert_eq!(open().1, 41);
        std::fs::write(dir.path().join("rf-7.counter"), [0xFF, b'1']).unwrap();
        assert_eq!(open().1, 0);
    }
}
