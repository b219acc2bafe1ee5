//! `match.destination`: where a redirected connection was going.
//!
//! Parses and compares such destinations. `crate::net` finds out the destination of a connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::walk::{NodeRef, Walk};

/// A network and a port. Each may be any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The network: an address, and how many of its first bits count.
    net: Option<(IpAddr, u8)>,
    port: Option<u16>,
}

impl Destination {
    /// Whether an address is in the network and has the port.
    #[must_use]
    pub fn matches(&self, address: SocketAddr) -> bool {
        self.net
            .is_none_or(|(net, bits)| contains(net, bits, address.ip().to_canonical()))
            && self.port.is_none_or(|port| port == address.port())
    }

    /// Whether it matches all that `other` matches.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let net = match (self.net, other.net) {
            (None, Some(_) | None) => true,
            (Some((net, bits)), Some((inner, more))) => more >= bits && contains(net, bits, inner),
            (Some(_), None) => false,
        };
        net && (self.port.is_none() || self.port == other.port)
    }

    /// When the address has bits beyond the network: that address, and the network without them.
    fn host_bits(&self) -> Option<(IpAddr, String)> {
        let (address, bits) = self.net?;
        let first = first_address(address, bits);
        (first != address).then(|| (address, format!("{first}/{bits}")))
    }

    fn parse(text: &str) -> Option<Self> {
        let (net, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (net, port) = rest.split_once(']')?;
                match port {
                    "" => (net, None),
                    _ => (net, Some(port.strip_prefix(':')?)),
                }
            }
            None => match text.split_once(':') {
                Some((net, port)) if !port.contains(':') => (net, Some(port)),
                Some(_) | None => (text, None),
            },
        };
        let net = match net {
            "" | "*" => None,
            _ => Some(network(net)?),
        };
        let port = match port {
            None | Some("*") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|port| *port > 0)?)
            }
            Some(_) => return None,
        };
        Some(Self { net, port }).filter(|_| !text.is_empty())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.net {
            None => f.write_str("*")?,
            Some((net @ IpAddr::V4(_), bits)) => write!(f, "{net}/{bits}")?,
            Some((net @ IpAddr::V6(_), bits)) => write!(f, "[{net}/{bits}]")?,
        }
        match self.port {
            None => f.write_str(":*"),
            Some(port) => write!(f, ":{port}"),
        }
    }
}

/// The bits of `::ffff:0:0/96`, which precede an IPv4 address in IPv6.
const WRAPPING: u8 = 96;

