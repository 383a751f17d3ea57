//! `groundstation uplink`: what an operator types.

use super::operators;
use crate::{api::Asked, commands::say, config::Config, shell::daemon::RUNNING};
use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use codecs::link::uplink::{ContentKind, MAX_BODY_BYTES};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

/// Longest answer read.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// How long the daemon may take; an answer comes after a sync.
const PATIENCE: Duration = Duration::from_secs(30);

/// Send things to a spacecraft, and see what became of them
#[derive(Debug, clap::Subcommand)]
pub enum Uplink {
    /// Queue an object: it is sent in this contact or a later one, and executed at most once
    Send(SendArgs),
    /// Show what is queued, sent and answered
    List(ListArgs),
}

/// What `uplink send` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    groundstation uplink send --spacecraft 7 --kind command --text ping --expires 10m\n  \
    groundstation uplink send --spacecraft 7 --kind configuration --file policy.toml\n\n\
    Exit codes: 0 it is queued durably, 1 it is not.")]
pub struct SendArgs {
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    config: PathBuf,
    /// Spacecraft's number in the mission
    #[arg(long)]
    spacecraft: u16,
    /// What it is: command, file, configuration or model
    #[arg(long, value_parser = kind)]
    kind: ContentKind,
    #[command(flatten)]
    content: Content,
    /// Not to be begun after this time, such as 90s, 10m or 2h; without: whenever it arrives
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires: Option<f64>,
    /// Higher goes first, 0 to 255
    #[arg(long, default_value_t = 100)]
    priority: u8,
    /// Operator of the station file whose token is used; by default the first
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// Print the object as one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Content {
    /// File with the content
    #[arg(long)]
    file: Option<PathBuf>,
    /// The content as hexadecimal digits
    #[arg(long, value_name = "DIGITS")]
    hex: Option<String>,
    /// The content as text
    #[arg(long)]
    text: Option<String>,
}

/// What `uplink list` takes.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn kind(text: &str) -> Result<ContentKind, String> {
    let names = ContentKind::ALL.map(|row| row.1).join(", ");
    ContentKind::named(text).ok_or_else(|| format!("one of {names}"))
}

fn seconds(text: &str) -> Result<f64, String> {
    let wrong = || "a number and s, m, h or d, such as 90s or 10m".to_string();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let scale = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3_600.0,
        'd' => 86_400.0,
        _ => return Err(wrong()),
    };
    let number: f64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    if number.is_finite() && number > 0.0 { Ok(number * scale) } else { Err(wrong()) }
}

impl Content {
    fn read(&self) -> anyhow::Result<Vec<u8>> {
        let bytes = match (&self.file, &self.hex, &self.text) {
            (Some(path), _, _) => {
                let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
                let mut bytes = Vec::new();
                file.take(MAX_BODY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
                bytes
            }
            (_, Some(digits), _) => from_hex(digits)?,
            (_, _, text) => text.clone().unwrap_or_default().into_bytes(),
        };
        if bytes.len() > MAX_BODY_BYTES {
            bail!("an object holds at most {MAX_BODY_BYTES} bytes of content; send it in parts");
        }
        Ok(bytes)
    }
}

fn from_hex(digits: &str) -> anyhow::Result<Vec<u8>> {
    let nibble = |(at, digit): (usize, char)| match digit.to_digit(16) {
        Some(value) => Ok(value as u8),
        None => Err(anyhow!(
            "--hex: {digit:?} at place {} is no hexadecimal digit (0 to 9, a to f); \
             for text there is --text",
            at + 1
        )),
    };
    let nibbles = digits.chars().enumerate().map(nibble).collect::<anyhow::Result<Vec<u8>>>()?;
    if nibbles.len() % 2 == 1 {
        bail!("--hex: {} digits; two make a byte, so one is missing", nibbles.len());
    }
    Ok(nibbles.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Runs the command.
pub fn run(command: &Uplink) -> anyhow::Result<ExitCode> {
    match command {
        Uplink::Send(args) => send(args),
        Uplink::List(args) => list(args),
    }
}

fn send(args: &SendArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    let named = |name: &String| config.operators.iter().find(|of| of.name == *name);
    let operator = match &args.operator {
        Some(name) => named(name).with_context(|| format!("no operator {name} in the file"))?,
        None => config.operators.first().context(
            "no one may command here: add an [[operator]] with actions = [\"command\"] to the \
             station file, and `groundstation reload` where the station runs",
        )?,
    };
    let asked = Asked {
        spacecraft: args.spacecraft,
        kind: args.kind.name().into(),
        priority: args.priority,
        expires_s: args.expires,
        body_base64: base64::engine::general_purpose::STANDARD.encode(args.content.read()?),
    };
    let token = operators::token(&config, operator)?;
    let body = serde_json::to_string(&asked)?;
    let row = ask(&config, "POST", &token, &body)?;
    match args.json {
        true => say(&row.to_string()),
        false => say(&format!("queued: {}", row["key"].as_str().unwrap_or_default())),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    let answer = ask(&config, "GET", "", "")?;
    if args.json {
        say(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let objects = answer["objects"].as_array().map_or(&[][..], Vec::as_slice);
    if objects.is_empty() {
        tracing::info!("nothing is queued, and no outcome is kept; `uplink send` queues");
    }
    for row in objects {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_string();
        let outcome = [text("outcome"), text("reason"), text("detail")];
        let outcome: Vec<&str> =
            outcome.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        say(&format!(
            "{} {}/{} {} {} B, {}{}{}",
            row["spacecraft"],
            text("kind"),
            row["sequence"],
            text("created"),
            row["bytes"],
            text("state"),
            if outcome.is_empty() { "" } else { ": " },
            outcome.join(", ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// One request to the running station.
fn ask(config: &Config, method: &str, token: &str, body: &str) -> anyhow::Result<Value> {
    let note = config.path(&config.archive.dir).join(RUNNING);
    let stated = std::fs::read_to_string(&note).ok();
    let running: Option<Value> = stated.and_then(|text| serde_json::from_str(&text).ok());
    let address = running
        .as_ref()
        .and_then(|event| event["http"].as_str())
        .map_or(config.listen.http.to_string(), str::to_string);
    let connected = TcpStream::connect(&address)
        .with_context(|| format!("no station answers on {address}; `groundstation run` starts it"));
    let mut stream = connected?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the answer ends with the connection.
    write!(
        stream,
        "{method} /api/v1/uplink HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("no HTTP answer") };
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    let value: Value = serde_json::from_str(body).context("the answer is no JSON")?;
    if !status.starts_with('2') {
        bail!("{}", value["error"].as_str().unwrap_or(status));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_digits_are_read_or_refused() {
        assert_eq!((seconds("90s"), seconds("1.5h")), (Ok(90.0), Ok(5_400.0)));
        for wrong in ["", "10", "m", "-3s", "0m", "inf s", "ü", "nans"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(from_hex("0aF1").unwrap(), [0x0A, 0xF1]);
        let wrong = |digits| from_hex(digits).unwrap_err().to_string();
        assert!(wrong("0a1").contains("3 digits"), "{}", wrong("0a1"));
        assert!(wrong("0azz").contains("'z' at place 3"), "{}", wrong("0azz"));
    }
}
