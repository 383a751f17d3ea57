//! The flight image: what a flight computer boots, built, checked and tried.
//!
//! ```text
//! elf, kernel ──► assemble ──► files (disk) ──► machine (QEMU) ──► init (inside)
//!        cpio ──────┘
//! ```
//!
//! An image is a kernel, an initramfs with the statically linked flight binary as `/init`, and a
//! manifest of digests. It is not signed yet. A static binary can't load ONNX Runtime, so the
//! image scores by statistics only.

pub mod elf;
pub mod kernel;
pub mod cpio;
pub mod assemble;
pub mod files;
pub mod machine;
pub mod init;
mod sys;
pub mod cli;
