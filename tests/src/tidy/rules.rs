//! Rules over one source file each.

use super::source::{self, paths, shipped, tokens};
use std::collections::BTreeSet;
use std::path::Path;

/// Lines that a source file may have.
const MAX_LINES: usize = 600;

/// What a core does without: it gets time, randomness and bytes as arguments.
const OUTSIDE: [&str; 13] = [
    "std::net",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::*",
    "tokio",
    "quinn",
    "rustix",
    "axum",
    "hyper",
];

/// Values that stand beside the doors: naming an address or an exit code is no IO.
const VALUES: [&str; 8] = [
    "std::process::ExitCode",
    "std::net::SocketAddr",
    "std::net::SocketAddrV4",
    "std::net::SocketAddrV6",
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::net::AddrParseError",
];

/// Folders whose files wrap the world outside: sockets, disk, clock, processes, HTTP.
const SHELL_FOLDERS: [&str; 5] = ["shell", "api", "sys", "pool", "cli"];
/// Files that do the same.
const SHELL_FILES: [&str; 3] = ["cli.rs", "main.rs", "build.rs"];
/// The few others, each with its reason. A folder ends in a slash.
pub const EXCEPTIONS: &[(&str, &str)] = &[
    ("onboard/model/src/package.rs", "a package is a folder: opening one reads its files"),
    ("onboard/model/src/runtime.rs", "finds the ONNX Runtime library by path and environment"),
    ("onboard/src/config.rs", "reads the one file of the configuration"),
    ("onboard/src/image/files.rs", "collects what goes into the flight image"),
    ("onboard/src/image/init/", "is process 1 of the flight image: mounts, addresses, starts"),
    ("onboard/src/image/machine.rs", "runs the flight image under QEMU"),
    ("groundstation/src/config.rs", "reads the one file of the configuration"),
    ("groundstation/src/init.rs", "is the command that writes a station's folder"),
    ("groundstation/src/enroll.rs", "is the command that adds an identity to that folder"),
    ("groundstation/src/commands.rs", "are the commands that come and go: read a file, print"),
    ("groundstation/src/recording/", "are commands over one file; their core is in codecs"),
    ("sims/src/relay.rs", "moves real datagrams; what happens to each is decided in link/"),
];

/// Whether a path is one of the exceptions or lies below one.
pub fn is_under(path: &Path, exception: &str) -> bool {
    match exception.strip_suffix('/') {
        Some(folder) => path.starts_with(folder),
        None => path == Path::new(exception),
    }
}

/// Whether a file is a core: it decides, and touches nothing outside. `path` is relative to the
/// workspace.
pub fn is_core(path: &Path) -> bool {
    let Some(text) = path.to_str() else { return false };
    let mut parts = text.split('/').rev();
    let Some(file) = parts.next() else { return false };
    let folders: Vec<&str> = parts.collect();
    let shell = SHELL_FILES.contains(&file)
        || folders.iter().any(|folder| SHELL_FOLDERS.contains(folder))
        || EXCEPTIONS.iter().any(|(exception, _)| is_under(path, exception));
    folders.contains(&"src") && !text.starts_with("tests/") && !shell
}

