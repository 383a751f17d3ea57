//! What a user says on the command line, over what the file says.

use crate::edge::config::{Carries, EdgeConfig, InputConfig};
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Take frames at the antenna, keep them, and forward them with custody
///
/// `groundstation enroll edge` makes its file and identity. Everything heard is numbered and synced
/// to a spool on this disk before it is sent, and stays there until the station's receipt.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    groundstation edge --config edge/edge.toml --from udp:0.0.0.0:5000 --carries cadus \
    --frame aos:892 --coding rs:223:i4:dual,randomized --check\n  \
    groundstation edge --config edge/edge.toml --from udp:0.0.0.0:5000 --carries cadus \
    --frame aos:892 --coding rs:223:i4:dual,randomized\n  \
    groundstation edge --config edge/edge.toml --from kiss:127.0.0.1:8001 --carries ax25\n  \
    groundstation edge --config edge/edge.toml --from file:pass.cadu --carries cadus \
    --frame tm:1115 --coding rs:223:i5:dual --received 2026-11-20T10:00:00Z --rate 2M \
    --until-done\n\n\
    Exit codes: 0 done, 1 failed, or --until-done with units that the station refused \
    or a file that gave none, 2 wrong usage.\nSIGTERM or SIGINT stop it cleanly; the spool survives any other end.")]
pub struct EdgeArgs {
    /// The edge's file
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    pub config: PathBuf,
    /// Check the file and what it names, and stop
    #[arg(long)]
    pub check: bool,
    /// One JSON line on stdout when it listens and one when it has stopped
    #[arg(long)]
    pub json: bool,
    /// Stop once every input has ended and every unit is receipted. A first SIGTERM then closes
    /// the sockets and reads files to their end, a second stops at once
    #[arg(long)]
    pub until_done: bool,
    /// Read files once more that were read to their end before; their units get new numbers
    #[arg(long)]
    pub again: bool,
    /// Where the station listens, instead of what the file says
    #[arg(long, value_name = "HOST:PORT")]
    pub station: Option<String>,
    /// Most bytes of the spool, instead of what the file says
    #[arg(long, value_name = "BYTES")]
    pub spool_bytes: Option<u64>,
    /// Another input: udp:ADDRESS, tcp:HOST:PORT, tcp-listen:ADDRESS, kiss:HOST:PORT,
    /// kiss-listen:ADDRESS, file:PATH, or - for standard input
    #[arg(long, value_name = "PLACE")]
    pub from: Option<String>,
    /// What that input carries
    #[arg(long, value_enum, requires = "from")]
    pub carries: Option<Carries>,
    /// Its frames: aos:LENGTH, tm:LENGTH, uslp:LENGTH or uslp
    #[arg(long, value_name = "KIND:LENGTH", requires = "from")]
    pub frame: Option<String>,
    /// What was done to the frames, as `groundstation inspect --coding` takes it
    #[arg(long, value_name = "CODING", requires = "from")]
    pub coding: Option<String>,
    /// The marker before each unit, in hexadecimal
    #[arg(long, value_name = "MARKER", requires = "from")]
    pub asm: Option<String>,
    /// How symbols lie in its bytes: packed, bits or soft
    #[arg(long, value_name = "FORM", requires = "from")]
    pub symbols: Option<String>,
    /// Whose receptions are that don't say so believably
    #[arg(long, value_name = "ID", requires = "from")]
    pub spacecraft: Option<u16>,
    /// Stream number of packets and AX.25 frames
    #[arg(long, value_name = "NUMBER", requires = "from")]
    pub stream: Option<u32>,
    /// When the first bit of a recording came, or `file` where it was last written as the last one
    /// came; the time of reading where absent
    #[arg(long, value_name = "TIME", requires = "from")]
    pub received: Option<String>,
    /// Bit/s at which it came, such as 9600 or 2M
    #[arg(long, value_name = "BIT/S", requires = "from")]
    pub rate: Option<String>,
    /// The mission's number of the antenna
    #[arg(long, value_name = "NUMBER", requires = "from")]
    pub antenna: Option<u16>,
}

impl EdgeArgs {
    /// The file, for messages.
    pub fn file(&self) -> String {
        self.config.display().to_string()
    }

    /// What is wrong with the file.
    pub fn wrong(&self, what: &str) -> anyhow::Error {
        anyhow::anyhow!("{}: {what}", self.file())
    }

    /// Reads the file and lays the options over it.
    pub fn load(&self) -> anyhow::Result<EdgeConfig> {
        let text = std::fs::read_to_string(&self.config).with_context(|| {
            format!("{}: can't be read; `groundstation enroll edge` makes one", self.file())
        })?;
        let base = self.config.parent().unwrap_or(Path::new(""));
        let mut config = EdgeConfig::parse(&self.file(), &text, base)?;
        if let Some(address) = &self.station {
            config.station.address.clone_from(address);
        }
        if let Some(bytes) = self.spool_bytes {
            config.spool.spool_bytes = bytes;
        }
        config.inputs.extend(self.input()?);
        config.check().map_err(|wrong| self.wrong(&wrong))?;
        Ok(config)
    }

    fn input(&self) -> anyhow::Result<Option<InputConfig>> {
        let Some(from) = &self.from else { return Ok(None) };
        // Paths of the file are relative to it; paths typed are relative to where one is.
        let from = match from.strip_prefix("file:") {
            Some(path) => {
                let path = std::path::absolute(path).with_context(|| from.clone())?;
                format!("file:{}", path.display())
            }
            None => from.clone(),
        };
        Ok(Some(InputConfig {
            name: None,
            from,
            carries: self.carries.unwrap_or_default(),
            frame: self.frame.clone(),
            coding: self.coding.clone(),
            asm: self.asm.clone(),
            symbols: self.symbols.clone(),
            spacecraft: self.spacecraft,
            stream: self.stream.unwrap_or_default(),
            received: self.received.clone(),
            rate: self.rate.clone(),
            antenna: self.antenna,
            priority: None,
        }))
    }
}
