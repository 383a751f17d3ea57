//! What a configuration names, tried without flying, and without a trace.

mod places;

use std::{fmt::Display, path::Path};

use anyhow::bail;
use codecs_quic::Monotonic;
use rustix::fs::statvfs;

use super::models;
use crate::{
    config::{Config, Door, Models, Source},
    store::{Disk, Medium, openable},
};

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    faults: Vec<String>,
    notes: Vec<String>,
}

impl Findings {
    fn fault(&mut self, key: impl Display, why: impl Display) {
        self.faults.push(format!("{key}: {why}"));
    }

    fn note(&mut self, key: impl Display, why: impl Display) {
        self.notes.push(format!("{key}: {why}"));
    }

    fn try_out<T>(&mut self, key: impl Display, tried: Result<T, impl Display>) -> Option<T> {
        tried.map_err(|why| self.fault(key, why)).ok()
    }

    /// The notes, or all faults in one error, a line each.
    fn judged(self) -> anyhow::Result<Vec<String>> {
        match self.faults.as_slice() {
            [] => Ok(self.notes),
            [one] => bail!("{one}"),
            many => bail!("{} things keep it from flying:\n  {}", many.len(), many.join("\n  ")),
        }
    }
}

/// Tries what a flight would open after `running`: identities, mission, models, places. Devices are looked at and
/// not opened, and nothing is made. The notes say why statistics stand in for a model, and what may
/// yet go wrong.
///
/// # Errors
/// A flight would not start, or would go without its watchdog: what, where, and what to do.
pub fn flyable(config: &Config, running: Option<&Config>) -> anyhow::Result<Vec<String>> {
    let mut found = Findings::default();
    look(config, &mut found);
    // The flight that this one follows listens there itself.
    for source in running.iter().flat_map(|running| &running.source.0) {
        let own = source.unix.as_ref().map(listens);
        found.notes.retain(|note| own.as_ref().is_none_or(|own| !note.starts_with(own)));
    }
    found.judged()
}

/// How the note begins that somebody listens at a socket.
fn listens(path: impl AsRef<Path>) -> String {
    format!("[source] unix = {:?}: a process listens there now", path.as_ref())
}

/// The same for the file on the command line, whose slots are used too.
///
/// # Errors
/// As [`flyable`].
pub fn flyable_file(config: &Config) -> anyhow::Result<Vec<String>> {
    let mut found = Findings::default();
    look(config, &mut found);
    if let Some(slots) = &config.config.slots {
        of_slots("config", slots, config, &mut found);
    }
    found.judged()
}

fn look(config: &Config, found: &mut Findings) {
    identities(config, found);
    // Slots are opened by a flight alone, which may put something into them.
    let packages = Models { slots: None, ..config.models.clone() };
    match models::load(&packages, Monotonic::start()) {
        Ok((_, scorers)) => found.notes.extend(scorers.notices),
        Err(error) => found.faults.push(format!("{error:#}")),
    }
    if let Some(slots) = &config.models.slots {
        of_slots("models", slots, config, found);
    }
    config.source.0.iter().for_each(|source| of_source(source, found));
    store(config, found);
    downlink(config, found);
    if let Some(watchdog) = &config.health.watchdog {
        found.try_out(format!("[health] watchdog = {watchdog:?}"), places::watchdog(watchdog));
    }
}

/// Each folder has a lock of its own, and a store counts what lies in its.
fn of_slots(section: &str, slots: &Path, config: &Config, found: &mut Findings) {
    let key = format!("[{section}] slots = {slots:?}");
    let store = &config.store.dir;
    if places::overlap(slots, store) || places::overlap(store, slots) {
        return found
            .fault(key, format!("in one with [store] dir = {store:?}: name another folder"));
    }
    let other = config.config.slots.as_ref().filter(|_| section == "models");
    if other.is_some_and(|other| places::overlap(slots, other) || places::overlap(other, slots)) {
        return found.fault(key, "in one with [config] slots: name another folder");
    }
    found.try_out(key, places::folder(slots));
}