/// The bits of an address, from the first of 128 on, and how many it has.
fn bits_of(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

fn contains(net: IpAddr, bits: u8, address: IpAddr) -> bool {
    let ((net, size), (address, other)) = (bits_of(net), bits_of(address));
    let differ = (net ^ address).checked_shr(128 - u32::from(bits));
    size == other && differ.is_none_or(|bits| bits == 0)
}

/// The address with all bits after the first `bits` off.
fn first_address(address: IpAddr, bits: u8) -> IpAddr {
    let off = |size: u32| size.saturating_sub(u32::from(bits));
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(off(32)).unwrap_or(0);
            IpAddr::from(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(off(128)).unwrap_or(0);
            IpAddr::from(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

/// Reads `ip` or `ip/bits`.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let size = bits_of(address).1;
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= size)?,
        None => size,
    };
    unwrapped(address, bits)
}

/// An IPv4 network written in IPv6 (`::ffff:10.0.0.0/104`) as the IPv4 network: addresses are
/// compared in that form. `None` for one that is larger than IPv4.
fn unwrapped(address: IpAddr, bits: u8) -> Option<(IpAddr, u8)> {
    match address.to_canonical() {
        inner @ IpAddr::V4(_) if address.is_ipv6() => Some((inner, bits.checked_sub(WRAPPING)?)),
        _ => Some((address, bits)),
    }
}

/// Reads a destination: a network, a port, or both.
pub(super) fn read(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Destination> {
    let text = walk.text(at, "a destination")?;
    let destination = Destination::parse(&text);
    if destination.is_none() {
        let message = format!(
            "bad destination {}; allowed: ip, ip/bits, \":port\", ip:port or ip/bits:port, e.g. \"10.0.0.0/8:8888\" or \"[fd00::/8]:8888\"",
            at.quoted()
        );
        walk.error(at.node.place, &at.path, message);
    }
    if let Some((address, network)) = destination.and_then(|d| d.host_bits()) {
        let message = format!(
            "{address} is not the first address of its network; meant: {network}, or {address} without bits"
        );
        walk.warn(at.node.place, &at.path, message);
    }
    destination
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(text: &str, address: &str) -> bool {
        let destination = Destination::parse(text).unwrap();
        destination.matches(address.parse().unwrap())
    }

    #[test]
    fn addresses_networks_and_ports_match() {
        assert!(matches("10.0.0.1", "10.0.0.1:80"));
        assert!(!matches("10.0.0.1", "10.0.0.2:80"));
        assert!(matches("10.0.0.0/8", "10.9.9.9:80"));
        assert!(!matches("10.0.0.0/8", "11.0.0.0:80"));
        assert!(matches("0.0.0.0/0", "11.0.0.0:80"));
        assert!(!matches("0.0.0.0/0", "[::1]:80"));
        assert!(matches("10.0.0.0/8:80", "[::ffff:10.1.1.1]:80"));
        assert!(!matches("10.0.0.0/8:80", "10.1.1.1:81"));
        assert!(matches(":80", "[::1]:80"));
        assert!(matches("*:80", "1.2.3.4:80"));
        assert!(matches("*", "1.2.3.4:80"));
        assert!(matches("[fd00::/8]:80", "[fd12::1]:80"));
        assert!(matches("fd00::/8", "[fd12::1]:81"));
        assert!(!matches("[fd00::1]", "[fd00::2]:81"));
        assert!(matches("::/0", "[fd00::2]:81"));
    }

    #[test]
    fn an_ipv4_network_in_ipv6_is_the_ipv4_one() {
        for (wrapped, plain) in [
            ("::ffff:10.0.0.1", "10.0.0.1/32:*"),
            ("[::ffff:10.0.0.0/104]:80", "10.0.0.0/8:80"),
            ("[::ffff:a00:0/104]", "10.0.0.0/8:*"),
            ("::ffff:0:0/96", "0.0.0.0/0:*"),
        ] {
            let read = Destination::parse(wrapped).unwrap();
            assert_eq!(read.to_string(), plain, "{wrapped}");
            assert_eq!(Some(read), Destination::parse(plain), "{wrapped}");
        }
        assert!(matches("::ffff:10.0.0.0/104", "10.1.1.1:80"));
        assert!(matches("::ffff:10.0.0.0/104", "[::ffff:10.1.1.1]:80"));
        assert!(!matches("::ffff:0:0/96", "[fd00::1]:80"));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "chat:80",
            "10.0.0.1:0",
            "10.0.0.1:65536",
            "10.0.0.1:+1",
            "10.0.0.0/33",
            "fd00::/129",
            "::ffff:10.0.0.0/95",
            "::ffff:10.0.0.0/8",
            "[fd00::1]80",
            "[fd00::1",
            "10.0.0.1:",
        ] {
            assert_eq!(Destination::parse(text), None, "{text}");
        }
    }

    #[test]
    fn bits_beyond_the_network_are_seen() {
        let meant = |text: &str| {
            let found = Destination::parse(text).unwrap().host_bits();
            found.map(|(_, network)| network)
        };
        assert_eq!(meant("10.0.0.1/8:80").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(meant("10.0.0.1/0").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(meant("[fd00::1/64]:80").as_deref(), Some("fd00::/64"));
        assert_eq!(meant("::ffff:10.0.0.1/104").as_deref(), Some("10.0.0.0/8"));
        for text in [
            "10.0.0.1",
            "10.0.0.0/8",
            "fd00::1",
            "::/0",
            "*:80",
            "10.0.0.1/32",
        ] {
            assert_eq!(meant(text), None, "{text}");
        }
    }

    #[test]
    fn it_reads_what_it_shows() {
        for text in ["*:80", "10.0.0.0/8:*", "[fd00::/8]:80", "10.0.0.1/32:80"] {
            assert_eq!(Destination::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_wider_one_covers() {
        let covers = |a: &str, b: &str| {
            Destination::parse(a)
                .unwrap()
                .covers(&Destination::parse(b).unwrap())
        };
        assert!(covers("*", ":80"));
        assert!(covers("10.0.0.0/8", "10.1.0.0/16:80"));
        assert!(covers(":80", "10.1.0.0/16:80"));
        assert!(!covers(":80", "10.1.0.0/16"));
        assert!(!covers("10.1.0.0/16", "10.0.0.0/8"));
        assert!(!covers("10.0.0.0/8", ":80"));
    }
}
