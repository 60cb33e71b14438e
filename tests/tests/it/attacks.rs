//! Attacks on the authorization server, each a row: never a 500, never an open redirect.

use anyhow::{Context, Result};
use integration_tests::{
    Reply, Server,
    browser::{Browser, CALLBACK, CHALLENGE, PASSWORD, claims, page, parameters, redemption, start},
    free_port,
};
use serde_json::json;

/// Logs somebody in at this request's log-in page. Returns where the browser is sent next.
async fn log_in(browser: &Browser<'_>, path: &str, user: &str) -> Result<String> {
    let reply = browser.log_in(path, user, PASSWORD).await?;
    assert_eq!(reply.status, 303, "{reply:?}");
    Ok(reply.header("location").to_owned())
}

/// The code that alice's browser is given for this client.
async fn code(server: &Server, client: &str) -> Result<String> {
    let browser = &Browser::new(server)?;
    let path = browser.request(client, &[]);
    let next = log_in(browser, &path, "alice").await?;
    let consent = browser.open(&next).await?;
    let form = [("csrf", consent.csrf.as_str()), ("decision", "allow"), ("scope", "mcp:read"), ("scope", "mcp:tools")];
    let reply = browser.send(browser.post(&consent.action, &form)).await?;
    parameters(reply.header("location"))?.remove("code").context("no code")
}

/// What is wrong, the changed parameters, and the error that they give.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

fn changed<'a>(form: &[(&'a str, &'a str)], name: &'a str, value: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut form: Vec<_> = form.iter().copied().filter(|(known, _)| *known != name).collect();
    form.extend(value.map(|value| (name, value)));
    form
}

