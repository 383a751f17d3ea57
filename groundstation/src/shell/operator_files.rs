//! Operators and their tokens' files, held against each other and against what the station itself
//! keeps: of two rows with one token, one would silently stand for both.

use super::{door_files::files, start::real};
use crate::config::Config;
use std::path::{Path, PathBuf};

/// The key that is wrong and why; `station` is the station file.
pub fn check(config: &Config, station: &Path) -> Result<(), (String, String)> {
    let files = files(config, station);
    let mut known: Vec<(&str, PathBuf)> = Vec::new();
    for operator in &config.operators {
        let name = &operator.name;
        let wrong = |key: &str, why: String| (format!("operator {name}{key}"), why);
        if known.iter().any(|(other, _)| other == name) {
            return Err(wrong("", "named twice; one row an operator".into()));
        }
        let path = config.path(&operator.token);
        let token = real(&path)
            .map_err(|error| wrong(": token", format!("{}: {error}", path.display())))?;
        let shown = token.display();
        if let Some((what, _)) = files.iter().find(|(_, file)| *file == token) {
            return Err(wrong(": token", format!("{shown} is {what}; name another file")));
        }
        if let Some((other, _)) = known.iter().find(|(_, file)| *file == token) {
            let why = format!("{shown} is operator {other}'s already; one file an operator");
            return Err(wrong(": token", why));
        }
        known.push((name, token));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(dir: &Path, operators: &[(&str, &str)]) -> Result<(), String> {
        let mut text = "mission = 'mission.toml'\n[station]\nname = 'Test'\nlatitude_deg = 48.0\n\
            longitude_deg = 11.0\n[identity]\nauthority = 'identity/a.crt'\n\
            certificate = 'identity/s.crt'\nkey = 'identity/s.key'\n\
            domain_key = 'identity/domain.key'\n"
            .to_string();
        for (name, token) in operators {
            text += &format!(
                "[[operator]]\nname = '{name}'\ntoken = '{token}'\nspacecraft = []\nactions = []\n"
            );
        }
        let path = dir.join("station.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn an_operator_shares_name_and_token_with_no_one() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path();
        std::fs::create_dir_all(here.join("operators")).unwrap();
        std::fs::write(here.join("operators/duty"), b"").unwrap();
        std::os::unix::fs::symlink(here.join("operators/duty"), here.join("link")).unwrap();
        let good = ("duty", "operators/duty");
        for (second, said) in [
            (("duty", "operators/b"), "operator duty: named twice"),
            (("b", "operators/duty"), "operator b: token: "),
            (("b", "operators/../operators/duty"), "is operator duty's already"),
            (("b", "link"), "is operator duty's already"),
            (("b", "station.toml"), "is the station file"),
            (("b", "identity/s.key"), "is the station's key"),
            (("b", "identity/domain.key"), "is the domain's key"),
            (("b", "mission.toml"), "is the mission"),
        ] {
            let error = load(here, &[good, second]).unwrap_err();
            assert!(error.contains(said), "{second:?}: {error}");
        }
        load(here, &[good, ("b", "operators/b")]).unwrap();
    }
}
