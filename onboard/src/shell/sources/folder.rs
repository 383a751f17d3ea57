//! A watched folder on the file system: listing, reading and putting away.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use crate::{
    config::Finished,
    source::{
        folder::{ENTRIES_MAX, Listed},
        image::SIDECAR_BYTES_MAX,
    },
};

const DONE: &str = "done";
const REJECTED: &str = "rejected";

/// The folder itself, and those in it where files go.
pub fn parts(folder: &Path) -> [PathBuf; 3] {
    [folder.into(), folder.join(DONE), folder.join(REJECTED)]
}

/// The folder and those in it where files go.
#[derive(Clone)]
pub struct Place {
    folder: PathBuf,
    finished: Finished,
}

impl Place {
    /// Makes what is missing of a folder.
    pub fn make(folder: &Path, finished: Finished) -> anyhow::Result<Self> {
        for path in parts(folder) {
            fs::create_dir_all(&path)
                .with_context(|| format!("[source] {}: can't be made", path.display()))?;
        }
        Ok(Self { folder: folder.into(), finished })
    }

    /// Where it is, for people.
    pub fn describe(&self) -> String {
        self.folder.display().to_string()
    }

    /// Regular files of the folder.
    pub fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // A name that is no text can't be told to the ground either.
            let Ok(name) = entry.file_name().into_string() else { continue };
            // A link may lead anywhere: its target is not ours to move or delete.
            let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
            if metadata.is_file() {
                let stamp =
                    metadata.mtime() as u64 ^ (metadata.mtime_nsec() as u64).rotate_left(34);
                listed.push(Listed { name, length: metadata.len(), stamp });
            }
            if listed.len() >= ENTRIES_MAX {
                break;
            }
        }
        Ok(listed)
    }

    /// A whole file of at most so many bytes.
    pub fn read(&self, name: &str, most: u64) -> anyhow::Result<Vec<u8>> {
        let mut file = File::open(self.folder.join(name))?;
        let length = file.metadata()?.len();
        ensure!(length <= most, "{length} bytes are more than file_bytes_max = {most}");
        let mut bytes = Vec::with_capacity(length as usize);
        Read::by_ref(&mut file).take(most + 1).read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 <= most, "it grew above file_bytes_max = {most}");
        Ok(bytes)
    }

    /// The sidecar of a file, if there is one.
    pub fn sidecar(&self, names: &[String]) -> anyhow::Result<Option<(String, Vec<u8>)>> {
        for name in names {
            match self.read(name, SIDECAR_BYTES_MAX) {
                Ok(bytes) => return Ok(Some((name.clone(), bytes))),
                Err(error) => match error.downcast_ref::<io::Error>() {
                    Some(missing) if missing.kind() == io::ErrorKind::NotFound => {}
                    _ => return Err(error.context(format!("the sidecar {name}"))),
                },
            }
        }
        Ok(None)
    }

    /// Puts a file and its sidecar away once all of it is in the store. Durable when it returns:
    /// the store's memory of this file is about to be given to the next one.
    pub fn finish(&self, name: &str, sidecar: Option<&str>) -> io::Result<()> {
        // The sidecar last: without it the image would wait for one after a cut.
        for name in [Some(name), sidecar].into_iter().flatten() {
            match self.finished {
                Finished::Move => self.put(name, DONE)?,
                Finished::Delete => fs::remove_file(self.folder.join(name)).or_else(gone)?,
            }
        }
        self.sync()
    }

    /// Puts a file away that can't be taken, with the reason beside it.
    pub fn reject(&self, name: &str, sidecar: Option<&str>, reason: &str) -> io::Result<()> {
        let path = self.folder.join(REJECTED).join(format!("{name}.reason"));
        fs::write(path, format!("{reason}\n"))?;
        for name in [Some(name), sidecar].into_iter().flatten() {
            self.put(name, REJECTED)?;
        }
        self.sync()
    }

    fn put(&self, name: &str, below: &str) -> io::Result<()> {
        fs::rename(self.folder.join(name), self.folder.join(below).join(name)).or_else(gone)
    }

    fn sync(&self) -> io::Result<()> {
        for part in [Path::new(DONE), Path::new(REJECTED), Path::new("")] {
            File::open(self.folder.join(part))?.sync_all()?;
        }
        Ok(())
    }
}

/// What is gone already was put away before a cut.
fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
