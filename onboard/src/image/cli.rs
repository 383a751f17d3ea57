//! `onboard image ...`: arguments in, reports out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::config::Config;

use super::assemble::{CONFIG_PATH, Manifest, assemble};
use super::files::{self, Sources};
use super::machine::Machine;

/// Where tools/fetch-kernel puts the kernel, from the workspace root.
const KERNEL: &str = "target/image/kernel/vmlinuz";
const MODULES: &str = "target/image/kernel/modules";
/// Where tools/build-static puts the binary.
const BINARY: &str = "target/image/onboard";

/// Build, check and try the flight image.
#[derive(Debug, Args)]
pub struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Make an image: a kernel and an initramfs with the static flight binary as its init
    #[command(after_help = BUILD_EXAMPLES)]
    Build(BuildArgs),
    /// Check an image against its manifest
    Verify(VerifyArgs),
    /// Boot an image in QEMU (emulated x86-64) and follow its serial console
    #[command(after_help = BOOT_EXAMPLES)]
    Boot(BootArgs),
}

const BUILD_EXAMPLES: &str = "\
Examples:
  tools/fetch-kernel && tools/build-static
  onboard image build --out target/image/sky-7 --config missions/sky-7/flight.toml \\
      --identity STATION/enrolled/sky-7

A configuration without [identity] takes that folder's onboard-identity.toml.
The image scores by statistics only: a static binary cannot load ONNX Runtime.
The image is not signed yet. Its initramfs holds the private key: keep it secret.
SOURCE_DATE_EPOCH, if set, is the time of every file in it; otherwise that is 1970.";

const BOOT_EXAMPLES: &str = "\
Examples:
  onboard image boot --image target/image/sky-7 --sensor-port 9000
  onboard image boot --image target/image/sky-7 --self-test

The guest is 10.0.2.15; it reaches a daemon on this machine's loopback at 10.0.2.2.
Ctrl-C asks the guest to stop cleanly and power off; twice kills it.";

#[derive(Debug, Args)]
struct BuildArgs {
    /// Folder that takes vmlinuz, initramfs.cpio.zst and manifest.json
    #[arg(long)]
    out: PathBuf,
    /// Flight configuration; the paths in its [identity] are relative to it
    #[arg(long, default_value = "onboard.toml")]
    config: PathBuf,
    /// Folder of the identity files that the configuration names [default: the configuration's]
    #[arg(long)]
    identity: Option<PathBuf>,
    /// Statically linked flight binary
    #[arg(long, default_value = BINARY)]
    binary: PathBuf,
    /// Kernel (bzImage)
    #[arg(long, default_value = KERNEL)]
    kernel: PathBuf,
    /// Folder of the kernel's modules
    #[arg(long, default_value = MODULES)]
    modules: PathBuf,
    /// Fail if the compressed initramfs is over so many bytes
    #[arg(long)]
    max_initramfs_bytes: Option<u64>,
    /// Print the manifest, which holds all sizes and digests, as one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Folder of the image
    image: PathBuf,
    /// Print the manifest as one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct BootArgs {
    /// Folder of the image
    #[arg(long)]
    image: PathBuf,
    /// UDP port on 127.0.0.1 that takes sensor packets for the guest; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    sensor_port: u16,
    /// Forward another port of 127.0.0.1, as PROTOCOL:HOST_PORT:GUEST_PORT; may be repeated
    #[arg(long)]
    forward: Vec<String>,
    /// Seconds the guest may take until it is ready
    #[arg(long, default_value_t = 120)]
    timeout: u64,
    /// Guest memory; this image wants 88M at least
    #[arg(long, default_value = "128M")]
    memory: String,
    /// Stop the flight process so many seconds after its start, and power off
    #[arg(long)]
    stop_after: Option<u64>,
    /// Bring the machine up, check modules, network and entropy, and power off
    #[arg(long)]
    self_test: bool,
}

/// Runs the command; documents go to stdout, talk and the guest's console to stderr.
pub fn run(args: ImageArgs) -> anyhow::Result<()> {
    match args.command {
        ImageCommand::Build(args) => build(args),
        ImageCommand::Verify(args) => {
            let manifest = files::verify(&args.image)?;
            if args.json { json(&manifest) } else { report(&args.image, &manifest) }
        }
        ImageCommand::Boot(args) => boot(args),
    }
}

