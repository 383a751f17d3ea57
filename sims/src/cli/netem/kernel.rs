//! What the kernel is told, by iproute2's own programs, and what it says in words.

use std::{io::ErrorKind, process::Command};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::ETHERNET_BYTES;

/// What `ip` calls links whose packets begin with an Ethernet header.
const LIKE_ETHERNET: [&str; 2] = ["ether", "loopback"];

/// What stands before IP in an interface's packets.
pub fn header_bytes(interface: &str) -> anyhow::Result<usize> {
    let said = told("ip", &["-json", "link", "show", "dev", interface])?;
    let kind = said[0]["link_type"].as_str().unwrap_or("ether");
    Ok(if LIKE_ETHERNET.contains(&kind) { ETHERNET_BYTES } else { 0 })
}

/// Refuses an interface whose queue somebody else set: it could not be put back.
pub fn is_free(interface: &str) -> anyhow::Result<()> {
    let said = told("tc", &["-json", "qdisc", "show", "dev", interface, "root"])?;
    let (kind, handle) = (said[0]["kind"].as_str(), said[0]["handle"].as_str());
    // 0: is the kernel's own, 6e: what a run that was killed left behind.
    let (kind, handle) = (kind.unwrap_or("noqueue"), handle.unwrap_or("0:"));
    ensure!(
        handle == "0:" || (kind, handle) == ("netem", "6e:"),
        "{interface} has a queue that somebody set ({kind} {handle}), which would be lost: take it \
         away first (tc qdisc del dev {interface} root)"
    );
    Ok(())
}

/// Runs `tc`.
pub fn tc(arguments: &[String]) -> anyhow::Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run("tc", &arguments).map(|_| ())
}

fn told(program: &str, arguments: &[&str]) -> anyhow::Result<Value> {
    let said = run(program, arguments)?;
    if said.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&said).with_context(|| format!("reading what `{program}` printed"))
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = match Command::new(program).args(arguments).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no `{program}` here: install iproute2, or use `orbitsim relay`")
        }
        output => output.with_context(|| format!("starting {program}"))?,
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    bail!("{program} {}: {said}{}", arguments.join(" "), advice(said))
}

/// What to do about what iproute2 says.
fn advice(said: &str) -> &'static str {
    let known = [
        (
            "Operation not permitted",
            "; it needs CAP_NET_ADMIN: run it as root, or in a network namespace of its own \
             (unshare -rn), or use `orbitsim relay`, which needs no rights",
        ),
        (
            "qdisc kind is unknown",
            "; this kernel has no netem (modprobe sch_netem, or a kernel with \
             CONFIG_NET_SCH_NETEM): use `orbitsim relay`, which needs none",
        ),
        ("does not exist", "; `ip link` lists the interfaces"),
        ("Cannot find device", "; `ip link` lists the interfaces"),
    ];
    let found = known.iter().find(|(words, _)| said.contains(words));
    found.map_or("", |(_, advice)| advice)
}
