//! A view over a 64-bit little-endian ELF file: just enough to tell a static binary from a
//! dynamic one and to read what a kernel module says about itself.
//!
//! Panic contract: none of the accessors panics on any input; every offset is checked.

/// `e_machine` of x86-64 (System V ABI, AMD64 supplement).
pub const MACHINE_X86_64: u16 = 62;

const HEADER_BYTES: usize = 64;
const PT_INTERP: u32 = 3;
/// More headers than any linker writes; bounds the loops over hostile tables.
const MAX_HEADERS: u16 = 1024;

/// Why a file is no ELF file that this view reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// The magic, class or byte order is another.
    #[error("not a 64-bit little-endian ELF file")]
    NotElf,
    /// A table or section reaches outside the file.
    #[error("ELF table at byte {offset} reaches past the end of the file")]
    Truncated {
        /// Where the reader stood.
        offset: u64,
    },
    /// A table claims more entries than the view accepts.
    #[error("ELF file claims {claimed} headers, the bound is {MAX_HEADERS}")]
    TooManyHeaders {
        /// The claimed number.
        claimed: u16,
    },
}

/// A parsed ELF header over borrowed bytes; tables are read when asked for.
#[derive(Debug, Clone, Copy)]
pub struct Elf<'a> {
    bytes: &'a [u8],
}

impl<'a> Elf<'a> {
    /// Checks magic, class and byte order, and that the header is whole.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ElfError> {
        // EI_CLASS 2 is 64-bit, EI_DATA 1 is little-endian.
        if !bytes.starts_with(b"\x7fELF\x02\x01") {
            return Err(ElfError::NotElf);
        }
        if bytes.len() < HEADER_BYTES {
            return Err(ElfError::Truncated { offset: bytes.len() as u64 });
        }
        Ok(Self { bytes })
    }

    /// The `e_machine` field.
    pub fn machine(&self) -> u16 {
        self.u16_at(18).unwrap_or(0)
    }

    /// The program interpreter (`PT_INTERP`); a static binary, position independent or not, has
    /// none.
    pub fn interpreter(&self) -> Result<Option<String>, ElfError> {
        let table = self.u64_at(32)?;
        let size = u64::from(self.u16_at(54)?);
        let count = self.bounded(self.u16_at(56)?)?;
        for index in 0..u64::from(count) {
            let header = table.saturating_add(index.saturating_mul(size));
            if self.u32_at(header)? != PT_INTERP {
                continue;
            }
            let start = self.u64_at(header.saturating_add(8))?;
            let length = self.u64_at(header.saturating_add(32))?;
            return Ok(Some(text(self.slice(start, length)?)));
        }
        Ok(None)
    }

    /// The bytes of the first section called `name`.
    pub fn section(&self, name: &str) -> Result<Option<&'a [u8]>, ElfError> {
        let table = self.u64_at(40)?;
        let size = u64::from(self.u16_at(58)?);
        let count = self.bounded(self.u16_at(60)?)?;
        let at = |index: u64| table.saturating_add(index.saturating_mul(size));
        let names = self.section_bytes(at(u64::from(self.u16_at(62)?)))?;
        for index in 0..u64::from(count) {
            let header = at(index);
            let offset = self.u32_at(header)? as usize;
            if names.get(offset..).is_some_and(|rest| text(rest) == name) {
                return self.section_bytes(header).map(Some);
            }
        }
        Ok(None)
    }

    fn section_bytes(&self, header: u64) -> Result<&'a [u8], ElfError> {
        let start = self.u64_at(header.saturating_add(24))?;
        self.slice(start, self.u64_at(header.saturating_add(32))?)
    }

    fn bounded(&self, claimed: u16) -> Result<u16, ElfError> {
        if claimed > MAX_HEADERS {
            return Err(ElfError::TooManyHeaders { claimed });
        }
        Ok(claimed)
    }

    fn slice(&self, start: u64, length: u64) -> Result<&'a [u8], ElfError> {
        let truncated = ElfError::Truncated { offset: start };
        let end = start.checked_add(length).ok_or(truncated)?;
        let range = usize::try_from(start).map_err(|_| truncated)?
            ..usize::try_from(end).map_err(|_| truncated)?;
        self.bytes.get(range).ok_or(truncated)
    }

    fn array<const N: usize>(&self, offset: u64) -> Result<[u8; N], ElfError> {
        self.slice(offset, N as u64)?.try_into().map_err(|_| ElfError::Truncated { offset })
    }

    fn u16_at(&self, offset: u64) -> Result<u16, ElfError> {
        self.array(offset).map(u16::from_le_bytes)
    }

    fn u32_at(&self, offset: u64) -> Result<u32, ElfError> {
        self.array(offset).map(u32::from_le_bytes)
    }

    fn u64_at(&self, offset: u64) -> Result<u64, ElfError> {
        self.array(offset).map(u64::from_le_bytes)
    }
}

