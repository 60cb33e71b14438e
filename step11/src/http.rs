//! The one way out. Every request of this program passes here, and every answer is read here: what it may be addressed
//! to, how long it may take, how long it may be. Other people's servers name most of these URLs, so nothing about them
//! is believed.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use actix_web::web::Bytes;
use common::{
    jsonrpc::METHOD_NOT_FOUND,
    network::{is_loopback, is_public},
};
use futures_util::{
    Stream, StreamExt,
    stream::{self, FuturesUnordered},
};
use reqwest::{
    Method, Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION},
    redirect::Policy,
};
use serde_json::{Value, json};
use url::{Host, Url};

use crate::{
    event_stream::EventStream,
    failure::{Failure, Result},
    terminal,
    trace::{Secrets, Trace},
};

/// The longest URL that a document may name.
const MAX_URL: usize = 4_096;
/// The longest answer of an authorization server, and the longest metadata document, in bytes.
pub const MAX_DOCUMENT: usize = 256 * 1024;
/// The longest answer of an MCP server, in bytes; of an event stream, all of it together.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;
const MAX_REDIRECTS: usize = 3;
/// How many requests of a server are answered within one stream.
const MAX_REPLIES: usize = 100;
/// How long the last of these answers may take when the stream has said what it was opened for.
const LAST_REPLIES: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How far into the network the documents of a server may lead: not nearer to this computer than the server is itself.
/// A server on the internet must not make us knock at our own doors (security best practices, "Server-Side Request
/// Forgery"); a development server on this computer names its neighbours, which is what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Loopback,
    Private,
    Public,
}

impl Reach {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // A connection to no address at all reaches this computer.
            address if address.is_loopback() || address.is_unspecified() => Reach::Loopback,
            _ if is_public(address) => Reach::Public,
            _ => Reach::Private,
        }
    }
}

/// A URL that anybody gave us, if it is one that may be asked: https, or http to this computer (OAuth 2.1 §1.5),
/// without user, password and fragment.
pub fn parse_url(text: &str) -> std::result::Result<Url, String> {
    let shown = terminal::line(text);
    if text.len() > MAX_URL {
        return Err(format!("a URL of {} characters is too long", text.len()));
    }
    if text.trim() != text || text.chars().any(|c| c.is_control() || c == '\\') {
        return Err(format!("{shown:?} is not a URL"));
    }
    let url = Url::parse(text).map_err(|_| format!("{shown:?} is not a URL"))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(format!("{shown:?} is plain http, which is for this computer only")),
        _ => return Err(format!("{shown:?} is neither https nor http")),
    }
    if url.host_str().is_none_or(str::is_empty) || !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{shown:?} must name a host, and no user"));
    }
    if url.fragment().is_some() {
        return Err(format!("{shown:?} must not have a fragment"));
    }
    Ok(url)
}

/// Asks the system for addresses, and lets only those pass that the server's documents may lead to. It sits where the
/// connection gets its addresses from: checking beforehand would leave time for a name to change its mind.
struct Guard {
    nearest: Reach,
    chosen: Arc<[String]>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        // What the person chose may be wherever it is.
        let nearest = if self.chosen.iter().any(|host| host == name.as_str()) { Reach::Loopback } else { self.nearest };
        // The one name that may be spoken to in plain text must not lead away from this computer.
        let stay = name.as_str() == "localhost";
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let refused = |address: &SocketAddr| {
                let reach = Reach::of(address.ip());
                reach < nearest || (stay && reach != Reach::Loopback)
            };
            if addresses.iter().any(refused) {
                return Err(Forbidden.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Our own refusal, found again at the bottom of the HTTP client's error.
#[derive(Debug)]
struct Forbidden;

impl std::fmt::Display for Forbidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it leads into a private network, where a server from outside has no business (unless you name it with --issuer)")
    }
}

impl Error for Forbidden {}

/// A request, complete, before it is sent: so that it can be shown, and sent again with another token.
#[derive(Clone)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    pub body: Body,
    /// The longest answer, in bytes.
    pub limit: usize,
}

