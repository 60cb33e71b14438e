//! Who may ask. A page of another site can make a browser call a server on this computer, or in this network. The
//! request then has the page's own `Origin`; or, if the name of the page's site leads to us, that name in `Host` (DNS
//! rebinding). Both headers are checked on every route, before anything else (MCP 2026-07-28 "Streamable HTTP",
//! Security).

use actix_cors::Cors;
use actix_web::{
    Error, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
    middleware::Next,
    web,
};
use anyhow::{Result, bail};
use common::{
    http::{ErrorBody, error_response},
    server::Listener,
};
use url::{Host, Url};

/// The headers of an answer that a page in a browser may read.
const EXPOSED: &str = "WWW-Authenticate, Retry-After, X-Correlation-Id, X-MCP-User, X-MCP-Scopes";
/// The headers that a page may send. The last two are for pages made for servers with sessions; nothing reads them.
const ALLOWED: &str =
    "Authorization, Content-Type, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id, Last-Event-ID";

/// The names of this computer.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Who may ask: browsers from known origins, if they call us by a name of ours.
pub struct Guards {
    /// Origins of other sites that may call us from a browser. Loopback origins always may.
    origins: Vec<Origin>,
    /// Names that clients may call us by. Loopback names are always allowed.
    hosts: Vec<String>,
}

impl Guards {
    /// # Errors
    /// If one of the options is not an origin or a host.
    pub fn new(listener: &Listener) -> Result<Self> {
        let public = listener.public_url.to_url();
        let mut origins: Vec<_> = Origin::of(&public).into_iter().collect();
        for text in &listener.allow_origin {
            match Origin::parse(text) {
                Some(origin) => origins.push(origin),
                None => bail!(
                    "--allow-origin: {text:?} is not an origin such as https://app.example or chrome-extension://abc, with nothing behind it"
                ),
            }
        }
        let mut hosts: Vec<_> = public.host_str().map(str::to_owned).into_iter().collect();
        for host in &listener.allow_host {
            match Host::parse(host) {
                Ok(name) if !host.contains('*') => hosts.push(name.to_string()), // as clients write it
                _ => bail!("--allow-host: {host:?} is not the name of a host, such as mcp.example, without a port"),
            }
        }
        Ok(Guards { origins, hosts })
    }

    /// Answers browsers' preflights. Must be wrapped inside [`Guards::check`], which answers 403 first.
    pub fn cors() -> Cors {
        Cors::default()
            .allow_any_origin() // `check` has let only allowed ones through
            .allowed_methods(["GET", "POST", "DELETE"]) // so that the page can read a 405
            .allowed_headers(ALLOWED.split(", "))
            .expose_headers(EXPOSED.split(", "))
            .max_age(600)
    }

    fn origin_allowed(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN);
        match (origins.next(), origins.next()) {
            (None, _) => true,
            (Some(value), None) => value
                .to_str()
                .ok()
                .and_then(Origin::parse)
                .is_some_and(|origin| origin.is_loopback() || self.origins.contains(&origin)),
            (Some(_), Some(_)) => false,
        }
    }

    fn host_allowed(&self, req: &ServiceRequest) -> bool {
        let mut hosts = req.headers().get_all(header::HOST);
        let (Some(value), None) = (hosts.next(), hosts.next()) else { return false };
        let named = value.to_str().is_ok_and(|host| self.is_ours(host));
        // `GET http://other/ HTTP/1.1` names a host a second time (RFC 9112 §3.2.2).
        named && req.uri().authority().is_none_or(|authority| self.is_ours(authority.as_str()))
    }

    fn is_ours(&self, authority: &str) -> bool {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)), // `[::1]` has no port
            _ => (authority, None),
        };
        let is_port = |port: &str| !port.starts_with('+') && port.parse::<u16>().is_ok();
        let mut names = LOOPBACK.into_iter().chain(self.hosts.iter().map(String::as_str));
        port.is_none_or(is_port) && names.any(|name| host.eq_ignore_ascii_case(name))
    }

    /// Answers 403 to foreign origins and hosts.
    pub async fn check<B: MessageBody + 'static>(
        guards: web::Data<Guards>,
        mut req: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<EitherBody<B>>, Error> {
        let refused = if !guards.origin_allowed(req.headers()) {
            Some((
                "forbidden_origin",
                "This Origin may not call this server. If it should, start it with --allow-origin.",
            ))
        } else if !guards.host_allowed(&req) {
            Some((
                "forbidden_host",
                "The Host header names another server. If this server has that name, start it with --public-url or --allow-host.",
            ))
        } else {
            None
        };
        if let Some((error, description)) = refused {
            let response = forbid(req.path(), error, description);
            return Ok(req.into_response(response).map_into_right_body());
        }
        let preflight = req.method() == Method::OPTIONS;
        if preflight {
            // The answer lists the headers that may be sent, whichever were asked for; browsers compare.
            req.headers_mut().remove(header::ACCESS_CONTROL_REQUEST_HEADERS);
        }
        let mut response = next.call(req).await?;
        if preflight && response.status().is_success() {
            response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
        Ok(response.map_into_left_body())
    }
}

/// The refusal, in the form that the path's clients read.
fn forbid(path: &str, error: &str, description: &str) -> HttpResponse {
    match path {
        "/mcp" => ErrorBody::new(error, description).on_mcp(StatusCode::FORBIDDEN, None),
        _ => error_response(StatusCode::FORBIDDEN, error, description),
    }
}

/// An origin (RFC 6454 §4), of any scheme: desktop apps and browser extensions have their own. The URL library's type
/// does not work for those: each of them equals nothing, not even itself.
#[derive(PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// An origin as a browser writes it (RFC 6454 §6.2): scheme, host and port, nothing behind. The option and the
    /// header share one parser, so that every allowed origin can match.
    fn parse(text: &str) -> Option<Self> {
        let (_, authority) = text.split_once("://")?;
        // The URL parser accepts these, but no browser sends them; `*` would look like a pattern.
        let bare =
            !authority.is_empty() && !authority.ends_with(':') && !authority.contains(['/', '\\', '?', '#', '@']);
        if !bare || text.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '*' | '%')) {
            return None;
        }
        Self::of(&Url::parse(text).ok()?)
    }

    fn of(url: &Url) -> Option<Self> {
        let (scheme, host) = (url.scheme().to_owned(), url.host_str()?.to_owned());
        Some(Origin { scheme, host, port: url.port_or_known_default() })
    }

    /// A page from this computer, at any port.
    fn is_loopback(&self) -> bool {
        matches!(&*self.scheme, "http" | "https") && LOOPBACK.contains(&&*self.host)
    }
}
