//! Frames that real spacecraft sent, against the counts of an independent reader.

use bytes::Bytes;
use codecs::frame::counts::Counts;
use codecs::frame::extract::{DropReason, Event, Extractor, FrameConfig};
use codecs::frame::{aos::AosConfig, tm::TmConfig};
use groundstation::recording::inspect;
use groundstation::recording::source::{Check, Source};
use serde_json::{Value, json};
use std::path::Path;

/// File, `--frame`, whether the frames end in a CRC, and how many CRCs fail.
const RECORDINGS: [(&str, &str, bool, u64); 7] = [
    ("europa_clipper.aos1113", "aos:1113", false, 0),
    ("osiris_rex.aos1113", "aos:1113", false, 0),
    ("lucy_bochum.aos1113", "aos:1113", false, 0),
    ("lucy_eb3frn.aos1113", "aos:1113", false, 0),
    ("mars2020.aos1115", "aos:1115", true, 4),
    ("lunar_flashlight.aos1113", "aos:1113", false, 0),
    ("dart.tm1113", "tm:1113", false, 0),
];

fn examine(file: &Path, frame: &str, fecf: bool) -> Value {
    let frames = Source::frames(frame.parse().unwrap(), file.to_owned());
    let fecf = if fecf { Check::Bits16 } else { Check::None };
    examined(&Source { fecf, ..frames })
}

fn examined(source: &Source) -> Value {
    serde_json::to_value(inspect::examine(source, None).unwrap()).unwrap()
}

fn count(frames: &[Vec<u8>], config: FrameConfig) -> Counts {
    let (mut extractor, mut counts) = (Extractor::new(config), Counts::default());
    for frame in frames {
        extractor.push(&Bytes::copy_from_slice(frame), &mut |event| counts.take(&event));
    }
    counts
}

