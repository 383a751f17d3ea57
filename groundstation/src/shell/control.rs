//! Requests to the running daemon from its own machine: a Unix socket in the archive's folder,
//! which only the station's user can enter. One line asks, one JSON document answers.

use anyhow::{Context as _, bail};
use serde_json::Value;
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, net::UnixStream as BlockingStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    time::timeout,
};

/// Name of the socket.
const SOCKET: &str = "control.sock";
/// Longest request.
const REQUEST_BYTES_MAX: usize = 64;
/// Longest answer.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How long a client may take to ask and to read; requests wait for each other.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);
/// How long a client waits for the daemon.
const DAEMON_PATIENCE: Duration = Duration::from_secs(30);
/// Longest path of a Unix socket, without its end (`unix(7)`).
const PATH_BYTES_MAX: usize = 107;

/// The daemon's end.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

/// Someone asked for something.
pub struct Request {
    /// The line, without its end.
    pub line: String,
    stream: UnixStream,
}

impl Control {
    /// Listens in a folder that this daemon has locked: a socket found there is a dead one's.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (short, _folder) = short(dir)?;
        let listener = UnixListener::bind(short)?;
        Ok(Self { listener, path })
    }

    /// The next request. Dropping the future drops at most a request that was not read yet.
    pub async fn next(&self) -> Request {
        loop {
            let asked = async {
                let (mut stream, _) = self.listener.accept().await?;
                let read = timeout(CLIENT_PATIENCE, line(&mut stream)).await;
                let line = read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
                Ok::<_, io::Error>(Request { line, stream })
            };
            match asked.await {
                Ok(request) => return request,
                Err(error) => {
                    tracing::debug!(%error, "a request on the control socket came to nothing");
                    // Out of descriptors, say: do not spin.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Request {
    /// Answers; a client that is gone needs none.
    pub async fn answer(mut self, answer: &Value) {
        let text = answer.to_string();
        let _ = timeout(CLIENT_PATIENCE, self.stream.write_all(text.as_bytes())).await;
    }
}

async fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(REQUEST_BYTES_MAX);
    while !bytes.ends_with(b"\n") {
        if bytes.len() == REQUEST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.push(stream.read_u8().await?);
    }
    bytes.pop();
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Asks the daemon that has the folder.
pub fn ask(dir: &Path, request: &str) -> anyhow::Result<Value> {
    let talk = || -> io::Result<String> {
        let (short, _folder) = short(dir)?;
        let mut stream = BlockingStream::connect(short)?;
        stream.set_read_timeout(Some(DAEMON_PATIENCE))?;
        writeln!(stream, "{request}")?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = talk().with_context(|| {
        format!(
            "no daemon answers in {}; `groundstation run` starts it, and only its own user and \
             root may ask",
            dir.display()
        )
    })?;
    if answer.is_empty() {
        bail!("the daemon in {} ended before it answered; see its log", dir.display());
    }
    serde_json::from_str(&answer).context("the daemon's answer is no JSON")
}

/// Whether a daemon has the folder open; nothing is asked of it.
pub fn is_answered(dir: &Path) -> bool {
    short(dir).and_then(|(path, _folder)| BlockingStream::connect(path)).is_ok()
}

/// The socket's path, through an open folder where it would be too long for the system.
fn short(dir: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = dir.join(SOCKET);
    if path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX {
        return Ok((path, None));
    }
    let folder = File::open(dir)?;
    Ok((format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()).into(), Some(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_asks_is_answered_however_long_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a".repeat(90)).join("b".repeat(90));
        std::fs::create_dir_all(&deep).unwrap();
        for folder in [dir.path(), &deep] {
            let control = Control::open(folder).unwrap();
            let to = folder.to_path_buf();
            let asked = tokio::task::spawn_blocking(move || ask(&to, "reload"));
            let request = control.next().await;
            assert_eq!(request.line, "reload");
            request.answer(&serde_json::json!({ "done": true })).await;
            assert_eq!(asked.await.unwrap().unwrap()["done"], true);
            // As after a kill: the name is still there, and no hindrance.
            std::mem::forget(control);
            drop(Control::open(folder).unwrap());
            let gone = ask(folder, "reload").unwrap_err().to_string();
            assert!(gone.contains("groundstation run"), "{gone}");
        }
    }

    #[tokio::test]
    async fn nonsense_is_dropped_and_the_next_request_served() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::open(dir.path()).unwrap();
        let mut garbage = BlockingStream::connect(dir.path().join(SOCKET)).unwrap();
        garbage.write_all(&[b'x'; 4096]).unwrap();
        let mut asks = BlockingStream::connect(dir.path().join(SOCKET)).unwrap();
        writeln!(asks, "status").unwrap();
        assert_eq!(control.next().await.line, "status");
    }
}
