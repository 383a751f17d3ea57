//! Looks names and endpoints up from time to time, and makes pools of what is there.

use super::pools;
use crate::{
    config::{Config, PoolConfig},
    pool::{Pool, kubernetes::Service, task::Contracts},
    router::{
        Router,
        discovery::{Change, Discovery, DiscoveryView, Source},
    },
};
use anyhow::Context as _;
use codecs::time::Tai;
use futures_util::future::BoxFuture;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet};

/// Time for one look-up.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Look-ups that wait to be heard.
const HEARD_MAX: usize = 16;

/// What a look-up gave.
pub type Found = Result<BTreeSet<SocketAddr>, String>;

/// Whoever can be asked what a name stands for.
pub trait Look: Send + Sync {
    /// Every address that it stands for now.
    fn look(&self) -> BoxFuture<'_, Found>;
}

/// Tables of the station file that stand for pools to be found.
pub struct Finders {
    config: Config,
    contracts: Contracts,
    finders: Vec<Finder>,
    heard: mpsc::Receiver<(usize, Found)>,
    /// End with this.
    _looking: JoinSet<()>,
}

struct Finder {
    table: PoolConfig,
    source: Source,
    core: Discovery,
    /// Numbers that the router gave.
    numbers: BTreeMap<SocketAddr, usize>,
}

/// This machine's resolver.
struct Resolver {
    name: String,
    port: u16,
}

impl Look for Resolver {
    fn look(&self) -> BoxFuture<'_, Found> {
        Box::pin(async {
            let found = tokio::net::lookup_host((self.name.as_str(), self.port)).await;
            found.map(Iterator::collect).map_err(|error| error.to_string())
        })
    }
}

impl Look for Service {
    fn look(&self) -> BoxFuture<'_, Found> {
        Box::pin(async { Service::look(self).await.map_err(|error| error.to_string()) })
    }
}

/// Who is asked about a source.
pub fn looker(source: &Source) -> Result<Arc<dyn Look>, String> {
    Ok(match source.clone() {
        Source::Dns { name, port } => Arc::new(Resolver { name, port }),
        Source::Kubernetes { namespace, service, port } => {
            Arc::new(Service::in_cluster(&namespace, &service, port)?)
        }
    })
}

impl Finders {
    /// Begins to look, by whom `looker` gives for each source.
    pub fn start(
        config: &Config,
        contracts: &Contracts,
        looker: impl Fn(&Source) -> Result<Arc<dyn Look>, String>,
    ) -> anyhow::Result<Self> {
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        let (mut finders, mut looking) = (Vec::new(), JoinSet::new());
        for table in &config.pools {
            let Some(source) = table.source() else { continue };
            let named = || format!("pool {}: discover", table.name);
            let source = source.map_err(anyhow::Error::msg).with_context(named)?;
            let look = looker(&source).map_err(anyhow::Error::msg).with_context(named)?;
            let period = Duration::from_secs(table.discover_every_s());
            looking.spawn(keep_looking(look, finders.len(), period, tell.clone()));
            let core = Discovery::new(&table.name, &source);
            finders.push(Finder { table: table.clone(), source, core, numbers: BTreeMap::new() });
        }
        let (config, contracts) = (config.clone(), contracts.clone());
        Ok(Self { config, contracts, finders, heard, _looking: looking })
    }

    /// The next look-up; never, where nothing is looked for.
    pub async fn heard(&mut self) -> (usize, Found) {
        match self.heard.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }

    /// Brings a look-up to the router: pools join, and leave once they are gone.
    pub fn apply(
        &mut self,
        (number, found): (usize, Found),
        core: &mut Router,
        pools: &mut Vec<Option<Arc<dyn Pool>>>,
        now: Tai,
    ) {
        let Some(finder) = self.finders.get_mut(number) else { return };
        let name = finder.table.name.clone();
        if let Err(why) = &found {
            tracing::warn!("pool {name}: {}: {why}; what was known goes on", finder.source);
        }
        for change in finder.core.found(found) {
            match change {
                Change::Up(address) => {
                    match finder.join((&self.config, &self.contracts), address, core, now) {
                        Ok((at, pool)) => {
                            tracing::info!("pool {}: came up", pool.describe().name);
                            if pools.len() <= at {
                                pools.resize_with(at + 1, || None);
                            }
                            if let Some(slot) = pools.get_mut(at) {
                                *slot = Some(pool);
                            }
                        }
                        Err(why) => {
                            tracing::warn!("pool {name} at {address}: {why}");
                            finder.core.refuse(address, &why);
                        }
                    }
                }
                Change::Gone(address) => {
                    tracing::info!("pool {name}@{address}: went");
                    let Some(at) = finder.numbers.remove(&address) else { continue };
                    core.leave(at, now);
                    // Questions on their way hold it until they are answered.
                    if let Some(slot) = pools.get_mut(at) {
                        *slot = None;
                    }
                }
            }
        }
    }

