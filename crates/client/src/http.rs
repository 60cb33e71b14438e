//! Every request of this program leaves here, and every answer is read here. This module decides which addresses may be
//! asked, how long an exchange may take, and how long an answer may be. Other people's servers name most of these URLs,
//! so none of them is trusted.

use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use oauth::fetch::{self, Fetcher, Guard, Problem};
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION},
};
use url::{Host, Url};

use crate::{
    exchange::{Answer, Body, Request},
    failure::{Failure, Result},
    observer::Observer,
    reach::Reach,
    secrets::Secrets,
    settings::Settings,
    trace::Trace,
    urls::{parse_url, shown},
};

const MAX_REDIRECTS: usize = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The HTTP client, and what all exchanges of a run have in common.
pub struct Http {
    fetcher: Fetcher,
    count: AtomicU32,
    pub settings: Settings,
    pub trace: Trace,
    pub secrets: Arc<Secrets>,
}

impl Http {
    /// A client for one MCP server and those that it names, and for others that the settings name. The server's name is
    /// resolved only once, here. Otherwise it could lead to a near address when its reach is judged, and to a far one
    /// when it is asked.
    ///
    /// # Errors
    /// If the name has no address.
    pub async fn new(settings: Settings, observer: Option<Arc<dyn Observer>>, secrets: Arc<Secrets>) -> Result<Self> {
        settings.hide(&secrets);
        let server = &settings.server;
        let host = server.host_str().unwrap_or_default().to_owned();
        // An address is pinned for the whole host. Port 0 stands for the port of each URL: with the MCP server's port,
        // a request to another server on this host, such as `http://localhost`, would go to the MCP server.
        let addresses: Vec<SocketAddr> = match server.host() {
            Some(Host::Ipv4(v4)) => vec![(v4, 0).into()],
            Some(Host::Ipv6(v6)) => vec![(v6, 0).into()],
            _ => tokio::net::lookup_host((host.as_str(), 0))
                .await
                .map_err(|error| {
                    Failure::network(format!("{host} has no address: {error}"))
                        .advice("Check `Settings::server` and the network.")
                })?
                .collect(),
        };
        if host == "localhost" && !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Err(Failure::local("localhost is another computer here: its name leads away"));
        }
        // The farthest address counts: one private address among public ones must not open the private network.
        let nearest = addresses.iter().map(|address| Reach::of(address.ip())).max().unwrap_or(Reach::Public);
        let hosts = settings.chosen();
        let hosts = hosts.iter().chain([server]).filter_map(Url::host_str);
        let chosen: Vec<String> = hosts.map(str::to_owned).collect();
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .user_agent(format!("{}/{}", settings.application.name, settings.application.version))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(settings.timeout);
        if matches!(server.host(), Some(Host::Domain(_))) {
            builder = builder.resolve_to_addrs(&host, &addresses);
        }
        // A host that the person chose may be anywhere.
        let guard = Guard::new(move |host, ip| chosen.iter().any(|one| one == host) || Reach::of(ip) >= nearest);
        let fetcher =
            Fetcher::new(builder, guard).map_err(|error| Failure::local(format!("no HTTP client: {error}")))?;
        let trace = Trace { observer, secrets: secrets.clone() };
        Ok(Http { fetcher, count: AtomicU32::new(0), settings, trace, secrets })
    }

    /// The number of the next exchange.
    pub fn next(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The number of the latest exchange.
    pub fn last(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// An explanation in the trace.
    pub fn note(&self, text: &str) {
        self.trace.note(text);
    }

    /// A comparison that was made, and held.
    pub fn checked(&self, text: &str) {
        self.trace.checked(text);
    }

    /// Whether a URL may be asked, or opened in a browser.
    ///
    /// # Errors
    /// Says why not.
    pub fn check(&self, url: &Url) -> std::result::Result<(), String> {
        parse_url(url.as_str())?;
        self.fetcher.guard().check(url).map_err(|_| FORBIDDEN.to_owned())
    }

    /// Sends a request and reads its answer, which may be of any status. Redirects are answers, too.
    ///
    /// # Errors
    /// If the address is forbidden, or no answer comes within the limits of time and length.
    pub async fn send(&self, why: &str, request: &Request) -> Result<Answer> {
        let (exchange, response) = self.begin(why, request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = fetch::read(response, request.limit)
            .await
            .map_err(|problem| unread(&request.url, status, &problem).at(exchange))?;
        self.trace.response(status, &headers, &body);
        Ok(Answer { exchange, status, headers, body })
    }

    /// Sends a request; the number of the exchange, and the response, which is still to be read.
    ///
    /// # Errors
    /// If the address is forbidden, or nobody answers.
    pub async fn begin(&self, why: &str, request: &Request) -> Result<(u32, Response)> {
        let exchange = self.next();
        self.trace.request(exchange, why, request);
        let refused =
            |why: String| Failure::authorization(format!("refused to ask {}: {why}", shown(&request.url))).at(exchange);
        self.check(&request.url).map_err(refused)?;
        let mut sent = reqwest::Request::new(request.method.clone(), request.url.clone());
        for (name, value) in &request.headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| Failure::network(format!("{name} has characters that no header may have")).at(exchange))?;
            value.set_sensitive(true);
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| refused(format!("{name} is not a valid header name")))?;
            sent.headers_mut().append(name, value);
        }
        let (content_type, body) = match &request.body {
            Body::Empty => (None, None),
            Body::Json(value) => (Some("application/json"), Some(value.to_string())),
            Body::Form(pairs) => {
                let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                (Some("application/x-www-form-urlencoded"), Some(form))
            }
        };
        if let Some(content_type) = content_type {
            sent.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        *sent.body_mut() = body.map(Into::into);
        let response = self.fetcher.send(sent).await.map_err(|problem| broken(&request.url, &problem).at(exchange))?;
        Ok((exchange, response))
    }

    /// Fetches a document. Redirects are followed where they stay with the same origin, three of them.
    ///
    /// # Errors
    /// As [`Http::send`], and if a redirect leads away.
    pub async fn get(&self, why: &str, url: Url) -> Result<Answer> {
        let mut request = Request::get(url);
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.send(why, &request).await?;
            if !answer.status.is_redirection() {
                return Ok(answer);
            }
            let target = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            let target = target.and_then(|text| request.url.join(text).ok());
            match target {
                Some(target) if target.origin() == request.url.origin() => request.url = target,
                _ => {
                    return Err(Failure::authorization(format!(
                        "{} redirects to another place; redirects are followed within one origin only",
                        shown(&request.url)
                    ))
                    .at(answer.exchange));
                }
            }
        }
        Err(Failure::authorization(format!("{} redirects again and again", shown(&request.url))).at(self.last()))
    }
}

