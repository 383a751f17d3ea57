//! The serving side: models of signed packages behind the Open Inference Protocol, over REST and
//! gRPC.
//!
//! ```text
//! rest ─┬─► models (packages, workers) ─► outputs
//! grpc ─┤
//! line ─┘ (of the daemon that started it)
//! ```
//!
//! It is a process of its own, so that a model that crashes, hangs or leaks never touches ingest.
//! Without ONNX Runtime, or with a package that can't be used, it serves all the same and says
//! why it can't answer; a person's server, as against the daemon's child, ends when it has no model
//! at all.

pub mod models;
pub mod tls;
pub mod rest;
pub mod line;
mod reading;
pub mod grpc;

pub use models::PENDING_MAX;

use anyhow::{Context as _, bail};
use models::Models;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{SocketType, sockopt::socket_type};
use serde_json::json;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tls::Incoming;
use tokio::net::TcpListener;

/// What runs the models, as the protocol's metadata names it.
const PLATFORM: &str = "onnxruntime_onnx";

/// What the protocol's extensions have and this server has not, by a word of REST's path or of
/// gRPC's method.
fn absent(path: &str) -> Option<&'static str> {
    const ABSENT: [(&[&str], &str); 8] = [
        (&["stats", "ModelStatistics"], "statistics"),
        (
            &["repository", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"],
            "repository: models are those of the packages that it was started with",
        ),
        (
            &[
                "systemsharedmemory",
                "SystemSharedMemoryRegister",
                "SystemSharedMemoryStatus",
                "SystemSharedMemoryUnregister",
            ],
            "shared memory",
        ),
        (
            &[
                "cudasharedmemory",
                "CudaSharedMemoryRegister",
                "CudaSharedMemoryStatus",
                "CudaSharedMemoryUnregister",
            ],
            "shared memory of accelerators",
        ),
        (&["trace", "TraceSetting"], "trace settings"),
        (&["logging", "LogSettings"], "log settings"),
        (&["config", "ModelConfig"], "configuration of models: ask for a model's metadata"),
        (&["generate", "generate_stream", "ModelStreamInfer"], "answers by stream"),
    ];
    // Names of models are no words of the protocol.
    let after = |word: &str| matches!(word, "models" | "versions");
    let mut words = path.split('/').filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        if let Some((_, what)) = ABSENT.iter().find(|(names, _)| names.contains(&word)) {
            return Some(what);
        }
        if after(word) {
            words.next();
        }
    }
    None
}

/// Serve model packages over the Open Inference Protocol (REST and gRPC)
///
/// What the embedded pool is made of: the daemon starts it as a child process. On a machine with
/// an accelerator it serves other stations, and whatever else speaks the protocol.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    groundstation pools serve --package onboard/model/packages/cloud-screen \
    --danger-accept-development-key --listen 127.0.0.1:8000 --grpc 127.0.0.1:8001")]
pub struct Args {
    /// Where to listen for REST; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where to listen for gRPC as well
    #[arg(long, value_name = "ADDRESS")]
    pub grpc: Option<SocketAddr>,
    /// Certificate in PEM, with those above it: both then speak TLS alone
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Folder of a model package; may be given again
    #[arg(long = "package", value_name = "DIR", required = true)]
    pub packages: Vec<PathBuf>,
    /// Copies of each model, which answer side by side
    #[arg(long, value_name = "COUNT", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// ONNX Runtime library; searched for when absent
    #[arg(long, value_name = "FILE")]
    pub runtime: Option<PathBuf>,
    /// Accept packages signed with the published development key
    #[arg(long)]
    pub danger_accept_development_key: bool,
    /// Serve the process at the other end of standard input, a socket, alone, and end with it
    #[arg(long, hide = true, conflicts_with_all = ["grpc", "cert"])]
    pub child: bool,
    /// Memory of that process, which inputs are read from
    #[arg(long, value_name = "PATH", hide = true, requires = "child")]
    pub shared_memory: Option<PathBuf>,
}

/// Runs the server until it is told to stop.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let models = Arc::new(Models::load(args));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args.child {
        true => runtime.block_on(serve_parent(models))?,
        false => runtime.block_on(serve(args, models))?,
    }
    // A model that still runs must not keep the process.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// Why a server has nothing to serve. A child goes on all the same, and tells its parent.