#[tokio::test]
async fn an_answer_never_goes_to_an_address_that_is_not_the_clients() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let web = "https://client.example/callback";
    let client = browser.register(&[web, "http://localhost/callback", "com.example.app:/callback"]).await?;
    for uri in [
        "https:client.example/",
        "http:localhost/",
        "https:///x",
        "https://@client.example/",
        "https://clïent.example/",
    ] {
        assert!(browser.register(&[uri]).await.is_err(), "{uri}");
    }
    for uri in [
        "https://client.example/callback/",
        "https://client.example/callback/extra",
        "https://client.example/callback?x=1",
        "https://client.example/callback#x",
        "https://client.example/callbac",
        "https://client.example/Callback",
        "https://CLIENT.example/callback",
        "HTTPS://client.example/callback",
        "https://client.example:443/callback",
        "https://client.example:8443/callback",
        "https://client.example.evil.example/callback",
        "https://evil.example/https://client.example/callback",
        "https://client.example@evil.example/callback",
        "https://user@client.example/callback",
        "https://client.example/%63allback",
        "https://client.example/x/../callback",
        "https://client.example\\.evil.example/callback",
        "//client.example/callback",
        "/callback",
        "http://client.example/callback",
        "http://localhost.evil.example/callback",
        "http://localhost:1@evil.example/callback",
        "http://localhost:99999/callback",
        "http://localhost:1/callback/extra",
        "https://localhost:1/callback",
        "http://127.0.0.1:1/callback",
        "http://[::1]:1/callback",
        "http://localhost:1/callback#",
        "javascript:alert(1)",
        "data:text/html,x",
        "com.example.app:/callback/extra",
        "com.example.app2:/callback",
        "",
    ] {
        let reply = browser.send(browser.get(&browser.request(&client, &[("redirect_uri", uri)]))).await?;
        assert_eq!(reply.status, 400, "{uri}: {reply:?}");
        assert!(!reply.headers.contains_key("location"), "{uri}");
    }
    for uri in [web, "http://localhost:1/callback", "http://localhost:65535/callback", "http://localhost/callback"] {
        let reply = browser.send(browser.get(&browser.request(&client, &[("redirect_uri", uri)]))).await?;
        assert_eq!(reply.status, 200, "{uri}: {reply:?}");
    }
    for (what, path) in [
        ("an unknown client", browser.request("nobody", &[])),
        ("no client", browser.request("", &[])),
        ("two clients", format!("{}&client_id=other", browser.request(&client, &[]))),
        ("two redirect URIs", format!("{}&redirect_uri=https%3A%2F%2Fevil.example", browser.request(&client, &[]))),
        ("a client at a private address", browser.request("https://10.0.0.1/client", &[])),
        ("a client at the metadata address", browser.request("https://169.254.169.254/client", &[])),
        ("a client at loopback", browser.request(&format!("{}/client", server.url()), &[])),
        ("50 KB of scope", browser.request(&client, &[("scope", &"x ".repeat(25_000))])),
    ] {
        let reply = browser.send(browser.get(&path)).await?;
        assert_eq!(reply.status, 400, "{what}: {reply:?}");
        assert!(!reply.headers.contains_key("location"), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_wrong_goes_back_to_the_client_with_its_state_and_our_issuer() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    let other = format!("{}/mcp/", server.url());
    let long = "x".repeat(129);
    let rows: [Row; 16] = [
        ("no response type", &[("response_type", "")], "invalid_request"),
        ("the implicit grant", &[("response_type", "token")], "unsupported_response_type"),
        ("an ID token", &[("response_type", "code id_token")], "unsupported_response_type"),
        ("no PKCE", &[("code_challenge", ""), ("code_challenge_method", "")], "invalid_request"),
        ("no challenge", &[("code_challenge", "")], "invalid_request"),
        ("no method, which means plain", &[("code_challenge_method", "")], "invalid_request"),
        ("plain", &[("code_challenge_method", "plain")], "invalid_request"),
        ("another case", &[("code_challenge_method", "s256")], "invalid_request"),
        ("a short challenge", &[("code_challenge", "short")], "invalid_request"),
        ("a long challenge", &[("code_challenge", &long)], "invalid_request"),
        ("a padded challenge", &[("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c=")], "invalid_request"),
        ("a foreign resource", &[("resource", "https://evil.example/mcp")], "invalid_target"),
        ("the server, not its endpoint", &[("resource", server.url())], "invalid_target"),
        ("a trailing slash", &[("resource", &other)], "invalid_target"),
        ("an unknown scope", &[("scope", "root")], "invalid_scope"),
        ("a near miss", &[("scope", "MCP:READ mcp:readx")], "invalid_scope"),
    ];
    let own = format!("{}&resource={}/mcp", browser.request(&client, &[]), server.url());
    let mut requests: Vec<_> =
        rows.iter().map(|(what, change, error)| (*what, browser.request(&client, change), *error)).collect();
    requests.push(("two resources", own, "invalid_target"));
    for name in ["scope", "response_type", "code_challenge", "code_challenge_method"] {
        requests.push(("a parameter twice", format!("{}&{name}=x", browser.request(&client, &[])), "invalid_request"));
    }
    for (what, path, error) in requests {
        let reply = browser.send(browser.get(&path)).await?;
        assert_eq!(reply.status, 303, "{what}: {reply:?}");
        assert!(reply.header("location").starts_with(CALLBACK), "{what}: {reply:?}");
        let back = parameters(reply.header("location"))?;
        assert_eq!(back["error"], error, "{what}");
        assert_eq!(back["iss"], server.url(), "{what}");
        assert_eq!(back["state"], "the state", "{what}");
        assert!(!back.contains_key("code"), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn a_code_is_good_once_for_its_client_with_its_verifier() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    let thief = browser.register(&["http://localhost/callback"]).await?;
    let rows: [(&str, &str, Option<&str>, &str); 11] = [
        ("another verifier", "code_verifier", Some("xBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), "invalid_grant"),
        ("the challenge as verifier", "code_verifier", Some(CHALLENGE), "invalid_grant"),
        ("a short verifier", "code_verifier", Some("short"), "invalid_grant"),
        ("no verifier", "code_verifier", None, "invalid_request"),
        ("another redirect URI", "redirect_uri", Some("http://localhost:2/callback"), "invalid_grant"),
        ("another client", "client_id", Some(&thief), "invalid_grant"),
        ("another code", "code", Some("nonsense"), "invalid_grant"),
        ("no code", "code", None, "invalid_request"),
        ("a foreign resource", "resource", Some("https://evil.example/mcp"), "invalid_target"),
        ("another grant", "grant_type", Some("password"), "unsupported_grant_type"),
        ("no grant", "grant_type", None, "invalid_request"),
    ];
    for (what, name, value, error) in rows {
        let code = code(&server, &client).await?;
        let reply = browser.token(&changed(&redemption(&client, &code), name, value)).await?;
        assert_eq!((reply.status.as_u16(), reply.json()["error"].as_str()), (400, Some(error)), "{what}: {reply:?}");
        assert_eq!(reply.header("cache-control"), "no-store", "{what}");
    }

    let code = code(&server, &client).await?;
    let granted = browser.token(&redemption(&client, &code)).await?;
    assert_eq!(granted.status, 200, "{granted:?}");
    let refresh = async |granted: &Reply| {
        let granted = granted.json();
        let token = granted["refresh_token"].as_str().unwrap_or_default();
        browser.token(&[("grant_type", "refresh_token"), ("client_id", &client), ("refresh_token", token)]).await
    };
    // Who has only seen the code cannot end what it gave.
    for (what, name, value, error) in rows.iter().filter(|(_, name, ..)| !matches!(*name, "grant_type" | "code")) {
        let reply = browser.token(&changed(&redemption(&client, &code), name, *value)).await?;
        assert_eq!((reply.status.as_u16(), reply.json()["error"].as_str()), (400, Some(*error)), "{what}: {reply:?}");
    }
    let refreshed = refresh(&granted).await?;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let again = browser.token(&redemption(&client, &code)).await?;
    assert_eq!(again.json()["error"], "invalid_grant");
    let ended = refresh(&refreshed).await?;
    assert_eq!(ended.json()["error"], "invalid_grant", "an old code ends what it gave: {ended:?}");
    Ok(())
}

#[tokio::test]
async fn a_token_request_says_everything_once_in_the_body() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    let form = redemption(&client, "code");
    let twice: Vec<_> = form.iter().copied().chain([("code", "other")]).collect();
    let large = "x".repeat(100_000);
    let long: Vec<_> = form.iter().copied().chain([("scope", large.as_str())]).collect();
    for (what, request, status, error) in [
        ("a parameter twice", browser.post("/token", &twice), 400, "invalid_request"),
        ("parameters in the URL", browser.post(&format!("/token?client_id={client}"), &form), 400, "invalid_request"),
        ("JSON", browser.post("/token", &form).header("Content-Type", "application/json"), 400, "invalid_request"),
        ("100 KB", browser.post("/token", &long), 413, "invalid_request"),
        ("an unknown client", browser.post("/token", &redemption("nobody", "code")), 401, "invalid_client"),
        ("no client", browser.post("/token", &changed(&form, "client_id", None)), 401, "invalid_client"),
        (
            "a secret from a public client",
            browser.post("/token", &changed(&form, "client_secret", Some("x"))),
            401,
            "invalid_client",
        ),
        (
            "Basic from a public client",
            browser.post("/token", &form).basic_auth(&client, Some("x")),
            401,
            "invalid_client",
        ),
        (
            "two methods",
            browser.post("/token", &changed(&form, "client_secret", Some("x"))).basic_auth(&client, Some("x")),
            400,
            "invalid_request",
        ),
        ("Bearer", browser.post("/token", &form).bearer_auth("x"), 401, "invalid_client"),
        (
            "an unsigned assertion",
            browser.post("/token", &changed(&form, "client_assertion", Some("e30.e30."))),
            401,
            "invalid_client",
        ),
    ] {
        let reply = Reply::of(request).await?;
        assert_eq!((reply.status.as_u16(), reply.json()["error"].as_str()), (status, Some(error)), "{what}: {reply:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_theft_ends_the_family() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    let thief = browser.register(&["http://localhost/callback"]).await?;
    let fresh = async || -> Result<String> {
        let code = code(&server, &client).await?;
        let granted = browser.token(&redemption(&client, &code)).await?;
        granted.json()["refresh_token"].as_str().map(str::to_owned).with_context(|| format!("{granted:?}"))
    };
    let refresh = async |client: &str, token: &str, scope: Option<&str>| {
        let form = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)];
        browser.token(&changed(&form, "scope", scope)).await
    };

    let token = fresh().await?;
    assert_eq!(refresh(&thief, &token, None).await?.json()["error"], "invalid_grant", "another client's");
    assert_eq!(refresh(&client, &token, Some("mcp:read mcp:prompts")).await?.json()["error"], "invalid_scope", "wider");
    let narrow = refresh(&client, &token, Some("mcp:read")).await?;
    assert_eq!(narrow.json()["scope"], "mcp:read", "{narrow:?}");
    let next = narrow.json()["refresh_token"].as_str().context("none")?.to_owned();
    assert_eq!(refresh(&client, &token, None).await?.json()["error"], "invalid_grant", "reuse");
    assert_eq!(refresh(&client, &next, None).await?.json()["error"], "invalid_grant", "after reuse");

    let token = fresh().await?;
    let form = [("grant_type", "refresh_token"), ("client_id", client.as_str()), ("refresh_token", token.as_str())];
    let race: Vec<_> = (0..20).map(|_| tokio::spawn(Reply::of(browser.post("/token", &form)))).collect();
    let mut won = Vec::new();
    for reply in race {
        let reply = reply.await??;
        match reply.status.as_u16() {
            200 => won.push(reply.json()),
            // On a busy computer, who waits for too long is told to come again.
            503 => assert!(!reply.header("retry-after").is_empty(), "{reply:?}"),
            _ => assert_eq!(reply.json()["error"], "invalid_grant", "{reply:?}"),
        }
    }
    let [winner] = &won[..] else { panic!("{} won", won.len()) };
    // The other requests had a used token, so one of the twenty may be a thief, and the family has ended. No server
    // asks us about the access token, so it works until it expires.
    let next = winner["refresh_token"].as_str().context("no refresh token")?;
    assert_eq!(refresh(&client, next, None).await?.json()["error"], "invalid_grant", "after the race");
    let access = winner["access_token"].as_str().context("no access token")?;
    let answer = Reply::of(server.legacy("tools/list", json!({})).bearer_auth(access)).await?;
    assert_eq!(answer.status, 200, "{answer:?}");

    // Any used token ends the family, however long ago it was used; a token that we did not issue ends nothing.
    for old in [0, 4, 7] {
        let mut tokens = vec![fresh().await?];
        for _ in 0..8 {
            let last = tokens.last().context("none")?;
            let reply = refresh(&client, last, Some("mcp:read")).await?;
            tokens.push(reply.json()["refresh_token"].as_str().with_context(|| format!("{reply:?}"))?.to_owned());
        }
        let current = tokens.last().context("none")?;
        let half = current.len() / 2;
        let forged = [
            format!("{}{}", &current[..half], &tokens[0][half..]),
            format!("{}{}", &tokens[0][..half], &current[half..]),
            current[..current.len() - 4].to_owned(),
            "A".repeat(current.len()),
        ];
        for token in &forged {
            assert_eq!(refresh(&client, token, None).await?.json()["error"], "invalid_grant", "{token}");
        }
        assert_eq!(refresh(&thief, &tokens[old], None).await?.json()["error"], "invalid_grant", "another client's");
        let kept = refresh(&client, current, None).await?;
        assert_eq!(kept.status, 200, "a forged token has no effect: {kept:?}");
        let current = kept.json()["refresh_token"].as_str().context("none")?.to_owned();
        // Whatever else is wrong with the request.
        let reuse = refresh(&client, &tokens[old], Some("mcp:prompts")).await?;
        assert_eq!(reuse.json()["error"], "invalid_grant", "{reuse:?}");
        let ended = refresh(&client, &current, None).await?;
        assert_eq!(ended.json()["error"], "invalid_grant", "after token {old} came again: {ended:?}");
    }

    let token = fresh().await?;
    let revoke =
        |client: &str, token: &str| Reply::of(browser.post("/revoke", &[("client_id", client), ("token", token)]));
    assert_eq!(revoke(&thief, &token).await?.status, 200);
    let kept = refresh(&client, &token, None).await?;
    assert_eq!(kept.status, 200, "a stranger's revocation has no effect: {kept:?}");
    let token = kept.json()["refresh_token"].as_str().context("none")?.to_owned();
    assert_eq!(revoke(&client, &token).await?.status, 200);
    assert_eq!(refresh(&client, &token, None).await?.json()["error"], "invalid_grant", "revoked");
    assert_eq!(revoke(&client, "nonsense").await?.status, 200);
    let first = fresh().await?;
    let next = refresh(&client, &first, None).await?.json()["refresh_token"].as_str().context("none")?.to_owned();
    assert_eq!(revoke(&client, &first).await?.status, 200);
    assert_eq!(refresh(&client, &next, None).await?.json()["error"], "invalid_grant", "revoked by a used one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_counts_only_in_the_browser_and_for_the_request_it_was_made_for() -> Result<()> {
    let server = start("step9")?;
    let (alice, mallory) = (Browser::new(&server)?, Browser::new(&server)?);
    let client = alice.register(&["http://localhost/callback"]).await?;
    let evil = alice.register(&["http://localhost/callback"]).await?;
    let path = alice.request(&client, &[]);

    let login = alice.open(&path).await?;
    let before = alice.cookies.lock().unwrap().clone();
    for (what, browser, csrf) in [("no token", &alice, ""), ("another browser", &mallory, login.csrf.as_str())] {
        let form = [("username", "alice"), ("password", PASSWORD), ("csrf", csrf)];
        let reply = browser.send(browser.post(&login.action, &form)).await?;
        assert_eq!(reply.status, 403, "log-in, {what}: {reply:?}");
    }
    let next = log_in(&alice, &path, "alice").await?;
    let after = alice.cookies.lock().unwrap().clone();
    assert!(after.keys().any(|name| !before.contains_key(name)), "a log-in gives a new session");

    let consent = alice.open(&next).await?;
    for header in
        ["content-security-policy", "x-frame-options", "referrer-policy", "cache-control", "x-content-type-options"]
    {
        assert!(consent.reply.headers.contains_key(header), "{header}");
    }
    let policy = consent.reply.header("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let cookie = consent.reply.text.contains("<script");
    assert!(!cookie, "no script");

    log_in(&mallory, &path, "bob").await?;
    let evil_action = consent.action.replace(&client, &evil);
    let form = |csrf| [("csrf", csrf), ("decision", "allow"), ("scope", "mcp:read")];
    for (what, browser, action, csrf) in [
        ("no token", &alice, &consent.action, ""),
        ("the log-in form's token", &alice, &consent.action, login.csrf.as_str()),
        ("another browser", &mallory, &consent.action, consent.csrf.as_str()),
        ("another client", &alice, &evil_action, consent.csrf.as_str()),
    ] {
        let reply = browser.send(browser.post(action, &form(csrf))).await?;
        assert_eq!(reply.status, 403, "consent, {what}: {reply:?}");
        assert!(!reply.headers.contains_key("location"), "{what}");
    }
    for (name, value) in
        [("Origin", "https://evil.example"), ("Origin", "http://localhost:1"), ("Sec-Fetch-Site", "cross-site")]
    {
        let reply = alice.send(alice.post(&consent.action, &form(&consent.csrf)).header(name, value)).await?;
        assert_eq!(reply.status, 403, "{name}: {value}: {reply:?}");
    }
    let nobody = Browser::new(&server)?;
    let reply = nobody.send(nobody.post(&consent.action, &form(&consent.csrf))).await?;
    assert_eq!(reply.status, 401, "nobody is logged in: {reply:?}");

    // A new client does not profit from a consent that another was given.
    let allowed = alice.send(alice.post(&consent.action, &form(&consent.csrf))).await?;
    assert!(parameters(allowed.header("location"))?.contains_key("code"), "{allowed:?}");
    let asked = alice.send(alice.get(&alice.request(&evil, &[]))).await?;
    assert_eq!(asked.status, 200, "it is asked for, not given: {asked:?}");
    assert!(page(asked).is_ok());

    for decision in ["deny", "", "Allow"] {
        let reply =
            alice.send(alice.post(&consent.action, &[("csrf", consent.csrf.as_str()), ("decision", decision)])).await?;
        assert_eq!(parameters(reply.header("location"))?["error"], "access_denied", "{decision}");
    }
    let unticked =
        alice.send(alice.post(&consent.action, &[("csrf", consent.csrf.as_str()), ("decision", "allow")])).await?;
    assert_eq!(parameters(unticked.header("location"))?["error"], "access_denied");
    Ok(())
}

#[tokio::test]
async fn a_person_grants_no_more_than_the_role_and_the_request_allow() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    for (user, asked, ticked, granted) in [
        ("guest", "mcp:read mcp:tools", vec!["mcp:read", "mcp:tools"], "mcp:read"),
        (
            "guest",
            "mcp:read mcp:tools mcp:prompts",
            vec!["mcp:read", "mcp:tools", "mcp:prompts"],
            "mcp:read mcp:prompts",
        ),
        ("alice", "mcp:read", vec!["mcp:read", "mcp:tools", "mcp:prompts"], "mcp:read"),
        ("admin", "mcp:read mcp:tools mcp:prompts", vec!["mcp:tools"], "mcp:tools"),
    ] {
        let person = Browser::new(&server)?;
        let answer = person.consent(&browser.request(&client, &[("scope", asked)]), user, &ticked).await?;
        let reply = browser.token(&redemption(&client, &answer["code"])).await?;
        assert_eq!(reply.json()["scope"], granted, "{user}: {reply:?}");
        let said = claims(reply.json()["access_token"].as_str().context("no token")?)?;
        assert_eq!(said["scope"], granted);
        assert_eq!(said["preferred_username"], user);
    }
    let person = Browser::new(&server)?;
    let refused = person.consent(&browser.request(&client, &[("scope", "mcp:tools")]), "guest", &["mcp:tools"]).await?;
    assert_eq!(refused["error"], "access_denied");
    Ok(())
}

#[tokio::test]
async fn a_hostile_registration_is_refused_and_a_flood_is_stopped() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let many: Vec<_> = (0..11).map(|number| format!("https://client.example/{number}")).collect();
    let good = json!(["https://client.example/callback"]);
    for (what, metadata, error) in [
        ("script", json!({ "redirect_uris": ["javascript:alert(1)"] }), "invalid_redirect_uri"),
        ("data", json!({ "redirect_uris": ["data:text/html,x"] }), "invalid_redirect_uri"),
        ("a file", json!({ "redirect_uris": ["file:///etc/passwd"] }), "invalid_redirect_uri"),
        ("plain http", json!({ "redirect_uris": ["http://client.example/"] }), "invalid_redirect_uri"),
        ("a fragment", json!({ "redirect_uris": ["https://client.example/#x"] }), "invalid_redirect_uri"),
        ("a user", json!({ "redirect_uris": ["https://user@client.example/"] }), "invalid_redirect_uri"),
        ("a newline", json!({ "redirect_uris": ["https://client.example/\nx"] }), "invalid_redirect_uri"),
        ("none", json!({ "redirect_uris": [] }), "invalid_redirect_uri"),
        ("eleven", json!({ "redirect_uris": many }), "invalid_redirect_uri"),
        ("no list", json!({ "redirect_uris": "https://client.example/" }), "invalid_client_metadata"),
        (
            "an endless name",
            json!({ "redirect_uris": good, "client_name": "x".repeat(101) }),
            "invalid_client_metadata",
        ),
        ("a name with controls", json!({ "redirect_uris": good, "client_name": "a\u{7}" }), "invalid_client_metadata"),
        (
            "a script as its page",
            json!({ "redirect_uris": good, "client_uri": "javascript:x" }),
            "invalid_client_metadata",
        ),
        (
            "its own behalf",
            json!({ "redirect_uris": good, "grant_types": ["client_credentials"] }),
            "invalid_client_metadata",
        ),
        ("implicit", json!({ "redirect_uris": good, "response_types": ["token"] }), "invalid_client_metadata"),
        (
            "another method",
            json!({ "redirect_uris": good, "token_endpoint_auth_method": "tls_client_auth" }),
            "invalid_client_metadata",
        ),
        (
            "keys without keys",
            json!({ "redirect_uris": good, "token_endpoint_auth_method": "private_key_jwt" }),
            "invalid_client_metadata",
        ),
        ("17 KB", json!({ "redirect_uris": good, "x": "x".repeat(17 * 1024) }), "invalid_client_metadata"),
        ("a list", json!([1]), "invalid_client_metadata"),
    ] {
        let reply = browser.register_as(&metadata).await?;
        assert_eq!((reply.status.as_u16(), reply.json()["error"].as_str()), (400, Some(error)), "{what}: {reply:?}");
    }

    let metadata = json!({ "redirect_uris": ["http://localhost/callback"], "client_name": "<script>alert(1)</script>", "token_endpoint_auth_method": "none" });
    let html = browser.register_as(&metadata).await?;
    let client = html.json()["client_id"].as_str().with_context(|| format!("{html:?}"))?.to_owned();
    let page = browser.open(&browser.request(&client, &[])).await?;
    assert!(!page.reply.text.contains("<script>"), "{page:?}");

    let mut stopped = 0;
    for _ in 0..60 {
        stopped += u32::from(browser.register_as(&metadata).await?.status == 429);
    }
    assert!(stopped >= 20, "{stopped}");
    Ok(())
}

#[tokio::test]
async fn who_guesses_passwords_is_slowed_and_learns_no_names() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    let path = browser.request(&client, &[]);
    let mut answers = Vec::new();
    for name in ["alice", "nobody"] {
        let mut seen = Vec::new();
        for _ in 0..8 {
            let login = browser.open(&path).await?;
            let form = [("username", name), ("password", "wrong"), ("csrf", &login.csrf)];
            let reply = browser.send(browser.post(&login.action, &form)).await?;
            assert!(!reply.text.contains("wrong\""), "the password comes back");
            seen.push(reply.status.as_u16());
        }
        // After the fifth, a second passes on a slow computer.
        assert!(seen[5..].contains(&429), "{name}: {seen:?}");
        seen.truncate(5);
        answers.push(seen);
    }
    assert_eq!(answers[0], answers[1], "a name that exists answers as one that does not");
    Ok(())
}

/// What a killed program wrote is still in the system's memory. So this test cannot show that it is also on the disk,
/// which matters if the power fails. `store.rs` in auth-server tests the setting that ensures it.
#[tokio::test]
async fn clients_consents_and_refresh_tokens_survive_kill_9() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_str().map(str::to_owned).context("a path that is not UTF-8");
    let (database, keys) = (path("auth.db")?, path("keys")?);
    let port = free_port().to_string();
    let again = || {
        let args = ["--auth-database", &database, "--keys", &keys, "--port", &port];
        Server::start_in_env("step9", &args, &[("MCP_DEV_PASSWORD", PASSWORD)])
    };
    let server = again()?;
    let (client, code, refresh) = {
        let browser = Browser::new(&server)?;
        let client = browser.register(&["http://localhost/callback"]).await?;
        let first = code(&server, &client).await?;
        let granted = browser.token(&redemption(&client, &first)).await?;
        let refresh = granted.json()["refresh_token"].as_str().with_context(|| format!("{granted:?}"))?.to_owned();
        (client.clone(), code(&server, &client).await?, refresh)
    };
    drop(server); // SIGKILL
    let server = again()?;
    let browser = Browser::new(&server)?;
    let form = [("grant_type", "refresh_token"), ("client_id", client.as_str()), ("refresh_token", refresh.as_str())];
    let refreshed = browser.token(&form).await?;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let redeemed = browser.token(&redemption(&client, &code)).await?;
    assert_eq!(redeemed.status, 200, "{redeemed:?}");
    for file in ["auth.db", "auth.db-wal"] {
        let text = String::from_utf8_lossy(&std::fs::read(folder.path().join(file))?).into_owned();
        assert!(!text.contains(&refresh) && !text.contains(PASSWORD), "{file} has a secret in it");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_request_redirects_nobody_to_a_strangers_site() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let uri = "https://evil.example/phish";
    let client = browser.register(&[uri]).await?;
    let path = browser.request(&client, &[("redirect_uri", uri), ("response_type", "x")]);
    let reply = browser.send(browser.get(&path)).await?;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(!reply.headers.contains_key("location"));
    log_in(&browser, &browser.request(&client, &[("redirect_uri", uri)]), "alice").await?;
    let reply = browser.send(browser.get(&path)).await?;
    assert_eq!(reply.status, 400, "nor one who has: {reply:?}");
    assert!(!reply.headers.contains_key("location"));
    Ok(())
}

#[tokio::test]
async fn the_consent_page_names_an_app_by_its_scheme_not_by_what_looks_like_a_host() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let uri = "com.evil.app://accounts.google.com/cb";
    let client = browser.register(&[uri]).await?;
    let next = log_in(&browser, &browser.request(&client, &[("redirect_uri", uri)]), "alice").await?;
    let consent = browser.open(&next).await?;
    let visible = consent.reply.text.replace(&consent.action.replace('&', "&#38;"), "");
    assert!(visible.contains("com.evil.app:") && !visible.contains(">accounts.google.com"), "{visible}");
    Ok(())
}

#[tokio::test]
async fn a_new_log_in_ends_the_session_before_it() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    let path = browser.request(&client, &[]);
    let login = browser.open(&path).await?;
    let form = |user| [("username", user), ("password", PASSWORD), ("csrf", login.csrf.as_str())];
    browser.send(browser.post(&login.action, &form("alice"))).await?;
    let alice = browser.cookies.lock().unwrap().clone();
    browser.send(browser.post(&login.action, &form("bob"))).await?;
    *browser.cookies.lock().unwrap() = alice;
    assert!(browser.open(&path).await?.action.starts_with("/login"), "alice's old session still works");
    Ok(())
}

#[tokio::test]
async fn a_wrong_verifier_or_an_empty_scope_costs_the_rightful_client_nothing() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    let code = code(&server, &client).await?;
    let form = redemption(&client, &code);
    let wrong = changed(&form, "code_verifier", Some("xBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
    assert_eq!(browser.token(&wrong).await?.json()["error"], "invalid_grant");
    let granted = browser.token(&form).await?;
    assert_eq!(granted.status, 200, "{granted:?}");
    let token = granted.json()["refresh_token"].as_str().context("none")?.to_owned();
    let form = [("grant_type", "refresh_token"), ("client_id", client.as_str()), ("refresh_token", token.as_str())];
    for scope in [" ", "openid", "MCP:READ", "openid mcp:prompts", "mcp:read mcp:tools mcp:prompts"] {
        let reply = browser.token(&changed(&form, "scope", Some(scope))).await?;
        assert_eq!(reply.json()["error"], "invalid_scope", "{scope}: {reply:?}");
    }
    // Unknown scopes are left out, as at the authorization endpoint (RFC 6749 §3.3).
    let refreshed = browser.token(&changed(&form, "scope", Some("openid offline_access mcp:read"))).await?;
    assert_eq!((refreshed.status.as_u16(), &refreshed.json()["scope"]), (200, &json!("mcp:read")), "{refreshed:?}");
    Ok(())
}

#[tokio::test]
async fn wrong_log_ins_of_others_keep_nobody_out() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    let login = browser.open(&browser.request(&client, &[])).await?;
    for number in 0..70 {
        let name = format!("nobody{number}");
        let form = [("username", name.as_str()), ("password", "wrong"), ("csrf", &login.csrf)];
        assert_eq!(browser.send(browser.post(&login.action, &form)).await?.status, 401, "{name}");
    }
    let form = [("username", "alice"), ("password", PASSWORD), ("csrf", &login.csrf)];
    assert_eq!(browser.send(browser.post(&login.action, &form)).await?.status, 303);
    Ok(())
}

/// Another program that looks into the database must not take away what is written after it.
#[tokio::test]
async fn what_is_acknowledged_stays_when_another_program_has_read_the_database() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_str().map(str::to_owned).context("a path that is not UTF-8");
    let (database, notes, keys) = (path("auth.db")?, path("notes.db")?, path("keys")?);
    let port = free_port().to_string();
    let again = || {
        let args = ["--auth-database", &database, "--database", &notes, "--keys", &keys, "--port", &port];
        Server::start_in_env("step9", &args, &[("MCP_DEV_PASSWORD", PASSWORD)])
    };
    let server = again()?;
    for file in [&database, &notes] {
        let reader = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('select count(*) from sqlite_master').fetchall(); c.close()";
        let Ok(status) = std::process::Command::new("python3").args(["-c", reader, file]).status() else {
            eprintln!("skipped: needs python3");
            return Ok(());
        };
        assert!(status.success());
        assert!(std::path::Path::new(&format!("{file}-wal")).exists(), "{file}: the log was taken away");
    }
    let client = Browser::new(&server)?.register(&["http://localhost/callback"]).await?;
    drop(server); // SIGKILL
    let server = again()?;
    let browser = Browser::new(&server)?;
    let reply = browser.send(browser.get(&browser.request(&client, &[]))).await?;
    assert_eq!(reply.status, 200, "the client is forgotten: {reply:?}");
    Ok(())
}

