//! The peer of a connection.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::HttpRequest;

/// The address of a request's peer. Behind a proxy it is the proxy's.
pub(crate) fn address(http: &HttpRequest) -> IpAddr {
    http.peer_addr().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip().to_canonical())
}

/// The unit that counts as one peer for limits by address: an IPv4 address, or the network of 64 bits that a single
/// host has for itself in IPv6 (RFC 4291 §2.5.4).
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}
