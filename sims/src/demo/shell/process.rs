//! The other programs as children: found beside this one, watched, stopped in order.

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long a program may take to listen: a debug build on a loaded machine, twice over.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a program may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Lines of a program's log shown when it fails.
const LOG_LINES: usize = 15;

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The ground station's.
    pub groundstation: PathBuf,
    /// The spacecraft's.
    pub onboard: PathBuf,
}

impl Programs {
    /// Looks beside the own executable.
    pub fn find() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("finding the own executable")?;
        let folder = own.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        Self::in_folder(&folder)
    }

    /// Looks in a folder.
    pub fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let find = |name: &str| {
            let path = folder.join(name);
            if path.is_file() {
                return Ok(path);
            }
            Err(anyhow!(
                "{name} is not beside orbitsim in {}: build all three with `make build` \
                 (or `cargo build --bins`)",
                folder.display()
            ))
        };
        Ok(Self { groundstation: find("groundstation")?, onboard: find("onboard")? })
    }
}

/// A program that runs until it is told to stop.
pub struct Running {
    name: &'static str,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
    /// Peak resident memory seen so far: the program's own, and its children's.
    pub peak_kib: (u64, u64),
}

impl Running {
    /// Starts a program; what it says on standard error goes to a log.
    pub fn start(
        name: &'static str,
        program: &Path,
        arguments: &[&str],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let errors = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        // A group of its own: an interrupt typed at the terminal is for the demonstration, which
        // then stops its children in order.
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(errors))
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let lines = BufReader::new(stdout).lines();
        Ok(Self { name, child, lines, log: log.to_owned(), peak_kib: (0, 0) })
    }

    /// Waits for the line that says the program listens.
    pub async fn ready(&mut self) -> anyhow::Result<Value> {
        match timeout(READY_TIMEOUT, self.event("ready")).await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => Err(self.failure("ended before it was ready")),
            Err(_) => Err(self.failure("was not ready in time")),
        }
    }

    /// The next line of a kind on standard output.
    async fn event(&mut self, kind: &str) -> Option<Value> {
        loop {
            let line = self.lines.next_line().await.ok()??;
            match serde_json::from_str::<Value>(&line) {
                Ok(value) if value["event"] == kind => return Some(value),
                _ => tracing::debug!("{}: {line}", self.name),
            }
        }
    }

    /// An error if the program has ended on its own.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failure(&format!("ended ({status})"))),
            Err(error) => bail!("{}: {error}", self.name),
        }
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n    ");
        anyhow!("{} {what}; its log {} ends:\n    {tail}", self.name, self.log.display())
    }

    /// Notes the peak memory of the program and of its children.
    pub fn note_memory(&mut self) {
        let Some(id) = self.child.id() else { return };
        let own = peak_kib(id).unwrap_or_default();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children: u64 = children
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|child| child.parse().ok())
            .filter_map(peak_kib)
            .sum();
        self.peak_kib = (self.peak_kib.0.max(own), self.peak_kib.1.max(children));
    }

    /// SIGKILL, as a power cut: nothing is said, nothing is flushed.
    pub async fn kill(&mut self) -> anyhow::Result<(u64, u64)> {
        self.note_memory();
        self.child.kill().await.with_context(|| format!("killing {}", self.name))?;
        Ok(self.peak_kib)
    }

    /// SIGTERM, then the line that the program says at a clean stop.
    pub async fn stop(mut self) -> anyhow::Result<(Option<Value>, (u64, u64))> {
        self.note_memory();
        let pid = self.child.id().and_then(|id| Pid::from_raw(id as i32));
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).with_context(|| format!("stopping {}", self.name))?;
        }
        let done = timeout(STOP_TIMEOUT, self.event("done")).await.ok().flatten();
        match timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) if !status.success() => {
                Err(self.failure(&format!("did not stop cleanly ({status})")))
            }
            Ok(_) => Ok((done, self.peak_kib)),
            Err(_) => Err(self.failure("did not stop")),
        }
    }
}

/// Peak resident memory of a process in KiB.
pub fn peak_kib(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Runs a program to its end: standard output, and whether it succeeded.
pub async fn finish(
    name: &str,
    program: &Path,
    arguments: &[&str],
    log: &Path,
) -> anyhow::Result<(String, bool)> {
    let errors = File::options().create(true).append(true).open(log)?;
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::from(errors))
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("running {name}"))?;
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = Programs::in_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("groundstation is not beside orbitsim"), "{error}");
        assert!(error.contains("make build"), "{error}");
    }

    #[test]
    fn the_own_peak_memory_can_be_read() {
        assert!(peak_kib(std::process::id()).is_some_and(|kib| kib > 500));
    }

    #[tokio::test]
    async fn a_program_that_fails_shows_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = ["-c", "echo port 7117 is occupied >&2; exit 1"];
        let mut program = Running::start("ground", Path::new("/bin/sh"), &script, &log).unwrap();
        let error = program.ready().await.unwrap_err().to_string();
        assert!(error.contains("ended before it was ready"), "{error}");
        assert!(error.contains("port 7117 is occupied"), "{error}");
    }

    #[tokio::test]
    async fn a_program_says_ready_and_done() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "trap 'kill $!; echo \"{\\\"event\\\":\\\"done\\\",\\\"n\\\":3}\"; exit 0' TERM; \
                      echo noise; sleep 600 & echo '{\"event\":\"ready\",\"port\":1}'; wait";
        let mut program =
            Running::start("craft", Path::new("/bin/bash"), &["-c", script], &log).unwrap();
        assert_eq!(program.ready().await.unwrap()["port"], 1);
        program.check().unwrap();
        let (done, (own, _)) = program.stop().await.unwrap();
        assert_eq!(done.unwrap()["n"], 3);
        assert!(own > 0);
    }
}
