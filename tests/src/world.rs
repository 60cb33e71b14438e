//! A world for step 11: an honest MCP server and an honest authorization server, which a test can make misbehave; and a
//! third server that only listens for secrets that are not meant for it.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    client::{Client, Outcome, follow},
    mock::{Mock, Reply, Request},
};

pub const PRM: &str = "/.well-known/oauth-protected-resource/mcp";
pub const ASM: &str = "/.well-known/oauth-authorization-server";
/// A part of every secret, to find where it leaks.
pub const SECRET: &str = "s3cr3t";
/// The arguments that most tests run.
pub const CALL: &[&str] = &["call", "echo", "message=hi"];

pub struct Urls {
    pub mcp: String,
    pub authorization: String,
    pub evil: String,
}

/// Two honest servers, a third that only listens, and a client that has never been here.
pub struct World {
    pub mcp: Mock,
    pub authorization: Mock,
    pub evil: Mock,
    pub client: Client,
}

pub type Change = dyn Fn(&Request, &Urls) -> Option<Reply> + Send + Sync;
pub type Twist = Arc<Change>;

impl World {
    /// Each server answers what its twist says, and honestly where that says nothing.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn new(mcp_twist: Option<Twist>, authorization_twist: Option<Twist>) -> Result<Self> {
        let urls: Arc<OnceLock<Urls>> = Arc::default();
        let count = Arc::new(AtomicUsize::new(0));
        let there = urls.clone();
        let mcp = Mock::start(move |request, _| {
            let Some(urls) = there.get() else { return Reply::status(503) };
            let twisted = mcp_twist.as_ref().and_then(|twist| twist(request, urls));
            twisted.unwrap_or_else(|| honest_mcp(request, urls))
        })?;
        let there = urls.clone();
        let authorization = Mock::start(move |request, _| {
            let Some(urls) = there.get() else { return Reply::status(503) };
            let twisted = authorization_twist.as_ref().and_then(|twist| twist(request, urls));
            twisted.unwrap_or_else(|| honest_authorization(request, urls, &count))
        })?;
        let evil = Mock::start(|_, _| Reply::json(200, &json!({ "gotcha": true })))?;
        let client = Client::new(&format!("{}/mcp", mcp.url))?;
        let all = Urls { mcp: mcp.url.clone(), authorization: authorization.url.clone(), evil: evil.url.clone() };
        urls.set(all).map_err(|_| anyhow::anyhow!("set twice"))?;
        Ok(World { mcp, authorization, evil, client })
    }

    /// Runs the client, whose person says yes to everything.
    ///
    /// # Errors
    /// If it does not end.
    pub fn run(&self, args: &[&str]) -> Result<Outcome> {
        self.client.run(args, follow)
    }
}

pub fn prm(urls: &Urls) -> Value {
    json!({ "resource": format!("{}/mcp", urls.mcp), "authorization_servers": [urls.authorization], "scopes_supported": ["read"] })
}

pub fn asm(urls: &Urls) -> Value {
    let issuer = &urls.authorization;
    json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}/token"),
        "registration_endpoint": format!("{issuer}/register"), "revocation_endpoint": format!("{issuer}/revoke"),
        "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"], "authorization_response_iss_parameter_supported": true,
    })
}

pub fn tokens(number: usize) -> Value {
    json!({
        "access_token": format!("{SECRET}-access-{number}"), "refresh_token": format!("{SECRET}-refresh-{number}"),
        "token_type": "Bearer", "expires_in": 3600, "scope": "read",
    })
}

pub fn challenge(urls: &Urls, more: &str) -> String {
    format!("Bearer resource_metadata=\"{}{PRM}\"{more}", urls.mcp)
}

pub fn honest_mcp(request: &Request, urls: &Urls) -> Reply {
    if request.path() == PRM {
        return Reply::json(200, &prm(urls));
    }
    if request.path() != "/mcp" {
        return Reply::status(404);
    }
    if request.header("authorization").is_none_or(|value| !value.starts_with(&format!("Bearer {SECRET}-access"))) {
        return Reply::json(401, &json!({})).with("WWW-Authenticate", &challenge(urls, ", scope=\"read\""));
    }
    let result = match request.json()["method"].as_str() {
        Some("server/discover") => json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} } }),
        Some("tools/list") => json!({ "tools": [{ "name": "echo", "inputSchema": { "type": "object" } }] }),
        _ => json!({ "content": [{ "type": "text", "text": request.json()["params"]["arguments"]["message"] }] }),
    };
    response(request, result)
}

pub fn response(request: &Request, result: Value) -> Reply {
    Reply::json(200, &json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": result }))
}

pub fn honest_authorization(request: &Request, urls: &Urls, count: &AtomicUsize) -> Reply {
    match request.path() {
        ASM => Reply::json(200, &asm(urls)),
        "/register" => Reply::json(201, &json!({ "client_id": "client" })),
        "/authorize" => come_back(request, &answer(request, urls)),
        "/token" => Reply::json(200, &tokens(count.fetch_add(1, Ordering::SeqCst))),
        "/revoke" => Reply::status(200),
        _ => Reply::status(404),
    }
}

pub type Pairs = Vec<(&'static str, String)>;

pub fn answer(request: &Request, urls: &Urls) -> Pairs {
    let state = request.param("state").unwrap_or_default();
    // Too long for any message, and recognisable in each of its pieces.
    vec![
        ("code", format!("{SECRET}-code-{}", SECRET.repeat(150))),
        ("state", state),
        ("iss", urls.authorization.clone()),
    ]
}

pub fn come_back(request: &Request, pairs: &Pairs) -> Reply {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Reply::redirect(&format!("{}?{query}", request.param("redirect_uri").unwrap_or_default()))
}

pub fn unauthorized(value: String) -> Reply {
    Reply::status(401).with("WWW-Authenticate", &value)
}

/// A world in which a person has logged in.
///
/// # Errors
/// If that fails.
pub fn logged_in(mcp: Option<Twist>, authorization: Option<Twist>) -> Result<World> {
    let world = World::new(mcp, authorization)?;
    let outcome = world.run(&["login"])?;
    ensure!(outcome.code == Some(0), "{outcome:?}");
    Ok(world)
}

/// Makes the stored token one that has expired.
///
/// # Errors
/// If it is missing.
pub fn expire(world: &World) -> Result<()> {
    let path = world.client.stored()?;
    let mut stored: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    stored["grant"]["expires_at"] = json!("2020-01-01T00:00:00Z");
    std::fs::write(&path, stored.to_string())?;
    Ok(())
}

/// What is kept.
///
/// # Errors
/// If there is nothing.
pub fn stored_grant(world: &World) -> Result<Value> {
    let stored: Value = serde_json::from_str(&std::fs::read_to_string(world.client.stored()?)?)?;
    Ok(stored["grant"].clone())
}
