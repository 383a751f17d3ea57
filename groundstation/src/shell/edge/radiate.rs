//! The way from the link to the modem that radiates.

use crate::{
    edge::radiate::{Radiator, UplinkTally},
    rf::config::Modem,
    shell::modem::Line,
};
use codecs::link::uplink::object::UplinkObject;
use codecs_quic::Monotonic;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::Notify, task::JoinHandle};

/// What the link hands units to; the task behind it ends with it.
pub struct Uplink {
    line: Arc<Waiting>,
    clock: Monotonic,
    task: JoinHandle<()>,
}

struct Waiting {
    radiator: Mutex<Radiator>,
    came: Notify,
}

impl Waiting {
    fn radiator(&self) -> MutexGuard<'_, Radiator> {
        self.radiator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uplink {
    /// Starts the task; the modem is reached with the first unit.
    pub fn start(to: Modem, rate_bps: u64, clock: Monotonic) -> Self {
        let line = Arc::new(Waiting {
            radiator: Mutex::new(Radiator::new(rate_bps)),
            came: Notify::new(),
        });
        let task = tokio::spawn(radiate(to, Arc::clone(&line), clock));
        Self { line, clock, task }
    }

    /// Takes an object; whether it is one for the air.
    pub fn take(&self, object: &UplinkObject) -> bool {
        let taken = self.line.radiator().push(object, self.clock.now_ns());
        self.line.came.notify_one();
        taken
    }

    /// What became of units so far.
    pub fn tally(&self) -> UplinkTally {
        self.line.radiator().tally()
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn radiate(to: Modem, line: Arc<Waiting>, clock: Monotonic) {
    let (mut modem, mut complaint) = (None, None);
    loop {
        let (unit, due) = {
            let mut radiator = line.radiator();
            (radiator.poll(clock.now_ns()), radiator.timeout())
        };
        let Some(unit) = unit else {
            tokio::select! {
                () = line.came.notified() => {}
                () = super::until(clock, due) => {}
            }
            continue;
        };
        let handed = hand(&mut modem, &to, &unit).await;
        line.radiator().handed(unit.len(), handed.is_ok());
        let error = handed.err().map(|error| error.to_string());
        if let Some(error) = &error {
            modem = None;
            if complaint.as_ref() != Some(error) {
                tracing::warn!(%to, error, "units for the air are lost at the modem");
            }
        }
        complaint = error;
    }
}

async fn hand(modem: &mut Option<Line>, to: &Modem, unit: &[u8]) -> io::Result<()> {
    match modem {
        Some(line) => line.send(unit).await,
        None => modem.insert(Line::connect(to).await?).send(unit).await,
    }
}