/// Our own refusal.
const FORBIDDEN: &str = "it leads into a private network, where a server from outside has no business (unless you name it with `Settings::issuer`)";

/// Why an answer that has begun could not be read. An answer that is too long still counts as an answer.
pub fn unread(url: &Url, status: StatusCode, problem: &Problem) -> Failure {
    let mut failure = broken(url, problem);
    if matches!(problem, Problem::TooLarge(_)) {
        failure.status = Some(status.as_u16());
    }
    failure
}

/// Why there is no answer, in a sentence: the causes at the bottom say more than the HTTP client's own words, which
/// repeat the URL with its query.
fn broken(url: &Url, problem: &Problem) -> Failure {
    let url = shown(url);
    match problem {
        Problem::Forbidden => Failure::authorization(format!("refused to ask {url}: {FORBIDDEN}")),
        Problem::TooSlow => Failure::network(format!("{url} took too long"))
            .advice("Try again, or allow more time with `Settings::timeout`."),
        Problem::TooLarge(_) => nobody(&url, &problem.to_string()),
        Problem::Unreachable(error) => {
            let mut cause: &dyn Error = error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            Failure { unconnected: error.is_connect(), ..nobody(&url, &cause.to_string()) }
        }
    }
}

fn nobody(url: &str, why: &str) -> Failure {
    Failure::network(format!("no answer from {url}: {why}")).advice("Is the server running, and is the address right?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Application;

    async fn client_of(server: &str) -> Http {
        let settings = Settings::new(Url::parse(server).unwrap(), Application::new("test", "1"));
        Http::new(settings, None, Arc::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_server_on_the_internet_leads_nowhere_near() {
        let far = client_of("https://1.1.1.1/mcp").await;
        let near = client_of("http://127.0.0.1/mcp").await;
        for url in [
            "https://169.254.169.254/",
            "https://10.1.2.3/",
            "https://0.0.0.0/",
            "https://[::]/",
            "http://127.0.0.1/",
            "http://localhost/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::a00:1]/",
        ] {
            let url = Url::parse(url).unwrap();
            assert!(far.check(&url).is_err(), "{url}");
            assert!(near.check(&url).is_ok(), "{url}");
        }
        let refused = far.send("test", &Request::get(Url::parse("http://localhost:1/").unwrap())).await.err().unwrap();
        assert!(refused.message.contains("private network"), "{refused:?}");
    }
}
