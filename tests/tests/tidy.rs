//! Holds the habits of the project over its own sources; each rule proves beside its code that
//! a bad snippet makes it fire.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::tidy::{arrows, files, readme, root, rules, source, standards};

/// Every Rust file of the workspace with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let root = root();
    let rust = files(&root).into_iter().filter(|path| path.extension().is_some_and(|x| x == "rs"));
    let read = rust.map(|path| {
        let text = std::fs::read_to_string(root.join(&path)).unwrap();
        (path, text)
    });
    let sources: Vec<_> = read.collect();
    assert!(sources.len() > 40, "the walk lost its way: {} files", sources.len());
    sources
}

/// Files of modules that only tests see, and the folders below them.
fn test_modules(sources: &[(PathBuf, String)]) -> Vec<PathBuf> {
    let mut modules = Vec::new();
    for (path, text) in sources {
        let stem = path.file_stem().unwrap_or_default();
        let folder = match stem.to_str() {
            Some("mod" | "lib" | "main") => path.with_file_name(""),
            _ => path.with_extension(""),
        };
        for name in source::shipped(text).test_modules {
            modules.push(folder.join(format!("{name}.rs")));
            modules.push(folder.join(name));
        }
    }
    modules
}

fn hold(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

fn each(rule: impl Fn(&Path, &str) -> Vec<String>) -> Vec<String> {
    sources().iter().flat_map(|(path, text)| rule(path, text)).collect()
}

fn each_core(rule: impl Fn(&Path, &str) -> Vec<String>) -> Vec<String> {
    let sources = sources();
    let tests = test_modules(&sources);
    let shipped = |path: &Path| !tests.iter().any(|module| path.starts_with(module));
    let cores = sources.iter().filter(|(path, _)| rules::is_core(path) && shipped(path));
    cores.flat_map(|(path, text)| rule(path, text)).collect()
}

#[test]
fn arrows_between_crates_hold() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    hold(arrows::check(&serde_json::from_slice(&output.stdout).unwrap()));
}

/// POCKET+ is patented: no binary of ours may hold it unless somebody asks for it.
#[test]
fn patented_methods_are_off_in_what_is_shipped() {
    let shipped = ["-p", "onboard", "-p", "groundstation", "-p", "sims", "-p", "onboard-model"];
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal,build", "--no-dedupe"])
        .args(["--prefix", "none", "--format", "{p} {f}"])
        .args(shipped)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    hold(arrows::turned_on(&String::from_utf8_lossy(&output.stdout)));
}

#[test]
fn cores_know_nothing_outside() {
    hold(each_core(rules::outside_in_core));
}

#[test]
fn exceptions_are_few_reasoned_and_needed() {
    let sources = sources();
    for (exception, reason) in rules::EXCEPTIONS {
        assert!(reason.len() > 15, "{exception}: why?");
        let mut below = sources.iter().filter(|(path, _)| rules::is_under(path, exception));
        let needed = below.any(|(path, text)| !rules::outside_in_core(path, text).is_empty());
        assert!(needed, "{exception} touches nothing outside (any more): take it out");
    }
    assert!(rules::EXCEPTIONS.len() <= 16, "exceptions become the rule");
}

#[test]
fn cores_iterate_in_order() {
    hold(each_core(rules::hasher_in_core));
}

#[test]
fn unsafe_stays_in_its_folders() {
    hold(each(rules::stray_unsafe));
}

#[test]
fn files_stay_readable() {
    hold(each(rules::too_long));
}

#[test]
fn what_the_standards_page_names_exists() {
    let text = std::fs::read_to_string(root().join("docs/standards.md")).unwrap();
    let sources: Vec<String> = sources().into_iter().map(|(_, text)| text).collect();
    hold(standards::missing(&text, &sources, |path| root().join(path).exists()));
}

#[test]
fn nothing_is_left_for_later() {
    let root = root();
    let written = ["rs", "toml", "md", "sh", "py", "js", "ts", "css", "html"];
    let mut findings = Vec::new();
    for path in files(&root) {
        let kind = path.extension().map(|kind| kind.to_string_lossy().into_owned());
        let script = path.starts_with("tools") || path.starts_with(".ci");
        if kind.is_some_and(|kind| written.contains(&kind.as_str()))
            || script
            || path == Path::new("Makefile")
        {
            let text = std::fs::read(root.join(&path)).unwrap();
            findings.extend(rules::left_for_later(&path, &String::from_utf8_lossy(&text)));
        }
    }
    hold(findings);
}

#[test]
fn commands_in_the_readme_exist() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let sources = sources();
    let binary = |name: &str, folder: &str| {
        let inside = sources.iter().filter(|(path, _)| path.starts_with(folder));
        let texts: Vec<String> = inside.map(|(_, text)| text.clone()).collect();
        readme::Binary::new(name, &texts)
    };
    let output = Command::new(env!("CARGO")).arg("--list").output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let names = list.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let cargo: BTreeSet<String> = names.map(str::to_owned).collect();
    let known = readme::Known {
        targets: readme::targets(&read("Makefile")),
        cargo,
        binaries: vec![
            binary("onboard", "onboard/src"),
            binary("groundstation", "groundstation/src"),
            binary("orbitsim", "sims/src"),
        ],
    };
    let readme = read("README.md");
    assert!(readme::commands(&readme).len() > 5, "the README shows commands");
    hold(readme::check(&readme, &known));
}
