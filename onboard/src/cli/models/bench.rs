//! `onboard models bench`: what models cost on this machine.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context;
use clap::Args;
use codecs::tensor::Tensor;
use onboard_model::{
    LoadOptions, Package, Runtime, Session,
    shell::{measure, serve::rss_bytes},
};
use serde_json::{Value, json};

use super::TrustArgs;
use crate::{
    config::Models,
    models::Task,
    shell::models::{Loader, open},
};

/// Windows and tiles that a batch of the benchmark holds.
const BATCH: u64 = 16;
/// Time that a measurement takes about, so that its median settles.
const ABOUT_NS: u64 = 1_500_000_000;

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Packages to measure
    #[arg(required = true)]
    packages: Vec<PathBuf>,
    #[command(flatten)]
    trusted: TrustArgs,
    /// The program whose `models serve` is measured; this one where absent
    #[arg(long)]
    server: Option<PathBuf>,
    /// One JSON document on standard output
    #[arg(long)]
    json: bool,
}

fn at(sorted: &[u64], share: f64) -> f64 {
    let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(0) as f64 / 1000.0
}

/// The question of a package's first known answer, so many times over.
fn question(package: &Package, batch: u64) -> Option<Vec<Tensor>> {
    let vector = package.vectors().first()?;
    let repeat = |tensor: &Tensor| {
        let mut shape = tensor.shape.clone();
        let first = shape.first_mut()?;
        let one = tensor.data.len() / usize::try_from(*first).ok()?.max(1);
        *first = batch;
        let data = tensor.data.get(..one)?.repeat(usize::try_from(batch).ok()?);
        Tensor::new(tensor.name.clone(), tensor.dtype, shape, data.into()).ok()
    };
    vector.inputs.iter().map(repeat).collect()
}

/// As many rounds as fill the time.
fn rounds(session: &mut Session, question: &[Tensor]) -> anyhow::Result<usize> {
    let started = Instant::now();
    for _ in 0..10 {
        session.run(question)?;
    }
    let one = started.elapsed().as_nanos() as u64 / 10;
    Ok((ABOUT_NS / 2 / one.max(1)).clamp(100, 50_000) as usize)
}

/// Measures and prints.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let idle = rss_bytes();
    let trust = args.trusted.trust()?;
    let runtime = Runtime::find(args.trusted.runtime.as_deref())?;
    let library = rss_bytes();
    let profiles = std::env::temp_dir().join(format!("onboard-bench-{}", std::process::id()));
    std::fs::create_dir_all(&profiles)?;
    let mut models = Vec::new();
    for path in &args.packages {
        let package = open(path, &trust)?;
        let document = bench(args, &runtime, &package, &profiles)
            .with_context(|| path.display().to_string())?;
        if !args.json {
            tell(&document)?;
        }
        models.push(document);
    }
    // The profiles themselves are gone; a folder that stays does no harm.
    let _ = std::fs::remove_dir(&profiles);
    let memory = json!({ "before_bytes": idle, "with_library_bytes": library,
        "with_all_models_bytes": rss_bytes() });
    if args.json {
        let runtime = runtime.describe();
        say!("{}", json!({ "runtime": runtime, "process": memory, "models": models }));
    } else {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        say!(
            "this process: {:.1} MiB before the library, {:.1} with it, {:.1} with all models",
            mib(idle),
            mib(library),
            mib(rss_bytes())
        );
    }
    Ok(())
}

fn bench(
    args: &BenchArgs,
    runtime: &Runtime,
    package: &Package,
    profiles: &Path,
) -> anyhow::Result<Value> {
    let before = rss_bytes();
    let mut session = runtime.load(package)?;
    let loaded = rss_bytes();
    let manifest = package.manifest();
    let mut runs = Vec::new();
    let batches = [1, BATCH.min(manifest.max_batch)];
    let dynamic = manifest.inputs.iter().all(|port| port.shape.first() == Some(&-1));
    let server = Models {
        runtime: args.trusted.runtime.clone(),
        server: args.server.clone(),
        ..Models::default()
    };
    let mut apart = Loader::new(&server).load(package, false)?;
    for batch in batches.into_iter().take(if dynamic { 2 } else { 1 }) {
        let question = question(package, batch).context("a package without a known answer")?;
        let rounds = rounds(&mut session, &question)?;
        let times = measure::compare(&mut session, package, &question, rounds)?;
        let (ours, bare) = (at(&times.session_ns, 0.5), at(&times.bare_ns, 0.5));
        let mut child = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let started = Instant::now();
            apart.run(&question)?;
            child.push(started.elapsed().as_nanos() as u64);
        }
        child.sort_unstable();
        runs.push(json!({
            "batch": batch,
            "rounds": rounds,
            "p50_us": ours,
            "p99_us": at(&times.session_ns, 0.99),
            "bare_p50_us": bare,
            "bare_p99_us": at(&times.bare_ns, 0.99),
            "overhead": ours / bare.max(1e-3) - 1.0,
            "child_p50_us": at(&child, 0.5),
            "child_p99_us": at(&child, 0.99),
        }));
    }
    let one = question(package, 1).context("a package without a known answer")?;
    let nodes = measure::placement(package, &LoadOptions::default(), &one, profiles)?;
    let task = Task::ALL.into_iter().find(|task| manifest.fulfils(task.contract()));
    Ok(json!({
        "name": manifest.name,
        "version": manifest.version,
        "task": task,
        "runs": runs,
        "memory_bytes": loaded.saturating_sub(before),
        "child_rss_bytes": apart.usage().rss_bytes,
        "nodes_by_provider": nodes,
    }))
}

fn tell(document: &Value) -> anyhow::Result<()> {
    let mib = |key: &str| document[key].as_f64().unwrap_or(0.0) / f64::from(1 << 20);
    say!(
        "{} {}: {:.1} MiB here, {:.1} MiB as a process; nodes {}",
        document["name"].as_str().unwrap_or_default(),
        document["version"].as_str().unwrap_or_default(),
        mib("memory_bytes"),
        mib("child_rss_bytes"),
        document["nodes_by_provider"]
    );
    for run in document["runs"].as_array().into_iter().flatten() {
        let number = |key: &str| run[key].as_f64().unwrap_or(0.0);
        say!(
            "  batch {:>3}: p50 {:.2} us, p99 {:.2} us; bare {:.2}, {:.2}; {:+.1} %; \
             own process {:.1}, {:.1}",
            run["batch"],
            number("p50_us"),
            number("p99_us"),
            number("bare_p50_us"),
            number("bare_p99_us"),
            100.0 * number("overhead"),
            number("child_p50_us"),
            number("child_p99_us")
        );
    }
    Ok(())
}
