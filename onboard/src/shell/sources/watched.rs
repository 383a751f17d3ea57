//! A folder that is watched: the file that is being read, taken piece by piece, and put away.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::bail;
use bytes::Bytes;
use codecs::ids::Apid;
use serde_json::json;

use super::{
    Door, Of, PAUSE_NS, STRAY,
    folder::Place,
    reading::{Opened, Reading},
};
use crate::{
    config::{Config, Source},
    pipeline::Pipeline,
    source::{
        folder::{Content, Folder, sidecars},
        image,
        survey::{Survey, survey},
        taking::{Progress, Taking, digest},
    },
    triage,
};

/// A folder that is watched, and the file of it that is being taken.
pub(super) struct Watched {
    pub(super) reader: Reader,
    folder: Folder,
    pub(super) slot: u32,
    /// Whether any folder's file is being read.
    busy: Arc<AtomicBool>,
    pub(super) reading: Option<Reading>,
    pub(super) opened: Option<Opened>,
    taking: Option<(String, Option<String>, Taking)>,
}

/// What reads a file of a folder, in a thread of its own: a large file, or a slow disk, must not hold
/// up the others.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) place: Place,
    config: Source,
    apid: Apid,
    imager_apid: u16,
    /// Whether what is in files of packets are packets, and no frames of a recording.
    surveyed: bool,
    pub(super) kept: Option<Progress>,
}

impl Watched {
    /// Makes what is missing of the folder and begins to watch it.
    pub(super) fn open(
        config: &Config,
        source: &Source,
        folder: &Path,
        busy: &Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let content = if source.files.is_some() { Content::Images } else { Content::Packets };
        let imager_apid = config.triage.imager_apid;
        let reader = Reader {
            place: Place::make(folder, source.finished)?,
            config: source.clone(),
            apid: Apid(source.apid.unwrap_or(imager_apid)),
            imager_apid,
            surveyed: config.replay.is_none(),
            kept: None,
        };
        Ok(Self {
            reader,
            folder: Folder::new(content),
            slot: source.slot(),
            busy: busy.clone(),
            reading: None,
            opened: None,
            taking: None,
        })
    }
}

impl Of {
    /// The next piece of a file, or a look for one.
    pub(super) fn folder(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        let Door::Folder(watched) = &mut self.door else { return };
        let look_ns = watched.reader.config.look_ms * 1_000_000;
        if let Some(opened) = watched.opened.take() {
            self.due_ns = now_ns;
            return self.begin(opened, pipeline, now_ns);
        }
        let Some((_, _, taking)) = &mut watched.taking else {
            self.due_ns = now_ns.saturating_add(look_ns);
            return self.look(now_ns);
        };
        if taking.is_done() {
            // It waits for its commit.
            self.due_ns = now_ns.saturating_add(look_ns);
            return;
        }
        let bytes = taking.piece_bytes();
        let wait_ns = self.gate.wait_ns(bytes, now_ns);
        if wait_ns > 0 {
            self.due_ns = now_ns.saturating_add(wait_ns);
            return;
        }
        self.gate.spend(bytes);
        let made = taking.step(pipeline, watched.slot, now_ns);
        watched.reader.kept = Some(taking.progress());
        self.report.taken += made.taken;
        self.report.bytes += made.bytes;
        self.dropped(STRAY, made.stray_bytes);
        for reason in made.dropped {
            self.dropped(&reason.to_string(), 1);
        }
        self.heard(pipeline, now_ns);
    }

