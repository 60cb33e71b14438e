//! Step 11 against servers that mean no good, or do no good: each row changes one answer of an honest pair of servers.
//! Whatever they do, the client ends in time, with the right exit code and a sentence that says why; and what is secret
//! reaches nobody but whom it is for.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use integration_tests::{
    client::{Client, Outcome, follow},
    mock::{Mock, Reply, Request},
};
use serde_json::{Value, json};

const PRM: &str = "/.well-known/oauth-protected-resource/mcp";
const ASM: &str = "/.well-known/oauth-authorization-server";
/// In everything that must not get about.
const SECRET: &str = "s3cr3t";
/// What would clear a terminal.
const ESC: &str = "\u{1b}[2J";

struct Urls {
    mcp: String,
    authorization: String,
    evil: String,
}

/// Two honest servers, a third that only listens, and a client that has never been here.
struct World {
    mcp: Mock,
    authorization: Mock,
    evil: Mock,
    client: Client,
}

type Change = dyn Fn(&Request, &Urls) -> Option<Reply> + Send + Sync;
type Twist = Arc<Change>;

impl World {
    fn new(mcp_twist: Option<Twist>, authorization_twist: Option<Twist>) -> Result<Self> {
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

    fn run(&self, args: &[&str]) -> Result<Outcome> {
        self.client.run(args, follow)
    }
}

fn prm(urls: &Urls) -> Value {
    json!({ "resource": format!("{}/mcp", urls.mcp), "authorization_servers": [urls.authorization], "scopes_supported": ["read"] })
}

fn asm(urls: &Urls) -> Value {
    let issuer = &urls.authorization;
    json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}/token"),
        "registration_endpoint": format!("{issuer}/register"), "revocation_endpoint": format!("{issuer}/revoke"),
        "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"], "authorization_response_iss_parameter_supported": true,
    })
}

fn tokens(number: usize) -> Value {
    json!({
        "access_token": format!("{SECRET}-access-{number}"), "refresh_token": format!("{SECRET}-refresh-{number}"),
        "token_type": "Bearer", "expires_in": 3600, "scope": "read",
    })
}

fn challenge(urls: &Urls, more: &str) -> String {
    format!("Bearer resource_metadata=\"{}{PRM}\"{more}", urls.mcp)
}

