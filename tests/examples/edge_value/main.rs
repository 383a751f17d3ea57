//! What the edge is worth: bytes that go down for the same recall, and how soon they are there.
//!
//! ```text
//! recordings ─► segments, blocks, tiles ─┐
//! days.toml ─► day ─► downlink ──────────┴► page ─► docs/edge-value.md    plot ─► docs/*.svg
//! ```
//!
//! `cargo run --release -p tests --example edge_value -- [--write] [--clouds FILE]` flies the
//! onboard pipeline and the committed models over recorded data, and over generated days that stand
//! apart. `--write` puts tables and plot into `docs/`; else the page goes to standard output.
//! `--clouds` names what `tools/judge-clouds` wrote: masks of the recorded scenes by an outside
//! judge. With `--features jpeg-ls`, JPEG-LS is among the codecs of the bent pipe.

mod flight;
mod segments;
mod blocks;
mod tiles;
mod scenes;
mod day;
mod downlink;
mod page;
mod plot;

use anyhow::{Context, bail};
use std::path::PathBuf;

/// Everything that is measured.
struct Measured {
    segments: Option<segments::Segments>,
    blocks: Vec<blocks::Row>,
    scenes: Option<scenes::Recorded>,
    days: Vec<day::Day>,
    plan: day::Plan,
}

fn main() -> anyhow::Result<()> {
    let (mut write, mut clouds) = (false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--write" => write = true,
            "--clouds" => {
                clouds = Some(PathBuf::from(arguments.next().context("--clouds takes a file")?));
            }
            other => bail!("unknown argument {other:?}: --write, --clouds FILE"),
        }
    }
    let models = flight::Models::find()?;
    let scenes = scenes::measure(&models, clouds.as_deref())?;
    let others = scenes.as_ref().map(|of| of.others);
    let plan = day::Plan::read()?;
    let measured = Measured {
        segments: segments::measure(&models)?,
        blocks: blocks::measure(),
        days: day::measure(&plan, &models, others)?,
        scenes,
        plan,
    };
    let page = page::render(&measured);
    if !write {
        println!("{page}");
        return Ok(());
    }
    let docs = tests::tidy::root().join("docs");
    page::put(&docs.join("edge-value.md"), &page)?;
    if let Some(plot) = plot::render(&measured) {
        std::fs::write(docs.join("edge-value.svg"), plot).context("docs/edge-value.svg")?;
    }
    Ok(())
}
