//! The flight process's configuration: one TOML file, paths relative to it.

mod downlink;
mod health;
mod models;
mod slots;
mod source;
pub mod trial;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use codecs::{
    config::host_port,
    ids::Origin,
    link::{custody::Durability, profile::Profile},
    squeeze::columns::Level,
};
use serde::Deserialize;

pub use models::{Models, Run};

use crate::{
    store::{Limits, SEGMENTS_MIN},
    triage::Policy,
};
use codecs_quic::{MTU_DEFAULT, MTU_MAX, MTU_MIN};
pub use downlink::{Door, Downlink, Rf};
pub use health::Health;
pub use slots::ConfigSlots;
pub use source::{Finished, Source, Sources};

/// Least length of a segment: below it checkpoints would outweigh units.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;

/// Erase blocks that devices have, bytes.
const ERASE_BLOCKS: std::ops::RangeInclusive<u64> = 512..=64 << 20;
const DAY_MS: u64 = 86_400_000;

/// The least configuration that flies, with a connection; what tests add their own keys to.
pub const LEAST: &str = include_str!("config/least.toml");

/// Everything that the flight process is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which spacecraft.
    pub spacecraft: Spacecraft,
    /// Its keys and whom it trusts.
    pub identity: Identity,
    /// The station; none where there is only a radio.
    pub ground: Option<Ground>,
    /// Where packets and images come from.
    pub source: Sources,
    /// Where units are kept.
    pub store: StoreConfig,
    /// Models; without them statistics and policy do the work.
    #[serde(default)]
    pub models: Models,
    /// Blocks of recorded telemetry.
    #[serde(default)]
    pub squeeze: Squeeze,
    /// What goes down whole, as a summary, or not.
    #[serde(default)]
    pub triage: Triage,
    /// Frames of realtime telemetry.
    #[serde(default)]
    pub realtime: Realtime,
    /// How and when units go down.
    #[serde(default)]
    pub downlink: Downlink,
    /// How the flight software minds itself.
    #[serde(default)]
    pub health: Health,
    /// Where configurations that come up are kept.
    #[serde(default)]
    pub config: ConfigSlots,
    /// A recording of frames instead of packets, one frame a datagram.
    pub replay: Option<Replay>,
    /// CRC-32C of the file's text: which configuration this is.
    #[serde(skip)]
    pub digest: u32,
}

/// Which spacecraft this is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spacecraft {
    /// The mission's number.
    pub id: u16,
    /// Name for people.
    pub name: String,
}

/// Keys, as `groundstation init` wrote them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Certificate, PEM; needed with a `[ground]`.
    #[serde(default)]
    pub certificate: PathBuf,
    /// Its key, PEM.
    #[serde(default)]
    pub key: PathBuf,
    /// Certificate to use where the usual one or its key can't be read, from storage that nothing
    /// writes to.
    pub golden_certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub golden_key: Option<PathBuf>,
    /// `sha256:` and the hexadecimal digest of each SubjectPublicKeyInfo that may be the station's.
    #[serde(default)]
    pub ground_pins: Vec<String>,
    /// Domain whose statements are believed that come by radio.
    pub domain: Option<String>,
    /// Public Ed25519 keys that it may sign them with, 64 hexadecimal digits each.
    #[serde(default)]
    pub domain_keys: Vec<String>,
    /// Name of this store, 32 hexadecimal digits.
    pub origin: String,
}

/// The station.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ground {
    /// Address and port, UDP.
    pub address: String,
    /// Name in its certificate, sent in the handshake; the pin decides.
    pub server_name: String,
    /// Settings by kind of link: leo, geo, lunar or deep.
    #[serde(default = "leo")]
    pub profile: String,
    /// Largest UDP payload to search for, 1200 to 6550 bytes; the station must allow it too.
    #[serde(default = "mtu_max")]
    pub mtu_max: u16,
}

