//! Puts a kernel, its modules, the flight binary, a configuration and an identity together into
//! an image: pure, so that the same parts give the same bytes.
//!
//! The image is a kernel and one initramfs: no block device, no boot loader's file system, and
//! nothing in memory that is not listed, with its digest, in the manifest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cpio::{Archive, CpioError, Entry};
use super::elf::{Elf, ElfError, MACHINE_X86_64};
use super::kernel::{self, KernelError, ModuleInfo};

/// Where the configuration stands in the image.
pub const CONFIG_PATH: &str = "etc/onboard/onboard.toml";
/// Where the list of the image's own files stands in it.
pub const CONTENTS_PATH: &str = "etc/onboard/image.json";
/// Where the modules stand, named so that sorting them gives the order of loading.
pub const MODULES_PATH: &str = "lib/modules";
/// The manifest's format identifier.
pub const FORMAT: &str = "groundtrack-image/1";

/// Drivers that the flight process needs on the boards that QEMU draws: the PCI transport, the
/// network, and a source of entropy without which TLS hangs.
const DRIVERS: [&str; 3] = ["virtio_pci", "virtio_net", "virtio_rng"];
/// High enough to matter for the uplink of an image, low enough for a laptop: about two seconds.
const ZSTD_LEVEL: i32 = 19;
/// Far above any flight binary; bounds what verification unpacks.
pub const MAX_UNPACKED_BYTES: u64 = 512 * 1024 * 1024;

/// Everything an image is made of, as bytes.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// A bzImage.
    pub kernel: Vec<u8>,
    /// Kernel modules by canonical name.
    pub modules: BTreeMap<String, Vec<u8>>,
    /// Canonical names of modules that are part of the kernel.
    pub built_in: Vec<String>,
    /// The statically linked flight binary.
    pub binary: Vec<u8>,
    /// The flight configuration.
    pub config: Vec<u8>,
    /// Identity files by their path relative to the configuration.
    pub identity: BTreeMap<String, Vec<u8>>,
    /// The mission definition that names the parameters to score, likewise.
    pub mission: Option<(String, Vec<u8>)>,
}

/// An image: what a boot loader is given, and the manifest beside it.
#[derive(Debug, Clone)]
pub struct Image {
    /// The compressed initramfs.
    pub initramfs: Vec<u8>,
    /// What is in it and in the kernel.
    pub manifest: Manifest,
}

/// What an image consists of, with sizes and digests; also the size report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub format: String,
    /// Release of the kernel, which the modules must match.
    pub kernel_release: String,
    /// The kernel file.
    pub kernel: Item,
    /// The compressed initramfs file.
    pub initramfs: Item,
    /// Bytes of the initramfs before compression, which is what it takes of the memory.
    pub unpacked_bytes: u64,
    /// Modules in the order in which they are loaded.
    pub modules: Vec<String>,
    /// Files in the initramfs, the list of them itself left out.
    pub files: Vec<Item>,
    /// Always absent: images are not signed yet.
    pub signature: Option<String>,
}

/// One file: path, size and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Path in the image, or name beside the manifest.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

impl Item {
    /// Describes `bytes` as the file `path`.
    pub fn of(path: &str, bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { path: path.into(), bytes: bytes.len() as u64, sha256 }
    }
}

/// Why parts do not make an image.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The binary asks for a program interpreter.
    #[error(
        "the flight binary is dynamically linked (it asks for {interpreter}) and nothing in the \
         image could load it; build it with tools/build-static"
    )]
    Dynamic {
        /// The interpreter it names.
        interpreter: String,
    },
    /// The binary is for another processor than the kernel.
    #[error("the flight binary is for ELF machine {machine}, the kernel is for x86-64 (62)")]
    OtherMachine {
        /// Its `e_machine`.
        machine: u16,
    },
    /// The binary is no ELF file.
    #[error("the flight binary: {0}")]
    Binary(ElfError),
    /// The kernel or its modules do not fit.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A file does not fit the archive.
    #[error(transparent)]
    Archive(#[from] CpioError),
    /// Compression failed.
    #[error("compressing the initramfs: {0}")]
    Compress(std::io::Error),
}

/// Makes the image; `mtime` (seconds since 1970, `SOURCE_DATE_EPOCH`) is every file's time.
pub fn assemble(parts: &Parts, mtime: u32) -> Result<Image, AssembleError> {
    check_binary(&parts.binary)?;
    let kernel_release = kernel::release(&parts.kernel)?;
    let modules = load_order(parts, &kernel_release)?;

    let mut archive = Archive::default();
    // The kernel opens /dev/console for us before anything is mounted; the others are mount points.
    archive.insert("dev/console", Entry::Device { mode: 0o600, major: 5, minor: 1 })?;
    for directory in ["proc", "sys", "run", "var"] {
        archive.insert(directory, Entry::Directory { mode: 0o755 })?;
    }
    archive.insert("init", file(0o755, &parts.binary))?;
    archive.insert(CONFIG_PATH, file(0o644, &parts.config))?;
    if let Some((path, bytes)) = &parts.mission {
        archive.insert(&format!("etc/onboard/{path}"), file(0o644, bytes))?;
    }
    for (path, bytes) in &parts.identity {
        archive.insert(&format!("etc/onboard/{path}"), file(0o600, bytes))?;
    }
    for (index, name) in modules.iter().enumerate() {
        let bytes = parts.modules.get(name).map(Vec::as_slice).unwrap_or_default();
        archive.insert(&format!("{MODULES_PATH}/{index:02}-{name}.ko"), file(0o644, bytes))?;
    }
    let files = items(&archive);
    let contents = serde_json::json!({
        "format": FORMAT, "kernel_release": kernel_release, "files": files,
    });
    archive.insert(CONTENTS_PATH, file(0o644, format!("{contents:#}\n").as_bytes()))?;

    let unpacked = archive.encode(mtime);
    let initramfs = zstd::bulk::compress(&unpacked, ZSTD_LEVEL).map_err(AssembleError::Compress)?;
    let manifest = Manifest {
        format: FORMAT.into(),
        kernel_release,
        kernel: Item::of("vmlinuz", &parts.kernel),
        initramfs: Item::of("initramfs.cpio.zst", &initramfs),
        unpacked_bytes: unpacked.len() as u64,
        modules,
        files,
        signature: None,
    };
    Ok(Image { initramfs, manifest })
}

