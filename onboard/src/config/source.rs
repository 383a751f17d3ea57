//! Sources: `[source]` for one, `[[source]]` for several at once.

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::ensure;
use codecs::fec::crc::crc32c;
use serde::{
    Deserialize, Deserializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use crate::{
    score::tiles::BATCH_MAX,
    source::{
        PACKET_BYTES_MAX,
        image::{SIDE_MAX, TILE_BYTES_MAX},
        limits::Limits,
        stream::Delimiting,
    },
    triage::Reflectance,
};

/// Most sources.
pub const SOURCES_MAX: usize = 32;
/// Speeds that a line may have, bits a second.
pub(super) const BAUDS: std::ops::RangeInclusive<u32> = 50..=20_000_000;
/// First of the store's slots that sources keep their progress in.
const SLOTS: u32 = 0xfffd_0000;

/// What becomes of a file that was taken whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finished {
    /// It is moved to `done/` in its folder.
    #[default]
    Move,
    /// It is deleted.
    Delete,
}

/// Where something comes from: exactly one of the first five keys, and limits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// Unix datagram socket to make, one packet a datagram.
    pub unix: Option<PathBuf>,
    /// UDP address to listen on, one packet a datagram.
    pub udp: Option<SocketAddr>,
    /// Serial line to read.
    pub serial: Option<PathBuf>,
    /// Folder of images, each cut into tiles.
    pub files: Option<PathBuf>,
    /// Folder of files of space packets behind one another.
    pub packets: Option<PathBuf>,
    /// Name for people and counts; the path or address unless given.
    pub name: Option<String>,
    /// Bits a second of a serial line.
    pub baud: u32,
    /// How packets stand on a serial line: `packets` or `kiss`.
    pub framing: Delimiting,
    /// Milliseconds of silence in the middle of a line's packet after which it is given up.
    pub give_up_ms: u64,
    /// What becomes of a file that was taken: `move` or `delete`.
    pub finished: Finished,
    /// Side of a tile in pixels; edge tiles are smaller.
    pub tile_side: u16,
    /// Reflectance of one count of an image whose sidecar doesn't say it.
    pub gain: Option<f32>,
    /// Reflectance of a sample of 0 beside `gain`.
    pub offset: f32,
    /// Application process that triage takes tiles of files for; the imager's unless given.
    pub apid: Option<u16>,
    /// Bytes a second; a file waits, a packet above it is dropped and counted.
    pub bytes_per_s: Option<u64>,
    /// Packets, or tiles, a second.
    pub packets_per_s: Option<u64>,
    /// Packets that may come at once after a silence.
    pub burst_packets: u64,
    /// Largest packet, bytes.
    pub packet_bytes_max: usize,
    /// Largest file, bytes.
    pub file_bytes_max: u64,
    /// Most bytes of an image's samples.
    pub image_bytes_max: usize,
    /// Seconds without a word after which a source is told to be quiet; 0 for never.
    pub quiet_after_s: u64,
    /// Milliseconds from one look into a folder to the next.
    pub look_ms: u64,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            unix: None,
            udp: None,
            serial: None,
            files: None,
            packets: None,
            name: None,
            baud: 115_200,
            framing: Delimiting::Packets,
            give_up_ms: 500,
            finished: Finished::Move,
            tile_side: 64,
            gain: None,
            offset: 0.0,
            apid: None,
            bytes_per_s: None,
            packets_per_s: None,
            burst_packets: 64,
            packet_bytes_max: PACKET_BYTES_MAX,
            file_bytes_max: 32 << 20,
            image_bytes_max: 32 << 20,
            quiet_after_s: 0,
            look_ms: 500,
        }
    }
}

