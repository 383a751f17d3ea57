//! One spacecraft's way up: units for the air to its modem, when they may go.

use super::counter::CounterFile;
use crate::{
    publish::RadioView,
    rf::{config::Modem, say::Mouth},
    shell::clock::StationClock,
};
use codecs::ids::{KeyPrefix, RangeSet};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket, lookup_host},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

/// How long a modem may take to be reached, or to take a unit.
const PATIENCE: Duration = Duration::from_secs(5);
/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What the way up tells of itself.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Of the view of its radio, the part that is about what was said.
    pub view: RadioView,
}

/// A way up.
pub struct Way {
    /// What says it.
    pub mouth: Mouth,
    /// Who radiates it.
    pub to: Modem,
    /// Where the bound on counters is.
    pub file: CounterFile,
    /// Units that are durable: at most one message a commit, or a unit that is read back, and
    /// taken as they come.
    pub durable: mpsc::UnboundedReceiver<(KeyPrefix, RangeSet)>,
    /// For its pace, and what is said of the time.
    pub clock: StationClock,
    /// What it tells.
    pub told: Arc<Mutex<Told>>,
}

enum Line {
    Datagrams(UdpSocket),
    Stream(TcpStream),
}

impl Way {
    /// Goes on until the station stops.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut line = None;
        let mut not_before = Instant::now();
        loop {
            let due = self.mouth.timeout().map(|at| Instant::from(self.clock.instant(at)));
            let wake = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                biased;
                () = crate::shell::signals::told(&mut stop) => return,
                Some((prefix, ranges)) = self.durable.recv() => self.mouth.durable(prefix, &ranges),
                () = sleep_until(wake.max(not_before)) => {
                    let said = tokio::select! {
                        said = self.say(&mut line) => said,
                        () = crate::shell::signals::told(&mut stop) => return,
                    };
                    if let Err(error) = &said {
                        tracing::warn!(to = %self.to, %error, "nothing is said to the spacecraft");
                        line = None;
                        not_before = Instant::now() + AGAIN;
                    }
                    self.tell(said.err());
                }
            }
        }
    }

    /// Says one thing, where there is one. What a broken line swallows is said again in its turn.
    async fn say(&mut self, line: &mut Option<Line>) -> io::Result<()> {
        // Nothing is taken from what is to be said before there is someone to say it.
        if line.is_none() {
            *line = Some(within(connect(&self.to)).await?);
        }
        let Some(said) = self.mouth.poll(self.clock.mono_ns(), self.clock.tai()) else {
            // It is due and was not to be had: looked at again without haste.
            sleep(Duration::from_millis(100)).await;
            return Ok(());
        };
        if let Some(bound) = said.keep {
            let file = self.file.clone();
            let kept = tokio::task::spawn_blocking(move || file.keep(bound));
            kept.await.map_err(io::Error::other)??;
            self.mouth.kept(bound);
        }
        match line {
            Some(Line::Datagrams(socket)) => within(socket.send(&said.bytes)).await.map(|_| ()),
            Some(Line::Stream(stream)) => within(stream.write_all(&said.bytes)).await,
            None => Ok(()),
        }
    }

    fn tell(&self, error: Option<io::Error>) {
        let counts = self.mouth.counts();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.view.to = Some(self.to.to_string());
        told.view.statements = counts.statements;
        told.view.statement_bytes = counts.bytes;
        told.view.unsaid = counts.unframed + self.mouth.left_out();
        told.view.error = error.map(|error| error.to_string());
    }
}

async fn within<T>(act: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let slow = |_| io::Error::new(io::ErrorKind::TimedOut, "the modem does not answer");
    timeout(PATIENCE, act).await.map_err(slow)?
}

async fn connect(to: &Modem) -> io::Result<Line> {
    match to {
        Modem::Tcp(host) => {
            let stream = TcpStream::connect(host).await?;
            stream.set_nodelay(true)?;
            Ok(Line::Stream(stream))
        }
        Modem::Udp(host) => {
            let nowhere = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            let at: SocketAddr = lookup_host(host).await?.next().ok_or_else(nowhere)?;
            let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(at).await?;
            Ok(Line::Datagrams(socket))
        }
    }
}
