//! Tokens of operators: files that are made once, and read at a start or by a command.

use crate::{admit::Table, config::Config, operators::OperatorConfig};
use anyhow::{Context as _, bail};
use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
};

/// Shortest token that is taken.
const TOKEN_CHARS_MIN: usize = 32;

/// The operators' rows; a token that is missing is made.
pub fn table(config: &Config) -> anyhow::Result<Table> {
    let rows = config.operators.iter().map(|operator| {
        let made = make(config, operator);
        made.with_context(|| format!("operator {}: its token", operator.name))?;
        Ok(operator.row(&token(config, operator)?))
    });
    rows.collect()
}

/// Tries the same, and makes nothing.
pub fn check(config: &Config) -> anyhow::Result<()> {
    config.operators.iter().try_for_each(|operator| {
        let path = config.path(&operator.token);
        if path.exists() {
            return token(config, operator).map(drop);
        }
        let folder = path.parent().unwrap_or(&config.base);
        crate::shell::start::writable(folder)
            .with_context(|| format!("operator {}: its token", operator.name))
    })
}

fn make(config: &Config, operator: &OperatorConfig) -> anyhow::Result<()> {
    let path = config.path(&operator.token);
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    match new {
        Ok(mut file) => {
            let secret: [u8; 32] = crate::shell::random()?;
            let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(file, "{text}")?;
            file.sync_all()?;
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reads an operator's token.
pub fn token(config: &Config, operator: &OperatorConfig) -> anyhow::Result<String> {
    let path = config.path(&operator.token);
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("token {} (the station makes it at its first start)", path.display())
    })?;
    let token = text.trim();
    if token.len() < TOKEN_CHARS_MIN {
        bail!(
            "token {} has {} characters, at least {TOKEN_CHARS_MIN} are needed; remove the file \
             and start the station: it makes a new one",
            path.display(),
            token.len()
        );
    }
    Ok(token.to_string())
}
