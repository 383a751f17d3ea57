use super::*;
use codecs::frame::aos::{AosBuilder, AosConfig};
use codecs::ids::{Apid, Channel, KeyPrefix, Origin, StoreEpoch};
use codecs::packet::space::{PacketHeader, SequenceCount, build};

const MISSION: &str = "mission = 'm'\n[[spacecraft]]\nid = 7\nname = 'SKY-7'\n\
    [[spacecraft.frames]]\nkind = 'aos'\nscid = 71\nlength = 128\nfecf = true\n\
    [[spacecraft]]\nid = 8\nname = 'SKY-8'\n\
    [[spacecraft.frames]]\nkind = 'aos'\nscid = 72\nlength = 128\n";

const CRAFT: SpacecraftId = SpacecraftId(7);

fn place(number: u64) -> Place {
    let prefix = KeyPrefix {
        origin: Origin([1; 16]),
        epoch: StoreEpoch(1),
        spacecraft: CRAFT,
        channel: Channel::virtual_channel(1, 71, 0, 0),
    };
    Place { view: View::Store(prefix), number, standing: Standing::First, awaited: None }
}

fn deframer() -> Deframer {
    Deframer::new(&Definition::from_toml(MISSION).unwrap())
}

/// Frames of scid 71 with packets of 30 to 230 bytes, many over an edge, and the packets.
fn recording(packets: u16) -> (Vec<Bytes>, Vec<Bytes>) {
    let config = AosConfig::new(128).with_fecf(true);
    let mut builder = AosBuilder::new(config, 71, 0, 40).unwrap();
    let (mut frames, mut sent) = (vec![], vec![]);
    for count in 0..packets {
        let header = PacketHeader::telemetry(Apid(100), SequenceCount(count));
        let packet = build(&header, &vec![count as u8; 30 + usize::from(count) * 37 % 200]);
        let packet = packet.unwrap();
        builder.push(&packet, &mut |frame| frames.push(frame)).unwrap();
        sent.push(Bytes::from(packet));
    }
    builder.flush(&mut |frame| frames.push(frame));
    (frames, sent)
}

/// Feeds frames in an order; gives the distinct packets and the sum of gaps.
fn feed(order: impl IntoIterator<Item = usize>, frames: &[Bytes]) -> (Vec<Bytes>, u64) {
    let mut deframer = deframer();
    let (mut got, mut gaps) = (vec![], 0);
    for number in order {
        let out = deframer.take(CRAFT, &place(number as u64), Codec::AosFrame, &frames[number]);
        assert_eq!(out.flag, None);
        assert_eq!((out.vc, out.erred), (Some(0), false));
        gaps += out.gap;
        got.extend(out.packets.into_iter().map(|(packet, _)| packet));
    }
    got.sort();
    got.dedup();
    (got, gaps)
}

#[test]
fn any_order_gives_every_packet() {
    let (frames, mut sent) = recording(60);
    sent.sort();
    let count = frames.len();
    assert!(count > 40);
    let straight: Vec<usize> = (0..count).collect();
    let swapped = straight.chunks(2).flat_map(|pair| pair.iter().rev().copied()).collect();
    let reversed = (0..count).rev().collect();
    let late = (10..count).chain(0..10).collect();
    for order in [straight.clone(), swapped, reversed, late] {
        let (got, gaps) = feed(order.clone(), &frames);
        assert!(got == sent, "{} of {} packets in order {order:?}", got.len(), sent.len());
        assert_eq!(gaps, 0, "{order:?}");
    }
}

/// Eight objects of `frames` each share the link, as a sender's streams do.
fn overtaking(count: usize, frames: usize) -> Vec<usize> {
    let mut order = vec![];
    for start in (0..count).step_by(8 * frames) {
        for at in 0..frames {
            let objects = (0..8).rev().map(|object| start + object * frames + at);
            order.extend(objects.filter(|number| *number < count));
        }
    }
    order
}

#[test]
fn objects_that_overtake_each_other_cost_no_packet() {
    let (frames, mut sent) = recording(6_000);
    sent.sort();
    sent.dedup();
    assert!(frames.len() > 3 * 8 * 230);
    let (got, _) = feed(overtaking(frames.len(), 230), &frames);
    assert!(got == sent, "{} of {} packets", got.len(), sent.len());
}

/// Far more came since than is kept: only packets over the two edges of the hole can't be had.
#[test]
fn a_run_that_comes_a_day_late_is_whole_in_itself() {
    let (frames, sent) = recording(3_000);
    let hole = 500..800;
    assert!(frames.len() > 1_500);
    let (before, after) = (0..hole.start, hole.end..frames.len());
    let mut deframer = deframer().keeping(300 * 128);
    let mut got = vec![];
    for number in before.chain(after).chain(hole) {
        let out = deframer.take(CRAFT, &place(number as u64), Codec::AosFrame, &frames[number]);
        got.extend(out.packets.into_iter().map(|(packet, _)| packet));
    }
    let missing = sent.iter().filter(|packet| !got.contains(packet)).count();
    assert!(missing <= 2, "{missing} of {} packets", sent.len());
}

#[test]
fn a_lost_unit_is_no_reception_gap_and_a_lost_frame_is() {
    let (frames, sent) = recording(60);
    let without = (0..frames.len()).filter(|at| *at != 5);
    let (got, gaps) = feed(without, &frames);
    assert_eq!(gaps, 0);
    assert!(got.len() < sent.len() && got.len() >= sent.len() - 6);
    let mut heard = frames.clone();
    heard.drain(5..8);
    assert_eq!(feed(0..heard.len(), &heard).1, 3);
}