/// Where units are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Folder of its own.
    pub dir: PathBuf,
    /// Most bytes on disk.
    #[serde(default = "capacity")]
    pub capacity_bytes: u64,
    /// Length of a segment.
    #[serde(default = "segment")]
    pub segment_bytes: u64,
    /// Block that the device erases at once, bytes: segments are rounded up to whole ones.
    pub erase_block: Option<u64>,
    /// How long units wait for each other before they are synced together.
    #[serde(default = "commit")]
    pub commit_ms: u64,
    /// Least class of a receipt that lets a unit be erased, as the mission says it: `local` or
    /// `object-store`.
    #[serde(default = "local")]
    pub reclaimable: String,
}

/// Blocks of recorded telemetry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Squeeze {
    /// Packets of one block.
    pub block_packets: usize,
    /// In contact a block is closed after this time whatever it holds, and so is one that a score
    /// calls unusual.
    pub flush_ms: u64,
    /// Between contacts a block is closed after this time: what waits is lost with a power cut.
    pub flush_away_ms: u64,
    /// Entropy stage: `fast` or `dense`.
    pub level: Level,
}

/// Policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Triage {
    /// Policy file; without one, cloudy tiles go down as a summary and anomalies first.
    pub policy: Option<PathBuf>,
    /// What the policy file says.
    #[serde(skip)]
    pub rules: Option<Policy>,
    /// Cloud fraction above which a tile's summary goes down in its place, without a policy file.
    pub cloudy_above: f32,
    /// Application process whose packets are tiles.
    pub imager_apid: u16,
    /// Application processes whose recorded packets are worth least, without a policy file.
    pub bulk_apids: Vec<u16>,
}

/// Frames of realtime telemetry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Realtime {
    /// Spacecraft identifier in the frames.
    pub scid: u16,
    /// Virtual channel.
    pub vc: u8,
    /// Length of a frame.
    pub frame_bytes: usize,
    /// Application processes whose packets go down as they come.
    pub apids: Vec<u16>,
    /// A frame is closed after this time whatever it holds.
    pub flush_ms: u64,
}

/// A recording.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// `aos:LENGTH` or `tm:LENGTH`.
    pub frame: String,
    /// Whether frames end in an error control field.
    #[serde(default)]
    pub fecf: bool,
}

fn local() -> String {
    Durability::Local.name().into()
}

fn leo() -> String {
    "leo".into()
}

fn mtu_max() -> u16 {
    MTU_DEFAULT
}

fn capacity() -> u64 {
    256 << 20
}

fn segment() -> u64 {
    4 << 20
}

fn commit() -> u64 {
    20
}

impl Default for Squeeze {
    fn default() -> Self {
        Self { block_packets: 64, flush_ms: 2000, flush_away_ms: 64_000, level: Level::Dense }
    }
}

impl Default for Triage {
    fn default() -> Self {
        Self {
            policy: None,
            rules: None,
            cloudy_above: 0.7,
            imager_apid: 300,
            bulk_apids: vec![120],
        }
    }
}

impl Default for Realtime {
    fn default() -> Self {
        Self { scid: 71, vc: 0, frame_bytes: 1113, apids: vec![100, 103, 110], flush_ms: 1000 }
    }
}

impl Identity {
    /// The golden certificate and key, where both are named.
    pub fn golden(&self) -> Option<(&Path, &Path)> {
        Some((self.golden_certificate.as_deref()?, self.golden_key.as_deref()?))
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: can't read the configuration", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&path.display().to_string(), &text, folder)
    }

    /// Reads and checks text and the policy that it names; relative paths start at `folder`.
    pub fn parse(file: &str, text: &str, folder: &Path) -> anyhow::Result<Self> {
        let mut config: Self = codecs::config::parse(file, text)?;
        let identity = &config.identity;
        let named = ![&identity.certificate, &identity.key].contains(&&PathBuf::new());
        ensure!(
            config.ground.is_none() || named,
            "{file}: a [ground] needs [identity] certificate and key"
        );
        config.resolve(folder);
        config.store.round_segment();
        config.check().with_context(|| file.to_string())?;
        config.digest = codecs::fec::crc::crc32c(text.as_bytes());
        if config.health.every_s > 0 {
            config.realtime.apids.push(config.health.apid);
        }
        if let Some(policy) = &config.triage.policy {
            let text = std::fs::read_to_string(policy)
                .with_context(|| format!("{}: can't read the policy", policy.display()))?;
            config.triage.rules = Some(Policy::parse(&policy.display().to_string(), &text)?);
        }
        if let Some(plan) = config.downlink.plan.clone() {
            let text = std::fs::read_to_string(&plan)
                .with_context(|| format!("{}: can't read the contact plan", plan.display()))?;
            config.downlink.read_plan(&plan.display().to_string(), &text)?;
        }
        Ok(config)
    }

