//! The committed packages: whole, damaged in every way, signed by the wrong key, and run.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Instant,
};

use bytes::Bytes;
use codecs::{
    package::{DEVELOPMENT_KEY, Digest, MODEL_FILE, Signature, sign},
    tensor::{DType, Tensor},
};
use onboard_model::{
    Backend, BackendError, LoadOptions, LoadedModel, ModelError, Package, Runtime, Trust,
};

const NAMES: [&str; 3] = ["telemetry-anomaly", "cloud-screen", "cloud-screen-int8"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packages").join(name)
}

fn development() -> Trust {
    Trust::nobody().danger_accept_development_key()
}

fn open(name: &str) -> Package {
    Package::open(&folder(name), &development()).unwrap()
}

fn copy(name: &str) -> tempfile::TempDir {
    let target = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), target.path().join(entry.file_name())).unwrap();
    }
    target
}

fn files(folder: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names =
        fs::read_dir(folder).unwrap().map(|entry| name(entry.unwrap())).collect::<Vec<_>>();
    names.sort();
    names
}

/// The runtime, or a printed reason why the test ends here.
fn runtime() -> Option<Runtime> {
    Runtime::find(None).inspect_err(|error| println!("skipped: {error}")).ok()
}

#[test]
fn the_committed_packages_are_whole() {
    for name in NAMES {
        let package = open(name);
        assert_eq!((&*package.manifest().name, package.signer()), (name, DEVELOPMENT_KEY));
        assert!(!package.manifest().scores.is_empty() && !package.vectors().is_empty());
        let own = folder(name);
        let files = files(&own).into_iter();
        let size = files.map(|file| fs::metadata(own.join(file)).unwrap().len());
        assert!(size.sum::<u64>() <= 200_000, "{name} is too large to commit");
    }
    assert!(open("telemetry-anomaly").manifest().fulfils("telemetry-triage/1"));
    for screen in ["cloud-screen", "cloud-screen-int8"] {
        assert!(open(screen).manifest().fulfils("cloud-mask/1"));
    }
    let notice = fs::read_to_string(folder("telemetry-anomaly").join("LICENSE.OPS-SAT-AD"));
    assert!(notice.unwrap().contains("KP Labs"), "the data's notice is shipped");
}

#[test]
fn a_file_that_is_too_long_is_not_said_to_have_the_bytes_that_were_read() {
    let copy = copy("cloud-screen");
    let path = copy.path().join(MODEL_FILE);
    let length = fs::metadata(&path).unwrap().len();
    fs::File::options().write(true).open(&path).unwrap().set_len(5 << 30).unwrap();
    let said = Package::open(copy.path(), &development()).unwrap_err().to_string();
    assert!(said.contains(&format!("longer than the {length} bytes")), "{said}");
}

#[test]
fn the_development_key_is_refused_until_it_is_named() {
    let text = Package::open(&folder(NAMES[0]), &Trust::nobody()).unwrap_err().to_string();
    assert!(text.contains("signature.json") && text.contains("development key"), "{text}");
    let other = Trust::nobody().accept(sign(b"", &[1; 32]).key);
    assert!(Package::open(&folder(NAMES[0]), &other).is_err());
}

#[test]
fn a_package_of_a_stations_own_key() {
    let target = copy(NAMES[0]);
    let manifest = fs::read(target.path().join("manifest.json")).unwrap();
    let signature = sign(&manifest, &[1; 32]);
    let key = signature.key;
    fs::write(target.path().join("signature.json"), Signature::list_to_json(&[signature])).unwrap();
    let package = Package::open(target.path(), &Trust::nobody().accept(key)).unwrap();
    assert_eq!(package.signer(), key);
    let text = Package::open(target.path(), &development()).unwrap_err().to_string();
    assert!(text.contains("signature.json") && text.contains(&key.to_string()), "{text}");
}

