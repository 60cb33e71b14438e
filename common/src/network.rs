//! Other computers and this one: which addresses are whose, and how long what they answered is fresh.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use url::{Host, Url};

/// Whether a URL's host is `localhost`, `127.0.0.1` or `[::1]`: one of the names that a program on this computer is
/// called by. For what others may call us, or send people to.
pub fn is_localhost(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address == Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(address)) => address == Ipv6Addr::LOCALHOST,
        None => false,
    }
}

/// Whether a URL's host is this computer, by its name alone: any loopback address. For what we ask ourselves.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// How long HTTP says that an answer is fresh (RFC 9111 §4.2), from the values of its `Cache-Control` headers and of
/// `Age`. `None`: it does not say. The caller has bounds of its own.
pub fn freshness<'a>(cache_control: impl Iterator<Item = &'a str>, age: Option<&str>) -> Option<Duration> {
    let age = age.and_then(|age| age.parse().ok()).unwrap_or(0);
    let mut lifetime = None;
    for directive in cache_control.flat_map(|value| value.split(',')) {
        let directive = directive.trim().to_ascii_lowercase();
        if directive == "no-store" || directive.starts_with("no-cache") {
            return Some(Duration::ZERO);
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            let seconds = seconds.trim_matches('"').parse::<u64>().unwrap_or(0);
            lifetime = Some(Duration::from_secs(seconds.saturating_sub(age)));
        }
    }
    lifetime
}

/// Whether an address is plainly the public internet. What carries an IPv4 address within IPv6 is not, as that would be
/// one more way to write a private one.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !is_special_v4(v4),
        IpAddr::V6(v6) => !is_special_v6(v6),
    }
}

/// The IANA registry of special-purpose addresses (RFC 6890); 169.254.169.254, where clouds keep
/// credentials, is link-local.
fn is_special_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_documentation()
        || a == 0
        || a >= 240 // reserved, and broadcast
        || (a == 100 && b & 0xc0 == 64) // shared by carriers (CGNAT)
        || (a == 198 && b & 0xfe == 18) // benchmarking
        || (a == 192 && b == 0 && c == 0) // protocol assignments
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
}

/// Only 2000::/3 is global unicast. Outside it are IPv4-mapped, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48),
/// unique local (with fd00:ec2::254, where a cloud keeps credentials), link-local, site-local and
/// multicast addresses, and loopback.
fn is_special_v6(v6: Ipv6Addr) -> bool {
    let [a, b, ..] = v6.segments();
    a & 0xe000 != 0x2000
        || (a == 0x2001 && b < 0x200) // protocol assignments: Teredo, benchmarking, ORCHID
        || (a == 0x2001 && b == 0xdb8) // documentation
        || a == 0x2002 // 6to4
        || (a == 0x3fff && b < 0x1000) // documentation
}