fn honest_mcp(request: &Request, urls: &Urls) -> Reply {
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

fn response(request: &Request, result: Value) -> Reply {
    Reply::json(200, &json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": result }))
}

fn honest_authorization(request: &Request, urls: &Urls, count: &AtomicUsize) -> Reply {
    match request.path() {
        ASM => Reply::json(200, &asm(urls)),
        "/register" => Reply::json(201, &json!({ "client_id": "client" })),
        "/authorize" => come_back(request, &answer(request, urls)),
        "/token" => Reply::json(200, &tokens(count.fetch_add(1, Ordering::SeqCst))),
        "/revoke" => Reply::status(200),
        _ => Reply::status(404),
    }
}

type Pairs = Vec<(&'static str, String)>;

fn answer(request: &Request, urls: &Urls) -> Pairs {
    let state = request.param("state").unwrap_or_default();
    vec![("code", format!("{SECRET}-code")), ("state", state), ("iss", urls.authorization.clone())]
}

fn come_back(request: &Request, pairs: &Pairs) -> Reply {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Reply::redirect(&format!("{}?{query}", request.param("redirect_uri").unwrap_or_default()))
}

/// One thing that goes wrong, and how it must end.
struct Row {
    name: &'static str,
    code: i32,
    says: &'static str,
    args: &'static [&'static str],
    mcp: Option<Twist>,
    authorization: Option<Twist>,
}

const CALL: &[&str] = &["call", "echo", "message=hi"];

fn at_mcp(
    name: &'static str,
    (code, says): (i32, &'static str),
    twist: impl Fn(&Request, &Urls) -> Option<Reply> + Send + Sync + 'static,
) -> Row {
    Row { name, code, says, args: CALL, mcp: Some(Arc::new(twist)), authorization: None }
}

fn at_authorization(
    name: &'static str,
    (code, says): (i32, &'static str),
    twist: impl Fn(&Request, &Urls) -> Option<Reply> + Send + Sync + 'static,
) -> Row {
    Row { name, code, says, args: CALL, mcp: None, authorization: Some(Arc::new(twist)) }
}

/// The resource's metadata with one member changed.
fn resource(
    name: &'static str,
    ends: (i32, &'static str),
    member: &'static str,
    value: impl Fn(&Urls) -> Value + Send + Sync + 'static,
) -> Row {
    at_mcp(name, ends, move |request, urls| {
        let mut document = prm(urls);
        document[member] = value(urls);
        (request.path() == PRM).then(|| Reply::json(200, &document))
    })
}

/// The authorization server's metadata with one member changed; `null` takes it away.
fn server(
    name: &'static str,
    ends: (i32, &'static str),
    member: &'static str,
    value: impl Fn(&Urls) -> Value + Send + Sync + 'static,
) -> Row {
    at_authorization(name, ends, move |request, urls| {
        let mut document = asm(urls);
        document[member] = value(urls);
        if document[member].is_null() {
            document.as_object_mut()?.remove(member);
        }
        (request.path() == ASM).then(|| Reply::json(200, &document))
    })
}

/// A path answered otherwise.
fn path(
    row: fn(&'static str, (i32, &'static str), Box<Change>) -> Row,
    name: &'static str,
    ends: (i32, &'static str),
    path: &'static str,
    reply: impl Fn(&Urls) -> Reply + Send + Sync + 'static,
) -> Row {
    row(name, ends, Box::new(move |request, urls| (request.path() == path).then(|| reply(urls))))
}

/// The authorization response changed.
fn back(name: &'static str, ends: (i32, &'static str), change: fn(&mut Pairs, &Urls)) -> Row {
    at_authorization(name, ends, move |request, urls| {
        let mut pairs = answer(request, urls);
        change(&mut pairs, urls);
        (request.path() == "/authorize").then(|| come_back(request, &pairs))
    })
}

/// The token response changed.
fn token(name: &'static str, ends: (i32, &'static str), member: &'static str, value: Value) -> Row {
    path(at_authorization, name, ends, "/token", move |_| {
        let mut document = tokens(0);
        document[member] = value.clone();
        Reply::json(200, &document)
    })
}

/// What the MCP server answers to a method, once there is a token.
fn method(
    name: &'static str,
    ends: (i32, &'static str),
    method: &'static str,
    reply: impl Fn(&Request, &Urls) -> Reply + Send + Sync + 'static,
) -> Row {
    at_mcp(name, ends, move |request, urls| {
        let here = request.json()["method"] == method && request.header("authorization").is_some();
        here.then(|| reply(request, urls))
    })
}

fn unauthorized(value: String) -> Reply {
    Reply::status(401).with("WWW-Authenticate", &value)
}

fn set(pairs: &mut Pairs, name: &'static str, value: &str) {
    pairs.retain(|(known, _)| *known != name);
    pairs.push((name, value.to_owned()));
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{";
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\r\n\r\n";

#[allow(clippy::too_many_lines, reason = "a table")]
fn rows() -> Vec<Row> {
    let challenge_row = |name, ends, value: fn(&Urls) -> String| {
        at_mcp(name, ends, move |request, urls| {
            let turned_away = request.path() == "/mcp" && request.header("authorization").is_none();
            turned_away.then(|| unauthorized(value(urls)))
        })
    };
    vec![
        // The challenge.
        challenge_row("metadata on another origin", (4, "another origin"), |urls| {
            format!("Bearer resource_metadata=\"{}/prm\"", urls.evil)
        }),
        challenge_row("metadata in a local file", (4, "neither https nor http"), |_| {
            "Bearer resource_metadata=\"file:///etc/passwd\"".into()
        }),
        challenge_row("metadata that is a script", (4, "neither https nor http"), |_| {
            "Bearer resource_metadata=\"javascript:alert(1)\"".into()
        }),
        challenge_row("metadata that is a flag", (4, "is not a URL"), |_| "Bearer resource_metadata=\"--help\"".into()),
        challenge_row("metadata over plain http elsewhere", (4, "plain http"), |_| {
            "Bearer resource_metadata=\"http://169.254.169.254/latest/meta-data\"".into()
        }),
        challenge_row("a challenge that breaks the grammar is no challenge", (0, ""), |urls| {
            format!("Bearer resource_metadata={}/prm, scope=\"x", urls.evil)
        }),
        challenge_row("a challenge of 20 KiB is no challenge", (0, ""), |_| {
            format!("Bearer scope=\"{}\"", "x".repeat(20_000))
        }),
        challenge_row("scopes that are none", (4, "scopes that are none"), |_| r#"Bearer scope="a \"b\"""#.into()),
        challenge_row("ten thousand scopes", (4, "or for too many"), |_| {
            format!("Bearer scope=\"{}\"", "x ".repeat(5_000))
        }),
        challenge_row("no challenge at all leads to the well-known URLs", (0, ""), |_| "Negotiate".into()),
        // The resource's metadata.
        resource("another server's resource", (4, "another resource"), "resource", |urls| {
            json!(format!("{}/mcp", urls.evil))
        }),
        resource("the resource with a slash", (4, "another resource"), "resource", |urls| {
            json!(format!("{}/mcp/", urls.mcp))
        }),
        resource("the resource's origin alone", (4, "another resource"), "resource", |urls| json!(urls.mcp)),
        resource("a resource that is no text", (4, "cannot be read"), "resource", |_| json!(["x"])),
        resource("no authorization server", (4, "no authorization server"), "authorization_servers", |_| json!([])),
        resource("an authorization server in a file", (4, "neither https nor http"), "authorization_servers", |_| {
            json!(["file:///etc/passwd"])
        }),
        resource("an authorization server that is a flag", (4, "not a URL"), "authorization_servers", |_| {
            json!(["-rf"])
        }),
        resource("an authorization server over plain http", (4, "plain http"), "authorization_servers", |_| {
            json!(["http://as.example"])
        }),
        resource("an authorization server with a user", (4, "no user"), "authorization_servers", |_| {
            json!(["https://localhost@evil.example"])
        }),
        resource("an authorization server with a query", (4, "query"), "authorization_servers", |urls| {
            json!([format!("{}?x=y", urls.authorization)])
        }),
        resource("scopes in the metadata that are none", (4, "scopes that are none"), "scopes_supported", |_| {
            json!(["a\u{1b}[2Jb"])
        })
        .without_scope(),
        path(at_mcp, "metadata that is a page", (4, "cannot be read"), PRM, |_| Reply::Http {
            status: 200,
            headers: vec![],
            body: "<html>".into(),
        }),
        path(at_mcp, "metadata that fails", (4, "answers 500"), PRM, |_| Reply::status(500)),
        path(at_mcp, "metadata without end", (3, "longer than 256 KiB"), PRM, |_| Reply::Flood(HEAD.into())),
        path(at_mcp, "metadata that drips", (3, "took too long"), PRM, |_| Reply::Drip(HEAD.into())),
        path(at_mcp, "metadata that goes round in circles", (4, "again and again"), PRM, |urls| {
            Reply::redirect(&format!("{}{PRM}", urls.mcp))
        }),
        path(at_mcp, "metadata that is elsewhere", (4, "another place"), PRM, |urls| {
            Reply::redirect(&format!("{}/x", urls.evil))
        }),
        path(at_mcp, "metadata that is elsewhere, without a scheme", (4, "another place"), PRM, |urls| {
            Reply::redirect(urls.evil.trim_start_matches("http:"))
        }),
        path(at_mcp, "metadata that redirects to a file", (4, "another place"), PRM, |_| {
            Reply::redirect("file:///etc/passwd")
        }),
        path(at_mcp, "metadata that never begins", (3, "took too long"), PRM, |_| {
            Reply::Drip("HTTP/1.1 200 OK\r\n".into())
        }),
        path(at_mcp, "metadata with headers without end", (3, "no answer"), PRM, |_| {
            Reply::Flood("HTTP/1.1 200 OK\r\nX: ".into())
        }),
        path(at_mcp, "metadata that is no HTTP", (3, "no answer"), PRM, |_| {
            Reply::Raw("SSH-2.0-OpenSSH_9.2\r\n".into())
        }),
        path(at_mcp, "metadata cut short", (3, "no answer"), PRM, |_| {
            Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".into())
        }),
        // The authorization server's metadata.
        server("another issuer", (4, "another issuer"), "issuer", |urls| json!(urls.evil)),
        server("the issuer with a slash", (4, "another issuer"), "issuer", |urls| {
            json!(format!("{}/", urls.authorization))
        }),
        server("no issuer", (4, "cannot be read"), "issuer", |_| Value::Null),
        server("no PKCE", (4, "S256"), "code_challenge_methods_supported", |_| Value::Null),
        server("PKCE without S256", (4, "S256"), "code_challenge_methods_supported", |_| json!(["plain"])),
        server("no token endpoint", (4, "no token_endpoint"), "token_endpoint", |_| Value::Null),
        server("a token endpoint over plain http", (4, "plain http"), "token_endpoint", |_| {
            json!("http://evil.example/token")
        }),
        server("no authorization endpoint", (4, "no authorization_endpoint"), "authorization_endpoint", |_| {
            Value::Null
        }),
        server("a script to open", (4, "neither https nor http"), "authorization_endpoint", |_| {
            json!("javascript:alert(1)")
        }),
        server("a file to open", (4, "neither https nor http"), "authorization_endpoint", |_| {
            json!("file:///etc/passwd")
        }),
        server("a flag to open", (4, "not a URL"), "authorization_endpoint", |_| json!("--incognito")),
        server("a command to open", (4, "not a URL"), "authorization_endpoint", |_| json!("$(touch /tmp/owned)")),
        server("another program to open", (4, "neither https nor http"), "authorization_endpoint", |_| {
            json!("ms-msdt:/id")
        }),
        server("a user to open", (4, "no user"), "authorization_endpoint", |_| json!("https://user:pw@evil.example/")),
        server("plain http to open", (4, "plain http"), "authorization_endpoint", |_| {
            json!("http://evil.example/authorize")
        }),
        server("nowhere to register", (4, "--client-id"), "registration_endpoint", |_| Value::Null),
        server("to register in a file", (4, "neither https nor http"), "registration_endpoint", |_| {
            json!("file:///dev/null")
        }),
        server("no way to authenticate", (4, "none of none"), "token_endpoint_auth_methods_supported", |_| {
            json!(["tls_client_auth"])
        }),
        path(at_authorization, "an issuer that is a page", (4, "cannot be read"), ASM, |_| Reply::Http {
            status: 200,
            headers: vec![],
            body: "<html>".into(),
        }),
        path(at_authorization, "an issuer without end", (3, "longer than"), ASM, |_| Reply::Flood(HEAD.into())),
        path(at_authorization, "an issuer that drips", (3, "took too long"), ASM, |_| Reply::Drip(HEAD.into())),
        path(at_authorization, "an issuer that is elsewhere", (4, "another place"), ASM, |urls| {
            Reply::redirect(&urls.evil)
        }),
        path(at_authorization, "an issuer that is nowhere", (4, "no metadata"), ASM, |_| Reply::status(404)),
        path(at_authorization, "JSON as deep as the sea", (4, "cannot be read"), ASM, |_| Reply::Http {
            status: 200,
            headers: vec![],
            body: "[".repeat(200_000),
        }),
        // The registration.
        path(at_authorization, "a refusal to register", (4, "invalid_redirect_uri"), "/register", |_| {
            Reply::json(400, &json!({ "error": "invalid_redirect_uri", "error_description": format!("no {ESC} way") }))
        }),
        path(at_authorization, "a registration that fails", (3, "answers 500"), "/register", |_| Reply::status(500)),
        path(at_authorization, "a registration without a client_id", (4, "cannot be read"), "/register", |_| {
            Reply::json(201, &json!({ "client_name": "x" }))
        }),
        path(at_authorization, "a registration of an unknown kind", (4, "of no use"), "/register", |_| {
            Reply::json(201, &json!({ "client_id": "x", "token_endpoint_auth_method": "magic" }))
        }),
        path(at_authorization, "a registration that is elsewhere", (4, "answers 307"), "/register", |urls| {
            Reply::Http { status: 307, headers: vec![("Location".into(), urls.evil.clone())], body: String::new() }
        }),
        // The authorization response.
        back("another state", (4, "(state)"), |pairs, _| set(pairs, "state", "other")),
        back("no state", (4, "(state)"), |pairs, _| pairs.retain(|(name, _)| *name != "state")),
        back("two states", (4, "state twice"), |pairs, _| pairs.push(("state", "other".into()))),
        back("another iss", (4, "another issuer"), |pairs, urls| set(pairs, "iss", &urls.evil)),
        back("iss with a slash", (4, "another issuer"), |pairs, urls| {
            set(pairs, "iss", &format!("{}/", urls.authorization));
        }),
        back("no iss, though there should be one", (4, "does not say who"), |pairs, _| {
            pairs.retain(|(name, _)| *name != "iss");
        }),
        back("two codes", (4, "code twice"), |pairs, _| pairs.push(("code", "other".into()))),
        back("no code", (4, "no code"), |pairs, _| pairs.retain(|(name, _)| *name != "code")),
        back("a person who says no", (4, "access_denied"), |pairs, _| {
            pairs.retain(|(name, _)| *name != "code");
            pairs.push(("error", "access_denied".into()));
        }),
        back("an error of another issuer is not shown", (4, "another issuer"), |pairs, urls| {
            set(pairs, "iss", &urls.evil);
            pairs.push(("error", "POISON".into()));
            pairs.push(("error_description", "POISON".into()));
        }),
        back("an error that paints the screen", (4, "\\u{1b}"), |pairs, _| {
            pairs.push(("error", format!("x{ESC}")));
        }),
        path(at_authorization, "nobody comes back", (4, "nobody came back"), "/authorize", |_| Reply::status(200)),
        // The token.
        path(at_authorization, "a page instead of a token", (4, "no token response"), "/token", |_| Reply::Http {
            status: 200,
            headers: vec![],
            body: "<html>".into(),
        }),
        path(at_authorization, "a token without end", (3, "longer than"), "/token", |_| Reply::Flood(HEAD.into())),
        path(at_authorization, "a token that drips", (3, "took too long"), "/token", |_| Reply::Drip(HEAD.into())),
        path(at_authorization, "a token that is elsewhere: the code stays", (4, "answers 307"), "/token", |urls| {
            Reply::Http {
                status: 307,
                headers: vec![("Location".into(), format!("{}/token", urls.evil))],
                body: String::new(),
            }
        }),
        path(at_authorization, "a token endpoint that is down", (3, "answers 503"), "/token", |_| Reply::status(503)),
        at_authorization("an error that tells the secrets", (4, "invalid_grant"), |request, _| {
            let told = format!("bad: {}", request.body);
            let error = json!({ "error": "invalid_grant", "error_description": told });
            (request.path() == "/token").then(|| Reply::json(400, &error))
        }),
        at_authorization("an error that tells a secret at its edge", (4, "invalid_grant"), |request, _| {
            let code = request.param("code").unwrap_or_default();
            let error = |pad: usize| format!("{}{code}", "x".repeat(pad));
            let told = [470, 480, 490, 930, 950, 970].map(error).join(" ");
            let error = json!({ "error": "invalid_grant", "error_description": told });
            (request.path() == "/token").then(|| Reply::json(400, &error))
        }),
        path(at_authorization, "a client that is forgotten again and again", (4, "invalid_client"), "/token", |_| {
            Reply::json(401, &json!({ "error": "invalid_client" }))
        }),
        token("a token of another type", (4, "instead of Bearer"), "token_type", json!("mac")),
        token("a token that is bound to a key nobody has", (4, "instead of Bearer"), "token_type", json!("DPoP")),
        token(
            "a token that ends the header",
            (4, "no token may have"),
            "access_token",
            json!("s3cr3t\r\nHost: evil.example"),
        ),
        token("an empty token", (4, "is empty"), "access_token", json!("")),
        token("a token that is no text", (4, "no token response"), "access_token", json!(7)),
        token("a token that has expired on arrival", (4, "had expired"), "expires_in", json!(0)),
        token("a token from the past", (4, "no token response"), "expires_in", json!(-60)),
        token("a token for ever", (0, ""), "expires_in", json!(u64::MAX)),
        // The MCP server.
        at_mcp("401 without end", (4, "refuses the token"), |request, urls| {
            (request.path() == "/mcp").then(|| unauthorized(challenge(urls, ", error=\"invalid_token\"")))
        }),
        method("403 without end", (4, "more was asked for 2 times"), "tools/call", |_, urls| {
            static MORE: AtomicUsize = AtomicUsize::new(0);
            let more = MORE.fetch_add(1, Ordering::SeqCst);
            let value = challenge(urls, &format!(", error=\"insufficient_scope\", scope=\"more{more}\""));
            Reply::status(403).with("WWW-Authenticate", &value)
        }),
        method("403 for a scope that the token has", (4, "would not help"), "tools/call", |_, urls| {
            let value = challenge(urls, ", error=\"insufficient_scope\", scope=\"read\"");
            Reply::status(403).with("WWW-Authenticate", &value)
        }),
        method("403 for good", (4, "does not allow this"), "tools/call", |_, _| {
            Reply::json(403, &json!({ "error": "forbidden", "error_description": format!("never{ESC}") }))
        }),
        method("the endpoint is elsewhere: the token stays", (3, "answers 307"), "tools/call", |_, urls| Reply::Http {
            status: 307,
            headers: vec![("Location".into(), format!("{}/mcp", urls.evil))],
            body: String::new(),
        }),
        method("an answer without end", (3, "longer than"), "tools/call", |_, _| Reply::Flood(HEAD.into())),
        method("an answer that drips", (3, "took too long"), "tools/call", |_, _| Reply::Drip(HEAD.into())),
        method("a stream without an answer", (3, "took too long"), "tools/call", |_, _| Reply::Drip(STREAM.into())),
        method("a stream without end", (3, "longer than"), "tools/call", |_, _| Reply::Flood(STREAM.into())),
        method("a stream that ends too soon", (3, "ended without an answer"), "tools/call", |_, _| {
            Reply::Raw(STREAM.into())
        }),
        method("a stream that stays open after the answer", (0, ""), "tools/call", |request, _| {
            let message = json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": { "content": [{ "type": "text", "text": "hi" }] } });
            let other = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": {} });
            Reply::Drip(format!("{STREAM}data: {other}\r\n\r\ndata: {message}\r\n\r\n"))
        }),
        method("a page instead of an answer", (3, "no MCP message"), "tools/call", |_, _| Reply::Http {
            status: 200,
            headers: vec![],
            body: "<html>".into(),
        }),
        method("another request's answer", (3, "no MCP message"), "tools/call", |_, _| {
            Reply::json(200, &json!({ "jsonrpc": "2.0", "id": 999, "result": {} }))
        }),
        method("an error with the token in it", (5, "‹access token›"), "tools/call", |request, _| {
            let told = format!("{ESC}you sent {}", request.header("authorization").unwrap_or_default());
            Reply::json(
                200,
                &json!({ "jsonrpc": "2.0", "id": request.json()["id"], "error": { "code": -32603, "message": told } }),
            )
        }),
        method("a result with the token in it", (0, ""), "tools/call", |request, _| {
            let told = format!("hi{ESC} {}", request.header("authorization").unwrap_or_default());
            response(request, json!({ "content": [{ "type": "text", "text": told }] }))
        }),
        method("a tool that fails", (5, "the tool failed"), "tools/call", |request, _| {
            response(request, json!({ "content": [{ "type": "text", "text": format!("no{ESC}") }], "isError": true }))
        }),
        method("a question back", (5, "cannot give"), "tools/call", |request, _| {
            response(request, json!({ "resultType": "input_required", "inputRequests": {} }))
        }),
        method("pages without end", (3, "more than 100 pages"), "tools/list", |request, _| {
            response(request, json!({ "tools": [], "nextCursor": "more" }))
        }),
        method("a tool whose headers inject", (5, "must not be used"), "tools/list", |request, _| {
            let schema = json!({ "type": "object", "properties": { "message": { "type": "string", "x-mcp-header": "A\r\nB: c" } } });
            response(request, json!({ "tools": [{ "name": "echo", "inputSchema": schema }] }))
        }),
        method("tools that are no list", (3, "has no tools"), "tools/list", |request, _| {
            response(request, json!({ "tools": {} }))
        }),
        method("a server that fails", (3, "answers 500"), "server/discover", |_, _| Reply::status(500)),
        method("a version from the future", (3, "none of our versions"), "server/discover", |request, _| {
            response(request, json!({ "supportedVersions": ["2099-01-01"] }))
        }),
        Row {
            args: &["--dpop", "call", "echo", "message=hi"],
            ..at_mcp("no key, though one is wanted", (4, "DPoP"), |_, _| None)
        },
        Row {
            args: &["--json", "call", "echo", "message=hi"],
            ..method("JSON with the token in it", (0, ""), "tools/call", |request, _| {
                let told = format!("hi{ESC}\u{9b} {}", request.header("authorization").unwrap_or_default());
                response(request, json!({ "content": [{ "type": "text", "text": told }] }))
            })
        },
        Row { args: &["trace", "echo", "message=hi"], ..at_mcp("a trace tells no secrets", (0, ""), |_, _| None) },
    ]
}

impl Row {
    /// The challenge names no scope, so that the metadata's count.
    fn without_scope(mut self) -> Self {
        let inner = self.mcp.take();
        self.mcp = Some(Arc::new(move |request, urls| {
            if request.path() == "/mcp" && request.header("authorization").is_none() {
                return Some(unauthorized(challenge(urls, "")));
            }
            inner.as_ref().and_then(|twist| twist(request, urls))
        }));
        self
    }

    fn check(self) -> Result<()> {
        let world = World::new(self.mcp, self.authorization)?;
        let outcome = world.run(self.args)?;
        ensure!(outcome.code == Some(self.code), "exit code {:?} instead of {}: {outcome:?}", outcome.code, self.code);
        let visible = outcome.visible();
        ensure!(visible.contains(self.says), "it does not say {:?}: {outcome:?}", self.says);
        ensure!(self.code != 0 || visible.contains("hi"), "no result: {outcome:?}");
        ensure!(!visible.contains(SECRET), "a secret is shown: {outcome:?}");
        ensure!(
            !visible.chars().any(|c| c.is_control() && c != '\n' && c != '\t'),
            "the screen is painted: {outcome:?}"
        );
        ensure!(!visible.contains("POISON"), "a stranger's words are shown: {outcome:?}");
        ensure!(world.evil.seen().is_empty(), "somebody else was asked: {:?}", world.evil.seen());
        let expected = format!("{}/authorize?", world.authorization.url);
        ensure!(
            outcome.opened.lines().all(|line| line.starts_with(&expected)),
            "something else was opened: {outcome:?}"
        );
        for request in world.authorization.seen() {
            ensure!(
                !format!("{request:?}").contains("s3cr3t-access"),
                "the token went to the wrong server: {request:?}"
            );
            ensure!(!request.target.contains(SECRET), "a secret is in a URL: {request:?}");
        }
        for request in world.mcp.seen() {
            ensure!(
                !request.target.contains(SECRET) && !request.body.contains(SECRET),
                "in the wrong place: {request:?}"
            );
            ensure!(
                request.path() == "/mcp" || request.header("authorization").is_none(),
                "a needless token: {request:?}"
            );
        }
        // Whatever goes wrong, it does not go on and on.
        ensure!(world.mcp.seen().len() <= 110 && world.authorization.seen().len() <= 20, "too many requests");
        ensure!(
            world.authorization.hits("/authorize") <= 3 && world.authorization.hits("/register") <= 2,
            "too many log-ins"
        );
        Ok(())
    }
}

#[test]
fn hostile_servers_get_nothing_and_are_told_apart() {
    let rows = rows();
    let count = rows.len();
    assert!(count >= 40);
    let only = std::env::var("ROW").unwrap_or_default();
    let queue = Arc::new(Mutex::new(rows));
    let failures = Arc::new(Mutex::new(Vec::new()));
    let workers: Vec<_> = (0..6)
        .map(|_| {
            let (queue, failures, only) = (queue.clone(), failures.clone(), only.clone());
            thread::spawn(move || {
                loop {
                    let Some(row) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return };
                    let name = row.name;
                    if !name.contains(&only) {
                        continue;
                    }
                    if let Err(error) = row.check() {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{name}: {error:#}"));
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        assert!(worker.join().is_ok());
    }
    let failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn a_port_where_nobody_is_and_arguments_that_make_no_sense() -> Result<()> {
    // Not a port that was free a moment ago: another test may have taken it.
    let client = Client::new("http://127.0.0.1:1/mcp")?;
    let outcome = client.run(&["tools"], follow)?;
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(
        outcome.stderr.contains("at exchange 1") && outcome.stderr.contains("Is the server running"),
        "{outcome:?}"
    );
    for (server, args) in [
        ("http://mcp.example/mcp", &["tools"][..]),
        ("file:///etc/passwd", &["tools"]),
        ("https://user@mcp.example/mcp", &["tools"]),
        ("http://localhost:1/mcp", &["call"]),
        ("http://localhost:1/mcp", &["--client-id", "x", "tools"]),
        ("http://localhost:1/mcp", &["--grant", "client-credentials", "tools"]),
        ("http://localhost:1/mcp", &["--redirect-uri", "https://evil.example/", "tools"]),
        ("http://localhost:1/mcp", &["--client-metadata", "http://localhost/x", "tools"]),
        ("http://localhost:1/mcp", &["--protocol-version", "1999-01-01", "tools"]),
    ] {
        let outcome = Client::new(server)?.run(args, follow)?;
        assert_eq!(outcome.code, Some(2), "{server} {args:?} {outcome:?}");
    }
    Ok(())
}

/// A world in which a person has logged in.
fn logged_in(mcp: Option<Twist>, authorization: Option<Twist>) -> Result<World> {
    let world = World::new(mcp, authorization)?;
    let outcome = world.run(&["login"])?;
    ensure!(outcome.code == Some(0), "{outcome:?}");
    Ok(world)
}

/// Makes the stored token one that has expired.
fn expire(world: &World) -> Result<()> {
    let path = world.client.stored()?;
    let mut stored: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    stored["grant"]["expires_at"] = json!("2020-01-01T00:00:00Z");
    std::fs::write(&path, stored.to_string())?;
    Ok(())
}

fn stored_grant(world: &World) -> Result<Value> {
    let stored: Value = serde_json::from_str(&std::fs::read_to_string(world.client.stored()?)?)?;
    Ok(stored["grant"].clone())
}

#[test]
fn processes_that_refresh_at_once_use_the_refresh_token_once() -> Result<()> {
    // A server that takes the second use of a refresh token for a theft, as it should (OAuth 2.1 §4.3.1).
    let used: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, stolen) = (used.clone(), Arc::new(AtomicUsize::new(0)));
    let thefts = stolen.clone();
    let rotation: Twist = Arc::new(move |request, _| {
        let refresh = request.param("refresh_token").filter(|_| request.path() == "/token")?;
        thread::sleep(std::time::Duration::from_millis(300)); // long enough for all to want the same
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&refresh) {
            thefts.fetch_add(1, Ordering::SeqCst);
            return Some(Reply::json(400, &json!({ "error": "invalid_grant" })));
        }
        seen.push(refresh);
        Some(Reply::json(200, &tokens(100 + seen.len())))
    });
    let world = logged_in(None, Some(rotation))?;
    expire(&world)?;
    let children: Vec<_> = (0..6).map(|_| Ok(world.client.command(CALL)?.spawn()?)).collect::<Result<_>>()?;
    for child in children {
        let outcome = world.client.wait(child, follow)?;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    }
    assert_eq!(used.lock().unwrap_or_else(PoisonError::into_inner).len(), 1);
    assert_eq!(stolen.load(Ordering::SeqCst), 0);
    assert_eq!(world.authorization.hits("/authorize"), 1);
    Ok(())
}

#[test]
fn a_refresh_token_is_kept_when_none_is_returned() -> Result<()> {
    let once: Twist = Arc::new(|request, _| {
        request.param("refresh_token").filter(|_| request.path() == "/token")?;
        Some(Reply::json(
            200,
            &json!({ "access_token": "s3cr3t-access-new", "token_type": "bearer", "expires_in": 60 }),
        ))
    });
    let world = logged_in(None, Some(once))?;
    let before = stored_grant(&world)?;
    expire(&world)?;
    assert_eq!(world.run(CALL)?.code, Some(0));
    let after = stored_grant(&world)?;
    assert_eq!(after["access_token"], "s3cr3t-access-new");
    assert_eq!(after["refresh_token"], before["refresh_token"]);
    assert_eq!(after["scope"], before["scope"]);
    Ok(())
}

#[test]
fn a_refresh_that_fails_loses_nothing_and_one_that_is_refused_leads_to_the_log_in() -> Result<()> {
    for (reply, code, log_ins) in [
        (Reply::status(503), 3, 1),
        (Reply::Http { status: 200, headers: vec![], body: "<html>".into() }, 4, 1),
        (Reply::json(400, &json!({ "error": "invalid_grant" })), 0, 2),
        (Reply::json(401, &json!({ "error": "invalid_client" })), 0, 2),
    ] {
        let answer = reply.clone();
        let twist: Twist = Arc::new(move |request, _| {
            request.param("refresh_token").filter(|_| request.path() == "/token").map(|_| answer.clone())
        });
        let world = logged_in(None, Some(twist))?;
        let before = stored_grant(&world)?;
        expire(&world)?;
        let outcome = world.run(CALL)?;
        assert_eq!(outcome.code, Some(code), "{reply:?} {outcome:?}");
        assert_eq!(world.authorization.hits("/authorize"), log_ins, "{reply:?} {outcome:?}");
        if log_ins == 1 {
            assert_eq!(stored_grant(&world)?["refresh_token"], before["refresh_token"], "{reply:?}");
        }
        let refreshes =
            world.authorization.seen().iter().filter(|request| request.param("refresh_token").is_some()).count();
        assert_eq!(refreshes, 1, "{reply:?}");
    }
    Ok(())
}

#[test]
fn a_token_with_a_short_life_is_used_and_not_renewed_all_the_time() -> Result<()> {
    let twist: Twist = Arc::new(|request, _| {
        let mut short = tokens(request.body.len());
        short["expires_in"] = json!(5);
        (request.path() == "/token").then(|| Reply::json(200, &short))
    });
    let world = World::new(None, Some(twist))?;
    assert_eq!(world.run(CALL)?.code, Some(0));
    assert_eq!(world.authorization.hits("/token"), 1);
    assert_eq!(world.run(CALL)?.code, Some(0));
    assert_eq!(world.authorization.hits("/token"), 2);
    Ok(())
}

#[test]
fn who_closes_the_pipe_has_seen_enough() -> Result<()> {
    let world = logged_in(None, None)?;
    let mut child = world.client.command(&["trace", "echo", "message=hi"])?.spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{output:?}");
    Ok(())
}

#[test]
fn a_token_that_the_server_no_longer_takes_is_renewed_once() -> Result<()> {
    let twist: Twist = Arc::new(|request, urls| {
        let first = request.header("authorization")? == "Bearer s3cr3t-access-0";
        (first && request.json()["method"] == "tools/call")
            .then(|| unauthorized(challenge(urls, ", error=\"invalid_token\"")))
    });
    let world = logged_in(Some(twist), None)?;
    let outcome = world.run(CALL)?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    assert_eq!(world.authorization.hits("/authorize"), 1);
    assert_eq!(stored_grant(&world)?["access_token"], "s3cr3t-access-1");
    Ok(())
}

#[test]
fn a_server_that_changes_its_authorization_server_gets_no_old_credentials_there() -> Result<()> {
    let second: Arc<OnceLock<String>> = Arc::default();
    let moved = second.clone();
    // From some day on, the MCP server relies on another, and takes only its tokens.
    let twist: Twist = Arc::new(move |request, urls| {
        let second = moved.get()?;
        if request.path() == PRM {
            let mut document = prm(urls);
            document["authorization_servers"] = json!([second]);
            return Some(Reply::json(200, &document));
        }
        let old = request.header("authorization").is_none_or(|value| !value.contains("second"));
        (request.path() == "/mcp" && old).then(|| unauthorized(challenge(urls, ", error=\"invalid_token\"")))
    });
    let world = logged_in(Some(twist), None)?;
    let other = Mock::start(move |request, url| {
        let urls = Urls { mcp: String::new(), authorization: url.to_owned(), evil: String::new() };
        match request.path() {
            "/register" => Reply::json(201, &json!({ "client_id": "client-of-the-second" })),
            "/token" => Reply::json(200, &json!({ "access_token": "s3cr3t-access-second", "token_type": "Bearer" })),
            _ => honest_authorization(request, &urls, &AtomicUsize::new(0)),
        }
    })?;
    second.set(other.url.clone()).map_err(|_| anyhow::anyhow!("set twice"))?;
    let outcome = world.run(CALL)?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    let seen = other.seen();
    assert!(seen.iter().any(|request| request.path() == "/register"), "{seen:?}");
    for request in seen {
        let known = ["refresh_token", "client_id"].map(|name| request.param(name).unwrap_or_default());
        assert!(known[0].is_empty() && known[1] != "client", "{request:?}");
    }
    assert_eq!(stored_grant(&world)?["issuer"], other.url);
    Ok(())
}

#[test]
fn what_is_kept_is_for_the_owner_and_one_server_only() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let world = logged_in(None, None)?;
    let path = world.client.stored()?;
    assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(world.client.credentials())?.permissions().mode() & 0o777, 0o700);
    let outcome = world.run(&["status"])?;
    assert!(outcome.code == Some(0) && outcome.stdout.contains("can be renewed"), "{outcome:?}");
    assert!(!outcome.visible().contains("s3cr3t"), "{outcome:?}");

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
    let outcome = world.run(CALL)?;
    assert!(outcome.code == Some(1) && outcome.stderr.contains("others may read"), "{outcome:?}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;

    let whole = std::fs::read_to_string(&path)?;
    std::fs::write(&path, &whole[..whole.len() / 2])?;
    let outcome = world.run(CALL)?;
    assert!(
        outcome.code == Some(1) && outcome.stderr.contains("damaged") && !outcome.visible().contains("s3cr3t"),
        "{outcome:?}"
    );
    std::fs::write(&path, whole.replace("/mcp\"", "/other\""))?;
    let outcome = world.run(CALL)?;
    assert!(outcome.code == Some(1) && outcome.stderr.contains("another server"), "{outcome:?}");
    std::fs::write(&path, whole)?;

    let outcome = world.run(&["logout"])?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let revoked =
        world.authorization.seen().into_iter().find(|request| request.path() == "/revoke").context("not revoked")?;
    assert_eq!(revoked.param("token").as_deref(), Some("s3cr3t-refresh-0"));
    assert!(world.client.stored().is_err());
    assert_eq!(world.run(&["status"])?.code, Some(4));
    Ok(())
}

#[test]
fn a_secret_is_shown_to_the_issuer_that_it_is_for_and_to_no_other() -> Result<()> {
    let world = World::new(None, None)?;
    let with = |issuer: &str| -> Result<Outcome> {
        let args = ["--grant", "client-credentials", "--client-id", "machine", "--issuer", issuer, "tools"];
        let mut command = world.client.command(&args)?;
        command.env("MCP_CLIENT_SECRET", "s3cr3t-of-the-machine");
        world.client.wait(command.spawn()?, follow)
    };
    let outcome = with(&world.evil.url)?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("not the one of --issuer"), "{outcome:?}");
    assert_eq!(world.authorization.hits("/token"), 0);
    // This server knows no way to take a secret.
    let outcome = with(&world.authorization.url)?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("does not take"), "{outcome:?}");
    assert!(world.evil.seen().is_empty());
    Ok(())
}
