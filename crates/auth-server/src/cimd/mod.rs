//! Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document-00): a `client_id` that is
//! a URL, at which the client describes itself.
//!
//! Anybody who sends a browser here chooses what this server fetches, so the server distrusts everything: the URL, each
//! address its name resolves to (§6.5, SSRF), the length (§6.6) and the type of the answer, and the time it takes.
//! Redirects are not followed: a document elsewhere is not at the `client_id`, and each hop could lead to another
//! forbidden address.

mod document;
mod limits;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use oauth::{
    address::is_public,
    client_metadata::ClientMetadata,
    fetch::{self, Guard},
    redirect_uri::AppSchemes,
};
use quick_cache::sync::Cache;
use reqwest::{
    Certificate, Client, Method, Request,
    header::{ACCEPT, ACCEPT_ENCODING, HeaderValue},
};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

pub(crate) use self::document::{Problem, is_client_id_url};
use self::{
    document::{check_head, lifetime, parse},
    limits::Limits,
};
use crate::clock::Clock;

/// The draft recommends 5 kilobytes (§6.6).
const MAX_BODY: usize = 5 * 1024;
/// How many documents are fetched at once, from one host and in all. So a slow host delays only its own clients.
const FETCHES_OF_A_HOST: usize = 2;
const MAX_FETCHES: usize = 32;
/// How many fetches a minute: nobody may use this server to flood another host.
const A_MINUTE_OF_A_HOST: NonZeroU32 = NonZeroU32::new(30).expect("it is not 0");
const A_MINUTE: NonZeroU32 = NonZeroU32::new(300).expect("it is not 0");
/// How many documents and how many failures are remembered. They are stored separately, so that failures evict no
/// documents; and documents that nobody asks for again evict none that are in use.
const MAX_DOCUMENTS: usize = 256;
const MAX_FAILURES: usize = 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a failure is remembered, so that repeated requests do not flood another host. The draft forbids caching
/// failures (§4.4), so that a corrected document is accepted; that is why this is so short.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// When to try again if a document is temporarily unavailable, in seconds.
pub(crate) const RETRY_AFTER: u64 = AFTER_FAILURE.as_secs();

/// Where documents may be fetched from (§6.5): the public internet, and this computer if a developer allows it.
fn guard(allow_loopback: bool) -> Guard {
    Guard::new(move |_, address| if address.is_loopback() { allow_loopback } else { is_public(address) })
}

/// The settings that tests replace and developers allow.
pub(crate) struct Options {
    /// http and https to loopback addresses, for development.
    pub allow_loopback: bool,
    pub schemes: AppSchemes,
    pub clock: Clock,
    pub guard: Guard,
    /// Trusted besides the system's.
    pub roots: Vec<Certificate>,
}

impl Options {
    pub fn new(allow_loopback: bool, schemes: AppSchemes, clock: Clock) -> Self {
        Options { allow_loopback, schemes, clock, guard: guard(allow_loopback), roots: Vec::new() }
    }
}

/// Fetches metadata documents, and remembers them for a while.
#[derive(Clone)]
pub struct Fetcher(Arc<Inner>);

struct Inner {
    http: fetch::Fetcher,
    allow_loopback: bool,
    schemes: AppSchemes,
    timeout: Duration,
    clock: Clock,
    documents: Cache<String, Arc<Document>>,
    failures: Cache<String, (Problem, Instant)>,
    limits: Limits,
    fetches: Semaphore,
    /// The number of fetches under way from each host.
    of_host: Mutex<HashMap<String, usize>>,
}

/// A client's document, and how long it stays valid.
struct Document {
    metadata: ClientMetadata,
    until: Instant,
}

impl Fetcher {
    /// # Errors
    /// If the HTTP client cannot be built, as when a root certificate is malformed.
    pub(crate) fn new(options: Options) -> anyhow::Result<Self> {
        Self::with_timeout(options, FETCH_TIMEOUT)
    }

