//! What clients say about themselves, by registering or in a document at their own URL: unknown members are left out,
//! members that could hurt somebody are refused, and the answer says what was registered.

#![allow(clippy::too_many_lines)] // a table reads best in one piece

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use integration_tests::{
    Reply, Server, browser,
    browser::{Browser, PASSWORD, parameters},
    command,
    mock::{self, Mock},
};
use reqwest::Method;
use serde_json::{Value, json};

const CALLBACK: &str = "http://localhost:8787/callback";

/// Metadata that is accepted, with a change.
fn metadata(change: &Value) -> Value {
    let mut metadata = json!({
        "client_name": "a test", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    for (name, value) in change.as_object().into_iter().flatten() {
        metadata[name] = value.clone();
    }
    metadata
}

/// A web server with a document for each path `/0`, `/1` and so on.
fn documents(all: Vec<Value>) -> Result<Mock> {
    Mock::start(move |request, _| {
        let index: Option<usize> = request.path().trim_start_matches('/').parse().ok();
        let Some(mut document) = index.and_then(|index| all.get(index).cloned()) else {
            return mock::Reply::status(404);
        };
        document["client_id"] =
            json!(format!("http://{}{}", request.header("host").unwrap_or_default(), request.path()));
        mock::Reply::json(200, &document)
    })
}

fn start() -> Result<Server> {
    Server::start_in_env("step9", &["--allow-loopback-client-ids"], &[("MCP_DEV_PASSWORD", PASSWORD)])
}

#[tokio::test]
async fn what_is_not_known_is_left_out_and_the_answer_says_what_was_registered() -> Result<()> {
    const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let server = start()?;
    let browser = Browser::new(&server)?;
    let offered = Reply::of(server.get("/.well-known/oauth-authorization-server")).await?.json();
    let both = json!(["authorization_code", "refresh_token"]);
    let code = json!(["authorization_code"]);
    let twelve = [vec!["http://localhost:1/"; 10], vec!["about:blank", "data:,x"]].concat();
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let rows = [
        (
            "one more grant type",
            json!({ "grant_types": ["authorization_code", "refresh_token", JWT_BEARER] }),
            "grant_types",
            both.clone(),
        ),
        ("all that we offer", json!({ "grant_types": offered["grant_types_supported"] }), "grant_types", both.clone()),
        (
            "a grant type that is no text",
            json!({ "grant_types": [JWT_BEARER, 5, null, "", "authorization_code"] }),
            "grant_types",
            code.clone(),
        ),
        ("an empty grant type", json!({ "grant_types": [""] }), "grant_types", code.clone()),
        ("no grant types", json!({ "grant_types": [] }), "grant_types", code.clone()),
        ("null grant types", json!({ "grant_types": null }), "grant_types", code),
        (
            "grant types that are an empty string",
            json!({ "grant_types": "" }),
            "grant_types",
            json!(["authorization_code"]),
        ),
        ("response types that are an empty string", json!({ "response_types": "" }), "response_types", json!(["code"])),
        ("keys that are an empty string", json!({ "jwks": "" }), "jwks", Value::Null),
        (
            "one more response type",
            json!({ "response_types": ["none", "code", "code id_token"] }),
            "response_types",
            json!(["code"]),
        ),
        ("no response types", json!({ "response_types": [] }), "response_types", json!(["code"])),
        ("one more scope", json!({ "scope": "openid mcp:read offline_access" }), "scope", json!("mcp:read")),
        (
            "all our scopes",
            json!({ "scope": "mcp:prompts mcp:tools mcp:read" }),
            "scope",
            json!("mcp:read mcp:tools mcp:prompts"),
        ),
        ("no scope that we know", json!({ "scope": "openid profile" }), "scope", Value::Null),
        ("an empty scope", json!({ "scope": "" }), "scope", Value::Null),
        ("a scope with a quote", json!({ "scope": "mcp:read \"x\"" }), "scope", json!("mcp:read")),
        (
            "one more redirect URI",
            json!({ "redirect_uris": ["exampleapp://cb", CALLBACK] }),
            "redirect_uris",
            json!([CALLBACK]),
        ),
        (
            "hostile redirect URIs, and one",
            json!({ "redirect_uris": ["javascript:alert(1)", "http://client.example/", "", null, 5, CALLBACK, "https://a.example/#x"] }),
            "redirect_uris",
            json!([CALLBACK]),
        ),
        (
            "twelve, of which ten can be accepted",
            json!({ "redirect_uris": twelve }),
            "redirect_uris",
            json!(vec!["http://localhost:1/"; 10]),
        ),
        (
            "a page without an address",
            json!({ "client_uri": "", "logo_uri": "", "tos_uri": "" }),
            "client_uri",
            Value::Null,
        ),
        (
            "an empty method",
            json!({ "token_endpoint_auth_method": "", "grant_types": both }),
            "grant_types",
            both.clone(),
        ),
        ("a soft hyphen in the name", json!({ "client_name": "Good\u{ad}Notes" }), "client_name", json!("GoodNotes")),
        (
            "a fat heart",
            json!({ "client_name": " I \u{2764}\u{fe0f} notes\u{3164} " }),
            "client_name",
            json!("I \u{2764} notes"),
        ),
        ("a right-to-left name", json!({ "client_name": "שלום" }), "client_name", json!("שלום")),
        (
            "a key that we cannot read",
            json!({ "jwks": { "keys": [{ "kty": "new" }, key] } }),
            "jwks",
            json!({ "keys": [key] }),
        ),
        (
            "members that we do not use",
            json!({ "software_id": 5, "contacts": "", "x": {} }),
            "software_id",
            Value::Null,
        ),
    ];
    let hosts = documents(rows.iter().map(|(_, change, ..)| metadata(change)).collect())?;
    for (index, (what, change, member, value)) in rows.iter().enumerate() {
        let reply = browser.register_as(&metadata(change)).await?;
        assert_eq!(reply.status, 201, "{what}: {reply:?}");
        assert_eq!(&reply.json()[*member], value, "{what}: {reply:?}");
        let id = format!("{}/{index}", hosts.url);
        let uri = reply.json()["redirect_uris"][0].as_str().context("no redirect URI")?.to_owned();
        let page = browser.send(browser.get(&browser.request(&id, &[("redirect_uri", &uri)]))).await?;
        assert_eq!(page.status, 200, "{what}, in a document: {page:?}");
    }
    // An empty method means the default. A client that registers then gets a secret; a document has none to share.
    let reply = browser.register_as(&metadata(&json!({ "token_endpoint_auth_method": "" }))).await?;
    assert_eq!(reply.json()["token_endpoint_auth_method"], "client_secret_basic", "{reply:?}");
    assert!(reply.json()["client_secret"].as_str().is_some_and(|secret| secret.len() == 43), "{reply:?}");
    // A client without a name is shown by its id.
    let reply = browser.register_as(&metadata(&json!({ "client_name": "" }))).await?;
    assert_eq!((reply.status.as_u16(), &reply.json()["client_name"]), (201, &Value::Null), "{reply:?}");
    // The scopes in its metadata are no limit: a step-up asks for more.
    let reply = browser.register_as(&metadata(&json!({ "scope": "mcp:read" }))).await?;
    let client = reply.json()["client_id"].as_str().context("no id")?.to_owned();
    let change = [("redirect_uri", CALLBACK), ("scope", "mcp:prompts")];
    let answer = browser.consent(&browser.request(&client, &change), "alice", &["mcp:prompts"]).await?;
    assert!(answer.contains_key("code"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn what_could_hurt_somebody_or_leaves_nothing_is_refused() -> Result<()> {
    let server = start()?;
    let browser = Browser::new(&server)?;
    let (uri, other) = ("invalid_redirect_uri", "invalid_client_metadata");
    let invisible = "\u{3164}\u{2800}\u{ad}\u{61c}\u{180e}\u{e0041}\u{ffa0}\u{fe0f}\u{34f}\u{fff9}\u{17b4}\u{115f}\u{200b}\u{2060}\u{feff}\u{1d159} \u{a0}\u{3000}";
    let mut rows = vec![
        ("only unknown grant types", json!({ "grant_types": ["password", "client_credentials"] }), other),
        ("grant types that are no texts", json!({ "grant_types": [5] }), other),
        ("only unknown response types", json!({ "response_types": ["token", "code id_token"] }), other),
        ("no redirect URIs", json!({ "redirect_uris": null }), uri),
        ("redirect URIs that are an empty string", json!({ "redirect_uris": "" }), uri),
        (
            "hosts that are none, or written as no browser writes them",
            json!({ "redirect_uris": ["https://*.client.example/cb", "http://127.1/", "http://0x7f.0.0.1/", "http://localhost:/", "HTTP://localhost/"] }),
            uri,
        ),
        ("an empty redirect URI", json!({ "redirect_uris": [""] }), uri),
        ("a scheme without a dot", json!({ "redirect_uris": ["exampleapp://cb"] }), uri),
        ("script", json!({ "redirect_uris": ["javascript:alert(1)", "JavaScript://cursor.example/%0aalert(1)"] }), uri),
        (
            "what browsers keep",
            json!({ "redirect_uris": ["about:blank", "blob:https://a.example/1", "data:,x", "file:///x", "vbscript:x"] }),
            uri,
        ),
        (
            "http elsewhere",
            json!({ "redirect_uris": ["http://client.example/", "http://localhost.client.example/", "http://127.0.0.2/"] }),
            uri,
        ),
        ("an invisible name", json!({ "client_name": invisible }), other),
        (
            "a name of nothing that is drawn by itself",
            json!({ "client_name": "\u{301}\u{489} \u{e000}\u{fffe}" }),
            other,
        ),
        (
            "a key that who checks could sign with",
            json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] } }),
            other,
        ),
        (
            "a key with its private half, which whoever reads it could sign with (RFC 8037, Appendix A)",
            json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [{
                "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
            }] } }),
            other,
        ),
        ("a page that is script", json!({ "client_uri": "javascript:x" }), other),
        ("grant types that are no list", json!({ "grant_types": "authorization_code" }), other),
        ("a name that is no text", json!({ "client_name": 5 }), other),
        ("a method that we do not know", json!({ "token_endpoint_auth_method": "client_secret_jwt" }), other),
        (
            "keys that we cannot read",
            json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [{ "kty": "new" }] } }),
            other,
        ),
    ];
    let names: Vec<_> =
        ["a\u{202e}b", "a\u{61c}b", "\u{200f}ab", "a\u{2066}b", "a\nb", "a\u{7}", "a\u{2028}b", "a\u{9b}b"].to_vec();
    rows.extend(names.iter().map(|name| (*name, json!({ "client_name": name }), other)));
    let many: Vec<_> = (0..11).map(|number| format!("https://client.example/{number}")).collect();
    rows.push(("eleven redirect URIs", json!({ "redirect_uris": many }), uri));
    for name in ["code", "state", "iss", "error", "error_description", "error_uri", "%63ode", "a=b&state", "c+d&iss"] {
        rows.push((name, json!({ "redirect_uris": [format!("https://client.example/cb?{name}=1")] }), uri));
        rows.push((name, json!({ "redirect_uris": [format!("com.example.app:/cb?{name}")] }), uri));
    }
    for (index, part) in rows.chunks(25).enumerate() {
        // The number of fetches from one host is limited.
        let (server, hosts) = (start()?, documents(part.iter().map(|(_, change, _)| metadata(change)).collect())?);
        let browser = Browser::new(&server)?;
        for (number, (what, ..)) in part.iter().enumerate() {
            let page = browser.send(browser.get(&browser.request(&format!("{}/{number}", hosts.url), &[]))).await?;
            assert_eq!(page.status, 400, "{what}, in document {index}/{number}: {page:?}");
            assert!(page.text.contains("metadata document is refused"), "{what}: {page:?}");
        }
    }
    for (what, change, error) in rows {
        let reply = browser.register_as(&metadata(&change)).await?;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (400, &json!(error)), "{what}: {reply:?}");
    }
    for name in ["codes", "CODE", "my_state", "x=code"] {
        let uri = format!("https://client.example/cb?{name}=1");
        assert!(browser.register(&[&uri]).await.is_ok(), "{uri}");
    }
    // The answer names the member, not a place in the text; a list is not an object, whatever the order of its entries.
    for (body, says) in [
        (r#"{"client_name":5}"#, "client_name must be a string"),
        (r#"{"grant_types":"authorization_code"}"#, "grant_types must be a list"),
        (r#"{"redirect_uris":{}}"#, "redirect_uris must be a list"),
        (r#"{"scope":["mcp:read"]}"#, "scope must be a string"),
        (r#"{"jwks":{}}"#, "jwks must be an object"),
        (r#"{"redirect_uris":["http://localhost/"],"redirect_uris":["https://a.example/"]}"#, "more than once"),
        (r#"[null,null,null,["http://localhost/"],"none"]"#, "not a JSON object"),
        ("null", "not a JSON object"),
        ("", "not a JSON object"),
    ] {
        let request = server.request(Method::POST, "/register");
        let request = request.header("Content-Type", "application/json").body(body);
        let reply = Reply::of(request).await?;
        let said = reply.json();
        assert_eq!((reply.status.as_u16(), &said["error"]), (400, &json!(other)), "{body}: {reply:?}");
        let said = said["error_description"].as_str().context("no description")?;
        assert!(said.contains(says) && !said.contains("column"), "{body}: {said}");
    }
    // An empty secret is not a secret.
    let document = documents(vec![metadata(&json!({ "client_secret": "" }))])?;
    let page = browser.send(browser.get(&browser.request(&format!("{}/0", document.url), &[]))).await?;
    assert_eq!(page.status, 400, "{page:?}");
    Ok(())
}

#[tokio::test]
async fn a_redirect_uri_that_was_left_out_stays_unusable() -> Result<()> {
    let server = start()?;
    let browser = Browser::new(&server)?;
    let left_out = ["exampleapp://cb", "https://client.example/cb?state=x", "javascript:alert(1)"];
    let uris = [&left_out[..], &[CALLBACK]].concat();
    let all = json!({ "redirect_uris": uris });
    let hosts = documents(vec![metadata(&all)])?;
    let reply = browser.register_as(&metadata(&all)).await?;
    for client in [reply.json()["client_id"].as_str().context("no id")?, &format!("{}/0", hosts.url)] {
        for uri in left_out {
            let reply = browser.send(browser.get(&browser.request(client, &[("redirect_uri", uri)]))).await?;
            assert_eq!(reply.status, 400, "{uri}: {reply:?}");
            assert!(!reply.headers.contains_key("location"), "{uri}");
        }
        let reply = browser.send(browser.get(&browser.request(client, &[("redirect_uri", CALLBACK)]))).await?;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_apps_scheme_needs_a_dot_or_the_operators_word_and_the_person_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("auth.db").to_str().context("a path that is not UTF-8")?.to_owned();
    let args = ["--auth-database", &database];
    let start =
        |more: &[&str]| Server::start_in_env("step9", &[&args, more].concat(), &[("MCP_DEV_PASSWORD", PASSWORD)]);
    let (cursor, own) = ("cursor://anysphere.cursor-mcp/oauth/callback", "example-app:/callback");
    let server = start(&[])?;
    let browser = Browser::new(&server)?;
    let refused = browser.register_as(&metadata(&json!({ "redirect_uris": [own] }))).await?;
    let said = refused.json()["error_description"].as_str().context("no description")?.to_owned();
    assert!(said.contains("needs a dot") && said.contains("--app-scheme"), "{said}");
    drop(server);

    let server = start(&["--app-scheme", "example-app", "--app-scheme", "vscode"])?;
    let browser = Browser::new(&server)?;
    for (uri, scheme) in [
        (cursor, "cursor:"),
        (own, "example-app:"),
        ("vscode://x.y/cb", "vscode:"),
        ("com.example.app:/cb", "com.example.app:"),
    ] {
        let client = browser.register(&[uri]).await?;
        let person = Browser::new(&server)?;
        let login = person.open(&person.request(&client, &[("redirect_uri", uri)])).await?;
        let form = [("username", "alice"), ("password", PASSWORD), ("csrf", &login.csrf)];
        let next = person.send(person.post(&login.action, &form)).await?;
        let consent = person.open(next.header("location")).await?;
        let text = &consent.reply.text;
        assert!(text.contains(&format!("<bdi>{scheme}</bdi>")), "{uri}: {text}");
        assert!(text.contains("any app on this computer can claim it"), "{uri}: {text}");
        // A browser follows the redirect after the form only to what the policy names.
        let policy = consent.reply.header("content-security-policy");
        assert!(policy.contains(&format!("form-action 'self' {scheme};")), "{uri}: {policy}");
        let form = [("csrf", consent.csrf.as_str()), ("decision", "allow"), ("scope", "mcp:read")];
        let reply = person.send(person.post(&consent.action, &form)).await?;
        assert!(reply.header("location").starts_with(&format!("{uri}?")), "{uri}: {reply:?}");
        assert!(parameters(reply.header("location"))?.contains_key("code"), "{uri}: {reply:?}");
    }
    let web = browser.register(&["https://client.example/callback"]).await?;
    let path = browser.request(&web, &[("redirect_uri", "https://client.example/callback")]);
    let login = browser.open(&path).await?;
    let form = [("username", "alice"), ("password", PASSWORD), ("csrf", &login.csrf)];
    browser.send(browser.post(&login.action, &form)).await?;
    let text = browser.open(&path).await?.reply.text;
    assert!(!text.contains("can claim it"), "a web site's address is its own: {text}");
    let client = browser.register(&[own]).await?;
    drop(server);

    // Without the operator's option, a URI that was registered under it is no longer used.
    let server = start(&[])?;
    let browser = Browser::new(&server)?;
    let reply = browser.send(browser.get(&browser.request(&client, &[("redirect_uri", own)]))).await?;
    assert_eq!(reply.status, 400, "{reply:?}");
    for name in ["javascript", "JavaScript", "http", "file", "data", "blob", "about", "", "a b", "cursor:", "1x"] {
        let output = command("step9")?.args(["--app-scheme", name]).current_dir(folder.path()).output()?;
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn one_address_uses_up_no_others_registrations() -> Result<()> {
    let server = browser::start("step9")?;
    let port: u16 = server.url().rsplit(':').next().context("no port")?.parse()?;
    let from = |address: IpAddr, host: &str| -> Result<_> {
        let client = reqwest::Client::builder().no_proxy().local_address(address).build()?;
        Ok((client, format!("http://{host}:{port}/register")))
    };
    let register = async |(client, url): &(reqwest::Client, String)| {
        let request = client.post(url).header("Content-Type", "application/json");
        Reply::of(request.body(metadata(&json!({})).to_string())).await
    };
    let stranger = from(Ipv4Addr::new(127, 0, 0, 2).into(), "127.0.0.1")?;
    let mut stopped = 0;
    for _ in 0..40 {
        let reply = register(&stranger).await?;
        if reply.status == 429 {
            stopped += 1;
            let wait: u64 = reply.header("retry-after").parse().with_context(|| format!("{reply:?}"))?;
            assert!((1..=60).contains(&wait), "{reply:?}");
        } else {
            assert_eq!(reply.status, 201, "{reply:?}");
        }
    }
    assert!((5..=10).contains(&stopped), "{stopped} of 40");
    for (address, host) in [(Ipv4Addr::LOCALHOST.into(), "127.0.0.1"), (IpAddr::from(Ipv6Addr::LOCALHOST), "[::1]")] {
        let reply = register(&from(address, host)?).await?;
        assert_eq!(reply.status, 201, "{address}: {reply:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_request_makes_us_fetch_nothing_for_a_client_that_nobody_let_in() -> Result<()> {
    let server = start()?;
    let browser = Browser::new(&server)?;
    let hosts = documents(vec![metadata(&json!({}))])?;
    let client = format!("{}/0", hosts.url);
    let form = [("grant_type", "refresh_token"), ("client_id", client.as_str()), ("refresh_token", "nonsense")];
    let reply = browser.token(&form).await?;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (401, &json!("invalid_client")), "{reply:?}");
    assert_eq!(hosts.hits("/0"), 0);
    browser.consent(&browser.request(&client, &[("redirect_uri", CALLBACK)]), "alice", &["mcp:read"]).await?;
    let reply = browser.token(&form).await?;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (400, &json!("invalid_grant")), "{reply:?}");
    Ok(())
}

#[tokio::test]
async fn a_slow_metadata_host_keeps_no_other_waiting_and_none_is_asked_without_end() -> Result<()> {
    let server = start()?;
    let slow =
        Mock::start(|_, _| mock::Reply::Drip("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n".into()))?;
    let quick = documents(vec![metadata(&json!({}))])?;
    let request = |client: &str| -> Result<_> {
        let browser = Browser::new(&server)?;
        Ok(browser.get(&browser.request(client, &[("redirect_uri", CALLBACK)])))
    };
    let mut waiting = Vec::new();
    for number in 0..8 {
        waiting.push(tokio::spawn(Reply::of(request(&format!("{}/{number}", slow.url))?)));
    }
    while slow.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    // The limit goes by the host's name, not by its address.
    let other = format!("{}/0", quick.url.replace("127.0.0.1", "localhost"));
    let reply = Reply::of(request(&other)?).await?;
    assert_eq!(reply.status, 200, "{reply:?}");
    for reply in waiting {
        let reply = reply.await??;
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(
            reply.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)),
            "{reply:?}"
        );
        assert!(!reply.text.contains("must be the URL"), "the client is not at fault: {reply:?}");
    }
    let asked = slow.seen().len();
    assert!(asked <= 2, "{asked} of eight at once");

    let mut answers = Vec::new();
    for number in 1..=60 {
        answers.push(Reply::of(request(&format!("{}/{number}", quick.url))?).await?.status.as_u16());
    }
    let asked = quick.seen().len();
    assert!(asked <= 40, "{asked} of 60 in a moment");
    assert!(answers.contains(&400) && answers.contains(&503), "{answers:?}");
    let reply = Reply::of(request(&other)?).await?;
    assert_eq!(reply.status, 200, "what is known is not forgotten: {reply:?}");
    Ok(())
}

/// Sends the head of a request, and nothing of the body that it announces: the status of the answer.
fn without_its_body(server: &Server, path: &str, length: usize) -> Result<u16> {
    let address = server.url().trim_start_matches("http://").replace("localhost", "127.0.0.1");
    let mut stream = TcpStream::connect(&address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(std::str::from_utf8(&head[9..])?.parse()?)
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_and_one_that_is_too_slow_408() -> Result<()> {
    let server = start()?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&[CALLBACK]).await?;
    let path = browser.request(&client, &[("redirect_uri", CALLBACK)]);
    let login = path.replace("/authorize", "/login");
    let all = ["/token", "/revoke", &login];
    for path in all {
        for length in [17 * 1024, 2 * 1024 * 1024] {
            let reply = browser.send(browser.post(path, &[("x", &"x".repeat(length))])).await?;
            assert_eq!(reply.status, 413, "{path}, {length}: {reply:?}");
        }
    }
    thread::scope(|scope| {
        let slow: Vec<_> = all.map(|path| (path, scope.spawn(|| without_its_body(&server, path, 10)))).into();
        for (path, slow) in slow {
            let status = slow.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
            assert_eq!(status, 408, "{path}");
        }
        Ok(())
    })
}
