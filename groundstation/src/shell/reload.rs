//! A reload: the daemon's side, and the command that asks for it.

use super::{
    control, door_files, doors::Doors, plan, rules::Rules, server, tls, uplink::operators,
};
use crate::{admit::Table, commands::say, config::Config, reload::Reloaded};
use anyhow::bail;
use codecs::ids::SpacecraftId;
use quinn::Endpoint;
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::PathBuf, process::ExitCode, sync::Arc};
use tokio::sync::watch;

/// What the command writes to the control socket.
pub const REQUEST: &str = "reload";

/// Make the running station read its file, certificates and keys anew
///
/// Connections and the objects on them go on; those whose principal is gone from the file are
/// closed. A file with a mistake changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 in force, 1 refused, or no daemon runs.\n\
    SIGHUP asks for the same; its outcome is in the log.")]
pub struct ReloadArgs {
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    pub config: PathBuf,
    /// Print the outcome as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Asks the daemon and tells what came of it.
pub fn run(args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    let answer = control::ask(&config.path(&config.archive.dir), REQUEST)?;
    if args.json {
        say(&answer.to_string());
        return Ok(if answer["error"].is_null() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if let Some(error) = answer["error"].as_str() {
        bail!("nothing was changed: {error}");
    }
    let keys = |list: &str| -> Vec<&str> {
        answer[list].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let (changed, restart) = (keys("changed"), keys("restart"));
    say(&match changed.is_empty() {
        true => "certificates and keys read anew; nothing else changed".to_string(),
        false => format!("in force: certificates, keys, {}", changed.join(", ")),
    });
    if !restart.is_empty() {
        say(&format!("wait for a restart: {}", restart.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}

/// The answer to the command.
pub fn answer(outcome: &anyhow::Result<Reloaded>) -> Value {
    match outcome {
        Ok(Reloaded { changed, restart }) => json!({ "changed": changed, "restart": restart }),
        Err(error) => json!({ "error": format!("{error:#}") }),
    }
}

/// Puts new rules and identities in force while everything else goes on.
pub struct Reloader {
    path: PathBuf,
    endpoint: Endpoint,
    standing: Standing,
    mission: Arc<BTreeSet<SpacecraftId>>,
    started: toml::Table,
    current: toml::Table,
}

/// What the station file says and a reload replaces.
pub struct Standing {
    /// Of peers.
    pub rules: watch::Sender<Arc<Rules>>,
    /// Of people.
    pub operators: watch::Sender<Arc<Table>>,
    /// Where the contact plan is.
    pub contacts: watch::Sender<Option<PathBuf>>,
    /// What goes out.
    pub doors: Doors,
}

impl Reloader {
    /// For a daemon that started with `config`, read from `path`.
    pub fn new(
        path: PathBuf,
        config: &Config,
        endpoint: Endpoint,
        standing: Standing,
        mission: Arc<BTreeSet<SpacecraftId>>,
    ) -> Self {
        let (started, current) = (config.stated.clone(), config.stated.clone());
        Self { path, endpoint, standing, mission, started, current }
    }

    /// The doors, at the end.
    pub fn into_doors(self) -> Doors {
        self.standing.doors
    }

    /// Reads file, certificates and keys anew. On an error all that was in force stays in force.
    pub async fn reload(&mut self) -> anyhow::Result<Reloaded> {
        let (path, mission) = (self.path.clone(), Arc::clone(&self.mission));
        // A disk that hangs must not hold up the network.
        let read = tokio::task::spawn_blocking(move || {
            let config = Config::load(&path)?;
            config.check_mission(&mission)?;
            door_files::check_places(&config)?;
            let crypto = tls::server_config(&config)?;
            let server = server::config(crypto, &config.profile(), &config.transport())?;
            let operators = operators::table(&config)?;
            plan::warn(config.contact_plan().as_deref());
            anyhow::Ok((config, server, operators))
        });
        let (config, server, operators) = read.await??;
        let doors = self.standing.doors.prepare(&config.doors).await?;
        // From here on nothing fails: all of it is in force, or was refused before.
        self.endpoint.set_server_config(Some(server));
        self.standing.rules.send_replace(Arc::new(Rules::of(&config)));
        self.standing.operators.send_replace(Arc::new(operators));
        self.standing.contacts.send_replace(config.contact_plan());
        self.standing.doors.apply(doors).await;
        let reloaded = Reloaded::between(&self.started, &self.current, &config.stated);
        self.current = config.stated;
        Ok(reloaded)
    }
}
