//! Reads what was chosen out of an archive, beside a running daemon: for `replay` and `export`.

use super::{
    disk::Folder,
    doors::Stop,
    mission,
    reading::{self, PassedOver},
    signals,
};
use crate::{
    archive::{
        heard::read_as_heard,
        read::{Damaged, Found},
        record::Position,
        segment::{SegmentHeader, file_name, number_of},
        storage::{Storage as _, StoredFile as _},
        twice::Twice,
    },
    commands::WrongUsage,
    config::Config,
    door::{
        select::{Parcel, Selector},
        spec::{Goods, Selection},
    },
    gaps::ContactId,
};
use anyhow::Context as _;
use codecs::{
    ids::{Apid, SpacecraftId},
    time::Tai,
};
use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write as _},
    ops::ControlFlow,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// Frames this long before the first chosen one are read too: packets begin in them.
const BEFORE_NS: i64 = 30_000_000_000;
/// A clock at an antenna may be ahead of the station's by this much.
const CLOCKS_NS: i64 = 3_600_000_000_000;

/// What of the archive is wanted.
#[derive(Clone, Debug, clap::Args)]
pub struct Choice {
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    pub config: PathBuf,
    /// Frames, or the packets in them
    #[arg(long, value_enum, default_value = "packets")]
    pub send: Goods,
    /// Only this spacecraft, by number; may be given again
    #[arg(long, value_name = "NUMBER")]
    pub spacecraft: Vec<u16>,
    /// Only this virtual channel; may be given again
    #[arg(long, value_name = "0-63", value_parser = clap::value_parser!(u8).range(..64))]
    pub vc: Vec<u8>,
    /// Only packets of this application; may be given again
    #[arg(long, value_name = "0-2046", value_parser = clap::value_parser!(u16).range(..2047))]
    pub apid: Vec<u16>,
    /// Only what this antenna heard; otherwise the merged view of all
    #[arg(long, value_name = "NUMBER")]
    pub antenna: Option<u16>,
    /// Received at or after this time, such as 2026-11-26T14:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub from: Option<Tai>,
    /// Received before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Tai>,
    /// Only what was received in this contact, as `groundstation gaps` names it
    #[arg(
        long,
        value_name = "SPACECRAFT:TIME",
        conflicts_with_all = ["from", "until", "spacecraft"]
    )]
    pub contact: Option<ContactId>,
    /// Erred frames, and packets with bytes of erred frames, too
    #[arg(long)]
    pub erred: bool,
}

fn time(text: &str) -> Result<Tai, String> {
    let day = format!("{text}T00:00:00Z");
    let read = Tai::from_rfc3339(text).or_else(|| Tai::from_rfc3339(&day));
    read.ok_or_else(|| "a time is 2026-11-26T14:00:00Z, or 2026-11-26 for its beginning".into())
}

/// How a reading ended.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// Frames or packets handed out.
    pub parcels: u64,
    /// What was chosen and could not go out, by why.
    pub left_out: BTreeMap<&'static str, u64>,
    /// What of the archive could not be read.
    pub passed_over: PassedOver,
    /// It was broken off.
    pub broken_off: bool,
}

impl Read {
    /// Whether everything that was chosen could be read.
    pub const fn is_complete(&self) -> bool {
        !self.broken_off && self.passed_over.is_none()
    }
}

impl Choice {
    /// The station file, checked, and that there is an archive to read: before anyone is waited for
    /// or anything is made.
    pub fn load(&self) -> anyhow::Result<Config> {
        if self.send == Goods::Frames && !self.apid.is_empty() {
            let wrong = "frames have no --apid; `--send packets` chooses by it";
            return Err(WrongUsage(wrong.into()).into());
        }
        if let (Some(from), Some(until)) = (self.from, self.until)
            && from > until
        {
            let (from, until) = (from.to_rfc3339(), until.to_rfc3339());
            let wrong = format!("--from {from} is after --until {until}: nothing lies between");
            return Err(WrongUsage(wrong).into());
        }
        let config = Config::load(&self.config)?;
        let mut folder = reading::open(&config)?;
        let definition = mission::load(&config.path(&config.mission))?;
        reading::known(&config, &definition, &mut folder, &self.spacecraft())?;
        Ok(config)
    }

    /// What a door of this choice hands out.
    pub fn selection(&self) -> Selection {
        Selection {
            goods: self.send,
            spacecraft: self.spacecraft(),
            virtual_channels: self.vc.clone(),
            apids: self.apid.iter().copied().map(Apid).collect(),
            antenna: self.antenna,
            erred: self.erred,
        }
    }

    fn spacecraft(&self) -> Vec<SpacecraftId> {
        let named = self.spacecraft.iter().copied().map(SpacecraftId);
        named.chain(self.contact.map(|contact| contact.spacecraft)).collect()
    }

    /// From when, and until when.
    fn span(&self, folder: &mut Folder) -> anyhow::Result<(Option<Tai>, Tai)> {
        let Some(id) = &self.contact else {
            return Ok((self.from, self.until.unwrap_or(Tai(i64::MAX))));
        };
        let contact = reading::contact(folder, id)?;
        Ok((Some(contact.from), Tai(contact.to.0.saturating_add(1))))
    }