#[test]
fn frames_that_do_not_belong_are_flagged() {
    let (frames, _) = recording(2);
    let mut deframer = deframer();
    let mut flag =
        |bytes: Vec<u8>, codec| deframer.take(CRAFT, &place(0), codec, &bytes.into()).flag;
    let mut other = frames[0].to_vec();
    other[1] ^= 0xC0;
    assert_eq!(flag(other, Codec::AosFrame), Some(Flag::Foreign), "scid 68 is nobody's");
    let other = AosBuilder::new(AosConfig::new(128), 72, 0, 0).map(|mut builder| {
        let mut made = vec![];
        builder.push(&[0, 1, 0xC0, 0, 0, 0, 0], &mut |_| ()).unwrap();
        builder.flush(&mut |frame| made = frame.to_vec());
        made
    });
    assert_eq!(flag(other.unwrap(), Codec::AosFrame), Some(Flag::Foreign), "72 is SKY-8's");
    assert_eq!(flag(frames[0][..100].to_vec(), Codec::AosFrame), Some(Flag::Length));
    assert_eq!(flag(frames[0].to_vec(), Codec::TmFrame), Some(Flag::Malformed));
    assert_eq!(flag(vec![0x40], Codec::AosFrame), Some(Flag::Malformed));
    assert_eq!(flag(vec![], Codec::UslpFrame), Some(Flag::Malformed));
}

#[test]
fn an_erred_frame_marks_its_packets() {
    let (frames, _) = recording(3);
    let mut broken = frames[0].to_vec();
    broken[60] ^= 1;
    let out = deframer().take(CRAFT, &place(0), Codec::AosFrame, &broken.into());
    assert!(out.erred && out.packets.iter().all(|(_, erred)| *erred));
}

/// Packets that a reader of its own found in recorded frames, idle ones left out: the recordings'
/// `expected_counts.json` has `packets` and `idle`.
const RECORDED: [(&str, Codec, u16, usize, usize); 3] = [
    ("osiris_rex.aos1113", Codec::AosFrame, 1113, 1818, 556),
    ("europa_clipper.aos1113", Codec::AosFrame, 1113, 21_694, 716),
    ("dart.tm1113", Codec::TmFrame, 1113, 797, 0),
];

#[test]
fn recorded_frames_give_their_packets_in_any_order() {
    for (file, codec, length, packets, idle) in RECORDED {
        let root = std::env::var_os("GROUNDTRACK_DATA").map_or_else(
            || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
            Into::into,
        );
        let path = root.join("frames").join(file);
        let Ok(bytes) = std::fs::read(&path) else {
            println!("skipped: no recording at {}; set GROUNDTRACK_DATA", path.display());
            continue;
        };
        let bytes = Bytes::from(bytes);
        let length = usize::from(length);
        let frames: Vec<Bytes> = (0..bytes.len() / length)
            .map(|at| bytes.slice(at * length..(at + 1) * length))
            .collect();
        let head = |frame: &Bytes| u16::from_be_bytes([frame[0], frame[1]]);
        let (kind, shift, mask) = match codec {
            Codec::TmFrame => ("tm", 4, 0x3FF),
            _ => ("aos", 6, 0xFF),
        };
        let scid = (head(&frames[0]) >> shift) & mask;
        let mission = format!(
            "mission = 'm'\n[[spacecraft]]\nid = 7\nname = 'R'\n[[spacecraft.frames]]\n\
             kind = '{kind}'\nscid = {scid}\nlength = {length}\n"
        );
        let definition = Definition::from_toml(&mission).unwrap();
        let run = |order: Vec<usize>| {
            let mut deframer = Deframer::new(&definition);
            let mut got = vec![];
            for at in order {
                let out = deframer.take(CRAFT, &place(at as u64), codec, &frames[at]);
                got.extend(out.packets.into_iter().map(|(packet, _)| packet));
            }
            got
        };
        let straight: Vec<usize> = (0..frames.len()).collect();
        let mut whole = run(straight.clone());
        if packets > 0 {
            assert_eq!(whole.len(), packets - idle, "{file}");
        }
        let mut mixed = run(overtaking(frames.len(), 230));
        whole.sort();
        whole.dedup();
        mixed.sort();
        mixed.dedup();
        assert_eq!(mixed.len(), whole.len(), "{file}: distinct packets");
        assert!(mixed == whole, "{file}: other packets");
    }
}

#[test]
fn a_count_that_was_set_back_is_no_loss_of_millions() {
    let (frames, _) = recording(60);
    let twice: Vec<Bytes> = frames.iter().chain(&frames).cloned().collect();
    let (_, gaps) = feed(0..twice.len(), &twice);
    assert_eq!(gaps, 0);
}

#[test]
fn what_a_peer_has_under_way_may_come_in_any_order() {
    for profile in Profile::ALL {
        let under_way = profile.objects_max * OBJECT_BYTES_TARGET;
        let kept = recent_bytes(&profile);
        // The deep profile has twice the bound under way: its live view is of minutes ago anyway,
        // and what is archived is read as it was heard.
        let wanted = under_way.min(RECENT_BYTES_MAX);
        assert!((wanted..=RECENT_BYTES_MAX).contains(&kept), "{}", profile.name);
    }
}
