//! One spacecraft's way up: units for the air to its modem, or to the edge that has one, when they
//! may go.

use super::counter::CounterFile;
use crate::{
    publish::RadioView,
    rf::{
        config::To,
        say::{Mouth, Said},
    },
    shell::{
        clock::StationClock,
        modem::{Line, within},
        rules::Rules,
        sessions::Sessions,
        uplink::Uplink,
    },
};
use codecs::{
    ids::{KeyPrefix, RangeSet, SpacecraftId, StoreEpoch},
    link::uplink::{RADIATE, RADIATE_CHANNEL, UplinkCounter, UplinkKey, object::UplinkObject},
};
use quinn::Connection;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// The channel of what goes through an edge, as it is counted.
pub fn counter(domain: &str, ledger: u64, spacecraft: SpacecraftId) -> UplinkCounter {
    UplinkCounter { domain: domain.into(), ledger, spacecraft, channel: RADIATE_CHANNEL }
}

/// What the way up tells of itself.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Of the view of its radio, the part that is about what was said.
    pub view: RadioView,
}

/// What there is to say.
pub enum News {
    /// Units are durable, or came again although they were.
    Durable(KeyPrefix, RangeSet),
    /// These are lost, and none else.
    Lost(BTreeMap<KeyPrefix, RangeSet>),
    /// Units of this store were heard: it is there.
    Store(StoreEpoch),
}

/// A way up.
pub struct Way {
    /// What says it.
    pub mouth: Mouth,
    /// Who radiates it.
    pub to: To,
    /// Where edges are found.
    pub edges: Edges,
    /// Names what goes through an edge.
    pub counter: UplinkCounter,
    /// Where the bound on counters is.
    pub file: CounterFile,
    /// What there is to say: of durable units at most one message a commit, or a unit that is read
    /// back, and taken as they come.
    pub news: mpsc::UnboundedReceiver<News>,
    /// For its pace, and what is said of the time.
    pub clock: StationClock,
    /// What is to be done on board.
    pub uplink: Arc<Uplink>,
    /// The store that is there, once a unit of it was heard.
    pub store: Option<StoreEpoch>,
    /// What it tells.
    pub told: Arc<Mutex<Told>>,
    /// Units handed to an edge.
    pub handed: u64,
}

/// Where edges are found that are connected.
#[derive(Clone)]
pub struct Edges {
    /// Who is connected.
    pub sessions: Arc<Sessions>,
    /// Whose name is which store's.
    pub rules: watch::Receiver<Arc<Rules>>,
}

/// Who takes units.
enum Carrier {
    Modem(Line),
    Edge(Connection),
}