#[test]
fn every_damaged_file_is_named() {
    for name in NAMES {
        for file in files(&folder(name)) {
            let target = copy(name);
            let path = target.path().join(&file);
            let whole = fs::read(&path).unwrap();
            let refused = |what: &str| {
                let text = Package::open(target.path(), &development()).map(drop);
                let text = text.expect_err(what).to_string();
                assert!(text.contains(&file), "{what}: {text}");
            };
            for at in (0..whole.len()).step_by(whole.len().div_ceil(60)) {
                let mut flipped = whole.clone();
                flipped[at] ^= 1;
                fs::write(&path, flipped).unwrap();
                refused(&format!("{name}/{file}: bit flipped in byte {at}"));
            }
            for end in [0, 1, whole.len() / 2, whole.len() - 2] {
                fs::write(&path, &whole[..end]).unwrap();
                refused(&format!("{name}/{file}: cut at {end}"));
            }
            fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
            refused(&format!("{name}/{file}: a byte too many"));
            fs::write(&path, vec![b' '; whole.len().max(70_000)]).unwrap();
            refused(&format!("{name}/{file}: blank"));
            fs::remove_file(&path).unwrap();
            refused(&format!("{name}/{file}: missing"));
        }
    }
}

/// Answers with what the test wants, so that no runtime library is needed.
struct Double {
    answers: Mutex<Vec<Result<Vec<Tensor>, BackendError>>>,
}

impl Backend for Double {
    fn describe(&self) -> String {
        "a double".into()
    }

    fn load(&self, _: &[u8], _: &LoadOptions) -> Result<Box<dyn LoadedModel>, BackendError> {
        struct Loaded(Vec<Result<Vec<Tensor>, BackendError>>);
        impl LoadedModel for Loaded {
            fn run(&mut self, _: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
                self.0.remove(0)
            }
        }
        Ok(Box::new(Loaded(std::mem::take(&mut self.answers.lock().unwrap()))))
    }
}

#[test]
fn a_model_that_answers_differently_is_not_handed_out() {
    let package = open("telemetry-anomaly");
    let right = || package.vectors().iter().map(|v| Ok(v.outputs.clone())).collect::<Vec<_>>();
    let load = |answers| {
        let double = Double { answers: Mutex::new(answers) };
        Runtime::with_backend(Arc::new(double)).load(&package).map(drop)
    };
    assert!(load(right()).is_ok());

    let score = |value: f32| Tensor::from_f32("score", vec![1, 1], &[value]).unwrap();
    for wrong in [0.5, f32::NAN, f32::INFINITY] {
        let mut answers = right();
        answers[1] = Ok(vec![score(wrong)]);
        let error = load(answers).unwrap_err();
        assert!(matches!(error, ModelError::KnownAnswer { .. }), "{error}");
        assert!(error.to_string().contains(&package.vectors()[1].name), "{error}");
    }
    let shape = Tensor::from_f32("score", vec![2, 1], &[0.0, 0.0]).unwrap();
    let name = Tensor::from_f32("other", vec![1, 1], &[0.0]).unwrap();
    let bytes = Tensor::new("score", DType::U8, vec![1, 1], Bytes::from_static(&[0])).unwrap();
    for (what, answer) in [
        ("batch", Ok(vec![shape])),
        ("score", Ok(vec![name])),
        ("FP32", Ok(vec![bytes])),
        ("score", Ok(vec![])),
        ("out of memory", Err(BackendError("out of memory".into()))),
    ] {
        let mut answers = right();
        answers[0] = answer;
        let text = load(answers).unwrap_err().to_string();
        assert!(text.contains(what), "{text:?} does not mention {what:?}");
    }
}

#[test]
fn the_packages_reproduce_their_answers_here() {
    let Some(runtime) = runtime() else { return };
    println!("{}", runtime.describe());
    for name in NAMES {
        let package = open(name);
        let started = Instant::now();
        let mut session = runtime.load(&package).unwrap();
        let loaded = started.elapsed();
        let question = &package.vectors()[0].inputs;
        let started = Instant::now();
        for _ in 0..100 {
            session.run(question).unwrap();
        }
        println!("{name}: loaded and proved in {loaded:?}, {:?} a run", started.elapsed() / 100);
    }
}

