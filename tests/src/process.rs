//! Children under test: their documents on standard output, a clean stop, and no orphan left.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long any state may take to come about: generous, since it is only met by a failure.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Bounds what is read of an answer over HTTP.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The workspace root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stands in the root").into()
}

/// A binary of this build, beside the folder of the running test.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running test has a path");
    own.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST").join(name)
}

/// Whether models can run here; prints what to do where they can't.
pub fn runtime_is_there() -> bool {
    let library = binary("libonnxruntime.so");
    if library.exists() || std::env::var_os("ORT_DYLIB_PATH").is_some() {
        return true;
    }
    println!("skipped: no ONNX Runtime; run `make setup`");
    false
}

/// A child that prints documents, one a line; killed when dropped.
pub struct Daemon {
    name: String,
    child: Child,
    documents: Receiver<Value>,
}

impl Daemon {
    /// Starts a binary of this build in the workspace root; its talk goes to our stderr.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_in(name, arguments, &[])
    }

    /// The same, with more in its environment.
    pub fn start_in(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let path = binary(name);
        let mut child = Command::new(&path)
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let (send, documents) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(document) => {
                        if send.send(document).is_err() {
                            return;
                        }
                    }
                    Err(_) => eprintln!("{line}"),
                }
            }
        });
        Self { name: name.into(), child, documents }
    }

    /// The next document whose `event` is the one named.
    pub fn expect(&mut self, event: &str) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.documents.recv_timeout(left) {
                Ok(document) if document["event"] == event => return document,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{} did not say {event} within {DEADLINE:?}", self.name)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{} ended ({:?}) without {event}", self.name, self.child.wait())
                }
            }
        }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks for a clean stop.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks to read the configuration anew.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.id().cast_signed()).expect("a child has a number");
        kill_process(pid, signal).expect("it has not been waited for");
    }

    /// Waits for the end; its output must be closed by then.
    pub fn end(mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.documents.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{} did not end within {DEADLINE:?}", self.name)
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Does nothing where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The document at `path` of a server on loopback (HTTP/1.0, so that the answer ends with the
/// connection).
pub fn get(server: &str, path: &str) -> Value {
    let mut stream = TcpStream::connect(server).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).expect("it answers in UTF-8");
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a header");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
}
