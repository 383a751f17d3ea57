//! `orbitsim relay`: the link model between two UDP programs, until stopped.

use super::between::{Between, LinkArguments, Passing};
use crate::link::{Geometry, LinkModel};
use crate::relay::{Counters, Relay, SimulatedClock};
use anyhow::ensure;
use clap::Args;
use codecs::time::Tai;
use serde_json::json;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// Arguments of `relay`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    A geostationary link in front of a station:\n    \
    orbitsim relay --listen 127.0.0.1:9117 --to 127.0.0.1:7117 --rate 10M --delay 300 --loss 0.01\n  \
    The next pass of a satellite as its link budget has it, begun at once:\n    \
    orbitsim relay --listen 127.0.0.1:9117 --to 127.0.0.1:7117 \\\n      \
    --link missions/links/x-band.toml --elements missions/sky-7/elements.json \\\n      \
    --pass 2026-11-23T09:00:00Z")]
pub struct RelayArguments {
    /// Where clients send to
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The server
    #[arg(long, value_name = "ADDRESS")]
    to: SocketAddr,
    #[command(flatten)]
    link: LinkArguments,
}

impl RelayArguments {
    /// Relays until SIGINT or SIGTERM.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        super::runtime()?.block_on(self.relay())
    }

    async fn relay(self) -> anyhow::Result<ExitCode> {
        ensure!(self.listen != self.to, "--listen and --to are the same: it would hear itself");
        match self.link.between()? {
            Between::Steady(down, up) => self.run_between(Tai(0), down, up).await,
            Between::Pass(Passing { rise, down, up, .. }) => self.run_between(rise, down, up).await,
        }
    }

    /// Relays from an instant of simulated time on.
    async fn run_between<G: Geometry>(
        &self,
        start: Tai,
        down: LinkModel<G>,
        up: LinkModel<G>,
    ) -> anyhow::Result<ExitCode> {
        let clock = SimulatedClock { start, at: Instant::now() };
        let relay = Relay::bind(self.listen, self.to).await?;
        let totals = relay.totals();
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        say!("{}", json!({"event": "ready", "listen": relay.address()?.to_string()}));
        tokio::select! {
            ended = relay.run(clock, down, up) => ended?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        let told = |counters: &Counters| {
            let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            json!({
                "delivered": read(&counters.delivered),
                "bytes": read(&counters.bytes),
                "lost": read(&counters.lost),
                "queue_full": read(&counters.queue_full),
                "invisible": read(&counters.invisible),
            })
        };
        let (down, up) = (told(&totals.down), told(&totals.up));
        say!("{}", json!({"event": "done", "down": down, "up": up}));
        Ok(ExitCode::SUCCESS)
    }
}
