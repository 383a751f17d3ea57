//! Reads an image's parts from disk, writes the image, and checks one that was written.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use super::assemble::{self, Image, Item, MAX_UNPACKED_BYTES, Manifest, Parts};
use super::cpio::{Archive, CpioError};
use super::kernel;

/// Deeper than any module tree of a kernel package; bounds the search.
const MAX_DEPTH: usize = 12;
/// File name of the manifest beside kernel and initramfs.
pub const MANIFEST: &str = "manifest.json";

/// File name of the `[identity]` table that enrolment writes.
const IDENTITY: &str = "onboard-identity.toml";

/// Why parts could not be read or an image not written or trusted.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The system's reason, with the path.
    #[error("{}: {error}{}", path.display(), hint(error, help))]
    Io {
        /// The path.
        path: PathBuf,
        /// The reason.
        error: io::Error,
        /// What to do if it is not there; may be empty.
        help: &'static str,
    },
    /// The configuration can't be used in an image.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The configuration's path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The manifest is no manifest.
    #[error("{}: {error}", path.display())]
    Manifest {
        /// Its path.
        path: PathBuf,
        /// Why it does not parse.
        error: serde_json::Error,
    },
    /// A file differs from the manifest.
    #[error("{}: {what} differs from the manifest: {found} instead of {expected}", path.display())]
    Differs {
        /// The file on disk.
        path: PathBuf,
        /// Which part of it.
        what: String,
        /// Digest found.
        found: String,
        /// Digest expected.
        expected: String,
    },
    /// The initramfs is damaged inside.
    #[error("{}: {error}", path.display())]
    Archive {
        /// Its path.
        path: PathBuf,
        /// The reason.
        error: CpioError,
    },
}

fn hint(error: &io::Error, help: &str) -> String {
    let applies = error.kind() == io::ErrorKind::NotFound && !help.is_empty();
    if applies { format!(" ({help})") } else { String::new() }
}

fn io_at(path: &Path, help: &'static str) -> impl FnOnce(io::Error) -> FilesError {
    move |error| FilesError::Io { path: path.into(), error, help }
}

/// Where the parts of an image lie.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The kernel file.
    pub kernel: PathBuf,
    /// The folder of its modules, searched in depth, with `modules.builtin` at its top.
    pub modules: PathBuf,
    /// The static flight binary.
    pub binary: PathBuf,
    /// The flight configuration.
    pub config: PathBuf,
    /// Where the identity files that the configuration names are looked for.
    pub identity: PathBuf,
}

impl Sources {
    /// Reads all parts.
    pub fn read(&self) -> Result<Parts, FilesError> {
        let fetch = "tools/fetch-kernel puts one there";
        let config = self.config()?;
        let mut parts = Parts {
            kernel: read(&self.kernel, fetch)?,
            binary: read(&self.binary, "tools/build-static makes it")?,
            ..Parts::default()
        };
        let beside = self.config.parent().unwrap_or(Path::new(""));
        for key in ["certificate", "key", "golden_certificate", "golden_key"] {
            if let Some(name) = named(&self.config, &config, "identity", key)? {
                let bytes = read(&self.identity.join(&name), "name its folder with --identity")?;
                parts.identity.insert(name, bytes);
            }
        }
        if let Some(name) = named(&self.config, &config, "models", "mission")? {
            let bytes = read(&beside.join(&name), "its path starts at the configuration")?;
            parts.mission = Some((name, bytes));
        }
        parts.config = config;
        let list = read(&self.modules.join("modules.builtin"), fetch)?;
        for line in String::from_utf8_lossy(&list).lines() {
            let name = line.rsplit('/').next().unwrap_or(line);
            parts.built_in.push(kernel::canonical(name));
        }
        collect(&self.modules, MAX_DEPTH, &mut parts.modules)?;
        Ok(parts)
    }

    /// The configuration; one without an identity takes the table that enrolment wrote, so that
    /// one configuration serves every station.
    fn config(&self) -> Result<Vec<u8>, FilesError> {
        let mut config = read(&self.config, "name the flight configuration with --config")?;
        let table = self.identity.join(IDENTITY);
        if !has_identity(&String::from_utf8_lossy(&config)) {
            let help = "the configuration has no [identity]: name the folder of the enrolled \
                        spacecraft with --identity";
            config.push(b'\n');
            config.extend(read(&table, help)?);
        }
        Ok(config)
    }
}

/// True if the configuration says who the spacecraft is.
fn has_identity(config: &str) -> bool {
    // What does not parse is told of later, with its line.
    toml::from_str::<toml::Table>(config).map_or(true, |table| table.contains_key("identity"))
}

