//! A flight computer drawn by QEMU: starts it with an image, follows its serial console, and
//! stops it in good order.
//!
//! Emulation only (TCG): the figures tell that the image works, never how fast a board is.

use std::io::{self, IsTerminal};
use std::net::UdpSocket;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// The emulator's command; Debian's package has the second name.
pub const QEMU: &str = "qemu-system-x86_64";
const QEMU_PACKAGE: &str = "qemu-system-x86";
/// Where the image's flight process takes its sensors' packets.
const SENSOR_PORT: u16 = 9000;
/// How long a stopping guest may drain and power off before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// What Ctrl-C sends down a serial line.
const INTERRUPT: u8 = 3;
/// Longer than any line of ours; a longer one is cut, not kept.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// How to run the machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Guest memory in QEMU's notation, such as `128M`.
    pub memory: String,
    /// Host port on 127.0.0.1 that reaches the flight process's sensor port; 0 takes a free one.
    pub sensor_port: u16,
    /// More `PROTOCOL:HOST_PORT:GUEST_PORT` forwards on 127.0.0.1.
    pub forwards: Vec<String>,
    /// More words for the kernel's command line.
    pub kernel_args: Vec<String>,
    /// How long the flight process may take to report ready.
    pub ready_limit: Duration,
}

/// Why a machine did not run to a clean power-off.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The emulator is not installed.
    #[error("{QEMU} is not installed: apt-get install {QEMU_PACKAGE}")]
    NoQemu,
    /// The emulator could not be started or followed.
    #[error("running {QEMU}: {0}")]
    Io(#[from] io::Error),
    /// A forward is not of the right form.
    #[error("--forward {0}: expected PROTOCOL:HOST_PORT:GUEST_PORT, such as udp:9001:9001")]
    Forward(String),
    /// The flight process did not report ready in time.
    #[error("the guest was not ready after {0} s; its console is above")]
    NotReady(u64),
    /// The guest ended by itself before it was ready, or not cleanly.
    #[error("the guest ended with status `{0}`; its console is above")]
    Ended(String),
    /// The guest did not power off when asked.
    #[error("the guest did not power off within {0} s and was killed")]
    Stuck(u64),
}

/// What the last line of the console and the emulator's own figures tell of a run.
#[derive(Debug, Clone, Default)]
struct Run {
    ready_after: Option<Duration>,
    done: Option<Value>,
    power_off: Option<Value>,
    cpu_s: f64,
    peak_bytes: u64,
}

impl Machine {
    /// Boots the image in `folder`. Calls `ready` with one document when the guest is ready, and
    /// returns the closing document after a clean power-off. When `stop` resolves the guest is
    /// asked to stop, through Ctrl-C on its serial line.
    pub async fn boot(
        &self,
        folder: &Path,
        stop: impl Future<Output = ()>,
        mut ready: impl FnMut(&Value),
    ) -> Result<Value, MachineError> {
        let sensor_port = free_port(self.sensor_port)?;
        let mut child = self.command(folder, sensor_port)?.spawn().map_err(|error| {
            let missing = error.kind() == io::ErrorKind::NotFound;
            if missing { MachineError::NoQemu } else { MachineError::Io(error) }
        })?;
        let begun = Instant::now();
        let mut run = Run::default();
        let result = follow(&mut child, &mut run, self.ready_limit, stop, |after| {
            let sensors = format!("127.0.0.1:{sensor_port}");
            ready(&json!({ "event": "ready", "sensors": sensors, "ready_after_s": after }));
        });
        let result = result.await;
        // Does nothing where it ended by itself.
        let _ = child.kill().await;
        result?;
        let status = run.power_off.as_ref().and_then(|last| last.get("status"));
        match status.and_then(Value::as_str) {
            Some("clean") => Ok(json!({
                "event": "done",
                "flight": run.done,
                "guest": run.power_off,
                "ready_after_s": run.ready_after.map(|after| after.as_secs_f64()),
                "wall_s": begun.elapsed().as_secs_f64(),
                "emulator_cpu_s": run.cpu_s,
                "emulator_peak_bytes": run.peak_bytes,
            })),
            Some(status) => Err(MachineError::Ended(status.into())),
            None => Err(MachineError::Ended("no word".into())),
        }
    }

