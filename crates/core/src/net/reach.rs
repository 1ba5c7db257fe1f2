//! Which addresses may be connected to.
//!
//! In: what a name was looked up to. Out: the addresses that are allowed. Who lets others name an address must not be made to reach
//! what only this machine reaches: its own services, the network behind it, the metadata service of a cloud.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;

use ipnet::IpNet;

/// Which addresses a source may be read from; see [`Pull::reach`](crate::pull::Pull::reach).
///
/// It is asked about the addresses that a name was looked up to, each time it is looked up, and about those a server redirects to or that a
/// playlist names. So a name that leads elsewhere the second time, and a redirect, get no further than the address itself.
///
/// By default the program may name any address; a server on the public Internet leads no further than to the public Internet, while one on
/// this machine or in the network behind it may lead anywhere.
///
/// ```
/// # extern crate flowcast_core as flowcast;
/// use flowcast::pull::Reach;
///
/// let reach = Reach::public().and("10.1.0.0/16".parse()?);
/// assert!(reach.allows("203.0.114.7".parse()?) && reach.allows("10.1.2.3".parse()?));
/// assert!(!reach.allows("127.0.0.1".parse()?) && !reach.allows("::ffff:169.254.169.254".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Reach {
    /// `None`: as public as what was named.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    public_only: Option<bool>,
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
    and: Vec<IpNet>,
}

impl Reach {
    /// Every address, also those that a public server leads to: for servers that are trusted like the program itself.
    #[must_use]
    pub fn any() -> Self {
        Self { public_only: Some(false), and: Vec::new() }
    }

    /// Addresses of the public Internet only: for those that come from somebody else. Not reached are loopback, private, link-local,
    /// shared, reserved and multicast addresses (the registries of RFC 6890), also where an IPv6 address stands for one of them.
    #[must_use]
    pub fn public() -> Self {
        Self { public_only: Some(true), and: Vec::new() }
    }

    /// And the addresses of this network, whatever they are: also for a public server to lead to. No effect beside [`any`](Self::any).
    #[must_use]
    pub fn and(mut self, network: IpNet) -> Self {
        self.and.push(network);
        self
    }

    /// Whether this address may be connected to when the program names it.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        self.public_only != Some(true) || self.is_open(address)
    }

    fn is_open(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.and.iter().any(|network| network.contains(&address))
    }
}

/// Judges the addresses of one way to a source: those of what was named, and those it leads to.
#[derive(Debug)]
pub(crate) struct Judge {
    reach: Reach,
    /// Whether what was named is on the public Internet; not known before it was looked up.
    first_is_public: OnceLock<bool>,
}

impl Judge {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, first_is_public: OnceLock::new() }
    }

    /// Those of a host's addresses that may be connected to.
    ///
    /// # Errors
    ///
    /// An address of the host, where none of those it has may be.
    pub(crate) fn allowed(&self, addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, IpAddr> {
        let is_led = self.first_is_public.get().is_some();
        let first_is_public = *self
            .first_is_public
            .get_or_init(|| addresses.iter().any(|address| is_public(address.ip().to_canonical())));
        let is_bound = is_led && first_is_public && self.reach.public_only.is_none();
        let may = |ip: IpAddr| self.reach.allows(ip) && (!is_bound || self.reach.is_open(ip));
        let allowed: Vec<_> = addresses.iter().copied().filter(|address| may(address.ip())).collect();
        match addresses.first() {
            Some(refused) if allowed.is_empty() => Err(refused.ip()),
            _ => Ok(allowed),
        }
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => stands_for(address).map_or_else(|| is_public_v6(address), is_public_v4),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // "This network"; shared with a provider; protocol assignments; benchmarks; the old relays of 6to4; reserved.
        [0, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] => true,
        [100, second, ..] => second & 0xC0 == 64,
        [198, second, ..] => second & 0xFE == 18 || address.is_documentation(),
        _ => false,
    };
    !(special
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

/// What is in use of IPv6 is `2000::/3`; all else is local or reserved.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_global = first & 0xE000 == 0x2000;
    let special = match (first, second) {
        // Protocol assignments, with Teredo; documentation.
        (0x2001, second) => second < 0x200 || second == 0xDB8,
        (0x3FFF, second) => second < 0x1000,
        _ => false,
    };
    is_global && !special
}

/// The IPv4 address that packets to this one end up at: those of NAT64 and 6to4 carry it. (Mapped ones are IPv4 by now.)
fn stands_for(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let four = |from: usize| {
        let four = octets.get(from..from + 4)?;
        <[u8; 4]>::try_from(four).ok().map(Ipv4Addr::from)
    };
    match address.segments() {
        [0x64, 0xFF9B, 0, 0, 0, 0, ..] => four(12),
        [0x2002, ..] => four(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(reach: &Reach, address: &str) -> bool {
        reach.allows(address.parse().unwrap_or_else(|error| panic!("{address}: {error}")))
    }

    #[test]
    fn what_only_this_machine_reaches_is_not_reached() {
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.3",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2002:c0a8:101::1",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in refused {
            assert!(!allows(&Reach::public(), address), "{address}");
            assert!(allows(&Reach::any(), address), "{address}");
        }
    }

    #[test]
    fn what_is_public_is() {
        let reached = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "203.0.114.1",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "::ffff:8.8.8.8",
        ];
        for address in reached {
            assert!(allows(&Reach::public(), address), "{address}");
        }
    }

    #[test]
    fn a_network_can_be_allowed_beside() {
        let reach = Reach::public()
            .and("10.1.0.0/16".parse().expect("a network"))
            .and("fd00:1::/32".parse().expect("a network"));
        assert!(
            allows(&reach, "10.1.200.1") && allows(&reach, "::ffff:10.1.0.1") && allows(&reach, "fd00:1::5")
        );
        assert!(!allows(&reach, "10.2.0.1") && !allows(&reach, "fd00:2::5"));
    }

    #[test]
    fn what_is_public_leads_to_what_is_public() {
        let at = |text: &str| {
            vec![SocketAddr::new(text.parse().unwrap_or_else(|error| panic!("{text}: {error}")), 80)]
        };
        let led = |reach: Reach, from: &str, to: &str| {
            let judge = Judge::new(reach);
            assert_eq!(judge.allowed(&at(from)), Ok(at(from)), "{from}");
            judge.allowed(&at(to)).is_ok()
        };
        assert!(!led(Reach::default(), "93.184.216.34", "127.0.0.1"));
        assert!(!led(Reach::default(), "2606:2800:220:1::1", "::ffff:10.0.0.1"));
        assert!(led(Reach::default(), "93.184.216.34", "1.1.1.1"));
        assert!(led(Reach::default(), "127.0.0.1", "10.0.0.1"));
        assert!(led(Reach::any(), "93.184.216.34", "127.0.0.1"));
        let network = "10.0.0.0/8".parse().unwrap_or_else(|error| panic!("a network: {error}"));
        assert!(led(Reach::default().and(network), "93.184.216.34", "10.0.0.1"));
        // A host that has both is led by what is public.
        let judge = Judge::new(Reach::default());
        let both = [at("10.0.0.1"), at("93.184.216.34")].concat();
        assert_eq!(judge.allowed(&both), Ok(both.clone()));
        assert_eq!(judge.allowed(&both), Ok(at("93.184.216.34")));
        assert_eq!(judge.allowed(&both[..1]), Err(both[0].ip()));
    }
}
