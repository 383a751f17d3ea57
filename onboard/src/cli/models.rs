//! `onboard models`: what model packages say of themselves, and whether they hold here.

mod bench;
mod slots;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use codecs::package::Trust;
use onboard_model::{Package, Runtime};
use serde_json::{Value, json};

use crate::shell::models::trust;

/// What to do with packages.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Lists the packages in a folder, or model slots: digests and signatures are checked, nothing
    /// is run
    List(PackagesArgs),
    /// Checks a package and runs its known answers with ONNX Runtime
    Verify(PackagesArgs),
    /// Installs a package into the slot that is not active, once it reproduces its known answers
    Install(slots::InstallArgs),
    /// Makes the model in the other slot the active one
    Promote(slots::TaskArgs),
    /// Takes the active model out of service; the other slot takes over, or statistics do
    Rollback(slots::TaskArgs),
    /// Writes a package as pieces that fit the uplink: `groundstation uplink send --kind model`
    Pack(slots::PackArgs),
    /// Measures models: latency, memory, and what this program adds to bare ONNX Runtime
    Bench(bench::BenchArgs),
    /// Runs one model for a parent process, asked over standard input
    #[command(hide = true)]
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// ONNX Runtime's library
    #[arg(long)]
    runtime: Option<PathBuf>,
    /// Most memory for data, in bytes
    #[arg(long)]
    memory_bytes: u64,
    /// Leaves the processor to everyone else
    #[arg(long)]
    idle: bool,
}

/// Whose packages are taken, and what runs them.
#[derive(Debug, Args)]
struct TrustArgs {
    /// Public key, hexadecimal, whose packages are taken
    #[arg(long)]
    trust: Vec<String>,
    /// Accepts the published development key, with which anyone can sign anything
    #[arg(long)]
    danger_accept_development_key: bool,
    /// ONNX Runtime's library
    #[arg(long)]
    runtime: Option<PathBuf>,
}

impl TrustArgs {
    fn trust(&self) -> anyhow::Result<Trust> {
        trust(&self.trust, self.danger_accept_development_key)
    }
}

#[derive(Debug, Args)]
struct PackagesArgs {
    /// A package, a folder of packages, or a folder of slots
    dir: PathBuf,
    #[command(flatten)]
    trusted: TrustArgs,
    /// Execution providers to ask for, the first first
    #[arg(long, default_value = "cpu")]
    provider: Vec<String>,
    /// One JSON document on standard output
    #[arg(long)]
    json: bool,
}

/// Runs the command; a package that does not hold makes it fail.
pub fn run(args: &ModelsArgs) -> anyhow::Result<()> {
    match &args.command {
        ModelsCommand::List(args) if slots::is_slots(&args.dir) => {
            slots::list(&args.dir, &args.trusted, args.json)
        }
        ModelsCommand::List(args) => look_at(args, false),
        ModelsCommand::Verify(args) => look_at(args, true),
        ModelsCommand::Install(args) => slots::install(args),
        ModelsCommand::Promote(args) => slots::promote(args),
        ModelsCommand::Rollback(args) => slots::roll_back(args),
        ModelsCommand::Pack(args) => slots::pack(args),
        ModelsCommand::Bench(args) => bench::run(args),
        ModelsCommand::Serve(ServeArgs { runtime, memory_bytes, idle }) => {
            onboard_model::shell::serve(runtime.as_deref(), *memory_bytes, *idle)
                .context("this is for a parent process, asked over a socket at standard input")
        }
    }
}

fn look_at(args: &PackagesArgs, verify: bool) -> anyhow::Result<()> {
    let runtime = match verify {
        true => {
            let runtime = Runtime::find(args.trusted.runtime.as_deref())?;
            Some(runtime.with_providers(&args.provider))
        }
        false => None,
    };
    let packages = packages(&args.dir)?;
    anyhow::ensure!(
        !packages.is_empty(),
        "{}: no model package here (no {})",
        args.dir.display(),
        codecs::package::MANIFEST_FILE
    );
    let trust = args.trusted.trust()?;
    let mut broken = 0;
    let mut documents = Vec::new();
    for folder in packages {
        let document = match look(&folder, &trust, runtime.as_ref()) {
            Ok(document) => document,
            Err(error) => {
                broken += 1;
                json!({ "folder": folder, "error": format!("{error:#}") })
            }
        };
        if !args.json {
            tell(&document)?;
        }
        documents.push(document);
    }
    let available = runtime.as_ref().map(Runtime::available);
    if args.json {
        let runtime = runtime.map(|runtime| runtime.describe());
        let providers = json!({ "asked": args.provider, "available": available });
        say!("{}", json!({ "runtime": runtime, "providers": providers, "packages": documents }));
    } else if let Some(available) = available {
        let missing: Vec<&String> =
            args.provider.iter().filter(|name| !available.contains(name)).collect();
        if !missing.is_empty() {
            say!("note: this library lacks {missing:?}; the processor runs what they would");
        }
    }
    anyhow::ensure!(broken == 0, "{broken} of {} packages do not hold", documents.len());
    Ok(())
}

fn packages(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let is_package = |path: &Path| path.join(codecs::package::MANIFEST_FILE).is_file();
    if is_package(dir) {
        return Ok(vec![dir.into()]);
    }
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("{}: can't read", dir.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_package(path))
        .collect();
    found.sort();
    Ok(found)
}

fn look(folder: &Path, trust: &Trust, runtime: Option<&Runtime>) -> anyhow::Result<Value> {
    let package = Package::open(folder, trust)?;
    let used = match runtime {
        Some(runtime) => Some(runtime.load(&package)?.providers()),
        None => None,
    };
    let manifest = package.manifest();
    let tasks: Vec<String> = manifest.tasks.iter().map(ToString::to_string).collect();
    Ok(json!({
        "folder": folder,
        "name": manifest.name,
        "version": manifest.version,
        "tasks": tasks,
        "bytes": package.model().len(),
        "known_answers": package.vectors().len(),
        "signer": package.signer().to_string(),
        "reproduced": runtime.is_some(),
        "providers": used,
    }))
}

fn tell(document: &Value) -> anyhow::Result<()> {
    let text = |key: &str| document[key].as_str().unwrap_or_default().to_string();
    if let Some(error) = document["error"].as_str() {
        say!("{}: {error}", text("folder"));
        return Ok(());
    }
    let tasks: Vec<&str> =
        document["tasks"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let answers = if document["reproduced"] == true { "known answers hold" } else { "not run" };
    say!(
        "{} {}: {} ({} bytes, {answers}, signed by {})",
        text("name"),
        text("version"),
        tasks.join(", "),
        document["bytes"],
        text("signer")
    );
    Ok(())
}