/// The path under `table` and `key` of the configuration, which must be below it in the image.
fn named(path: &Path, config: &[u8], table: &str, key: &str) -> Result<Option<String>, FilesError> {
    let wrong = |reason: String| FilesError::Config { path: path.into(), reason };
    let text = std::str::from_utf8(config).map_err(|error| wrong(error.to_string()))?;
    let tables: toml::Table = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let value = tables.get(table).and_then(|values| values.get(key));
    let Some(name) = value.and_then(toml::Value::as_str) else { return Ok(None) };
    if Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(Some(name.into()));
    }
    let place = assemble::CONFIG_PATH;
    Err(wrong(format!(
        "[{table}] {key} = \"{name}\" must be relative to the configuration, which the image has \
         at /{place}, and below it"
    )))
}

fn read(path: &Path, help: &'static str) -> Result<Vec<u8>, FilesError> {
    fs::read(path).map_err(io_at(path, help))
}

/// Adds every `.ko` file below `folder`.
fn collect(
    folder: &Path,
    depth: usize,
    modules: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), FilesError> {
    for entry in fs::read_dir(folder).map_err(io_at(folder, ""))? {
        let entry = entry.map_err(io_at(folder, ""))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(io_at(folder, ""))?);
        if kind.is_dir() && depth > 0 {
            collect(&path, depth - 1, modules)?;
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            let name = kernel::canonical(&entry.file_name().to_string_lossy());
            modules.insert(name, read(&path, "")?);
        }
    }
    Ok(())
}

/// Writes kernel, initramfs and manifest into `folder`. The initramfs holds the spacecraft's
/// private key, so only its owner may read it.
pub fn write(folder: &Path, kernel: &[u8], image: &Image) -> Result<(), FilesError> {
    fs::create_dir_all(folder).map_err(io_at(folder, ""))?;
    let manifest = serde_json::to_vec_pretty(&image.manifest)
        .map_err(|error| FilesError::Manifest { path: folder.join(MANIFEST), error })?;
    let files: [(&str, u32, &[u8]); 3] = [
        (&image.manifest.kernel.path, 0o644, kernel),
        (&image.manifest.initramfs.path, 0o600, &image.initramfs),
        (MANIFEST, 0o644, &manifest),
    ];
    for (name, mode, bytes) in files {
        let path = folder.join(name);
        // A new file each time: permissions of an old one would stay, and a running QEMU may
        // still read it.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_at(&path, "")(error));
            }
            _ => {}
        }
        let file = fs::File::options().write(true).create_new(true).mode(mode).open(&path);
        file.and_then(|mut file| io::Write::write_all(&mut file, bytes))
            .map_err(io_at(&path, ""))?;
    }
    Ok(())
}

/// Reads the manifest of an image folder.
pub fn manifest(folder: &Path) -> Result<Manifest, FilesError> {
    let path = folder.join(MANIFEST);
    let bytes = read(&path, "onboard image build makes it")?;
    serde_json::from_slice(&bytes).map_err(|error| FilesError::Manifest { path, error })
}

/// Checks kernel, initramfs and every file in it against the manifest.
pub fn verify(folder: &Path) -> Result<Manifest, FilesError> {
    let manifest = manifest(folder)?;
    let kernel_path = folder.join("vmlinuz");
    compare(&kernel_path, &manifest.kernel, &Item::of("vmlinuz", &read(&kernel_path, "")?))?;
    let path = folder.join("initramfs.cpio.zst");
    let compressed = read(&path, "")?;
    compare(&path, &manifest.initramfs, &Item::of("initramfs.cpio.zst", &compressed))?;
    let mut unpacked = Vec::new();
    zstd::stream::Decoder::new(compressed.as_slice())
        .and_then(|decoder| decoder.take(MAX_UNPACKED_BYTES).read_to_end(&mut unpacked))
        .map_err(io_at(&path, ""))?;
    let archive = Archive::decode(&unpacked)
        .map_err(|error| FilesError::Archive { path: path.clone(), error })?;
    let found = assemble::items(&archive);
    for expected in &manifest.files {
        let absent = Item { path: expected.path.clone(), bytes: 0, sha256: "nothing".into() };
        let item = found.iter().find(|item| item.path == expected.path).unwrap_or(&absent);
        compare(&path, expected, item)?;
    }
    let expected_bytes =
        format!("{} bytes, {} files", manifest.unpacked_bytes, manifest.files.len());
    let found_bytes = format!("{} bytes, {} files", unpacked.len(), found.len());
    if found_bytes != expected_bytes {
        let what = "its content".to_owned();
        return Err(FilesError::Differs {
            path,
            what,
            found: found_bytes,
            expected: expected_bytes,
        });
    }
    Ok(manifest)
}

