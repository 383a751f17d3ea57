//! Pools behind a name: which of them came up and which went, by what is found there.
//!
//! ```text
//! names or endpoints that were looked up ─► discovery ─► up, gone ─► router
//! ```
//!
//! A look-up that fails says nothing of pools: what was known last goes on being used.

use crate::pool::kubernetes::Port;
use core::net::SocketAddr;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// Addresses of one name that are used, at most; those above are counted.
pub const FOUND_MAX: usize = 64;

/// Where pools are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Every address that a name has, as this machine resolves names.
    Dns {
        /// The name.
        name: String,
        /// The port of all.
        port: u16,
    },
    /// Every ready endpoint of a service in the cluster that this process runs in.
    Kubernetes {
        /// The service's namespace.
        namespace: String,
        /// Its name.
        service: String,
        /// The pods' port.
        port: Port,
    },
}

impl Source {
    /// Look-ups in a row that an address may be missing from before it counts as gone: a resolver
    /// may leave some out, the cluster's list is whole.
    pub const fn patience(&self) -> u32 {
        match self {
            Self::Dns { .. } => 2,
            Self::Kubernetes { .. } => 1,
        }
    }

    /// The name that servers are known by: what certificates and `Host` say.
    pub fn host(&self) -> String {
        match self {
            Self::Dns { name, .. } => name.clone(),
            Self::Kubernetes { namespace, service, .. } => format!("{service}.{namespace}.svc"),
        }
    }
}

/// Whether a text is a name of DNS's, or one label of it.
fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=253).contains(&text.len()) && text.bytes().all(letter)
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?}: must be dns:NAME:PORT or kubernetes:NAMESPACE/SERVICE:PORT");
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (place, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let number = port.parse().ok().filter(|port| *port != 0);
        match (kind, place.split_once('/')) {
            ("dns", None) if is_name(place) => {
                Ok(Self::Dns { name: place.to_owned(), port: number.ok_or_else(wrong)? })
            }
            ("kubernetes", Some((namespace, service)))
                if is_name(namespace) && is_name(service) && is_name(port) =>
            {
                let named = || Port::Name(port.to_owned());
                let (namespace, service) = (namespace.to_owned(), service.to_owned());
                Ok(Self::Kubernetes {
                    namespace,
                    service,
                    port: number.map_or_else(named, Port::Number),
                })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns { name, port } => write!(f, "dns:{name}:{port}"),
            Self::Kubernetes { namespace, service, port: Port::Number(port) } => {
                write!(f, "kubernetes:{namespace}/{service}:{port}")
            }
            Self::Kubernetes { namespace, service, port: Port::Name(port) } => {
                write!(f, "kubernetes:{namespace}/{service}:{port}")
            }
        }
    }
}

/// What a look-up changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A pool came up there.
    Up(SocketAddr),
    /// The pool there went.
    Gone(SocketAddr),
}

/// How discovery stands, for people and scripts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiscoveryView {
    /// Name of the table in the station file.
    pub name: String,
    /// Where it looks.
    pub from: String,
    /// Pools that it stands for now.
    pub known: usize,
    /// Look-ups that were answered.
    pub lookups: u64,
    /// Look-ups that failed.
    pub failures: u64,
    /// Pools that came up.
    pub joined: u64,
    /// Pools that went.
    pub left: u64,
    /// Addresses above the bound, in the last look-up.
    pub over: u64,
    /// What the last look-up failed with; empty where it did not.
    pub said: String,
}

/// What one name stands for.
#[derive(Debug)]
pub struct Discovery {
    patience: u32,
    /// With how many look-ups in a row did not have it.
    known: BTreeMap<SocketAddr, u32>,
    view: DiscoveryView,
}

impl Discovery {
    /// Nothing is known yet.
    pub fn new(name: &str, source: &Source) -> Self {
        let (name, from) = (name.to_owned(), source.to_string());
        let view = DiscoveryView { name, from, ..DiscoveryView::default() };
        Self { patience: source.patience(), known: BTreeMap::new(), view }
    }

