//! What keeps a pool from its work though the station starts: credentials that are not there yet,
//! packages that can't be used, tasks that nobody knows.

use crate::{
    config::{Config, PoolConfig, PoolKind},
    pool::{SecretSource, aws::credentials, task::Contracts},
};
use codecs::mission::Definition;
use onboard_model::{Package, Trust};
use std::{collections::BTreeSet, path::PathBuf};

/// Pools that would wait, fail or stand idle, and why; no model is run, and nobody is asked.
pub fn pools(config: &Config, definition: &Definition) -> Vec<String> {
    let contracts = Contracts::with(&definition.tasks);
    let mut told = Vec::new();
    for pool in &config.pools {
        let mut tell = |said: String| told.push(format!("pool {}: {said}", pool.name));
        credential(config, pool).into_iter().for_each(&mut tell);
        let served = packages(config, pool, &mut tell);
        if pool.tasks.is_empty() && served.is_none_or(|tasks| tasks == 0) {
            tell("takes no task, so that nothing is ever asked of it: name some in `tasks`".into());
        }
        for task in pool.tasks.keys() {
            if let Err(error) = contracts.of(task) {
                tell(format!("tasks: {error}; add a [[task]] to the mission"));
            }
        }
    }
    let taken: BTreeSet<&String> = config.pools.iter().flat_map(|pool| pool.tasks.keys()).collect();
    for task in taken {
        let mut takers = config.pools.iter().filter(|pool| pool.tasks.contains_key(task));
        if takers.all(|pool| pool.canary.is_some() || pool.shadow.is_some()) {
            told.push(format!(
                "task {task}: only canaries and shadows take it; they are for comparison with a \
                 pool that has neither key"
            ));
        }
    }
    for task in config.routing.task_budgets_day.keys() {
        if let Err(error) = contracts.of(task) {
            told.push(format!("routing.task_budgets_day: {error}"));
        }
    }
    told
}

/// What is wrong with a pool's credential, as this process finds it.
fn credential(config: &Config, pool: &PoolConfig) -> Option<String> {
    let file = pool.credentials.as_ref().map(|file| config.path(file));
    let tried = match (file, &pool.credentials_env) {
        (Some(file), _) if pool.kind.is_aws() => credentials::try_file(&file),
        (Some(file), _) => SecretSource::File(file).read().map(drop),
        (None, Some(name)) => SecretSource::Environment(name.clone()).read().map(drop),
        (None, None) => return None,
    };
    let error = tried.err()?;
    Some(format!("{}; until that is mended no question is answered", error.said))
}

