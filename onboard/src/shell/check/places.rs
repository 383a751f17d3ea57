//! Whether a place could be opened, by looking alone: nothing is made, and no device is opened,
//! since that arms a watchdog and raises a line's signals.

use std::{
    fs,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket},
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::{SocketAddr as UnixAddress, UnixDatagram},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Access, AtFlags, CWD, accessat, major, minor};

/// Why a place can't be opened, and what to do.
pub type Checked = Result<(), String>;

/// Whether this process might: the last word has the system, when it is opened.
fn allowed(path: &Path, access: Access, what: &str) -> Checked {
    accessat(CWD, path, access, AtFlags::EACCESS).map_err(|error| {
        format!(
            "{} can't be {what} ({error}): give whoever flies the right to, or name another place",
            path.display()
        )
    })
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} can't be looked at ({error}): name another place", path.display())
}

/// A folder that is there and can be written to, or can be made.
pub fn folder(path: &Path) -> Checked {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => allowed(path, Access::WRITE_OK | Access::EXEC_OK, "used"),
        Ok(_) => Err(no_folder(path)),
        Err(error) if is_missing(&error) => {
            if path.is_symlink() {
                return Err(format!("{} is a link that leads nowhere: mend it", path.display()));
            }
            made_below(above(path))
        }
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// What is there of the way to a folder must let it be made.
fn made_below(path: &Path) -> Checked {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            allowed(path, Access::WRITE_OK | Access::EXEC_OK, "written to")
        }
        Ok(_) => Err(no_folder(path)),
        Err(error) if is_missing(&error) && path != above(path) => made_below(above(path)),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn no_folder(path: &Path) -> String {
    format!("{} is there and is no folder: move it away, or name another place", path.display())
}

/// Also where a file stands in the way to it.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn above(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent == Path::new("") => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// A folder that must be there, since nobody makes it, to put something into.
fn parent(path: &Path) -> Checked {
    let folder = above(path);
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => {
            allowed(folder, Access::WRITE_OK | Access::EXEC_OK, "written to")
        }
        Ok(_) => Err(no_folder(folder)),
        Err(error) if is_missing(&error) => {
            Err(format!("the folder {} is not there: make it first", folder.display()))
        }
        Err(error) => Err(unreadable(folder, &error)),
    }
}

/// A file that grows.
pub fn file(path: &Path) -> Checked {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => allowed(path, Access::WRITE_OK, "written to"),
        Ok(_) => Err(format!("{} is no file: name another place", path.display())),
        Err(error) if is_missing(&error) => parent(path),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// A Unix datagram socket to make; whether somebody listens there now, which may be the flight that
/// this one follows.
pub fn unix(path: &Path) -> Result<bool, String> {
    if let Err(error) = UnixAddress::from_pathname(path) {
        return Err(format!("no socket can have this path ({error}): name a shorter one"));
    }
    parent(path)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unreadable(path, &error)),
        Ok(found) if !found.file_type().is_socket() => {
            Err("something else is there: remove it or name another path".into())
        }
        // A datagram socket hears nothing of one that connects.
        Ok(_) => Ok(UnixDatagram::unbound().and_then(|probe| probe.connect(path)).is_ok()),
    }
}

/// An address to listen on. Another port of it is tried, so that nobody's packets go astray.
pub fn listen(address: SocketAddr) -> Checked {
    UdpSocket::bind((address.ip(), 0)).map(drop).map_err(|error| {
        let any = if address.is_ipv4() { "0.0.0.0" } else { "[::]" };
        format!("can't listen there ({error}): give an address of this machine, or {any} for all")
    })
}

/// A host with a port to send to.
pub fn resolve(address: &str) -> Checked {
    let first = address.to_socket_addrs().map(|mut found| found.next());
    match first {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("no address is known for this name: give a host that has one".into()),
        Err(error) => Err(format!("its address is not found ({error}): give a host that has one")),
    }
}

/// Whether an address needs nobody to look its name up.
pub fn is_literal(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

/// A serial line.
pub fn serial(path: &Path) -> Checked {
    device(path, "serial line, such as /dev/ttyS0", &["tty"])?;
    allowed(path, Access::READ_OK | Access::WRITE_OK, "read and written")
}

/// A watchdog, which is not touched: the first that opens it starts its clock.
pub fn watchdog(path: &Path) -> Checked {
    device(path, "watchdog, such as /dev/watchdog", &["watchdog", "misc"])?;
    allowed(path, Access::WRITE_OK, "written to")
}

/// A character device of one of these kinds, as far as the system says which it is.
fn device(path: &Path, wanted: &str, kinds: &[&str]) -> Checked {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if is_missing(&error) => {
            return Err(format!("{} is not there: name a {wanted}", path.display()));
        }
        Err(error) => return Err(unreadable(path, &error)),
    };
    let no = |what: &str| Err(format!("{} {what}: name a {wanted}", path.display()));
    if !found.file_type().is_char_device() {
        return no("is no device");
    }
    match subsystem(found.rdev()) {
        Some(kind) if !kinds.contains(&kind.as_str()) => no(&format!("is of kind {kind:?}")),
        _ => Ok(()),
    }
}

fn subsystem(device: u64) -> Option<String> {
    let name = format!("/sys/dev/char/{}:{}/subsystem", major(device), minor(device));
    let target: PathBuf = fs::read_link(name).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(checked: Checked, what: &str) {
        let why = checked.unwrap_err();
        assert!(why.contains(what), "{why}");
    }

    #[test]
    fn a_folder_is_there_or_can_be_made_and_is_not_made_by_looking() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        folder(&at("a/b/c")).unwrap();
        assert!(!at("a").exists(), "looking makes nothing");
        fs::write(at("file"), "").unwrap();
        wrong(folder(&at("file")), "no folder");
        wrong(folder(&at("file/a/b")), "file is there and is no folder");
        std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
        wrong(folder(&at("link")), "leads nowhere");
    }

    #[test]
    fn a_socket_needs_a_folder_a_short_path_and_nothing_in_its_way() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert_eq!(unix(&at("s")), Ok(false));
        assert!(!at("s").exists());
        wrong(unix(&at("no/s")).map(drop), "make it first");
        wrong(unix(&at(&"x".repeat(120))).map(drop), "shorter");
        fs::write(at("file"), "").unwrap();
        wrong(unix(&at("file")).map(drop), "something else");
        let flying = UnixDatagram::bind(at("live")).unwrap();
        assert_eq!(unix(&at("live")), Ok(true));
        flying.set_nonblocking(true).unwrap();
        assert_eq!(flying.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn devices_are_told_by_what_they_are_and_never_opened() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for check in [serial, watchdog] {
            wrong(check(&dir.path().join("none")), "is not there");
            wrong(check(&file), "is no device");
            wrong(check(Path::new("/dev/null")), "\"mem\"");
        }
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let line = ptsname(&far, Vec::new()).unwrap();
        serial(Path::new(line.to_str().unwrap())).unwrap();
    }

    #[test]
    fn addresses_are_of_this_machine_and_names_have_one() {
        listen("127.0.0.1:80".parse().unwrap()).unwrap();
        wrong(listen("192.0.2.1:7117".parse().unwrap()), "address of this machine");
        resolve("127.0.0.1:7117").unwrap();
        wrong(resolve("station.invalid:7117"), "give a host");
        assert!(is_literal("127.0.0.1:1") && is_literal("[::1]:1") && !is_literal("station:1"));
    }
}