fn build(args: BuildArgs) -> anyhow::Result<()> {
    let beside = args.config.parent().unwrap_or(Path::new("")).to_owned();
    let sources = Sources {
        kernel: args.kernel,
        modules: args.modules,
        binary: args.binary,
        config: args.config,
        identity: args.identity.unwrap_or(beside),
    };
    let mtime = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().with_context(|| {
            format!("SOURCE_DATE_EPOCH={text}: expected seconds since 1970, below 2^32")
        })?,
        Err(_) => 0,
    };
    let parts = sources.read()?;
    // A configuration that the flight process would refuse is refused here, on the ground.
    let config = String::from_utf8_lossy(&parts.config);
    let place = Path::new("/").join(CONFIG_PATH);
    let folder = place.parent().unwrap_or(&place);
    Config::parse(&sources.config.display().to_string(), &config, folder)?;
    let image = assemble(&parts, mtime)?;
    let (bytes, limit) = (image.manifest.initramfs.bytes, args.max_initramfs_bytes);
    if limit.is_some_and(|limit| bytes > limit) {
        bail!("the initramfs has {bytes} bytes, over --max-initramfs-bytes; nothing was written");
    }
    files::write(&args.out, &parts.kernel, &image)?;
    if args.json { json(&image.manifest) } else { report(&args.out, &image.manifest) }
}

fn json(manifest: &Manifest) -> anyhow::Result<()> {
    say!("{}", serde_json::to_string_pretty(manifest)?);
    Ok(())
}

fn report(folder: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    say!("Image {} (kernel {}, not signed)", folder.display(), manifest.kernel_release);
    say!("{:>12}  {:<16}  file", "bytes", "sha256");
    let line = |item: &super::assemble::Item, indent: &str| -> anyhow::Result<()> {
        let digest = item.sha256.get(..16).unwrap_or(&item.sha256);
        say!("{:>12}  {digest}  {indent}{}", item.bytes, item.path);
        Ok(())
    };
    line(&manifest.kernel, "")?;
    line(&manifest.initramfs, "")?;
    for item in &manifest.files {
        line(item, "  ")?;
    }
    let total = manifest.kernel.bytes + manifest.initramfs.bytes;
    say!("{total:>12}  {:<16}  to store or uplink", "");
    say!("{:>12}  {:<16}  of memory for the unpacked files", manifest.unpacked_bytes, "");
    say!("It scores by statistics only: a static binary cannot load ONNX Runtime.");
    Ok(())
}

fn boot(args: BootArgs) -> anyhow::Result<()> {
    files::verify(&args.image)?;
    let mut kernel_args = Vec::new();
    if let Some(seconds) = args.stop_after {
        kernel_args.push(format!("groundtrack.stop_after_s={seconds}"));
    }
    if args.self_test {
        kernel_args.push("groundtrack.self_test".into());
    }
    let machine = Machine {
        memory: args.memory,
        sensor_port: args.sensor_port,
        forwards: args.forward,
        kernel_args,
        ready_limit: Duration::from_secs(args.timeout),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let (first, second) = stops()?;
        tokio::select! {
            done = machine.boot(&args.image, first, |ready| {
                // The guest flies on even if nobody listens.
                use std::io::Write as _;
                let _ = writeln!(std::io::stdout(), "{ready}");
            }) => {
                anyhow::Ok(done?)
            }
            () = second => bail!("stopped twice: the guest was killed"),
        }
    })?;
    say!("{done}");
    Ok(())
}

/// Two futures: the first SIGINT or SIGTERM, and the second.
fn stops() -> anyhow::Result<(impl Future<Output = ()>, impl Future<Output = ()>)> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    let (send, first) = tokio::sync::oneshot::channel();
    let second = async move {
        let [interrupt, terminate] = &mut signals;
        let mut send = Some(send);
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            match send.take() {
                Some(first) => drop(first.send(())),
                None => return,
            }
        }
    };
    let first = async move {
        let _ = first.await;
    };
    Ok((first, second))
}