    /// Hears of a look-up.
    pub fn found(&mut self, found: Result<BTreeSet<SocketAddr>, String>) -> Vec<Change> {
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                self.view.failures += 1;
                self.view.said = why;
                return Vec::new();
            }
        };
        self.view.lookups += 1;
        self.view.said.clear();
        let mut changes = Vec::new();
        self.known.retain(|address, missing| {
            *missing = if found.contains(address) { 0 } else { *missing + 1 };
            let stays = *missing < self.patience;
            if !stays {
                changes.push(Change::Gone(*address));
            }
            stays
        });
        self.view.left += changes.len() as u64;
        self.view.over = 0;
        for address in found {
            if self.known.contains_key(&address) {
                continue;
            }
            if self.known.len() >= FOUND_MAX {
                self.view.over += 1;
                continue;
            }
            self.known.insert(address, 0);
            self.view.joined += 1;
            changes.push(Change::Up(address));
        }
        changes
    }

    /// Takes back one that came up, where nobody has room for it; the next look-up finds it again.
    pub fn refuse(&mut self, address: SocketAddr, why: &str) {
        if self.known.remove(&address).is_some() {
            self.view.joined -= 1;
            self.view.over += 1;
            why.clone_into(&mut self.view.said);
        }
    }

    /// How it stands.
    pub fn view(&self) -> DiscoveryView {
        DiscoveryView { known: self.known.len(), ..self.view.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(last: &[u8]) -> BTreeSet<SocketAddr> {
        last.iter().map(|last| SocketAddr::from(([10, 0, 0, *last], 8001))).collect()
    }

    fn discovery(source: &str) -> Discovery {
        Discovery::new("gpu", &source.parse().unwrap())
    }

    #[test]
    fn places_are_read_as_they_are_written() {
        for good in ["dns:pools.example:8001", "kubernetes:ml/wildfire:8001", "kubernetes:ml/w:h2c"]
        {
            assert_eq!(good.parse::<Source>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "dns:a",
            "dns:a:0",
            "dns:a:b",
            "dns:a/b:1",
            "dns::1",
            "kubernetes:a:1",
            "kubernetes:a/b",
            "kubernetes:a/b:",
            "kubernetes:a/b?c=d:1",
            "kubernetes:a/../b:1",
            "consul:a:1",
        ] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }

    #[test]
    fn failures_keep_what_was_known_and_a_resolver_may_leave_one_out_once() {
        let mut discovery = discovery("dns:pools:8001");
        assert_eq!(discovery.found(Ok(of(&[1, 2]))).len(), 2);
        assert_eq!(discovery.found(Err("no resolver".into())), []);
        assert_eq!(discovery.view().known, 2);
        assert_eq!(discovery.view().said, "no resolver");
        assert_eq!(discovery.found(Ok(of(&[1]))), []);
        assert_eq!(discovery.found(Ok(of(&[1, 2]))), []);
        assert_eq!(discovery.found(Ok(of(&[1]))), []);
        let gone = *of(&[2]).first().unwrap();
        assert_eq!(discovery.found(Ok(of(&[1]))), [Change::Gone(gone)]);
        let view = discovery.view();
        assert_eq!((view.known, view.joined, view.left, view.failures), (1, 2, 1, 1));
        assert_eq!(view.said, "");
    }

    #[test]
    fn a_clusters_list_is_believed_at_once_and_never_beyond_the_bound() {
        let mut discovery = discovery("kubernetes:ml/wildfire:8001");
        let many: Vec<u8> = (0..100).collect();
        assert_eq!(discovery.found(Ok(of(&many))).len(), FOUND_MAX);
        assert_eq!(discovery.view().over, 100 - FOUND_MAX as u64);
        assert_eq!(discovery.found(Ok(of(&[]))).len(), FOUND_MAX);
        assert_eq!(discovery.view().known, 0);
    }
}
