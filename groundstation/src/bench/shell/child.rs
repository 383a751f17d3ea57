//! Processes that this one starts of itself: a document a line from them, a line to them.

use anyhow::{Context as _, bail};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child as Process, ChildStdout, Command, Stdio},
};

/// A child; killed when dropped.
pub struct Child {
    process: Process,
    out: BufReader<ChildStdout>,
}

fn spawn(arguments: &[String]) -> anyhow::Result<(Process, ChildStdout)> {
    let program = std::env::current_exe().context("the path of this program")?;
    let mut process = Command::new(program)
        .args(arguments)
        .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "error".into()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {arguments:?}"))?;
    let out = process.stdout.take().context("its output")?;
    Ok((process, out))
}

fn read_document<T: DeserializeOwned>(line: &str, process: &mut Process) -> anyhow::Result<T> {
    if line.is_empty() {
        bail!("a process of the measurement ended early ({})", process.wait()?);
    }
    serde_json::from_str(line).with_context(|| format!("wanted a document: {line}"))
}

impl Child {
    /// Starts this program with other arguments.
    pub fn start(arguments: &[String]) -> anyhow::Result<Self> {
        let (process, out) = spawn(arguments)?;
        Ok(Self { process, out: BufReader::new(out) })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next document that it prints.
    pub fn document<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        read_document(&line, &mut self.process)
    }

    /// Tells it a number, upon which it comes to its end.
    pub fn tell(&mut self, number: u64) -> anyhow::Result<()> {
        let input = self.process.stdin.as_mut().context("its input")?;
        let written = writeln!(input, "{number}").and_then(|()| input.flush());
        written.context("a process of the measurement")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A child whose documents are waited for beside other things; killed when dropped.
pub struct Attended {
    process: Process,
    out: tokio::io::BufReader<tokio::process::ChildStdout>,
}

impl Attended {
    /// Starts this program with other arguments.
    pub fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let (process, out) = spawn(&arguments)?;
        let out = tokio::process::ChildStdout::from_std(out)?;
        Ok(Self { process, out: tokio::io::BufReader::new(out) })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next document that it prints.
    pub async fn document<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        tokio::io::AsyncBufReadExt::read_line(&mut self.out, &mut line).await?;
        read_document(&line, &mut self.process)
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Prints a document for the parent.
pub fn tell(document: &impl Serialize) -> anyhow::Result<()> {
    crate::commands::say(&serde_json::to_string(document)?);
    Ok(())
}

/// Waits for the parent's number.
pub async fn told() -> anyhow::Result<u64> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let line = read.await?.context("the parent's word")?;
    line.trim().parse().with_context(|| format!("the parent says {line:?}"))
}

/// Nanoseconds on a clock that all processes share.
pub fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Processor time of this process, user and system, in seconds.
pub fn cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Processor time of the calling thread, user and system, in seconds.
pub fn thread_cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Processor time that a process's threads took so far, user and system, in seconds.
pub fn cpu_of_s(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ns = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    ns.sum::<u64>() as f64 * 1e-9
}
