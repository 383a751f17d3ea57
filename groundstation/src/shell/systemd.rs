//! What the service manager is told: ready, reloading, stopping, and a sign of life while there is
//! progress (the protocol of `sd_notify(3)`, which other managers speak as well).

use std::{
    convert::Infallible,
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
    time::Duration,
};

/// The service manager, if one listens.
#[derive(Debug)]
pub struct Manager {
    to: Option<(UnixDatagram, SocketAddr)>,
}

impl Manager {
    /// The one that started this process.
    pub fn from_env() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self { to: None } };
        Self::at(&name).unwrap_or_else(|error| {
            tracing::warn!(%error, ?name, "NOTIFY_SOCKET can't be used; no one is told");
            Self { to: None }
        })
    }

    /// One that listens on a path, or on an abstract name after an `@`.
    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold up the network.
        socket.set_nonblocking(true)?;
        Ok(Self { to: Some((socket, address)) })
    }

    /// Units are taken from now on.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// A reload begins; [`Manager::ready`] ends it.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The stop begins.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=saying goodbye, sealing the archive");
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.to else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::debug!(%error, state, "the service manager was not told");
        }
    }

    /// Tells for ever that the daemon lives, each time only after `ask` was answered: the network's
    /// thread asks the archive's, and if either hangs, the manager restarts both. Interpretation is
    /// not asked: ingest does not wait for it. Never returns where no sign of life is wanted.
    pub async fn live(&self, within: Option<Duration>, ask: impl AsyncFn() -> bool) -> Infallible {
        let Some(within) = within else { return std::future::pending().await };
        loop {
            // Half, so that one late answer is no death.
            tokio::time::sleep(within / 2).await;
            if !ask().await {
                // The daemon ends.
                return std::future::pending().await;
            }
            self.tell("WATCHDOG=1");
        }
    }
}

/// How often the manager wants a sign of life from this process, if at all.
pub fn watchdog() -> Option<Duration> {
    wanted(env::var_os)
}

fn wanted(env: impl Fn(&'static str) -> Option<std::ffi::OsString>) -> Option<Duration> {
    let number = |name| env(name)?.to_str()?.parse::<u64>().ok();
    let meant =
        env("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(process::id().into());
    number("WATCHDOG_USEC").filter(|micros| meant && *micros > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(by: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = by.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_manager_on_a_path_and_one_with_an_abstract_name_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let on_path = UnixDatagram::bind(&path).unwrap();
        Manager::at(path.as_os_str()).unwrap().ready("open");
        assert_eq!(heard(&on_path), "READY=1\nSTATUS=open");

        let name = format!("groundtrack-notify-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let hidden = UnixDatagram::bind_addr(&address).unwrap();
        let manager = Manager::at(OsStr::new(&format!("@{name}"))).unwrap();
        manager.reloading();
        let told = heard(&hidden);
        let (state, at) = told.split_once("\nMONOTONIC_USEC=").unwrap();
        assert!(state == "RELOADING=1" && at.parse::<u64>().unwrap() > 0, "{told}");
        manager.stopping();
        assert!(heard(&hidden).starts_with("STOPPING=1\n"));
    }

    #[test]
    fn a_watchdog_meant_for_another_process_is_none_of_ours() {
        let with = |pid: Option<String>| {
            wanted(|name| match name {
                "WATCHDOG_USEC" => Some("2000000".into()),
                "WATCHDOG_PID" => pid.clone().map(Into::into),
                _ => None,
            })
        };
        let two = Some(Duration::from_secs(2));
        assert_eq!(with(None), two);
        assert_eq!(with(Some(process::id().to_string())), two);
        assert_eq!(with(Some("1".into())), None);
        assert_eq!(wanted(|_| None), None);
    }

    #[tokio::test]
    async fn a_thread_that_does_not_answer_keeps_the_watchdog_hungry() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::at(path.as_os_str()).unwrap();
        let answers = tokio::sync::Semaphore::new(1);
        let (hung, hangs) = tokio::sync::oneshot::channel();
        let hung = std::cell::Cell::new(Some(hung));
        let ask = async || {
            if answers.available_permits() == 0 {
                hung.take().map(|hung| hung.send(()));
            }
            answers.acquire().await.unwrap().forget();
            true
        };
        tokio::select! {
            _ = manager.live(Some(Duration::from_millis(1)), ask) => unreachable!(),
            _ = hangs => {}
        }
        assert_eq!(heard(&listener), "WATCHDOG=1");
        listener.set_nonblocking(true).unwrap();
        assert!(listener.recv(&mut [0; 16]).is_err(), "petted without an answer");
    }
}
