//! Clients that vendors publish, in a virtual environment.

use std::{path::PathBuf, process::Command};
use tests::process::root;

/// Runs a script of this folder with the vendors' clients and gives its last line; none where no
/// clients are installed. A script that fails fails the test with all that it said.
pub fn run(script: &str, arguments: &[&str]) -> Option<String> {
    let dir = std::env::var_os("GROUNDTRACK_POOL_CLIENTS")
        .map_or_else(|| root().join("target/pool-clients"), PathBuf::from);
    let program = dir.join("bin/python");
    if !program.exists() {
        println!(
            "skipped: no clients; run tools/install-pool-clients target/pool-clients, or set \
             GROUNDTRACK_POOL_CLIENTS"
        );
        return None;
    }
    let output = Command::new(program)
        .arg(root().join("tests/tests/pools").join(script))
        .args(arguments)
        // Nothing of this machine's own accounts may decide a test.
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {arguments:?}: {said}\n{complained}");
    Some(said.lines().last().unwrap_or_default().to_owned())
}
