//! Step 12 below a path of a host that it shares with other applications, behind a real HAProxy that forwards only its part.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Reply, Server,
    browser::{Browser, PASSWORD, claims},
    client::{Client, follow, person},
    gen_token,
    haproxy::HaProxy,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// The two kinds of proxies, by the backend: one leaves the path as it is, the other takes the public URL's path off.
const KINDS: [&str; 2] = ["whole", "taken_off"];
/// Where RFC 9728 §3.1 and RFC 8414 §3.1 have the documents.
const WELL_KNOWN: &str = "use_backend whole if { path /.well-known/oauth-protected-resource/tools/mcp \
                          /.well-known/oauth-authorization-server/tools }";
const NO_CHALLENGE: &str = "http-response del-header WWW-Authenticate";
const BELOW: &[&str] = &["--well-known-below-path"];

struct Gateway {
    proxy: HaProxy,
    server: Server,
}

impl Gateway {
    /// A server at `/tools` of this proxy, which forwards nothing else but what `rules` say.
    fn start(kind: &str, rules: &[&str], args: &[&str]) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://localhost:{}/tools", listener.local_addr()?.port());
        let args = [&["--public-url", &url][..], args].concat();
        let server = Server::start_in_env("step12", &args, &[("MCP_DEV_PASSWORD", PASSWORD)])?;
        let rules = format!("use_backend {kind} if {{ path_beg /tools/ }}\n{}", rules.join("\n"));
        let port = server.url().rsplit(':').next().context("no port")?.parse()?;
        let mut proxy = HaProxy::gateway(listener, port, &rules, "/tools/ready")?;
        Runtime::new()?.block_on(proxy.is_ready())?;
        Ok(Gateway { proxy, server })
    }

    fn get(&self, url: &str) -> Result<Reply> {
        ensure!(url.starts_with(self.proxy.url()), "{url} is not at the gateway");
        let client = reqwest::Client::builder().no_proxy().build()?;
        Runtime::new()?.block_on(Reply::of(client.get(url)))
    }
}

fn nobody(url: &str) {
    panic!("there should be no log-in: {url}");
}

