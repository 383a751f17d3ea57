//! One spacecraft, two antennas.

use super::site::{Site, await_that, cadu_input, cadus, frames, metric, refs};
use std::{io::Write as _, net::TcpStream};

/// Two antennas hear one pass; one of them is a day late, and nothing stands twice under one key.
#[test]
fn two_edges_of_which_one_is_late_are_both_archived() {
    let site = Site::new();
    site.enroll("antenna-2", 2);
    let station = site.station();
    let frames = frames(60);
    let heard = |name: &str, frames: &[Vec<u8>]| {
        let pass = site.path(name);
        std::fs::write(&pass, cadus(frames, &[])).unwrap();
        let input = cadu_input(&format!("file:{}", pass.display()));
        let arguments = [&refs(&input)[..], &["--until-done"]].concat();
        let (mut edge, _) = site.edge(name, &station.quic, &arguments);
        let done = edge.expect("done");
        assert!(edge.end().success(), "{done}");
    };
    // Each missed what the other heard.
    heard("antenna-1", &frames[..40]);
    let packets = || metric(&station.http, "groundtrack_packets_total");
    await_that("the first antenna's packets", || packets() == 40);
    heard("antenna-2", &frames[20..]);
    station.await_units(80);
    await_that("each packet once", || packets() == 60);
    station.stop();
    assert_eq!(site.audit(), (80, 0));
}

/// Two antennas hear one spacecraft at the same time: both receptions are kept, and each packet is
/// told once, as long as one of the two heard it.
#[test]
fn two_edges_that_hear_one_pass_at_once_are_one_spacecraft() {
    let site = Site::new();
    site.enroll("antenna-2", 2);
    let station = site.station();
    let listening = |name: &str| {
        let input = cadu_input("tcp-listen:127.0.0.1:0");
        let (edge, ready) = site.edge(name, &station.quic, &refs(&input));
        let place = ready["inputs"][0].as_str().unwrap().split_once(':').unwrap().1;
        (edge, TcpStream::connect(place).unwrap())
    };
    let mut antennas = ["antenna-1", "antenna-2"].map(listening);
    let frames = frames(60);
    // One misses every fifth frame, the other every seventh; both miss those at 4 and 39.
    let missed = |antenna: usize, at: usize| at % [5, 7][antenna] == 4;
    for (at, frame) in frames.iter().enumerate() {
        for (antenna, (_, modem)) in antennas.iter_mut().enumerate() {
            if !missed(antenna, at) {
                modem.write_all(&cadus(std::slice::from_ref(frame), &[])).unwrap();
            }
        }
    }
    let heard = |antenna: usize| (0..60).filter(|at| !missed(antenna, *at)).count() as u64;
    let kept = heard(0) + heard(1);
    station.await_units(kept);
    let packets = || metric(&station.http, "groundtrack_packets_total");
    await_that("each packet that someone heard", || packets() == 58);
    for (edge, modem) in antennas {
        drop(modem);
        edge.terminate();
        assert!(edge.end().success());
    }
    station.stop();
    assert_eq!(site.audit(), (kept, 0));
}
