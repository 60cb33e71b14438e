//! Running a server, and how a program of this workspace ends.

use std::{
    fmt::Debug,
    io::{ErrorKind, Write},
    net::{TcpListener, ToSocketAddrs},
    pin::pin,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use actix_http::Request;
use actix_server::Server;
use actix_service::IntoServiceFactory;
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, Service, ServiceFactory, ServiceResponse},
};
use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use url::Url;

use crate::{
    config::{PublicUrl, ServerArgs, in_colour, is_loopback},
    connections::{self, Limits},
    exchange,
    proxy::ProxyArgs,
};

/// How long a request under way may take to finish once the server was told to stop, in seconds.
const SHUTDOWN_SECONDS: u64 = 8;
/// Connections that may wait to be accepted; the kernel may allow fewer (somaxconn).
const WAITING: i32 = 1024;

impl ServerArgs {
    /// Binds the port. This comes first, since URLs contain the port.
    ///
    /// # Errors
    /// If the port is busy, the host unknown, or the public URL or an allowed origin is not valid.
    pub fn bind(self) -> Result<Listener> {
        self.bind_as(PublicUrl::parse)
    }

    /// The same, for public URLs of another form.
    ///
    /// # Errors
    /// The same.
    pub fn bind_as(self, parse: fn(&str) -> Result<PublicUrl>) -> Result<Listener> {
        if let Some(url) = &self.public_url {
            require_https("--public-url", url, self.allow_insecure_http)?;
        }
        let sockets =
            if self.host == "localhost" { bind_loopback(self.port)? } else { vec![bind(&self.host, self.port)?] };
        let port = sockets[0].local_addr()?.port();
        let public_url = match &self.public_url {
            Some(url) => parse(url).context("--public-url")?,
            None => PublicUrl::parse(&format!("http://localhost:{port}"))?,
        };
        Listener::new(sockets, public_url, self)
    }
}

/// Passwords and tokens may pass over http only on loopback, or if the operator allows it explicitly.
fn require_https(option: &str, url: &str, allow_insecure_http: bool) -> Result<()> {
    if !allow_insecure_http && Url::parse(url).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url)) {
        bail!(
            "{option}: {url} is http on a host that is not loopback, so passwords and tokens could be read on the way: \
             use https, or allow it with --allow-insecure-http"
        );
    }
    Ok(())
}

fn bind(host: &str, port: u16) -> Result<TcpListener> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> =
        (bare, port).to_socket_addrs().with_context(|| format!("the host {host:?} cannot be resolved"))?.collect();
    TcpListener::bind(&addresses[..]).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow::anyhow!("port {port} is busy on {host}: stop what uses it, or choose another with --port")
        }
        _ => anyhow::anyhow!("cannot listen on {host} port {port}: {error}"),
    })
}

/// Binds both loopback addresses, on the same port: `localhost` may mean either, and another program on the other one
/// would answer in our name.
fn bind_loopback(port: u16) -> Result<Vec<TcpListener>> {
    for _ in 0..16 {
        let v4 = bind("127.0.0.1", port)?;
        match TcpListener::bind(("::1", v4.local_addr()?.port())) {
            Ok(v6) => return Ok(vec![v4, v6]),
            Err(error) if error.kind() == ErrorKind::AddrInUse && port == 0 => {} // then try another port
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                bail!("port {port} is busy on ::1: stop what uses it, or choose another with --port")
            }
            Err(_) => return Ok(vec![v4]), // a machine without IPv6
        }
    }
    bail!("found no port that is free on both 127.0.0.1 and ::1")
}

/// Sockets that are bound, but not served yet.
pub struct Listener {
    sockets: Vec<TcpListener>,
    url: String,
    /// The URL that clients know us by.
    pub public_url: PublicUrl,
    /// Whether only this computer can reach us, judged by our address and by our public URL: behind a proxy the address
    /// alone says nothing.
    pub on_loopback: bool,
    allow_insecure_http: bool,
    /// The values of `--allow-origin` and `--allow-host`, as given.
    pub allow_origin: Vec<String>,
    pub allow_host: Vec<String>,
    max_connections: Option<usize>,
    show_exchange: bool,
    proxy: Option<Arc<ProxyArgs>>,
    drain: Duration,
    draining: Arc<AtomicBool>,
}

impl Listener {
    pub(crate) fn new(sockets: Vec<TcpListener>, public_url: PublicUrl, args: ServerArgs) -> Result<Self> {
        let port = sockets[0].local_addr()?.port();
        let host = match args.host.as_str() {
            "0.0.0.0" | "::" | "[::]" | "127.0.0.1" | "::1" | "[::1]" => "localhost",
            other => other,
        };
        let url = format!("http://{host}:{port}");
        let on_loopback = is_loopback(&public_url.to_url())
            && sockets.iter().all(|socket| socket.local_addr().is_ok_and(|address| address.ip().is_loopback()));
        let ServerArgs { allow_insecure_http, allow_origin, allow_host, max_connections, show_exchange, .. } = args;
        if show_exchange && !on_loopback {
            bail!(
                "--show-exchange is for development: it is refused unless both the address (--host) and the public URL \
                 (--public-url) are loopback"
            );
        }
        Ok(Listener {
            sockets,
            url,
            public_url,
            on_loopback,
            allow_insecure_http,
            allow_origin,
            allow_host,
            max_connections,
            show_exchange,
            proxy: None,
            drain: Duration::ZERO,
            draining: Arc::default(),
        })
    }