#[test]
fn every_recording_counts_as_the_reference_reader_does() {
    let Some(folder) = tests::recorded("frames") else { return };
    let expected = std::fs::read_to_string(folder.join("expected_counts.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    assert_eq!(expected.as_object().unwrap().len(), RECORDINGS.len());
    for (name, frame, fecf, erred) in RECORDINGS {
        let found = examine(&folder.join(name), frame, fecf);
        let expected = &expected[name];
        let same = [
            ("frames", "frames"),
            ("virtual_channels", "vcs"),
            ("gaps", "gaps"),
            ("packets", "packets"),
            ("idle_packets", "idle"),
            ("spanning_packets", "spanning"),
            ("truncated_packets", "mismatch"),
            ("apids", "apids"),
            ("bytes", "bytes"),
            ("longest_packet", "maxlen"),
        ];
        for (ours, theirs) in same {
            assert_eq!(found[ours], expected[theirs], "{name}: {ours}");
        }
        let pointers = &found["first_header_pointer"];
        let names = [("start", "start"), ("no_start", "7FF nostart"), ("idle", "7FE idle")];
        for (ours, theirs) in names {
            let expected = expected["fhp"].get(theirs).cloned().unwrap_or(json!(0));
            assert_eq!(pointers[ours], expected, "{name}: {ours}");
        }
        assert_eq!(found["erred_frames"], erred, "{name}: CRC failures");
        assert_eq!((&found["rejected_frames"], &found["trailing_bytes"]), (&json!(0), &json!(0)));
        // What is left out besides: only packets in progress that a gap or a pointer cut.
        let dropped = found["dropped"].as_object().unwrap();
        for reason in dropped.keys() {
            assert!(["gap", "cut_by_pointer"].contains(&reason.as_str()), "{name}: {reason}");
        }
    }
}

#[test]
fn the_pointer_cuts_packets_short_in_the_frames_where_it_is_known_to() {
    let cuts = |name: &str| -> Option<Vec<usize>> {
        let bytes = std::fs::read(tests::recorded(&format!("frames/{name}"))?).unwrap();
        let config = FrameConfig::Aos(AosConfig::new(1113));
        let mut extractor = Extractor::new(config);
        let mut at = Vec::new();
        for (index, frame) in bytes.chunks(1113).enumerate() {
            extractor.push(&Bytes::copy_from_slice(frame), &mut |event| {
                if let Event::Dropped { reason: DropReason::CutByPointer, .. } = event {
                    at.push(index);
                }
            });
        }
        Some(at)
    };
    if let Some(at) = cuts("osiris_rex.aos1113") {
        assert_eq!(at, [156, 424, 512, 780, 826]);
    }
    if let Some(at) = cuts("europa_clipper.aos1113") {
        assert_eq!(at, [1565, 1827]);
    }
}

/// Frames of a dump: one a line in hex, with or without marker before and code symbols after.
fn dump(name: &str, length: usize) -> Option<Vec<Vec<u8>>> {
    let text = std::fs::read_to_string(tests::recorded(&format!("edge-cases/{name}"))?).unwrap();
    let frame = |line: &str| -> Vec<u8> {
        let digits = line.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        let bytes = bytes.strip_prefix(&[0x1A, 0xCF, 0xFC, 0x1D]).unwrap_or(&bytes);
        bytes[..length].to_vec()
    };
    Some(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(frame).collect())
}

/// Dump, kind, frame length; then frames, gaps, packets (idle included), idle, spanning packets.
/// The AOS dumps hold an operational control field; bit stream frames have no packets, so theirs
/// read as nonsense without harm.
type EdgeCase = (&'static str, &'static str, usize, [u64; 5]);
const EDGE_CASES: [EdgeCase; 14] = [
    ("aos_1", "aos", 892, [30, 0, 36, 0, 15]),
    ("aos_1_gap", "aos", 892, [29, 1, 32, 0, 13]),
    ("aos_1_encapsulation", "aos", 892, [11, 0, 13, 3, 5]),
    ("aos_bitstream", "aos", 892, [30, 0, 760, 0, 0]),
    ("tm_1", "tm", 1115, [152, 0, 613, 0, 119]),
    ("tm_1_empty_lines", "tm", 1115, [152, 0, 613, 0, 119]),
    ("tm_encapsulation", "tm", 1115, [11, 0, 13, 3, 5]),
    ("tm_encapsulation_gap", "tm", 1115, [10, 1, 12, 3, 4]),
    ("tm_encapsulation_gap_2", "tm", 1115, [9, 3, 3, 0, 1]),
    ("tm_gap_1", "tm", 1115, [11, 3, 5, 0, 2]),
    ("tm_large_packets", "tm", 1115, [60, 0, 5, 0, 4]),
    ("tm_segmentation_bug", "tm", 1115, [3, 0, 6, 0, 2]),
    ("tm_segmentation_mixed", "tm", 1115, [9, 0, 10, 0, 4]),
    ("tm_user_data", "tm", 1115, [30, 0, 0, 0, 0]),
];

fn config(kind: &str, length: usize, fecf: bool) -> FrameConfig {
    match kind {
        "aos" => {
            FrameConfig::Aos(AosConfig { ocf: true, ..AosConfig::new(length).with_fecf(fecf) })
        }
        _ => FrameConfig::Tm(TmConfig::new(length).with_fecf(fecf)),
    }
}

#[test]
fn edge_cases_count_as_they_were_made() {
    for (name, kind, length, expected) in EDGE_CASES {
        let Some(frames) = dump(&format!("dumpFile_{name}.hex"), length) else { return };
        let counts = count(&frames, config(kind, length, false));
        let found = [
            counts.frames,
            counts.gaps,
            counts.packets,
            counts.idle_packets,
            counts.spanning_packets,
        ];
        assert_eq!(found, expected, "{name}");
        // Nothing but gaps costs packets, which shows that trailers and zones are where they are.
        let only_gaps = counts.dropped.keys().all(|reason| *reason == "gap");
        assert!(only_gaps || name == "aos_bitstream", "{name}: {:?}", counts.dropped);
        // A CRC that is not there fails and shortens every zone: counted, never fatal.
        let wrong = count(&frames, config(kind, length, true));
        assert!(wrong.erred_frames > 0 && wrong.packets <= counts.packets, "{name}");
    }
}

#[test]
fn every_dump_is_survived_as_every_kind() {
    let Some(folder) = tests::recorded("edge-cases") else { return };
    let mut dumps = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty());
        let frames: Vec<_> = lines.map(|line| line.as_bytes().to_vec()).chain([vec![]]).collect();
        dumps += 1;
        for kind in ["aos", "tm"] {
            let length = frames.first().map_or(16, Vec::len);
            let counts = count(&frames, config(kind, length, true));
            assert_eq!(counts.frames, frames.len() as u64);
        }
    }
    assert_eq!(dumps, 19);
}

