//! The operator's hands: what is typed during the pass, with the station's own commands.

use super::feed::Stop;
use super::files::Layout;
use super::process::{self, Programs};
use crate::demo::orders::{Operator, Order};
use crate::demo::summary::Orders;
use anyhow::{Context, ensure};
use codecs::ids::RangeSet;
use serde_json::Value;
use std::time::Duration;

/// Between two looks at what the station lists.
const LOOK: Duration = Duration::from_secs(2);

/// Someone who types.
pub struct Desk {
    pub programs: Programs,
    pub layout: Layout,
    /// Nothing is ordered any more.
    pub closing: Stop,
    pub operator: Operator,
}

impl Desk {
    /// Orders until told to stop; whoever typed then knows what was asked for.
    pub async fn run(mut self) -> Self {
        while !self.closing.stopped() {
            tokio::time::sleep(LOOK).await;
            // A daemon that was killed answers again soon.
            if let Err(error) = self.look().await {
                tracing::debug!("no orders for now: {error:#}");
            }
        }
        self
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let gaps = self.ask("gaps", &["gaps"]).await?;
        for order in self.operator.next(&gaps) {
            let row = self.send(&order).await?;
            let sequence = row["sequence"].as_u64().context("the station gave no number")?;
            self.operator.queued(&order, sequence);
            eprintln!("Ordered: {}", order.text);
        }
        Ok(())
    }

    async fn send(&self, order: &Order) -> anyhow::Result<Value> {
        let command = ["uplink", "send", "--spacecraft", "7", "--kind", "command", "--text"];
        self.ask("uplink", &[&command[..], &[&order.text]].concat()).await
    }

    /// What came of it all, and the units that the spacecraft says it will send.
    pub async fn outcome(&self) -> anyhow::Result<(Orders, RangeSet)> {
        Ok(self.operator.outcome(&self.ask("uplink", &["uplink", "list"]).await?))
    }

    async fn ask(&self, name: &str, command: &[&str]) -> anyhow::Result<Value> {
        let config = self.layout.station_file().display().to_string();
        let arguments = [command, &["--json", "--config", &config]].concat();
        let log = self.layout.log(name);
        let what = format!("groundstation {name}");
        let program = &self.programs.groundstation;
        let (text, _) = process::finish(&what, program, &arguments, &log).await?;
        ensure!(!text.is_empty(), "{what} said nothing; see {}", log.display());
        Ok(serde_json::from_str(&text)?)
    }
}
