//! What a start takes before it takes units. `run` keeps it; `check` tries it and lets it go, so
//! that the one passes nothing that the other refuses, and both say it in the same words.

use super::{
    bucket::Bucket,
    disk::Folder,
    door_files, mission, reset, rf, server, tls,
    uplink::{UPLINK_LOG, operators},
    witness, work,
};
use crate::{audit, catalogue::FILE, config::Config, door::spec::Destination};
use anyhow::{Context as _, bail, ensure};
use codecs::{link::custody::Durability, mission::Definition};
use codecs_quic::Strays;
use quinn::{EndpointConfig, crypto::rustls::QuicServerConfig};
use std::{
    fs::OpenOptions,
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    sync::Arc,
};

/// What the station file names, read and understood.
pub struct Ground {
    /// The mission.
    pub definition: Definition,
    /// The station's side of TLS.
    pub crypto: QuicServerConfig,
    /// Tokens and ids of the endpoint, and what it counts.
    pub endpoint: (EndpointConfig, Arc<Strays>),
    /// Where sealed segments are stored as well.
    pub bucket: Option<Bucket>,
}

impl Ground {
    /// Reads it; writes nothing.
    pub fn read(config: &Config) -> anyhow::Result<Self> {
        let definition = mission::load(&config.path(&config.mission))?;
        config.check_mission(&mission::spacecraft(&definition))?;
        door_files::check_places(config)?;
        let bucket = bucket(config, &definition)?;
        rf::key::read(config)?;
        // Handed to the endpoint once, and made anew at each reload.
        server::config(tls::server_config(config)?, &config.profile(), &config.transport())?;
        let crypto = tls::server_config(config)?;
        Ok(Self { crypto, endpoint: reset::endpoint_config(config)?, definition, bucket })
    }
}

/// The object store that station and mission count on; whether it answers shows when it is asked.
fn bucket(config: &Config, definition: &Definition) -> anyhow::Result<Option<Bucket>> {
    let store = config.archive.object_store.as_ref();
    if definition.reclaimable == Durability::ObjectStore && store.is_none() {
        bail!(
            "the mission says reclaimable = \"object-store\", and the station has no \
             [archive.object_store]: no unit would ever become reclaimable"
        );
    }
    if let Some(dir) = store.and_then(|store| store.dir.as_ref()) {
        let (dir, archive) = (config.path(dir), config.path(&config.archive.dir));
        ensure!(
            !real(&dir)?.starts_with(real(&archive)?),
            "archive.object_store.dir {}: lies in the archive {}: whatever takes the one takes \
             the other; name a folder on another disk",
            dir.display(),
            archive.display()
        );
    }
    store.map(|store| Bucket::open(store, &config.base, &definition.domain)).transpose()
}

/// A path without links as far as it exists, and as it is written from there on.
pub fn real(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or(&path);
    let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
    // Joined with nothing it would end in a slash.
    Ok(existing.canonicalize()?.components().chain(rest.components()).collect())
}

/// Listens for QUIC.
pub fn quic(config: &Config) -> anyhow::Result<UdpSocket> {
    bind("listen.quic", config.listen.quic, UdpSocket::bind)
}

/// Listens for page, API and metrics.
pub fn http(config: &Config) -> anyhow::Result<TcpListener> {
    bind("listen.http", config.listen.http, TcpListener::bind)
}

/// What there is to say of a page that others than this machine can reach: it has no TLS.
pub fn exposed(config: &Config) -> Option<String> {
    let at = config.listen.http;
    (!at.ip().to_canonical().is_loopback()).then(|| {
        format!(
            "listen.http = {at}: page, API and operators' tokens go over the network without TLS; \
             listen on 127.0.0.1 behind a proxy that has it"
        )
    })
}

/// Binds, or says which key of the config to change.
fn bind<S>(
    key: &str,
    address: SocketAddr,
    bind: impl FnOnce(SocketAddr) -> io::Result<S>,
) -> anyhow::Result<S> {
    bind(address).map_err(|error| {
        let port = address.port();
        let remedy = match error.kind() {
            io::ErrorKind::AddrNotAvailable => "name an address of this machine",
            io::ErrorKind::PermissionDenied => "choose a port from 1024 on",
            _ => "stop what uses it, choose another port, or 0 for a free one",
        };
        let what = format!("can't listen on {address} (port {port}, config key {key}); {remedy}");
        anyhow::Error::new(error).context(what)
    })
}

