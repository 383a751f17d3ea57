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