#[test]
fn recordings_of_something_else_are_counted_and_harm_nothing() {
    let Some(folder) = tests::recorded("frames") else { return };
    for (name, lengths) in [("integral.unknown", [445, 638]), ("kplo.unknown", [1069, 660])] {
        for length in lengths {
            for kind in ["aos", "tm"] {
                let found = examine(&folder.join(name), &format!("{kind}:{length}"), true);
                assert_eq!(found["trailing_bytes"], 0, "{name}");
                assert_eq!(
                    found["erred_frames"].as_u64().unwrap()
                        + found["rejected_frames"].as_u64().unwrap(),
                    found["frames"]
                );
            }
        }
        let found = examine(&folder.join(name), "aos:1113", false);
        assert!(found["trailing_bytes"].as_u64().unwrap() > 0, "{name} has no such length");
    }
}

#[test]
fn recorded_units_decode_without_a_failure() {
    let Some(file) = tests::recorded("cadu/snpp_synchronized_cadus.dat") else { return };
    // The sequence in use is found, or named.
    for coding in ["rs:223:i4:dual,randomized", "rs:223:i4:dual,randomized:255"] {
        let frames = Source::frames("aos:892".parse().unwrap(), file.clone());
        let found = examined(&Source { coding: Some(coding.parse().unwrap()), ..frames });
        let cadus = &found["cadus"];
        let expected = [
            ("blocks", 65),
            ("codewords", 260),
            ("corrected_symbols", 0),
            ("failed_codewords", 0),
            ("missing_markers", 0),
            ("skipped_bits", 0),
            ("acquired", 1),
        ];
        for (name, expected) in expected {
            assert_eq!(cadus[name], expected, "{coding}: {name}");
        }
        assert_eq!(cadus["randomizer"], "255");
        assert_eq!(found["virtual_channels"], json!({ "16": 65 }));
        assert_eq!(found["spacecraft"], json!({ "157": 65 }));
        assert_eq!(
            found["first_header_pointer"],
            json!({ "start": 13, "no_start": 52, "idle": 0 })
        );
        assert_eq!((&found["gaps"], &found["lost_frames"]), (&json!(1), &json!(1)));
        // Two independent readers agree on these packets.
        assert_eq!(found["packets_by_apid"], json!({ "802": 1, "803": 11 }));
        assert_eq!((&found["packets"], &found["bytes"]), (&json!(12), &json!(53_098)));
    }
}

/// What `--guess` makes of a file.
fn guessed(name: &str) -> Option<Value> {
    let file = tests::recorded(name)?;
    Some(examined(&Source { guess: true, file, ..Source::default() }))
}

#[test]
fn every_recording_tells_what_it_is() {
    for (name, frame, fecf, _) in RECORDINGS {
        let Some(found) = guessed(&format!("frames/{name}")) else { return };
        let check = if fecf { " --fecf" } else { "" };
        let arguments = format!("--frame {frame}{check}");
        assert_eq!(found["guesses"][0]["arguments"], arguments, "{name}");
    }
    let found = guessed("cadu/snpp_synchronized_cadus.dat").unwrap();
    let best = &found["guesses"][0];
    let arguments = "--frame aos:892 --coding rs:223:i4:dual,randomized:255";
    assert_eq!(best["arguments"], arguments);
    let codewords = json!({ "what": "codewords that decode", "fits": 260, "of": 260 });
    assert!(best["evidence"].as_array().unwrap().contains(&codewords), "{best}");
    assert_eq!(found["packets"], 12);
}

#[test]
fn frames_whose_inside_contradicts_them_are_told_and_not_believed() {
    for name in ["frames/integral.unknown", "frames/kplo.unknown", "packets/csa/csa_apid00400.tlm"]
    {
        let Some(file) = tests::recorded(name) else { return };
        let error =
            inspect::examine(&Source { guess: true, file, ..Source::default() }, None).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("contradicts") || told.contains("space packets end to end"),
            "{told}"
        );
    }
}

#[test]
fn a_code_without_frames_is_told_as_that() {
    let name = "cadu/Voyager1__convolutional_encoder_out.u8";
    let Some(file) = tests::recorded(name) else { return };
    let error =
        inspect::examine(&Source { guess: true, file, ..Source::default() }, None).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("--coding conv:1/2:swapped --symbols bits"), "{error}");
    assert!(error.contains("1000 of 1000"), "{error}");
}
