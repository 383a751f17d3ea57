//! `onboard squeeze` and `unsqueeze` on files: the bytes that went in come out.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn onboard(arguments: &[&str], files: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onboard"));
    command.args(arguments).args(files).output().expect("the binary runs")
}

fn telemetry() -> Vec<u8> {
    let mut bytes = b"\xFFnot a packet".to_vec();
    for at in 0..600u16 {
        let (apid, length) = if at % 3 == 0 { (100, 40u16) } else { (200, 64) };
        bytes.extend((0x0800u16 | apid).to_be_bytes());
        bytes.extend((0xC000 | at).to_be_bytes());
        bytes.extend((length - 7).to_be_bytes());
        bytes.extend((6..length).map(|column| (at / (column % 9 + 1)) as u8));
    }
    bytes.extend([0x08, 100, 0xC0, 0, 0, 33, 1, 2, 3]);
    bytes
}

#[test]
fn a_file_comes_back_byte_for_byte_and_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (plain, squeezed, again) = (file("plain.bin"), file("plain.gts"), file("again.bin"));
    std::fs::write(&plain, telemetry()).unwrap();
    for level in ["--level=fast", "--level=dense"] {
        let done = onboard(&["squeeze", level, "--explain", "--json"], &[&plain, &squeezed]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let document: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(document["packets"], 600);
        assert_eq!(document["squeezed_bytes"], std::fs::metadata(&squeezed).unwrap().len());
        assert_eq!(document["explained"][0]["apid"], 100);
        assert!(document["ratio"].as_f64().unwrap() > 4.0, "{document}");
        let done = onboard(&["unsqueeze"], &[&squeezed, &again]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(std::fs::read(&again).unwrap(), telemetry());
        let said = String::from_utf8(done.stdout).unwrap();
        let wanted = format!("bytes unsqueezed to {}", telemetry().len());
        assert!(said.contains(&wanted), "{said}");
    }
    let done = onboard(&["squeeze", "--explain"], &[&plain, &squeezed]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.contains("APID 200, 64 bytes: 400 packets in 7 blocks"), "{text}");
}

#[test]
fn a_damaged_file_is_refused_with_the_place_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (plain, squeezed, again) = (file("plain.bin"), file("plain.gts"), file("again.bin"));
    std::fs::write(&plain, telemetry()).unwrap();
    assert!(onboard(&["squeeze"], &[&plain, &squeezed]).status.success());
    let whole = std::fs::read(&squeezed).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x40;
    let longer = [&whole[..], b"!"].concat();
    let cases: [(&[u8], &str); 5] = [
        (&whole[..5], "not a squeezed file"),
        (&whole[..whole.len() - 1], "cut short at byte"),
        (&whole[..100], "segment at byte 8 is cut short"),
        (&flipped, "segment at byte 8"),
        (&longer, "bytes behind its end"),
    ];
    for (bytes, complaint) in cases {
        std::fs::write(&squeezed, bytes).unwrap();
        let done = onboard(&["unsqueeze"], &[&squeezed, &again]);
        let talk = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{talk}");
        assert!(talk.contains(complaint), "{talk}");
        let left: Vec<PathBuf> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!left.iter().any(|path| path.to_string_lossy().contains("again")), "{left:?}");
    }
}

#[test]
fn what_is_whole_of_a_damaged_file_is_salvaged_and_the_rest_is_named_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (plain, squeezed, again) = (file("plain.bin"), file("plain.gts"), file("again.bin"));
    std::fs::write(&plain, telemetry()).unwrap();
    assert!(onboard(&["squeeze"], &[&plain, &squeezed]).status.success());
    let whole = std::fs::read(&squeezed).unwrap();
    let done = onboard(&["unsqueeze", "--salvage"], &[&squeezed, &again]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(std::fs::read(&again).unwrap(), telemetry(), "nothing is damaged");
    // A flipped bit in the last third is in one block; in byte 8 it is in the segment's header.
    let last = whole.len() - 40;
    for (at, least) in [(last, 600 - 64), (8, 600), (9, 600), (12, 600)] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        std::fs::write(&squeezed, &flipped).unwrap();
        let done = onboard(&["unsqueeze", "--salvage", "--json"], &[&squeezed, &again]);
        assert_eq!(done.status.code(), Some(1), "byte {at}: {done:?}");
        let told: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        let of = |key: &str| told[key].as_u64().unwrap();
        assert!(of("packets") >= least, "byte {at}: {told}");
        assert_eq!(of("plain_bytes"), std::fs::metadata(&again).unwrap().len());
        assert_eq!(of("stated_bytes"), telemetry().len() as u64, "byte {at}");
        assert_eq!(of("plain_bytes") + of("lost_bytes"), of("stated_bytes"), "byte {at}");
        let place = |hole: &serde_json::Value| {
            (hole["from"].as_u64().unwrap()..hole["to"].as_u64().unwrap()).contains(&(at as u64))
        };
        let named = told["damaged"].as_array().unwrap().iter().any(place);
        assert!(named, "byte {at}: {told}");
    }
    std::fs::write(&squeezed, &whole[..whole.len() - 12]).unwrap();
    let done = onboard(&["unsqueeze", "--salvage"], &[&squeezed, &again]);
    assert!(String::from_utf8_lossy(&done.stderr).contains("its end is missing"), "{done:?}");
    assert_eq!(std::fs::read(&again).unwrap(), telemetry());
}

#[test]
fn the_file_that_is_read_is_not_written_and_a_link_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("a"), telemetry()).unwrap();
    std::os::unix::fs::symlink(file("a"), file("same")).unwrap();
    for out in ["a", "same"] {
        let done = onboard(&["squeeze"], &[&file("a"), &file(out)]);
        let talk = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && talk.contains("the file that is read"), "{talk}");
        assert_eq!(std::fs::read(file("a")).unwrap(), telemetry());
    }
    std::fs::write(file("target"), "old").unwrap();
    std::os::unix::fs::symlink(file("target"), file("link")).unwrap();
    assert!(onboard(&["squeeze"], &[&file("a"), &file("link")]).status.success());
    assert!(file("link").is_symlink() && std::fs::read(file("target")).unwrap().len() > 100);
    std::os::unix::fs::symlink(file("none"), file("loose")).unwrap();
    let done = onboard(&["squeeze"], &[&file("a"), &file("loose")]);
    assert!(String::from_utf8_lossy(&done.stderr).contains("leads nowhere"), "{done:?}");
}

#[test]
fn what_was_begun_goes_when_the_process_is_told_to_end() {
    use std::{
        io::Write,
        process::Stdio,
        time::{Duration, Instant},
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    // A pipe that never ends keeps it at work.
    let pipe = file("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_onboard"));
    command.arg("squeeze").args([&pipe, &file("out")]).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    writer.write_all(&telemetry()).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while !file("out.part").exists() {
        assert!(Instant::now() < end, "it begins");
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(143), "{status:?}");
    assert!(!file("out.part").exists() && !file("out").exists());
}
