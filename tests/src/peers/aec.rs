//! libaec through its command, where that is on the path.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// Bytes that are coded at once to time it: starting a process is nothing beside.
const TIMED_BYTES: usize = 48 << 20;

/// The kernel's unit of time in `/proc`, which never changed.
const USER_HZ: f64 = 100.0;

static THERE: LazyLock<bool> = LazyLock::new(|| {
    Command::new("aec").stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok()
});

/// Whether it is.
pub fn is_there() -> bool {
    *THERE
}

/// Bytes that libaec makes of samples of so many bits, low byte first, in blocks of 16 samples
/// with a reference every 128 blocks. Panics where its command fails.
pub fn size(bits: u8, data: &[u8]) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let [plain, coded] = ["plain", "coded"].map(|name| folder.path().join(name));
    std::fs::write(&plain, data).expect("a file");
    run(bits, false, &plain, &coded);
    std::fs::metadata(&coded).expect("what aec wrote").len() as usize
}

/// Megabytes a second of its user time, encoding and decoding.
pub fn speeds(bits: u8, data: &[u8]) -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let [plain, coded, back] = ["plain", "coded", "back"].map(|name| folder.path().join(name));
    let many = data.repeat((TIMED_BYTES / data.len()).max(1));
    std::fs::write(&plain, &many).expect("a file");
    let encode_s = user_s(|| run(bits, false, &plain, &coded));
    let decode_s = user_s(|| run(bits, true, &coded, &back));
    // It fills its last block.
    assert!(std::fs::read(&back).expect("what aec wrote").starts_with(&many), "aec lost something");
    let megabytes = many.len() as f64 / 1e6;
    (megabytes / encode_s, megabytes / decode_s)
}

fn run(bits: u8, decode: bool, from: &Path, to: &Path) {
    let mut command = Command::new("aec");
    command.args(["-n", &bits.to_string(), "-j", "16", "-r", "128"]);
    command.args(decode.then_some("-d")).args([from, to]);
    let status = command.status().expect("aec runs");
    assert!(status.success(), "aec: {status}");
}

/// User time of the children that `work` waits for; files are the system's time.
fn user_s(work: impl FnOnce()) -> f64 {
    let begun = children_s();
    work();
    (children_s() - begun).max(0.01)
}

fn children_s() -> f64 {
    // proc(5): behind the name, which may hold anything, `cutime` is field 16 of all.
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks: f64 =
        fields.split_whitespace().nth(13).and_then(|f| f.parse().ok()).expect("cutime");
    ticks / USER_HZ
}
