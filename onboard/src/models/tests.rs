//! Slots over a folder that loses power at every call.

use std::path::Path;

use bytes::Bytes;
use codecs::package::{
    Digest, MANIFEST_FILE, Manifest, Piece, SIGNATURE_FILE, Signature, Trust, pack, sign,
};
use onboard_model::Package;

use super::{
    Files, Slot, SlotError, Slots, Task, Thresholds,
    forgetful::{Cut, Forgetful},
    thresholds::Origin,
    upload::{Taken, UploadError},
};

use crate::score::{
    Baseline,
    baseline::{Limits, Persistence},
};

const KEY: [u8; 32] = [1; 32];

fn trust() -> Trust {
    Trust::nobody().accept(sign(b"", &KEY).key)
}

/// A committed package with another manifest, signed anew.
fn bundle(name: &str, change: impl Fn(&mut Manifest)) -> Bytes {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("model/packages").join(name);
    let development = Trust::nobody().danger_accept_development_key();
    let mut manifest = Package::open(&folder, &development).unwrap().manifest().clone();
    change(&mut manifest);
    let json = manifest.to_json().into_bytes();
    let signature = Signature::list_to_json(&[sign(&json, &KEY)]);
    let mut files =
        vec![(MANIFEST_FILE.to_owned(), json), (SIGNATURE_FILE.to_owned(), signature.into())];
    for name in manifest.files.keys() {
        files.push((name.clone(), std::fs::read(folder.join(name)).unwrap()));
    }
    let slices: Vec<(&str, &[u8])> = files.iter().map(|(name, file)| (&**name, &**file)).collect();
    pack(&slices).unwrap().into()
}

fn telemetry(version: &str) -> Bytes {
    bundle("telemetry-anomaly", |manifest| {
        manifest.version = version.into();
        manifest.bounds = [("margin".to_owned(), [0.0, 2.0])].into();
    })
}

/// A threshold file for a version of the model.
fn threshold_file(model_version: &str, margin: f64, key: &[u8; 32]) -> Bytes {
    let limits = Limits { level_bits: Some(1.5), ..Limits::default() };
    let thresholds = Thresholds {
        format: 1,
        name: "sky-7".into(),
        version: "1.0.0".into(),
        task: Task::Telemetry,
        model: "telemetry-anomaly".into(),
        model_version: model_version.into(),
        parameters: [("margin".to_owned(), margin)].into(),
        baseline: Some(Baseline {
            persistence: Persistence { least: 2, windows: 3 },
            channels: [("X".to_owned(), limits)].into(),
        }),
        origin: Origin::default(),
    };
    let (document, signature) = thresholds.signed(key);
    Thresholds::bundle(document.as_bytes(), signature.as_bytes()).unwrap()
}

fn prove(_: &Package) -> Result<(), String> {
    Ok(())
}

fn open(folder: &Forgetful) -> Slots<Forgetful> {
    Slots::open(folder.clone(), trust()).unwrap()
}

fn send(slots: &mut Slots<Forgetful>, bundle: &Bytes) -> Result<Taken, SlotError> {
    let mut last = Ok(Taken::Repeated);
    for piece in Piece::cut(bundle, 5000) {
        last = slots.piece(&piece);
    }
    last
}

fn version(slots: &mut Slots<Forgetful>, slot: Slot) -> Option<String> {
    let package = slots.package(Task::Telemetry, slot).ok()?;
    Some(package.manifest().version.clone())
}

fn active(slots: &mut Slots<Forgetful>) -> Option<String> {
    let slot = slots.active(Task::Telemetry)?;
    Some(version(slots, slot).expect("the active slot holds a whole package"))
}

/// A folder with 1.0.0 active in A.
fn flying() -> Forgetful {
    let folder = Forgetful::default();
    let mut slots = open(&folder);
    send(&mut slots, &telemetry("1.0.0")).unwrap();
    assert_eq!(slots.install(Task::Telemetry, &mut prove).unwrap(), Slot::A);
    assert_eq!(slots.promote(Task::Telemetry).unwrap(), Slot::A);
    folder
}