    /// Hands out what is chosen in the order in which it was heard.
    pub fn read(
        &self,
        config: &Config,
        stop: &Stop,
        mut out: impl FnMut(Parcel) -> ControlFlow<()>,
    ) -> anyhow::Result<Read> {
        let dir = config.path(&config.archive.dir);
        let what = || format!("archive {}", dir.display());
        let mut folder = reading::open(config)?;
        let definition = mission::load(&config.path(&config.mission))?;
        let mut selector = Selector::of_reading(self.selection(), &definition);
        let mut progress = Progress::new(&mut folder).with_context(what)?;
        let (after, until) = self.span(&mut folder).with_context(what)?;
        let from = Position { segment: progress.first(after), offset: 0 };
        let mut passed_over = PassedOver::missing(&mut folder, from.segment).with_context(what)?;
        let mut chosen = Read::default();
        let mut hand_out = |ready: &mut Vec<Parcel>, chosen: &mut Read| {
            let within = ready.drain(..).filter(|parcel| {
                after.is_none_or(|after| parcel.received >= after) && parcel.received < until
            });
            for parcel in within {
                chosen.parcels += 1;
                out(parcel)?;
            }
            ControlFlow::Continue(())
        };
        let (mut ready, mut latest) = (Vec::new(), Tai(i64::MIN));
        let end = Position { segment: u64::MAX, offset: u64::MAX };
        let mut first = Progress::new(&mut folder).with_context(what)?;
        let look = |position| {
            first.at(position);
            if stop.is_over() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        };
        let twice = Twice::find(&mut folder).with_context(what)?;
        let result = read_as_heard(&mut folder, &twice, (from, end), look, |found| {
            let unit = match found {
                Found::Unit(unit) => unit,
                Found::Damage(damaged) => {
                    if self.concerns(&damaged) {
                        passed_over.note(&damaged);
                    }
                    return Ok(());
                }
            };
            progress.at(unit.position);
            let early = after.is_some_and(|after| unit.received.since(after) < -BEFORE_NS);
            if early || unit.received >= until {
                return Ok(());
            }
            latest = latest.max(unit.received);
            // Waits as long as it waited when it came.
            let now_ns = latest.0.max(0) as u64;
            selector.take(&unit, now_ns, &mut |parcel| ready.push(parcel));
            selector.poll(now_ns, &mut |parcel| ready.push(parcel));
            match stop.is_over() || hand_out(&mut ready, &mut chosen).is_break() {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => Ok(()),
            }
        });
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => chosen.broken_off = true,
            result => result.with_context(what)?,
        }
        if !chosen.broken_off {
            selector.flush(&mut |parcel| ready.push(parcel));
            chosen.broken_off = hand_out(&mut ready, &mut chosen).is_break();
        }
        chosen.left_out = selector.take_left_out();
        chosen.passed_over = passed_over;
        Ok(chosen)
    }

    /// Whether damage may have cost something of this choice.
    fn concerns(&self, damaged: &Damaged) -> bool {
        let Damaged::Record { hole, .. } = damaged else { return true };
        // Where nothing says what stood there it may have been anything.
        let Some(prefix) = hole.key.map(|key| key.prefix) else { return true };
        let vc = prefix.channel.as_virtual_channel().map(|(_, _, vc, _)| vc);
        let spacecraft = self.spacecraft();
        (spacecraft.is_empty() || spacecraft.contains(&prefix.spacecraft))
            && (self.vc.is_empty() || vc.is_none_or(|vc| self.vc.contains(&vc)))
    }
}

/// A signal breaks off what is under way, in order.
pub fn stop_on_signal() -> anyhow::Result<Stop> {
    let stop = Stop::default();
    let asked = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        if runtime.block_on(signals::stop()).is_ok() {
            asked.now();
        }
    })?;
    Ok(stop)
}

/// Tells a person how far it is.
struct Progress {
    /// Segments with when they were begun and how many bytes stand before them.
    segments: BTreeMap<u64, (Option<Tai>, u64)>,
    bytes: u64,
    told: Instant,
    shown: bool,
    person: bool,
}

impl Progress {
    fn new(folder: &mut Folder) -> io::Result<Self> {
        let mut numbers: Vec<u64> =
            folder.list()?.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        let (mut segments, mut bytes) = (BTreeMap::new(), 0);
        for number in numbers {
            let file = folder.open(&file_name(number))?;
            let header = SegmentHeader::read(&file, number)?.ok();
            segments.insert(number, (header.map(|(header, _)| header.begun), bytes));
            bytes += file.length()?;
        }
        let person = io::stderr().is_terminal();
        Ok(Self { segments, bytes, told: Instant::now(), shown: false, person })
    }

    /// The first segment that may hold what was received at or after a time: nothing arrives
    /// before it was received.
    fn first(&self, from: Option<Tai>) -> u64 {
        let Some(from) = from else { return 0 };
        let before = self.segments.iter().rev().find(|(_, (begun, _))| {
            begun.is_some_and(|begun| begun.since(from) < -(BEFORE_NS + CLOCKS_NS))
        });
        before.map_or(0, |(number, _)| *number)
    }

    fn at(&mut self, position: Position) {
        if !self.person || self.told.elapsed() < Duration::from_secs(1) {
            return;
        }
        (self.told, self.shown) = (Instant::now(), true);
        let before = self.segments.get(&position.segment).map_or(0, |(_, before)| *before);
        let percent = 100 * (before + position.offset) / self.bytes.max(1);
        let _ = write!(io::stderr(), "\r{percent:3} % of {} MB", self.bytes >> 20);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r{:24}\r", "");
        }
    }
}