fn identities(config: &Config, found: &mut Findings) {
    let identity = &config.identity;
    let Some(ground) = &config.ground else { return };
    // Both must work: a golden identity is looked at here, or never before it is needed.
    let usual = (&*identity.certificate, &*identity.key);
    for (certificate, key) in [Some(usual), identity.golden()].into_iter().flatten() {
        let tried = config
            .pins()
            .and_then(|pins| codecs_quic::client_config(certificate, key, pins).map(drop));
        if let Err(error) = tried {
            found.faults.push(format!("{error:#}"));
        }
    }
    // A flight tries again until a name has an address.
    if !places::is_literal(&ground.address)
        && let Err(why) = places::resolve(&ground.address)
    {
        found.note(format!("[ground] address = {:?}", ground.address), why);
    }
}

fn of_source(source: &Source, found: &mut Findings) {
    if let Some(path) = &source.unix {
        let key = format!("[source] unix = {path:?}");
        if found.try_out(&key, places::unix(path)) == Some(true) {
            found.notes.push(format!("{}: stop it before this one flies", listens(path)));
        }
    }
    if let Some(address) = source.udp {
        found.try_out(format!("[source] udp = \"{address}\""), places::listen(address));
    }
    if let Some(device) = &source.serial {
        found.try_out(format!("[source] serial = {device:?}"), places::serial(device));
    }
    for (key, folder) in [("files", &source.files), ("packets", &source.packets)] {
        let Some(folder) = folder else { continue };
        for part in super::sources::parts(folder) {
            let tried = places::folder(&part);
            let wrong = tried.is_err();
            found.try_out(format!("[source] {key} = {folder:?}"), tried);
            if wrong {
                break;
            }
        }
    }
}

fn store(config: &Config, found: &mut Findings) {
    let dir = &config.store.dir;
    let key = format!("[store] dir = {dir:?}");
    if found.try_out(&key, places::folder(dir)).is_none() {
        return;
    }
    let mut used = 0;
    if dir.exists() {
        let origin = match config.origin() {
            Ok(origin) => origin,
            Err(error) => return found.fault(key, error),
        };
        let Some(mut disk) =
            found.try_out(&key, Disk::read_only(dir).map_err(|of| format!("{of:#}")))
        else {
            return;
        };
        found.try_out(&key, openable(&mut disk, origin));
        used = disk.segments().map_or(0, |of| of.iter().map(|(_, length)| length).sum());
    }
    let there = dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    if let Ok(volume) = statvfs(there) {
        let free = volume.f_bavail.saturating_mul(volume.f_frsize);
        let wanted = config.store.capacity_bytes;
        if free.saturating_add(used) < wanted {
            let key = format!("[store] capacity_bytes = {wanted}");
            let why =
                "the file system has no room for all of it: units are given up once it is full";
            found.note(key, format!("{free} bytes are free at {}; {why}", there.display()));
        }
    }
}