    /// How all of them stand.
    pub fn views(&self) -> Vec<DiscoveryView> {
        self.finders.iter().map(|finder| finder.core.view()).collect()
    }
}

impl Finder {
    fn join(
        &mut self,
        (config, contracts): (&Config, &Contracts),
        address: SocketAddr,
        core: &mut Router,
        now: Tai,
    ) -> Result<(usize, Arc<dyn Pool>), String> {
        let table = self.table.found(&self.source, address);
        let pool = pools::open_at(config, &table, Some(address))?;
        let pool = pools::worded(&table, pool, contracts);
        let info = pool.describe();
        let at = core.join(table.spec(info.kind, info.tasks), now);
        let at = at.ok_or_else(|| "there are as many pools as a router knows".to_owned())?;
        self.numbers.insert(address, at);
        Ok((at, pool))
    }
}

async fn keep_looking(
    look: Arc<dyn Look>,
    number: usize,
    period: Duration,
    tell: mpsc::Sender<(usize, Found)>,
) {
    let mut turns = tokio::time::interval(period);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let found = tokio::time::timeout(LOOK_TIMEOUT, look.look()).await;
        let found = found.unwrap_or_else(|_| Err(format!("no answer in {LOOK_TIMEOUT:?}")));
        if tell.send((number, found)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pool::task::Contracts,
        router::{Action, spec::Settings},
    };

    /// A resolver that answers always the same.
    struct Stub(Found);

    impl Look for Stub {
        fn look(&self) -> BoxFuture<'_, Found> {
            Box::pin(std::future::ready(self.0.clone()))
        }
    }

    fn of(addresses: &[&str]) -> Found {
        Ok(addresses.iter().map(|address| address.parse().unwrap()).collect())
    }

    fn config(dir: &std::path::Path, more: &str) -> Config {
        let file = dir.join("station.toml");
        let text = format!(
            "mission = 'm'\n[station]\nname = 'T'\nlatitude_deg = 1.0\nlongitude_deg = 1.0\n\
             [identity]\nauthority = 'a'\ncertificate = 's'\nkey = 'k'\n[[pool]]\n\
             name = 'gpu'\nkind = 'oip-grpc'\nregion = 'eu'\nbudget_day = 2.0\n\
             tasks = {{ 'cloud-mask/1' = 'screen' }}\n{more}\n"
        );
        std::fs::write(&file, text).unwrap();
        Config::load(&file).unwrap()
    }

    #[tokio::test]
    async fn what_a_resolver_says_becomes_pools_with_the_tables_settings() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "discover = 'dns:pools:8001'\ndanger_http = true");
        let stub: Arc<dyn Look> = Arc::new(Stub(of(&["10.0.0.1:8001", "[fd00::2]:8001"])));
        let mut finders =
            Finders::start(&config, &Contracts::with(&[]), |_| Ok(Arc::clone(&stub))).unwrap();
        let answers = [
            finders.heard().await.1,
            Err("no such host".to_owned()),
            of(&["10.0.0.1:8001"]),
            of(&["10.0.0.1:8001"]),
        ];
        let settings = Settings { contracts: Contracts::default(), ..Settings::default() };
        let mut core = Router::new(vec![], settings, [], Tai(0));
        let mut pools = Vec::new();
        let mut known = Vec::new();
        for found in answers {
            finders.apply((0, found), &mut core, &mut pools, Tai(0));
            let of = core.view(Tai(0)).pools;
            assert!(of.iter().all(|pool| pool.region == "eu" && pool.today.budget.is_some()));
            known.push(of.into_iter().map(|pool| pool.name).collect::<Vec<_>>());
        }
        let both = ["gpu@10.0.0.1:8001", "gpu@[fd00::2]:8001"].map(str::to_owned).to_vec();
        let one = both[..1].to_vec();
        assert_eq!(known, [both.clone(), both.clone(), both, one]);
        assert_eq!(pools.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
        let view = &finders.views()[0];
        assert_eq!((view.lookups, view.failures, view.joined, view.left), (3, 1, 2, 1));
        let asked: Vec<_> = std::iter::from_fn(|| core.poll(Tai(0))).collect();
        assert!(matches!(&asked[..], [Action::Describe { pool: 0, .. }]), "{asked:?}");
    }

    #[test]
    fn a_table_that_could_never_find_a_pool_is_refused_when_the_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |more: &str| {
            let config = config(dir.path(), more);
            format!("{:#}", pools::check(&config).unwrap_err())
        };
        assert!(refused("discover = 'dns:pools:8001'").contains("danger_http"));
        let missing = refused("discover = 'dns:a:1'\nurl = 'https://a'\nca = 'none.pem'");
        assert!(missing.contains("none.pem"), "{missing}");
    }

    #[tokio::test]
    async fn this_machines_resolver_knows_this_machine() {
        let source: Source = "dns:localhost:8001".parse().unwrap();
        let found = looker(&source).unwrap().look().await.unwrap();
        assert!(found.iter().all(|found| found.ip().is_loopback() && found.port() == 8001));
        assert!(!found.is_empty());
    }
}