    fn with_timeout(options: Options, timeout: Duration) -> anyhow::Result<Self> {
        let Options { allow_loopback, schemes, clock, guard, roots } = options;
        let builder = Client::builder()
            .tls_certs_merge(roots)
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .http1_only()
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT);
        let http = fetch::Fetcher::new(builder, guard)?;
        Ok(Self(Arc::new(Inner {
            http,
            allow_loopback,
            schemes,
            timeout,
            documents: Cache::new(MAX_DOCUMENTS),
            failures: Cache::new(MAX_FAILURES),
            limits: Limits::new(A_MINUTE_OF_A_HOST, A_MINUTE, &clock),
            clock,
            fetches: Semaphore::new(MAX_FETCHES),
            of_host: Mutex::default(),
        })))
    }

    /// The client's description of itself, from the cache or from its URL.
    ///
    /// # Errors
    /// Says why there is no document, or why it is not accepted.
    pub async fn fetch(&self, client_id: &str) -> Result<ClientMetadata, Problem> {
        let url = self.0.check(client_id)?;
        let now = self.0.clock.instant();
        self.0.documents.remove_if(client_id, |document| document.until <= now);
        // Of several requests at once, one fetches, and the others wait for its result.
        let document = self.0.documents.get_or_insert_async(client_id, self.0.fetch(url, client_id)).await?;
        Ok(document.metadata.clone())
    }
}

impl Inner {
    /// The document from its URL, unless that failed a moment ago.
    async fn fetch(&self, url: Url, client_id: &str) -> Result<Arc<Document>, Problem> {
        if let Some((problem, until)) = self.failures.get(client_id)
            && self.clock.instant() < until
        {
            return Err(problem);
        }
        let _turn = self.turn(&url)?;
        let found = tokio::time::timeout(self.timeout, self.get(url, client_id)).await;
        match found.unwrap_or(Err(Problem::TooSlow)) {
            Ok((metadata, lifetime)) => Ok(Arc::new(Document { metadata, until: self.clock.instant() + lifetime })),
            Err(problem) => {
                tracing::info!(client_id, %problem, "client metadata refused");
                self.failures.insert(client_id.to_owned(), (problem, self.clock.instant() + AFTER_FAILURE));
                Err(problem)
            }
        }
    }

    /// The right to fetch, as long as it is held.
    fn turn(&self, url: &Url) -> Result<Turn<'_>, Problem> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut of_host = self.of_host();
        let under_way = of_host.get(&host).copied().unwrap_or(0);
        if under_way >= FETCHES_OF_A_HOST {
            return Err(Problem::Busy);
        }
        let permit = self.fetches.try_acquire().map_err(|_| Problem::Busy)?;
        if !self.limits.allow(&host) {
            return Err(Problem::Busy);
        }
        of_host.insert(host.clone(), under_way + 1);
        Ok(Turn { inner: self, host, _permit: permit })
    }

    fn of_host(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.of_host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be refused without a fetch.
    fn check(&self, client_id: &str) -> Result<Url, Problem> {
        let url = is_client_id_url(client_id).ok_or(Problem::NotAUrl)?;
        let plain_text = url.scheme() == "http" && !self.allow_loopback;
        if plain_text || self.http.guard().check(&url).is_err() {
            return Err(Problem::ForbiddenAddress);
        }
        Ok(url)
    }

    async fn get(&self, url: Url, client_id: &str) -> Result<(ClientMetadata, Duration), Problem> {
        let mut request = Request::new(Method::GET, url);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let response = self.http.send(request).await?;
        check_head(&response)?;
        let lifetime = lifetime(response.headers());
        let body = fetch::read(response, MAX_BODY).await?;
        Ok((parse(&body, client_id, &self.schemes)?, lifetime))
    }
}

