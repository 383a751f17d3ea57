//! Standard output: the one way by which commands print.

use std::{
    io::{self, Write as _},
    sync::OnceLock,
};

/// Why something could not be printed, once for the whole process: what a command says is its
/// result, and no command can forget to look.
static FAILED: OnceLock<String> = OnceLock::new();

/// Prints a line. The reader of a pipe who had enough is no failure; any other makes the process
/// fail at its end, see [`failure`].
pub(crate) fn say(text: &str) {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = FAILED.set(format!("can't write to stdout: {error}"));
        }
        _ => {}
    }
}

/// Why something could not be printed.
pub(crate) fn failure() -> Option<&'static str> {
    FAILED.get().map(String::as_str)
}