#[test]
fn an_update_goes_up_in_any_order_is_tried_and_taken_back() {
    let folder = flying();
    let mut slots = open(&folder);
    let update = telemetry("1.1.0");
    let mut pieces = Piece::cut(&update, 3000);
    pieces.reverse();
    let (last, rest) = pieces.split_last().unwrap();
    for piece in rest {
        assert!(matches!(slots.piece(piece).unwrap(), Taken::Missing(_)));
        assert!(matches!(
            slots.install(Task::Telemetry, &mut prove),
            Err(SlotError::NothingReceived)
        ));
        // Over a restart too.
        slots = open(&folder);
    }
    assert_eq!(slots.piece(last).unwrap(), Taken::Whole(Digest::of(&update)));
    assert_eq!(slots.install(Task::Telemetry, &mut prove).unwrap(), Slot::B);
    assert_eq!(active(&mut slots).as_deref(), Some("1.0.0"), "installing promotes nothing");
    slots.set_shadow(Task::Telemetry, true).unwrap();
    assert_eq!(slots.shadow(Task::Telemetry), Some(Slot::B));
    slots.promote(Task::Telemetry).unwrap();
    assert_eq!(active(&mut slots).as_deref(), Some("1.1.0"));
    assert_eq!(slots.shadow(Task::Telemetry), None);
    let next = slots.roll_back(Task::Telemetry, "by command").unwrap();
    assert_eq!((next, active(&mut slots).as_deref()), (Some(Slot::A), Some("1.0.0")));
    // What failed is not rolled back to.
    assert_eq!(slots.roll_back(Task::Telemetry, "worn out").unwrap(), None);
    let mut again = open(&folder);
    assert_eq!(again.active(Task::Telemetry), None, "statistics, over restarts");
    assert_eq!(again.list()[1].held.failed.as_deref(), Some("by command"));
    assert_eq!(again.promote(Task::Telemetry).unwrap(), Slot::A);
}

#[test]
fn a_file_with_a_bad_checksum_is_never_announced() {
    let folder = flying();
    let mut slots = open(&folder);
    let update = telemetry("1.1.0");
    for spoilt in 0..Piece::cut(&update, 5000).len() {
        let mut pieces = Piece::cut(&update, 5000);
        let mut bytes = pieces[spoilt].bytes.to_vec();
        bytes[0] ^= 1;
        pieces[spoilt].bytes = bytes.into();
        let (last, rest) = pieces.split_last().unwrap();
        for piece in rest {
            slots.piece(piece).unwrap();
        }
        let error = slots.piece(last).unwrap_err();
        assert!(matches!(error, SlotError::Upload(UploadError::Digest { .. })), "{error}");
        assert_eq!((slots.received(), slots.under_way()), (None, None));
        assert_eq!(open(&folder).received(), None);
        let error = slots.install(Task::Telemetry, &mut prove).unwrap_err();
        assert!(matches!(error, SlotError::NothingReceived), "{error}");
    }
    assert!(matches!(send(&mut slots, &update), Ok(Taken::Whole(_))), "and then a good one");
}

#[test]
fn a_shorter_file_over_a_longer_one_leaves_no_tail() {
    let folder = flying();
    let mut slots = open(&folder);
    let long = bundle("cloud-screen", |_| {});
    let short = telemetry("1.1.0");
    assert!(short.len() < long.len());
    let pieces = Piece::cut(&long, 5000);
    for piece in &pieces[1..] {
        slots.piece(piece).unwrap();
    }
    assert!(matches!(send(&mut slots, &short), Ok(Taken::Whole(_))));
    let received = slots.files().read("received", usize::MAX - 1).unwrap();
    assert_eq!(received, Some(short));
    slots.install(Task::Telemetry, &mut prove).unwrap();
    // A longer received one is replaced as well.
    assert!(matches!(send(&mut slots, &long), Ok(Taken::Whole(_))));
    let short = telemetry("1.2.0");
    assert!(matches!(send(&mut slots, &short), Ok(Taken::Whole(_))));
    assert_eq!(slots.files().read("received", usize::MAX - 1).unwrap(), Some(short));
}

#[test]
fn a_repeated_piece_is_harmless() {
    let folder = flying();
    let mut slots = open(&folder);
    let update = telemetry("1.1.0");
    let pieces = Piece::cut(&update, 4000);
    for (at, piece) in pieces.iter().enumerate() {
        slots.piece(piece).unwrap();
        for earlier in &pieces[..=at] {
            assert_eq!(slots.piece(earlier).unwrap(), Taken::Repeated);
        }
    }
    slots.install(Task::Telemetry, &mut prove).unwrap();
    for piece in &pieces {
        assert_eq!(slots.piece(piece).unwrap(), Taken::Repeated, "it is in a slot");
    }
    assert_eq!(slots.under_way(), None);
    // Overlapping ones of other sizes count once.
    let other = telemetry("1.2.0");
    let sizes = [3000, 1700].map(|size| Piece::cut(&other, size));
    let taken: Vec<Taken> =
        sizes.iter().flatten().map(|piece| slots.piece(piece).unwrap()).collect();
    assert_eq!(taken.iter().filter(|taken| matches!(taken, Taken::Whole(_))).count(), 1);
    assert_eq!(slots.received(), Some(Digest::of(&other)));
}

