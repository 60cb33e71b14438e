//! Where an address leads: to this computer, to a private network, or to the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// Whether an address is plainly on the public internet. An IPv6 address that contains an IPv4 address is not: that
/// would be another way to write a private one.
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Ranges outside the public internet.
    pub const FORBIDDEN: [&str; 45] = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "ffff::1",
    ];
    pub const LOOPBACK: [&str; 3] = ["127.0.0.1", "127.255.255.254", "::1"];

    #[test]
    fn a_forbidden_address_is_not_public() {
        for address in FORBIDDEN.into_iter().chain(LOOPBACK) {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        let edges = ["100.63.0.1", "100.128.0.1", "172.15.0.1", "172.32.0.1", "198.17.0.1", "198.20.0.1", "223.0.0.1"];
        for public in ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "2001:4860:4860::8888"].into_iter().chain(edges) {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn only_plainly_public_addresses_are_public() {
        for (private, public) in [
            ("0.255.255.255", "1.0.0.0"),
            ("10.0.0.0", "9.255.255.255"),
            ("10.255.255.255", "11.0.0.0"),
            ("100.64.0.0", "100.63.255.255"),
            ("100.127.255.255", "100.128.0.0"),
            ("127.0.0.1", "126.255.255.255"),
            ("127.255.255.255", "128.0.0.0"),
            ("169.254.169.254", "169.253.255.255"),
            ("169.254.255.255", "169.255.0.0"),
            ("172.16.0.0", "172.15.255.255"),
            ("172.31.255.255", "172.32.0.0"),
            ("192.0.0.1", "191.255.255.255"),
            ("192.0.2.1", "192.0.1.1"),
            ("192.88.99.1", "192.88.98.1"),
            ("192.168.0.0", "192.167.255.255"),
            ("192.168.255.255", "192.169.0.0"),
            ("198.18.0.0", "198.17.255.255"),
            ("198.19.255.255", "198.20.0.0"),
            ("198.51.100.1", "198.51.99.1"),
            ("203.0.113.1", "203.0.112.1"),
            ("224.0.0.0", "223.255.255.255"),
            ("240.0.0.1", "8.8.8.8"),
            ("255.255.255.255", "1.1.1.1"),
            ("::", "2000::1"),
            ("::1", "2606:4700::1111"),
            ("::ffff:8.8.8.8", "2400::1"),
            ("64:ff9b::808:808", "2a00::1"),
            ("64:ff9b:1::1", "2001:200::1"),
            ("1fff::1", "3fff:1000::1"),
            ("2001::1", "2001:db7::1"),
            ("2001:1ff::1", "2001:db9::1"),
            ("2001:db8::1", "2003::1"),
            ("2002:808:808::1", "2001:4860:4860::8888"),
            ("3fff::1", "3ffe::1"),
            ("4000::1", "3fff:ffff::1"),
            ("fc00::1", "2600::1"),
            ("fd00:ec2::254", "2620::1"),
            ("fe80::1", "2800::1"),
            ("fec0::1", "2c00::1"),
            ("ff02::1", "2a02::1"),
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn this_computer_is_known_by_its_name_alone() {
        for (url, local, loopback) in [
            ("http://localhost:9000/x", true, true),
            ("http://LOCALHOST/", true, true),
            ("http://127.0.0.1/", true, true),
            ("http://[::1]/", true, true),
            ("http://127.1/", true, true),
            ("http://0x7f000001/", true, true),
            ("http://127.0.0.2/", false, true),
            ("http://localhost./", false, false),
            ("http://localhost.evil.example/", false, false),
            ("http://127.0.0.1.evil.example/", false, false),
            ("http://0.0.0.0/", false, false),
            ("http://[::]/", false, false),
            ("http://[::ffff:127.0.0.1]/", false, false),
            ("http://10.0.0.1/", false, false),
            ("data:text/plain,localhost", false, false),
        ] {
            let parsed = Url::parse(url).unwrap();
            assert_eq!((is_localhost(&parsed), is_loopback(&parsed)), (local, loopback), "{url}");
        }
    }
}
