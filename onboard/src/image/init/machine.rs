//! The system calls of a boot, each with the facility's name in its error; no decisions.

use std::ffi::CStr;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};
use rustix::process::{Pid, Signal};
use rustix::system::RebootCommand;

use super::netlink as message;

/// A step of the boot that failed: what was tried, on what, and the system's reason.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct BootError {
    what: String,
    reason: String,
}

impl BootError {
    pub(super) fn new(what: impl Into<String>, reason: impl ToString) -> Self {
        Self { what: what.into(), reason: reason.to_string() }
    }
}

/// Mounts what every process expects; the volatile file systems are bounded to half of the memory
/// together, so that a full store is an error on board and not the end of the machine.
pub fn mount_all() -> Result<(), BootError> {
    let plain = MountFlags::NOSUID | MountFlags::NOEXEC;
    let mounts: [(&str, &str, MountFlags, Option<&CStr>); 5] = [
        ("proc", "/proc", plain | MountFlags::NODEV, None),
        ("sysfs", "/sys", plain | MountFlags::NODEV, None),
        ("devtmpfs", "/dev", plain, None),
        ("tmpfs", "/run", plain | MountFlags::NODEV, Some(c"mode=0755,size=10%")),
        ("tmpfs", "/var", plain | MountFlags::NODEV, Some(c"mode=0755,size=40%")),
    ];
    for (kind, target, flags, data) in mounts {
        mount(kind, target, kind, flags, data)
            .map_err(|error| BootError::new(format!("mounting {kind} on {target}"), error))?;
    }
    Ok(())
}

/// Makes the serial line our terminal, so that Ctrl-C on it is a SIGINT to the flight process.
pub fn take_terminal(path: &str) -> Result<(), BootError> {
    let what = |step: &str| format!("{step} {path}");
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| BootError::new(what("opening"), error))?;
    // Fails where we lead a session already, which is as good.
    let _ = rustix::process::setsid();
    rustix::process::ioctl_tiocsctty(&terminal)
        .map_err(|error| BootError::new(what("taking as terminal"), error))
}

/// Loads every module under `folder` in the order of its file names; returns how many.
pub fn load_modules(folder: &Path) -> Result<usize, BootError> {
    let what = |path: &Path| format!("loading {}", path.display());
    let listing = fs::read_dir(folder).map_err(|error| BootError::new(what(folder), error))?;
    let mut files: Vec<_> = listing.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.sort();
    for path in &files {
        let file = File::open(path).map_err(|error| BootError::new(what(path), error))?;
        rustix::system::finit_module(&file, c"", 0)
            .map_err(|error| BootError::new(what(path), error))?;
    }
    Ok(files.len())
}

/// The first interface that is not the loopback, in the order of names.
pub fn interface() -> Result<String, BootError> {
    let folder = "/sys/class/net";
    let what = || format!("looking for a network interface in {folder}");
    let listing = fs::read_dir(folder).map_err(|error| BootError::new(what(), error))?;
    let names =
        listing.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name != "lo")
        .min()
        .ok_or_else(|| BootError::new(what(), "there is none; is its driver in the image?"))
}

/// Sets `name` and the loopback up, with an address and a default route.
pub fn set_network(
    name: &str,
    (address, prefix_length): (Ipv4Addr, u8),
    gateway: Ipv4Addr,
) -> Result<(), BootError> {
    let failed = |step: &str, error| BootError::new(format!("{step} {name}"), error);
    // Protocol 0 of this family is NETLINK_ROUTE.
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)
        .map_err(|error| failed("opening netlink for", error))?;
    let index = |name: &str| rustix::net::netdevice::name_to_index(&socket, name);
    let own = index(name).map_err(|error| failed("finding", error))?;
    let loopback = index("lo").map_err(|error| failed("finding the loopback beside", error))?;
    let steps = [
        ("setting up the loopback beside", message::link_up(loopback)),
        ("setting up", message::link_up(own)),
        ("giving an address to", message::address(own, address, prefix_length)),
        ("routing through", message::default_route(own, gateway)),
    ];
    for (step, request) in steps {
        rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))
            .map_err(|error| failed(step, error))?;
        let mut reply = [0; 1024];
        let (length, _) = rustix::net::recv(&socket, &mut reply, RecvFlags::empty())
            .map_err(|error| failed(step, error))?;
        match message::acknowledged(reply.get(..length).unwrap_or_default()) {
            Some(0) => {}
            Some(errno) => {
                let error = std::io::Error::from_raw_os_error(errno);
                return Err(BootError::new(format!("{step} {name}"), error));
            }
            None => return Err(BootError::new(format!("{step} {name}"), "no acknowledgement")),
        }
    }
    Ok(())
}

/// Waits until the kernel's random pool is seeded, at most `limit`; false if it is not.
pub fn entropy_ready(limit: Duration) -> bool {
    let (done, waiting) = mpsc::channel();
    // Without GRND_NONBLOCK the call returns when the pool is seeded, and not before.
    std::thread::spawn(move || {
        let mut byte = [0; 1];
        let read = rustix::rand::getrandom(&mut byte[..], rustix::rand::GetRandomFlags::empty());
        let _ = done.send(read.is_ok());
    });
    waiting.recv_timeout(limit).unwrap_or(false)
}

/// Sends ourselves the signal of an orderly stop.
pub fn ask_to_stop() {
    if let Some(own) = Pid::from_raw(std::process::id().cast_signed()) {
        let _ = rustix::process::kill_process(own, Signal::TERM);
    }
}

/// Writes what is buffered and switches the machine off; returns only if it can't.
pub fn power_off() -> BootError {
    rustix::fs::sync();
    match rustix::system::reboot(RebootCommand::PowerOff) {
        Ok(()) => BootError::new("powering off", "the system call returned"),
        Err(error) => BootError::new("powering off", error),
    }
}

/// Figures of the machine for the last line on the console.
pub fn figures() -> serde_json::Value {
    let field = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let first = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok())
    };
    // The peak's counters are batched for each thread and may lag; the other is counted when read.
    let peak = field("/proc/self/status", "VmHWM").max(field("/proc/self/smaps_rollup", "Rss"));
    serde_json::json!({
        "uptime_s": first("/proc/uptime"),
        "memory_total_bytes": field("/proc/meminfo", "MemTotal"),
        "memory_available_bytes": field("/proc/meminfo", "MemAvailable"),
        "process_peak_bytes": peak,
    })
}