fn downlink(config: &Config, found: &mut Findings) {
    let Some(rf) = &config.downlink.rf else { return };
    let mut door = |key: String, door: &Door, heard: bool| {
        let tried = match door {
            Door::Udp(at) if heard => match at.parse() {
                Ok(address) => places::listen(address),
                Err(_) => places::resolve(at),
            },
            Door::Udp(at) => places::resolve(at),
            Door::Serial(device) => places::serial(device),
            Door::File(path) => places::file(path),
        };
        found.try_out(key, tried);
    };
    door(format!("[downlink.rf] to = \"{}\"", rf.to), &rf.to, false);
    if let Some(from) = &rf.from {
        door(format!("[downlink.rf] from = \"{from}\""), from, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dir: &Path, text: &str) -> Result<Vec<String>, String> {
        let config = Config::parse("onboard.toml", text, dir).unwrap();
        flyable_file(&config).map_err(|error| format!("{error:#}"))
    }

    /// A flight with a radio alone, which needs no identity.
    fn text(store: &str, source: &str, more: &str) -> String {
        let origin = "03".repeat(16);
        format!(
            "[spacecraft]\nid = 7\nname = \"SKY-7\"\n[identity]\norigin = \"{origin}\"\n\
             [source]\n{source}\n[store]\ndir = \"{store}\"\ncapacity_bytes = 33554432\n{more}"
        )
    }

    const RF: &str = "[downlink.rf]\nrate_bps = 9600\nscid = 71\nto = ";

    #[test]
    fn everything_that_cannot_be_opened_is_told_at_once_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let rf = format!("{RF}\"file:air.cadu\"\n");
        let good =
            text("deep/store", "unix = \"s\"", &format!("{rf}[config]\nslots = \"slots\"\n"));
        assert_eq!(check(dir.path(), &good), Ok(vec![]));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no trace");

        std::fs::write(dir.path().join("file"), "").unwrap();
        let more = format!(
            "{RF}\"serial:no-modem\"\n[health]\nwatchdog = \"/dev/null\"\n\
             [config]\nslots = \"file\"\n"
        );
        let why = check(dir.path(), &text("file/store", "serial = \"no-line\"", &more));
        let why = why.unwrap_err();
        assert!(why.starts_with("5 things"), "{why}");
        for wanted in [
            "[source] serial = ",
            "no-line is not there",
            "[store] dir = ",
            "file is there and is no folder",
            "[downlink.rf] to = \"serial:",
            "[health] watchdog = \"/dev/null\"",
            "[config] slots = ",
        ] {
            assert!(why.contains(wanted), "{wanted}: {why}");
        }
    }

    #[test]
    fn who_listens_at_a_socket_is_told_but_not_the_flight_of_itself() {
        let dir = tempfile::tempdir().unwrap();
        let _flight = std::os::unix::net::UnixDatagram::bind(dir.path().join("s")).unwrap();
        let rf = format!("{RF}\"file:air.cadu\"\n");
        let config =
            Config::parse("onboard.toml", &text("store", "unix = \"s\"", &rf), dir.path()).unwrap();
        let told = |running| flyable(&config, running).unwrap().join("\n");
        assert!(told(None).contains("a process listens there now: stop it"), "{}", told(None));
        assert_eq!(told(Some(&config)), "");
    }

    #[test]
    fn slots_in_the_store_and_places_that_keep_nothing_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let rf = format!("{RF}\"file:air.cadu\"\n");
        for (slots, store) in [("store", "store"), ("store/slots", "store"), ("s", "s/store")] {
            let more = format!("{rf}[config]\nslots = \"{slots}\"\n");
            let why = check(dir.path(), &text(store, "unix = \"u\"", &more)).unwrap_err();
            assert!(why.contains("[config] slots") && why.contains("another folder"), "{why}");
        }
        let why = check(dir.path(), &text("/proc/store", "unix = \"u\"", &rf)).unwrap_err();
        assert!(why.contains("[store] dir"), "{why}");
    }

    #[test]
    fn a_store_of_another_is_refused_and_a_crowded_disk_is_told() {
        use crate::store::{Limits, NewUnit, Store};
        use codecs::{
            ids::{Channel, Codec, Origin, SpacecraftId, StoreEpoch},
            time::Tai,
        };
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(&dir.path().join("store")).unwrap();
        let limits = Limits {
            capacity_bytes: 32 << 20,
            segment_bytes: 4 << 20,
            least_class: 1,
            evict_bytes: 0,
            evict_on_full: false,
        };
        let mut store = Store::open(disk, limits, Origin([9; 16]), StoreEpoch(1)).unwrap();
        let unit = NewUnit {
            spacecraft: SpacecraftId(7),
            channel: Channel::stream(1),
            codec: Codec::Squeezed,
            priority: 1,
            captured: Tai(0),
            deadline_s: 0,
            bytes: vec![1; 10].into(),
        };
        store.append(unit).unwrap();
        store.commit(Tai(0)).unwrap();
        drop(store);
        let rf = format!("{RF}\"udp:127.0.0.1:9\"\n");
        let why = check(dir.path(), &text("store", "udp = \"127.0.0.1:0\"", &rf)).unwrap_err();
        assert!(why.contains("belongs to origin") && why.contains("[store] dir"), "{why}");
        let vast = text("other", "udp = \"127.0.0.1:0\"", &rf)
            .replace("capacity_bytes = 33554432", &format!("capacity_bytes = {}", 1u64 << 60));
        let notes = check(dir.path(), &vast).unwrap();
        assert!(notes.iter().any(|note| note.contains("has no room")), "{notes:?}");
    }
}
