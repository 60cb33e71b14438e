//! What all checks of a run share: the server under test, the ways to tokens, and what was learned once.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, OnceCell},
    time::sleep,
};
use url::Url;

use crate::{
    documents::{KeySets, Place, Servers},
    http::Http,
    issuer::IssuerServer,
    jose::RsaKey,
    mask,
    message::{Exchange, Reply, Request},
    model::{Judged, Revision, Unmet},
    tokens::Tokens,
};

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";
/// The longest that a busy server is waited for, in seconds.
const MAX_WAIT: u64 = 5;

/// What a run is to try.
pub struct Settings {
    /// The MCP endpoint.
    pub target: Url,
    /// The revision that it is held against.
    pub revision: Revision,
    /// Hosts that may be asked; loopback may be, if the endpoint is there.
    pub mine: Vec<String>,
    /// The ways to tokens.
    pub tokens: Tokens,
    /// Whom the server under test must not believe.
    pub attacker: Attacker,
    /// The resource that tokens are for, if it is not the one that the server names.
    pub audience: Option<String>,
    /// Whether clients may be registered.
    pub active: bool,
    /// How many seconds the server has to be ready: one that trusts the mock issuer may start after it.
    pub patience: u32,
}

/// A key that nobody trusts, and a server that publishes it (and, as the mock issuer, the trusted one).
pub struct Attacker {
    /// The key.
    pub key: Arc<RsaKey>,
    /// The server.
    pub server: IssuerServer,
}

/// In which era the server speaks, once a token has let us in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// `initialize` first; with sessions or without.
    Legacy {
        /// Whether the server gave a session.
        session: bool,
    },
    /// Each request says all by itself.
    Modern,
}

/// What needs a scope, and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `tools/list`.
    List,
    /// A call of a tool that only reads, as the server says.
    Call(String),
}

/// An operation that was tried with a token that may lack a scope.
pub struct Tried {
    /// The operation.
    pub operation: Operation,
    /// The scopes of the token.
    pub scopes: String,
    /// The request, and the answer.
    pub exchange: Exchange,
}

/// What all checks share.
pub struct Context {
    /// Sends requests.
    pub http: Http,
    /// The MCP endpoint.
    pub target: Url,
    /// The revision that it is held against.
    pub revision: Revision,
    /// The ways to tokens.
    pub tokens: Tokens,
    /// Whom the server under test must not believe.
    pub attacker: Attacker,
    /// Whether clients may be registered.
    pub active: bool,
    pub(crate) audience: Option<String>,
    anonymous: OnceCell<Exchange>,
    garbage: OnceCell<Exchange>,
    pub(crate) era: OnceCell<Result<Era, Exchange>>,
    /// A failure is kept too: to ask again could take ten seconds each time.
    pub(crate) places: OnceCell<Result<Vec<Place>, Unmet>>,
    pub(crate) servers: OnceCell<Result<Servers, Unmet>>,
    pub(crate) key_sets: OnceCell<Result<KeySets, Unmet>>,
    pub(crate) lacking: OnceCell<Tried>,
    /// The clients that are to be taken back.
    pub(crate) registered: Mutex<Vec<Exchange>>,
}

