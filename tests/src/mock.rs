//! Servers that send whatever a test wants, even what is not valid HTTP.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::Value;

/// A request, as it came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    /// The target without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query, or of a form.
    pub fn param(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let mut pairs =
            url::form_urlencoded::parse(query.as_bytes()).chain(url::form_urlencoded::parse(self.body.as_bytes()));
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// The body as JSON; `null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// The answer.
#[derive(Clone, Debug)]
pub enum Reply {
    Http {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// Bytes as they are, and the end of the connection.
    Raw(Vec<u8>),
    /// Nothing for so long, and then the other answer.
    After(Duration, Box<Reply>),
    /// Sends `before`, and `after` once `heard` has reached `enough`. If `heard` does not grow, `after` comes late.
    Wait {
        before: String,
        heard: Arc<AtomicUsize>,
        enough: usize,
        after: String,
    },
    /// These bytes, and then one more every now and then, without end.
    Drip(String),
    /// These bytes, and then more of them as fast as they are taken, without end.
    Flood(String),
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Reply::Http { status, headers: Vec::new(), body: String::new() }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Reply::Http { status, headers: Vec::new(), body: body.to_string() }.with("Content-Type", "application/json")
    }

    pub fn redirect(location: &str) -> Self {
        Self::status(302).with("Location", location)
    }

    /// The same with a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if let Reply::Http { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

type Handler = dyn Fn(&Request, &str) -> Reply + Send + Sync;

/// A server on a free port of 127.0.0.1. It lives as long as the test's process.
#[derive(Clone)]
pub struct Mock {
    pub url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Mock {
    /// Answers each request with what `handler` makes of it and of this server's own URL.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn start(handler: impl Fn(&Request, &str) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0")?, handler)
    }

    /// The same at a port that is known beforehand.
    ///
    /// # Errors
    /// If the listener has no address.
    pub fn on(
        listener: TcpListener,
        handler: impl Fn(&Request, &str) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let url = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
        let mock = Mock { url, seen: Arc::default() };
        let (here, handler): (Mock, Arc<Handler>) = (mock.clone(), Arc::new(handler));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (here, handler) = (here.clone(), handler.clone());
                thread::spawn(move || here.serve(stream, &*handler));
            }
        });
        Ok(mock)
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests there were for a path.
    pub fn hits(&self, path: &str) -> usize {
        self.seen().iter().filter(|request| request.path() == path).count()
    }

    fn serve(&self, stream: TcpStream, handler: &Handler) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let request = read(&mut reader)?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        send(stream, handler(&request, &self.url))
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = Request { method: words.next()?, target: words.next()?, ..Request::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => request.headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Some(request)
}

fn send(mut stream: TcpStream, reply: Reply) -> Option<()> {
    match reply {
        Reply::Http { status, headers, body } => {
            let mut text = format!("HTTP/1.1 {status} Mock\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
            for (name, value) in headers {
                text.extend([&name, ": ", &value, "\r\n"]);
            }
            stream.write_all(format!("{text}\r\n{body}").as_bytes()).ok()
        }
        Reply::Raw(bytes) => stream.write_all(&bytes).ok(),
        Reply::After(time, then) => {
            thread::sleep(time);
            send(stream, *then)
        }
        Reply::Wait { before, heard, enough, after } => {
            stream.write_all(before.as_bytes()).ok()?;
            let end = Instant::now() + Duration::from_secs(10);
            while heard.load(Ordering::SeqCst) < enough && Instant::now() < end {
                thread::sleep(Duration::from_millis(5));
            }
            stream.write_all(after.as_bytes()).ok()
        }
        Reply::Drip(text) => {
            stream.write_all(text.as_bytes()).ok()?;
            loop {
                thread::sleep(Duration::from_millis(200));
                stream.write_all(b" ").ok()?;
            }
        }
        Reply::Flood(text) => {
            stream.write_all(text.as_bytes()).ok()?;
            loop {
                stream.write_all(&[b' '; 16_384]).ok()?;
            }
        }
    }
}
