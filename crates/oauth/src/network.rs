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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn an_answer_is_fresh_for_as_long_as_it_says() {
        for (control, age, seconds) in [
            (&[][..], None, None),
            (&["public"], None, None),
            (&["max-age=60"], None, Some(60)),
            (&["Public, MAX-AGE=60"], Some("20"), Some(40)),
            (&["max-age=\"60\""], None, Some(60)),
            (&["max-age=60"], Some("70"), Some(0)),
            (&["max-age=60"], Some("soon"), Some(60)),
            (&["max-age=-1"], None, Some(0)),
            (&["max-age=99999999999999999999"], None, Some(0)),
            (&["s-maxage=60"], None, None),
            (&["no-cache"], None, Some(0)),
            (&["max-age=60", "no-store"], None, Some(0)),
            (&["no-cache=\"x\", max-age=60"], None, Some(0)),
        ] {
            let fresh = freshness(control.iter().copied(), age);
            assert_eq!(fresh, seconds.map(Duration::from_secs), "{control:?} {age:?}");
        }
    }
}