/// What a step does from a folder with 1.0.0 active and 1.1.0 installed.
type Step = fn(&mut Slots<Forgetful>) -> Result<(), SlotError>;

const STEPS: [(&str, Step, Option<&str>); 6] = [
    ("upload", |slots| send(slots, &telemetry("1.2.0")).map(drop), Some("1.0.0")),
    (
        "upload, install",
        |slots| {
            send(slots, &telemetry("1.2.0"))?;
            slots.install(Task::Telemetry, &mut prove).map(drop)
        },
        Some("1.0.0"),
    ),
    ("promote", |slots| slots.promote(Task::Telemetry).map(drop), Some("1.1.0")),
    ("roll back", |slots| slots.roll_back(Task::Telemetry, "x").map(drop), Some("1.1.0")),
    (
        "threshold file",
        |slots| {
            send(slots, &threshold_file("1.0.0", 0.9, &KEY))?;
            slots.set_thresholds(Task::Telemetry).map(drop)
        },
        Some("1.0.0"),
    ),
    ("threshold", |slots| slots.set_parameter(Task::Telemetry, "margin", 0.9), Some("1.0.0")),
];

fn installed() -> Forgetful {
    let folder = flying();
    let mut slots = open(&folder);
    send(&mut slots, &telemetry("1.1.0")).unwrap();
    slots.install(Task::Telemetry, &mut prove).unwrap();
    folder
}

