//! `onboard models`: what model packages say of themselves, and whether they hold here.

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
    /// Lists the packages in a folder: digests and signatures are checked, nothing is run
    List(PackagesArgs),
    /// Checks a package and runs its known answers with ONNX Runtime
    Verify(PackagesArgs),
}

#[derive(Debug, Args)]
struct PackagesArgs {
    /// A package, or a folder of packages
    dir: PathBuf,
    /// Public key, hexadecimal, whose packages are taken
    #[arg(long)]
    trust: Vec<String>,
    /// Accepts the published development key, with which anyone can sign anything
    #[arg(long)]
    danger_accept_development_key: bool,
    /// ONNX Runtime's library
    #[arg(long)]
    runtime: Option<PathBuf>,
    /// One JSON document on standard output
    #[arg(long)]
    json: bool,
}

/// Runs the command; a package that does not hold makes it fail.
pub fn run(args: &ModelsArgs) -> anyhow::Result<()> {
    let (args, verify) = match &args.command {
        ModelsCommand::List(args) => (args, false),
        ModelsCommand::Verify(args) => (args, true),
    };
    let runtime = match verify {
        true => Some(Runtime::find(args.runtime.as_deref())?),
        false => None,
    };
    let packages = packages(&args.dir)?;
    anyhow::ensure!(
        !packages.is_empty(),
        "{}: no model package here (no {})",
        args.dir.display(),
        codecs::package::MANIFEST_FILE
    );
    let trust = trust(&args.trust, args.danger_accept_development_key)?;
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
    if args.json {
        let runtime = runtime.map(|runtime| runtime.describe());
        say!("{}", json!({ "runtime": runtime, "packages": documents }));
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
    if let Some(runtime) = runtime {
        runtime.load(&package)?;
    }
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
