//! The uplink log's file.

use crate::uplink::{Entry, read, recall, rewrite};
use codecs::link::uplink::queue::UplinkQueue;
use std::{
    fs::{File, OpenOptions, rename},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// File of the log, in the archive's folder.
pub const UPLINK_LOG: &str = "uplink.log";

/// An open log: entries go to its end, and are synced before anyone is told.
#[derive(Debug)]
pub struct UplinkLog {
    file: File,
    /// Bytes of synced entries; what a failed write left behind them is cut off before the next.
    length: u64,
}

impl UplinkLog {
    /// Reads the log, or starts one under the id `fresh`, and writes it anew without what is
    /// forgotten. A log that can't be read whole is kept beside it, and the one that follows it
    /// counts under `fresh`.
    pub fn open(path: &Path, domain: &str, fresh: u64) -> io::Result<(Self, UplinkQueue)> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let read = read(&bytes);
        if read.unread > 0 {
            let aside = path.with_extension("damaged");
            tracing::warn!(
                bytes = read.unread, kept = %aside.display(),
                "the uplink log has bytes that can't be read: a cut at its end, or damage"
            );
            std::fs::copy(path, aside)?;
        }
        let id = read.id(fresh);
        let queue = recall(domain, id, read);
        let anew = path.with_extension("new");
        let bytes = rewrite(&queue, id);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&anew)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        rename(&anew, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok((Self { file, length: bytes.len() as u64 }, queue))
    }

    /// Appends an entry; returns after the disk has it.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let bytes = entry.encode();
        if self.file.metadata()?.len() != self.length {
            self.file.set_len(self.length)?;
        }
        self.file.write_all_at(&bytes, self.length)?;
        self.file.sync_data()?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}
