//! Clients that prove who they are, clients that are their own URL, and a separate authorization server.

#![allow(clippy::too_many_lines)] // a table reads best in one piece

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, Result};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use integration_tests::{
    Reply, Server,
    browser::{Browser, CALLBACK, PASSWORD, claims, redemption},
    free_port,
    mock::{self, Mock},
    signer::{encoding_key, now, rsa_key, signed as token_of},
};
use jsonwebtoken::{Algorithm, Header, encode, jwk::Jwk};
use serde_json::{Value, json};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

/// Writes the operator's file of clients, readable by its owner only.
fn clients_file(folder: &Path, clients: &Value) -> Result<String> {
    let file = folder.join("clients.json");
    fs::write(&file, clients.to_string())?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    Ok(text(&file)?.to_owned())
}

#[tokio::test]
async fn a_machine_gets_a_token_on_its_own_behalf() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let key = encoding_key(rsa_key(0));
    let jwk = json!(Jwk::from_encoding_key(&key, Algorithm::RS256)?);
    // Keys that no signature of this client can mean, before the one that it does.
    let mut jwks = vec![];
    let unmeant =
        [("use", json!("enc")), ("alg", json!("RS384")), ("alg", json!("RSA-OAEP")), ("key_ops", json!(["wrapKey"]))];
    for (member, value) in unmeant {
        let mut other = jwk.clone();
        other.as_object_mut().context("no key")?.insert(member.to_owned(), value);
        jwks.extend([other.clone(), other]);
    }
    let unmeant = jwks.clone();
    // Keys of a client that has changed them often, each with its name; the newest comes last.
    let older = json!(Jwk::from_encoding_key(&encoding_key(rsa_key(1)), Algorithm::RS256)?);
    let mut named: Vec<_> = (0..6).map(|number| (older.clone(), format!("old {number}"))).collect();
    named.push((jwk.clone(), "new".to_owned()));
    let named: Vec<_> = named
        .into_iter()
        .map(|(mut key, kid)| {
            key["kid"] = json!(kid);
            key
        })
        .collect();
    jwks.push(jwk);
    let machine = json!({ "roles": ["user"], "scope": "mcp:read mcp:tools", "grant_types": ["client_credentials"] });
    let with = |more: Value| {
        let mut client = machine.clone();
        client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client
    };
    let clients = json!([
        with(json!({ "client_id": "basic", "client_secret": "a secret & more", "token_endpoint_auth_method": "client_secret_basic" })),
        with(json!({ "client_id": "post", "client_secret": "another secret", "token_endpoint_auth_method": "client_secret_post" })),
        with(json!({ "client_id": "signed", "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": jwks } })),
        with(json!({ "client_id": "named", "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": named } })),
        with(json!({ "client_id": "unmeant", "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": unmeant } })),
        with(json!({ "client_id": "public", "token_endpoint_auth_method": "none" })),
        with(json!({ "client_id": "https://machine.invalid/client", "client_secret": "a secret", "token_endpoint_auth_method": "client_secret_post" })),
        { "client_id": "powerless", "client_secret": "a secret", "grant_types": ["client_credentials"] },
    ]);
    let file = clients_file(folder.path(), &clients)?;
    let server = Server::start_in_env("step9", &["--clients", &file], &[("MCP_DEV_PASSWORD", PASSWORD)])?;
    let browser = Browser::new(&server)?;
    let resource = format!("{}/mcp", server.url());
    let form = [("grant_type", "client_credentials"), ("resource", resource.as_str())];
    let plus = |more: &[(&'static str, &str)]| -> Vec<(String, String)> {
        form.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let post = |form: &[(String, String)]| {
        let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        browser.post("/token", &form)
    };
    let assertion = |change: Value, jti: &str| -> Result<String> {
        let mut said = json!({
            "iss": "signed", "sub": "signed", "aud": format!("{}/token", server.url()), "exp": now() + 60, "jti": jti,
        });
        said.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Ok(encode(&Header::new(Algorithm::RS256), &said, &key)?)
    };
    let headed = |change: Value, jti: &str| -> Result<String> {
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        header.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let payload = assertion(json!({}), jti)?.split('.').nth(1).context("no payload")?.to_owned();
        let algorithm = if header["alg"] == "RS384" { Algorithm::RS384 } else { Algorithm::RS256 };
        Ok(token_of(&header, &URL_SAFE_NO_PAD.decode(payload)?, &key, algorithm))
    };
    let us = [server.url().to_owned(), format!("{}/token", server.url())];
    let no_resource =
        [("grant_type", "client_credentials"), ("client_id", "post"), ("client_secret", "another secret")];
    let signed = |assertion: &str| plus(&[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)]);

    let named = |kid: &str, jti: &str| {
        let us = format!("{}/token", server.url());
        let said = json!({ "iss": "named", "sub": "named", "aud": us, "exp": now() + 60, "jti": jti });
        encode(&Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::RS256) }, &said, &key)
    };

    let good = assertion(json!({}), "one")?;
    for (what, request) in [
        ("Basic", post(&plus(&[])).basic_auth("basic", Some("a%20secret%20%26%20more"))),
        ("a form", post(&plus(&[("client_id", "post"), ("client_secret", "another secret")]))),
        ("a signature", post(&signed(&good))),
        ("a signature for the issuer", post(&signed(&assertion(json!({ "aud": server.url() }), "two")?))),
        ("a signature for us by both names", post(&signed(&assertion(json!({ "aud": us }), "three")?))),
        ("a signature good for an hour", post(&signed(&assertion(json!({ "exp": now() + 3600 }), "four")?))),
        ("a signature by the key that its kid names", post(&signed(&named("new", "one")?))),
        ("a jti of 256 characters", post(&signed(&assertion(json!({}), &"x".repeat(256))?))),
        (
            "scopes that we do not know",
            post(&plus(&[("scope", "openid mcp:read mcp:tools")])).basic_auth("basic", Some("a%20secret%20%26%20more")),
        ),
        ("no resource", browser.post("/token", &no_resource)),
        (
            "an operator's client whose id is a URL, where nothing is fetched",
            post(&plus(&[("client_id", "https://machine.invalid/client"), ("client_secret", "a secret")])),
        ),
    ] {
        let reply = Reply::of(request).await?;
        assert_eq!(reply.status, 200, "{what}: {reply:?}");
        assert!(reply.json().get("refresh_token").is_none(), "{what}");
        let token = reply.json()["access_token"].as_str().context("no token")?.to_owned();
        let said = claims(&token)?;
        assert_eq!(said["sub"], said["client_id"], "{what}");
        assert_eq!((&said["roles"], &said["scope"]), (&json!(["user"]), &json!("mcp:read mcp:tools")), "{what}");
        let call = server.legacy("tools/call", json!({ "name": "whoami", "arguments": {} })).bearer_auth(&token);
        let call = Reply::of(call).await?;
        assert_eq!(call.json()["result"]["structuredContent"]["sub"], said["sub"], "{what}: {call:?}");
    }

    for (what, request, status, error) in [
        ("a wrong secret", post(&plus(&[])).basic_auth("basic", Some("wrong")), 401, "invalid_client"),
        (
            "what belongs to another scheme",
            post(&plus(&[]))
                .header("Authorization", format!("Bearer {}", STANDARD.encode("basic:a%20secret%20%26%20more"))),
            401,
            "invalid_client",
        ),
        (
            "the secret in another place",
            post(&plus(&[("client_id", "basic"), ("client_secret", "a secret & more")])),
            401,
            "invalid_client",
        ),
        ("no proof", post(&plus(&[("client_id", "post")])), 401, "invalid_client"),
        ("a replay", post(&signed(&good)), 401, "invalid_client"),
        ("expired", post(&signed(&assertion(json!({ "exp": now() - 600 }), "3")?)), 401, "invalid_client"),
        ("good for a day", post(&signed(&assertion(json!({ "exp": now() + 86400 }), "4")?)), 401, "invalid_client"),
        (
            "for somebody else",
            post(&signed(&assertion(json!({ "aud": "https://evil.example" }), "5")?)),
            401,
            "invalid_client",
        ),
        (
            "for somebody else, too",
            post(&signed(&assertion(json!({ "aud": [server.url(), "https://other-as.example"] }), "9")?)),
            401,
            "invalid_client",
        ),
        (
            "for the MCP server, too",
            post(&signed(&assertion(json!({ "aud": [server.url(), resource] }), "10")?)),
            401,
            "invalid_client",
        ),
        ("for nobody", post(&signed(&assertion(json!({ "aud": [] }), "11")?)), 401, "invalid_client"),
        ("from several", post(&signed(&assertion(json!({ "iss": ["signed", "post"] }), "12")?)), 401, "invalid_client"),
        ("with crit", post(&signed(&headed(json!({ "crit": ["x"], "x": 1 }), "13")?)), 401, "invalid_client"),
        ("RS384", post(&signed(&headed(json!({ "alg": "RS384" }), "14")?)), 401, "invalid_client"),
        ("by another key than its kid names", post(&signed(&named("old 0", "two")?)), 401, "invalid_client"),
        ("a jti of 257 characters", post(&signed(&assertion(json!({}), &"x".repeat(257))?)), 401, "invalid_client"),
        ("from somebody else", post(&signed(&assertion(json!({ "iss": "post" }), "6")?)), 401, "invalid_client"),
        (
            "signed with a key that is for something else",
            post(&signed(&assertion(json!({ "iss": "unmeant", "sub": "unmeant" }), "13")?)),
            401,
            "invalid_client",
        ),
        ("about somebody else", post(&signed(&assertion(json!({ "sub": "basic" }), "7")?)), 401, "invalid_client"),
        ("without jti", post(&signed(&assertion(json!({ "jti": "" }), "")?)), 401, "invalid_client"),
        (
            "another type",
            post(&plus(&[("client_assertion_type", "x"), ("client_assertion", &assertion(json!({}), "8")?)])),
            401,
            "invalid_client",
        ),
        ("a public client", post(&plus(&[("client_id", "public")])), 400, "unauthorized_client"),
        ("no roles", post(&plus(&[])).basic_auth("powerless", Some("a secret")), 400, "unauthorized_client"),
        (
            "more than its scope",
            post(&plus(&[("scope", "mcp:prompts")])).basic_auth("basic", Some("a%20secret%20%26%20more")),
            400,
            "invalid_scope",
        ),
    ] {
        let reply = Reply::of(request).await?;
        assert_eq!((reply.status.as_u16(), reply.json()["error"].as_str()), (status, Some(error)), "{what}: {reply:?}");
    }
    // A client that used another method is told which one to use, since it could see that itself.
    for (what, request, said) in [
        (
            "post instead of Basic",
            post(&plus(&[("client_id", "basic"), ("client_secret", "a secret & more")])),
            "client_secret_basic",
        ),
        ("Basic instead of post", post(&plus(&[])).basic_auth("post", Some("another%20secret")), "client_secret_post"),
        ("nothing instead of a signature", post(&plus(&[("client_id", "signed")])), "private_key_jwt"),
        ("a secret instead of nothing", post(&plus(&[])).basic_auth("public", Some("x")), "none"),
    ] {
        let reply = Reply::of(request).await?;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]),
            (401, &json!("invalid_client")),
            "{what}: {reply:?}"
        );
        let sentence = format!("registered for {said}");
        assert!(
            reply.json()["error_description"].as_str().is_some_and(|text| text.contains(&sentence)),
            "{what}: {reply:?}"
        );
    }
    let log = server.stderr()?;
    assert!(!log.contains("secret &") && !log.contains(&good), "a secret is in the log");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    assert!(Server::start_with("step9", &["--clients", &file]).is_err(), "secrets that others can read");
    let file = clients_file(folder.path(), &json!([with(json!({ "client_id": "basic", "client_secret": "" }))]))?;
    let error = Server::start_with("step9", &["--clients", &file]).err().context("an empty secret")?.to_string();
    assert!(error.contains("empty client_secret"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_secret_that_was_replaced_in_the_file_is_refused_once_the_server_has_started_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database = text(&folder.path().join("auth.db"))?.to_owned();
    let start = |secret: &str| {
        let listed = json!([{
            "client_id": "machine", "client_secret": secret, "grant_types": ["client_credentials"], "roles": ["user"],
            "scope": "mcp:read",
        }]);
        let file = clients_file(folder.path(), &listed)?;
        Server::start_with("step9", &["--clients", &file, "--auth-database", &database])
    };
    let statuses = async |server: &Server| -> Result<[u16; 2]> {
        let browser = Browser::new(server)?;
        let status = async |secret| {
            let form = [("grant_type", "client_credentials")];
            anyhow::Ok(
                Reply::of(browser.post("/token", &form).basic_auth("machine", Some(secret))).await?.status.as_u16(),
            )
        };
        Ok([status("stolen").await?, status("new").await?])
    };
    let before = start("stolen")?;
    assert_eq!(statuses(&before).await?, [200, 401]);
    let after = start("new")?;
    assert_eq!(statuses(&before).await?, [200, 401], "what it read at the start");
    assert_eq!(statuses(&after).await?, [401, 200]);
    Ok(())
}

/// Serves one document, whatever is asked for, and says how often.
fn serve(document: impl Fn(&str) -> String + Send + 'static) -> Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let url = format!("http://localhost:{}/client.json", listener.local_addr()?.port());
    let body = document(&url);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    Ok(url)
}

#[tokio::test]
async fn a_client_that_is_its_own_url_logs_a_person_in() -> Result<()> {
    let client = serve(|url| {
        json!({ "client_id": url, "client_name": "Its own URL", "redirect_uris": ["http://localhost/callback"],
            "grant_types": ["authorization_code", "refresh_token"] })
        .to_string()
    })?;
    let server = Server::start_in_env("step9", &["--allow-loopback-client-ids"], &[("MCP_DEV_PASSWORD", PASSWORD)])?;
    let browser = Browser::new(&server)?;
    let answer = browser.consent(&browser.request(&client, &[]), "alice", &["mcp:read"]).await?;
    let code = answer.get("code").with_context(|| format!("{answer:?}"))?;
    let granted = browser.token(&redemption(&client, code)).await?;
    assert_eq!(
        claims(granted.json()["access_token"].as_str().with_context(|| format!("{granted:?}"))?)?["client_id"],
        client.as_str()
    );
    assert!(granted.json()["refresh_token"].is_string());

    let liar = serve(|_| {
        json!({ "client_id": "http://localhost/other", "client_name": "x", "redirect_uris": [CALLBACK] }).to_string()
    })?;
    let refused = browser.send(browser.get(&browser.request(&liar, &[]))).await?;
    assert_eq!(refused.status, 400, "{refused:?}");

    // The token endpoint asks for nothing in the name of a client that nobody has let in: anybody could make us ask anybody.
    let stranger = Mock::start(|_, _| mock::Reply::json(200, &json!({})))?;
    let id = format!("{}/client.json", stranger.url);
    let refused = browser.token(&redemption(&id, "a code")).await?;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (401, &json!("invalid_client")), "{refused:?}");
    assert_eq!(stranger.hits("/client.json"), 0);
    let refused = browser.send(browser.get(&browser.request(&id, &[]))).await?;
    assert_eq!((refused.status.as_u16(), stranger.hits("/client.json")), (400, 1), "{refused:?}");

    let strict = Server::start_in_env("step9", &[], &[("MCP_DEV_PASSWORD", PASSWORD)])?;
    let browser = Browser::new(&strict)?;
    let refused = browser.send(browser.get(&browser.request(&client, &[]))).await?;
    assert_eq!(refused.status, 400, "loopback is for development: {refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_separate_authorization_server_serves_several_mcp_servers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (one_port, two_port) = (free_port().to_string(), free_port().to_string());
    let (one, two) = (format!("http://localhost:{one_port}/mcp"), format!("http://localhost:{two_port}/mcp"));
    let keys = folder.path().join("keys");
    let args = ["--keys", text(&keys)?, "--resource", &one, "--resource", &two];
    let issuer = Server::start_in_env("auth-server", &args, &[("MCP_DEV_PASSWORD", PASSWORD)])?;
    let public_key = keys.join("mcp_public_key.pem");
    let trust = ["--authorization-server", issuer.url(), "--public-key", text(&public_key)?];
    let start = |port: &str| Server::start_with("step9", &[&trust[..], &["--port", port]].concat());
    let (first, second) = (start(&one_port)?, start(&two_port)?);

    let document = Reply::of(first.get("/.well-known/oauth-protected-resource/mcp")).await?.json();
    assert_eq!(document["authorization_servers"], json!([issuer.url()]));
    for path in ["/.well-known/oauth-authorization-server", "/authorize", "/token", "/register"] {
        assert_eq!(Reply::of(first.get(path)).await?.status, 404, "{path}: nothing is mounted");
    }
    let metadata = Reply::of(issuer.get("/.well-known/oauth-authorization-server")).await?.json();
    assert_eq!(metadata["issuer"], issuer.url());

    let browser = Browser::new(&issuer)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    let unsaid = browser.send(browser.get(&browser.request(&client, &[("resource", "")]))).await?;
    assert!(unsaid.header("location").contains("error=invalid_target"), "it could be one or the other: {unsaid:?}");
    let answer = browser.consent(&browser.request(&client, &[("resource", &one)]), "alice", &["mcp:read"]).await?;
    let code = answer.get("code").with_context(|| format!("{answer:?}"))?;
    let form = [&redemption(&client, code)[..], &[("resource", &one)]].concat();
    let granted = browser.token(&form).await?;
    let token = granted.json()["access_token"].as_str().with_context(|| format!("{granted:?}"))?.to_owned();
    let here = Reply::of(first.legacy("tools/list", json!({})).bearer_auth(&token)).await?;
    assert_eq!(here.status, 200, "{here:?}");
    let there = Reply::of(second.legacy("tools/list", json!({})).bearer_auth(&token)).await?;
    assert_eq!(there.status, 401, "a token for one resource is worth nothing at the other: {there:?}");
    Ok(())
}

#[test]
fn development_switches_are_refused_where_others_can_connect() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let keys = folder.path().join("keys"); // made once
    let keys = ["--keys", text(&keys)?];
    let password = [("MCP_DEV_PASSWORD", PASSWORD)];
    for step in ["step7", "step8", "step9", "step10", "auth-server"] {
        for elsewhere in [
            &["--host", "0.0.0.0"][..],
            &["--public-url", "https://mcp.example"],
            &["--public-url", "https://localhost.example"],
            &["--public-url", "https://10.0.0.1"],
            &["--public-url", "http://mcp.example", "--allow-insecure-http"],
        ] {
            let plain = [&keys, elsewhere].concat();
            let loopback_ids = [&plain[..], &["--allow-loopback-client-ids"]].concat();
            for (switch, outcome) in [
                ("MCP_DEV_PASSWORD", Server::start_in_env(step, &plain, &password)),
                ("--allow-loopback-client-ids", Server::start_with(step, &loopback_ids)),
            ] {
                let error = outcome.err().with_context(|| format!("{step} {elsewhere:?}: it started"))?.to_string();
                assert!(error.contains(switch), "{step} {elsewhere:?}: {error}");
            }
            Server::start_with(step, &plain)?;
        }
        for here in [&[][..], &["--public-url", "http://127.0.0.1:9000"], &["--public-url", "https://localhost"]] {
            Server::start_in_env(step, &[&keys, here, &["--allow-loopback-client-ids"]].concat(), &password)?;
        }
    }
    Ok(())
}
