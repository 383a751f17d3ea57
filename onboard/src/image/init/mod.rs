//! The first process of the image: brings the machine up, flies, and switches it off.
//!
//! It says on the serial console what it does and why it stops. The last line before power-off is
//! one JSON document, `{"event":"power-off","status":"clean",...}`, which `onboard image boot`
//! reads.

pub mod cmdline;
pub mod machine;
pub mod netlink;

use std::fs;
use std::path::Path;
use std::time::Duration;

use cmdline::Settings;
use machine::BootError;

use super::assemble::{CONFIG_PATH, MODULES_PATH};

/// The serial line that the image uses as its umbilical.
const TERMINAL: &str = "/dev/ttyS0";
/// TLS blocks without entropy, silently; so we wait this long, aloud, and then refuse to fly.
const ENTROPY_LIMIT: Duration = Duration::from_secs(30);

/// True if the kernel started us as its init: process 1, under the name the initramfs gives us.
/// (Process 1 alone would also be any container's command.)
pub fn is_init() -> bool {
    std::process::id() == 1 && std::env::args_os().next().is_some_and(|name| name == "/init")
}

/// Runs a boot from mounts to power-off; `fly` runs the flight process to its clean end.
///
/// The error of `fly` is text, as it is for a person at the console.
pub fn main(fly: impl FnOnce(&Path) -> Result<(), String>) -> ! {
    // Process 1 must not end: a panic is printed by the default hook, then this.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        end("panic");
    }));
    match boot(fly) {
        Ok(()) => end("clean"),
        Err(error) => {
            eprintln!("init: {error}");
            end("failed")
        }
    }
}

fn boot(fly: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), BootError> {
    machine::mount_all()?;
    let cmdline = fs::read_to_string("/proc/cmdline")
        .map_err(|error| BootError::new("reading /proc/cmdline", error))?;
    let settings = Settings::parse(&cmdline);
    for strange in &settings.strange {
        eprintln!("init: the kernel parameter {strange} is not understood and left out");
    }
    if let Err(error) = machine::take_terminal(TERMINAL) {
        eprintln!("init: {error}; Ctrl-C on the console will do nothing");
    }
    let loaded = machine::load_modules(&Path::new("/").join(MODULES_PATH))?;
    let interface = machine::interface()?;
    let ((address, length), gateway) = (settings.address, settings.gateway);
    machine::set_network(&interface, settings.address, gateway)?;
    eprintln!("init: {loaded} modules, {interface} is {address}/{length} through {gateway}");
    eprintln!("init: waiting for entropy, at most {} s", ENTROPY_LIMIT.as_secs());
    if !machine::entropy_ready(ENTROPY_LIMIT) {
        let reason = "the kernel's random pool is not seeded, TLS would hang; give the machine a \
                      random number generator (QEMU: -device virtio-rng-pci or -cpu max)";
        return Err(BootError::new("waiting for entropy", reason));
    }
    eprintln!("init: entropy is there");
    if settings.self_test {
        eprintln!("init: self-test passed");
        return Ok(());
    }
    let config = Path::new("/").join(CONFIG_PATH);
    if let Some(seconds) = settings.stop_after_s {
        eprintln!("init: will stop {seconds} s from now");
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(seconds));
            // Before the flight process listens, the kernel drops what process 1 does not handle.
            loop {
                machine::ask_to_stop();
                std::thread::sleep(Duration::from_secs(1));
            }
        });
    }
    eprintln!("init: flying with {}", config.display());
    fly(&config).map_err(|error| BootError::new("the flight process", error))
}

/// Prints the last line and switches off; if even that fails, says so and waits for the operator.
fn end(status: &str) -> ! {
    let last = serde_json::json!({
        "event": "power-off", "status": status, "machine": machine::figures(),
    });
    println!("{last}");
    eprintln!("init: {}", machine::power_off());
    loop {
        std::thread::park();
    }
}