impl Way {
    /// Goes on until the station stops.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut line = None;
        let mut not_before = Instant::now();
        let mut complaint = None;
        let mut changed = self.uplink.changes();
        loop {
            // While nobody takes what is said, another way up may have it.
            if Instant::now() >= not_before {
                self.take_object().await;
            }
            let again = self.uplink.radio_due(self.counter.spacecraft);
            let again = again.filter(|_| self.mouth.takes_object().is_some());
            let due = self
                .mouth
                .timeout()
                .into_iter()
                .chain(again)
                .min()
                .map(|at| Instant::from(self.clock.instant(at)));
            let mut wake = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            if not_before > Instant::now() {
                wake = not_before;
            }
            tokio::select! {
                biased;
                () = crate::shell::signals::told(&mut stop) => return,
                Some(news) = self.news.recv() => match news {
                    News::Durable(prefix, ranges) => self.mouth.durable(prefix, &ranges),
                    News::Lost(lost) => self.mouth.lost(&lost, self.clock.mono_ns()),
                    News::Store(store) => self.store = Some(store),
                },
                // Looked at above.
                Ok(()) = changed.changed() => {}
                () = sleep_until(wake.max(not_before)) => {
                    let said = tokio::select! {
                        said = self.say(&mut line) => said,
                        () = crate::shell::signals::told(&mut stop) => return,
                    };
                    let error = said.err().map(|error| error.to_string());
                    if let Some(error) = &error {
                        line = None;
                        not_before = Instant::now() + AGAIN;
                        self.give_back();
                        if complaint.as_ref() != Some(error) {
                            tracing::warn!(to = %self.to, error, "nothing is said to the spacecraft");
                        }
                    }
                    complaint.clone_from(&error);
                    self.tell(error);
                }
            }
        }
    }

    /// Gives back what was not said, for whoever is there.
    fn give_back(&mut self) {
        self.mouth.drop_object();
        self.uplink.radio_lost(self.counter.spacecraft);
    }

    /// Takes the next object, where there is one and room for it.
    async fn take_object(&mut self) {
        let (Some(bytes_max), Some(store)) = (self.mouth.takes_object(), self.store) else {
            return;
        };
        if let Some(object) = self.uplink.for_radio(self.counter.spacecraft, store, bytes_max).await
        {
            self.mouth.say_object(object);
        }
    }

    /// Says one thing, where there is one. What a broken line swallows is said again in its turn.
    async fn say(&mut self, line: &mut Option<Carrier>) -> io::Result<()> {
        // Nothing is taken from what is to be said before there is someone to say it.
        if line.is_none() {
            *line = Some(self.reach().await?);
        }
        let Some(said) = self.mouth.poll(self.clock.mono_ns(), self.clock.tai()) else {
            // It is due and was not to be had: looked at again without haste.
            sleep(Duration::from_millis(100)).await;
            return Ok(());
        };
        // Lost or not, it goes again where no record comes.
        if let Some(key) = &said.object {
            self.uplink.said_by_radio(key);
        }
        if let Some(bound) = said.keep {
            let file = self.file.clone();
            let kept = tokio::task::spawn_blocking(move || file.keep(bound));
            kept.await.map_err(io::Error::other)??;
            self.mouth.kept(bound);
        }
        match line {
            Some(Carrier::Modem(line)) => line.send(&said.bytes).await,
            Some(Carrier::Edge(connection)) => {
                let object = self.object(said);
                within(hand(connection, &object)).await
            }
            None => Ok(()),
        }
    }

    async fn reach(&self) -> io::Result<Carrier> {
        match &self.to {
            To::Modem(modem) => Ok(Carrier::Modem(Line::connect(modem).await?)),
            To::Edge(name) => {
                let table = Arc::clone(&self.edges.rules.borrow());
                let origin = table.table.carrier(name, self.counter.spacecraft);
                let connection = origin.and_then(|origin| self.edges.sessions.connection(origin));
                let away = || io::Error::new(io::ErrorKind::NotConnected, "it is not connected");
                Ok(Carrier::Edge(connection.ok_or_else(away)?))
            }
        }
    }

    fn object(&mut self, said: Said) -> UplinkObject {
        let created = self.clock.tai();
        let sequence = self.handed;
        self.handed += 1;
        UplinkObject {
            key: UplinkKey { counter: self.counter.clone(), sequence },
            kind: RADIATE,
            priority: said.priority,
            created,
            expires: Some(created.plus(i64::try_from(said.span_ns).unwrap_or(i64::MAX))),
            body: said.bytes.into(),
        }
    }

    fn tell(&self, error: Option<String>) {
        let counts = self.mouth.counts();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.view.to = Some(self.to.to_string());
        told.view.statements = counts.statements;
        told.view.statement_bytes = counts.bytes;
        told.view.unsaid = counts.unframed + self.mouth.left_out();
        told.view.error = error;
    }
}

/// Hands an edge a unit; done when all of it is there.
async fn hand(connection: &Connection, object: &UplinkObject) -> io::Result<()> {
    let mut stream = connection.open_uni().await?;
    let _ = stream.set_priority(object.priority.into());
    stream.write_chunk(object.encode().into()).await?;
    let _ = stream.finish();
    match stream.stopped().await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(io::Error::other("it does not take the unit")),
        Err(error) => Err(error.into()),
    }
}
