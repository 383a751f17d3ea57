//! The three rtnetlink requests that bring an interface up (RFC 3549): link up, address, default
//! route; each asks for an acknowledgement. Bytes only, the socket is elsewhere.
//!
//! Netlink is the kernel's on the same machine: integers are in host order.

use std::net::Ipv4Addr;

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
/// Request and acknowledge.
const CHANGE: u16 = 0x1 | 0x4;
/// The same, and create or replace; the kernel refuses "replace" for a link.
const CREATE: u16 = CHANGE | 0x400 | 0x100;
const HEADER_BYTES: usize = 16;
const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RTN_UNICAST: u8 = 1;

/// `struct ifinfomsg`: sets interface `index` up.
pub fn link_up(index: u32) -> Vec<u8> {
    let mut body = vec![0; 4]; // family, padding, device type
    body.extend(index.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes()); // the flags
    body.extend(IFF_UP.to_ne_bytes()); // which of them change
    message(RTM_NEWLINK, CHANGE, &body)
}

/// `struct ifaddrmsg`: gives interface `index` an address with a prefix length.
pub fn address(index: u32, address: Ipv4Addr, prefix_length: u8) -> Vec<u8> {
    let mut body = vec![AF_INET, prefix_length, 0, RT_SCOPE_UNIVERSE];
    body.extend(index.to_ne_bytes());
    attribute(&mut body, IFA_LOCAL, address.octets());
    attribute(&mut body, IFA_ADDRESS, address.octets());
    message(RTM_NEWADDR, CREATE, &body)
}

/// `struct rtmsg`: sends everything else through `gateway` on interface `index`.
pub fn default_route(index: u32, gateway: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![AF_INET, 0, 0, 0]; // destination of length 0: every address
    body.extend([RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST]);
    body.extend(0u32.to_ne_bytes());
    attribute(&mut body, RTA_GATEWAY, gateway.octets());
    attribute(&mut body, RTA_OIF, index.to_ne_bytes());
    message(RTM_NEWROUTE, CREATE, &body)
}

/// The errno in an acknowledgement, 0 for done; `None` if the message is no acknowledgement.
pub fn acknowledged(reply: &[u8]) -> Option<i32> {
    let kind: [u8; 2] = reply.get(4..6)?.try_into().ok()?;
    let error: [u8; 4] = reply.get(HEADER_BYTES..HEADER_BYTES + 4)?.try_into().ok()?;
    // The kernel gives the negative errno (struct nlmsgerr).
    (u16::from_ne_bytes(kind) == NLMSG_ERROR).then(|| i32::from_ne_bytes(error).saturating_neg())
}

/// `struct rtattr`: length, type, four octets of value.
fn attribute(body: &mut Vec<u8>, kind: u16, value: [u8; 4]) {
    body.extend(8u16.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

/// `struct nlmsghdr`: length, type, flags, sequence number, port.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend([0; 8]);
    out.extend(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn golden_bytes() {
        let bytes = address(2, Ipv4Addr::new(10, 0, 2, 15), 24);
        let header = [40, 0, 0, 0, 20, 0, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0];
        let body = [2, 24, 0, 0, 2, 0, 0, 0, 8, 0, 2, 0, 10, 0, 2, 15, 8, 0, 1, 0, 10, 0, 2, 15];
        assert_eq!(bytes, [&header[..], &body[..]].concat());
        assert_eq!(link_up(2).len(), 32);
        assert_eq!(default_route(2, Ipv4Addr::new(10, 0, 2, 2)).len(), 44);
    }

    #[test]
    fn reads_acknowledgements() {
        let mut reply = message(NLMSG_ERROR, 0, &(-17i32).to_ne_bytes());
        assert_eq!(acknowledged(&reply), Some(17));
        reply.truncate(19);
        assert_eq!(acknowledged(&reply), None);
        assert_eq!(acknowledged(&link_up(1)), None);
    }
}