#[derive(Clone)]
pub enum Body {
    Empty,
    Json(Value),
    Form(Vec<(&'static str, String)>),
}

impl Request {
    pub fn get(url: Url) -> Self {
        let headers = vec![("Accept".to_owned(), "application/json".to_owned())];
        Request { method: Method::GET, url, headers, body: Body::Empty, limit: MAX_DOCUMENT }
    }

    pub fn post(url: Url, body: Body) -> Self {
        let headers = vec![("Accept".to_owned(), "application/json".to_owned())];
        Request { method: Method::POST, url, headers, body, limit: MAX_DOCUMENT }
    }
}

/// What a request says of the session that it belongs to; the rest of its headers is about its own message.
const OF_THE_SESSION: [&str; 3] = ["Accept", "MCP-Protocol-Version", SESSION_ID];
pub const SESSION_ID: &str = "Mcp-Session-Id";

impl Request {
    /// A message to the same server, in the same session. `session` is what the server has just called it.
    fn in_session(&self, message: Value, session: Option<&str>) -> Self {
        let is = |name: &str, header: &str| name.eq_ignore_ascii_case(header);
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| OF_THE_SESSION.iter().any(|one| is(name, one)));
        if let Some(session) = session.filter(|_| !headers.iter().any(|(name, _)| is(name, SESSION_ID))) {
            headers.push((SESSION_ID.to_owned(), session.to_owned()));
        }
        Request { headers, body: Body::Json(message), limit: MAX_DOCUMENT, ..self.clone() }
    }
}

/// An answer, read to its end.
pub struct Answer {
    /// The number of the exchange, as the trace counts them.
    pub exchange: u32,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// All values of a header that are text; what a server says there may be in any language (RFC 9110 §5.5).
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| str::from_utf8(value.as_bytes()).ok())
    }
}

/// The HTTP client, and what all exchanges of a run have in common.
pub struct Http {
    client: reqwest::Client,
    nearest: Reach,
    chosen: Arc<[String]>,
    count: AtomicU32,
    pub trace: Trace,
    pub secrets: Arc<Secrets>,
}

impl Http {
    /// A client for one MCP server and those that it names; `chosen` are others that the person named. The server's name is resolved once, here, and stays what it
    /// was: else it could be near when its reach is judged, and far when it is asked.
    ///
    /// # Errors
    /// If the name has no address.
    pub async fn new(
        server: &Url,
        chosen: &[Url],
        timeout: Duration,
        secrets: Arc<Secrets>,
        trace: Trace,
    ) -> Result<Self> {
        let host = server.host_str().unwrap_or_default().to_owned();
        // An address is pinned for the whole host. Its port is 0, which is each URL's own: with the MCP server's port, what
        // is for another server of this host, such as `http://localhost`, would go to the MCP server.
        let addresses: Vec<SocketAddr> = match server.host() {
            Some(Host::Ipv4(v4)) => vec![(v4, 0).into()],
            Some(Host::Ipv6(v6)) => vec![(v6, 0).into()],
            _ => tokio::net::lookup_host((host.as_str(), 0))
                .await
                .map_err(|error| {
                    Failure::network(format!("{host} has no address: {error}"))
                        .advice("Check --server and the network.")
                })?
                .collect(),
        };
        if host == "localhost" && !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Err(Failure::local("localhost is another computer here: its name leads away"));
        }
        // The farthest counts: a name with one private address among public ones opens no door.
        let nearest = addresses.iter().map(|address| Reach::of(address.ip())).max().unwrap_or(Reach::Public);
        let hosts = chosen.iter().chain([server]).filter_map(Url::host_str);
        let chosen: Arc<[String]> = hosts.map(str::to_owned).collect();
        let mut builder = reqwest::Client::builder()
            .dns_resolver(Arc::new(Guard { nearest, chosen: chosen.clone() }))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("step11/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout);
        if matches!(server.host(), Some(Host::Domain(_))) {
            builder = builder.resolve_to_addrs(&host, &addresses);
        }
        let client = builder.build().map_err(|error| Failure::local(format!("no HTTP client: {error}")))?;
        Ok(Http { client, nearest, chosen, count: AtomicU32::new(0), trace, secrets })
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
        self.trace.note(&self.secrets, text);
    }

    /// Whether a URL may be asked, or opened in a browser. No resolver is asked about an address written as such, so the
    /// [`Guard`] never sees it.
    ///
    /// # Errors
    /// Says why not.
    pub fn check(&self, url: &Url) -> std::result::Result<(), String> {
        parse_url(url.as_str())?;
        let literal = match url.host() {
            Some(Host::Ipv4(v4)) => Reach::of(v4.into()),
            Some(Host::Ipv6(v6)) => Reach::of(v6.into()),
            Some(Host::Domain("localhost")) => Reach::Loopback,
            _ => return Ok(()),
        };
        if literal < self.nearest && !self.chosen.iter().any(|host| url.host_str() == Some(host)) {
            return Err(Forbidden.to_string());
        }
        Ok(())
    }

