//! Which crate may know which.

use serde_json::Value;

/// Arrows between our crates; no others.
const ARROWS: [(&str, &[&str]); 9] = [
    ("codecs", &[]),
    ("onboard-model", &["codecs"]),
    // A spacecraft and an edge hold and send units alike: one store and one client serve both.
    ("codecs-store", &["codecs"]),
    ("codecs-quic", &["codecs"]),
    ("onboard", &["codecs", "codecs-quic", "codecs-store", "onboard-model"]),
    ("groundstation", &["codecs", "codecs-quic", "codecs-store", "onboard-model"]),
    // Its worlds drive the cores below the shells that those two crates are.
    ("sims", &["codecs", "codecs-quic", "codecs-store", "groundstation", "onboard"]),
    ("tests", &["codecs", "codecs-quic", "groundstation", "onboard", "onboard-model", "sims"]),
    ("fuzz", &["codecs", "groundstation", "onboard", "sims"]),
];

/// Dependencies that one crate alone may know, so that they stay replaceable.
const OWNED: [(&str, &str); 2] = [("ort", "onboard-model"), ("libfuzzer-sys", "fuzz")];

/// Features that nothing of ours may turn on by default, and whose they are.
const OFF: [(&str, &str); 1] = [("codecs", "pocketplus")];

/// Features that should be off, in lines of package, version, path and features (`cargo tree
/// --prefix none --format "{p} {f}"`) of what is shipped.
pub fn turned_on(tree: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (package, feature) in OFF {
        let lines = || tree.lines().filter(|line| line.split(' ').next() == Some(package));
        if lines().next().is_none() {
            findings.push(format!("no {package} among what is shipped: the tree proves nothing"));
        }
        let is_on = |line: &str| {
            let mut named = line.split(' ').flat_map(|word| word.split(','));
            named.any(|named| named == feature)
        };
        if lines().any(is_on) {
            findings.push(format!("{feature} of {package} is on in what is shipped"));
        }
    }
    findings
}

/// Dependencies that stand against the arrows, in `cargo metadata`.
pub fn check(metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    let empty = Vec::new();
    let packages = metadata["packages"].as_array().unwrap_or(&empty);
    let ours: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    if ours.is_empty() {
        findings.push("cargo metadata names no package".to_owned());
    }
    for package in packages {
        let from = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == from) else {
            findings.push(format!("crate {from} stands in no arrow: add it to the design first"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap_or(&empty) {
            let to = dependency["name"].as_str().unwrap_or_default();
            if ours.contains(&to) && !allowed.contains(&to) {
                findings.push(format!("{from} depends on {to}, against the arrows of the design"));
            }
            if OWNED.iter().any(|(name, owner)| *name == to && *owner != from) {
                findings.push(format!("{from} depends on {to}, which is another crate's to know"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_feature_that_is_on_is_found() {
        let line = "codecs v0.1.0 (/here/pocketplus/codecs) default,mission";
        assert_eq!(turned_on(&format!("onboard v0.1.0\n{line},std (*)")), [""; 0]);
        let on = format!("onboard v0.1.0\n{line}\n{line},pocketplus,std (*)");
        assert_eq!(turned_on(&on).len(), 1);
        assert_eq!(turned_on("onboard v0.1.0 default").len(), 1);
    }

    #[test]
    fn an_arrow_upwards_is_found() {
        let dependency = |name: &str| json!({ "name": name });
        let metadata = json!({ "packages": [
            { "name": "codecs", "dependencies": [dependency("onboard"), dependency("bytes")] },
            { "name": "onboard", "dependencies": [dependency("codecs"), dependency("ort")] },
            { "name": "stray", "dependencies": [] },
        ]});
        let findings = check(&metadata);
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[0].contains("codecs depends on onboard"));
        assert!(findings[1].contains("onboard depends on ort"));
        assert!(findings[2].contains("stray"));
        assert_eq!(check(&json!({})).len(), 1, "no metadata is no proof");
    }
}