    fn look(&mut self, now_ns: u64) {
        let Door::Folder(watched) = &mut self.door else { return };
        // Memory is reckoned for one file at a time.
        if watched.busy.load(Ordering::Acquire) {
            return;
        }
        let listed = match watched.reader.place.list() {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(source = self.report.name, "the folder can't be read: {error}");
                return;
            }
        };
        let Some(name) = watched.folder.look(&listed) else { return };
        match Reading::begin(watched.reader.clone(), name, &watched.busy) {
            Ok(reading) => {
                watched.reading = Some(reading);
                self.due_ns = now_ns;
            }
            Err(error) => tracing::error!("no thread to read files with: {error}"),
        }
    }

    /// Takes up a file that was read, or puts it aside.
    fn begin(&mut self, opened: Opened, pipeline: &mut Pipeline, now_ns: u64) {
        let Door::Folder(watched) = &mut self.door else { return };
        let Opened { name, sidecar, taking } = opened;
        match taking {
            Ok(taking) => {
                watched.taking = Some((name, sidecar, taking));
                self.due_ns = now_ns;
            }
            Err(reason) => {
                let reason = format!("{reason:#}");
                tracing::warn!(source = self.report.name, file = name, "rejected: {reason}");
                self.report.files_rejected += 1;
                if let Err(error) = watched.reader.place.reject(&name, sidecar.as_deref(), &reason)
                {
                    tracing::error!("{name}: can't be put away: {error}");
                }
                let record = json!({
                    "event": "file rejected", "source": self.report.name, "file": name,
                    "reason": reason,
                });
                pipeline.record(record, pipeline.time(now_ns), triage::RECORDS);
            }
        }
    }

    /// Everything that was made is durable: a file that is through is put away.
    pub(super) fn put_away(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        let Door::Folder(watched) = &mut self.door else { return };
        let Some((name, sidecar, taking)) = watched.taking.take_if(|of| of.2.is_done()) else {
            return;
        };
        let place = &watched.reader.place;
        let put = match taking.faults() {
            None => place.finish(&name, sidecar.as_deref()),
            Some(faults) => place.reject(&name, sidecar.as_deref(), &in_part(faults)),
        };
        if let Err(error) = put {
            // It is known by its progress when it is looked at again.
            tracing::error!("{name}: can't be put away: {error}");
            self.due_ns = now_ns.saturating_add(PAUSE_NS);
            return;
        }
        self.due_ns = now_ns;
        let source = &self.report.name;
        let record = match taking.faults() {
            None => {
                self.report.files += 1;
                json!({ "event": "file taken", "source": source, "file": name })
            }
            Some(faults) => {
                self.report.files_in_part += 1;
                tracing::warn!(source, file = name, "taken in part: {faults}");
                json!({
                    "event": "file taken in part", "source": source, "file": name,
                    "reason": faults,
                })
            }
        };
        pipeline.record(record, pipeline.time(now_ns), triage::RECORDS);
    }
}

impl Reader {
    /// Reads a file and takes it up where it was left.
    pub(super) fn open(&self, name: &str) -> (Option<String>, anyhow::Result<Taking>) {
        let images = self.config.files.is_some();
        let beside = match images.then(|| self.place.sidecar(&sidecars(name))).transpose() {
            Ok(beside) => beside.flatten(),
            Err(error) => return (None, Err(error)),
        };
        let (sidecar, text) = beside.unzip();
        let taking = self.read(name, text.as_deref(), images);
        (sidecar, taking)
    }

    fn read(&self, name: &str, sidecar: Option<&[u8]>, images: bool) -> anyhow::Result<Taking> {
        let Source { tile_side, file_bytes_max, image_bytes_max, packet_bytes_max, .. } =
            self.config;
        let bytes = self.place.read(name, file_bytes_max)?;
        let digest = digest(name, tile_side, &bytes, sidecar.unwrap_or_default());
        if !images {
            let bytes = Bytes::from(bytes);
            let survey = match self.surveyed {
                true => survey(&bytes, packet_bytes_max, self.imager_apid),
                false => Survey::default(),
            };
            match survey {
                Survey { packets: 0, faults: Some(faults) } => bail!("no packet in it: {faults}"),
                Survey { faults, .. } => {
                    return Ok(Taking::packets(digest, self.kept, bytes, packet_bytes_max, faults));
                }
            }
        }
        let mut image = image::read(name, &bytes, sidecar, image_bytes_max)?;
        image.reflectance = image.reflectance.or(self.config.reflectance());
        Ok(Taking::tiles(digest, self.kept, image, tile_side, self.apid)?)
    }
}

/// The words beside a file of which something was taken.
fn in_part(faults: &str) -> String {
    format!("taken but for this:\n{faults}")
}