    /// Believes these proxies when they say whom they speak for.
    pub fn behind(&mut self, proxy: ProxyArgs) {
        self.proxy = Some(Arc::new(proxy));
    }

    /// Goes on for so long once it was told to stop, so that a proxy learns from `/ready` to send nothing more. What is
    /// returned is true from then on.
    pub fn drain(&mut self, time: Duration) -> Arc<AtomicBool> {
        self.drain = time;
        Arc::clone(&self.draining)
    }

    /// The same check for other URLs that people and tokens are sent to. `option`: the option that sets the URL.
    ///
    /// # Errors
    /// If it is http, its host is not loopback, and `--allow-insecure-http` is not given.
    pub fn require_https(&self, option: &str, url: &str) -> Result<()> {
        require_https(option, url, self.allow_insecure_http)
    }

    /// Serves the app until SIGINT or SIGTERM, then lets the requests under way finish.
    ///
    /// # Errors
    /// If the sockets or the signals cannot be used, or the machine does not allow so many connections.
    pub async fn serve<F, I, S, B>(self, app: F) -> Result<()>
    where
        F: Fn() -> I + Send + Clone + 'static,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error> + 'static,
        S::InitError: Debug,
        <S::Service as Service<Request>>::Future: 'static,
        S::Service: 'static,
        B: MessageBody + 'static,
    {
        self.serve_unless(app, std::future::pending()).await
    }

    /// The same, but also stops when something fails that the server cannot do without.
    ///
    /// # Errors
    /// If the sockets or the signals cannot be used; the failure.
    pub async fn serve_unless<F, I, S, B>(self, app: F, failure: impl Future<Output = anyhow::Error>) -> Result<()>
    where
        F: Fn() -> I + Send + Clone + 'static,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error> + 'static,
        S::InitError: Debug,
        <S::Service as Service<Request>>::Future: 'static,
        S::Service: 'static,
        B: MessageBody + 'static,
    {
        let limits = Limits::new(self.max_connections)?;
        let mut server = Server::build()
            .disable_signals() // actix takes SIGINT for "drop everything"
            .shutdown_timeout(SHUTDOWN_SECONDS);
        for socket in self.sockets {
            // The library's default queue is short: in a burst of clients, some would wait a second before they try
            // again.
            socket2::SockRef::from(&socket).listen(WAITING)?;
            let (app, limits, stopping) = (app.clone(), Arc::clone(&limits), server.graceful_shutdown_signal());
            let (address, proxy) = (socket.local_addr()?, self.proxy.clone());
            let path = self.public_url.path().to_owned();
            server = server.listen(address.to_string(), socket, move || {
                connections::http(app(), Arc::clone(&limits), address, proxy.clone(), path.clone(), stopping.clone())
            })?;
        }
        let server = server.run();
        let handle = server.handle();
        let (stopper, draining) = (handle.clone(), self.draining);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        actix_web::rt::spawn(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            draining.store(true, Relaxed);
            tokio::time::sleep(self.drain).await;
            tracing::info!("stopping: requests under way may finish");
            stopper.stop(true).await;
        });
        // Serve even if nobody reads our output.
        let _ = writeln!(std::io::stdout(), "listening on {}", self.url);
        if self.show_exchange {
            exchange::start()?;
        }
        let mut server = pin!(server);
        let outcome = tokio::select! {
            outcome = &mut server => outcome.context("the server failed"),
            error = failure => {
                let (outcome, ()) = tokio::join!(server, handle.stop(true));
                Err(outcome.err().map_or(error, anyhow::Error::from))
            }
        };
        exchange::flush();
        outcome
    }
}

/// Starts the log on standard error: `RUST_LOG` chooses (default `info`), colours only at a terminal.
pub fn init_log() {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn")))
        .with_writer(std::io::stderr)
        .with_ansi(in_colour(&std::io::stderr()))
        .with_target(false)
        .init();
}

/// Turns a program's outcome into its exit code: a failure is one sentence on standard error, and 1.
pub fn exit(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, net::TcpStream};

    use actix_web::{App, HttpResponse, web};
    use clap::Parser;
    use tokio::sync::oneshot;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        server: ServerArgs,
    }

    #[actix_web::test]
    async fn a_failure_stops_the_server_after_the_requests_under_way() {
        let listener = Cli::parse_from(["server", "--port", "0"]).server.bind().unwrap();
        let address = listener.url.trim_start_matches("http://").to_owned();
        let (arrived, fails) = oneshot::channel::<()>();
        let arrived = web::Data::new(std::sync::Mutex::new(Some(arrived)));
        let app = move || {
            let slow = async |arrived: web::Data<std::sync::Mutex<Option<oneshot::Sender<()>>>>| {
                drop(arrived.lock().unwrap().take());
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                HttpResponse::Ok().body("finished")
            };
            App::new().app_data(arrived.clone()).route("/", web::get().to(slow))
        };
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let failure = async {
            let _ = fails.await;
            anyhow::anyhow!("what it cannot do without has failed")
        };
        let outcome = listener.serve_unless(app, failure).await;
        assert_eq!(outcome.unwrap_err().to_string(), "what it cannot do without has failed");
        assert!(client.join().unwrap().ends_with("finished"), "the request was cut off");
    }
}