impl Context {
    /// Everything for one run.
    pub fn new(settings: Settings) -> Self {
        let Settings { target, revision, mine, tokens, attacker, audience, active, patience: _ } = settings;
        Context {
            http: Http::new(&target, mine),
            target,
            revision,
            tokens,
            attacker,
            active,
            audience,
            anonymous: OnceCell::new(),
            garbage: OnceCell::new(),
            era: OnceCell::new(),
            places: OnceCell::new(),
            servers: OnceCell::new(),
            key_sets: OnceCell::new(),
            lacking: OnceCell::new(),
            registered: Mutex::default(),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// If there is no answer, or a busy server gives it: that is no refusal, so a check would pass that has judged nothing.
    pub async fn send(&self, sent: Request) -> Result<Exchange, Unmet> {
        let exchange = self.ask(sent).await?;
        if exchange.came.status == 503 { Err(busy(503)) } else { Ok(exchange) }
    }

    /// The same where 503 is an answer that is judged.
    ///
    /// # Errors
    /// If there is no answer, or only one about a limit of requests.
    pub async fn ask(&self, sent: Request) -> Result<Exchange, Unmet> {
        let sent = self.hide(sent);
        let mut came = self.http.send(&sent).await?;
        // What a 503 answers may have been done all the same: a code is used, a client registered.
        let may_repeat = came.status == 429 || sent.method != "POST" || sent.url == self.target;
        if let Some(wait) = wait_of(&came).filter(|_| may_repeat) {
            sleep(Duration::from_secs(wait)).await;
            came = self.http.send(&sent).await?;
        }
        if came.status == 429 { Err(busy(429)) } else { Ok(Exchange { sent, came }) }
    }

    /// The request, whose report does not show the query of the endpoint's URL: it may have a key.
    pub(crate) fn hide(&self, request: Request) -> Request {
        mask::of_query(&self.target).iter().fold(request, |request, secret| request.secret(secret))
    }

    /// Sends each request, and finds what `wrong` says of the answer to it.
    ///
    /// # Errors
    /// If one has no answer, and nothing was found before it.
    pub async fn each<N>(
        &self,
        requests: impl IntoIterator<Item = (N, Request)>,
        wrong: impl Fn(N, &Exchange) -> Option<String>,
    ) -> Judged {
        let mut found = Vec::new();
        for (name, request) in requests {
            match self.send(request).await {
                Ok(exchange) => found.extend(wrong(name, &exchange).map(|what| exchange.finding(what))),
                Err(unmet) => return unmet.after(found),
            }
        }
        Ok(found)
    }

    /// A JSON-RPC request of the legacy era.
    pub fn legacy(&self, method: &str) -> Request {
        let params = match method {
            "initialize" => json!({
                "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": { "name": "auth-check", "version": "1" },
            }),
            _ => json!({}),
        };
        let request = self.post(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }));
        if method == "initialize" { request } else { request.header("MCP-Protocol-Version", LEGACY) }
    }

    /// A JSON-RPC request of the modern era.
    pub fn modern(&self, method: &str) -> Request {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": { "_meta": modern_meta() } });
        self.post(&message).header("MCP-Protocol-Version", MODERN).header("Mcp-Method", method)
    }

    /// A call of a tool without arguments, in this era.
    pub fn call(&self, era: Era, tool: &str) -> Request {
        let mut message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool, "arguments": {} },
        });
        match era {
            Era::Legacy { .. } => self.post(&message).header("MCP-Protocol-Version", LEGACY),
            Era::Modern => {
                message["params"]["_meta"] = modern_meta();
                let request = self.post(&message).header("MCP-Protocol-Version", MODERN);
                request.header("Mcp-Method", "tools/call").header("Mcp-Name", tool)
            }
        }
    }

    /// A message to the MCP endpoint.
    pub fn post(&self, message: &Value) -> Request {
        let request = Request::new("POST", &self.target).header("Accept", "application/json, text/event-stream");
        request.body("application/json", message.to_string())
    }

    /// `tools/list` without a token.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn anonymous(&self) -> Result<&Exchange, Unmet> {
        self.anonymous.get_or_try_init(|| self.send(self.legacy("tools/list"))).await
    }

    /// `tools/list` with a token that no server has issued.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn garbage(&self) -> Result<&Exchange, Unmet> {
        self.garbage.get_or_try_init(|| self.send(self.legacy("tools/list").bearer(GARBAGE))).await
    }
}

/// What a check misses that needs another answer than this one.
pub(crate) fn busy(status: u16) -> Unmet {
    Unmet(format!("a server that is not busy (it answers {status})"))
}

/// How many seconds a busy server asks to be waited for (RFC 9110 §10.2.3), if that is short.
fn wait_of(came: &Reply) -> Option<u64> {
    let wait = came.header("retry-after").filter(|_| matches!(came.status, 429 | 503))?;
    wait.trim().parse().ok().filter(|wait| *wait <= MAX_WAIT)
}

/// What every request of the modern era says of its sender.
fn modern_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "auth-check", "version": "1" },
    })
}

/// A token that no server has issued.
pub const GARBAGE: &str = "auth-check-0123456789-is-not-a-token";
