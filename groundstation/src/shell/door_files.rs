//! Files that doors write, held against each other and against what the station itself keeps: a
//! file with two writers is nobody's.

use super::{doors::CURSORS, jobs, start::real, witness};
use crate::{
    config::Config,
    door::{
        rotation::{Rotation, may_be_closed_as},
        spec::Destination,
    },
};
use anyhow::ensure;
use std::path::{Path, PathBuf};

/// The key that is wrong and why; `station` is the station file.
pub fn check(config: &Config, station: &Path) -> Result<(), (String, String)> {
    let mut files = files(config, station);
    files.extend(tokens(config));
    let folders = folders(config);
    let mut written: Vec<(String, PathBuf, Rotation)> = Vec::new();
    for door in config.doors() {
        let Destination::File(path) = &door.to else { continue };
        let path = config.path(path);
        let wrong = |why: String| (format!("door {}: to", door.name), why);
        let path = real(&path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        let shown = path.display();
        if let Some((what, _)) = files.iter().find(|(_, file)| *file == path) {
            return Err(wrong(format!("{shown} is {what}; name another file")));
        }
        if let Some((what, folder)) = folders.iter().find(|(_, folder)| path.starts_with(folder)) {
            let folder = folder.display();
            return Err(wrong(format!("{shown} lies in {what} {folder}; name another folder")));
        }
        for (other, file, rotation) in &written {
            if *file == path {
                return Err(wrong(format!("{shown} is door {other}'s already; one file a door")));
            }
            let clash = rotation.is_set() && may_be_closed_as(file, &path)
                || door.rotation.is_set() && may_be_closed_as(&path, file);
            if clash {
                let file = file.display();
                let why = format!(
                    "{shown} and {file} of door {other}: the one may be called like the other \
                     once it is closed; choose another name"
                );
                return Err(wrong(why));
            }
        }
        written.push((door.name, path, door.rotation));
    }
    Ok(())
}

/// Whether a file that a command is to write is none that the station keeps, nor in a folder of
/// its; what it is otherwise. A door's file is its door's.
pub fn is_spare(config: &Config, station: &Path, path: &Path) -> Result<(), String> {
    let path = real(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let shown = path.display();
    let doors = config.doors().into_iter().filter_map(|door| match &door.to {
        Destination::File(file) => Some((format!("door {}'s", door.name), config.path(file))),
        _ => None,
    });
    let doors = doors.filter_map(|(what, file)| Some((what, real(&file).ok()?)));
    let files = files(config, station).into_iter().chain(tokens(config));
    let files = files.map(|(what, file)| (what.to_owned(), file));
    if let Some((what, _)) = files.chain(doors).find(|(_, file)| *file == path) {
        return Err(format!("{shown} is {what}; name another file"));
    }
    let keys = config.path(&config.identity.key);
    let keys = keys.parent().filter(|folder| Some(*folder) != station.parent());
    let keys =
        keys.and_then(|folder| Some(("the folder of the station's keys", real(folder).ok()?)));
    let mut folders = folders(config).into_iter().chain(keys);
    match folders.find(|(_, folder)| path.starts_with(folder)) {
        Some((what, _)) => Err(format!("{shown} lies in {what}; name another folder")),
        None => Ok(()),
    }
}

/// Refuses files that no start could open.
pub fn check_places(config: &Config) -> anyhow::Result<()> {
    config.doors().iter().try_for_each(|door| {
        let Destination::File(path) = &door.to else { return Ok(()) };
        let path = config.path(path);
        ensure!(
            !path.is_dir(),
            "door {}: to: {}: it is a folder; name a file in it",
            door.name,
            path.display()
        );
        Ok(())
    })
}

/// Doors whose folder is not there: they wait for it, since a mount that is late must not keep a
/// station from a pass.
pub fn waiting(config: &Config) -> Vec<String> {
    let doors = config.doors();
    let absent = doors.iter().filter_map(|door| {
        let Destination::File(path) = &door.to else { return None };
        let path = config.path(path);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty())?;
        let text = format!(
            "door {}: there is no folder {}: it writes once you make or mount it",
            door.name,
            folder.display()
        );
        (!folder.is_dir()).then_some(text)
    });
    absent.collect()
}

/// Files of the station but for operators' tokens, and what they are.
pub(super) fn files(config: &Config, station: &Path) -> Vec<(&'static str, PathBuf)> {
    let identity = &config.identity;
    let mut files = vec![
        ("the station file", station.to_path_buf()),
        ("the mission", config.path(&config.mission)),
        ("the authority's certificate", config.path(&identity.authority)),
        ("the station's certificate", config.path(&identity.certificate)),
        ("the station's key", config.path(&identity.key)),
        ("the list of ledgers", witness::path(config)),
        ("the log of jobs", jobs::path(config)),
    ];
    let domain = identity.domain_key.iter().map(|key| ("the domain's key", config.path(key)));
    files.extend(domain);
    files.extend(config.contact_plan().map(|plan| ("the contact plan", plan)));
    let cursors = config.path(Path::new(CURSORS));
    let cursors = config.doors.iter().map(|door| cursors.join(format!("{}.json", door.name)));
    files.extend(cursors.map(|cursor| ("a door's cursor", cursor)));
    let packages = config.pools.iter().flat_map(|pool| &pool.packages);
    files.extend(packages.map(|package| ("a model package", config.path(package))));
    let store = config.archive.object_store.as_ref();
    let credentials = store.and_then(|store| store.credentials.as_ref());
    files.extend(credentials.map(|file| ("the object store's credentials", config.path(file))));
    // One that can't be looked at is told by whoever reads it.
    files.into_iter().filter_map(|(what, file)| Some((what, real(&file).ok()?))).collect()
}

fn tokens(config: &Config) -> impl Iterator<Item = (&'static str, PathBuf)> {
    let tokens = config.operators.iter().map(|operator| config.path(&operator.token));
    tokens.filter_map(|token| Some(("an operator's token", real(&token).ok()?)))
}

fn folders(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let store = config.archive.object_store.as_ref();
    let store = store.and_then(|store| store.dir.as_ref());
    let mut folders = vec![("the archive", config.path(&config.archive.dir))];
    folders.extend(store.map(|dir| ("the object store", config.path(dir))));
    folders.into_iter().filter_map(|(what, folder)| Some((what, real(&folder).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(dir: &Path, doors: &[(&str, &str)]) -> Result<Config, String> {
        let mut text = "mission = 'mission.toml'\n[station]\nname = 'Test'\nlatitude_deg = 48.0\n\
            longitude_deg = 11.0\n[identity]\nauthority = 'a.crt'\ncertificate = 's.crt'\n\
            key = 's.key'\n[archive.object_store]\ndir = 'store'\n"
            .to_string();
        for (at, (to, more)) in doors.iter().enumerate() {
            text +=
                &format!("[[door]]\nname = 'd{at}'\nto = 'file:{to}'\nsend = 'frames'\n{more}\n");
        }
        let path = dir.join("station.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_door_shares_its_file_with_no_one() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path();
        std::fs::create_dir(here.join("out")).unwrap();
        std::os::unix::fs::symlink(here.join("out"), here.join("other")).unwrap();
        std::os::unix::fs::symlink(here.join("s.key"), here.join("out/link")).unwrap();
        std::fs::write(here.join("s.key"), b"").unwrap();
        let rotated = "rotate_s = 60";
        let closed = "out/a-20261126T141516Z-2.bin";
        for (doors, said) in [
            (&[("out/a.bin", ""), ("out/a.bin", "")][..], "door d1: to: "),
            (&[("out/a.bin", ""), ("out/../other/a.bin", "")], "is door d0's already"),
            (&[("out/a.bin", rotated), (closed, "")], "once it is closed"),
            (&[(closed, ""), ("out/a.bin", rotated)], "once it is closed"),
            (&[("station.toml", "")], "is the station file"),
            (&[("out/../station.toml", "")], "is the station file"),
            (&[("out/link", "")], "is the station's key"),
            (&[("archive.ledgers", "")], "is the list of ledgers"),
            (&[("out/a.bin", ""), ("doors/d0.json", "")], "is a door's cursor"),
            (&[("jobs.log", "")], "is the log of jobs"),
            (&[("archive/x.bin", "")], "lies in the archive"),
            (&[("store/x.bin", "")], "lies in the object store"),
        ] {
            let error = load(here, doors).unwrap_err();
            assert!(error.contains(said), "{doors:?}: {error}");
        }
        for doors in [
            &[("out/a.bin", rotated), ("out/b.bin", rotated), ("out/a.txt", "")][..],
            &[("out/a.bin", ""), (closed, "")],
            &[("archive-2/x.bin", "")],
        ] {
            load(here, doors).unwrap();
        }
    }

    #[test]
    fn a_file_that_can_not_be_made_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path();
        std::fs::create_dir(here.join("out")).unwrap();
        let error = check_places(&load(here, &[("out", "")]).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("door d0: to: ") && error.contains("it is a folder"), "{error}");
        let late = waiting(&load(here, &[("gone/a.bin", "")]).unwrap());
        assert!(matches!(&late[..], [said] if said.contains("there is no folder ")), "{late:?}");
        let good = load(here, &[("out/a.bin", "")]).unwrap();
        check_places(&good).unwrap();
        assert!(waiting(&good).is_empty());
    }
}