/// Doors that listen: their names and addresses.
pub fn listening_doors(config: &Config) -> Vec<(String, SocketAddr)> {
    let doors = config.doors().into_iter();
    let listening = doors.filter_map(|door| match door.to {
        Destination::TcpServer(address) => Some((door.name, address)),
        _ => None,
    });
    listening.collect()
}

/// Tries the folders and files that a start writes to, and leaves nothing behind.
pub fn try_folders(config: &Config) -> anyhow::Result<()> {
    let archive = config.path(&config.archive.dir);
    let context = || format!("archive {} (config key archive.dir)", archive.display());
    writable(&archive).with_context(context)?;
    appendable(&archive.join("lock")).with_context(context)?;
    appendable(&archive.join(FILE)).context("catalogue")?;
    let log = archive.join(UPLINK_LOG);
    appendable(&log).with_context(|| format!("uplink log {}", log.display()))?;
    operators::check(config)?;
    work::check(config)
}

/// The ledger whose archive is there, if any; refused where another station's disk seems to be
/// missing.
pub fn ledger(config: &Config, new_ledger: bool) -> anyhow::Result<Option<u64>> {
    let archive = config.path(&config.archive.dir);
    let found = match archive.is_dir() {
        true => audit::ledger_of(&mut Folder::at(&archive))
            .with_context(|| archive.display().to_string())?,
        false => None,
    };
    witness::refuse_emptied(config, found, new_ledger)?;
    Ok(found)
}

/// Tries a file in a folder, or in the nearest one above that exists.
pub fn writable(dir: &Path) -> anyhow::Result<()> {
    let here = Path::new(".");
    let named = |path: &&Path| !path.as_os_str().is_empty();
    let above = dir.ancestors().filter(named).find(|path| path.exists()).unwrap_or(here);
    ensure!(above.is_dir(), "{} is there, and is no folder", above.display());
    let name = above.join(format!(".check-{}", std::process::id()));
    std::fs::write(&name, b"groundstation check")
        .with_context(|| format!("{} can't be written to", above.display()))?;
    std::fs::remove_file(&name)?;
    Ok(())
}

/// Tries to append to a file, where there is one.
pub fn appendable(path: &Path) -> anyhow::Result<()> {
    match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => opened.map(drop).with_context(|| path.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_can_not_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        writable(&dir.path().join("not/there/yet")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
        std::fs::write(dir.path().join("file"), b"").unwrap();
        let error = writable(&dir.path().join("file/below")).unwrap_err();
        assert!(error.to_string().ends_with("file is there, and is no folder"), "{error}");
        // Where even root may not write.
        let error = writable(Path::new("/proc/self/archive")).unwrap_err();
        assert!(error.to_string().contains("can't be written to"), "{error}");
    }

    #[test]
    fn a_page_that_others_reach_without_tls_is_told() {
        let config = |http: &str| {
            let text = format!(
                "mission = 'm'\n[station]\nname = 'Test'\nlatitude_deg = 48.0\n\
                 longitude_deg = 11.0\n[identity]\nauthority = 'a'\ncertificate = 's'\n\
                 key = 'k'\n[listen]\nhttp = '{http}'\n"
            );
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("station.toml");
            std::fs::write(&file, text).unwrap();
            Config::load(&file).unwrap()
        };
        for own in ["127.0.0.1:7180", "[::1]:7180", "[::ffff:127.0.0.1]:0"] {
            assert_eq!(exposed(&config(own)), None, "{own}");
        }
        for open in ["0.0.0.0:7180", "[::]:7180", "192.0.2.7:7180"] {
            let told = exposed(&config(open)).unwrap();
            assert!(told.contains(open) && told.contains("without TLS"), "{told}");
        }
    }

    #[test]
    fn a_path_is_known_by_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("archive");
        std::fs::create_dir(&archive).unwrap();
        std::os::unix::fs::symlink(&archive, dir.path().join("other")).unwrap();
        assert!(!real(&archive).unwrap().to_str().unwrap().ends_with('/'));
        let store = real(&dir.path().join("other/not/there")).unwrap();
        assert!(store.starts_with(real(&archive).unwrap()), "{}", store.display());
        assert!(!real(&dir.path().join("archive-2")).unwrap().starts_with(&archive));
    }
}
