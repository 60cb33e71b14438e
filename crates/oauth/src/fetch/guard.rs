//! Which addresses a fetch may lead to (server-side request forgery; MCP "Security Best Practices").

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::address::is_public;

/// Whether a host of this name may be asked at this address.
type Allows = dyn Fn(&str, IpAddr) -> bool + Send + Sync;

/// Lets a name pass only if all its addresses may be asked. It sits where the connection gets its addresses from: after
/// an earlier check, the name could resolve to another address (DNS rebinding). `localhost`, the only name that may be
/// used in plain text, never leads away from this computer.
#[derive(Clone)]
pub struct Guard {
    allows: Arc<Allows>,
    resolver: Arc<dyn Resolve>,
}

impl Guard {
    /// `allows` says whether a host of this name, as it is in the URL, may be asked at this address.
    pub fn new(allows: impl Fn(&str, IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Guard { allows: Arc::new(allows), resolver: Arc::new(SystemResolver) }
    }

    /// Lets through what is plainly the public internet ([`is_public`]), and nothing else.
    pub fn public() -> Self {
        Self::new(|_, address| is_public(address))
    }

    /// Lets everything through: for URLs that the operator chose.
    pub fn open() -> Self {
        Self::new(|_, _| true)
    }

    /// The same with another resolver than the system's.
    #[must_use]
    pub fn with_resolver(self, resolver: impl Resolve + 'static) -> Self {
        Guard { resolver: Arc::new(resolver), ..self }
    }

    /// Checks what needs no resolver: a URL with an address instead of a name, and `localhost`.
    ///
    /// # Errors
    /// If the URL must not be asked.
    pub fn check(&self, url: &Url) -> Result<(), Forbidden> {
        let address = match url.host() {
            Some(Host::Ipv4(v4)) => v4.into(),
            Some(Host::Ipv6(v6)) => v6.into(),
            Some(Host::Domain("localhost")) => Ipv4Addr::LOCALHOST.into(),
            _ => return Ok(()),
        };
        let allowed = (self.allows)(url.host_str().unwrap_or_default(), address);
        if allowed { Ok(()) } else { Err(Forbidden) }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let allows = Arc::clone(&self.allows);
        let host = name.as_str().to_owned();
        let resolving = self.resolver.resolve(name);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = resolving.await?.collect();
            let allowed = |ip: IpAddr| allows(&host, ip) && (host != "localhost" || ip.is_loopback());
            if !addresses.iter().all(|address| allowed(address.ip())) {
                return Err(Forbidden.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The guard's refusal. It does not say which address was forbidden: that would map our network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forbidden;

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it leads to an address that must not be asked")
    }
}

impl std::error::Error for Forbidden {}

struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::address::tests::{FORBIDDEN, LOOPBACK};

    /// Answers every name with the same addresses.
    pub struct Fixed(pub Vec<IpAddr>);

    impl Resolve for Fixed {
        fn resolve(&self, _: Name) -> Resolving {
            let addresses: Vec<_> = self.0.iter().map(|&ip| SocketAddr::new(ip, 0)).collect();
            Box::pin(async move { Ok(Box::new(addresses.into_iter()) as Addrs) })
        }
    }

    async fn refuses(guard: Guard, name: &str, addresses: &[&str]) -> bool {
        let guard = guard.with_resolver(Fixed(addresses.iter().map(|text| text.parse().unwrap()).collect()));
        guard.resolve(name.parse().unwrap()).await.is_err_and(|error| error.downcast_ref() == Some(&Forbidden))
    }

    #[tokio::test]
    async fn no_name_leads_to_a_forbidden_address() {
        for address in FORBIDDEN.into_iter().chain(LOOPBACK) {
            assert!(refuses(Guard::public(), "client.example", &[address]).await, "{address}");
            let among_good = ["1.1.1.1", address, "2606:4700::1111"];
            assert!(refuses(Guard::public(), "client.example", &among_good).await, "{address}");
        }
        assert!(!refuses(Guard::public(), "client.example", &["1.1.1.1", "2606:4700::1111"]).await);
    }

    #[tokio::test]
    async fn localhost_never_leads_away_and_a_policy_knows_the_name() {
        assert!(refuses(Guard::open(), "localhost", &["1.1.1.1"]).await);
        assert!(refuses(Guard::open(), "localhost", &["127.0.0.1", "10.0.0.1"]).await);
        assert!(!refuses(Guard::open(), "localhost", &["127.0.0.1", "::1"]).await);
        let one = Guard::new(|host, _| host == "chosen.example");
        assert!(!refuses(one.clone(), "chosen.example", &["10.0.0.1"]).await);
        assert!(refuses(one, "other.example", &["10.0.0.1"]).await);
    }

    #[test]
    fn no_literal_is_a_forbidden_address() {
        for address in FORBIDDEN.into_iter().chain(LOOPBACK) {
            let host = match address.parse().unwrap() {
                IpAddr::V4(v4) => v4.to_string(),
                // As the URL parser writes it, which is not always as we do.
                IpAddr::V6(v6) => Host::<String>::Ipv6(v6).to_string(),
            };
            let url = Url::parse(&format!("https://{host}/a")).unwrap();
            assert_eq!(Guard::public().check(&url), Err(Forbidden), "{address}");
            assert_eq!(Guard::open().check(&url), Ok(()), "{address}");
        }
        for (url, outcome) in [
            ("https://localhost/", Err(Forbidden)),
            ("https://2130706433/", Err(Forbidden)),
            ("https://0x7f.1/", Err(Forbidden)),
            ("https://1.1.1.1/", Ok(())),
            ("https://client.example/", Ok(())),
        ] {
            assert_eq!(Guard::public().check(&Url::parse(url).unwrap()), outcome, "{url}");
        }
    }
}
