//! Who may begin a handshake: it costs a signature, and some memory until it ends.

use super::Bucket;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

/// Handshakes under way at once.
pub const HANDSHAKES_MAX: usize = 64;
/// Of those, from one address.
const ADDRESS_HANDSHAKES_MAX: usize = HANDSHAKES_MAX / 4;
/// Addresses remembered; beyond it only the bound on all of them holds.
const ADDRESSES_MAX: usize = 1_024;

/// What becomes of a client's first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The handshake begins; tell its end to [`Handshakes::ended`].
    Begin,
    /// First the client shows that it receives what is sent to its address (RFC 9000 §8.1.2): that
    /// costs the station no memory.
    Prove,
    /// Nothing is answered: the client tries again by itself, more and more slowly.
    Ignore,
}

#[derive(Debug)]
struct Address {
    tokens: Bucket,
    under_way: usize,
}

/// Handshakes by rate, over all addresses and for each.
#[derive(Debug)]
pub struct Handshakes {
    all: Bucket,
    addresses: BTreeMap<IpAddr, Address>,
    under_way: usize,
    per_s: u64,
    address_per_s: u64,
    /// As many may come at once: after a restart everyone does, perhaps from behind one address.
    burst: u64,
}

impl Handshakes {
    /// `burst` handshakes at once, then so many a second.
    pub fn new(per_s: u64, address_per_s: u64, burst: u64, now_ns: u64) -> Self {
        let (addresses, under_way) = (BTreeMap::new(), 0);
        let all = Bucket::new(per_s, burst, now_ns);
        Self { all, addresses, under_way, per_s, address_per_s, burst }
    }

    /// Takes new limits, if they are new; what is under way goes on.
    pub fn limit(&mut self, per_s: u64, address_per_s: u64, burst: u64, now_ns: u64) {
        if (per_s, address_per_s, burst) == (self.per_s, self.address_per_s, self.burst) {
            return;
        }
        (self.per_s, self.address_per_s, self.burst) = (per_s, address_per_s, burst);
        self.all = Bucket::new(per_s, burst, now_ns);
        for address in self.addresses.values_mut() {
            address.tokens = Bucket::new(address_per_s, burst, now_ns);
        }
    }

    /// Judges a first packet. `proved` says that the address is the client's own.
    pub fn judge(&mut self, from: IpAddr, proved: bool, now_ns: u64) -> Judgement {
        let from = network(from);
        if !self.addresses.contains_key(&from) {
            self.forget(now_ns);
        }
        let (rate, burst, room) =
            (self.address_per_s, self.burst, self.addresses.len() < ADDRESSES_MAX);
        let mut stranger = Address { tokens: Bucket::new(rate, burst, now_ns), under_way: 0 };
        let address = match room || self.addresses.contains_key(&from) {
            true => self.addresses.entry(from).or_insert(stranger),
            false => &mut stranger,
        };
        // An address that anyone can write on a packet uses up only half of what its owner has.
        let pressed = address.tokens.left(now_ns) <= burst / 2
            || self.all.left(now_ns) <= burst / 2
            || self.under_way >= HANDSHAKES_MAX / 4;
        if pressed && !proved {
            return Judgement::Prove;
        }
        let crowded =
            self.under_way >= HANDSHAKES_MAX || address.under_way >= ADDRESS_HANDSHAKES_MAX;
        // In this order: an address without tokens takes none of the others'.
        if crowded || !address.tokens.take(now_ns) || !self.all.take(now_ns) {
            return Judgement::Ignore;
        }
        address.under_way += 1;
        self.under_way += 1;
        Judgement::Begin
    }

    /// A handshake that began is over, well or not.
    pub fn ended(&mut self, from: IpAddr) {
        self.under_way = self.under_way.saturating_sub(1);
        if let Some(address) = self.addresses.get_mut(&network(from)) {
            address.under_way = address.under_way.saturating_sub(1);
        }
    }

    /// Forgets addresses about which there is nothing to know.
    fn forget(&mut self, now_ns: u64) {
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses
                .retain(|_, address| address.under_way > 0 || !address.tokens.is_full(now_ns));
        }
    }
}

/// What one client can choose its addresses from: the whole of a version 4 address, the 64 bits
/// that a version 6 network is made of.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn a_storm_from_one_address_leaves_the_others_their_handshakes() {
        let mut handshakes = Handshakes::new(50, 5, 64, 0);
        let mut begun = 0;
        for at in 0..10_000u64 {
            if handshakes.judge(ip(1), true, at * SECOND / 1_000) == Judgement::Begin {
                begun += 1;
                handshakes.ended(ip(1));
            }
        }
        assert!((100..=120).contains(&begun), "a burst and 5 a second for 10 s: {begun}");
        assert_eq!(handshakes.judge(ip(2), true, 10 * SECOND), Judgement::Begin);
    }

    #[test]
    fn forged_addresses_prove_themselves_and_cost_their_owner_at_most_half() {
        let mut handshakes = Handshakes::new(50, 5, 64, 0);
        let mut begun = 0;
        for _ in 0..10_000 {
            match handshakes.judge(ip(1), false, 0) {
                Judgement::Begin => {
                    begun += 1;
                    handshakes.ended(ip(1));
                }
                Judgement::Prove => {}
                Judgement::Ignore => panic!("nothing is known against this address"),
            }
        }
        assert_eq!(begun, 32);
        assert_eq!(handshakes.judge(ip(1), true, 0), Judgement::Begin);
    }

    #[test]
    fn half_open_handshakes_of_one_address_do_not_fill_the_place() {
        let mut handshakes = Handshakes::new(1_000, 1_000, 1_000, 0);
        let mut begun = 0;
        while handshakes.judge(ip(1), true, 0) == Judgement::Begin {
            begun += 1;
        }
        assert_eq!(begun, ADDRESS_HANDSHAKES_MAX);
        assert_eq!(handshakes.judge(ip(2), false, 0), Judgement::Prove);
        assert_eq!(handshakes.judge(ip(2), true, 0), Judgement::Begin);
        handshakes.ended(ip(1));
        assert_eq!(handshakes.judge(ip(1), true, 0), Judgement::Begin);
    }

    #[test]
    fn memory_is_bounded_whatever_addresses_come() {
        let mut handshakes = Handshakes::new(50, 5, 8, 0);
        for at in 0..100_000u32 {
            let address = Ipv6Addr::new(0x2001, (at >> 16) as u16, at as u16, 0, 0, 0, 0, 1);
            handshakes.judge(address.into(), true, u64::from(at));
            handshakes.ended(address.into());
        }
        assert!(handshakes.addresses.len() <= ADDRESSES_MAX);
        // Much later all of them are forgotten again.
        handshakes.judge(ip(1), true, 1_000 * SECOND);
        assert_eq!(handshakes.addresses.len(), 1);
        // One network is one client, however many addresses it has.
        let same = |last| network(Ipv6Addr::new(1, 2, 3, 4, 5, 6, 7, last).into());
        assert_eq!(same(1), same(2));
    }
}
