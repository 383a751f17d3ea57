//! A file that is being read and decoded, beside the flight's loop.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use anyhow::anyhow;
use tokio::sync::oneshot;

use super::watched::Reader;
use crate::source::taking::Taking;

/// A file that was read.
pub struct Opened {
    /// Its name.
    pub name: String,
    /// Its sidecar's.
    pub sidecar: Option<String>,
    /// What is in it, or why it is not taken.
    pub taking: anyhow::Result<Taking>,
}

/// One that is being read.
pub struct Reading {
    name: String,
    opened: oneshot::Receiver<Opened>,
}

/// Lets the next file be read, however this one ended.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Reading {
    /// Begins to read a file; `busy` is set until it is read.
    pub fn begin(reader: Reader, name: String, busy: &Arc<AtomicBool>) -> io::Result<Self> {
        busy.store(true, Ordering::Release);
        let busy = Busy(busy.clone());
        let (tell, opened) = oneshot::channel();
        let file = name.clone();
        let read = move || {
            let (sidecar, taking) = reader.open(&file);
            drop(busy);
            // Nobody waits where the flight has ended.
            let _ = tell.send(Opened { name: file, sidecar, taking });
        };
        std::thread::Builder::new().name("reader".into()).spawn(read)?;
        Ok(Self { name, opened })
    }

    /// Whether it is read.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Opened> {
        Pin::new(&mut self.opened).poll(context).map(|opened| {
            opened.unwrap_or_else(|_| Opened {
                name: self.name.clone(),
                sidecar: None,
                taking: Err(anyhow!("reading it failed altogether")),
            })
        })
    }
}
