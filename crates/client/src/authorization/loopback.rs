//! Where the browser comes back to: a port of this computer (RFC 8252 §7.3).

use std::net::TcpListener;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use url::Url;

use crate::failure::{Failure, Result};

/// Any free port of this computer, for the browser to come back to.
pub fn default_redirect_uri() -> Url {
    Url::parse("http://127.0.0.1:0/callback").expect("it is a URL")
}

/// A redirect URI for one authorization server only. A hostile server that sends the browser on to another server's
/// log-in gets no code, because that server knows another redirect URI (mix-up attack, RFC 9700 §4.4.2).
pub fn redirect_uri_for(issuer: &str) -> Url {
    let digest = digest(&SHA256, issuer.as_bytes());
    let mut url = default_redirect_uri();
    url.set_path(&format!("{}/{}", url.path(), URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16])));
    url
}

/// A place on this computer that the browser can be sent back to.
pub struct Loopback {
    pub redirect_uri: Url,
    pub sockets: Vec<TcpListener>,
}

impl Loopback {
    /// Takes the port of the redirect URI; without one, or with 0, any that is free.
    ///
    /// # Errors
    /// If it is taken.
    pub fn bind(redirect_uri: &Url) -> Result<Self> {
        let port = redirect_uri.port().unwrap_or(0);
        let fail = |error: std::io::Error| {
            Failure::local(format!("cannot listen for the browser on port {port}: {error}")).advice(
                "Name another with `Settings::redirect_uri`; it must be one that the client is registered with.",
            )
        };
        let bind = |port| match redirect_uri.host_str() {
            Some("[::1]") => Ok(vec![TcpListener::bind(("::1", port))?]),
            Some("127.0.0.1") => Ok(vec![TcpListener::bind(("127.0.0.1", port))?]),
            // The browser may use either address for localhost, and a program on the other one would get the code.
            _ => {
                let v4 = TcpListener::bind(("127.0.0.1", port))?;
                match TcpListener::bind(("::1", v4.local_addr()?.port())) {
                    Ok(v6) => Ok(vec![v4, v6]),
                    Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error),
                    Err(_) => Ok(vec![v4]), // a computer without IPv6
                }
            }
        };
        // A port that is free on one address may be taken on the other; then another port is tried.
        let mut sockets = bind(port);
        for _ in 0..8 {
            if port != 0 || sockets.is_ok() {
                break;
            }
            sockets = bind(port);
        }
        let sockets: Vec<TcpListener> = sockets.map_err(fail)?;
        let port = sockets[0].local_addr().map_err(fail)?.port();
        let mut redirect_uri = redirect_uri.clone();
        // It is http on loopback, so a port can be set.
        let _ = redirect_uri.set_port(Some(port));
        Ok(Loopback { redirect_uri, sockets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_issuer_has_a_redirect_uri_of_its_own() {
        let [a, again, b] = ["https://a.example", "https://a.example", "https://b.example"].map(redirect_uri_for);
        assert!(a == again && a != b, "{a} {b}");
        assert!(a.path().starts_with("/callback/") && a.path().len() == "/callback/".len() + 22, "{a}");
        assert_eq!((a.host_str(), a.port(), a.query()), (Some("127.0.0.1"), Some(0), None));
    }
}