    /// Sends a request and reads its answer, which may be of any status. Redirects are answers, too.
    ///
    /// # Errors
    /// If the address is forbidden, or no answer comes in the time and length that there is.
    pub async fn send(&self, why: &str, request: &Request) -> Result<Answer> {
        let (exchange, response) = self.begin(why, request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = whole(bounded(response, request.limit))
            .await
            .map_err(|error| unread(&request.url, status, &error).at(exchange))?;
        self.trace.response(&self.secrets, status, &headers, &body);
        Ok(Answer { exchange, status, headers, body })
    }

    /// The same for MCP, whose answers may be event streams: of these, only the message is read that answers `id`, as
    /// the server may keep the stream open. A request that the server makes meanwhile is answered at once, as it may wait
    /// for that (MCP 2025-11-25 "Ping"); `authorize` makes our answer a request that the server lets through.
    ///
    /// # Errors
    /// The same, and if the stream ends without that message.
    pub async fn send_message(
        &self,
        why: &str,
        request: &Request,
        id: &Value,
        authorize: impl Fn(&Request) -> Result<Request>,
    ) -> Result<Answer> {
        let (exchange, response) = self.begin(why, &authorize(request)?).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let at = |error: &ReadError| unread(&request.url, status, error).at(exchange);
        let mut chunks = Box::pin(bounded(response, request.limit));
        if !(status == StatusCode::OK && is_event_stream(&headers)) {
            let body = whole(chunks).await.map_err(|error| at(&error))?;
            self.trace.response(&self.secrets, status, &headers, &body);
            return Ok(Answer { exchange, status, headers, body });
        }
        self.trace.head(&self.secrets, status, &headers);
        let session = headers.get(SESSION_ID).and_then(|value| value.to_str().ok());
        let mut events = EventStream::default();
        let (mut replies, mut answered) = (FuturesUnordered::new(), 0);
        let answer = loop {
            // The stream is read on while a reply is under way: a server may serve one request at a time.
            let chunk = tokio::select! {
                biased;
                Some(()) = replies.next() => continue,
                chunk = chunks.next() => chunk,
            };
            let Some(chunk) = chunk.transpose().map_err(|error| at(&error))? else { break None };
            let mut messages = chunk.iter().filter_map(|byte| events.push(*byte)).flat_map(one_by_one);
            let answer = messages.find(|data| {
                let message: Value = serde_json::from_slice(data).unwrap_or_default();
                if let Some(reply) = reply(&message)
                    && answered < MAX_REPLIES
                {
                    answered += 1;
                    self.trace.body(&self.secrets, data);
                    replies.push(self.deliver(authorize(&request.in_session(reply, session))));
                }
                is_response(&message, id)
            });
            if answer.is_some() {
                break answer;
            }
        };
        // Those who asked before they answered hear from us, too, if they listen.
        let all = async { while replies.next().await.is_some() {} };
        let in_time = tokio::time::timeout(LAST_REPLIES, all).await.is_ok();
        if !in_time {
            self.note("The server does not take our answers to its requests.");
        }
        let body = answer.ok_or_else(|| Failure::network("the event stream ended without an answer").at(exchange))?;
        if answered > 0 {
            self.note(&format!("The stream of exchange {exchange} goes on."));
        }
        self.trace.body(&self.secrets, &body);
        Ok(Answer { exchange, status, headers, body })
    }

    /// Sends our answer to a request of the server's. Whether it arrives is the server's business.
    async fn deliver(&self, reply: Result<Request>) {
        let sent = async {
            let reply = reply?;
            let (_, response) = self.begin("Answer the server's request, which came in the stream", &reply).await?;
            // A server that takes it says 202 and no more (MCP 2025-11-25 "Sending Messages to the Server").
            self.trace.response(&self.secrets, response.status(), response.headers(), &[]);
            Ok::<(), Failure>(())
        };
        if let Err(failure) = sent.await {
            self.note(&format!("That answer did not arrive: {}.", failure.message));
        }
    }

    async fn begin(&self, why: &str, request: &Request) -> Result<(u32, Response)> {
        let exchange = self.next();
        self.trace.request(&self.secrets, exchange, why, request);
        let refused =
            |why: String| Failure::authorization(format!("refused to ask {}: {why}", shown(&request.url))).at(exchange);
        self.check(&request.url).map_err(refused)?;
        let mut builder = self.client.request(request.method.clone(), request.url.clone());
        for (name, value) in &request.headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| Failure::network(format!("{name} has characters that no header may have")).at(exchange))?;
            value.set_sensitive(true);
            builder = builder.header(
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused(format!("{name} is no header")))?,
                value,
            );
        }
        builder = match &request.body {
            Body::Empty => builder,
            Body::Json(value) => builder.header(CONTENT_TYPE, "application/json").body(value.to_string()),
            Body::Form(pairs) => {
                let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                builder.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
            }
        };
        let response = builder.send().await.map_err(|error| broken(&request.url, &error).at(exchange))?;
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

