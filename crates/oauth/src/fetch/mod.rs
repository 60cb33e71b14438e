//! Asking other people's servers. They may be down, slow, wrong or hostile, and they name most of the URLs that are
//! asked, so everything is bounded: where a URL may lead ([`url`], [`guard`]), how long an answer may take, how large
//! it may be. Redirects are never followed: an answer from elsewhere is not the answer of the URL that was asked, and
//! each hop could lead to another forbidden address.

pub mod guard;
pub mod url;

use std::{error::Error, fmt, time::Duration};

use bytes::Bytes;
use reqwest::{
    Client, ClientBuilder, Request, Response,
    header::{AGE, CACHE_CONTROL, HeaderMap},
    redirect::Policy,
};

use self::guard::Forbidden;
pub use self::guard::Guard;
use crate::freshness::freshness;

/// An HTTP client whose guard checks every address.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
    guard: Guard,
}

impl Fetcher {
    /// `builder`: the times, certificates and the like, which the caller knows. A proxy resolves names itself, so that the
    /// guard sees addresses only where they are written in URLs: where URLs come from strangers, use none.
    ///
    /// # Errors
    /// If the HTTP client cannot be built, as when a root certificate is malformed.
    pub fn new(builder: ClientBuilder, guard: Guard) -> reqwest::Result<Self> {
        let builder = builder.dns_resolver(guard.clone()).redirect(Policy::none()).referer(false);
        Ok(Fetcher { client: builder.build()?, guard })
    }

    /// Where it may lead.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Sends a request; the answer, of whatever status, still has its body to come ([`read`], [`Bounded`]).
    ///
    /// # Errors
    /// If the address is forbidden, or no answer comes.
    pub async fn send(&self, request: Request) -> Result<Response, Problem> {
        self.guard.check(request.url()).map_err(|_| Problem::Forbidden)?;
        self.client.execute(request).await.map_err(Problem::from)
    }
}

/// Why there is no answer, or not all of it.
#[derive(Debug)]
pub enum Problem {
    /// The URL leads to an address that the guard does not let pass.
    Forbidden,
    /// The answer is longer than this, in bytes.
    TooLarge(usize),
    /// It took longer than the client's times allow.
    TooSlow,
    /// Nobody answers there, or the connection broke off.
    Unreachable(reqwest::Error),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Forbidden => f.write_str("it leads to an address that must not be asked"),
            Problem::TooLarge(limit) => write!(f, "the answer is longer than {} KiB", limit / 1024),
            Problem::TooSlow => f.write_str("it took too long"),
            Problem::Unreachable(_) => f.write_str("it cannot be reached"),
        }
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Problem::Unreachable(error) => Some(error),
            _ => None,
        }
    }
}

impl From<reqwest::Error> for Problem {
    /// Our own refusal lies at the bottom of the HTTP client's error.
    fn from(error: reqwest::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(one) = cause {
            if one.is::<Forbidden>() {
                return Problem::Forbidden;
            }
            cause = one.source();
        }
        if error.is_timeout() { Problem::TooSlow } else { Problem::Unreachable(error) }
    }
}

/// The body of an answer, chunk by chunk, up to a limit.
#[derive(Debug)]
pub struct Bounded {
    response: Response,
    limit: usize,
    read: usize,
}

impl Bounded {
    /// At most `limit` bytes. What is announced to be longer is refused at once.
    ///
    /// # Errors
    /// If it is announced to be longer.
    pub fn new(response: Response, limit: usize) -> Result<Self, Problem> {
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(Problem::TooLarge(limit));
        }
        Ok(Bounded { response, limit, read: 0 })
    }

    /// The next part, until there is none.
    ///
    /// # Errors
    /// If the connection breaks off, or the body is longer than the limit.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(chunk) = self.response.chunk().await? else { return Ok(None) };
        self.read += chunk.len();
        if self.read > self.limit { Err(Problem::TooLarge(self.limit)) } else { Ok(Some(chunk)) }
    }
}

/// All of a body, at most `limit` bytes.
///
/// # Errors
/// If the connection breaks off, or the body is longer.
pub async fn read(response: Response, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut chunks = Bounded::new(response, limit)?;
    let mut body = Vec::new();
    while let Some(chunk) = chunks.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// How long HTTP says that an answer is fresh (RFC 9111 §4.2). `None`: it does not say. The caller has bounds of its own.
pub fn lifetime(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    freshness(values, headers.get(AGE).and_then(|age| age.to_str().ok()))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use reqwest::Method;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::{guard::tests::Fixed, *};

    /// Answers one request with this.
    async fn serve(answer: &'static str) -> ::url::Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        url.parse().unwrap()
    }

    fn fetcher(allows: fn(&str, IpAddr) -> bool) -> Fetcher {
        let resolver = Fixed(vec!["127.0.0.1".parse().unwrap()]);
        let builder = Client::builder().no_proxy().timeout(Duration::from_secs(5));
        Fetcher::new(builder, Guard::new(allows).with_resolver(resolver)).unwrap()
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_whether_its_length_is_announced_or_not() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        ] {
            for (limit, good) in [(5, true), (4, false)] {
                let request = Request::new(Method::GET, serve(answer).await);
                let response = fetcher(|_, _| true).send(request).await.unwrap();
                match read(response, limit).await {
                    Ok(body) => assert!(good && body == b"hello", "{answer}"),
                    Err(Problem::TooLarge(4)) => assert!(!good, "{answer}"),
                    Err(other) => panic!("{answer}: {other:?}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn what_the_guard_forbids_is_not_asked_by_whatever_name() {
        let away = serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let named: ::url::Url = away.as_str().replace("localhost", "mcp.example").parse().unwrap();
        let literal: ::url::Url = away.as_str().replace("localhost", "127.0.0.1").parse().unwrap();
        for url in [&away, &named, &literal] {
            let refused = fetcher(|_, _| false).send(Request::new(Method::GET, url.clone())).await.unwrap_err();
            assert!(matches!(refused, Problem::Forbidden), "{url} {refused:?}");
        }
        assert!(fetcher(|_, _| true).send(Request::new(Method::GET, named)).await.is_ok());
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer() {
        let url = serve("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n").await;
        let response = fetcher(|_, _| true).send(Request::new(Method::GET, url)).await.unwrap();
        assert_eq!(response.status(), 302);
    }
}