    fn resolve(&mut self, folder: &Path) {
        let always = [&mut self.identity.certificate, &mut self.identity.key, &mut self.store.dir];
        let optional = [
            self.identity.golden_certificate.as_mut(),
            self.identity.golden_key.as_mut(),
            self.triage.policy.as_mut(),
            self.health.watchdog.as_mut(),
            self.config.slots.as_mut(),
        ];
        let paths = always.into_iter().chain(optional.into_iter().flatten());
        for path in paths.chain(self.models.paths()) {
            *path = folder.join(&*path);
        }
        self.source.resolve(folder);
        self.downlink.resolve(folder);
    }

    /// All that is wrong in one error, since each round of a flight's configuration costs a person
    /// one.
    fn check(&self) -> anyhow::Result<()> {
        let ground = self.ground.as_ref();
        let checks = [
            self.origin().map(drop),
            ground.map_or(Ok(()), |_| self.pins().map(drop)),
            ground.map_or(Ok(()), |ground| ground.check()),
            self.replay_frame().map(drop),
            self.models.check(),
            self.check_downlink(),
            self.source.check(),
            self.health.check(),
            self.config.check(),
        ];
        let found = checks.into_iter().filter_map(|of| Some(format!("{:#}", of.err()?)));
        let mut faults: Vec<String> = found.collect();
        faults.extend(self.store_faults());
        faults.extend(self.squeeze_and_triage_faults());
        match faults.as_slice() {
            // What memory is needed follows from values that hold.
            [] => self.check_memory(),
            [one] => bail!("{one}"),
            many => bail!("{} values are wrong:\n  {}", many.len(), many.join("\n  ")),
        }
    }

    fn store_faults(&self) -> impl Iterator<Item = String> {
        let StoreConfig { capacity_bytes, segment_bytes, erase_block, .. } = self.store;
        let reclaimable = &self.store.reclaimable;
        let unknown = Durability::named(reclaimable).is_none();
        let unknown = unknown
            .then(|| format!("[store] reclaimable = {reclaimable:?}: local or object-store"));
        let block = erase_block.filter(|block| !ERASE_BLOCKS.contains(block)).map(|block| {
            format!(
                "[store] erase_block = {block}: {} to {} bytes, as the device's papers say",
                ERASE_BLOCKS.start(),
                ERASE_BLOCKS.end()
            )
        });
        let small = (segment_bytes < SEGMENT_BYTES_MIN).then(|| {
            format!("[store] segment_bytes = {segment_bytes}: at least {SEGMENT_BYTES_MIN}")
        });
        let few = capacity_bytes / segment_bytes.max(1) < SEGMENTS_MIN;
        let few = few.then(|| {
            format!(
                "[store] capacity_bytes = {capacity_bytes}: at least {SEGMENTS_MIN} segments of \
                 {segment_bytes}"
            )
        });
        [unknown, block, small, few].into_iter().flatten()
    }

    fn squeeze_and_triage_faults(&self) -> impl Iterator<Item = String> {
        let most = codecs::squeeze::columns::MAX_BLOCK_PACKETS;
        let packets = self.squeeze.block_packets;
        let packets = (!(1..=most).contains(&packets))
            .then(|| format!("[squeeze] block_packets = {packets}: 1 to {most}"));
        let late = |key: &str, value: u64| {
            let late = value > DAY_MS;
            late.then(|| format!("[squeeze] {key} = {value}: at most {DAY_MS}"))
        };
        let near = late("flush_ms", self.squeeze.flush_ms);
        let away = late("flush_away_ms", self.squeeze.flush_away_ms);
        let cloudy = self.triage.cloudy_above;
        let cloudy = (!(0.0..=1.0).contains(&cloudy))
            .then(|| format!("[triage] cloudy_above = {cloudy}: a fraction from 0 to 1"));
        [packets, near, away, cloudy].into_iter().flatten()
    }