/// Looks at an embedded pool's packages; gives how many tasks they fulfil.
fn packages(config: &Config, pool: &PoolConfig, tell: &mut impl FnMut(String)) -> Option<usize> {
    if pool.kind != PoolKind::Embedded {
        return None;
    }
    let mut trust = Trust::nobody();
    if pool.danger_accept_development_key {
        trust = trust.danger_accept_development_key();
    }
    let (mut models, mut tasks) = (BTreeSet::new(), 0);
    for folder in &pool.packages {
        let folder: PathBuf = config.path(folder);
        match Package::open(&folder, &trust) {
            Ok(package) => {
                models.insert(package.manifest().name.clone());
                tasks += package.manifest().tasks.len();
            }
            Err(error) => tell(format!("packages: {}: {error}", folder.display())),
        }
    }
    if models.len() == pool.packages.len() {
        for (task, model) in pool.tasks.iter().filter(|(_, model)| !models.contains(*model)) {
            let known: Vec<&str> = models.iter().map(String::as_str).collect();
            let known = known.join(", ");
            tell(format!("tasks: {task} = {model:?}, its packages hold only {known}"));
        }
    }
    if let Some(runtime) = pool.runtime.as_ref().map(|file| config.path(file))
        && !runtime.is_file()
    {
        tell(format!("runtime: there is no file {}", runtime.display()));
    }
    Some(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn told(dir: &Path, rows: &str) -> Vec<String> {
        let file = dir.join("station.toml");
        let text = "mission = 'm'\n[station]\nname = 'T'\nlatitude_deg = 1.0\n\
            longitude_deg = 1.0\n[identity]\nauthority = 'a'\ncertificate = 's'\nkey = 'k'\n";
        std::fs::write(&file, format!("{text}{rows}")).unwrap();
        let definition = Definition::from_toml("mission = 'm'\n").unwrap();
        pools(&Config::load(&file).unwrap(), &definition)
    }

    fn one(dir: &Path, kind: &str, keys: &str) -> String {
        let rows = format!("[[pool]]\nname = 'far'\nkind = '{kind}'\n{keys}\n");
        let told = told(dir, &rows);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("pool far: "), "{told:?}");
        told[0].clone()
    }

    #[test]
    fn a_task_that_only_canaries_and_shadows_take_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let row = |name: &str, keys: &str| {
            let url = "url = 'http://127.0.0.1:1'";
            format!("[[pool]]\nname = '{name}'\nkind = 'oip-rest'\n{url}\n{TASKS}\n{keys}\n")
        };
        let compared = row("a", "canary = 0.1") + &row("b", "shadow = 0.5");
        let said = told(dir.path(), &compared);
        assert!(matches!(&said[..], [one] if one.starts_with("task cloud-mask/1: ")), "{said:?}");
        assert_eq!(told(dir.path(), &(compared + &row("c", ""))), Vec::<String>::new());
    }

    const TASKS: &str = "tasks = { 'cloud-mask/1' = 'screen' }";

    #[test]
    fn a_credential_that_is_missing_empty_or_broken_is_told_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let far = format!("url = 'https://far'\n{TASKS}");
        let keyed = format!("{far}\ncredentials = 'key'");
        let said = || one(dir.path(), "openai", &keyed);
        let write = |text: &str| std::fs::write(dir.path().join("key"), text).unwrap();
        assert!(said().contains("key: No such file"), "{}", said());
        write("\n");
        assert!(said().contains("key is empty"), "{}", said());
        write("sk-hidden\nsk-hidden");
        assert!(said().contains("control character") && !said().contains("hidden"), "{}", said());
        let env = format!("{far}\ncredentials_env = 'GROUNDTRACK_NO_SUCH_KEY'");
        let unset = one(dir.path(), "oip-grpc", &env);
        assert!(unset.contains("$GROUNDTRACK_NO_SUCH_KEY is not set"), "{unset}");
        let aws = format!("{TASKS}\naws_region = 'eu-west-1'\ncredentials = 'key'");
        let aws = one(dir.path(), "bedrock-converse", &aws);
        assert!(aws.contains("wants access_key_id") && !aws.contains("hidd"), "{aws}");
        write("\u{feff}sk-good\r\n");
        let rows = format!("[[pool]]\nname = 'far'\nkind = 'openai'\n{keyed}\n");
        assert_eq!(told(dir.path(), &rows), Vec::<String>::new());
    }

    #[test]
    fn packages_that_cannot_be_used_are_told_without_running_a_model() {
        let dir = tempfile::tempdir().unwrap();
        let keys = format!("packages = ['model']\n{TASKS}");
        let said = || one(dir.path(), "embedded", &keys);
        assert!(said().contains("packages: ") && said().contains("model"), "{}", said());
        std::fs::create_dir(dir.path().join("model")).unwrap();
        assert!(said().contains("manifest"), "{}", said());
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../onboard/model/packages/cloud-screen");
        let unsigned = one(dir.path(), "embedded", &format!("packages = ['{own}']\n{TASKS}"));
        assert!(unsigned.contains("cloud-screen"), "{unsigned}");
        let trusted = format!("packages = ['{own}']\ndanger_accept_development_key = true");
        let other = one(dir.path(), "embedded", &format!("{trusted}\n{TASKS}"));
        assert!(other.contains("\"screen\"") && other.contains("only cloud-screen"), "{other}");
        let runtime = one(dir.path(), "embedded", &format!("{trusted}\nruntime = 'none.so'"));
        assert!(runtime.contains("there is no file"), "{runtime}");
        let rows = format!("[[pool]]\nname = 'far'\nkind = 'embedded'\n{trusted}\n");
        assert_eq!(told(dir.path(), &rows), Vec::<String>::new());
    }

    #[test]
    fn tasks_that_nobody_knows_and_pools_without_any_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let none = one(dir.path(), "oip-rest", "url = 'https://far'");
        assert!(none.contains("takes no task"), "{none}");
        let tea = one(dir.path(), "oip-rest", "url = 'https://far'\ntasks = { 'tea/1' = 'tea' }");
        assert!(tea.contains("\"tea/1\" is unknown") && tea.contains("[[task]]"), "{tea}");
        let budget = told(dir.path(), "[routing]\ntask_budgets_day = { 'tea/1' = 1.0 }\n");
        assert_eq!(budget.len(), 1, "{budget:?}");
        assert!(budget[0].starts_with("routing.task_budgets_day: task \"tea/1\" is unknown"));
    }
}