#[test]
fn unaligned_and_batched_questions_get_the_same_answers() {
    let Some(runtime) = runtime() else { return };
    let package = open("telemetry-anomaly");
    let mut session = runtime.load(&package).unwrap();
    for vector in package.vectors() {
        let aligned = session.run(&vector.inputs).unwrap();
        let question = &vector.inputs[0];
        for shift in 1..4 {
            let moved = [&vec![0; shift][..], &question.data].concat();
            let data = Bytes::from(moved).slice(shift..);
            let question = Tensor { data, ..question.clone() };
            assert_eq!(session.run(&[question]).unwrap(), aligned, "{} + {shift}", vector.name);
        }
    }
}

#[test]
fn questions_outside_the_contract_never_reach_the_model() {
    let Some(runtime) = runtime() else { return };
    let mut session = runtime.load(&open("telemetry-anomaly")).unwrap();
    let features = |shape: Vec<u64>| {
        let count = shape.iter().product::<u64>() as usize;
        Tensor::from_f32("features", shape, &vec![0.0; count]).unwrap()
    };
    for wrong in [vec![1, 17], vec![18], vec![0, 18], vec![257, 18], vec![1, 18, 1]] {
        let error = session.run(&[features(wrong)]).unwrap_err();
        assert!(matches!(error, ModelError::Input(_)), "{error}");
    }
    assert!(matches!(session.run(&[]), Err(ModelError::Inputs { .. })));
    let twice = [features(vec![1, 18]), features(vec![1, 18])];
    assert!(matches!(session.run(&twice), Err(ModelError::Inputs { .. })));
    assert!(session.run(&[features(vec![256, 18])]).is_ok());
}

#[test]
fn a_signed_file_that_is_no_model_is_refused_by_the_runtime() {
    let Some(runtime) = runtime() else { return };
    let target = copy("telemetry-anomaly");
    let at = |name: &str| target.path().join(name);
    let model = fs::read(at(MODEL_FILE)).unwrap();
    for (what, bytes) in [("empty", &model[..0]), ("cut", &model[..model.len() / 2])] {
        let mut manifest = open("telemetry-anomaly").manifest().clone();
        let entry = manifest.files.get_mut(MODEL_FILE).unwrap();
        entry.bytes = bytes.len() as u64;
        entry.sha256 = Digest::of(bytes);
        let json = manifest.to_json();
        let signature = sign(json.as_bytes(), &[1; 32]);
        let trust = Trust::nobody().accept(signature.key);
        fs::write(at(MODEL_FILE), bytes).unwrap();
        fs::write(at("manifest.json"), json).unwrap();
        fs::write(at("signature.json"), Signature::list_to_json(&[signature])).unwrap();
        let package = Package::open(target.path(), &trust).unwrap();
        let error = runtime.load(&package).map(drop).unwrap_err();
        assert!(matches!(error, ModelError::Load { .. }), "{what}: {error}");
        println!("{what}: {error}");
    }
}

#[test]
fn sessions_run_side_by_side_in_one_environment() {
    let Some(runtime) = runtime() else { return };
    let again = Runtime::find(None).unwrap();
    assert_eq!(again.describe(), runtime.describe());
    let package = open("cloud-screen");
    std::thread::scope(|scope| {
        for runtime in [&runtime, &again, &runtime] {
            scope.spawn(|| {
                let mut session = runtime.clone().with_threads(2).load(&package).unwrap();
                for vector in package.vectors() {
                    vector.compare(&session.run(&vector.inputs).unwrap()).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_provider_that_the_library_lacks_is_left_to_the_processor_and_said() {
    let Some(runtime) = runtime() else { return };
    let asked = ["xnnpack".to_owned(), "cpu".to_owned()];
    let runtime = runtime.with_providers(&asked);
    let available = runtime.available();
    let mut session = runtime.load(&open("cloud-screen")).unwrap();
    // What it says that took the model is what the library has of it, no more: the build on PyPI
    // lacks XNNPACK, one from source may have it.
    assert_eq!(session.providers(), available);
    assert!(available.contains(&asked[1]), "{available:?}");
    let question = open("cloud-screen").vectors()[0].inputs.clone();
    assert_eq!(session.run(&question).unwrap().len(), 2, "it runs all the same");
}