/// IO, clocks, threads and environments in a core; the first of each.
pub fn outside_in_core(path: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut told = BTreeSet::new();
    for (line, named) in paths(&shipped(text).tokens) {
        let within = |name: &&&str| {
            let rest = named.strip_prefix(**name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let Some(outside) = OUTSIDE.iter().find(within) else { continue };
        if VALUES.iter().find(within).is_none() && told.insert(*outside) {
            findings.push(format!(
                "{}:{line}: {outside} in a core: take it as an argument, or move this to shell/",
                path.display()
            ));
        }
    }
    findings
}

/// Maps with the default hasher in a core: their order differs from run to run.
pub fn hasher_in_core(path: &Path, text: &str) -> Vec<String> {
    words(path, &shipped(text).tokens, &["HashMap", "HashSet"], "use BTreeMap or BTreeSet")
}

/// `unsafe` outside the folders for it.
pub fn stray_unsafe(path: &Path, text: &str) -> Vec<String> {
    let allowed = path.components().any(|part| {
        let part = part.as_os_str();
        part == "kernels" || part == "sys"
    });
    if allowed {
        return Vec::new();
    }
    let advice = "only folders named kernels/ or sys/ hold it";
    words(path, &tokens(&source::code(text)), &["unsafe"], advice)
}

/// Files that are too long to read at once.
pub fn too_long(path: &Path, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines <= MAX_LINES {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines, at most {MAX_LINES}: split it by role", path.display())]
}

/// Work left for later in the text, comments included.
pub fn left_for_later(path: &Path, text: &str) -> Vec<String> {
    // Joined here, so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
        if let Some(mark) = words.find(|word| marks.contains(word)) {
            findings.push(format!(
                "{}:{}: {mark}: do it now, or say in the README that it is missing",
                path.display(),
                index + 1
            ));
        }
    }
    findings
}

fn words(path: &Path, tokens: &[source::Token], banned: &[&str], advice: &str) -> Vec<String> {
    let found = tokens.iter().filter(|token| banned.contains(&token.text.as_str()));
    found
        .map(|token| format!("{}:{}: {}: {advice}", path.display(), token.line, token.text))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core() -> &'static Path {
        Path::new("codecs/src/frame/aos.rs")
    }

    #[test]
    fn cores_are_told_from_shells() {
        for path in ["codecs/src/lib.rs", "onboard/src/store/mod.rs", "onboard/model/src/run.rs"] {
            assert!(is_core(Path::new(path)), "{path}");
        }
        for path in [
            "groundstation/src/main.rs",
            "groundstation/src/cli.rs",
            "groundstation/src/api/page.rs",
            "onboard/src/shell/disk.rs",
            "groundstation/src/pool/rest.rs",
            "groundstation/src/recording/read.rs",
            "groundstation/tests/inspect.rs",
            "tests/src/lib.rs",
            "onboard/build.rs",
        ] {
            assert!(!is_core(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn every_way_out_of_a_core_is_found() {
        for bad in [
            "use std::fs;",
            "use std::{io, net::UdpSocket};",
            "use std::time::{Duration, Instant};",
            "use std::time::*;",
            "fn now() { ::std::time::SystemTime::now(); }",
            "fn f() { std::thread::sleep(x) }",
            "fn f() { std::env::var(\"HOME\"); }",
            "#[tokio::main] fn f() {}",
            "fn f() { std::process::exit(1) }",
        ] {
            assert_eq!(outside_in_core(core(), bad).len(), 1, "{bad}");
        }
        for good in [
            "use std::time::Duration;",
            "use std::net::{IpAddr, SocketAddr}; fn f() { std::net::Ipv4Addr::LOCALHOST; }",
            "// std::fs::read would be wrong here",
            "const HELP: &str = \"std::env::var\";",
            "#[cfg(test)] mod tests { use std::fs; }",
            "use quinn_proto::Connection; fn f() { self.tokio() }",
            "mod environment; use crate::fs::tokio_like;",
        ] {
            assert_eq!(outside_in_core(core(), good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn default_hashers_are_found() {
        let bad = "use std::collections::{BTreeMap, HashMap};\nlet x = HashSet::new();";
        let findings = hasher_in_core(core(), bad);
        assert_eq!(findings.len(), 2);
        assert!(findings[1].starts_with("codecs/src/frame/aos.rs:2: HashSet"), "{findings:?}");
        assert!(hasher_in_core(core(), "/// Not a HashMap.\nBTreeMap::new();").is_empty());
    }

    #[test]
    fn unsafe_stands_only_where_it_may() {
        let bad = "fn f() { unsafe { g() } }";
        assert_eq!(stray_unsafe(core(), bad).len(), 1);
        assert!(stray_unsafe(Path::new("codecs/src/fec/kernels/crc.rs"), bad).is_empty());
        assert!(stray_unsafe(Path::new("onboard/src/sys/fd.rs"), bad).is_empty());
        assert!(stray_unsafe(core(), "#![deny(unsafe_code)] // unsafe").is_empty());
    }

    #[test]
    fn long_files_are_found() {
        assert!(too_long(core(), &"x\n".repeat(MAX_LINES)).is_empty());
        assert_eq!(too_long(core(), &"x\n".repeat(MAX_LINES + 1)).len(), 1);
    }

    #[test]
    fn work_left_for_later_is_found() {
        let bad = format!("fine\n// {}(me): later\n", concat!("TO", "DO"));
        assert_eq!(left_for_later(core(), &bad).len(), 1);
        assert!(left_for_later(core(), "mastodon TODOS todo").is_empty());
    }
}
