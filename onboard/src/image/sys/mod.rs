//! The one system call here that no safe interface offers.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};

/// Has the kernel kill the child when the thread that spawns it ends, however it ends: an emulator
/// that nobody follows would run until the machine is switched off.
pub fn die_with_parent(command: &mut Command) {
    let ask = || set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into);
    // SAFETY: between fork and exec only async-signal-safe work is allowed. The closure makes one
    // prctl(2) and turns an errno into an `io::Error`, which allocates nothing.
    unsafe {
        command.pre_exec(ask);
    }
}
