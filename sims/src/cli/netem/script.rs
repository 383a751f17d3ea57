//! The same as a shell script, for another machine or to be read.

use std::fmt::Write as _;

use codecs::time::Tai;

use super::Shaped;
use crate::link::{Geometry, netem::Setting};

/// Waits until so many milliseconds after the start; a signal ends the wait at once.
const UNTIL: &str = "\
begun=$(date +%s%3N)
pause() { sleep \"$1\" & wait $!; }
at() {
  left=$((begun + $1 - $(date +%s%3N)))
  [ \"$left\" -le 0 ] || pause \"$((left / 1000)).$(printf %03d $((left % 1000)))\"
}
";

/// What is done from `start` on, until `end` or the script is stopped.
pub fn of<G: Geometry>(
    mut shaped: Vec<Shaped<G>>,
    start: Tai,
    end: Option<Tai>,
) -> anyhow::Result<String> {
    let mut script = String::from("#!/bin/sh\n# A link by orbitsim netem; needs CAP_NET_ADMIN.\n");
    script += "set -e\ntrap 'exit 130' INT\ntrap 'exit 143' TERM\n";
    let undo = shaped.iter().map(|of| format!("tc {}", Setting::undo(&of.interface).join(" ")));
    writeln!(script, "trap '{}' EXIT", undo.collect::<Vec<_>>().join("; "))?;
    script += UNTIL;
    let mut now = start;
    let last = end.unwrap_or(start);
    loop {
        let mut commands = Vec::new();
        for of in &mut shaped {
            commands.extend(of.turn(now)?);
        }
        if !commands.is_empty() && now > start {
            writeln!(script, "at {}", now.since(start) / 1_000_000)?;
        }
        for command in commands {
            writeln!(script, "tc {}", command.join(" "))?;
        }
        if now > last || end.is_none() {
            break;
        }
        now = shaped.iter().map(|of| of.shaper.due()).min().unwrap_or(last.plus(1));
    }
    // What never changes stays until it is stopped.
    script += if end.is_none() { "while :; do pause 3600; done" } else { "# It has set." };
    Ok(script)
}
