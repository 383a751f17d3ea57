use super::*;
use crate::{
    admit::{Action, KeyHash, Principal},
    rf::{RfConfig, config::check_all},
};
use codecs::{
    frame::{
        cadu::Symbols,
        cltu::CltuDecoder,
        tc::{TcConfig, TcFrame},
    },
    ids::{Channel, SeqRange, SpacecraftId, StoreEpoch},
    link::rf::signed::Listener,
    packet::space::PacketView,
};

const STORE: Origin = Origin([1; 16]);
/// A key, and its public half as another implementation has it (RFC 8032 §7.1, test 1).
const KEY: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn bytes(hex: &str) -> [u8; 32] {
    let (high, low) = hex.split_at(32);
    let (high, low) = (Origin::from_hex(high).unwrap(), Origin::from_hex(low).unwrap());
    [high.0, low.0].concat().try_into().unwrap()
}

fn up(more: &str) -> Up {
    let text = format!(
        "spacecraft = 7\nuplink_bps = 1000\nto = \"udp:modem:5001\"\nscid = 71\nvc = 3\n{more}"
    );
    toml::from_str::<RfConfig>(&text).unwrap().check().unwrap().up.unwrap()
}

fn mouth(up: Up, kept: u64) -> Mouth {
    let class = Durability::Local;
    let voice = Voice { domain: "sky".into(), ledger: 5, origin: STORE, class };
    Mouth::new(up, voice, bytes(KEY), kept)
}

fn prefix() -> KeyPrefix {
    let (spacecraft, channel) = (SpacecraftId(7), Channel::stream(2));
    KeyPrefix { origin: STORE, epoch: StoreEpoch(9), spacecraft, channel }
}

fn range(first: u64, last: u64) -> RangeSet {
    [SeqRange { first, last }].into_iter().collect()
}

/// A spacecraft's receiver: what it believes of a unit.
fn hear(up: &Up, listener: &mut Listener, unit: &[u8]) -> Vec<Statement> {
    let (mut frames, mut heard) = (Vec::new(), Vec::new());
    let mut decoder = CltuDecoder::new(up.framing.coding);
    decoder.push(Symbols::Packed, unit, &mut |frame| frames.push(frame));
    decoder.finish(&mut |frame| frames.push(frame));
    for frame in frames {
        let config = TcConfig::new(up.framing.map.is_some(), true);
        let frame = TcFrame::parse(&frame, &config).unwrap();
        assert!(frame.fecf_holds());
        let header = frame.header();
        assert_eq!((header.kind, header.scid, header.vcid), (TcType::Bd, 71, 3));
        heard.push(listener.hear(&PacketView::parse(frame.data()).unwrap()).unwrap());
    }
    heard
}

fn listener() -> Listener {
    Listener::new("sky", &bytes(PUBLIC), STORE, 0).unwrap()
}

#[test]
fn receipts_come_through_every_coding_no_faster_than_the_uplink() {
    for coding in ["cltu:bch", "cltu:bch,randomized", "cltu:ldpc128", "cltu:ldpc512"] {
        for map in ["", "map = 5\n"] {
            let up = up(&format!("coding = \"{coding}\"\n{map}"));
            let mut mouth = mouth(up.clone(), 0);
            let mut listener = listener();
            mouth.durable(prefix(), &range(0, 9));
            let (mut now, mut bits, mut kinds) = (0, 0, Vec::new());
            while kinds.len() < 2 {
                now = mouth.timeout().unwrap().max(now);
                let said = mouth.poll(now, Tai(1_000)).unwrap();
                assert!(bits * 1_000_000 <= now, "{bits} bits by {now} ns at 1 kbit/s");
                bits += said.bytes.len() as u64 * 8;
                let heard = hear(&up, &mut listener, &said.bytes);
                kinds.extend(heard.into_iter().map(|statement| statement.message));
            }
            assert_eq!(kinds[0], None, "the time first");
            let Some(Message::Receipts { entries, .. }) = &kinds[1] else { panic!("{kinds:?}") };
            assert_eq!(entries[0].ranges, [SeqRange { first: 0, last: 9 }]);
        }
    }
}

