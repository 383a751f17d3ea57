//! `groundstation pools serve` before Triton's own client.

use crate::python;
use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Stdio},
};
use tests::process::{Daemon, binary, root, runtime_is_there};

/// The server with the cloud model; none where there is no ONNX Runtime.
pub fn served() -> Option<(Daemon, Value)> {
    served_with(&[])
}

/// The same with more arguments.
pub fn served_with(more: &[&str]) -> Option<(Daemon, Value)> {
    if !runtime_is_there() {
        return None;
    }
    let package = root().join("onboard/model/packages/cloud-screen");
    let package = package.display().to_string();
    let mut arguments = vec!["pools", "serve", "--package", &package];
    arguments.extend(["--danger-accept-development-key", "--grpc", "127.0.0.1:0"]);
    arguments.extend(["--workers", "2"]);
    arguments.extend(more);
    let mut server = Daemon::start("groundstation", &arguments);
    let ready = server.expect("ready");
    assert_eq!(ready["trouble"], Value::Null, "{ready}");
    Some((server, ready))
}

/// Where a server of the protocol listens, without its scheme.
pub fn address<'a>(ready: &'a Value, key: &str) -> &'a str {
    ready[key].as_str().and_then(|url| url.strip_prefix("http://")).unwrap()
}

#[test]
fn tritons_client_gets_the_same_answers_over_rest_and_grpc_in_every_form() {
    let Some((server, ready)) = served() else { return };
    let addresses = [address(&ready, "url"), address(&ready, "grpc")];
    let Some(said) = python::run("oip_client.py", &addresses) else { return };
    println!("tritonclient: {said}");
    server.terminate();
    assert!(server.end().success(), "a server that is asked to stop stops");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(binary("groundstation"))
        .args(["pools", "serve", "--grpc", &address, "--package"])
        .arg(Path::new("onboard/model/packages/cloud-screen"))
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(&address), "{said}");
}