/// The URL without these parameters in its query. An endpoint may have a query of its own, which stays as it is (RFC 6749
/// §3.1, §3.2); but no parameter may be sent twice, and which of two counts is anybody's guess.
pub fn without(url: &Url, names: &[&str]) -> Url {
    let Some(query) = url.query() else { return url.clone() };
    let is_named = |pair: &&str| {
        url::form_urlencoded::parse(pair.as_bytes()).next().is_some_and(|(name, _)| names.contains(&&*name))
    };
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_named(pair)).collect();
    let mut url = url.clone();
    url.set_query((!rest.is_empty()).then(|| rest.join("&")).as_deref());
    url
}

/// A URL in a message, without its query, which may hold anything.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    terminal::line(url.as_str())
}

/// Whether a JSON-RPC message is the response to a request: not a request of the server's own with the same id. An error
/// may come without an id, where the server could not read ours (JSON-RPC 2.0 §5).
pub fn is_response(message: &Value, id: &Value) -> bool {
    let error = message["error"].is_object();
    message["jsonrpc"] == "2.0"
        && message["method"].is_null()
        && (message["result"].is_object() || error)
        && (message["id"] == *id || (message["id"].is_null() && error))
}

/// The messages of an event. In 2025-03-26 a server may send several together, as an array (its "Base Protocol",
/// "Batching").
fn one_by_one(event: Vec<u8>) -> Vec<Vec<u8>> {
    match serde_json::from_slice(&event) {
        Ok(Value::Array(messages)) => messages.iter().map(|message| message.to_string().into_bytes()).collect(),
        _ => vec![event],
    }
}

/// Our answer to a request of the server's: to a ping an empty result (MCP 2025-11-25 "Ping"), to everything else that
/// this client has no such method, as it has none of the capabilities (JSON-RPC 2.0 §5.1). `None`: it is not a request.
fn reply(message: &Value) -> Option<Value> {
    let id = &message["id"];
    let method = message["method"].as_str()?;
    if message["jsonrpc"] != "2.0" || !(id.is_string() || id.is_i64() || id.is_u64()) {
        return None;
    }
    if method == "ping" {
        return Some(json!({ "jsonrpc": "2.0", "id": id, "result": {} }));
    }
    let error = json!({ "code": METHOD_NOT_FOUND, "message": "This client has no such method." });
    Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
}

/// All of a body.
async fn whole(
    chunks: impl Stream<Item = std::result::Result<Bytes, ReadError>>,
) -> std::result::Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    let mut chunks = Box::pin(chunks);
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk?);
    }
    Ok(body)
}

/// The chunks of a body, up to a limit.
fn bounded(response: Response, limit: usize) -> impl Stream<Item = std::result::Result<Bytes, ReadError>> {
    stream::try_unfold((response, 0), move |(mut response, read)| async move {
        let Some(chunk) = response.chunk().await.map_err(ReadError::Http)? else { return Ok(None) };
        let read = read + chunk.len();
        if read > limit {
            return Err(ReadError::TooLong(limit));
        }
        Ok(Some((chunk, (response, read))))
    })
}

#[derive(Debug)]
enum ReadError {
    Http(reqwest::Error),
    TooLong(usize),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReadError::Http(error) => error.fmt(f),
            ReadError::TooLong(limit) => write!(f, "the answer is longer than {} KiB", limit / 1024),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ReadError::Http(error) => Some(error),
            ReadError::TooLong(_) => None,
        }
    }
}

/// Why an answer that has begun could not be read. One that is too long is an answer nevertheless.
fn unread(url: &Url, status: StatusCode, error: &ReadError) -> Failure {
    let mut failure = broken(url, error);
    if matches!(error, ReadError::TooLong(_)) {
        failure.status = Some(status.as_u16());
    }
    failure
}