/// All sources, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources(pub Vec<Source>);

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Sources;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a [source] table, or [[source]] tables")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Sources, A::Error> {
                Ok(Sources(vec![Source::deserialize(MapAccessDeserializer::new(map))?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Sources, A::Error> {
                Ok(Sources(Vec::deserialize(SeqAccessDeserializer::new(seq))?))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

impl Source {
    /// Name for people.
    pub fn name(&self) -> String {
        let paths = [&self.unix, &self.serial, &self.files, &self.packets];
        let path = paths.into_iter().flatten().next().map(|path| path.display().to_string());
        let address = || self.udp.map(|address| address.to_string());
        self.name.clone().or(path).or_else(address).unwrap_or_default()
    }

    /// The one place that it takes from; none where any free port is as good as another.
    fn door(&self) -> Option<String> {
        let paths = [&self.unix, &self.serial, &self.files, &self.packets];
        let path = paths.into_iter().flatten().next().map(|path| path.display().to_string());
        let udp = self.udp.filter(|at| at.port() != 0);
        path.or_else(|| udp.map(|at| at.to_string()))
    }

    /// Slot of the store that its progress is kept in: by name, so that another order in the file
    /// changes nothing.
    pub fn slot(&self) -> u32 {
        SLOTS | crc32c(self.name().as_bytes()) & 0xffff
    }

    /// What it may bring.
    pub fn limits(&self) -> Limits {
        Limits {
            bytes_per_s: self.bytes_per_s,
            packets_per_s: self.packets_per_s,
            burst_packets: self.burst_packets,
            packet_bytes_max: self.packet_bytes_max,
        }
    }

    /// What samples of its images mean, where their sidecars don't say it.
    pub fn reflectance(&self) -> Option<Reflectance> {
        self.gain.and_then(|gain| Reflectance::new(gain, self.offset))
    }

    fn check(&self) -> anyhow::Result<()> {
        let kinds = [
            self.unix.is_some(),
            self.udp.is_some(),
            self.serial.is_some(),
            self.files.is_some(),
            self.packets.is_some(),
        ];
        ensure!(
            kinds.into_iter().filter(|is| *is).count() == 1,
            "[source] takes either `unix`, a socket's path, `udp`, an address to listen on, \
             `serial`, a device, `files`, a folder of images, or `packets`, a folder of packet files"
        );
        let name = self.name();
        let within = |what: &str, ok: bool, wanted: &str| {
            ensure!(ok, "[source] {name}: {what}: {wanted}");
            Ok(())
        };
        // A speed of 0 hangs up.
        within("baud", BAUDS.contains(&self.baud), "50 to 20000000 bits a second")?;
        within("tile_side", (1..=SIDE_MAX).contains(&self.tile_side), "1 to 256 pixels")?;
        let sane = self.gain.is_some() == self.reflectance().is_some();
        within("gain, offset", sane, "a gain above 0 and at most 1, an offset of -1 to 1")?;
        let packet = (7..=PACKET_BYTES_MAX).contains(&self.packet_bytes_max);
        within("packet_bytes_max", packet, "7 to 65542 bytes")?;
        within("packets_per_s", self.packets_per_s != Some(0), "at least 1, or leave it out")?;
        within("bytes_per_s", self.bytes_per_s != Some(0), "at least 1, or leave it out")?;
        within("look_ms", (10..=3_600_000).contains(&self.look_ms), "10 to 3600000")?;
        within("give_up_ms", (10..=3_600_000).contains(&self.give_up_ms), "10 to 3600000")?;
        let most = 1usize << 30;
        let file = (1..=most as u64).contains(&self.file_bytes_max);
        within("file_bytes_max", file, "1 byte to 1 GiB")?;
        let image = (1..=most).contains(&self.image_bytes_max);
        within("image_bytes_max", image, "1 byte to 1 GiB")
    }
}

impl Sources {
    /// Makes relative paths start at `folder`.
    pub(super) fn resolve(&mut self, folder: &Path) {
        for source in &mut self.0 {
            let Source { unix, serial, files, packets, .. } = source;
            for path in [unix, serial, files, packets].into_iter().flatten() {
                *path = folder.join(&*path);
            }
        }
    }

    /// What can't be flown with, in words.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=SOURCES_MAX).contains(&self.0.len()),
            "{} sources: 1 to {SOURCES_MAX}",
            self.0.len()
        );
        let (mut slots, mut doors) = (BTreeSet::new(), BTreeSet::new());
        for source in &self.0 {
            source.check()?;
            ensure!(
                source.door().is_none_or(|door| doors.insert(door)),
                "[source] {}: another source takes from the same place: give each its own",
                source.name()
            );
            ensure!(
                slots.insert(source.slot()),
                "[source] {}: another one has this name, or one too much like it: give it a \
                 `name` of its own",
                source.name()
            );
        }
        Ok(())
    }

    /// Most bytes that a file and its image take in memory at once.
    pub fn file_memory_bytes(&self) -> u64 {
        let folders = self.0.iter().filter(|of| of.files.is_some() || of.packets.is_some());
        // Tiles that are scored together, as they are and as scoring takes them.
        let together = 2 * (BATCH_MAX * TILE_BYTES_MAX) as u64;
        let one = |of: &Source| of.file_bytes_max + 3 * of.image_bytes_max as u64 + together;
        folders.map(one).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        source: Sources,
    }

    fn parse(text: &str) -> Result<Sources, String> {
        let mut sources =
            codecs::config::parse::<File>("f", text).map_err(|error| error.to_string())?.source;
        sources.resolve(Path::new("/flight"));
        sources.check().map_err(|error| error.to_string())?;
        Ok(sources)
    }

    #[test]
    fn one_table_or_several_and_a_mistake_has_its_line() {
        let one = parse("[source]\nunix = \"s\"\n").unwrap();
        assert_eq!(one.0[0].unix.as_deref(), Some(Path::new("/flight/s")));
        let many = parse(
            "[[source]]\nudp = \"127.0.0.1:9\"\n[[source]]\nserial = \"tty\"\nframing = \"kiss\"\n\
             [[source]]\nfiles = \"scenes\"\nbytes_per_s = 10\n",
        );
        assert_eq!(many.unwrap().0.len(), 3);
        let wrong = parse("[[source]]\nunix = \"s\"\n[[source]]\nbauds = 3\n").unwrap_err();
        assert_eq!(wrong, "f:4: unknown key `bauds`; did you mean `baud`?");
        assert!(
            parse("[source]\nunix = \"s\"\nudp = \"127.0.0.1:1\"\n")
                .unwrap_err()
                .contains("either")
        );
        let gain = |text: &str| parse(&format!("[source]\nfiles = \"scenes\"\n{text}\n"));
        let sources = gain("gain = 1e-4\noffset = -0.1").unwrap();
        assert_eq!(sources.0[0].reflectance(), Reflectance::new(1e-4, -0.1));
        assert!(gain("gain = 10000.0").unwrap_err().contains("at most 1"));
        assert!(parse("source = 3\n").unwrap_err().contains("[[source]]"));
        let twice = "[[source]]\nunix = \"s\"\n[[source]]\nunix = \"s\"\n";
        assert!(parse(twice).unwrap_err().contains("same place"), "the second would not open");
        let named =
            "[[source]]\nunix = \"s\"\nname = \"a\"\n[[source]]\nunix = \"t\"\nname = \"a\"\n";
        assert!(parse(named).unwrap_err().contains("`name`"), "one name, one count");
        let baud = "[source]\nserial = \"tty\"\nbaud = 0\n";
        assert!(parse(baud).unwrap_err().contains("baud"), "0 would hang up");
    }
}