    /// The store's name.
    pub fn origin(&self) -> anyhow::Result<Origin> {
        Origin::from_hex(&self.identity.origin).with_context(|| {
            format!("[identity] origin = {:?}: 32 hexadecimal digits", self.identity.origin)
        })
    }

    /// Digests of the keys that may be the station's.
    pub fn pins(&self) -> anyhow::Result<Vec<[u8; 32]>> {
        ensure!(
            !self.identity.ground_pins.is_empty(),
            "[identity] ground_pins is empty: no station could be trusted"
        );
        self.identity.ground_pins.iter().map(|pin| parse_pin(pin)).collect()
    }

    /// Kind and length of replayed frames.
    pub fn replay_frame(&self) -> anyhow::Result<Option<(FrameKind, usize)>> {
        let Some(replay) = &self.replay else { return Ok(None) };
        match frame_of(&replay.frame) {
            Some(frame) => Ok(Some(frame)),
            None => bail!("[replay] frame = {:?}: aos:LENGTH or tm:LENGTH", replay.frame),
        }
    }

    /// Least class that makes a unit reclaimable; [`Config::load`] checked the name.
    fn reclaimable(&self) -> Durability {
        Durability::named(&self.store.reclaimable).unwrap_or_default()
    }

    /// Bounds of the store.
    pub fn limits(&self) -> Limits {
        Limits {
            capacity_bytes: self.store.capacity_bytes,
            segment_bytes: self.store.segment_bytes,
            evict_bytes: 0,
            evict_on_full: true,
            least_class: self.reclaimable() as u8,
        }
    }
}

impl StoreConfig {
    /// A segment that ends within an erase block would have the device copy that block when the
    /// next one is written, or when this one is removed.
    fn round_segment(&mut self) {
        let block = self.erase_block.filter(|block| ERASE_BLOCKS.contains(block));
        self.segment_bytes = block
            .and_then(|block| self.segment_bytes.checked_next_multiple_of(block))
            .unwrap_or(self.segment_bytes);
    }
}

impl Ground {
    fn check(&self) -> anyhow::Result<()> {
        self.profile()?;
        if let Err(shape) = host_port(&self.address) {
            bail!("[ground] address = {:?}: {shape}", self.address);
        }
        let mtu = MTU_MIN..=MTU_MAX;
        ensure!(
            mtu.contains(&self.mtu_max),
            "[ground] mtu_max = {}: {MTU_MIN} to {MTU_MAX} bytes",
            self.mtu_max
        );
        Ok(())
    }

    /// Transport settings.
    pub fn profile(&self) -> anyhow::Result<Profile> {
        let name = &self.profile;
        Profile::named(name).with_context(|| {
            let known: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
            format!("[ground] profile = {name:?}: one of {}", known.join(", "))
        })
    }
}

/// Kind and length of frames, as `aos:LENGTH` or `tm:LENGTH`.
fn frame_of(text: &str) -> Option<(FrameKind, usize)> {
    let (kind, length) = text.split_once(':')?;
    let kind = match kind {
        "aos" => FrameKind::Aos,
        "tm" => FrameKind::Tm,
        _ => return None,
    };
    let length = length.parse().ok().filter(|length| (16..=65_536).contains(length))?;
    Some((kind, length))
}

/// 32 bytes from 64 hexadecimal digits.
fn bytes_of(digits: &str) -> Option<[u8; 32]> {
    let (high, low) = digits.split_at_checked(32)?;
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&Origin::from_hex(high)?.0);
    bytes[16..].copy_from_slice(&Origin::from_hex(low)?.0);
    Some(bytes)
}