/// After a cut the old model is active or the new one, whole; and the step can be done again.
fn survives(what: &str, folder: Forgetful, step: Step, then: Option<&str>) {
    let mut slots = open(&folder);
    let found = active(&mut slots);
    assert!(found.as_deref() == Some("1.0.0") || found.as_deref() == then, "{what}: {found:?}");
    assert_eq!(slots.list().len(), 2, "{what}: both slots are held");
    for slot in Slot::BOTH {
        assert!(version(&mut slots, slot).is_some(), "{what}: slot {slot:?} is whole");
    }
    let margin = slots.package(Task::Telemetry, Slot::A).unwrap();
    assert!([Some(0.5), Some(0.9)].contains(&margin.manifest().parameter("margin")), "{what}");
    if found.as_deref() == Some("1.0.0") {
        step(&mut slots)
            .or_else(|error| match error {
                // It was installed before the cut.
                SlotError::NothingReceived => Ok(()),
                error => Err(error),
            })
            .unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    assert_eq!(active(&mut slots).as_deref(), then, "{what}");
}

#[test]
fn power_may_go_at_every_write() {
    for (name, step, then) in STEPS {
        let folder = installed();
        folder.remember();
        step(&mut open(&folder)).unwrap();
        let moments = folder.moments();
        assert!(moments.len() >= 5, "{name}: {} calls", moments.len());
        for (at, moment) in moments.iter().enumerate() {
            for cut in Cut::ALL {
                survives(&format!("{name}, call {at}, {cut:?}"), moment.survivors(cut), step, then);
            }
        }
        survives(&format!("{name}, after it"), folder.survivors(Cut::Drop), step, then);
    }
}

#[test]
fn without_syncs_power_cuts_are_fatal() {
    // The negative control: were this to pass, the test above would prove nothing.
    let broken = std::panic::catch_unwind(|| {
        let folder = Forgetful::default().lying();
        let mut slots = open(&folder);
        send(&mut slots, &telemetry("1.0.0")).unwrap();
        slots.install(Task::Telemetry, &mut prove).unwrap();
        slots.promote(Task::Telemetry).unwrap();
        for cut in [Cut::Drop, Cut::Names] {
            assert!(active(&mut open(&folder.survivors(cut))).is_some());
        }
    });
    assert!(broken.is_err());
}

#[test]
fn every_failing_call_is_an_error_and_leaves_a_folder_to_fly_from() {
    for (name, step, then) in STEPS {
        let calls = {
            let folder = installed();
            folder.fail_at(u64::MAX);
            step(&mut open(&folder)).unwrap();
            folder.calls()
        };
        for at in 1..=calls {
            let folder = installed();
            let mut slots = open(&folder);
            folder.fail_at(at);
            let outcome = step(&mut slots);
            drop(slots);
            let found = survives_fault(&folder, then);
            assert!(found, "{name}, failing call {at}: {outcome:?}");
        }
    }
}

fn survives_fault(folder: &Forgetful, then: Option<&str>) -> bool {
    let mut slots = open(folder);
    let found = active(&mut slots);
    found.as_deref() == Some("1.0.0") || found.as_deref() == then
}

#[test]
fn a_package_that_is_not_ours_damaged_or_for_another_task_gets_no_slot() {
    let folder = flying();
    let mut slots = open(&folder);
    let folder_of = Path::new(env!("CARGO_MANIFEST_DIR")).join("model/packages/telemetry-anomaly");
    let development = Trust::nobody().danger_accept_development_key();
    let foreign = Package::bundle(&folder_of, &development).unwrap();
    let error = send(&mut slots, &foreign).unwrap_err().to_string();
    assert!(error.contains("development key"), "{error}");
    assert_eq!((slots.received(), open(&folder).received()), (None, None));

    send(&mut slots, &bundle("cloud-screen", |_| {})).unwrap();
    let error = slots.install(Task::Telemetry, &mut prove).unwrap_err();
    assert!(matches!(error, SlotError::Contract(_)), "{error}");
    let mut lies = telemetry("3.0.0").to_vec();
    lies.truncate(lies.len() - 1);
    assert!(send(&mut slots, &lies.into()).is_err());
    let wrong = bundle("telemetry-anomaly", |manifest| manifest.inputs[0].shape = vec![-1, 17]);
    // Its own known answers contradict such a shape already.
    assert!(send(&mut slots, &wrong).is_err());

    send(&mut slots, &telemetry("2.0.0")).unwrap();
    let mut refuse = |_: &Package| Err("known answer 1 is 0.3 instead of 0.9".to_owned());
    let error = slots.install(Task::Telemetry, &mut refuse).unwrap_err().to_string();
    assert!(error.contains("known answer"), "{error}");
    assert_eq!(slots.list().len(), 1);
    assert_eq!(active(&mut slots).as_deref(), Some("1.0.0"));
}

#[test]
fn a_slot_that_rots_is_noticed_and_the_other_takes_over() {
    let folder = installed();
    let mut slots = open(&folder);
    assert_eq!(slots.holds(Task::Telemetry, Slot::A), Ok(true));
    folder.flip("telemetry.a", 3000);
    assert_eq!(slots.holds(Task::Telemetry, Slot::A), Ok(false));
    let error = slots.package(Task::Telemetry, Slot::A).unwrap_err().to_string();
    assert!(error.contains("slot a of telemetry"), "{error}");
    // Found at the next boot just so.
    let mut again = open(&folder.copy());
    assert_eq!(active(&mut again).as_deref(), Some("1.1.0"));
    assert!(again.take_notices()[0].contains("telemetry.a"));
    // While flying, health asks for it.
    slots.roll_back(Task::Telemetry, "damaged on the disk").unwrap();
    assert_eq!(active(&mut slots).as_deref(), Some("1.1.0"));
}

#[test]
fn either_journal_may_be_damaged() {
    for journal in ["journal.0", "journal.1"] {
        let folder = installed();
        folder.flip(journal, 5);
        let mut slots = open(&folder);
        assert!(slots.take_notices()[0].contains("journal"));
        assert_eq!(slots.list().len(), 2);
        // The older one may not know the last step yet; here that is the second installation.
        assert_eq!(active(&mut slots).as_deref(), Some("1.0.0"), "{journal}");
    }
}

#[test]
fn thresholds_change_within_bounds_and_stay_with_their_slot() {
    let folder = installed();
    let mut slots = open(&folder);
    let margin = |slots: &mut Slots<Forgetful>, slot| {
        let package = slots.package(Task::Telemetry, slot).unwrap();
        package.manifest().parameter("margin")
    };
    slots.set_parameter(Task::Telemetry, "margin", 1.5).unwrap();
    let mut again = open(&folder.survivors(Cut::Drop));
    assert_eq!(margin(&mut again, Slot::A), Some(1.5));
    assert_eq!(margin(&mut again, Slot::B), Some(0.5), "another package, its own values");
    for (name, value) in [("margin", 2.5), ("margin", -0.1), ("stream_threshold", 0.8), ("x", 1.0)]
    {
        let error = slots.set_parameter(Task::Telemetry, name, value).unwrap_err();
        assert!(matches!(error, SlotError::Parameter(_)), "{name} {value}: {error}");
    }
    assert_eq!(margin(&mut slots, Slot::A), Some(1.5));
    let error = slots.set_parameter(Task::Tiles, "cloudy_above", 0.5).unwrap_err();
    assert!(matches!(error, SlotError::NoneActive(Task::Tiles)), "{error}");
}

#[test]
fn a_threshold_file_stays_with_its_slot_until_another_one_or_none_is_wanted() {
    let folder = installed();
    let mut slots = open(&folder);
    let margin = |slots: &mut Slots<Forgetful>, slot| {
        let package = slots.package(Task::Telemetry, slot).unwrap();
        package.manifest().parameter("margin")
    };
    slots.set_parameter(Task::Telemetry, "margin", 1.5).unwrap();
    assert!(matches!(send(&mut slots, &threshold_file("1.0.0", 0.9, &KEY)), Ok(Taken::Whole(_))));
    let installed = slots.install(Task::Telemetry, &mut prove).unwrap_err();
    assert!(installed.to_string().contains("`model thresholds TASK`"), "{installed}");
    let set = slots.set_thresholds(Task::Telemetry).unwrap();
    let mut again = open(&folder.survivors(Cut::Drop));
    assert_eq!(again.thresholds(Task::Telemetry, Slot::A).unwrap(), Some(set));
    assert_eq!(again.thresholds(Task::Telemetry, Slot::B).unwrap(), None);
    assert_eq!(margin(&mut again, Slot::A), Some(0.9), "what was set alone is forgotten");
    slots.set_parameter(Task::Telemetry, "margin", 0.7).unwrap();
    assert_eq!(margin(&mut slots, Slot::A), Some(0.7), "and may be set again");
    let repeated = send(&mut slots, &threshold_file("1.0.0", 0.9, &KEY));
    assert!(matches!(repeated, Ok(Taken::Repeated)), "{repeated:?}");

    send(&mut slots, &threshold_file("1.0.0", 0.8, &KEY)).unwrap();
    slots.set_thresholds(Task::Telemetry).unwrap();
    assert_eq!(margin(&mut slots, Slot::A), Some(0.8));
    let files = |slots: &mut Slots<Forgetful>| {
        let names = slots.files().names().unwrap();
        names.into_iter().filter(|name| name.contains("thresholds")).collect::<Vec<_>>()
    };
    assert_eq!(files(&mut slots).len(), 1, "the old one is gone");
    // A file that rots is told of, and the model goes by its own thresholds.
    let name = files(&mut slots).remove(0);
    slots.files().write_at(&name, 300, b"rot").unwrap();
    let error = slots.thresholds(Task::Telemetry, Slot::A).unwrap_err().to_string();
    assert!(error.contains("slot a of telemetry has lost its threshold file"), "{error}");
    assert_eq!(margin(&mut slots, Slot::A), Some(0.5));
    slots.clear_thresholds(Task::Telemetry).unwrap();
    assert_eq!(slots.thresholds(Task::Telemetry, Slot::A).unwrap(), None);
    assert!(files(&mut slots).is_empty());
}

#[test]
fn a_threshold_file_that_is_forged_or_for_another_model_changes_nothing() {
    let folder = installed();
    let mut slots = open(&folder);
    let mut forged = threshold_file("1.0.0", 0.9, &KEY).to_vec();
    let at = forged.windows(3).position(|of| of == b"0.9").unwrap();
    forged[at + 2] = b'8';
    for (what, bundle, why) in [
        ("changed", forged.into(), "does not fit thresholds.json"),
        ("a stranger's", threshold_file("1.0.0", 0.9, &[2; 32]), "not among the 1 accepted keys"),
    ] {
        let error = send(&mut slots, &bundle).unwrap_err().to_string();
        assert!(error.contains(why), "{what}: {error}");
        assert_eq!(slots.received(), None, "{what}: it is thrown away");
    }
    for (bundle, why) in [
        (threshold_file("1.1.0", 0.9, &KEY), "are for telemetry: telemetry-anomaly 1.1.0"),
        (threshold_file("1.0.0", 9.0, &KEY), "0 to 2"),
        (telemetry("1.2.0"), "`model install TASK`"),
    ] {
        send(&mut slots, &bundle).unwrap();
        let error = slots.set_thresholds(Task::Telemetry).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(slots.thresholds(Task::Telemetry, Slot::A).unwrap(), None);
    }
}