/// The text before the first NUL, invalid UTF-8 replaced.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest ELF file with one program header (an interpreter where given) and, where
    /// `modinfo` is given, a section of that content.
    pub(crate) fn elf(interpreter: Option<&str>, modinfo: Option<&[u8]>) -> Vec<u8> {
        let names = b"\0.shstrtab\0.modinfo\0";
        let content: Vec<u8> = match interpreter {
            Some(path) => [path.as_bytes(), b"\0"].concat(),
            None => Vec::new(),
        };
        let modinfo = modinfo.unwrap_or_default();
        let (phoff, data) = (64u64, 64 + 56u64);
        let names_at = data + content.len() as u64;
        let modinfo_at = names_at + names.len() as u64;
        let shoff = modinfo_at + modinfo.len() as u64;
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend(3u16.to_le_bytes());
        file.extend(MACHINE_X86_64.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        for value in [0, phoff, shoff] {
            file.extend(value.to_le_bytes());
        }
        file.extend(0u32.to_le_bytes());
        for value in [64u16, 56, 1, 64, 3, 1] {
            file.extend(value.to_le_bytes());
        }
        let kind = if interpreter.is_some() { PT_INTERP } else { 1 };
        file.extend(kind.to_le_bytes());
        file.extend(4u32.to_le_bytes());
        for value in [data, 0, 0, content.len() as u64, 0, 1] {
            file.extend(value.to_le_bytes());
        }
        file.extend(&content);
        file.extend(names);
        file.extend(modinfo);
        for (name, at, length) in [
            (0u32, 0, 0),
            (1, names_at, names.len() as u64),
            (11, modinfo_at, modinfo.len() as u64),
        ] {
            file.extend(name.to_le_bytes());
            file.extend([0u8; 20]);
            file.extend(at.to_le_bytes());
            file.extend(length.to_le_bytes());
            file.extend([0u8; 24]);
        }
        file
    }

    #[test]
    fn tells_static_from_dynamic() {
        let dynamic = elf(Some("/lib64/ld-linux-x86-64.so.2"), None);
        let view = Elf::parse(&dynamic).unwrap();
        assert_eq!(view.interpreter().unwrap().as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(view.machine(), MACHINE_X86_64);
        assert_eq!(Elf::parse(&elf(None, None)).unwrap().interpreter(), Ok(None));
        // Cargo links tests dynamically on the host target, so the test binary is a real example.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let expected = !cfg!(target_feature = "crt-static");
        assert_eq!(Elf::parse(&own).unwrap().interpreter().unwrap().is_some(), expected);
    }

    #[test]
    fn finds_a_section_by_name() {
        let file = elf(None, Some(b"name=virtio\0"));
        let view = Elf::parse(&file).unwrap();
        assert_eq!(view.section(".modinfo").unwrap(), Some(&b"name=virtio\0"[..]));
        assert_eq!(view.section(".absent").unwrap(), None);
    }

    #[test]
    fn every_truncation_is_an_error_or_a_smaller_answer() {
        let file = elf(Some("/lib/ld.so"), Some(b"name=virtio\0"));
        // The last header's fields that nobody reads may be missing.
        for length in 0..file.len() - 24 {
            let Ok(view) = Elf::parse(&file[..length]) else { continue };
            let _ = view.interpreter();
            assert!(view.section(".modinfo").is_err(), "length {length}");
        }
    }
}
