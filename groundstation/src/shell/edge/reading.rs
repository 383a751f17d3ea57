//! A file or standard input, read from its start to its end.

use super::{
    files,
    inputs::{CHUNK_BYTES, Feed, FromInput, Phase},
};
use crate::edge::{
    finished::{FileIdentity, how},
    recorded::{Recorded, Stamp},
    taken::{FileMark, Taken},
};
use codecs::{link::object::TimeSource, time::Tai};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
};

/// A file on a disk, as far as it was read.
struct Reading {
    place: (u64, u64),
    from: u64,
    how: u64,
    bytes: u64,
    digest: Sha256,
}

impl Reading {
    /// None of what can't be read again.
    fn begin(file: &mut File, how: u64) -> Option<Self> {
        let (place, from) = (files::place(file)?, file.stream_position().ok()?);
        Some(Self { place, from, how, bytes: 0, digest: Sha256::new() })
    }

    fn read(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        self.digest.update(chunk);
    }

    fn mark(&self) -> FileMark {
        let ((device, inode), digest) = (self.place, self.digest.clone().finalize().into());
        FileMark { device, inode, how: self.how, bytes: self.bytes, digest }
    }
}

fn marked(message: Option<FromInput>, reading: Option<&Reading>) -> Option<FromInput> {
    match message? {
        FromInput::Heard { input, units, .. } => {
            Some(FromInput::Heard { input, units, read: reading.map(Reading::mark) })
        }
        other => Some(other),
    }
}

/// Which time units have.
enum Timing {
    /// What the clock says as they are read.
    Clock(TimeSource),
    /// What is said of the recording, whose first bit came then.
    Stated(Recorded, Tai),
}

fn changed(file: FileIdentity) -> Tai {
    let nanos = file.changed_ns.rem_euclid(1_000_000_000) as u32;
    Tai::from_unix(file.changed_ns.div_euclid(1_000_000_000), nanos)
}

impl Timing {
    /// Bytes that may have one time.
    fn piece_bytes(&self) -> usize {
        match self {
            Self::Clock(_) => CHUNK_BYTES,
            Self::Stated(recorded, _) => recorded.piece_bytes(),
        }
    }
}

impl Feed {
    /// Which time the units of a file have; told, where it is not that of their reception.
    fn timing(&self, file: &File) -> Timing {
        let (input, clock) = (&self.of().name, self.now(TimeSource::Reading).received);
        let identity = files::identity(file);
        let Some(recorded) = self.of().recorded else {
            // What comes through a pipe may be heard this very moment.
            if identity.is_none() {
                return Timing::Clock(TimeSource::Measured);
            }
            tracing::warn!(
                input,
                "its units have the time at which they are read, not that at which they were heard: \
                 `received` and `rate` tell the latter"
            );
            return Timing::Clock(TimeSource::Reading);
        };
        let (bytes, written) = identity.map_or((0, clock), |of| (of.bytes, changed(of)));
        let begun = recorded.begin(bytes, written);
        let last = recorded.after(begun, bytes).received;
        let (from, until) = (begun.to_rfc3339(), last.to_rfc3339());
        tracing::info!(input, from, until, "heard then, as is stated");
        if last > clock {
            tracing::warn!(input, until, "that is in the future: look at `received` and `rate`");
        }
        Timing::Stated(recorded, begun)
    }

    /// When the last of so many bytes of a file came.
    fn came(&self, timing: &Timing, bytes: u64) -> Stamp {
        match timing {
            Timing::Clock(source) => self.now(*source),
            Timing::Stated(recorded, begun) => recorded.after(*begun, bytes),
        }
    }

    /// What is wrong is likelier what is said of the file than the file.
    fn tell_barren(&self, bytes: u64) {
        let (input, carrying) = (&self.of().name, &self.of().carrying);
        tracing::warn!(
            input,
            bytes,
            "gave no unit, read as {carrying}: look at carries, frame, coding, asm and symbols, or \
             ask `groundstation inspect --guess`; it does not count as read"
        );
    }

    /// A file whose units the spool has.
    pub(super) fn pass_over(self) {
        let name = &self.of().name;
        tracing::info!(input = name, "was read to its end before; --again reads it once more");
        self.hub.tally(self.input).passed_over = true;
        let _ = self.to.blocking_send(FromInput::Ended {
            input: self.input,
            whole: None,
            barren: false,
        });
    }

    pub(super) fn file(self, mut file: File, noted: Option<Taken>) {
        let mut stream = self.begin();
        let mut reading = Reading::begin(&mut file, how(&self.of().carrying));
        if let Some(Reading { place, from, .. }) = reading {
            let resumed = noted.filter(|of| files::begins_with(&file, from, &of.file));
            let _ =
                self.to.blocking_send(FromInput::Begun { input: self.input, file: place, resumed });
        }
        let timing = self.timing(&file);
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut lost, mut total, mut at_end, mut gave) = (Ok(()), 0, false, false);
        while let Some(stream) = &mut stream
            && *self.phase.borrow() < Phase::Stop
        {
            let read = match file.read(&mut chunk) {
                Ok(0) => {
                    at_end = true;
                    break;
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(input = self.of().name, "{error}");
                    break;
                }
            };
            if let Some(reading) = &mut reading {
                reading.read(&chunk[..read]);
            }
            let mut units = Vec::new();
            for piece in chunk[..read].chunks(timing.piece_bytes()) {
                total += piece.len() as u64;
                lost = self.cut(stream, (piece, self.came(&timing, total)), &mut units);
                if lost.is_err() {
                    break;
                }
            }
            gave |= !units.is_empty();
            if let Some(message) = marked(self.message(units), reading.as_ref())
                && self.to.blocking_send(message).is_err()
            {
                return;
            }
            if lost.is_err() {
                break;
            }
        }
        // Behind a place where the stream is lost nothing would come of it another time either; a
        // file that grew meanwhile is not read whole.
        let ended = lost.is_err() || at_end;
        let whole = files::identity(&file).filter(|identity| {
            lost.is_err()
                || (at_end && reading.as_ref().is_some_and(|of| of.from + total == identity.bytes))
        });
        let came = self.came(&timing, total);
        let last = stream.and_then(|stream| self.end(stream, came, lost));
        let barren = ended && !gave && last.is_none();
        if barren {
            self.tell_barren(total);
        }
        // What waits for more in a file that goes on another time waits for that.
        let last = last.filter(|_| ended || reading.is_none());
        let ended =
            FromInput::Ended { input: self.input, whole: whole.filter(|_| !barren), barren };
        for message in marked(last, reading.as_ref()).into_iter().chain([ended]) {
            let _ = self.to.blocking_send(message);
        }
    }
}
