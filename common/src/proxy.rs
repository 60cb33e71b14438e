//! What a proxy in front changes. The address of a client is what the proxy says: one that the operator names, and nobody else.
//! The path of the public URL may be in front of a request's path, or the proxy has taken it off.

use std::net::{IpAddr, SocketAddr};

use actix_http::{RequestHead, Uri, header::HeaderMap, uri::PathAndQuery};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use ipnet::IpNet;

/// Which proxies are believed.
#[derive(Args, Clone)]
pub struct ProxyArgs {
    /// A proxy that says whom it speaks for, by its address or network, such as 10.0.0.0/8 (repeatable)
    #[arg(long, env = "MCP_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    trusted_proxy: Vec<IpNet>,
    /// The header in which it says so. The proxy must remove what clients send in it
    #[arg(long, env = "MCP_CLIENT_ADDRESS_HEADER", value_name = "NAME", value_enum, default_value = "x-forwarded-for")]
    client_address_header: Header,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Header {
    XForwardedFor,
    /// RFC 7239
    Forwarded,
}

fn network(text: &str) -> Result<IpNet> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = network.ok().context("an address or a network such as 10.0.0.0/8 is wanted")?;
    ensure!(network.prefix_len() > 0, "this would believe everybody");
    Ok(network)
}

impl ProxyArgs {
    /// Puts the client's address in the place of the proxy's, so that limits and the log are about the client.
    pub(crate) fn apply(&self, request: &mut RequestHead) {
        let Some(peer) = request.peer_addr else { return };
        if self.trusts(peer.ip()) {
            // The port that the client had is not known.
            request.peer_addr = Some(SocketAddr::new(self.client(peer.ip(), &request.headers), 0));
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxy.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// Each proxy adds at the end whom it speaks for, so only what the trusted ones have added is read: from the end, to the
    /// first address that is not one of them. What cannot be read leaves the address of the proxy that has added it.
    fn client(&self, proxy: IpAddr, headers: &HeaderMap) -> IpAddr {
        let (name, address): (_, fn(&str) -> Option<IpAddr>) = match self.client_address_header {
            Header::XForwardedFor => ("x-forwarded-for", address),
            Header::Forwarded => ("forwarded", forwarded_for),
        };
        let lines: Vec<_> = headers.get_all(name).map(|line| line.to_str().unwrap_or("unreadable")).collect();
        let mut client = proxy;
        for element in lines.iter().rev().flat_map(|line| from_the_end(line, ',')) {
            match address(element) {
                Some(next) => client = next.to_canonical(),
                None => break,
            }
            if !self.trusts(client) {
                break;
            }
        }
        client
    }
}

/// Takes the path of the public URL off a request's path. Some proxies do so, others do not: behind both, each route has one
/// name here, and it counts everywhere (guards, routes, limits).
pub(crate) fn take_off(path: &str, request: &mut RequestHead) {
    if path.is_empty() {
        return;
    }
    let rest = request.uri.path_and_query().and_then(|whole| whole.as_str().strip_prefix(path));
    let Some(Ok(rest)) = rest.filter(|rest| rest.starts_with('/')).map(str::parse::<PathAndQuery>) else { return };
    let mut parts = request.uri.clone().into_parts();
    parts.path_and_query = Some(rest);
    if let Ok(uri) = Uri::from_parts(parts) {
        request.uri = uri;
    }
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

/// The `for` of an element of `Forwarded` (RFC 7239 §4, §6).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = from_the_end(element, ';').into_iter().filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value.trim());
    let value = values.next().filter(|_| values.next().is_none())?;
    address(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// What stands between these characters, where they are not quoted, the last first: a quote that a client has left open does
/// not reach into what a proxy has added.
fn from_the_end(text: &str, at: char) -> Vec<&str> {
    let mut quoted = false;
    let between = |c: char| {
        quoted ^= c == '"';
        c == at && !quoted
    };
    text.rsplit(between).collect()
}

#[cfg(test)]
mod tests {
    use actix_http::header::{HeaderName, HeaderValue};
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        proxy: ProxyArgs,
    }

    fn args(more: &[&str]) -> ProxyArgs {
        let args =
            [&["server", "--trusted-proxy", "10.0.0.0/8,192.0.2.9", "--trusted-proxy", "2001:db8::/32"], more].concat();
        Cli::parse_from(args).proxy
    }

    fn client(args: &ProxyArgs, peer: &str, lines: &[(&'static str, &'static str)]) -> String {
        let mut head = RequestHead::default();
        head.peer_addr = Some(SocketAddr::new(peer.parse().unwrap(), 4711));
        for (name, value) in lines {
            head.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        args.apply(&mut head);
        head.peer_addr.unwrap().ip().to_string()
    }

    #[test]
    fn a_proxy_that_is_trusted_says_who_the_client_is_and_nobody_else() {
        let args = args(&[]);
        for (peer, line, expected) in [
            ("10.1.2.3", "198.51.100.7", "198.51.100.7"),
            ("::ffff:10.1.2.3", "198.51.100.7", "198.51.100.7"),
            ("192.0.2.9", " 198.51.100.7 ", "198.51.100.7"),
            ("2001:db8::1", "2001:db9::7", "2001:db9::7"),
            ("10.1.2.3", "[2001:db9::7]:80", "2001:db9::7"),
            ("10.1.2.3", "198.51.100.7:80", "198.51.100.7"),
            ("10.1.2.3", "::ffff:198.51.100.7", "198.51.100.7"),
            // Through two proxies.
            ("10.1.2.3", "198.51.100.7, 192.0.2.9, 10.9.9.9", "198.51.100.7"),
            // What the client itself has said.
            ("10.1.2.3", "203.0.113.1, 198.51.100.7", "198.51.100.7"),
            ("10.1.2.3", "10.6.6.6, 198.51.100.7", "198.51.100.7"),
            ("198.51.100.7", "203.0.113.1", "198.51.100.7"),
            ("192.0.2.8", "203.0.113.1", "192.0.2.8"),
            // What cannot be read.
            ("10.1.2.3", "", "10.1.2.3"),
            ("10.1.2.3", "unknown", "10.1.2.3"),
            ("10.1.2.3", "203.0.113.1, unknown, 192.0.2.9", "192.0.2.9"),
            ("10.1.2.3", "203.0.113.1,", "10.1.2.3"),
            ("10.1.2.3", "for=203.0.113.1", "10.1.2.3"),
            // All are proxies: the first one began.
            ("10.1.2.3", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ] {
            assert_eq!(client(&args, peer, &[("x-forwarded-for", line)]), expected, "{peer}: {line}");
        }
        let lines = [("x-forwarded-for", "203.0.113.1"), ("x-forwarded-for", "198.51.100.7")];
        assert_eq!(client(&args, "10.1.2.3", &lines), "198.51.100.7", "the last line was added last");
        assert_eq!(client(&args, "10.1.2.3", &[("forwarded", "for=203.0.113.1")]), "10.1.2.3", "the other header");
        let none = Cli::parse_from(["server"]).proxy;
        assert_eq!(client(&none, "10.1.2.3", &[("x-forwarded-for", "203.0.113.1")]), "10.1.2.3");
    }

    #[test]
    fn the_standard_header_is_read_where_it_is_chosen() {
        let args = args(&["--client-address-header", "forwarded"]);
        for (line, expected) in [
            ("for=198.51.100.7", "198.51.100.7"),
            ("FOR=\"198.51.100.7:80\";proto=https", "198.51.100.7"),
            ("proto=https; by=10.1.1.1; for=\"[2001:db9::7]:4711\"", "2001:db9::7"),
            ("for=203.0.113.1, for=198.51.100.7;by=10.1.1.1, for=10.9.9.9", "198.51.100.7"),
            ("for=198.51.100.7;by=\"a, for=203.0.113.2\"", "198.51.100.7"),
            // A client that leaves a quote open.
            ("for=203.0.113.1;by=\", for=198.51.100.7", "198.51.100.7"),
            ("for=203.0.113.1;by=\", for=198.51.100.7;by=\"10.1.1.1\"", "198.51.100.7"),
            ("for=203.0.113.1, for=198.51.100.7;by=\"a\\\"b\"", "10.1.2.3"),
            ("for=unknown", "10.1.2.3"),
            ("for=_hidden, for=192.0.2.9", "192.0.2.9"),
            ("by=203.0.113.1", "10.1.2.3"),
            ("for=203.0.113.1;for=203.0.113.2", "10.1.2.3"),
            ("203.0.113.1", "10.1.2.3"),
        ] {
            assert_eq!(client(&args, "10.1.2.3", &[("forwarded", line)]), expected, "{line}");
        }
        assert_eq!(client(&args, "10.1.2.3", &[("x-forwarded-for", "203.0.113.1")]), "10.1.2.3");
    }

    #[test]
    fn everybody_is_no_proxy() {
        for wrong in ["0.0.0.0/0", "::/0", "10.0.0.0/33", "proxy.example", ""] {
            assert!(Cli::try_parse_from(["server", "--trusted-proxy", wrong]).is_err(), "{wrong}");
        }
    }
}
