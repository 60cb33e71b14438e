//! What people and machines ask for: an access token, a log-in, a note. Each answer is looked at.

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Reply,
    browser::{Browser, CHALLENGE, VERIFIER, parameters, redemption},
    keycloak::{self, Keycloak},
    rpc,
};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use url::form_urlencoded;

/// What the machine is called, and what it proves itself with.
const MACHINE: &str = "bench";
const SECRET: &str = "a-secret-of-a-machine";
/// One of those that the realm allows.
const KEYCLOAKS_CALLBACK: &str = "http://localhost/callback";

/// The machine, as `--clients` lists it.
pub fn listed() -> Value {
    json!([{
        "client_id": MACHINE, "client_secret": SECRET, "grant_types": ["client_credentials"], "roles": ["user"],
        "scope": "mcp:read mcp:tools",
    }])
}

/// A Keycloak that knows the machine.
///
/// # Errors
/// If Java or Keycloak is missing, or it does not start.
pub async fn keycloak() -> Result<Keycloak> {
    keycloak::needs_java()?;
    let keycloak = Keycloak::start().await?;
    let machine = json!({
        "clientId": MACHINE, "secret": SECRET, "publicClient": false, "serviceAccountsEnabled": true,
        "standardFlowEnabled": false,
    });
    keycloak.admin(Method::POST, "/clients", &machine).await?;
    Ok(keycloak)
}

/// A machine gets an access token at this token endpoint.
///
/// # Errors
/// If it does not.
pub async fn machine(client: &Client, token_endpoint: &str) -> Result<()> {
    let request = post(client, token_endpoint, &[("grant_type", "client_credentials")]);
    is_granted(&Reply::of(request.basic_auth(MACHINE, Some(SECRET))).await?)
}

fn post(client: &Client, url: &str, form: &[(&str, &str)]) -> RequestBuilder {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    client.post(url).header("Content-Type", "application/x-www-form-urlencoded").body(body)
}

fn is_granted(reply: &Reply) -> Result<()> {
    ensure!(reply.status == 200 && reply.json()["access_token"].is_string(), "{reply:?}");
    Ok(())
}

/// The holder of this token saves a note.
///
/// # Errors
/// If it is not acknowledged.
pub async fn note(client: &Client, url: &str, token: &str) -> Result<()> {
    let body = rpc("tools/call", json!({ "name": "save_note", "arguments": { "text": "Buy milk" } })).to_string();
    let request = client.post(format!("{url}/mcp")).bearer_auth(token).body(body);
    let request =
        request.header("Content-Type", "application/json").header("Accept", "application/json, text/event-stream");
    let reply = Reply::of(request).await?;
    ensure!(reply.json()["result"]["structuredContent"]["text"] == "Buy milk", "{reply:?}");
    Ok(())
}

/// Alice logs in and consents, and a client redeems its code.
///
/// # Errors
/// If a page or an answer is not what it should be.
pub async fn log_in(client: &Client, url: &str, registered: &str) -> Result<()> {
    let browser = Browser::with(client.clone(), vec![url]);
    let path = browser.request(registered, &[("resource", "")]);
    let answer = browser.consent(&path, "alice", &["mcp:read", "mcp:tools"]).await?;
    is_granted(&browser.token(&redemption(registered, answer.get("code").context("no code")?)).await?)
}

/// One of the realm's people logs in (it asks for no consent), and a client redeems its code.
///
/// # Errors
/// If a page or an answer is not what it should be.
pub async fn keycloaks_log_in(client: &Client, keycloak: &Keycloak) -> Result<()> {
    const CLIENT: &str = "mcp-test-client";
    let issuer = keycloak.issuer();
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("response_type", "code"), ("client_id", CLIENT), ("redirect_uri", KEYCLOAKS_CALLBACK)])
        .extend_pairs([("state", "the state"), ("code_challenge", CHALLENGE), ("code_challenge_method", "S256")])
        .extend_pairs([("scope", "openid")])
        .finish();
    let browser = Browser::with(client.clone(), vec![&issuer]);
    let page = browser.send(browser.get(&format!("/protocol/openid-connect/auth?{query}"))).await?;
    let action = page.text.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
    let action = action.with_context(|| format!("no form: {page:?}"))?.replace("&amp;", "&");
    let reply = browser.send(post(client, &action, &[("username", "mcp-user"), ("password", "user123")])).await?;
    let answer = parameters(reply.header("location")).with_context(|| format!("{reply:?}"))?;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", CLIENT),
        ("code", answer.get("code").context("no code")?),
        ("redirect_uri", KEYCLOAKS_CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    is_granted(&browser.send(post(client, &format!("{issuer}/protocol/openid-connect/token"), &form)).await?)
}