/// OAuth 2.1 §4.1.1 and §4.1.3: new clients leave it out, OAuth 2.0 clients send it.
#[tokio::test]
async fn a_redirect_uri_may_be_left_out_where_it_can_only_be_one() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let (web, other) = ("https://client.example/callback", "https://client.example/other");
    for (what, registered, status) in [
        ("one at a web site", vec![web], 200),
        ("one of an app", vec!["com.example.app:/callback"], 200),
        ("one that was accepted, of two", vec!["exampleapp://cb", web], 200),
        ("one, said twice", vec![web, web], 200),
        ("two", vec![web, other], 400),
        ("one at loopback, whose port may be another", vec!["http://localhost/callback"], 400),
        ("one at loopback, with a port", vec!["http://127.0.0.1:1/callback"], 400),
    ] {
        let client = browser.register(&registered).await?;
        let reply = browser.send(browser.get(&browser.request(&client, &[("redirect_uri", "")]))).await?;
        assert_eq!(reply.status, status, "{what}: {reply:?}");
        assert!(status == 200 || reply.text.contains("does not say where the answer goes"), "{what}: {reply:?}");
        assert!(!reply.headers.contains_key("location"), "{what}");
    }
    let client = browser.register(&[web]).await?;
    let without = browser.request(&client, &[("redirect_uri", "")]);
    for twice in ["&redirect_uri=&redirect_uri=", "&redirect_uri=https%3A%2F%2Fclient.example%2Fcallback&redirect_uri="]
    {
        let reply = browser.send(browser.get(&format!("{without}{twice}"))).await?;
        assert_eq!(reply.status, 400, "{twice}: {reply:?}");
    }

    for (what, asked, sent, granted) in [
        ("never", "", None, true),
        ("only at the token endpoint", "", Some(web), true),
        ("only at the authorization endpoint", web, None, true),
        ("another one at the token endpoint", "", Some(other), false),
        ("another one, almost the same", web, Some("https://client.example/callback/"), false),
    ] {
        let person = Browser::new(&server)?;
        let path = person.request(&client, &[("redirect_uri", asked)]);
        let answer = person.consent(&path, "alice", &["mcp:read"]).await?;
        let form = redemption(&client, answer.get("code").with_context(|| format!("{what}: {answer:?}"))?);
        let reply = browser.token(&changed(&form, "redirect_uri", sent)).await?;
        assert_eq!(reply.status, if granted { 200 } else { 400 }, "{what}: {reply:?}");
        if !granted {
            assert_eq!(reply.json()["error"], "invalid_grant", "{what}");
        }
    }
    Ok(())
}

