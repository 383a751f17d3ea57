//! The flight image boots. Needs QEMU, a kernel (tools/fetch-kernel) and the static binary
//! (tools/build-static); says so and passes where one is missing, unless
//! `GROUNDTRACK_REQUIRE_IMAGE=1`.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tests::process::{binary, root};

const CONFIG: &str = "missions/sky-7/flight.toml";

/// What the image needs and this machine lacks, in words.
fn missing() -> Option<String> {
    let image = root().join("target/image");
    if Command::new("qemu-system-x86_64").arg("--version").output().is_err() {
        return Some(
            "qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)".into(),
        );
    }
    let parts = [
        (image.join("kernel/vmlinuz"), "run tools/fetch-kernel"),
        (image.join("onboard"), "run tools/build-static"),
        (binary("onboard"), "run cargo build --workspace --bins"),
    ];
    let absent = parts.into_iter().find(|(path, _)| !path.exists());
    absent.map(|(path, help)| format!("{} is not there ({help})", path.display()))
}

/// True if the test can run; a required test that can't is a failure.
fn ready() -> bool {
    let Some(reason) = missing() else { return true };
    let required = std::env::var("GROUNDTRACK_REQUIRE_IMAGE").is_ok_and(|value| value == "1");
    assert!(!required, "GROUNDTRACK_REQUIRE_IMAGE=1, but {reason}");
    eprintln!("skipped: {reason}");
    false
}

fn onboard(arguments: &[&str]) -> Output {
    command("onboard", arguments)
}

fn command(name: &str, arguments: &[&str]) -> Output {
    Command::new(binary(name))
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("the binary was there a moment ago")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The last line of standard output, which must be a JSON document.
fn last_document(output: &Output) -> Value {
    let out = text(&output.stdout);
    let line = out.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("{error}: {out}\n{}", text(&output.stderr)))
}

/// Writes an identity of the right form that no station knows; `groundstation init` writes real
/// ones.
fn strangers_identity(folder: &Path) -> String {
    let table = format!(
        "[identity]\ncertificate = \"identity.crt\"\nkey = \"identity.key\"\n\
         ground_pins = [\"sha256:{}\"]\norigin = \"{}\"\n",
        "00".repeat(32),
        "00".repeat(16)
    );
    let files =
        [("onboard-identity.toml", table.as_str()), ("identity.crt", ""), ("identity.key", "")];
    for (name, content) in files {
        std::fs::write(folder.join(name), content).expect("a writable folder");
    }
    folder.to_str().expect("a path in UTF-8").into()
}

#[test]
fn the_machine_comes_up_and_powers_off() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("image");
    let image = image.to_str().expect("a path in UTF-8");
    let identity = strangers_identity(folder.path());
    let command = ["image", "build", "--out", image, "--config", CONFIG, "--identity", &identity];
    let built = onboard(&command);
    assert!(built.status.success(), "{}", text(&built.stderr));
    let booted = onboard(&["image", "boot", "--image", image, "--self-test"]);
    assert!(booted.status.success(), "{}", text(&booted.stderr));
    let done = last_document(&booted);
    assert_eq!(done["guest"]["status"], "clean", "{done}");
    eprintln!("{done}");
}

#[test]
fn a_dynamic_binary_is_refused() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("image");
    let image = image.to_str().expect("a path in UTF-8");
    let dynamic = binary("onboard");
    let dynamic = dynamic.to_str().expect("a path in UTF-8");
    let identity = strangers_identity(folder.path());
    let mut command = vec!["image", "build", "--out", image, "--config", CONFIG];
    let unsure = onboard(&command);
    assert!(text(&unsure.stderr).contains("identity"), "{}", text(&unsure.stderr));
    command.extend(["--identity", &identity, "--binary", dynamic]);
    let built = onboard(&command);
    assert_eq!(built.status.code(), Some(1));
    assert!(text(&built.stderr).contains("dynamically linked"), "{}", text(&built.stderr));
    assert!(!Path::new(image).exists());
}