    fn command(&self, folder: &Path, sensor_port: u16) -> Result<Command, MachineError> {
        let mut network =
            format!("user,id=net0,hostfwd=udp:127.0.0.1:{sensor_port}-10.0.2.15:{SENSOR_PORT}");
        for forward in &self.forwards {
            let wrong = || MachineError::Forward(forward.clone());
            let mut parts = forward.split(':');
            let (Some(protocol @ ("udp" | "tcp")), Some(host), Some(guest), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(wrong());
            };
            let port = |text: &str| text.parse::<u16>().map_err(|_| wrong());
            let (host, guest) = (port(host)?, port(guest)?);
            network += &format!(",hostfwd={protocol}:127.0.0.1:{host}-10.0.2.15:{guest}");
        }
        let mut cmdline = "console=ttyS0 loglevel=4 panic=-1".to_owned();
        // Inside, standard error is a terminal always; the kernel hands this on to its init.
        if !io::stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
            cmdline += " NO_COLOR=1";
        }
        for word in &self.kernel_args {
            cmdline += &format!(" {word}");
        }
        let mut command = Command::new(QEMU);
        // `max` has RDRAND; with the virtio generator beside it the guest has two sources of
        // entropy. q35 because the microvm machine says nothing under TCG.
        command
            .args(["-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", &self.memory])
            .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-netdev", &network, "-device", "virtio-net-pci,netdev=net0,romfile="])
            .args(["-device", "virtio-rng-pci", "-append", &cmdline])
            .arg("-kernel")
            .arg(folder.join("vmlinuz"))
            .arg("-initrd")
            .arg(folder.join("initramfs.cpio.zst"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // A Ctrl-C at our terminal is for us; the guest is asked through its own line.
            .process_group(0)
            .kill_on_drop(true);
        super::sys::die_with_parent(command.as_std_mut());
        Ok(command)
    }
}

/// Reads the console to its end, asking the guest to stop when told to.
async fn follow(
    child: &mut Child,
    run: &mut Run,
    ready_limit: Duration,
    stop: impl Future<Output = ()>,
    mut ready: impl FnMut(f64),
) -> Result<(), MachineError> {
    let begun = Instant::now();
    let pid = child.id().unwrap_or(0);
    let (Some(mut serial), Some(console)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("its pipes are missing").into());
    };
    let mut console = BufReader::new(console);
    let mut line = Vec::new();
    let mut asked = false;
    let mut sent: Option<Instant> = None;
    tokio::pin!(stop);
    loop {
        let now = Instant::now();
        let limit = match sent {
            Some(at) => at + STOP_LIMIT,
            None if run.ready_after.is_none() => begun + ready_limit,
            None => now + Duration::from_secs(1),
        };
        // Figures are sampled at least once a second, as they are gone once the emulator is.
        let tick = limit.min(now + Duration::from_secs(1));
        tokio::select! {
            read = console.read_until(b'\n', &mut line) => {
                if read? == 0 && line.is_empty() {
                    return Ok(());
                }
                run.take(&line, begun, &mut ready);
                line.clear();
            }
            () = &mut stop, if !asked => asked = true,
            () = tokio::time::sleep_until(tick.into()) => {
                if line.len() > MAX_LINE_BYTES {
                    line.clear();
                }
                if Instant::now() >= limit {
                    match (sent, run.ready_after) {
                        (Some(_), _) => return Err(MachineError::Stuck(STOP_LIMIT.as_secs())),
                        (None, None) => return Err(MachineError::NotReady(ready_limit.as_secs())),
                        (None, Some(_)) => {}
                    }
                }
            }
        }
        run.sample(pid);
        // An interrupt before the flight process listens for it would be lost.
        if asked && sent.is_none() && run.ready_after.is_some() {
            interrupt(&mut serial).await?;
            sent = Some(Instant::now());
        }
    }
}

async fn interrupt(serial: &mut ChildStdin) -> io::Result<()> {
    serial.write_all(&[INTERRUPT]).await?;
    serial.flush().await
}

impl Run {
    /// Shows a line of the console and keeps what it says, if it is one of our documents.
    fn take(&mut self, line: &[u8], begun: Instant, ready: &mut impl FnMut(f64)) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\r', '\n']);
        eprintln!("{text}");
        // The terminal may echo our interrupt in front of a document.
        let Some(start) = text.find("{\"event\":") else { return };
        let document = serde_json::from_str::<Value>(text.get(start..).unwrap_or_default());
        let Ok(document) = document else { return };
        match document.get("event").and_then(Value::as_str) {
            Some("ready") if self.ready_after.is_none() => {
                let after = begun.elapsed();
                self.ready_after = Some(after);
                ready(after.as_secs_f64());
            }
            Some("done") => self.done = Some(document),
            Some("power-off") => self.power_off = Some(document),
            _ => {}
        }
    }

    /// Reads the emulator's processor time and peak memory.
    fn sample(&mut self, pid: u32) {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        // Fields 14 and 15 of proc(5) stat, in hundredths of a second on every Linux; the fields
        // are counted after the command's closing parenthesis, which is the second.
        let cpu = read("stat").and_then(|stat| {
            let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
            let (user, system): (f64, f64) =
                (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            Some((user + system) / 100.0)
        });
        let peak = read("status").and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        });
        self.cpu_s = cpu.unwrap_or(0.0).max(self.cpu_s);
        self.peak_bytes = peak.map_or(0, |kib| kib * 1024).max(self.peak_bytes);
    }
}

/// QEMU can't tell which port it took, so a free one is looked for here.
fn free_port(wanted: u16) -> io::Result<u16> {
    if wanted != 0 {
        return Ok(wanted);
    }
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_documents_of_a_console() {
        let mut run = Run::default();
        let mut readies = 0;
        for line in [
            "[    1.9] init: flying\r\n",
            "{\"event\":\"ready\"}\r\n",
            "^C{\"event\":\"done\",\"units_sent\":3}\r\n",
            "{\"event\":\"power-off\",\"status\":\"clean\"}\r\n",
            "{\"event\": broken\r\n",
        ] {
            run.take(line.as_bytes(), Instant::now(), &mut |_| readies += 1);
        }
        assert_eq!(readies, 1);
        assert_eq!(run.done.unwrap()["units_sent"], 3);
        assert_eq!(run.power_off.unwrap()["status"], "clean");
    }

    #[test]
    fn refuses_a_forward_of_another_form() {
        let machine = |forward: &str| Machine {
            memory: "128M".into(),
            sensor_port: 0,
            forwards: vec![forward.into()],
            kernel_args: Vec::new(),
            ready_limit: Duration::from_secs(1),
        };
        assert!(machine("udp:1:2").command(Path::new("."), 1).is_ok());
        for forward in ["udp:1", "icmp:1:2", "udp:1:2:3", "tcp:x:2", "udp:1:2,hostfwd=tcp::22-:22"]
        {
            let result = machine(forward).command(Path::new("."), 1);
            assert!(matches!(result, Err(MachineError::Forward(_))), "{forward}");
        }
    }
}