/// RFC 8707 §2, MCP "Canonical Server URI".
#[tokio::test]
async fn the_resource_may_be_left_out_and_its_host_has_no_case() -> Result<()> {
    let server = start("step9")?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    let resource = format!("{}/mcp", server.url());
    let shouted = resource.replace("http://localhost", "HTTP://LocalHost");
    for (what, asked, sent) in [
        ("never", "", None),
        ("another case", shouted.as_str(), None),
        ("another case later", resource.as_str(), Some(shouted.as_str())),
        ("only later", "", Some(resource.as_str())),
    ] {
        let person = Browser::new(&server)?;
        let path = person.request(&client, &[("resource", asked)]);
        let answer = person.consent(&path, "alice", &["mcp:read"]).await?;
        let form = redemption(&client, answer.get("code").with_context(|| format!("{what}: {answer:?}"))?);
        let granted = browser.token(&changed(&form, "resource", sent)).await?;
        let token = granted.json()["access_token"].as_str().with_context(|| format!("{what}: {granted:?}"))?.to_owned();
        assert_eq!(claims(&token)?["aud"], resource, "{what}: as the server is called");
        let refresh = granted.json()["refresh_token"].as_str().context("none")?.to_owned();
        let form = [("grant_type", "refresh_token"), ("client_id", &client), ("refresh_token", &refresh)];
        let reply = browser.token(&changed(&form, "resource", Some(&shouted.replace("/mcp", "/MCP")))).await?;
        assert_eq!(reply.json()["error"], "invalid_target", "{what}: the path has a case: {reply:?}");
        let reply = browser.token(&changed(&form, "resource", Some(&shouted))).await?;
        assert_eq!(reply.status, 200, "{what}: {reply:?}");
    }
    Ok(())
}