/// The regular files of an archive, its own list of them left out.
pub fn items(archive: &Archive) -> Vec<Item> {
    let files = archive.entries().filter_map(|(name, entry)| match entry {
        Entry::File { bytes, .. } if name != CONTENTS_PATH => Some(Item::of(name, bytes)),
        _ => None,
    });
    files.collect()
}

fn check_binary(binary: &[u8]) -> Result<(), AssembleError> {
    let elf = Elf::parse(binary).map_err(AssembleError::Binary)?;
    if elf.machine() != MACHINE_X86_64 {
        return Err(AssembleError::OtherMachine { machine: elf.machine() });
    }
    match elf.interpreter().map_err(AssembleError::Binary)? {
        Some(interpreter) => Err(AssembleError::Dynamic { interpreter }),
        None => Ok(()),
    }
}

fn load_order(parts: &Parts, release: &str) -> Result<Vec<String>, KernelError> {
    let mut known = BTreeMap::new();
    for (name, bytes) in &parts.modules {
        let info = ModuleInfo::parse(bytes).map_err(|error| KernelError::BadModule {
            name: name.clone(),
            reason: error.to_string(),
        })?;
        known.insert(name.clone(), info);
    }
    kernel::load_order(&DRIVERS, &known, &parts.built_in, release)
}

fn file(mode: u32, bytes: &[u8]) -> Entry {
    Entry::File { mode, bytes: bytes.to_vec() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::elf::tests::elf;
    use super::*;

    pub(crate) fn parts() -> Parts {
        let mut kernel = vec![0; 0x300];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x20E..0x210].copy_from_slice(&0x20u16.to_le_bytes());
        kernel[0x220..0x224].copy_from_slice(b"6.1 ");
        let module = |depends: &str| {
            elf(None, Some(format!("depends={depends}\0vermagic=6.1 SMP\0").as_bytes()))
        };
        let modules = [("virtio", ""), ("virtio_pci", "virtio"), ("virtio_net", "virtio")];
        Parts {
            kernel,
            modules: modules.map(|(name, depends)| (name.to_owned(), module(depends))).into(),
            built_in: vec!["virtio_rng".into()],
            binary: elf(None, None),
            config: b"[spacecraft]\nid = 7\n".to_vec(),
            identity: [("identity.key".to_owned(), b"secret".to_vec())].into(),
            mission: None,
        }
    }

    #[test]
    fn same_parts_same_bytes() {
        let first = assemble(&parts(), 0).unwrap();
        let second = assemble(&parts(), 0).unwrap();
        assert_eq!(first.initramfs, second.initramfs);
        assert_eq!(first.manifest, second.manifest);
        assert_ne!(first.initramfs, assemble(&parts(), 1).unwrap().initramfs);
    }

    #[test]
    fn holds_what_the_manifest_says() {
        let image = assemble(&parts(), 0).unwrap();
        let bytes = zstd::bulk::decompress(&image.initramfs, 1 << 20).unwrap();
        assert_eq!(bytes.len() as u64, image.manifest.unpacked_bytes);
        let archive = Archive::decode(&bytes).unwrap();
        assert_eq!(items(&archive), image.manifest.files);
        let paths: Vec<_> = image.manifest.files.iter().map(|item| item.path.as_str()).collect();
        let expected = [
            "etc/onboard/identity.key",
            "etc/onboard/onboard.toml",
            "init",
            "lib/modules/00-virtio.ko",
            "lib/modules/01-virtio_pci.ko",
            "lib/modules/02-virtio_net.ko",
        ];
        assert_eq!(paths, expected);
        let key = archive.entries().find(|(name, _)| *name == "etc/onboard/identity.key");
        assert!(matches!(key, Some((_, Entry::File { mode: 0o600, .. }))));
    }

    #[test]
    fn refuses_a_dynamic_binary() {
        let binary = elf(Some("/lib64/ld-linux-x86-64.so.2"), None);
        let error = assemble(&Parts { binary, ..parts() }, 0).unwrap_err();
        assert!(error.to_string().contains("dynamically linked"), "{error}");
        let error = assemble(&Parts { binary: b"#!/bin/sh".to_vec(), ..parts() }, 0).unwrap_err();
        assert!(error.to_string().contains("ELF"), "{error}");
    }
}
