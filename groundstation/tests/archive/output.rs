//! Standard output that can't be written.

use crate::station::{Station, recording, talk};
use std::{fs::File, io::pipe, process::Command};

#[test]
fn a_result_that_could_not_be_printed_is_no_success() {
    let station = Station::with(&recording(0, 40));
    let out = station.path("out");
    for arguments in [
        &["audit"][..],
        &["audit", "--json"],
        &["gaps"],
        &["gaps", "--json"],
        &["check"],
        &["export", out.to_str().unwrap()],
        &["replay", "--speed", "max", "--to", "file:/dev/null"],
    ] {
        let ended = station.run_into(arguments, File::create("/dev/full").unwrap());
        let said = talk(&ended);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("can't write to stdout"), "{arguments:?}: {said}");
        let _ = std::fs::remove_dir_all(&out);
        // The reader of a pipe had enough: its business.
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let ended = station.run_into(arguments, File::from(std::os::fd::OwnedFd::from(writer)));
        assert_eq!((ended.status.code(), talk(&ended).contains("stdout")), (Some(0), false));
        let _ = std::fs::remove_dir_all(&out);
    }
    for arguments in ["--help", "--version"] {
        let mut help = Command::new(env!("CARGO_BIN_EXE_groundstation"));
        let full = File::create("/dev/full").unwrap();
        assert_eq!(help.arg(arguments).stdout(full).status().unwrap().code(), Some(1));
    }
}
