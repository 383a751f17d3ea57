//! The whole path with the real programs: sensor to insight over real sockets, and what is on the
//! two disks afterwards.

use std::process::{Command, Stdio};

use serde_json::Value;
use tests::process::{binary, root, runtime_is_there};

/// Flies a pass without a page; what it reckoned at the end, having exited with 0.
fn fly(arguments: &[&str], runtime: Option<&str>) -> Value {
    let mut command = Command::new(binary("orbitsim"));
    command.args(["demo", "--headless", "--json"]).args(arguments).current_dir(root());
    if let Some(path) = runtime {
        command.env("ORT_DYLIB_PATH", path);
    }
    let output = command.stdin(Stdio::null()).output().expect("orbitsim is built with the tests");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{:?}: {said}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn number(report: &Value, pointer: &str) -> u64 {
    report.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| {
        panic!("{pointer} is missing from {report}");
    })
}

#[test]
fn a_killed_station_loses_nothing_that_it_receipted() {
    let report = fly(&["--seconds", "20", "--kill-ground", "4", "--loss", "0.03"], None);
    assert_eq!(number(&report, "/missing"), 0, "{report}");
    assert_eq!(number(&report, "/duplicates"), 0, "{report}");
    assert!(number(&report, "/kill/receipted_before") > 0, "{report}");
    assert!(number(&report, "/kill/receipted_after") > 0, "{report}");
    // What the flight software says of itself at the end may be there before its receipt is back.
    let known = number(&report, "/units_receipted") + number(&report, "/units_unheard");
    assert_eq!(known, number(&report, "/units_archived"), "{report}");
    assert!(number(&report, "/units_held") < 10, "{report}");
    for key in ["/units_sent", "/packets", "/parameters", "/alarms", "/source_bytes"] {
        assert!(number(&report, key) > 0, "{key} in {report}");
    }
    // Pictures from the folder, the flight software's own packets, kept units that were asked for.
    for key in ["/files_taken", "/uptime_s", "/orders/done", "/orders/units_asked"] {
        assert!(number(&report, key) > 0, "{key} in {report}");
    }
    let (asked, came) = ("/orders/units_asked", "/orders/units_came");
    assert_eq!(number(&report, asked), number(&report, came), "{report}");
    assert!(number(&report, "/downlink_bytes") < number(&report, "/source_bytes"), "{report}");
    for quantile in
        ["/capture_to_insight_ms/p99", "/capture_to_insight_ms/contact_wait_excluded/p99"]
    {
        assert!(report.pointer(quantile).and_then(Value::as_f64).is_some(), "{quantile}: {report}");
    }
}

#[test]
fn heavy_work_goes_to_the_station_s_own_pool_while_the_other_is_dead() {
    if !runtime_is_there() {
        return;
    }
    let report = fly(&["--seconds", "25", "--kill-pool", "7"], None);
    assert_eq!(number(&report, "/missing"), 0, "{report}");
    let jobs = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    assert!(jobs("/heavy/kill/before/shared") > 0, "{report}");
    assert!(jobs("/heavy/jobs_by_pool/embedded") > 0, "{report}");
    let done = jobs("/heavy/jobs_by_pool/embedded") + jobs("/heavy/jobs_by_pool/shared");
    assert_eq!(done, number(&report, "/jobs_done"), "each job has one result: {report}");
}

#[test]
fn without_onnx_runtime_the_pass_goes_on_and_heavy_work_waits() {
    let report = fly(&["--seconds", "10"], Some("/nowhere/libonnxruntime.so"));
    assert_eq!(number(&report, "/missing"), 0, "{report}");
    assert_eq!(number(&report, "/jobs_done"), 0, "{report}");
    assert!(number(&report, "/parameters") > 0, "{report}");
}

#[test]
fn a_recording_replays_through_the_whole_path() {
    const NAME: &str = "frames/lucy_eb3frn.aos1113";
    let Some(recording) = tests::recorded(NAME) else { return };
    let counts = tests::recorded("frames/expected_counts.json").expect("it lies beside them");
    let counts: Value = serde_json::from_slice(&std::fs::read(counts).unwrap()).unwrap();
    let counts = &counts["lucy_eb3frn.aos1113"];
    let recording = recording.to_str().expect("the path is text");
    let report = fly(
        &["--seconds", "20", "--rate", "20M", "--replay", recording, "--frame", "aos:1113"],
        None,
    );
    assert_eq!(number(&report, "/missing"), 0, "{report}");
    let frames = number(counts, "/frames");
    // Frames and a few records of the flight process itself.
    let units = number(&report, "/units_archived");
    assert!((frames..frames + 100).contains(&units), "{units} units for {frames} frames");
    let packets = number(counts, "/packets") - number(counts, "/idle");
    assert_eq!(number(&report, "/packets"), packets, "{report}");
}
