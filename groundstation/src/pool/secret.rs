//! Credentials: where they are read from, and a type that nothing prints.

use super::PoolError;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Longest credential that is read.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// A credential. Its `Debug` says nothing, and there is no other way to print it but
/// [`expose`](Self::expose).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a credential; white space around it goes, as editors leave it at a file's end, and the
    /// byte order mark that some set at its begin.
    pub fn new(text: &str) -> Self {
        let around = |c: char| c.is_whitespace() || c == '\u{feff}';
        Self(text.trim_matches(around).to_owned())
    }

    /// The credential, for the wire alone.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A text without the credential, should a server have repeated it.
    pub fn redact(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "[credential]") }
    }

    /// What to say of a credential that can't stand in a header; it is never shown.
    pub fn unusable() -> PoolError {
        PoolError::auth("the credential holds letters that no header may hold")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The text of a file. What may make its reader wait, such as a pipe, is refused: pools and links
/// share a thread.
fn text_of(path: &Path) -> io::Result<String> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    file.take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Where a credential stands. It is read for each request, so that one that is renewed counts at
/// once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that holds nothing else.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
}

impl SecretSource {
    /// Reads a key or a token: one line, without control characters.
    pub fn read(&self) -> Result<Secret, PoolError> {
        let secret = self.read_lines()?;
        match secret.0.chars().any(char::is_control) {
            false => Ok(secret),
            true => Err(PoolError::auth(format!(
                "{self} holds a newline, a tab or another control character within: it should hold \
                 the key and nothing else"
            ))),
        }
    }

    /// Reads what may have lines of its own, such as the several parts of AWS's keys.
    pub fn read_lines(&self) -> Result<Secret, PoolError> {
        let text = match self {
            Self::File(path) => text_of(path).map_err(|error| {
                PoolError::auth(format!("credential file {}: {error}", path.display()))
            })?,
            Self::Environment(name) => std::env::var(name)
                .map_err(|_| PoolError::auth(format!("${name} is not set, or no text")))?,
        };
        let secret = Secret::new(&text);
        if secret.0.is_empty() {
            Err(PoolError::auth(format!("{self} is empty")))
        } else {
            Ok(secret)
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "credential file {}", path.display()),
            Self::Environment(name) => write!(f, "${name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_a_credential_and_a_server_that_repeats_it_is_silenced() {
        let secret = Secret::new("sk-hidden\n");
        assert!(!format!("{secret:?} {secret:#?}").contains("hidden"));
        assert_eq!(secret.redact("bad key sk-hidden!"), "bad key [credential]!");
        assert_eq!(secret.expose(), "sk-hidden");
    }

    #[test]
    fn what_editors_leave_around_a_key_is_left_out_and_what_breaks_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let source = SecretSource::File(path.clone());
        for around in ["\u{feff}sk-hidden", "\u{feff} sk-hidden\r\n", "\t\n sk-hidden \u{feff}"] {
            std::fs::write(&path, around).unwrap();
            assert_eq!(source.read().unwrap().expose(), "sk-hidden", "{around:?}");
        }
        for within in ["sk-hidden\nsk-other", "sk-\thidden", "sk-hidden\0x", "sk-hidden\r\n\r\nb"] {
            std::fs::write(&path, within).unwrap();
            let told = source.read().unwrap_err();
            assert_eq!(told.cause, crate::pool::Cause::Auth);
            assert!(told.said.contains("control character"), "{told}");
            assert!(!told.said.contains("hidden"), "{told}");
            assert!(source.read_lines().is_ok(), "AWS's have lines");
        }
        std::fs::write(&path, "\u{feff}\n").unwrap();
        assert!(source.read().unwrap_err().said.contains("is empty"));
        let folder = SecretSource::File(dir.path().to_owned()).read().unwrap_err();
        assert!(folder.said.contains("no regular file"), "{folder}");
    }

    #[test]
    fn a_credential_that_nobody_writes_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let error = SecretSource::File(path).read().unwrap_err();
        assert!(error.said.contains("no regular file"), "{error}");
    }

    #[test]
    fn a_credential_that_is_not_there_is_an_error_of_credentials() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let source = SecretSource::File(path.clone());
        let missing = source.read().unwrap_err();
        assert_eq!(missing.cause, crate::pool::Cause::Auth);
        assert!(missing.said.contains("key"), "{missing}");
        std::fs::write(&path, " \n").unwrap();
        assert!(source.read().unwrap_err().said.contains("is empty"));
        std::fs::write(&path, "first\n").unwrap();
        assert_eq!(source.read().unwrap(), Secret::new("first"));
        std::fs::write(&path, "renewed\n").unwrap();
        assert_eq!(source.read().unwrap(), Secret::new("renewed"));
        let unset = SecretSource::Environment("GROUNDTRACK_NO_SUCH_KEY".into());
        assert!(unset.read().unwrap_err().said.contains("GROUNDTRACK_NO_SUCH_KEY"));
    }
}