/// Why there is no answer, in a sentence: the causes at the bottom say more than the HTTP client's own words, which
/// repeat the URL with its query.
fn broken(url: &Url, error: &(dyn Error + 'static)) -> Failure {
    let mut cause = Some(error);
    let mut last = String::new();
    let (mut timed_out, mut unconnected) = (false, false);
    while let Some(error) = cause {
        if error.downcast_ref::<Forbidden>().is_some() {
            return Failure::authorization(format!("refused to ask {}: {error}", shown(url)));
        }
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            timed_out |= error.is_timeout();
            unconnected |= error.is_connect();
        }
        last = error.to_string();
        cause = error.source();
    }
    let failure = if timed_out {
        Failure::network(format!("{} took too long", shown(url)))
            .advice("Try again, or allow more time with --timeout.")
    } else {
        Failure::network(format!("no answer from {}: {last}", shown(url)))
            .advice("Is the server running, and is the address right?")
    };
    Failure { unconnected, ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_computer() {
        for url in ["https://mcp.example/mcp", "http://localhost:9000/mcp", "http://127.0.0.1/", "http://[::1]:1/x?y=1"]
        {
            assert!(parse_url(url).is_ok(), "{url}");
        }
        for url in [
            "http://mcp.example/mcp",
            "http://localhost.evil.example/",
            "http://10.0.0.1/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "-flag",
            "--",
            "",
            "https://user@mcp.example/",
            "https://user:password@mcp.example/",
            "https://mcp.example/#fragment",
            " https://mcp.example/",
            "https://mcp.example/\n",
            "https:\\\\mcp.example\\",
            "data:text/html,x",
        ] {
            assert!(parse_url(url).is_err(), "{url}");
        }
        assert!(parse_url(&format!("https://mcp.example/{}", "x".repeat(MAX_URL))).is_err());
    }

    #[test]
    fn what_is_sent_is_not_in_the_query_already() {
        for (url, rest) in [
            ("https://as.example/authorize", "https://as.example/authorize"),
            ("https://as.example/authorize?", "https://as.example/authorize?"),
            ("https://as.example/authorize?resource=x", "https://as.example/authorize"),
            (
                "https://as.example/authorize?tenant=a&resource=https://x.example",
                "https://as.example/authorize?tenant=a",
            ),
            ("https://as.example/?%72esource=x&resource&a=b%20c+d&resource=y", "https://as.example/?a=b%20c+d"),
            ("https://as.example/?resources=x&Resource=y", "https://as.example/?resources=x&Resource=y"),
        ] {
            assert_eq!(without(&Url::parse(url).unwrap(), &["resource", "state"]).as_str(), rest, "{url}");
        }
    }

    #[test]
    fn a_servers_request_has_an_answer_and_nothing_else_has() {
        let error = |id: Value| {
            let error = json!({ "code": -32601, "message": "This client has no such method." });
            Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }))
        };
        for (message, answer) in [
            (
                json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }),
                Some(json!({ "jsonrpc": "2.0", "id": 1, "result": {} })),
            ),
            (
                json!({ "jsonrpc": "2.0", "id": "a", "method": "sampling/createMessage", "params": {} }),
                error(json!("a")),
            ),
            (json!({ "jsonrpc": "2.0", "id": 0, "method": "roots/list" }), error(json!(0))),
            (json!({ "jsonrpc": "2.0", "id": -1, "method": "elicitation/create" }), error(json!(-1))),
            (json!({ "jsonrpc": "2.0", "id": 1, "method": "Ping" }), error(json!(1))),
            (json!({ "jsonrpc": "2.0", "method": "notifications/message" }), None),
            (json!({ "jsonrpc": "2.0", "id": null, "method": "ping" }), None),
            (json!({ "jsonrpc": "2.0", "id": 1.5, "method": "ping" }), None),
            (json!({ "jsonrpc": "2.0", "id": 1, "result": {} }), None),
            (json!({ "jsonrpc": "1.0", "id": 1, "method": "ping" }), None),
            (json!([{ "jsonrpc": "2.0", "id": 1, "method": "ping" }]), None),
        ] {
            assert_eq!(reply(&message), answer, "{message}");
        }
    }

    #[tokio::test]
    async fn a_server_on_the_internet_leads_nowhere_near() {
        let far =
            Http::new(&Url::parse("https://1.1.1.1/mcp").unwrap(), &[], CONNECT_TIMEOUT, Arc::default(), Trace::Off)
                .await
                .unwrap();
        let near =
            Http::new(&Url::parse("http://127.0.0.1/mcp").unwrap(), &[], CONNECT_TIMEOUT, Arc::default(), Trace::Off)
                .await
                .unwrap();
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
