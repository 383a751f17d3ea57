use super::*;

pub(crate) const GOOD: &str = r#"
mission = "mission.toml"
antenna = 3
[station]
address = "127.0.0.1:7117"
[identity]
certificate = "identity.crt"
key = "identity.key"
station_pins = ["sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"]
origin = "00112233445566778899aabbccddeeff"
"#;
const MISSION: &str = "mission = \"sky\"\ndomain = \"sky\"\n[[spacecraft]]\nid = 7\n\
                       name = \"SKY-7\"\nframes = []\n";

fn inputs(text: &str) -> Result<Vec<Input>, String> {
    let text = format!("{GOOD}{text}");
    let config = EdgeConfig::parse("edge.toml", &text, Path::new("/edge"))
        .map_err(|error| error.to_string())?;
    config.check()?;
    config.inputs(&Definition::from_toml(MISSION).unwrap())
}

#[test]
fn inputs_are_understood() {
    let inputs = inputs(
        "[[input]]\nfrom = \"udp:127.0.0.1:5000\"\ncarries = \"cadus\"\nframe = \"aos:892\"\n\
         coding = \"rs:223:i4:dual,randomized:255\"\n\
         [[input]]\nname = \"tnc\"\nfrom = \"kiss:localhost:8001\"\ncarries = \"ax25\"\n\
         stream = 9\nantenna = 4\n\
         [[input]]\nfrom = \"file:pass.bin\"\nframe = \"tm:1115\"\n",
    )
    .unwrap();
    let told: Vec<_> = inputs.iter().map(|of| (of.envelope, of.antenna)).collect();
    assert_eq!(told, [(Envelope::Stream, 3), (Envelope::Kiss, 4), (Envelope::Stream, 3)]);
    assert_eq!(inputs[1].assumed, Assumed { spacecraft: SpacecraftId(7), stream: 9 });
    assert_eq!(inputs[2].place, Place::File("/edge/pass.bin".into()));
    assert_eq!(inputs[2].name, "file:pass.bin");
}

#[test]
fn a_length_that_the_mission_has_not_is_told_with_those_that_it_has() {
    let frames = "frames = [{ kind = \"aos\", scid = 40, length = 892 }, \
                  { kind = \"tm\", scid = 40, length = 1115 }]";
    let mission = Definition::from_toml(&MISSION.replace("frames = []", frames)).unwrap();
    let judged = |frame: &str| {
        let text = format!("{GOOD}[[input]]\nfrom = \"-\"\nframe = {frame:?}\n");
        let config = EdgeConfig::parse("edge.toml", &text, Path::new("/edge")).unwrap();
        config.inputs(&mission).map(drop)
    };
    for frame in ["aos:892", "tm:1115", "uslp:99", "uslp"] {
        judged(frame).unwrap();
    }
    for frame in ["aos:893", "aos:1115", "tm:892"] {
        let wrong = judged(frame).unwrap_err();
        assert!(wrong.contains("the mission has frames of aos:892, tm:1115"), "{wrong}");
    }
}

#[test]
fn the_class_that_lets_units_go_is_the_mission_s_unless_the_file_says_another() {
    let class = |text: &str, mission| {
        let text = format!("{GOOD}{text}");
        let config = EdgeConfig::parse("edge.toml", &text, Path::new("/edge")).unwrap();
        let class = config.reclaim(mission).unwrap();
        assert_eq!(config.limits(class).least_class, class as u8);
        class
    };
    let (local, stored) = (Durability::Local, Durability::ObjectStore);
    assert_eq!((class("", local), class("", stored)), (local, stored));
    assert_eq!(class("[spool]\nreclaim = \"local\"\n", stored), local);
    assert_eq!(class("[spool]\nreclaim = \"object-store\"\n", local), stored);
}

#[test]
fn mistakes_name_the_input_the_key_and_the_remedy() {
    let wrong = |text: &str| inputs(&format!("[[input]]\n{text}")).unwrap_err();
    assert!(wrong("from = \"serial\"").contains("tcp-listen"), "the shapes are listed");
    assert!(wrong("from = \"udp:5000\"").contains("no address with a port"));
    assert!(wrong("from = \"-\"").starts_with("input -: frame: missing"));
    assert!(wrong("from = \"-\"\nframe = \"tc\"").contains("commands go up"));
    assert!(wrong("from = \"-\"\nframe = \"aos:892\"\nasm = \"1ACF\"").contains("cadus alone"));
    assert!(wrong("from = \"-\"\ncarries = \"ax25\"").contains("kiss:"));
    let recorded = "received = \"2026-11-20T10:00:00Z\"\nrate = \"2M\"\n";
    let socket = wrong(&format!("from = \"udp:127.0.0.1:5\"\nframe = \"aos:892\"\n{recorded}"));
    assert!(socket.contains("received: what a socket brings"), "{socket}");
    let pipe = recorded.replace("2026-11-20T10:00:00Z", "file");
    let pipe = wrong(&format!("from = \"-\"\nframe = \"aos:892\"\n{pipe}"));
    assert!(pipe.contains("standard input has no time"), "{pipe}");
    let fit = "from = \"-\"\ncarries = \"cadus\"\nframe = \"aos:893\"\n\
               coding = \"rs:223:i4:dual\"";
    assert!(wrong(fit).contains("don't fit the code"), "{}", wrong(fit));
    let kiss = "from = \"kiss:a:1\"\ncarries = \"cadus\"\nframe = \"aos:892\"\n\
                coding = \"none\"";
    assert!(wrong(kiss).contains("not cadus"));
    let twice = "from = \"-\"\nframe = \"aos:892\"\n[[input]]\nfrom = \"-\"\nframe = \"tm:99\"";
    assert!(wrong(twice).contains("named twice"));
    assert!(wrong("from = \"-\"\nframe = \"aos:892\"\nspacecraft = 9").contains("no such one"));
    assert!(wrong("form = \"-\"").contains("did you mean `from`"));
    let small = inputs("[spool]\nspool_bytes = 1000\n").unwrap_err();
    assert!(small.contains("at least 8 segments"), "{small}");
    let class = inputs("[spool]\nreclaim = \"tape\"\n").unwrap_err();
    assert!(class.contains("spool.reclaim") && class.contains("object-store"), "{class}");
    let coding = wrong("from = \"-\"\ncarries = \"cadus\"\nframe = \"aos:892\"");
    assert!(coding.contains("coding: missing") && coding.contains("or none"), "{coding}");
    let open = inputs("[status]\nhttp = \"0.0.0.0:80\"\n").unwrap_err();
    assert!(open.contains("loopback"), "{open}");
}