/// A crash at any statement: the bound that was kept before it is what the next start knows, and
/// the spacecraft believes the first statement after it, also where the clock was set back.
#[test]
fn a_counter_is_never_used_twice_over_crashes() {
    let (up, mut listener) = (up("time_s = 1\n"), listener());
    let (mut kept, mut time, mut heard, mut keeps) = (0, Tai(1_000_000_000_000), 0, 0);
    for life in 0..20 {
        let mut mouth = mouth(up.clone(), kept);
        if life % 5 == 4 {
            time = time.plus(-500_000_000_000);
        }
        let mut now = 0;
        for _ in 0..=life {
            now = mouth.timeout().unwrap().max(now);
            time = time.plus(2_000_000_000);
            let said = mouth.poll(now, time).unwrap();
            kept = said.keep.unwrap_or(kept);
            mouth.kept(kept);
            keeps += u64::from(said.keep.is_some());
            heard += hear(&up, &mut listener, &said.bytes).len();
        }
    }
    assert_eq!(heard, 210, "each was believed");
    assert!(keeps < 60, "{keeps} writes for 210 statements");
}

#[test]
fn a_section_that_can_not_be_says_what_is_wrong() {
    let wrong = |text: &str| {
        let radio: RfConfig = toml::from_str(&format!("spacecraft = 7\n{text}")).unwrap();
        radio.check().unwrap_err()
    };
    for (text, field, word) in [
        ("uplink_bps = 1", "to", "missing"),
        ("uplink_bps = 1\nto = \"udp:a:1\"", "scid", "missing"),
        ("to = \"serial:a\"", "to", "udp:HOST:PORT"),
        ("to = \"udp:a:0\"", "to", "udp:HOST:PORT"),
        ("to = \"edge:\"", "to", "edge:NAME"),
        ("scid = 1024", "scid", "1023"),
        ("vc = 64", "vc", "63"),
        ("map = 64", "map", "63"),
        ("coding = \"bch\"", "coding", "cltu:bch"),
        ("parts_apid = 2047", "parts_apid", "2046"),
        ("signed_apid = 2047", "signed_apid", "2046"),
        ("repeat_s = 0", "repeat_s", "86400"),
        ("origin = \"1\"", "origin", "hexadecimal"),
    ] {
        let (key, message) = wrong(text);
        assert_eq!(key, format!("rf of spacecraft 7: {field}"), "{text}");
        assert!(message.contains(word), "{text}: {message}");
    }
    let off: RfConfig = toml::from_str("spacecraft = 7\nto = \"tcp:a:1\"\nscid = 1").unwrap();
    assert_eq!(off.check().unwrap().up, None, "0 bit/s: nothing is said");
    let (key, message) = check_all(&[off], &Default::default()).unwrap_err();
    assert_eq!(key, "rf of spacecraft 7: origin");
    assert!(message.contains("[[principal]]"), "{message}");
}

#[test]
fn an_edge_radiates_only_for_a_spacecraft_that_it_may_carry_for() {
    let radio: RfConfig =
        toml::from_str("spacecraft = 7\nuplink_bps = 1\nto = \"edge:north\"\nscid = 1").unwrap();
    let row = |name: &str, at: u8, actions: &[Action]| {
        let (origin, spacecraft) = (Origin([at; 16]), [SpacecraftId(7)].into());
        let actions = actions.iter().copied().collect();
        (KeyHash([at; 32]), Principal { name: name.into(), origin, spacecraft, actions })
    };
    let craft = row("sky-7", 1, &[Action::Deliver]);
    for (edge, may) in [
        (row("north", 2, &[Action::Deliver, Action::Carry]), true),
        (row("north", 2, &[Action::Deliver]), false),
        (row("south", 2, &[Action::Deliver, Action::Carry]), false),
    ] {
        let table = [craft.clone(), edge].into_iter().collect();
        let checked = check_all(std::slice::from_ref(&radio), &table);
        assert_eq!(checked.is_ok(), may, "{checked:?}");
    }
}
