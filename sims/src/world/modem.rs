//! What modems do at both ends of a radio link: which frames, in which code, how fast.
//!
//! The code of blocks is undone by the edge itself, symbol by symbol. An inner code and a turbo
//! code are the demodulator's, which hands on what it decided: of these a world knows from the
//! budget's waterfall which frames they lose.

use codecs::frame::{
    Format, Kind,
    cadu::{BlockCode, Coding},
};

use crate::link::control::Control;

/// Spacecraft identifier in frames, up and down: each island has one spacecraft.
pub const SCID: u16 = 71;
/// Domain of every station.
pub const DOMAIN: &str = "world";
/// Frames and code where neither scenario nor budget says them.
const FRAME: &str = "aos:1115";
const CODING: &str = "rs:223:i5:dual,randomized:131071";

/// Frames and what is done to them, as flight software and edge have it in their files.
#[derive(Clone, Debug, PartialEq)]
pub struct Modem {
    /// Kind and length of frames, `aos:1115`.
    pub frame: String,
    /// Their code, `rs:223:i5:dual,randomized:131071`.
    pub coding: String,
    /// Whether frames end in an error control field: where no code tells that they are wrong.
    pub fecf: bool,
    /// Bits a second on the air, markers and check symbols among them.
    pub rate_bps: u64,
    /// Share of these bits that the link's own rate counts.
    pub share: f64,
    /// Seconds that a unit waits for its receipt before it goes again.
    pub again_s: u64,
    /// Bits a second up.
    pub up_bps: u64,
}

/// What a scenario says of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// Kind and length of frames.
    pub frame: Option<&'a str>,
    /// Their code.
    pub coding: Option<&'a str>,
}

impl Modem {
    /// A modem for a link of a rate; by a budget whose control this is, the rate is the user's, else
    /// that on the air.
    ///
    /// # Errors
    /// Frames that don't fit their code, or a budget whose rate changes over a pass.
    pub fn new(
        said: Said<'_>,
        budget: Option<&Control>,
        (rate_bps, up_bps, again_s): (f64, f64, u64),
    ) -> Result<Self, String> {
        let usual = match budget {
            None => (FRAME, CODING),
            Some(Control::Fixed(modcod)) => frames_of(modcod.name),
            Some(_) => {
                return Err(
                    "link.bearer = \"rf\": a radio sends at one rate: take a link file with \
                            [codes] choose = \"fixed\""
                        .into(),
                );
            }
        };
        let frame = said.frame.unwrap_or(usual.0);
        let text = said.coding.unwrap_or(usual.1);
        let wrong = |error: &dyn std::fmt::Display| format!("link.frame, link.coding: {error}");
        let format: Format = frame.parse().map_err(|error| wrong(&error))?;
        let (true, Some(frame_bytes)) =
            (matches!(format.kind, Kind::Aos | Kind::Tm), format.length)
        else {
            return Err(format!("link.frame = {frame:?}: aos:LENGTH or tm:LENGTH"));
        };
        let coding: Coding = text.parse().map_err(|error| wrong(&error))?;
        if coding.convolutional.is_some() || coding.nrz_m {
            return Err(format!(
                "link.coding = {text:?}: leave conv and nrzm out: a world's modem undoes them"
            ));
        }
        let block = coding.block_bytes(frame_bytes).map_err(|error| wrong(&error))?;
        let share = if budget.is_some() { frame_bytes as f64 / block as f64 } else { 1.0 };
        Ok(Self {
            frame: frame.into(),
            coding: text.into(),
            fecf: coding.block == BlockCode::None,
            rate_bps: (rate_bps / share) as u64,
            share,
            again_s,
            up_bps: up_bps as u64,
        })
    }

    /// Bytes that a coded unit takes of the link's rate.
    pub fn charged(&self, cadu: &[u8]) -> usize {
        // Rounded down as the rate is: a radio that keeps its pace never fills the queue.
        (cadu.len() as f64 * self.share) as usize
    }

    /// The tables of the flight software's configuration; `key` is the domain's, hexadecimal.
    pub fn flight(&self) -> String {
        format!(
            "[downlink]\nbearer = \"rf\"\n[downlink.rf]\nto = \"udp:127.0.0.1:5000\"\n\
             from = \"udp:127.0.0.1:5001\"\nrate_bps = {}\nframe = {:?}\nfecf = {}\n\
             coding = {:?}\nscid = {SCID}\nagain_s = {}\n",
            self.rate_bps, self.frame, self.fecf, self.coding, self.again_s,
        )
    }

