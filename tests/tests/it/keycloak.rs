//! Step 10 and a real Keycloak with the realm of `keycloak/mcp-realm.json`.

use std::{
    cell::Cell,
    fs::{self, File, Permissions},
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Reply, Server,
    browser::{claims, kid},
    free_port, interop,
    keycloak::{AUDIENCE, Keycloak, PAGES_PORT, needs_java, script, shared},
    permissions::{PROMPTS, READ, TABLE, TOOLS, check, operation},
    provide_jq,
    readme::{self, Page, root},
    text,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

/// "Keycloak Token Generation" of the page that this project began with, to the letter.
const PAGES_CURL: &str = r#"curl -X POST "http://localhost:8080/realms/mcp-realm/protocol/openid-connect/token" \
-H "Content-Type: application/x-www-form-urlencoded" \
-d "grant_type=password" \
-d "client_id=mcp-test-client" \
-d "username=mcp-admin" \
-d "password=admin123" \
-d "scope=openid profile email mcp:read mcp:tools mcp:prompts" | jq -r '.access_token'"#;
/// Step 10's `--jwks-cooldown`, as it is by default; and how late an answer may be on a busy computer.
const COOLDOWN: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(25);

async fn call(server: &Server, token: &str, tool: &str) -> Result<Reply> {
    let arguments = if tool == "echo" { json!({ "message": "hi" }) } else { json!({}) };
    let request = server.legacy("tools/call", json!({ "name": tool, "arguments": arguments }));
    Reply::of(request.bearer_auth(token)).await
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven")]
async fn the_pages_own_curl_gets_a_token_that_calls_a_tool() -> Result<()> {
    let keycloak = shared().await?;
    let keycloak = keycloak.read().await;
    let readme = fs::read_to_string(root().join("keycloak/README.md"))?;
    assert!(readme.contains(PAGES_CURL), "keycloak/README.md has another command than the page");

    let bin = tempfile::tempdir()?;
    provide_jq(bin.path())?;
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH")?);
    // Verbatim, unless another program has the page's port.
    let here = PAGES_CURL.replace(&format!("localhost:{PAGES_PORT}"), &format!("localhost:{}", keycloak.port()));
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &here]).env("PATH", path).output()?;
    ensure!(output.status.success(), "{}", text(&output));
    let token = String::from_utf8(output.stdout)?;

    let server = keycloak.step10(&[])?;
    let echo = call(&server, token.trim_end(), "echo").await?;
    assert_eq!(echo.json()["result"]["structuredContent"], json!({ "text": "hi" }), "{echo:?}");
    let me = call(&server, token.trim_end(), "whoami").await?.json()["result"]["structuredContent"].clone();
    assert_eq!(me["username"], "mcp-admin");
    assert_eq!(me["iss"], keycloak.issuer());
    assert_eq!(me["sub"], claims(&token)?["sub"]);
    assert_eq!(me["client_id"], "mcp-test-client");
    assert!(me["roles"].as_array().context("no roles")?.contains(&json!("admin")), "{me}");
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven, Node.js, Python, Chromium")]
async fn real_clients_register_and_log_people_in_through_chromium() -> Result<()> {
    let keycloak = shared().await?;
    let keycloak = keycloak.read().await;
    let server = keycloak.step10(&[])?;
    let output =
        interop::script("keycloak.sh", true)?.args([format!("{}/mcp", server.url()), keycloak.issuer()]).output()?;
    let text = text(&output);
    println!("{text}");
    assert!(output.status.success() && text.matches("ok - ").count() == 9, "{text}");
    Ok(())
}

/// Keycloak drops a scope silently that the person's role does not have in the realm's scope mappings, and puts no
/// audience into a token that has none of our scopes.
#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven")]
async fn six_people_may_do_what_the_table_says() -> Result<()> {
    let keycloak = shared().await?;
    let keycloak = keycloak.read().await;
    let server = keycloak.step10(&[])?;
    let all = [READ, TOOLS, PROMPTS];
    let people: [(&str, &[&str], &[&str]); 6] = [
        ("mcp-admin", &["admin", "user"], &all),
        ("alice", &["user"], &all),
        ("bob", &["user"], &all),
        ("guest", &["guest"], &[READ, PROMPTS]),
        // Those of the page that this project began with.
        ("mcp-user", &["user"], &all),
        ("mcp-readonly", &["guest"], &[READ, PROMPTS]),
    ];
    let mut checked = 0;
    for (user, roles, grantable) in people {
        for set in 0..8 {
            let asked: Vec<_> = (0..3).filter(|bit| set & (1 << bit) != 0).map(|bit| all[bit]).collect();
            let granted: Vec<_> = asked.iter().copied().filter(|scope| grantable.contains(scope)).collect();
            let token = keycloak.token(user, &format!("openid {}", asked.join(" "))).await?;
            for row in &TABLE {
                if granted.is_empty() {
                    let reply = Reply::of(operation(&server, row).bearer_auth(&token)).await?;
                    assert_eq!(reply.status, 401, "{user} {asked:?}: {reply:?}");
                    let body = reply.refusal(&Value::Null);
                    assert_eq!(body["reason"], "audience_missing", "{user} {asked:?}: {reply:?}");
                    let advice = body["error_description"].as_str().context("no description")?;
                    assert!(advice.contains("audience mapper") && advice.contains(READ), "{advice}");
                } else {
                    check(&server, row, &token, &granted, Some(roles)).await?;
                }
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 6 * 8 * TABLE.len());
    Ok(())
}

/// As on the page that this project began with: the audience is a client, which a scope adds, and roles are its roles.
#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven")]
async fn the_page_s_own_set_up_goes_with_its_profile() -> Result<()> {
    let keycloak = shared().await?;
    let keycloak = keycloak.read().await;
    let issuer = keycloak.issuer();
    let server = Server::start_with("step10", &["--issuer", &issuer, "--profile", "keycloak-tutorial"])?;
    for (user, roles, status) in [
        ("mcp-admin", json!(["admin", "user"]), 200),
        ("mcp-user", json!(["user"]), 200),
        ("mcp-readonly", json!(["guest"]), 403),
    ] {
        let scope = format!("openid echo-mcp-server-audience {READ} {TOOLS}");
        let token = keycloak.token(user, &scope).await?;
        let said = claims(&token)?;
        let names = |value: &Value| value.as_array().map(|names| names.contains(&json!("echo-mcp-server")));
        assert!(said["aud"] == "echo-mcp-server" || names(&said["aud"]) == Some(true), "{said}");
        let mut own = said["resource_access"]["echo-mcp-server"]["roles"].clone();
        own.as_array_mut().context("no roles")?.sort_by_key(Value::to_string);
        assert_eq!(own, roles, "{said}");
        let reply = call(&server, &token, "whoami").await?;
        assert_eq!(reply.status, status, "{user}: {reply:?}");
    }
    // A client that does not ask for it gets no token for this server; alice has no role of this client.
    for (user, scope) in [("mcp-user", TOOLS.to_owned()), ("alice", format!("echo-mcp-server-audience {TOOLS}"))] {
        let token = keycloak.token(user, &scope).await?;
        let said = claims(&token)?;
        assert_eq!(said["aud"], AUDIENCE, "{user}: {said}");
        assert_eq!(call(&server, &token, "whoami").await?.status, 401, "{user}");
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven")]
async fn a_stranger_registers_nothing_but_a_client_on_this_computer() -> Result<()> {
    const HERE: &str = "http://localhost/callback";
    let keycloak = shared().await?;
    let keycloak = keycloak.read().await;
    let register = async |metadata: Value, origin: Option<&str>| {
        let request = keycloak.request(Method::POST, "/clients-registrations/openid-connect");
        let request = request.header("Content-Type", "application/json").body(metadata.to_string());
        Reply::of(origin.into_iter().fold(request, |request, origin| request.header("Origin", origin))).await
    };
    let public = |redirect: &str, scope: Option<&str>| {
        let mut metadata =
            json!({ "client_name": "x", "redirect_uris": [redirect], "token_endpoint_auth_method": "none" });
        if let Some(scope) = scope {
            metadata["scope"] = scope.into();
        }
        metadata
    };
    for (redirect, scope, origin, status) in [
        (HERE, None, None, 201),
        (HERE, Some("mcp:read mcp:tools mcp:prompts"), None, 201),
        (HERE, Some("openid offline_access mcp:read"), None, 201),
        ("http://127.0.0.1:6274/oauth/callback", None, Some("http://127.0.0.1:6274"), 201),
        ("http://localhost:6274/oauth/callback", None, Some("http://localhost:6274"), 201),
        (HERE, None, Some("https://evil.example"), 403),
        (HERE, None, Some("http://localhost:6274.evil.example"), 403),
        (HERE, Some("mcp:read mcp:all"), None, 403),
        ("https://evil.example/callback", None, None, 403),
        ("http://localhost.evil.example/callback", None, None, 403),
        ("http://evil.example/localhost", None, None, 403),
        ("http://localhost@evil.example/callback", None, None, 403),
        ("evil://callback", None, None, 403),
    ] {
        let reply = register(public(redirect, scope), origin).await?;
        assert_eq!(reply.status, status, "{redirect} {scope:?} {origin:?}: {reply:?}");
    }

    // This client cannot log in without PKCE.
    let client = register(public(HERE, None), None).await?.json();
    let query = [
        ("response_type", "code"),
        ("client_id", client["client_id"].as_str().context("no client_id")?),
        ("redirect_uri", "http://localhost:4711/callback"),
        ("scope", TOOLS),
    ];
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    for challenge in ["", "&code_challenge=x&code_challenge_method=plain"] {
        let path = format!("/protocol/openid-connect/auth?{query}{challenge}");
        let reply = Reply::of(keycloak.request(Method::GET, &path)).await?;
        assert_eq!(reply.status, 302, "{reply:?}");
        assert!(reply.header("location").contains("error=invalid_request"), "{reply:?}");
    }

    // A client that logs in as itself does not get in either: it has no role, so no scope of ours, so no audience.
    let machine = json!({ "client_name": "x", "redirect_uris": [HERE], "grant_types": ["client_credentials"] });
    let machine = register(machine, None).await?.json();
    let (id, secret) = (machine["client_id"].as_str().unwrap(), machine["client_secret"].as_str().unwrap());
    let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    let granted = keycloak.grant(&[&form[..], &[("scope", "mcp:read mcp:tools mcp:prompts")]].concat()).await?.json();
    let refused = call(&keycloak.step10(&[])?, granted["access_token"].as_str().context("no token")?, "echo").await?;
    assert_eq!(refused.status, 401, "{refused:?}");
    Ok(())
}

/// Keycloak has more registration endpoints than OAuth's. `default` takes its own representation of a client, where a
/// protocol mapper could put what people write into their own profile into any claim: their roles, or somebody's `sub`.
#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven")]
async fn a_stranger_chooses_no_claims_and_no_lifespan_of_tokens() -> Result<()> {
    const OAUTH: &str = "/clients-registrations/openid-connect";
    const DEFAULT: &str = "/clients-registrations/default";
    const POLICY: &str = "org.keycloak.services.clientregistration.policy.ClientRegistrationPolicy";
    let keycloak = shared().await?;
    let keycloak = keycloak.read().await;
    let send = async |method: Method, path: &str, body: Value, token: Option<&str>| {
        let request = keycloak.request(method, path).header("Content-Type", "application/json").body(body.to_string());
        Reply::of(token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth)).await
    };
    let mapper = |claim: &str| {
        json!([{
            "name": "x", "protocol": "openid-connect", "protocolMapper": "oidc-usermodel-attribute-mapper",
            "config": { "user.attribute": "firstName", "claim.name": claim, "multivalued": "true",
                "jsonType.label": "String", "access.token.claim": "true" },
        }])
    };
    let roles = json!({ "protocolMappers": mapper("realm_access.roles") });
    let sub = json!({ "protocolMappers": mapper("sub") });
    let long = json!({ "attributes": { "access.token.lifespan": "86400000" } });
    let with = |base: &Value, more: &Value| {
        let mut all = base.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let oauth = json!({ "client_name": "x", "redirect_uris": ["http://localhost/callback"],
        "token_endpoint_auth_method": "none" });
    let own = json!({ "clientId": "chosen", "publicClient": true, "redirectUris": ["http://localhost/callback"] });
    let plain = json!({});
    for (path, base, more, status) in [
        (OAUTH, &oauth, &plain, 201),
        (OAUTH, &oauth, &json!({ "subject_type": "pairwise" }), 201),
        (OAUTH, &oauth, &roles, 400),
        (OAUTH, &oauth, &sub, 400),
        (OAUTH, &oauth, &long, 400),
        (DEFAULT, &own, &plain, 404),
        (DEFAULT, &own, &roles, 404),
        (DEFAULT, &own, &sub, 404),
        (DEFAULT, &own, &long, 404),
        ("/clients-registrations/saml2-entity-descriptor", &plain, &plain, 404),
    ] {
        let reply = send(Method::POST, path, with(base, more), None).await?;
        assert_eq!(reply.status, status, "{path} {more}: {reply:?}");
    }
    let reply = send(Method::GET, "/clients-registrations/install/account", Value::Null, None).await?;
    assert_eq!(reply.status, 404, "{reply:?}");

    // Nor afterwards, with the token that registration gave it.
    let client = send(Method::POST, OAUTH, oauth.clone(), None).await?.json();
    let field = |name: &str| client[name].as_str().with_context(|| format!("no {name} in {client}"));
    let (id, token) = (field("client_id")?, field("registration_access_token")?);
    let (oauth, own) = (with(&oauth, &json!({ "client_id": id })), with(&own, &json!({ "clientId": id })));
    for more in [&roles, &sub, &long] {
        for (path, base, status) in [(OAUTH, &oauth, 400), (DEFAULT, &own, 404)] {
            let reply = send(Method::PUT, &format!("{path}/{id}"), with(base, more), Some(token)).await?;
            assert_eq!(reply.status, status, "{path} {more}: {reply:?}");
        }
    }
    let kept = keycloak.admin(Method::GET, &format!("/clients?clientId={id}"), &Value::Null).await?;
    assert_eq!(kept[0]["clientId"], id, "{kept}");
    assert_eq!(kept[0].get("protocolMappers"), None, "{kept}");
    assert_eq!(kept[0]["attributes"].get("access.token.lifespan"), None, "{kept}");

    // Should somebody turn these endpoints on, the realm has a second lock: no mapper is allowed to either kind of caller.
    let policies = keycloak.admin(Method::GET, &format!("/components?type={POLICY}"), &Value::Null).await?;
    let policies = policies.as_array().context("no policies")?;
    for caller in ["anonymous", "authenticated"] {
        let of_mappers =
            |policy: &&Value| policy["providerId"] == "allowed-protocol-mappers" && policy["subType"] == caller;
        let found: Vec<_> = policies.iter().filter(of_mappers).collect();
        assert_eq!(found.len(), 1, "{caller}: {policies:?}");
        let allowed = found[0]["config"].get("allowed-protocol-mapper-types").and_then(Value::as_array);
        assert!(allowed.is_none_or(Vec::is_empty), "{caller}: {allowed:?}");
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven")]
async fn nothing_but_the_access_token_opens_the_server() -> Result<()> {
    let keycloak = shared().await?;
    let keycloak = keycloak.read().await;
    let server = keycloak.step10(&[])?;
    let form = [("grant_type", "password"), ("client_id", "mcp-test-client"), ("scope", "openid mcp:tools")];
    let granted = keycloak.grant(&[&form[..], &[("username", "alice"), ("password", "alice123")]].concat()).await?;
    let granted = granted.json();
    for (kind, status) in [("access_token", 200), ("id_token", 401), ("refresh_token", 401)] {
        let reply = call(&server, granted[kind].as_str().with_context(|| format!("no {kind}"))?, "echo").await?;
        assert_eq!(reply.status, status, "{kind}: {reply:?}");
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven")]
async fn a_new_key_is_accepted_within_a_cool_down_and_the_old_one_until_it_is_disabled() -> Result<()> {
    const KEYS: &str = "org.keycloak.keys.KeyProvider";
    let keycloak = shared().await?;
    let keycloak = keycloak.write().await;
    let server = keycloak.step10(&["--jwks-min-age", "10s", "--jwks-max-age", "10s"])?;
    let old = keycloak.token("alice", TOOLS).await?;
    assert_eq!(call(&server, &old, "echo").await?.status, 200);

    // A new key signs, and both are listed.
    let providers = keycloak.admin(Method::GET, &format!("/components?type={KEYS}"), &Value::Null).await?;
    let signs = |provider: &&Value| provider["providerId"] == "rsa-generated";
    let mut before = providers.as_array().context("no keys")?.iter().find(signs).context("no RSA key")?.clone();
    let next = json!({
        "name": "the next key", "providerId": "rsa-generated", "providerType": KEYS,
        "config": { "priority": ["200"], "keySize": ["2048"] },
    });
    keycloak.admin(Method::POST, "/components", &next).await?;
    let new = keycloak.token("alice", TOOLS).await?;
    assert_ne!(kid(&new)?, kid(&old)?);
    let asked = Instant::now();
    while call(&server, &new, "echo").await?.status != 200 {
        assert!(asked.elapsed() < COOLDOWN + SLACK, "the new key is still refused");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(call(&server, &old, "echo").await?.status, 200);

    // The old key no longer signs, but is still listed: tokens signed with it stay good after the next fetch.
    let mut change = async |name: &str| {
        before["config"][name] = json!(["false"]);
        let path = format!("/components/{}", before["id"].as_str().context("no id")?);
        keycloak.admin(Method::PUT, &path, &before).await
    };
    change("active").await?;
    let changed = Instant::now();
    loop {
        let health = Reply::of(server.get("/health")).await?.json();
        let age = health["issuers"][keycloak.issuer()]["age"].as_u64().context("no age")?;
        if Duration::from_secs(age + 1) < changed.elapsed() {
            break;
        }
        assert!(changed.elapsed() < COOLDOWN * 2 + SLACK, "no fetch: {health}");
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(call(&server, &old, "echo").await?.status, 200);

    // A disabled key goes with the next fetch, which is at most ten seconds away.
    change("enabled").await?;
    let changed = Instant::now();
    loop {
        assert_eq!(call(&server, &new, "echo").await?.status, 200);
        let reply = call(&server, &old, "echo").await?;
        if reply.status == 401 {
            break;
        }
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(changed.elapsed() < COOLDOWN + SLACK, "the disabled key is still accepted");
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Calls a tool again and again until it is told to stop: how often. Every answer must be good.
async fn load(server: &Server, token: &str, count: &Cell<u32>, goes_on: &Cell<bool>) -> Result<()> {
    while goes_on.get() {
        let reply = call(server, token, "echo").await?;
        ensure!(reply.status == 200, "after {} calls: {reply:?}", count.get());
        count.set(count.get() + 1);
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven")]
async fn keycloak_stops_and_starts_and_no_request_with_a_known_key_fails() -> Result<()> {
    let keycloak = shared().await?;
    let keycloak = &*keycloak.write().await;
    // The token must outlive the outage, and a start takes long on a busy computer.
    keycloak.admin(Method::PUT, "", &json!({ "accessTokenLifespan": 3600 })).await?;
    // Step 10 fetches keys all the time, so that it notices.
    let hurried = ["--jwks-cooldown", "1s", "--jwks-min-age", "1s", "--jwks-max-age", "1s"];
    let server = keycloak.step10(&hurried)?;
    let token = keycloak.token("alice", TOOLS).await?;
    assert_eq!(call(&server, &token, "echo").await?.status, 200);

    let (count, goes_on) = (Cell::new(0), Cell::new(true));
    let outage = async {
        let result = outage(keycloak, &server, &hurried, &token, &count).await;
        goes_on.set(false);
        result
    };
    let result = tokio::try_join!(
        outage,
        load(&server, &token, &count, &goes_on),
        load(&server, &token, &count, &goes_on),
        load(&server, &token, &count, &goes_on),
        load(&server, &token, &count, &goes_on)
    );
    keycloak.script("start").await?; // for the other tests, if this one has failed
    keycloak.admin(Method::PUT, "", &json!({ "accessTokenLifespan": 300 })).await?;
    result.map(|_| println!("{} calls", count.get()))
}

async fn outage(keycloak: &Keycloak, server: &Server, args: &[&str], known: &str, count: &Cell<u32>) -> Result<()> {
    let state = async |server: &Server| -> Result<String> {
        let health = Reply::of(server.get("/health")).await?.json();
        Ok(health["issuers"][keycloak.issuer()]["state"].as_str().context("no state")?.to_owned())
    };
    keycloak.script("stop").await?;
    let stopped = Instant::now();
    while state(server).await? != "stale" {
        assert!(stopped.elapsed() < COOLDOWN + SLACK, "the server does not notice that Keycloak is away");
        sleep(Duration::from_millis(100)).await;
    }
    let before = count.get();
    // A server that starts now has no keys, and says so.
    let late = keycloak.step10(args)?;
    assert_eq!(state(&late).await?, "waiting");
    let reply = call(&late, known, "echo").await?;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.header("retry-after").parse::<u32>()? > 0, "{reply:?}");
    keycloak.script("start").await?;
    let after = count.get();
    assert!(after > before + 100, "{} calls while Keycloak was away", after - before);

    let started = Instant::now();
    while state(server).await? != "ready" || state(&late).await? != "ready" {
        assert!(started.elapsed() < COOLDOWN + SLACK, "the servers do not notice that Keycloak is back");
        sleep(Duration::from_millis(100)).await;
    }
    let token = keycloak.token("bob", TOOLS).await?;
    for (server, token) in [(server, token.as_str()), (&late, &token), (&late, known)] {
        assert_eq!(call(server, token, "echo").await?.status, 200);
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven")]
async fn the_commands_in_its_readme_print_what_it_shows() -> Result<()> {
    let keycloak = shared().await?;
    let keycloak = keycloak.read().await;
    let server = keycloak.step10(&[])?;
    let (page, here) = (format!("localhost:{PAGES_PORT}"), format!("localhost:{}", keycloak.port()));
    let script = format!("keycloak/start.sh {}", keycloak.options()?.join(" "));
    let doctor = format!("doctor --audience {AUDIENCE}"); // which is that of port 9000, wherever the server is
    let more = [(page.as_str(), here.as_str()), ("keycloak/start.sh", &script), ("doctor", &doctor)];
    let count = readme::check(&Page::read(&root().join("keycloak/README.md"))?, server, &more)?;
    assert!(count >= 8, "{count} examples");
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven")]
async fn started_twice_it_runs_once() -> Result<()> {
    let keycloak = shared().await?;
    let keycloak = keycloak.read().await;
    let before = keycloak.pid()?;
    let said = keycloak.script("start").await?;
    assert!(said.contains("Keycloak runs already.") && said.contains(&keycloak.issuer()), "{said}");
    assert_eq!(keycloak.pid()?, before);

    // A Keycloak that was built with other options does not count as the one that the script would start now.
    let folder = tempfile::tempdir()?;
    let other = copy(folder.path(), |source| source.replace("--db=dev-file", "--db=dev-mem"))?;
    let output = Command::new("bash").arg(other).args(keycloak.options()?).output()?;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("was built with other options: stop it, and start it again"), "{}", text(&output));
    assert_eq!(keycloak.pid()?, before);
    Ok(())
}

/// `start.sh` in a folder of its own, changed.
fn copy(folder: &Path, change: impl Fn(&str) -> String) -> Result<PathBuf> {
    let copy = folder.join("keycloak/start.sh");
    fs::create_dir_all(folder.join("keycloak"))?;
    fs::copy(script(&[]).get_program(), &copy)?;
    fs::write(&copy, change(&fs::read_to_string(&copy)?))?;
    Ok(copy)
}

/// A folder of programs for PATH: those that are named are links to this computer's.
fn programs(folder: &Path, names: &[&str]) -> Result<String> {
    for name in names {
        let found = Command::new("sh").args(["-c", "command -v \"$0\"", name]).output()?;
        ensure!(found.status.success(), "there is no {name}");
        symlink(String::from_utf8(found.stdout)?.trim_end(), folder.join(name))?;
    }
    Ok(folder.display().to_string())
}

/// The lock is the system's, so a lock whose owner was killed blocks nobody, even if another process has its number
/// now.
#[test]
fn the_scripts_wait_for_each_other_and_not_for_the_dead() -> Result<()> {
    let bin = tempfile::tempdir()?;
    let needed = ["bash", "cat", "cksum", "dirname", "grep", "ls", "mkdir", "perl", "ps", "rm", "seq", "sleep"];
    let without_flock = programs(bin.path(), &needed)?; // as on macOS
    for path in [std::env::var("PATH")?, without_flock] {
        let folder = tempfile::tempdir()?;
        let lock = folder.path().join(".lock");
        let stop = || -> Result<Command> {
            let mut stop = script(&["stop", "--data", folder.path().to_str().context("a folder without a name")?]);
            stop.env("PATH", &path);
            Ok(stop)
        };
        fs::write(&lock, format!("{}\n", process::id()))?; // of a process that lives, and is no start.sh
        let output = stop()?.output()?;
        assert!(output.status.success() && !text(&output).contains("Waiting"), "{}", text(&output));

        let held = File::open(&lock)?;
        held.lock()?;
        let mut waits = stop()?.stderr(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(waits.stderr.take().context("no stderr")?).lines();
        let first = said.next().context("nothing said")??;
        assert!(first.starts_with("Waiting for another start.sh on "), "{first}");
        assert_eq!(waits.try_wait()?, None);
        held.unlock()?;
        let second = said.next().context("nothing said")??;
        assert!(second.starts_with("Keycloak is not running on "), "{second}");
        assert!(waits.wait()?.success());

        // It does not wait for ever: with three tries for three thousand here.
        let copies = tempfile::tempdir()?;
        let hurried = copy(copies.path(), |source| source.replace("seq 3000", "seq 3"))?;
        held.lock()?;
        let output = Command::new("bash").arg(hurried).args(stop()?.get_args()).env("PATH", &path).output()?;
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("see what keeps it, or end it"), "{}", text(&output));
    }
    Ok(())
}

/// `cp`, the first thing that touches the distribution, fails, which has the same effect as a Ctrl-C there.
#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven")]
async fn an_interrupted_start_can_be_repeated() -> Result<()> {
    shared().await?; // which has prepared the distribution, too
    let (bin, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let broken = bin.path().join("cp");
    fs::write(&broken, "#!/bin/sh\necho interrupted >&2\nexit 1\n")?;
    fs::set_permissions(&broken, Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH")?);
    let port = free_port().to_string();
    for _ in 0..2 {
        let mut start = script(&["--port", &port, "--data", data.path().to_str().context("a folder without a name")?]);
        let output = start.env("PATH", &path).output()?;
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "interrupted\n");
    }
    Ok(())
}

#[test]
fn stopping_what_is_not_there_makes_no_folder() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let typo = folder.path().join("typo/data");
    let output = script(&["stop", "--data", typo.to_str().context("a folder without a name")?]).output()?;
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("there is no such folder"), "{}", text(&output));
    assert_eq!(fs::read_dir(folder.path())?.count(), 0);
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs Java")]
fn what_keeps_keycloak_from_starting_is_said_in_a_sentence() -> Result<()> {
    needs_java()?;
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let taken = taken.local_addr()?.port().to_string();
    let folder = tempfile::tempdir()?;
    let data = folder.path().to_str().context("a folder without a name")?;
    for (args, java, code, wanted) in [
        (&["begin"][..], None, 2, "there is no begin"),
        (&["--port"], None, 2, "--port needs a value"),
        (&["--port", "0"], None, 2, "--port is a number from 1 to 65535, not 0"),
        (&["--port", "65536"], None, 2, "--port is a number from 1 to 65535, not 65536"),
        (&["--port", "80a"], None, 2, "not 80a"),
        (&["--data", data, "--port", &taken], None, 1, "is busy on 127.0.0.1: stop what uses it, or choose another"),
        (&["--data", data], Some("/nowhere"), 1, "there is no Java at /nowhere/bin/java: install a JDK"),
        (&["--data", "/"], None, 1, "/ has other things in it: give --data a folder of its own"),
        (&["stop", "--data", data], None, 0, "Keycloak is not running"),
        (&["--help"], None, 0, "Usage: keycloak/start.sh [--port PORT]"),
    ] {
        let mut command = script(args);
        let output = command.envs(java.map(|java| ("JAVA_HOME", java))).output()?;
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(wanted), "{args:?}: {text}");
    }
    Ok(())
}

/// A copy of `start.sh` beside a Maven that has these bytes for Keycloak and notes what it was asked for, and a
/// `KEYCLOAK_HOME`: what the script says, when its exit code is 1 and it leaves nothing behind.
fn prepare(maven: Option<&str>, home: Option<&Path>) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let copy = copy(folder.path(), str::to_owned)?;
    // A distribution that a start.sh with other options has prepared is not used.
    let older = folder.path().join("keycloak/dist/keycloak-older");
    fs::create_dir_all(&older)?;
    let bin = tempfile::tempdir()?;
    let needed = [
        "bash", "cat", "chmod", "cksum", "cp", "curl", "dirname", "env", "grep", "java", "ls", "mkdir", "mktemp", "mv",
        "perl", "pgrep", "ps", "rm", "sed", "seq", "sleep", "tar", "uname",
    ];
    let digest = if cfg!(target_os = "macos") { "shasum" } else { "sha256sum" };
    let path = programs(bin.path(), &[&needed[..], &[digest]].concat())?;
    if let Some(bytes) = maven {
        let script = format!(
            r#"#!/bin/sh
for it; do case $it in -DoutputDirectory=*) folder=${{it#*=}} ;; -Dartifact=*) artifact=${{it#*=}} ;; esac; done
echo "fetched $artifact"
IFS=: read -r _ name version _ <<END
$artifact
END
printf %s '{bytes}' >"$folder/$name-$version.tar.gz"
"#
        );
        fs::write(bin.path().join("mvn"), script)?;
        fs::set_permissions(bin.path().join("mvn"), Permissions::from_mode(0o755))?;
    }
    let port = free_port().to_string();
    let mut start = Command::new("bash");
    start.arg(&copy);
    start.args(["--port", &port]).env("PATH", path).env_remove("JAVA_HOME").env_remove("KEYCLOAK_HOME");
    let output = start.envs(home.map(|home| ("KEYCLOAK_HOME", home))).output()?;
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    fs::remove_dir(older)?;
    assert_eq!(fs::read_dir(folder.path().join("keycloak/dist"))?.count(), 0, "something was left behind");
    Ok(text)
}

#[test]
#[cfg_attr(not(ci), ignore = "needs Java")]
fn what_is_not_keycloak_is_not_run() -> Result<()> {
    needs_java()?;
    let source = fs::read_to_string(script(&[]).get_program())?;
    let version = source.lines().find_map(|line| line.strip_prefix("version=")).context("no version")?;
    let compose = fs::read_to_string(root().join("keycloak/compose.yaml"))?;
    assert!(compose.contains(&format!("image: quay.io/keycloak/keycloak:{version}\n")), "{compose}");
    let options = source.lines().filter(|line| line.starts_with("  --spi-")).map(str::trim);
    let in_compose =
        compose.lines().filter_map(|line| line.trim().strip_prefix("- ")).filter(|it| it.starts_with("--spi"));
    assert!(options.clone().count() == 3 && options.eq(in_compose), "{compose}");

    let text = prepare(Some("not Keycloak"), None)?;
    assert!(text.contains(&format!("fetched org.keycloak:keycloak-quarkus-dist:{version}:tar.gz\n")), "{text}");
    assert!(text.contains(&format!("is not Keycloak {version}: its SHA-256 is not")), "{text}");
    let text = prepare(None, None)?;
    assert!(text.contains("Maven is missing") && text.contains("or set KEYCLOAK_HOME"), "{text}");

    // A folder of one's own needs no Maven, and must be of this version.
    let home = tempfile::tempdir()?;
    let wanted = format!("where no Keycloak {version} is: its version.txt should say so");
    for says in [None, Some("Keycloak - Version 26.7.30\n")] {
        says.map(|says| fs::write(home.path().join("version.txt"), says)).transpose()?;
        let text = prepare(None, Some(home.path()))?;
        assert!(text.contains(&wanted), "{says:?}: {text}");
    }
    fs::write(home.path().join("version.txt"), format!("Keycloak - Version {version}\n"))?;
    let program = home.path().join("bin/kc.sh");
    fs::create_dir(home.path().join("bin"))?;
    fs::write(&program, "#!/bin/sh\necho \"asked to $*, with data: $(ls \"${0%/*}/..\")\"\nexit 1\n")?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    fs::create_dir(home.path().join("data"))?;
    let text = prepare(None, Some(home.path()))?;
    assert!(text.contains("asked to build --db=dev-file --spi-client-registration--default--enabled=false"), "{text}");
    assert!(text.contains("with data: bin\nversion.txt\n") && text.contains("build failed: see above"), "{text}");
    assert!(home.path().join("data").exists(), "what is not ours was changed");
    Ok(())
}
