//! `groundstation export`: what the archive holds, as files.

use super::{
    door_files,
    doors::rename_new,
    history::{Choice, stop_on_signal},
};
use crate::{
    commands::{WrongUsage, say},
    door::{
        framing::Framing,
        select::{About, Parcel},
        spec::{FramingKind, Goods},
    },
};
use anyhow::{Context as _, anyhow, bail};
use codecs::{frame::cadu::Coding, link::object::TimeSource, time::Tai};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::OpenOptions,
    io::{self, Write as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Bytes that wait for one file.
const BUFFER_BYTES: usize = 64 << 10;
/// Bytes that wait for all files.
const BUFFERED_BYTES_MAX: usize = 32 << 20;

/// Write what the archive holds into files: frames by virtual channel or packets by application
///
/// Reads beside a running daemon. Nothing is overwritten, and a file appears under its name when all
/// are whole: where a disk fills up or a signal ends it, nothing is left. Where the archive is
/// damaged, everything that can be read is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    groundstation export out --send packets --index\n  \
    groundstation export out --send frames --vc 0 --from 2026-11-26 --until 2026-11-27\n\n\
    Exit codes: 0 everything chosen is written, 1 it is not, 2 wrong usage.")]
pub struct ExportArgs {
    /// Folder to write into; made where it is missing
    pub dir: PathBuf,
    #[command(flatten)]
    choice: Choice,
    /// What stands around each frame or packet
    #[arg(long, value_enum, default_value = "raw")]
    pub framing: FramingKind,
    /// Coding of CADUs, such as rs:223:i4:dual,randomized:255
    #[arg(long, value_name = "CODING")]
    pub coding: Option<Coding>,
    /// Beside each file, one JSON line for each frame or packet: when, where, which
    #[arg(long)]
    pub index: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// One file.
#[derive(Debug, Serialize)]
struct Output {
    file: String,
    spacecraft: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    vc: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apid: Option<u16>,
    count: u64,
    bytes: u64,
    first: String,
    last: String,
    #[serde(skip)]
    span: (Tai, Tai),
    #[serde(skip)]
    framing: Framing,
    #[serde(skip)]
    waiting: Vec<u8>,
    #[serde(skip)]
    lines: Vec<u8>,
}

/// A line of an index.
#[derive(Serialize)]
struct Line {
    received: String,
    offset: u64,
    bytes: usize,
    count: u64,
    #[serde(skip_serializing_if = "is_false")]
    erred: bool,
    /// What `received` rests on, where it was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

struct Export<'a> {
    args: &'a ExportArgs,
    outputs: BTreeMap<String, Output>,
    /// Files that have no name of their own yet.
    partial: BTreeSet<String>,
    waiting: usize,
    unframed: u64,
}

/// Exports.
pub fn run(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let config = args.choice.load()?;
    if args.framing == FramingKind::Cadu && args.choice.send == Goods::Packets {
        return Err(WrongUsage("a CADU holds a frame: `--send frames`".into()).into());
    }
    if args.coding.is_some() && args.framing != FramingKind::Cadu {
        return Err(WrongUsage("only `--framing cadu` has a --coding".into()).into());
    }
    let spare = door_files::is_spare(&config, &args.choice.config, &args.dir);
    spare.map_err(|why| anyhow!("{why}"))?;
    let stop = stop_on_signal()?;
    let what = || format!("folder {}", args.dir.display());
    std::fs::create_dir_all(&args.dir).with_context(what)?;
    let (outputs, partial) = (BTreeMap::new(), BTreeSet::new());
    let mut export = Export { args, outputs, partial, waiting: 0, unframed: 0 };
    let mut failed = None;
    let read = args.choice.read(&config, &stop, |parcel| match export.take(&parcel) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    let nothing_left =
        || format!("the export failed; nothing of it is left in {}", args.dir.display());
    if let Some(error) = failed {
        return Err(error.context(nothing_left()));
    }
    if read.broken_off {
        bail!("broken off; nothing of this export is left in {}", args.dir.display());
    }
    export.finish().with_context(nothing_left)?;
    let mut left_out = read.left_out.clone();
    if export.unframed > 0 {
        left_out.insert("framing", export.unframed);
    }
    let outputs: Vec<&Output> = export.outputs.values().collect();
    match args.json {
        true => say(&json!({
            "complete": read.is_complete(),
            "files": outputs,
            "left_out": left_out,
            "damaged": read.passed_over,
        })
        .to_string()),
        false => {
            for output in &outputs {
                let Output { file, count, bytes, first, last, .. } = output;
                say(&format!("{file}: {count} from {first} to {last}, {bytes} bytes"));
            }
            for (reason, count) in &left_out {
                say(&format!("{count} left out: {reason}"));
            }
            if outputs.is_empty() {
                say("nothing in the archive is of this choice");
            }
            read.passed_over.lines().iter().for_each(|line| say(line));
        }
    }
    Ok(if read.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Export<'_> {
    fn take(&mut self, parcel: &Parcel) -> anyhow::Result<()> {
        let craft = parcel.spacecraft.0;
        let (name, vc, apid, count, erred) = match parcel.about {
            About::Frame { vc, count, erred } => {
                (format!("frames-{craft}-vc{vc:02}.bin"), Some(vc), None, count, erred)
            }
            About::Nameless { count } => {
                (format!("frames-{craft}-unidentified.bin"), None, None, count, true)
            }
            About::Packet { apid: Some(apid), count } => {
                let name = format!("packets-{craft}-apid{:04}.bin", apid.0);
                (name, None, Some(apid.0), count.into(), false)
            }
            About::Packet { apid: None, count } => {
                (format!("packets-{craft}-encapsulation.bin"), None, None, count.into(), false)
            }
        };
        if !self.outputs.contains_key(&name) {
            let output = self.begin(&name, craft, (vc, apid), parcel.received)?;
            self.outputs.insert(name.clone(), output);
        }
        let Some(output) = self.outputs.get_mut(&name) else { return Ok(()) };
        let before = output.waiting.len();
        if output.framing.write(&parcel.bytes, &mut output.waiting).is_err() {
            output.waiting.truncate(before);
            self.unframed += 1;
            return Ok(());
        }
        let bytes = output.waiting.len() - before;
        if self.args.index {
            let received = parcel.received.to_rfc3339();
            let measured = parcel.source == TimeSource::Measured;
            let source = (!measured).then(|| parcel.source.name());
            let line = Line { received, offset: output.bytes, bytes, count, erred, source };
            let lines = output.lines.len();
            serde_json::to_writer(&mut output.lines, &line)?;
            output.lines.push(b'\n');
            self.waiting += output.lines.len() - lines;
        }
        output.count += 1;
        output.bytes += bytes as u64;
        let (first, last) = output.span;
        output.span = (first.min(parcel.received), last.max(parcel.received));
        self.waiting += bytes;
        if output.waiting.len() + output.lines.len() >= BUFFER_BYTES {
            self.waiting -= write(&self.args.dir, output)?;
        }
        if self.waiting > BUFFERED_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn begin(
        &mut self,
        name: &str,
        spacecraft: u16,
        (vc, apid): (Option<u8>, Option<u16>),
        received: Tai,
    ) -> anyhow::Result<Output> {
        let index = self.args.index.then(|| index_name(name));
        for name in [name.to_string()].into_iter().chain(index) {
            let path = self.args.dir.join(&name);
            if path.symlink_metadata().is_ok() {
                bail!("{}: nothing is overwritten; choose another folder", path.display());
            }
            let partial = partial(&self.args.dir, &name);
            let made = OpenOptions::new().write(true).create_new(true).open(&partial);
            made.with_context(|| partial.display().to_string())?;
            self.partial.insert(name);
        }
        Ok(Output {
            file: name.into(),
            spacecraft,
            vc,
            apid,
            count: 0,
            bytes: 0,
            first: String::new(),
            last: String::new(),
            span: (received, received),
            framing: Framing::new(self.args.framing, self.args.coding.unwrap_or(Coding::NONE)),
            waiting: Vec::new(),
            lines: Vec::new(),
        })
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        for output in self.outputs.values_mut() {
            self.waiting -= write(&self.args.dir, output)?;
            (output.first, output.last) = (output.span.0.to_rfc3339(), output.span.1.to_rfc3339());
        }
        Ok(())
    }
}

impl Export<'_> {
    /// Gives every file its name, once all are on the disk.
    fn finish(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        let dir = &self.args.dir;
        for name in &self.partial {
            let path = partial(dir, name);
            let synced = OpenOptions::new().append(true).open(&path).and_then(|it| it.sync_data());
            synced.with_context(|| path.display().to_string())?;
        }
        while let Some(name) = self.partial.first().cloned() {
            let path = dir.join(&name);
            rename_new(&partial(dir, &name), &path).with_context(|| path.display().to_string())?;
            self.partial.remove(&name);
        }
        Ok(())
    }
}

impl Drop for Export<'_> {
    fn drop(&mut self) {
        for name in &self.partial {
            let _ = std::fs::remove_file(partial(&self.args.dir, name));
        }
    }
}

/// What a file is called until all are whole.
fn partial(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!(".{name}.{}.partial", std::process::id()))
}

fn index_name(name: &str) -> String {
    name.replace(".bin", ".jsonl")
}

/// Writes what waits for a file; how many bytes did. Opened each time: there may be more files
/// than a process may have open.
fn write(dir: &Path, output: &mut Output) -> anyhow::Result<usize> {
    let mut written = 0;
    for (name, waiting) in
        [(output.file.clone(), &mut output.waiting), (index_name(&output.file), &mut output.lines)]
    {
        if waiting.is_empty() {
            continue;
        }
        let path = partial(dir, &name);
        let append = |waiting: &[u8]| -> io::Result<()> {
            OpenOptions::new().append(true).open(&path)?.write_all(waiting)
        };
        append(waiting).with_context(|| path.display().to_string())?;
        written += waiting.len();
        waiting.clear();
    }
    Ok(written)
}
