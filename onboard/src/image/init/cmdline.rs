//! What the kernel command line says to us: `groundtrack.KEY=VALUE`, everything else is the
//! kernel's.

use std::net::Ipv4Addr;

/// The prefix of our parameters.
const PREFIX: &str = "groundtrack.";

/// The settings of a boot; the defaults are QEMU's user network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Our address and prefix length (`groundtrack.address=10.0.2.15/24`).
    pub address: (Ipv4Addr, u8),
    /// Where everything else is reached (`groundtrack.gateway=10.0.2.2`).
    pub gateway: Ipv4Addr,
    /// Ask the flight process to stop so long after its start (`groundtrack.stop_after_s=60`).
    pub stop_after_s: Option<u64>,
    /// Bring the machine up, check it, and power off without flying (`groundtrack.self_test`).
    pub self_test: bool,
    /// Parameters that are not understood, to be complained about.
    pub strange: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::new(10, 0, 2, 15), 24),
            gateway: Ipv4Addr::new(10, 0, 2, 2),
            stop_after_s: None,
            self_test: false,
            strange: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads a command line. Nothing in it stops a boot: what is not understood is kept in
    /// [`Settings::strange`], and the default holds.
    pub fn parse(cmdline: &str) -> Self {
        let mut settings = Self::default();
        for word in cmdline.split_whitespace() {
            let Some(parameter) = word.strip_prefix(PREFIX) else { continue };
            if settings.apply(parameter).is_none() {
                settings.strange.push(word.into());
            }
        }
        settings
    }

    fn apply(&mut self, parameter: &str) -> Option<()> {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key {
            "address" => {
                let (address, length) = value.split_once('/')?;
                let length = length.parse().ok().filter(|&length: &u8| length <= 32)?;
                self.address = (address.parse().ok()?, length);
            }
            "gateway" => self.gateway = value.parse().ok()?,
            "stop_after_s" => self.stop_after_s = Some(value.parse().ok()?),
            "self_test" if value.is_empty() => self.self_test = true,
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_ours_and_leaves_the_kernels() {
        let line = "console=ttyS0 groundtrack.stop_after_s=9 panic=-1 groundtrack.self_test \
                    groundtrack.address=192.168.7.2/30 groundtrack.gateway=192.168.7.1\n";
        let settings = Settings::parse(line);
        assert_eq!(settings.stop_after_s, Some(9));
        assert!(settings.self_test);
        assert_eq!(settings.address, (Ipv4Addr::new(192, 168, 7, 2), 30));
        assert_eq!(settings.gateway, Ipv4Addr::new(192, 168, 7, 1));
        assert!(settings.strange.is_empty());
    }

    #[test]
    fn keeps_the_default_and_names_what_is_strange() {
        let line = "groundtrack.adress=1 groundtrack.address=1.2.3.4/33 groundtrack.stop_after_s=x";
        let settings = Settings::parse(line);
        let strange = line.split(' ').map(str::to_owned).collect();
        assert_eq!(settings, Settings { strange, ..Settings::default() });
    }
}