struct Turn<'a> {
    inner: &'a Inner,
    host: String,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut of_host = self.inner.of_host();
        if let Some(under_way) = of_host.get_mut(&self.host) {
            *under_way -= 1;
            if *under_way == 0 {
                of_host.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        net::{IpAddr, SocketAddr},
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use futures_util::future::join_all;
    use oauth::client_metadata::{MAX_NAME, MAX_REDIRECT_URIS};
    use reqwest::{
        dns::{Addrs, Name, Resolve, Resolving},
        header::{AGE, CACHE_CONTROL, HeaderMap},
    };
    use serde_json::{Value, json};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::{document::*, *};

    const JSON: &str = "Content-Type: application/json\r\n";

    /// Answers every name with the same addresses.
    struct Fixed(Vec<IpAddr>);

    impl Resolve for Fixed {
        fn resolve(&self, _: Name) -> Resolving {
            let addresses: Vec<_> = self.0.iter().map(|&ip| SocketAddr::new(ip, 0)).collect();
            Box::pin(async move { Ok(Box::new(addresses.into_iter()) as Addrs) })
        }
    }

    fn fetcher(allow_loopback: bool, addresses: &[&str]) -> Fetcher {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let options = Options::new(allow_loopback, AppSchemes::new(&[]), Clock::system());
        let options = Options { guard: options.guard.with_resolver(Fixed(addresses)), ..options };
        Fetcher::with_timeout(options, Duration::from_secs(2)).unwrap()
    }

    fn local() -> Fetcher {
        fetcher(true, &["127.0.0.1"])
    }

    /// A web server that answers every request alike, and counts them. `ID` in the answer becomes the URL
    /// that was asked for.
    struct Mock {
        base: String,
        hits: Arc<AtomicUsize>,
    }

    impl Mock {
        async fn start(delay: Duration, status: &str, headers: &str, body: &str) -> Self {
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let base = format!("http://{}", listener.local_addr().unwrap());
            let hits = Arc::new(AtomicUsize::new(0));
            let mock = Self { base: base.clone(), hits: hits.clone() };
            let body = body.to_owned();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    hits.fetch_add(1, SeqCst);
                    let (head, body, base) = (head.clone(), body.clone(), base.clone());
                    tokio::spawn(async move { answer(stream, delay, &base, &head, &body).await });
                }
            });
            mock
        }

        async fn json(body: &Value) -> Self {
            Self::start(Duration::ZERO, "200 OK", JSON, &body.to_string()).await
        }

        fn id(&self) -> String {
            format!("{}/client.json", self.base)
        }

        fn hits(&self) -> usize {
            self.hits.load(SeqCst)
        }
    }

    async fn answer(mut stream: TcpStream, delay: Duration, base: &str, head: &str, body: &str) -> io::Result<()> {
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await?;
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default();
        tokio::time::sleep(delay).await;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.replace("ID", &format!("{base}{path}")).as_bytes()).await?;
        stream.shutdown().await
    }

    fn document() -> Value {
        json!({ "client_id": "ID", "client_name": "Test", "redirect_uris": ["http://127.0.0.1:1/back"] })
    }

    fn with(member: &str, value: Value) -> Value {
        let mut document = document();
        document[member] = value;
        document
    }

    async fn refusal(mock: &Mock) -> Problem {
        local().fetch(&mock.id()).await.unwrap_err()
    }

    #[test]
    fn client_id_urls() {
        for good in [
            "https://client.example/metadata.json",
            "https://client.example:8443/a/b?c=d",
            "https://client.example/a/",
            "http://localhost:3000/client.json",
            "http://[::1]:3000/client.json",
        ] {
            assert!(is_client_id_url(good).is_some(), "{good}");
        }
        let long = format!("https://client.example/{}", "a".repeat(MAX_URL));
        for bad in [
            "",
            "client",
            "https:",
            "https://",
            "https://client.example",
            "https://client.example/",
            "https://client.example?a=b",
            "https://client.example/a#b",
            "https://client.example/a#",
            "https://user@client.example/a",
            "https://@client.example/a",
            "https://:word@client.example/a",
            "https://client.example/./a",
            "https://client.example/a/..",
            "https://client.example/a/../b",
            "https://client.example/a/%2e%2E/b",
            "https://client.example\\a",
            "https:\\\\client.example/a",
            "https://client.example/a\tb",
            " https://client.example/a",
            "https://client.example/a\n",
            "https://Client.example/a",
            "https://0x7f.1/a",
            "https://2130706433/a",
            "http://client.example/a",
            "http://127.0.0.1.example/a",
            "ftp://client.example/a",
            "javascript:alert(1)",
            "file:///etc/passwd",
            &long,
        ] {
            assert!(is_client_id_url(bad).is_none(), "{bad}");
        }
    }

    /// `oauth::fetch` tests the whole table. These addresses show that the table is used, and that the development
    /// switch opens loopback addresses only.
    const FORBIDDEN: [&str; 6] =
        ["10.0.0.1", "169.254.169.254", "192.168.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fd00:ec2::254"];

    #[tokio::test]
    async fn no_name_leads_to_a_forbidden_address() {
        for address in FORBIDDEN.into_iter().chain(["127.0.0.1", "::1"]) {
            let found = fetcher(false, &["1.1.1.1", address]).fetch("https://client.example/a").await;
            assert_eq!(found.unwrap_err(), Problem::ForbiddenAddress, "{address}");
        }
        for address in FORBIDDEN {
            let found = fetcher(true, &["127.0.0.1", address]).fetch("https://client.example/a").await;
            assert_eq!(found.unwrap_err(), Problem::ForbiddenAddress, "{address}");
        }
    }

    #[tokio::test]
    async fn no_literal_is_a_forbidden_address() {
        let (strict, lenient) = (fetcher(false, &[]), fetcher(true, &[]));
        let id = |address: &str| match address.parse().unwrap() {
            IpAddr::V4(v4) => format!("https://{v4}/a"),
            // As the URL parser writes it, which is not always as we do.
            IpAddr::V6(v6) => format!("https://{}/a", url::Host::<String>::Ipv6(v6)),
        };
        for address in FORBIDDEN {
            for fetcher in [&strict, &lenient] {
                assert_eq!(fetcher.fetch(&id(address)).await.unwrap_err(), Problem::ForbiddenAddress, "{address}");
            }
        }
        for address in ["127.0.0.1", "127.255.255.254", "::1"] {
            assert_eq!(strict.fetch(&id(address)).await.unwrap_err(), Problem::ForbiddenAddress, "{address}");
        }
    }

    #[tokio::test]
    async fn plain_http_stays_on_this_machine() {
        let mock = Mock::json(&document()).await;
        let by_name = mock.id().replace("127.0.0.1", "localhost");
        for id in [&mock.id(), &by_name] {
            assert_eq!(fetcher(false, &["127.0.0.1"]).fetch(id).await.unwrap_err(), Problem::ForbiddenAddress);
        }
        assert_eq!(fetcher(true, &["1.1.1.1"]).fetch(&by_name).await.unwrap_err(), Problem::ForbiddenAddress);
        assert_eq!(local().fetch("http://client.example/a").await.unwrap_err(), Problem::NotAUrl);
        assert_eq!(mock.hits(), 0);
        // With the flag a name may lead to this computer. The fetch then fails only because this server speaks no TLS.
        let tls = mock.id().replace("http://127.0.0.1", "https://client.example");
        assert_eq!(local().fetch(&tls).await.unwrap_err(), Problem::Unreachable);
        assert_eq!(mock.hits(), 1);
    }

    #[tokio::test]
    async fn a_document_is_fetched_once() {
        let mock = Mock::json(&with("unknown", json!({ "members": "are ignored" }))).await;
        let fetcher = local();
        for _ in 0..3 {
            let metadata = fetcher.fetch(&mock.id()).await.unwrap();
            assert_eq!(metadata.client_id, Some(mock.id()));
            assert_eq!(metadata.redirect_uris, ["http://127.0.0.1:1/back"]);
        }
        assert_eq!(mock.hits(), 1);
        fetcher.0.clock.advance(299);
        fetcher.fetch(&mock.id()).await.unwrap();
        assert_eq!(mock.hits(), 1);
        fetcher.0.clock.advance(1);
        fetcher.fetch(&mock.id()).await.unwrap();
        assert_eq!(mock.hits(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_remembered_briefly() {
        let mock = Mock::start(Duration::ZERO, "404 Not Found", JSON, "{}").await;
        let fetcher = local();
        for _ in 0..3 {
            assert_eq!(fetcher.fetch(&mock.id()).await.unwrap_err(), Problem::Unreachable);
        }
        assert_eq!(mock.hits(), 1);
        fetcher.0.clock.advance(10);
        fetcher.fetch(&mock.id()).await.unwrap_err();
        assert_eq!(mock.hits(), 2);
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let target = Mock::json(&document()).await;
        for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
            let location = format!("Location: {}\r\n{JSON}", target.id());
            let mock = Mock::start(Duration::ZERO, status, &location, "{}").await;
            assert_eq!(refusal(&mock).await, Problem::Redirected, "{status}");
        }
        assert_eq!(target.hits(), 0);
    }

    #[tokio::test]
    async fn only_a_200_is_a_document() {
        for status in ["201 Created", "203 Transformed", "206 Partial", "401 Unauthorized", "500 Oops"] {
            let mock = Mock::start(Duration::ZERO, status, JSON, &document().to_string()).await;
            assert_eq!(refusal(&mock).await, Problem::Unreachable, "{status}");
        }
        let id = "http://127.0.0.1:1/nobody-listens";
        assert_eq!(local().fetch(id).await.unwrap_err(), Problem::Unreachable);
        assert_eq!(fetcher(true, &[]).fetch("https://no.example/a").await.unwrap_err(), Problem::Unreachable);
    }

    #[tokio::test]
    async fn too_large() {
        let large = with("padding", json!("x".repeat(MAX_BODY))).to_string();
        // Announced, and not even sent; sent in chunks; sent until the connection closes.
        let chunk = format!("{:x}\r\n{}\r\n", 1024, " ".repeat(1024));
        let chunks = format!("{}0\r\n\r\n", chunk.repeat(6));
        for (headers, body) in [
            (format!("{JSON}Content-Length: {}\r\n", MAX_BODY + 1), ""),
            (format!("{JSON}Transfer-Encoding: chunked\r\n"), &chunks),
            (JSON.to_owned(), &large),
        ] {
            let mock = Mock::start(Duration::ZERO, "200 OK", &headers, body).await;
            assert_eq!(refusal(&mock).await, Problem::TooLarge, "{headers}");
        }
        let fits = document().to_string();
        let fits = format!("{fits}{}", " ".repeat(MAX_BODY - 100 - fits.len()));
        assert!(local().fetch(&Mock::start(Duration::ZERO, "200 OK", JSON, &fits).await.id()).await.is_ok());
    }

    #[tokio::test]
    async fn too_slow() {
        let mock = Mock::start(Duration::from_secs(5), "200 OK", JSON, &document().to_string()).await;
        assert_eq!(refusal(&mock).await, Problem::TooSlow);
        // A head that comes at once, and a body that never ends.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let id = format!("http://{}/a", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{JSON}\r\n").as_bytes()).await.unwrap();
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert_eq!(local().fetch(&id).await.unwrap_err(), Problem::TooSlow);
    }

    #[tokio::test]
    async fn the_type_is_json() {
        for (headers, good) in [
            (JSON, true),
            ("Content-Type: application/JSON; charset=utf-8\r\n", true),
            ("Content-Type: application/cimd+json\r\n", true),
            ("Content-Type: application/json\r\nContent-Encoding: identity\r\n", true),
            ("", false),
            ("Content-Type: text/html\r\n", false),
            ("Content-Type: text/json\r\n", false),
            ("Content-Type: image/svg+json\r\n", false),
            ("Content-Type: application/jsonp\r\n", false),
            ("Content-Type: text/html; application/json\r\n", false),
            ("Content-Type: application/json\r\nContent-Encoding: gzip\r\n", false),
            ("Content-Type: application/json\r\nContent-Encoding: br\r\n", false),
        ] {
            let mock = Mock::start(Duration::ZERO, "200 OK", headers, &document().to_string()).await;
            let found = local().fetch(&mock.id()).await.map(|_| ());
            assert_eq!(found, if good { Ok(()) } else { Err(Problem::WrongType) }, "{headers}");
        }
    }

    #[test]
    fn documents() {
        const ID: &str = "https://client.example/a";
        let schemes = AppSchemes::new(&[]);
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
        let keys = json!({ "keys": [key] });
        let mut private = key.clone();
        private["d"] = json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        let accepts = |document: &Value| {
            parse(document.to_string().replace("\"ID\"", &format!("\"{ID}\"")).as_bytes(), ID, &schemes)
        };
        let name = |length| json!("é".repeat(length));
        let uris = |count| json!(vec!["https://client.example/back"; count]);
        for good in [
            document(),
            with("token_endpoint_auth_method", json!("none")),
            with("client_name", name(MAX_NAME)),
            with("client_uri", json!("https://client.example")),
            with("redirect_uris", uris(MAX_REDIRECT_URIS)),
            with("redirect_uris", json!(["com.example.app:/back"])),
            with("redirect_uris", json!(["https://client.example/back", "javascript:alert(1)"])),
            with("redirect_uris", json!(["cursor://anysphere.cursor-mcp/oauth/callback"])),
            with("token_endpoint_auth_method", json!("")),
            with("client_uri", json!("")),
            with("scope", json!("mcp:read openid")),
            with("grant_types", json!(["authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"])),
            with("response_types", json!(["code", "none"])),
            with("client_name", json!("a\u{ad}b")),
        ] {
            assert!(accepts(&good).is_ok(), "{good}");
        }
        let mut confidential = with("token_endpoint_auth_method", json!("private_key_jwt"));
        assert!(accepts(&confidential).is_err(), "without keys");
        confidential["jwks"] = keys;
        assert!(accepts(&confidential).is_ok());
        for bad in [
            json!([]),
            json!("text"),
            with("client_id", json!("https://client.example/A")),
            with("client_id", json!("https://client.example/a/")),
            with("client_id", json!(null)),
            with("redirect_uris", json!(null)),
            with("redirect_uris", json!([])),
            with("redirect_uris", json!("https://client.example/back")),
            with("redirect_uris", uris(MAX_REDIRECT_URIS + 1)),
            with("redirect_uris", json!(["http://client.example/back", "javascript:alert(1)", ""])),
            with("grant_types", json!(["client_credentials"])),
            with("response_types", json!(["token"])),
            with("redirect_uris", json!(["https://client.example/back#fragment"])),
            with("redirect_uris", json!(["https://user@client.example/back"])),
            with("token_endpoint_auth_method", json!("client_secret_basic")),
            with("token_endpoint_auth_method", json!("client_secret_post")),
            with("token_endpoint_auth_method", json!("client_secret_jwt")),
            with("token_endpoint_auth_method", json!("tls_client_auth")),
            with("client_secret", json!("secret")),
            with("client_secret_expires_at", json!(0)),
            with("jwks", json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] })),
            with("jwks", json!({ "keys": [key, private] })),
            with("client_secret", json!("")),
            with("client_name", json!(null)),
            with("client_name", json!("")),
            with("client_name", json!("\u{3164}\u{fe0f}")),
            with("client_name", json!(" ")),
            with("client_name", name(MAX_NAME + 1)),
            with("client_name", json!("a\nb")),
            with("client_name", json!("a\u{202e}b")),
            with("client_uri", json!("javascript:alert(1)")),
        ] {
            assert!(matches!(accepts(&bad), Err(Problem::NotMetadata(_))), "{bad}");
        }
        for bad in [&b""[..], b"\xff{}", b"{} {}"] {
            assert!(parse(bad, ID, &schemes).is_err());
        }
    }

    #[test]
    fn lifetimes() {
        for (cache_control, age, seconds) in [
            ("", "0", 300),
            ("public", "0", 300),
            ("max-age=600", "0", 600),
            ("public, Max-Age=600", "0", 600),
            ("max-age=\"600\"", "0", 600),
            ("max-age=600", "100", 500),
            ("max-age=600", "9999", 60),
            ("max-age=0", "0", 60),
            ("max-age=-1", "0", 60),
            ("max-age=x", "0", 60),
            ("max-age=99999999999", "0", 86_400),
            ("max-age=600, no-store", "0", 60),
            ("no-cache", "0", 60),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, cache_control.parse().unwrap());
            headers.insert(AGE, age.parse().unwrap());
            assert_eq!(lifetime(&headers), Duration::from_secs(seconds), "{cache_control}");
        }
    }

    #[tokio::test]
    async fn one_fetch_at_a_time_per_client() {
        let mock = Mock::start(Duration::from_millis(100), "200 OK", JSON, &document().to_string()).await;
        let (fetcher, id) = (local(), mock.id());
        let found = join_all((0..50).map(|_| fetcher.fetch(&id))).await;
        assert!(found.iter().all(Result::is_ok));
        assert_eq!(mock.hits(), 1);
    }

    /// A server that never answers.
    async fn slow() -> Mock {
        Mock::start(Duration::from_mins(1), "200 OK", JSON, "").await
    }

    /// Every name leads to this machine. Without TLS none of them has a document, but each is asked.
    async fn problems(fetcher: &Fetcher, ids: impl Iterator<Item = String>) -> Vec<Problem> {
        join_all(ids.map(|id| async move { fetcher.fetch(&id).await.unwrap_err() })).await
    }

    #[tokio::test]
    async fn a_slow_host_keeps_no_other_waiting() {
        let (slow, quick) = (slow().await, Mock::json(&document()).await);
        let fetcher = local();
        let port = slow.base.rsplit(':').next().unwrap();
        let ids = (0..8).map(|n| format!("https://slow.example:{port}/{n}"));
        let (found, other) = tokio::join!(problems(&fetcher, ids), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            fetcher.fetch(&quick.id()).await
        });
        assert!(other.is_ok(), "{other:?}");
        assert_eq!(found.iter().filter(|problem| **problem == Problem::TooSlow).count(), FETCHES_OF_A_HOST);
        assert_eq!(found.iter().filter(|problem| **problem == Problem::Busy).count(), 8 - FETCHES_OF_A_HOST);
        assert!(fetcher.0.of_host().is_empty());
        // Our being busy is not remembered as the client's failure.
        let again = problems(&fetcher, (2..4).map(|n| format!("https://slow.example:{port}/{n}"))).await;
        assert_eq!(again, [Problem::TooSlow; 2]);
    }

    #[tokio::test]
    async fn few_fetches_at_once() {
        let slow = slow().await;
        let port = slow.base.rsplit(':').next().unwrap();
        let ids = (0..MAX_FETCHES + 3).map(|n| format!("https://host{n}.example:{port}/a"));
        let found = problems(&local(), ids).await;
        assert_eq!(found.iter().filter(|problem| **problem == Problem::TooSlow).count(), MAX_FETCHES);
        assert_eq!(found.iter().filter(|problem| **problem == Problem::Busy).count(), 3);
    }

    #[tokio::test]
    async fn nobody_is_asked_without_end() {
        let mock = Mock::start(Duration::ZERO, "404 Not Found", JSON, "{}").await;
        let fetcher = local();
        let mut busy = 0;
        for n in 0..200 {
            busy += usize::from(fetcher.fetch(&format!("{}/{n}", mock.base)).await.unwrap_err() == Problem::Busy);
        }
        assert!((30..=40).contains(&mock.hits()), "{}", mock.hits());
        assert_eq!(busy, 200 - mock.hits());
        fetcher.0.clock.advance(60);
        assert_eq!(fetcher.fetch(&format!("{}/new", mock.base)).await.unwrap_err(), Problem::Unreachable);
    }

    #[tokio::test]
    async fn the_caches_are_bounded_and_failures_push_no_document_out() {
        let mock = Mock::json(&document()).await;
        let fetcher = local();
        fetcher.fetch(&mock.id()).await.unwrap();
        for n in 0..3 * MAX_FAILURES {
            // Inserted by hand, because our limits would refuse so many fetches.
            fetcher.0.failures.insert(n.to_string(), (Problem::Unreachable, Instant::now()));
        }
        assert!(fetcher.0.failures.len() <= MAX_FAILURES);
        fetcher.fetch(&mock.id()).await.unwrap();
        let document = fetcher.0.documents.get(&mock.id()).unwrap();
        for n in 0..3 * MAX_DOCUMENTS {
            fetcher.0.documents.insert(n.to_string(), document.clone());
        }
        assert!(fetcher.0.documents.len() <= MAX_DOCUMENTS);
        // The document in use is still remembered.
        fetcher.fetch(&mock.id()).await.unwrap();
        assert_eq!(mock.hits(), 1);
    }
}
