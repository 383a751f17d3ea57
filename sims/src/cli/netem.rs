//! `orbitsim netem`: sets the kernel's netem to a link over time, and takes it away again.

mod kernel;
mod script;

use super::between::{Between, LinkArguments, Passing};
use crate::link::netem::{Direction, Setting, Shaper};
use crate::link::{Geometry, LinkModel};
use crate::relay::SimulatedClock;
use clap::Args;
use codecs::time::Tai;
use serde_json::json;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

/// Before IP on Ethernet, which most interfaces look like.
const ETHERNET_BYTES: usize = 14;

/// Arguments of `netem`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    A geostationary link both ways, between two ends of a virtual cable:\n    \
    orbitsim netem --down veth-craft --up veth-station --rate 10M --delay 300 --loss 0.01\n  \
    What it would do over the next pass of a satellite, as a script:\n    \
    orbitsim netem --down eth1 --link missions/links/x-band.toml \\\n      \
    --elements missions/sky-7/elements.json --pass 2026-11-23T09:00:00Z --script\n\n\
    It needs CAP_NET_ADMIN and a kernel with sch_netem; `orbitsim relay` needs neither.")]
pub struct NetemArguments {
    /// Interface that the satellite's side sends by
    #[arg(long, value_name = "INTERFACE", required_unless_present = "up", value_parser = interface)]
    down: Option<String>,
    /// Interface that the station's side sends by
    #[arg(long, value_name = "INTERFACE", value_parser = interface)]
    up: Option<String>,
    /// Milliseconds from one look at the link to the next
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    step: u64,
    /// Bytes of a packet before IP; asked of the interface by default, 14 in a script
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(..=64))]
    header: Option<u16>,
    /// Print what would be done as a shell script, and touch nothing
    #[arg(long, visible_alias = "dry-run")]
    script: bool,
    #[command(flatten)]
    link: LinkArguments,
}

/// Reads the name of an interface, which goes into commands.
fn interface(text: &str) -> Result<String, String> {
    let plain = |of: char| of.is_ascii_alphanumeric() || "._:@-".contains(of);
    // IFNAMSIZ is 16 with its end.
    if (1..16).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-') {
        return Ok(text.into());
    }
    Err(format!("'{text}' is no name of an interface such as eth1"))
}

/// An interface and the link that it is set to.
struct Shaped<G> {
    interface: String,
    header: usize,
    shaper: Shaper<G>,
}

impl<G: Geometry> Shaped<G> {
    /// `tc`'s arguments for what is to change now.
    fn turn(&mut self, now: Tai) -> anyhow::Result<Vec<Vec<String>>> {
        let setting = self.shaper.turn(now)?;
        Ok(setting.map_or_else(Vec::new, |of| of.commands(&self.interface, self.header)))
    }
}

impl NetemArguments {
    /// Shapes until the pass is over, or SIGINT or SIGTERM.
    ///
    /// # Errors
    /// No such interface, no right to set it, no `tc` or no netem: with what to do.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.link.between()? {
            Between::Steady(down, up) => self.between(Tai(0), None, down, up),
            Between::Pass(Passing { rise, set, down, up }) => {
                self.between(rise, Some(set), down, up)
            }
        }
    }

    fn between<G: Geometry>(
        &self,
        start: Tai,
        end: Option<Tai>,
        down: LinkModel<G>,
        up: LinkModel<G>,
    ) -> anyhow::Result<ExitCode> {
        let mut shaped = Vec::new();
        for (name, link, direction) in
            [(&self.down, down, Direction::Down), (&self.up, up, Direction::Up)]
        {
            let Some(interface) = name.clone() else { continue };
            let header = match (self.header, self.script) {
                (Some(bytes), _) => usize::from(bytes),
                (None, true) => ETHERNET_BYTES,
                (None, false) => kernel::header_bytes(&interface)?,
            };
            let shaper = Shaper::new(link, direction, self.step as i64 * 1_000_000);
            shaped.push(Shaped { interface, header, shaper });
        }
        if self.script {
            say!("{}", script::of(shaped, start, end)?);
            return Ok(ExitCode::SUCCESS);
        }
        shaped.iter().try_for_each(|of| kernel::is_free(&of.interface))?;
        let interfaces: Vec<String> = shaped.iter().map(|of| of.interface.clone()).collect();
        let outcome = super::runtime()?.block_on(shape(shaped, start, end));
        for interface in interfaces {
            // Nothing is there where the first command failed.
            let _ = kernel::tc(&Setting::undo(&interface));
        }
        outcome?;
        say!("{}", json!({ "event": "done" }));
        Ok(ExitCode::SUCCESS)
    }
}

async fn shape<G: Geometry>(
    mut shaped: Vec<Shaped<G>>,
    start: Tai,
    end: Option<Tai>,
) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let clock = SimulatedClock { start, at: Instant::now() };
    let mut ready = false;
    loop {
        let now = clock.now();
        for of in &mut shaped {
            for command in of.turn(now)? {
                kernel::tc(&command)?;
                let at_s = now.since(start) as f64 / 1e9;
                let tc = command.join(" ");
                say!("{}", json!({ "event": "set", "at_s": at_s, "tc": tc }));
            }
        }
        if !std::mem::replace(&mut ready, true) {
            say!("{}", json!({ "event": "ready" }));
        }
        if end.is_some_and(|end| now > end) {
            return Ok(());
        }
        let due = shaped.iter().map(|of| of.shaper.due()).min().unwrap_or(now);
        tokio::select! {
            () = sleep_until(clock.instant_of(due)) => {}
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
    }
}
