//! What a kernel says about itself: its release, from the boot header, and the modules that must
//! be loaded for a driver, from each module's own `.modinfo` section.
//!
//! A module loaded before one that it needs fails with ENOENT ("unknown symbol"), and Debian's
//! package carries no `modules.dep`; so the order is worked out here, when the image is built.

use std::collections::BTreeMap;

use super::elf::{Elf, ElfError};

/// Why a kernel or a module set can't go into an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The kernel file carries no x86 boot header.
    #[error("not an x86 Linux kernel (no `HdrS` boot header)")]
    NotKernel,
    /// The boot header is too old, or points outside the file, for a version.
    #[error("the kernel's boot header names no version")]
    NoVersion,
    /// A module file is no ELF file, or has no `.modinfo`.
    #[error("module {name}: {reason}")]
    BadModule {
        /// The file's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither a file nor part of the kernel.
    #[error("module {name}, needed by {wanted_by}, is neither in the folder nor built in")]
    Missing {
        /// The module.
        name: String,
        /// What asked for it.
        wanted_by: String,
    },
    /// A module was built for another kernel.
    #[error("module {name} is for kernel {module}, the image's kernel is {kernel}")]
    OtherRelease {
        /// The module.
        name: String,
        /// The release in its version magic.
        module: String,
        /// The kernel's release.
        kernel: String,
    },
    /// Two modules need each other.
    #[error("modules depend on each other in a circle through {name}")]
    Circle {
        /// One of them.
        name: String,
    },
}

/// The release of a bzImage, such as `6.1.0-56-cloud-amd64` (the Linux/x86 boot protocol, 2.00:
/// offset of the version text, less 0x200, at 0x20E).
pub fn release(kernel: &[u8]) -> Result<String, KernelError> {
    if kernel.get(0x202..0x206) != Some(b"HdrS") {
        return Err(KernelError::NotKernel);
    }
    let pointer: [u8; 2] = kernel
        .get(0x20E..0x210)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(KernelError::NoVersion)?;
    let start = usize::from(u16::from_le_bytes(pointer)) + 0x200;
    let text = kernel.get(start..).unwrap_or_default();
    // The text goes on with the builder and date; the release is its first word.
    let end = text.iter().position(|&byte| byte == b' ' || byte == 0).unwrap_or(0);
    match std::str::from_utf8(text.get(..end.min(128)).unwrap_or_default()) {
        Ok(release) if !release.is_empty() => Ok(release.into()),
        _ => Err(KernelError::NoVersion),
    }
}

/// What one module's `.modinfo` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Modules that must be loaded before it.
    pub depends: Vec<String>,
    /// The kernel release it was built for.
    pub release: String,
}

impl ModuleInfo {
    /// Reads the section of NUL-terminated `key=value` texts.
    pub fn parse(module: &[u8]) -> Result<Self, ElfError> {
        let section = Elf::parse(module)?.section(".modinfo")?.ok_or(ElfError::NotElf)?;
        let mut info = Self::default();
        for text in section.split(|&byte| byte == 0) {
            let text = String::from_utf8_lossy(text);
            match text.split_once('=') {
                Some(("depends", list)) => {
                    info.depends =
                        list.split(',').filter(|n| !n.is_empty()).map(canonical).collect();
                }
                Some(("vermagic", magic)) => {
                    info.release = magic.split(' ').next().unwrap_or_default().into();
                }
                _ => {}
            }
        }
        Ok(info)
    }
}

/// A module's name as the kernel keeps it: files may be called `virtio-rng`, the module is
/// `virtio_rng`.
pub fn canonical(name: &str) -> String {
    name.trim_end_matches(".ko").replace('-', "_")
}

/// The order in which to load `wanted` and all that they need, dependencies first.
///
/// `modules` are the modules available as files, `built_in` those that are part of the kernel.
pub fn load_order(
    wanted: &[&str],
    modules: &BTreeMap<String, ModuleInfo>,
    built_in: &[String],
    kernel: &str,
) -> Result<Vec<String>, KernelError> {
    let mut order = Vec::new();
    for name in wanted {
        let mut path = Vec::new();
        visit(&canonical(name), "the image", modules, built_in, kernel, &mut path, &mut order)?;
    }
    Ok(order)
}