fn compare(path: &Path, expected: &Item, found: &Item) -> Result<(), FilesError> {
    if expected == found {
        return Ok(());
    }
    Err(FilesError::Differs {
        path: path.into(),
        what: expected.path.clone(),
        found: found.sha256.clone(),
        expected: expected.sha256.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::assemble::tests::parts;
    use super::*;

    /// Lays the parts out as a kernel package, a build and a station would.
    fn sources(folder: &Path) -> Sources {
        let parts = parts();
        let modules = folder.join("modules");
        fs::create_dir_all(modules.join("kernel/drivers")).unwrap();
        for (name, bytes) in &parts.modules {
            let name = name.replace('_', "-");
            fs::write(modules.join(format!("kernel/drivers/{name}.ko")), bytes).unwrap();
        }
        fs::write(modules.join("modules.builtin"), "kernel/drivers/char/virtio-rng.ko\n").unwrap();
        fs::write(folder.join("vmlinuz"), &parts.kernel).unwrap();
        fs::write(folder.join("binary"), &parts.binary).unwrap();
        fs::write(folder.join("identity.key"), "secret").unwrap();
        fs::write(folder.join("onboard.toml"), "[identity]\nkey = \"identity.key\"\n").unwrap();
        Sources {
            kernel: folder.join("vmlinuz"),
            modules,
            binary: folder.join("binary"),
            config: folder.join("onboard.toml"),
            identity: folder.into(),
        }
    }

    fn build(out: &Path) -> Manifest {
        let folder = tempfile::tempdir().unwrap();
        let parts = sources(folder.path()).read().unwrap();
        let image = assemble::assemble(&parts, 0).unwrap();
        write(out, &parts.kernel, &image).unwrap();
        image.manifest
    }

    #[test]
    fn two_folders_give_one_image() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(build(first.path()), build(second.path()));
        for name in ["vmlinuz", "initramfs.cpio.zst", MANIFEST] {
            let read = |folder: &Path| fs::read(folder.join(name)).unwrap();
            assert_eq!(read(first.path()), read(second.path()), "{name}");
        }
        // Building over an old image replaces it.
        assert_eq!(build(first.path()), verify(first.path()).unwrap());
    }

    #[test]
    fn verification_names_what_was_changed() {
        let out = tempfile::tempdir().unwrap();
        let manifest = build(out.path());
        for item in [&manifest.kernel, &manifest.initramfs] {
            let path = out.path().join(&item.path);
            let good = fs::read(&path).unwrap();
            let mut bad = good.clone();
            bad[100] ^= 1;
            fs::write(&path, &bad).unwrap();
            let error = verify(out.path()).unwrap_err().to_string();
            assert!(error.contains(&item.path) && error.contains("differs"), "{error}");
            fs::write(&path, &good).unwrap();
        }
        let mut other = manifest;
        other.files[0].sha256 = "00".into();
        fs::write(out.path().join(MANIFEST), serde_json::to_vec(&other).unwrap()).unwrap();
        let error = verify(out.path()).unwrap_err().to_string();
        assert!(error.contains(&other.files[0].path), "{error}");
    }

    #[test]
    fn says_what_to_do_about_missing_parts() {
        let folder = tempfile::tempdir().unwrap();
        let sources = sources(folder.path());
        let missing = Sources { binary: folder.path().join("absent"), ..sources.clone() };
        let error = missing.read().unwrap_err().to_string();
        assert!(error.contains("absent") && error.contains("tools/build-static"), "{error}");
        fs::write(&sources.config, "[identity]\nkey = \"/etc/key\"\n").unwrap();
        let error = sources.read().unwrap_err().to_string();
        assert!(error.contains("must be relative"), "{error}");
    }

    #[test]
    fn takes_the_mission_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let sources = sources(folder.path());
        let config = "[identity]\n[models]\nmission = \"sky/mission.toml\"\n";
        fs::write(&sources.config, config).unwrap();
        let error = sources.read().unwrap_err().to_string();
        assert!(error.contains("sky/mission.toml"), "{error}");
        fs::create_dir(folder.path().join("sky")).unwrap();
        fs::write(folder.path().join("sky/mission.toml"), "mission = 1").unwrap();
        let parts = sources.read().unwrap();
        assert_eq!(parts.mission, Some(("sky/mission.toml".into(), b"mission = 1".to_vec())));
        let image = assemble::assemble(&parts, 0).unwrap();
        let placed = "etc/onboard/sky/mission.toml";
        assert!(image.manifest.files.iter().any(|item| item.path == placed));
    }

    #[test]
    fn takes_the_identity_that_enrolment_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let sources = sources(folder.path());
        fs::write(&sources.config, "[spacecraft]\nid = 7").unwrap();
        let error = sources.read().unwrap_err().to_string();
        assert!(error.contains(IDENTITY) && error.contains("--identity"), "{error}");
        let table = "[identity]\nkey = \"identity.key\"\n";
        fs::write(folder.path().join(IDENTITY), table).unwrap();
        let parts = sources.read().unwrap();
        assert_eq!(parts.config, format!("[spacecraft]\nid = 7\n{table}").into_bytes());
        assert_eq!(parts.identity.keys().collect::<Vec<_>>(), ["identity.key"]);
    }
}
