//! What a recording says of itself, as a person and a script read it.

use super::input::Input;
use super::source::{Setup, Source};
use super::tell;
use anyhow::Context as _;
use codecs::frame::Framing;
use codecs::frame::cadu::Symbols;
use codecs::frame::extract::FrameConfig;
use codecs::frame::guess::{Guess, guess};
use codecs::frame::uslp::Fecf;
use codecs::packet::{Extent, Protocol, extent};
use serde::Serialize;
use std::io::IsTerminal as _;
use std::path::PathBuf;

/// How much of a file is looked at.
const SAMPLE_BYTES: usize = 8 << 20;

/// What the file says: the best reading of which frames are known and not contradicted.
pub(super) fn setup(source: &Source, input: &mut Input) -> anyhow::Result<Setup> {
    let sample = input.sample(SAMPLE_BYTES);
    let sample = sample.with_context(|| format!("can't read {}", source.file.display()))?;
    if std::io::stderr().is_terminal() {
        tell(&format!("trying what fits the first {} kB ...", sample.len().div_ceil(1000)));
    }
    let guesses = guess(&sample, source.asm);
    let good = guesses.iter().find(|guess| guess.frames.is_some() && !guess.is_contradicted());
    if let Some(best) = good
        && let Some(frames) = best.frames.clone()
    {
        let (framing, symbols) = (best.framing, best.symbols);
        return Ok(Setup { frames, framing, symbols, guesses });
    }
    let told = guesses.iter().map(Told::new).collect();
    Err(NotGuessed { file: source.file.clone(), why: reason(&sample, &guesses), told }.into())
}

/// Nothing that was tried is worth going on with.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}{}", .file.display(), .told.iter().map(Told::text).collect::<String>())]
pub(super) struct NotGuessed {
    file: PathBuf,
    why: String,
    told: Vec<Told>,
}

impl NotGuessed {
    /// The document of `--json`.
    pub(super) fn document(&self) -> serde_json::Value {
        serde_json::json!({
            "file": self.file.display().to_string(), "error": self.why.trim(), "guesses": self.told,
        })
    }
}

fn reason(sample: &[u8], guesses: &[Guess]) -> String {
    if sample.is_empty() {
        return "the file is empty".to_owned();
    }
    if let Some(packets) = packets_end_to_end(sample) {
        return format!(
            "these are space packets end to end, {packets} of them, without frames: there is \
             nothing to take apart"
        );
    }
    if guesses.is_empty() {
        return "nothing fits. No known marker stands at equal distances (name another one with \
                --asm), and no length of TM, AOS, USLP or TC frames from the first byte on makes \
                counts that follow"
            .to_owned();
    }
    if guesses.iter().any(|guess| guess.frames.is_some()) {
        return "frames fit, but what they carry contradicts their first header pointers: say \
                --frame (and --service) if it is so\n"
            .to_owned();
    }
    "a code fits, but no frames of a known kind:\n".to_owned()
}

/// How many space packets the sample is, if it is nothing else.
fn packets_end_to_end(sample: &[u8]) -> Option<usize> {
    let (mut rest, mut count) = (sample, 0);
    while let Extent::Known { protocol: Protocol::Space, length } = extent(rest) {
        // The last packet of a sample may be cut.
        rest = rest.get(length..).unwrap_or(&[]);
        count += 1;
    }
    (rest.is_empty() && count > 2).then_some(count)
}

/// One reading in the document of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// What to give `inspect` or `decode` so that it reads the file like that.
    arguments: String,
    frame: Option<String>,
    coding: String,
    marker: Option<String>,
    symbols: String,
    evidence: Vec<Witness>,
}

#[derive(Debug, Serialize)]
struct Witness {
    what: &'static str,
    fits: u64,
    of: u64,
}

impl Told {
    pub(super) fn new(guess: &Guess) -> Self {
        let witness =
            guess.evidence.iter().map(|one| Witness { what: one.what, fits: one.fits, of: one.of });
        Self {
            arguments: arguments(guess),
            frame: guess.frames.as_ref().map(|frames| frames.format().to_string()),
            coding: match guess.framing {
                Framing::Bare => "none".to_owned(),
                Framing::Cadus { coding, .. } => coding.to_string(),
                Framing::Cltus(coding) => coding.to_string(),
            },
            marker: match guess.framing {
                Framing::Cadus { marker, .. } => Some(marker.to_string()),
                Framing::Bare | Framing::Cltus(_) => None,
            },
            symbols: guess.symbols.to_string(),
            evidence: witness.collect(),
        }
    }

    /// The reading as lines of a table.
    pub(super) fn text(&self) -> String {
        let lines = self
            .evidence
            .iter()
            .map(|witness| format!("  {:<48} {} of {}\n", witness.what, witness.fits, witness.of));
        format!("guess            {}\n{}", self.arguments, lines.collect::<String>())
    }
}

fn arguments(guess: &Guess) -> String {
    let mut words = Vec::new();
    if let Some(frames) = &guess.frames {
        words.push(format!("--frame {}", frames.format()));
        match frames {
            FrameConfig::Aos(config) => {
                if config.insert_zone > 0 {
                    words.push(format!("--insert-zone {}", config.insert_zone));
                }
                let flags = [
                    ("--header-error-control", config.header_error_control),
                    ("--ocf", config.ocf),
                    ("--wide-scid", config.wide_scid),
                    ("--fecf", config.fecf),
                ];
                let set = flags.iter().filter(|(_, set)| *set);
                words.extend(set.map(|(flag, _)| (*flag).to_owned()));
            }
            FrameConfig::Tm(config) if config.fecf => words.push("--fecf".to_owned()),
            FrameConfig::Tm(_) => {}
            FrameConfig::Uslp(config) => {
                if config.insert_zone > 0 {
                    words.push(format!("--insert-zone {}", config.insert_zone));
                }
                match config.fecf {
                    Fecf::None => {}
                    Fecf::Crc16 => words.push("--fecf".to_owned()),
                    Fecf::Crc32 => words.push("--fecf=32".to_owned()),
                }
            }
            FrameConfig::Tc(config) => {
                if !config.segments {
                    words.push("--no-segments".to_owned());
                }
                if config.fecf {
                    words.push("--fecf".to_owned());
                }
            }
        }
    }
    match guess.framing {
        Framing::Bare => {}
        Framing::Cadus { marker, coding } => {
            words.push(format!("--coding {coding}"));
            if marker != coding.marker() {
                words.push(format!("--asm {marker}"));
            }
        }
        Framing::Cltus(coding) => words.push(format!("--coding {coding}")),
    }
    if guess.symbols != Symbols::Packed {
        words.push(format!("--symbols {}", guess.symbols));
    }
    words.join(" ")
}