fn refusal(args: &Args, models: &Models) -> Option<String> {
    let serves = args.child || models.any_ready();
    (!serves).then(|| format!("no model can be served: {}", models.failures().join("; ")))
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("can't listen on {address}: choose another address or port 0"))
}

async fn serve(args: &Args, models: Arc<Models>) -> anyhow::Result<()> {
    let acceptor = |protocol: &[u8]| {
        let files = args.cert.as_ref().zip(args.key.as_ref());
        files.map(|(cert, key)| tls::acceptor(cert, key, protocol)).transpose()
    };
    let rest = listen(args.listen).await?;
    let grpc = match args.grpc {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let scheme = if args.cert.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", rest.local_addr()?);
    let address = grpc.as_ref().map(TcpListener::local_addr).transpose()?;
    let rest = Incoming::new(rest, acceptor(b"http/1.1")?);
    let grpc = match grpc {
        Some(grpc) => Some(Incoming::new(grpc, acceptor(b"h2")?)),
        None => None,
    };
    if let Some(refusal) = refusal(args, &models) {
        bail!(refusal);
    }
    let ready = json!({
        "event": "ready",
        "url": url,
        "grpc": address.map(|address| format!("{scheme}://{address}")),
        "models": models.names().collect::<Vec<_>>(),
        "trouble": models.trouble(),
    });
    say(&ready)?;
    let (stop, stopped) = tokio::sync::watch::channel(());
    tokio::spawn(async move {
        asked_to_stop().await;
        drop(stop);
    });
    let rest = rest::serve(rest, Arc::clone(&models), closed(stopped.clone()));
    match grpc {
        Some(grpc) => {
            let grpc = grpc::serve(grpc, models, closed(stopped));
            let (rest, grpc) = tokio::join!(rest, grpc);
            rest.and(grpc)
        }
        None => rest.await,
    }
}

/// Serves the process that started this one, until it is gone.
async fn serve_parent(models: Arc<Models>) -> anyhow::Result<()> {
    let parent = rustix::stdio::stdin().try_clone_to_owned()?;
    if !matches!(socket_type(&parent), Ok(SocketType::STREAM)) {
        bail!(
            "standard input is no stream socket: --child is for the daemon, which holds the \
             other end; to serve others name addresses instead"
        );
    }
    let watched = parent.try_clone()?;
    // A thread of its own, for a model that hangs must not outlive its parent either.
    std::thread::spawn(move || {
        let mut other_end = [PollFd::new(&watched, PollFlags::empty())];
        while poll(&mut other_end, None).is_err() {}
        // Nobody is left to answer, so nothing is worth finishing.
        std::process::exit(0);
    });
    say(&json!({ "event": "ready", "trouble": models.trouble(), "shares": models.shares() }))?;
    tokio::select! {
        ended = line::serve(parent.into(), models) => ended.context("standard input"),
        () = asked_to_stop() => Ok(()),
    }
}

/// Tells whoever started this.
fn say(what: &serde_json::Value) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{what}")?;
    out.flush()
}

/// Resolves when nobody holds the other end any more.
async fn closed(mut stopped: tokio::sync::watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

/// Resolves when the process should end.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let term = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = term => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(packages: &[PathBuf], child: bool) -> Args {
        Args {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            grpc: None,
            cert: None,
            key: None,
            packages: packages.to_vec(),
            workers: 1,
            runtime: None,
            danger_accept_development_key: false,
            child,
            shared_memory: None,
        }
    }

    #[test]
    fn a_server_without_any_model_ends_and_says_why_of_each() {
        let dir = tempfile::tempdir().unwrap();
        let packages = ["first", "second"].map(|name| dir.path().join(name));
        let told = run(&args(&packages, false)).unwrap_err().to_string();
        assert!(told.starts_with("no model can be served: "), "{told}");
        for package in &packages {
            assert!(told.contains(&format!("package {}", package.display())), "{told}");
        }
        // A child's trouble is for its parent to tell.
        assert_eq!(refusal(&args(&packages, true), &Models::load(&args(&packages, true))), None);
        assert_eq!(refusal(&args(&[], false), &Models::echo()), None);
    }
}
