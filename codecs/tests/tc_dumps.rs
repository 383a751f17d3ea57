//! Command frames and units of the edge-case dumps, counted.

mod recorded;

use codecs::frame::cltu::{self, End, Mode};
use codecs::frame::tc::{Control, Segment, TcConfig, TcFrame, TcType};
use codecs::packet::{Extent, Protocol, extent};
use codecs::sync::randomizer::{Randomizer, Sequence};
use recorded::dump;

#[test]
fn randomised_units_hold_one_checked_frame_each() {
    let Some(lines) = dump("dumpFile_tc_2.hex") else { return };
    let randomizer = Randomizer::new(Sequence::Telecommand, 1024);
    let config = TcConfig::new(true, true);
    let mut kinds = Vec::new();
    for line in &lines {
        let unit = cltu::decode(line, Mode::Detect, Some(&randomizer)).unwrap();
        assert_eq!((unit.end, unit.corrected, unit.consumed), (End::Tail, 0, line.len()));
        let frames: Vec<_> = unit.frames().collect();
        assert_eq!(frames.len(), 1);
        assert_eq!(cltu::encode(frames[0], Some(&randomizer)).unwrap(), *line);
        let frame = TcFrame::parse(frames[0], &config).unwrap();
        assert!(frame.fecf_holds());
        assert_eq!((frame.header().scid, frame.header().vcid, frame.header().count), (123, 0, 0));
        assert_eq!(frame.control().is_some(), frame.control() == Some(Control::Unlock));
        kinds.push((frame.header().kind, frame.segment().map(|segment| segment.segment)));
    }
    let whole = Some(Segment::Unsegmented);
    assert_eq!(kinds, [(TcType::Bc, None), (TcType::Ad, whole), (TcType::Bd, whole)]);
}

/// Zeros between start and tail are no codewords: the check bits are complemented so that a dead
/// line never passes for data (CCSDS 231.0-B-4 §3.3.2).
#[test]
fn units_of_zeros_are_rejected() {
    let Some(lines) = dump("dumpFile_tc_1.hex") else { return };
    assert_eq!(lines.len(), 7);
    for line in &lines {
        let unit = cltu::decode(line, Mode::Detect, None).unwrap();
        assert_eq!((unit.end, unit.data.len()), (End::Rejected, 0));
    }
}

#[test]
fn segments_join_to_one_encapsulation_packet() {
    let Some(lines) = dump("dumpFile_tc_1_encapsulation.hex") else { return };
    let config = TcConfig::new(true, false);
    let mut unit = Vec::new();
    let mut places = Vec::new();
    for line in &lines {
        let frame = TcFrame::parse(line, &config).unwrap();
        assert_eq!((frame.header().kind, frame.header().scid), (TcType::Bd, 123));
        places.push(frame.segment().unwrap().segment);
        unit.extend_from_slice(frame.data());
    }
    assert_eq!(places.len(), 6);
    assert_eq!((places[0], places[5]), (Segment::First, Segment::Last));
    assert!(places[1..5].iter().all(|place| *place == Segment::Continuation));
    let known = Extent::Known { protocol: Protocol::Encapsulation, length: unit.len() };
    assert_eq!((extent(&unit), unit.len()), (known, 5094));
}

#[test]
fn plain_frames_count_up_over_access_points() {
    for (name, lengths) in [
        ("dumpFile_tc_plain_1.hex", [724; 10]),
        ("dumpFile_tc_plain_2.hex", [724, 724, 724, 724, 723, 725, 724, 724, 724, 724]),
    ] {
        let Some(lines) = dump(name) else { return };
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
        for (count, line) in lines.iter().enumerate() {
            let config = TcConfig::new(true, false);
            let frame = TcFrame::parse(line, &config).unwrap();
            let segment = frame.segment().unwrap();
            assert_eq!((frame.header().kind, frame.header().count), (TcType::Ad, count as u8));
            assert_eq!((segment.segment, segment.map), (Segment::Unsegmented, count as u8));
            let packet = Extent::Known { protocol: Protocol::Space, length: 406 };
            assert_eq!(extent(frame.data()), packet);
            // A check field that is not there fails; the frame still reads.
            let wrong = TcFrame::parse(line, &TcConfig::new(true, true)).unwrap();
            assert!(!wrong.fecf_holds());
        }
    }
}
