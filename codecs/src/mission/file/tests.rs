use super::*;
use crate::link::custody::Durability;
use crate::mission::{definition::Trigger, task::DataClass};
use alloc::string::ToString;

const GOOD: &str = r#"
mission = "sky"
domain = "sky"
reclaimable = "object-store"
[[spacecraft]]
id = 7
name = "SKY-7"
[[spacecraft.frames]]
kind = "aos"
scid = 71
length = 1113
fecf = true
[[channel]]
name = "housekeeping"
vc = 0
[[channel]]
name = "recorded"
stream = 1
[[packet]]
apid = 100
name = "EPS"
time = "cuc:4:3"
[[packet.parameter]]
name = "EPS_BATTERY_VOLTAGE"
type = "u16"
unit = "V"
polynomial = [0.0, 0.001]
limits = { red_low = 6.6, yellow_low = 7.0, yellow_high = 8.3, red_high = 8.5, persistence = 3 }
[[packet.parameter]]
type = "skip:4"
[[packet.parameter]]
name = "EPS_SUN"
type = "bits:4"
enumeration = { 0 = "sun", 1 = "eclipse" }
[[product]]
kind = "tile"
name = "Imager tile"
[[task]]
name = "flood-mask/1"
[[task.input]]
name = "tile"
datatype = "UINT8"
shape = [0, 4, 64, 64]
[[task.output]]
name = "depth"
datatype = "FP32"
shape = [0, 1]
unit = "m"
range = [0.0, 50.0]
[[task]]
name = "note/1"
tokens_max = 200
[[task.field]]
name = "severity"
type = "choice"
choices = ["low", "high"]
[[rule]]
on = "product:tile"
task = "cloud-mask/1"
deadline_s = 60
priority = 1
[[rule]]
on = "parameters"
parameters = ["EPS_SUN"]
every_s = 600
samples = 64
task = "note/1"
deadline_s = 30
data_class = "restricted"
regions = ["eu"]
budget = 0.05
"#;

#[test]
fn a_mission_is_read() {
    let definition = Definition::from_toml(GOOD).unwrap();
    assert_eq!(definition.parameters.len(), 2);
    assert_eq!(definition.reclaimable, Durability::ObjectStore);
    assert_eq!(Definition::default().reclaimable, Durability::Local);
    assert_eq!(definition.parameter_named("EPS_SUN"), Some(ParameterId(1)));
    let (craft, format) = definition.frame_owner(1, 71).unwrap();
    assert_eq!((craft, format.length, format.fecf), (SpacecraftId(7), 1113, true));
    assert_eq!(definition.frame_owner(0, 71), None);
    let channels = definition.channels_of(&definition.spacecraft[0]);
    assert_eq!(channels.len(), 2);
    assert_eq!(channels[0].0.as_virtual_channel(), Some((1, 71, 0, 0)));
    assert_eq!(definition.rules[0].trigger, Trigger::Product("tile".into()));
    assert_eq!((definition.tasks.len(), definition.rules[1].budget), (2, Some(0.05)));
    assert_eq!(definition.rules[1].data_class, DataClass::Restricted);
    assert_eq!(definition.containers[0].entries[1], Entry::Skip { bits: 4 });
}

#[test]
fn faults_name_their_line_and_help() {
    for (old, new, above, words) in [
        ("= \"object-store\"", "= \"replicated\"", 0, "is reserved"),
        ("= \"object-store\"", "= \"lokal\"", 0, "\"local\" or"),
        ("unit = \"V\"", "units = \"V\"", 0, "did you mean `unit`?"),
        ("kind = \"aos\"", "kind = \"aoss\"", 0, "did you mean `aos`?"),
        ("type = \"u16\"", "type = \"u12\"", 0, "u8 to u64"),
        ("\"skip:4\"", "\"skip:0\"", 0, "can't skip"),
        ("\"cuc:4:3\"", "\"cuc:5:3\"", 0, "cuc:C:F"),
        ("name = \"EPS_SUN\"", "name = \"EPS_BATTERY_VOLTAGE\"", 0, "already there"),
        ("red_low = 6.6", "red_low = 7.6", 0, "must rise"),
        ("persistence = 3", "persistence = 0", 0, "at least 1"),
        ("apid = 100", "apid = 2047", 0, "above 2046"),
        ("[0.0, 0.001]", "[]", 0, "1 to 16"),
        ("product:tile", "product:tyle", 0, "no [[product]]"),
        ("product:tile", "alarms", 0, "known are"),
        ("deadline_s = 60", "deadline_s = 0", 0, "above 0"),
        ("cloud-mask/1", "cloud-mask", 0, "NAME/VERSION"),
        ("flood-mask/1", "flood-mask", 0, "NAME/VERSION"),
        ("note/1", "flood-mask/1", 0, "already there"),
        ("\"UINT8\"", "\"uint8\"", 2, "is none of"),
        ("[0, 4, 64, 64]", "[4, 0, 64]", 3, "only as the first"),
        ("[0, 4, 64, 64]", "[0, 99999999999]", 3, "more than"),
        ("[0.0, 50.0]", "[50.0, 0.0]", 5, "least first"),
        ("type = \"choice\"", "type = \"text\"", 2, "type is text"),
        ("tokens_max = 200", "tokens_max = 0", 0, "1 to 65536"),
        ("[\"EPS_SUN\"]", "[\"EPS_SUM\"]", 0, "no parameter"),
        ("samples = 64", "samples = 5000", 0, "at most 4096"),
        ("every_s = 600", "every_s = 0", 0, "1 to 86400"),
        ("budget = 0.05", "budget = -1.0", 0, "0 or more"),
        ("\"restricted\"", "\"secret\"", 0, "restricted"),
        ("0 = \"sun\"", "zero = \"sun\"", 0, "no raw value"),
        ("vc = 0", "vc = 64", 2, "either"),
        ("length = 1113", "length = 8", 3, "can't have 8 bytes"),
        ("scid = 71", "scid = 300", 2, "above 255"),
    ] {
        let line = GOOD[..GOOD.find(old).unwrap()].matches('\n').count() + 1 - above;
        let fault = Definition::from_toml(&GOOD.replacen(old, new, 1)).unwrap_err();
        assert_eq!(fault.line, Some(line), "{new}: {fault}");
        assert!(fault.to_string().contains(words), "{new}: {fault}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(cut in 0usize..2000, at in 0usize..2000, byte in 32u8..127) {
        let mut text = GOOD.as_bytes()[..cut.min(GOOD.len())].to_vec();
        if let Some(slot) = text.get_mut(at) {
            *slot = byte;
        }
        let _ = Definition::from_toml(core::str::from_utf8(&text).unwrap());
    }
}

#[test]
fn frames_of_uslp_are_known_by_sixteen_bits() {
    let of = |scid: u32, length: u32, more: &str| {
        Definition::from_toml(&format!(
            "mission = 'm'\n[[spacecraft]]\nid = 7\nname = 'A'\n[[spacecraft.frames]]\n\
             kind = 'uslp'\nscid = {scid}\nlength = {length}\n{more}"
        ))
    };
    let definition = of(0xFFFF, 64, "fecf = true\ninsert_zone = 4").unwrap();
    let (craft, format) = definition.frame_owner(crate::frame::uslp::VERSION, 0xFFFF).unwrap();
    assert_eq!((craft, format.insert_zone, format.fecf), (SpacecraftId(7), 4, true));
    assert!(of(1, 9, "").unwrap_err().to_string().contains("can't have 9 bytes"));
    assert!(of(1, 10, "").is_ok());
}