/// Kind of a transfer frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// CCSDS 732.0-B-5.
    Aos,
    /// CCSDS 132.0-B-3.
    Tm,
}

fn parse_pin(text: &str) -> anyhow::Result<[u8; 32]> {
    let wrong = || format!("[identity] pin {text:?}: \"sha256:\" and 64 hexadecimal digits");
    let digits = text.strip_prefix("sha256:").with_context(wrong)?;
    bytes_of(digits).with_context(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = LEAST;

    fn error(text: &str) -> String {
        let error = Config::parse("onboard.toml", text, Path::new("/flight")).unwrap_err();
        format!("{error:#}")
    }

    #[test]
    fn segments_are_whole_erase_blocks() {
        let config = |keys: &str| {
            Config::parse("onboard.toml", &format!("{GOOD}{keys}"), Path::new("/flight"))
        };
        let segment = |keys: &str| config(keys).unwrap().limits().segment_bytes;
        assert_eq!(segment("erase_block = 131072\n"), 4 << 20);
        assert_eq!(segment("erase_block = 3145728\n"), 6 << 20);
        assert_eq!(segment("erase_block = 16777216\n"), 16 << 20);
        let wrong = |keys: &str| format!("{:#}", config(keys).unwrap_err());
        assert!(wrong("erase_block = 0\n").contains("erase_block = 0: 512 to"));
        // 256 MiB are not eight segments of 64 MiB.
        assert!(wrong("erase_block = 67108864\n").contains("at least 8 segments"));
    }

    #[test]
    fn everything_that_is_wrong_is_told_in_one_round() {
        let text = GOOD.replace(
            "dir = \"store\"",
            "dir = \"store\"\nreclaimable = \"here\"\nsegment_bytes = 0",
        );
        let more = "[squeeze]\nblock_packets = 0\nflush_ms = 99999999999\n[triage]\n\
                    cloudy_above = 2.0\n[config]\nstarts_max = 0\n[health]\nnice = 99\n";
        let said = error(&format!("{text}{more}"));
        for wanted in [
            "values are wrong",
            "reclaimable = \"here\"",
            "segment_bytes = 0",
            "block_packets = 0",
            "flush_ms = ",
            "cloudy_above = 2",
            "starts_max = 0",
            "nice = 99",
        ] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
    }

    #[test]
    fn paths_start_at_the_file() {
        let config = Config::parse("onboard.toml", GOOD, Path::new("/flight")).unwrap();
        assert_eq!(config.store.dir, Path::new("/flight/store"));
        assert_eq!(config.identity.key, Path::new("/flight/identity.key"));
        assert_eq!(config.pins().unwrap()[0][31], 0x1f);
        assert_eq!(config.squeeze.block_packets, 64);
    }

    #[test]
    fn mistakes_say_where_and_what_to_do() {
        assert_eq!(
            error(&GOOD.replace("dir = \"store\"", "dir = \"store\"\ncapacity_byte = 1")),
            "onboard.toml:18: unknown key `capacity_byte`; did you mean `capacity_bytes`?"
        );
        assert_eq!(
            error(&GOOD.replace("\"leo\"", "\"low\"")),
            "onboard.toml: [ground] profile = \"low\": one of leo, geo, lunar, deep"
        );
        let portless = error(&GOOD.replace("127.0.0.1:7117", "station.example.org"));
        assert!(portless.contains("[ground] address") && portless.contains("HOST:PORT"));
        assert!(error(&GOOD.replace("origin = \"00", "origin = \"0")).contains("32 hexadecimal"));
        assert!(error(&GOOD.replace("sha256:00", "sha256:0")).contains("64 hexadecimal"));
        assert!(
            error(&GOOD.replace("dir =", "capacity_bytes = 5000000\ndir =")).contains("8 segments")
        );
        assert!(error(&GOOD.replace("unix", "udp = \"127.0.0.1:1\"\nunix")).contains("either"));
        assert!(error(&format!("{GOOD}[replay]\nframe = \"uslp\"\n")).contains("aos:LENGTH"));
    }
}
