//! Which computers the documents of a server may lead to (security best practices, "Server-Side Request Forgery").

use std::net::IpAddr;

use oauth::address::is_public;

/// How far into the network the documents of a server may lead: not nearer to this computer than the server is itself.
/// A server on the internet must not make us send requests to our own network (security best practices, "Server-Side
/// Request Forgery"). A development server on this computer may name other servers on this computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    Loopback,
    Private,
    Public,
}

impl Reach {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // A connection to no address at all reaches this computer.
            address if address.is_loopback() || address.is_unspecified() => Reach::Loopback,
            _ if is_public(address) => Reach::Public,
            _ => Reach::Private,
        }
    }
}