/// A whole life: a log-in, a tool, a refresh, the page of what was allowed, and the log-outs.
fn from_log_in_to_log_out(gateway: &Gateway) -> Result<()> {
    let (origin, issuer) = (gateway.proxy.url(), format!("{}/tools", gateway.proxy.url()));
    let client = Client::new(&format!("{issuer}/mcp"))?;
    let call = ["call", "echo", "message=hi"];
    let at = origin.to_owned();
    let alice =
        move |url: &str| follow(&person(&at, url, "alice", &["mcp:read", "mcp:tools"]).expect("the person logs in"));
    let outcome = client.run(&call, alice)?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");

    let read = || -> Result<Value> { Ok(serde_json::from_str(&fs::read_to_string(client.stored()?)?)?) };
    let mut stored = read()?;
    let token = stored["grant"]["access_token"].as_str().context("no token")?.to_owned();
    assert_eq!(claims(&token)?["iss"], issuer);
    assert_eq!(claims(&token)?["aud"], format!("{issuer}/mcp"));
    stored["grant"]["expires_at"] = json!("2020-01-01T00:00:00Z");
    fs::write(client.stored()?, stored.to_string())?;
    let outcome = client.run(&call, nobody)?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    assert_ne!(read()?["grant"]["access_token"], token, "it was not refreshed");

    Runtime::new()?.block_on(async {
        let browser = Browser::at(vec![origin])?;
        let login = browser.open("/tools/account").await?;
        assert_eq!(login.action, "/tools/account/login");
        assert!(login.reply.header("set-cookie").contains("; Path=/;"), "{login:?}");
        let form = [("username", "alice"), ("password", "wrong"), ("csrf", &login.csrf)];
        assert_eq!(browser.send(browser.post(&login.action, &form)).await?.status, 401);
        let again = browser.send(browser.get(&login.action)).await?;
        assert_eq!((again.status.as_u16(), again.header("location")), (303, "/tools/account"));
        let form = [("username", "alice"), ("password", PASSWORD), ("csrf", &login.csrf)];
        let welcome = browser.send(browser.post(&login.action, &form)).await?;
        assert_eq!((welcome.status.as_u16(), welcome.header("location")), (303, "/tools/account"));
        let page = browser.open("/tools/account").await?;
        assert_eq!(page.action, "/tools/account");
        let client = page.reply.text.split("name=\"client\" value=\"").nth(1).context("nothing is allowed")?;
        let client = client.split('"').next().unwrap_or_default();
        let withdraw = [("action", "withdraw"), ("client", client), ("csrf", &page.csrf)];
        let reply = browser.send(browser.post(&page.action, &withdraw)).await?;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/tools/account"));
        let page = browser.open("/tools/account").await?;
        assert!(page.reply.text.contains("No program may act for you."), "{page:?}");
        let reply = browser.send(browser.post(&page.action, &[("action", "log_out"), ("csrf", &page.csrf)])).await?;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/tools/account"));
        assert_eq!(browser.open("/tools/account").await?.action, "/tools/account/login");
        // Reloading the page after a wrong password starts the log-in again.
        let again = browser.send(browser.get("/tools/login?x=1")).await?;
        assert_eq!((again.status.as_u16(), again.header("location")), (303, "/tools/authorize?x=1"));
        anyhow::Ok(())
    })?;
    let outcome = client.run(&["logout"], nobody)?;
    assert!(outcome.code == Some(0) && client.stored().is_err(), "{outcome:?}");
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs HAProxy")]
fn a_client_that_follows_the_challenge_logs_in() -> Result<()> {
    for kind in KINDS {
        from_log_in_to_log_out(&Gateway::start(kind, &[WELL_KNOWN], &[])?).context(kind)?;
    }
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs HAProxy")]
fn a_client_that_has_only_the_well_known_places_logs_in() -> Result<()> {
    for kind in KINDS {
        from_log_in_to_log_out(&Gateway::start(kind, &[WELL_KNOWN, NO_CHALLENGE], &[])?).context(kind)?;
    }
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs HAProxy")]
fn behind_a_proxy_that_forwards_nothing_else_the_documents_below_the_path_are_enough() -> Result<()> {
    for kind in KINDS {
        from_log_in_to_log_out(&Gateway::start(kind, &[], BELOW)?).context(kind)?;
        // Without the option a client is sent to places that this proxy does not forward.
        let gateway = Gateway::start(kind, &[], &[])?;
        let client = Client::new(&format!("{}/tools/mcp", gateway.proxy.url()))?;
        let outcome = client.run(&["call", "echo", "message=hi"], nobody)?;
        assert_ne!(outcome.code, Some(0), "{kind}: {outcome:?}");
    }
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs HAProxy")]
fn every_url_that_the_server_names_leads_to_it() -> Result<()> {
    for kind in KINDS {
        for (rules, args, resource, authorization_server) in [
            (
                &[WELL_KNOWN][..],
                &[][..],
                "/.well-known/oauth-protected-resource/tools/mcp",
                "/.well-known/oauth-authorization-server/tools",
            ),
            (&[], BELOW, "/tools/.well-known/oauth-protected-resource", "/tools/.well-known/openid-configuration"),
        ] {
            let gateway = Gateway::start(kind, rules, args)?;
            let origin = gateway.proxy.url();
            let at = |path: &str| format!("{origin}{path}");
            let challenge = gateway.get(&at("/tools/mcp"))?;
            assert_eq!(challenge.status, 401, "{challenge:?}");
            let named = format!("resource_metadata=\"{}\"", at(resource));
            assert!(challenge.header("www-authenticate").contains(&named), "{kind} {challenge:?}");
            let health = gateway.get(&at("/tools/health"))?.json()["oauth"].clone();
            assert_eq!(
                health,
                json!({
                    "protected_resource": at(resource),
                    "authorization_server": at(authorization_server),
                    "jwks": at("/tools/.well-known/jwks.json"),
                })
            );
            let document = gateway.get(&at(resource))?.json();
            assert_eq!(document["resource"], at("/tools/mcp"));
            assert_eq!(document["authorization_servers"], json!([at("/tools")]));
            let docs = document["resource_documentation"].as_str().context("no documentation")?;
            assert_eq!((docs, gateway.get(docs)?.status.as_u16()), (at("/tools/docs").as_str(), 200));
            let mut metadata = gateway.get(&at(authorization_server))?.json();
            assert_eq!(metadata["issuer"], at("/tools"));
            for (member, status) in [
                ("jwks_uri", 200),
                ("authorization_endpoint", 400),
                ("token_endpoint", 405),
                ("registration_endpoint", 405),
                ("revocation_endpoint", 405),
            ] {
                let url = metadata[member].as_str().with_context(|| format!("no {member}"))?;
                assert!(url.starts_with(&at("/tools/")), "{url}");
                assert_eq!(gateway.get(url)?.status, status, "{url}");
            }
            // Below the path the documents always are; that of the other name only if clients are told of it.
            let below = gateway.get(&at("/tools/.well-known/oauth-authorization-server"))?.json();
            if args == BELOW {
                assert_eq!(metadata["subject_types_supported"], json!(["public"]));
                let metadata = metadata.as_object_mut().context("no object")?;
                metadata.retain(|name, _| below.get(name).is_some());
            } else {
                assert_eq!(gateway.get(&at("/tools/.well-known/openid-configuration"))?.status, 404);
            }
            assert_eq!(metadata, below);
            assert_eq!(gateway.get(&at("/tools/.well-known/oauth-protected-resource"))?.json(), document);
            // What restarts and routes processes asks them directly.
            for page in ["/health", "/ready"] {
                let reply = Runtime::new()?.block_on(Reply::of(gateway.server.get(page)))?;
                assert_eq!(reply.status, 200, "{page}: {reply:?}");
            }
        }
    }
    Ok(())
}

/// The tests are the proxy.
fn below_path() -> Result<Server> {
    Server::start_with("step12", &["--public-url", "https://gw.example/tools"])
}

#[tokio::test]
async fn a_token_is_for_the_resource_with_the_path_and_no_other() -> Result<()> {
    let server = below_path()?;
    let (origin, issuer, ours) = ("https://gw.example", "https://gw.example/tools", "https://gw.example/tools/mcp");
    for (what, from, args, reason) in [
        ("ours", issuer, vec![], None),
        ("the host's", issuer, vec!["--audience", "https://gw.example/mcp"], Some("audience")),
        ("a longer one", issuer, vec!["--audience", "https://gw.example/tools/mcp/"], Some("audience")),
        ("of the issuer without the path", origin, vec!["--audience", ours], Some("issuer")),
    ] {
        let token = gen_token(&server.keys(), from, &[&["--username", "alice"], &args[..]].concat())?;
        for path in ["/tools/mcp", "/mcp"] {
            let request = server.request(reqwest::Method::POST, path).header("Content-Type", "application/json");
            let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
            let reply = Reply::of(request.bearer_auth(&token).body(body.to_string())).await?;
            match reason {
                None => assert!(reply.status == 200 && reply.json()["result"]["tools"].is_array(), "{what}: {reply:?}"),
                Some(reason) => {
                    assert_eq!(reply.status, 401, "{what}: {reply:?}");
                    assert!(reply.header("www-authenticate").contains(reason), "{what}: {reply:?}");
                }
            }
        }
    }
    Ok(())
}

/// The status of a request with this target, which no library has tidied up.
fn status(server: &Server, target: &str, host: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(server.url().trim_start_matches("http://"))?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answer.split(' ').nth(1).context("no answer")?.parse().with_context(|| answer.clone())
}

#[test]
fn a_near_miss_is_not_found() -> Result<()> {
    let server = below_path()?;
    for (target, expected) in [
        ("/tools/mcp", 401),
        ("/tools/mcp?x=1", 401),
        ("http://localhost/tools/mcp", 401),
        ("/tools/health", 200),
        ("/mcp", 401), // as a proxy asks that has taken the path off
        ("/toolsmcp", 404),
        ("/tools//mcp", 404),
        ("/tools/../mcp", 404),
        ("/tools/./mcp", 404),
        ("/tools/%2e%2e/mcp", 404),
        ("/tools%2fmcp", 404),
        ("/%74ools/mcp", 404),
        ("/Tools/mcp", 404),
        ("/TOOLS/mcp", 404),
        ("//tools/mcp", 404),
        ("/tools", 404),
        ("/tools/", 404),
        ("/tools?/mcp", 404),
        ("/tools;/mcp", 404),
        ("/tools/mcp/", 404),
        ("/tools/tools/mcp", 404),
        ("/x/tools/mcp", 404),
        ("/.well-known/oauth-protected-resource/tools/mcp", 200),
        ("/.well-known/oauth-protected-resource/tools", 404),
        ("/.well-known/oauth-protected-resource/mcp", 404),
        ("/.well-known/oauth-authorization-server/tools", 200),
        ("/.well-known/oauth-authorization-server/tools/", 404),
        ("/.well-known/oauth-authorization-server/Tools", 404),
        ("/.well-known/openid-configuration", 404),
        ("/.well-known/openid-configuration/tools", 404),
    ] {
        assert_eq!(status(&server, target, "localhost")?, expected, "{target}");
    }
    assert_eq!(status(&server, "/tools/mcp", "evil.example")?, 403);
    Ok(())
}

#[tokio::test]
async fn other_hosts_cannot_set_the_cookies() -> Result<()> {
    let server = Server::start_with("step12", &["--public-url", "https://localhost/tools"])?;
    let cookie = Reply::of(server.get("/tools/account")).await?.header("set-cookie").to_owned();
    assert!(cookie.starts_with("__Host-mcp_login_"), "{cookie}");
    assert!(cookie.contains("; Path=/;") && cookie.contains("; Secure") && cookie.contains("; HttpOnly"), "{cookie}");
    assert!(!cookie.contains("Domain"), "{cookie}");
    Ok(())
}

#[test]
fn a_public_url_whose_path_could_mean_two_things_is_refused() -> Result<()> {
    let start = |step: &str, args: &[&str]| -> Result<String> {
        let started = Server::start_with(step, args);
        Ok(started.err().with_context(|| format!("{step} {args:?}: it started"))?.to_string())
    };
    for (url, why) in [
        ("https://gw.example/tools?x=1", "without user, query or fragment"),
        ("https://gw.example/tools?", "without user, query or fragment"),
        ("https://gw.example/tools#x", "without user, query or fragment"),
        ("https://me@gw.example/tools", "without user, query or fragment"),
        ("https://gw.example/tools//", "must look like /tools"),
        ("https://gw.example//tools", "must look like /tools"),
        ("https://gw.example/a//b", "must look like /tools"),
        ("https://gw.example/a/../tools", "must look like /tools"),
        ("https://gw.example/tools/..", "must look like /tools"),
        ("https://gw.example/./tools", "must look like /tools"),
        ("https://gw.example/%2e%2e/tools", "must look like /tools"),
        ("https://gw.example/%2E/tools", "must look like /tools"),
        ("https://gw.example/t%6fols", "must look like /tools"),
        ("https://gw.example/.well-known", "must look like /tools"),
        ("https://gw.example/to ols", "must look like /tools"),
        ("https://gw.example/tööls", "must look like /tools"),
        ("https://gw.example/tools;x", "must look like /tools"),
        ("https:\\\\gw.example\\tools", "must look like /tools"),
        ("https:gw.example/tools", "must look like /tools"),
        ("https://gw.example/account", "/account is the path of a page"),
    ] {
        let said = start("step12", &["--public-url", url])?;
        assert!(said.contains("--public-url") && said.contains(why), "{url}: {said}");
    }
    let said = start("step12", BELOW)?;
    assert!(said.contains("--public-url has no path"), "{said}");
    for step in ["step1", "step9", "step10", "auth-server"] {
        let said = start(step, &["--public-url", "https://gw.example/tools"])?;
        assert!(said.contains("has a path, which only step 12 can have"), "{step}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_slash_at_the_end_is_removed() -> Result<()> {
    for url in ["https://gw.example/tools", "https://gw.example/tools/", "https://GW.example:443/tools/"] {
        let server = Server::start_with("step12", &["--public-url", url])?;
        let document = Reply::of(server.get("/.well-known/oauth-protected-resource/tools/mcp")).await?.json();
        assert_eq!(document["resource"], "https://gw.example/tools/mcp", "{url}");
    }
    Ok(())
}