/// Depth first, after its dependencies; `path` holds the modules being visited and bounds the
/// recursion by the number of modules.
fn visit(
    name: &str,
    wanted_by: &str,
    modules: &BTreeMap<String, ModuleInfo>,
    built_in: &[String],
    kernel: &str,
    path: &mut Vec<String>,
    order: &mut Vec<String>,
) -> Result<(), KernelError> {
    if order.iter().any(|done| done == name) {
        return Ok(());
    }
    if path.iter().any(|above| above == name) {
        return Err(KernelError::Circle { name: name.into() });
    }
    let Some(info) = modules.get(name) else {
        if built_in.iter().any(|known| known == name) {
            return Ok(());
        }
        return Err(KernelError::Missing { name: name.into(), wanted_by: wanted_by.into() });
    };
    if info.release != kernel {
        return Err(KernelError::OtherRelease {
            name: name.into(),
            module: info.release.clone(),
            kernel: kernel.into(),
        });
    }
    path.push(name.into());
    for needed in &info.depends {
        visit(needed, name, modules, built_in, kernel, path, order)?;
    }
    path.pop();
    order.push(name.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::elf::tests::elf;
    use super::*;

    fn modules(of: &[(&str, &str)]) -> BTreeMap<String, ModuleInfo> {
        let info = |depends: &str| ModuleInfo {
            depends: depends.split(',').filter(|n| !n.is_empty()).map(canonical).collect(),
            release: "6.1".into(),
        };
        of.iter().map(|(name, depends)| ((*name).to_owned(), info(depends))).collect()
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let set = modules(&[
            ("virtio_net", "net_failover,virtio,virtio_ring"),
            ("net_failover", "failover"),
            ("failover", ""),
            ("virtio", ""),
            ("virtio_ring", "virtio"),
        ]);
        let order =
            load_order(&["virtio_net", "virtio-ring", "ext4"], &set, &["ext4".into()], "6.1");
        let expected = ["failover", "net_failover", "virtio", "virtio_ring", "virtio_net"];
        assert_eq!(order.unwrap(), expected);
    }

    #[test]
    fn says_what_is_missing_and_for_whom() {
        let set = modules(&[("a", "b")]);
        let error = load_order(&["a"], &set, &[], "6.1").unwrap_err();
        assert_eq!(error, KernelError::Missing { name: "b".into(), wanted_by: "a".into() });
        let error = load_order(&["a"], &set, &["b".into()], "6.6").unwrap_err();
        assert!(matches!(error, KernelError::OtherRelease { .. }), "{error}");
        let circle = modules(&[("a", "b"), ("b", "a")]);
        let error = load_order(&["a"], &circle, &[], "6.1").unwrap_err();
        assert_eq!(error, KernelError::Circle { name: "a".into() });
    }

    #[test]
    fn reads_modinfo() {
        let file = elf(None, Some(b"license=GPL\0depends=virtio,virtio-ring\0vermagic=6.1 SMP\0"));
        let info = ModuleInfo::parse(&file).unwrap();
        assert_eq!(info.depends, ["virtio", "virtio_ring"]);
        assert_eq!(info.release, "6.1");
        assert!(ModuleInfo::parse(b"\x7fELF").is_err());
    }

    #[test]
    fn reads_the_release_of_a_boot_header() {
        let mut kernel = vec![0; 0x300];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x20E..0x210].copy_from_slice(&0x20u16.to_le_bytes());
        kernel[0x220..0x22B].copy_from_slice(b"6.1.0-x (a)");
        assert_eq!(release(&kernel).unwrap(), "6.1.0-x");
        assert_eq!(release(&kernel[..0x220]), Err(KernelError::NoVersion));
        assert_eq!(release(b"MZ"), Err(KernelError::NotKernel));
    }
}
