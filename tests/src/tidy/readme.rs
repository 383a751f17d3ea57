//! The commands that the README shows exist.

use super::source::{code, tokens};
use std::collections::BTreeSet;

/// What commands may name.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Targets of the Makefile.
    pub targets: BTreeSet<String>,
    /// Subcommands of cargo.
    pub cargo: BTreeSet<String>,
    /// Our binaries, each with the words and flags that its sources define.
    pub binaries: Vec<Binary>,
}

/// A binary as its sources define it.
#[derive(Clone, Debug, Default)]
pub struct Binary {
    /// Name of the executable.
    pub name: String,
    /// Names of subcommands, at any level.
    pub subcommands: BTreeSet<String>,
    /// Every identifier and string, in which flags are looked up.
    pub words: BTreeSet<String>,
}

impl Binary {
    /// Reads the clap definitions in a crate's sources.
    pub fn new(name: &str, sources: &[String]) -> Self {
        let mut binary = Self { name: name.to_owned(), ..Self::default() };
        for text in sources {
            binary.subcommands.extend(subcommands(text));
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)));
            binary.words.extend(words.map(str::to_owned));
        }
        binary
    }
}

/// Variants of enums that derive `Subcommand`, as clap names them.
fn subcommands(text: &str) -> Vec<String> {
    let tokens = tokens(&code(text));
    let mut found = Vec::new();
    let mut derived = false;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            // Import or derivation: what counts is that an enum follows before anything else ends.
            "Subcommand" => derived = true,
            ";" | "struct" | "fn" => derived = false,
            "enum" if derived => {
                derived = false;
                let (mut depth, mut fresh) = (0, true);
                for token in &tokens[at..] {
                    let word = token.text.as_str();
                    match word {
                        "{" | "(" | "[" => depth += 1,
                        "}" | ")" | "]" => {
                            depth -= 1;
                            if depth == 0 && word == "}" {
                                break;
                            }
                        }
                        "," if depth == 1 => fresh = true,
                        _ if depth == 1 && fresh && word.starts_with(char::is_uppercase) => {
                            found.push(kebab(word));
                            fresh = false;
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// Targets that a Makefile defines.
pub fn targets(makefile: &str) -> BTreeSet<String> {
    let rules = makefile.lines().filter(|line| !line.starts_with(['\t', ' ', '#', '.']));
    let named = rules.filter_map(|line| line.split_once(':'));
    let named = named.filter(|(_, rest)| !rest.starts_with('='));
    named.flat_map(|(names, _)| names.split_whitespace().map(str::to_owned)).collect()
}

/// Commands of shell blocks, and those in running text outside the table of what is missing.
pub fn commands(readme: &str) -> Vec<(usize, String)> {
    let mut commands = Vec::new();
    let (mut shell, mut other, mut missing) = (false, false, false);
    for (index, line) in readme.lines().enumerate() {
        let at = index + 1;
        if let Some(language) = line.trim_start().strip_prefix("```") {
            (shell, other) = match shell || other {
                true => (false, false),
                false => {
                    let is_shell = ["sh", "bash", "console", "shell"].contains(&language.trim());
                    (is_shell, !is_shell)
                }
            };
        } else if shell {
            let line = line.trim().trim_start_matches("$ ");
            if !line.is_empty() && !line.starts_with('#') {
                commands.push((at, line.to_owned()));
            }
        } else if !other {
            if line.starts_with('#') {
                missing = line.to_lowercase().contains("not supported");
            }
            let spans = line.split('`').skip(1).step_by(2).filter(|_| !missing);
            commands.extend(spans.map(|span| (at, span.to_owned())));
        }
    }
    commands
}

/// Commands of the README that name what does not exist.
pub fn check(readme: &str, known: &Known) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, command) in commands(readme) {
        for part in command.split("&&").flat_map(|part| part.split('|')) {
            let set = |word: &&str| word.contains('=') && !word.starts_with('-');
            let words: Vec<&str> = part.split_whitespace().skip_while(set).collect();
            let Some((program, arguments)) = words.split_first() else { continue };
            if let Some(wrong) = wrong(program, arguments, known) {
                findings.push(format!("README.md:{line}: `{}`: {wrong}", part.trim()));
            }
        }
    }
    findings
}

fn wrong(program: &str, arguments: &[&str], known: &Known) -> Option<String> {
    let name = program.rsplit('/').next().unwrap_or(program);
    let plain = |word: &&&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    match name {
        "make" => {
            let named = arguments.iter().filter(plain).filter(|word| !word.contains('='));
            let unknown = named.copied().find(|word| !known.targets.contains(*word))?;
            Some(format!("the Makefile has no target {unknown}"))
        }
        "cargo" => {
            let unknown = arguments.first().filter(plain)?;
            (!known.cargo.contains(*unknown)).then(|| format!("cargo has no command {unknown}"))
        }
        _ => {
            let binary = known.binaries.iter().find(|binary| binary.name == name)?;
            let path = arguments.iter().take_while(plain);
            for word in path.map(|word| word.trim_end_matches([',', '.'])) {
                if !binary.subcommands.contains(word) {
                    return Some(format!("{name} has no subcommand {word}"));
                }
            }
            let flags = arguments.iter().filter_map(|word| word.strip_prefix("--"));
            for flag in flags.map(|flag| flag.split('=').next().unwrap_or(flag)) {
                let field = flag.replace('-', "_");
                let defined = binary.words.contains(&field) || binary.words.contains(flag);
                if !defined && !["help", "version", ""].contains(&flag) {
                    return Some(format!("{name} has no flag --{flag}"));
                }
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let source = "#[derive(Debug, Subcommand)]\nenum Command {\n  /// Run it, Fast.\n  Run(a::Run),\n  \
                      #[command(subcommand)]\n  Models { #[arg(long)] dry_run: bool },\n  DryRun,\n}\n\
                      enum Other { Never }";
        let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Known {
            targets: targets(".PHONY: demo\nX := 1\ndemo: build ## fly\n\techo no:\nbuild test:\n"),
            cargo: set(&["build"]),
            binaries: vec![Binary::new("onboard", &[source.to_owned()])],
        }
    }

    #[test]
    fn definitions_are_read() {
        let known = known();
        assert_eq!(known.targets.iter().collect::<Vec<_>>(), ["build", "demo", "test"]);
        let names: Vec<_> = known.binaries[0].subcommands.iter().collect();
        assert_eq!(names, ["dry-run", "models", "run"]);
    }

    #[test]
    fn commands_that_exist_pass() {
        let readme = "```sh\nmake demo ARGS=\"--x\"\ncargo build --release\n\
                      A=1 target/debug/onboard run --dry-run CONFIG && make test\n```\n\
                      Use `onboard models`, `Bytes` and `make`.\n## Not supported yet\n`onboard fly`\n\
                      ```text\nonboard nothing\n```\n";
        assert_eq!(check(readme, &known()), Vec::<String>::new());
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        for (bad, finding) in [
            ("make dmeo", "no target dmeo"),
            ("cargo biuld", "no command biuld"),
            ("target/debug/onboard fly", "no subcommand fly"),
            ("onboard run --wet-run", "no flag --wet-run"),
            ("make demo && onboard never", "no subcommand never"),
        ] {
            let findings = check(&format!("```sh\n{bad}\n```"), &known());
            assert!(findings.len() == 1 && findings[0].contains(finding), "{findings:?}");
            let findings = check(&format!("Say `{bad}`."), &known());
            assert_eq!(findings.len(), 1, "{bad}");
        }
    }
}