    /// The mission as edge and station read it.
    pub fn mission(&self, spacecraft: u16) -> String {
        let (kind, length) = self.frame.split_once(':').unwrap_or(("aos", "1115"));
        format!(
            "mission = \"world\"\ndomain = \"{DOMAIN}\"\n[[spacecraft]]\nid = {spacecraft}\n\
             name = \"craft\"\nframes = [{{ kind = \"{kind}\", scid = {SCID}, length = {length}, \
             fecf = {} }}]\n",
            self.fecf,
        )
    }

    /// An input of the edge.
    pub fn input(&self, name: &str, antenna: usize) -> String {
        format!(
            "[[input]]\nname = {name:?}\nfrom = \"udp:127.0.0.1:{}\"\ncarries = \"cadus\"\n\
             frame = {:?}\ncoding = {:?}\nantenna = {antenna}\n",
            5_000 + antenna,
            self.frame,
            self.coding,
        )
    }

    /// The spacecraft's radio as the station's file has it.
    pub fn station(&self, spacecraft: u16) -> String {
        format!(
            "spacecraft = {spacecraft}\nuplink_bps = {}\nto = \"udp:127.0.0.1:5001\"\n\
             scid = {SCID}\n",
            self.up_bps,
        )
    }
}

/// Frames and code for a code of the budget; the outer one where there are two.
fn frames_of(modcod: &str) -> (&'static str, &'static str) {
    let code = modcod.split_once(' ').map_or(modcod, |(_, code)| code);
    let outer = code.split(" + ").next().unwrap_or(code);
    match outer {
        "RS(255,239) I=5" => ("aos:1195", "rs:239:i5:dual,randomized:131071"),
        "RS(255,223) I=5" => (FRAME, CODING),
        "RS(255,223) I=4" => ("aos:892", "rs:223:i4:dual,randomized:131071"),
        "RS(255,223) I=1" => ("aos:223", "rs:223:i1:dual,randomized:131071"),
        "LDPC 7/8 k=7136" => ("aos:892", "ldpc:c2,randomized:131071"),
        "LDPC 4/5 k=1024" => ("aos:128", "ldpc:4/5:1024,randomized:131071"),
        "LDPC 2/3 k=1024" => ("aos:128", "ldpc:2/3:1024,randomized:131071"),
        "LDPC 1/2 k=1024" => ("aos:128", "ldpc:1/2:1024,randomized:131071"),
        "LDPC 4/5 k=4096" => ("aos:512", "ldpc:4/5:4096,randomized:131071"),
        "LDPC 2/3 k=4096" => ("aos:512", "ldpc:2/3:4096,randomized:131071"),
        "LDPC 1/2 k=4096" => ("aos:512", "ldpc:1/2:4096,randomized:131071"),
        "LDPC 4/5 k=16384" => ("aos:2048", "ldpc:4/5:16384,randomized:131071"),
        "LDPC 2/3 k=16384" => ("aos:2048", "ldpc:2/3:16384,randomized:131071"),
        "LDPC 1/2 k=16384" => ("aos:2048", "ldpc:1/2:16384,randomized:131071"),
        // Turbo codes, the convolutional one, DVB-S2: the demodulator's altogether.
        _ => (FRAME, "randomized:131071"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::ccsds;

    #[test]
    fn frames_fit_every_code_of_the_budget_and_take_their_share() {
        for modcod in ccsds::all() {
            let control = Control::Fixed(modcod);
            let modem = Modem::new(Said::default(), Some(&control), (1e6, 1e4, 60));
            let modem = modem.unwrap_or_else(|error| panic!("{}: {error}", modcod.name));
            // What is sent on the air is never less than what the user has of it.
            assert!(modem.rate_bps >= 1_000_000, "{}", modcod.name);
            assert_eq!(modem.fecf, modem.share == 1.0, "{}", modcod.name);
        }
        let plain = Modem::new(Said::default(), None, (1e6, 1e4, 60)).unwrap();
        assert_eq!((plain.rate_bps, plain.charged(&[0; 1_279])), (1_000_000, 1_279));
    }

    #[test]
    fn what_no_modem_can_do_is_refused_by_its_key() {
        let error = |frame, coding| {
            let said = Said { frame: Some(frame), coding: Some(coding) };
            Modem::new(said, None, (1e6, 1e4, 60)).unwrap_err()
        };
        assert!(error("uslp:1115", CODING).contains("aos:LENGTH or tm:LENGTH"));
        assert!(error("aos:1114", CODING).contains("link.frame, link.coding"));
        assert!(error(FRAME, "conv:1/2,rs:223:i5:dual").contains("leave conv and nrzm out"));
        assert!(error(FRAME, "rs:223").contains("part 1"));
        let predicted = Control::Steps(Vec::new());
        let error = Modem::new(Said::default(), Some(&predicted), (1e6, 1e4, 60)).unwrap_err();
        assert!(error.contains("choose = \"fixed\""));
    }
}
