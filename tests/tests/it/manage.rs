//! Managing people, clients and consents while the server runs: by command, and by the people themselves.

use std::{os::unix::fs::OpenOptionsExt, process::Output};

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Reply, Server,
    browser::{Browser, PASSWORD, Page, claims, redemption},
    command,
    instead::Instead,
    text,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server, and the program that manages what is in its database.
struct Managed {
    server: Server,
    folder: TempDir,
}

impl Managed {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let database = folder.path().join("auth.db");
        let args = ["--auth-database", database.to_str().context("a path that is not UTF-8")?];
        let server = Server::start_in_env("step9", &args, &[("MCP_DEV_PASSWORD", PASSWORD)])?;
        Ok(Managed { server, folder })
    }

    fn output(&self, args: &[&str]) -> Result<Output> {
        let database = self.folder.path().join("auth.db");
        let database = ["--auth-database", database.to_str().context("a path that is not UTF-8")?];
        let Instead { package, args, env } =
            Instead::of("auth-server", &[&database[..], args].concat(), self.folder.path())?;
        Ok(command(package)?.args(args).envs(env).current_dir(self.folder.path()).output()?)
    }

    /// Runs a command; its exit code and everything it says.
    fn run(&self, args: &[&str]) -> Result<(Option<i32>, String)> {
        let output = self.output(args)?;
        Ok((output.status.code(), text(&output)))
    }

    /// Runs one that must succeed.
    fn must(&self, args: &[&str]) -> Result<String> {
        let (code, said) = self.run(args)?;
        ensure!(code == Some(0), "{args:?}: {said}");
        Ok(said)
    }

    fn list(&self, args: &[&str]) -> Result<Vec<Value>> {
        // On a slow computer the log may say so on the other output.
        let output = self.output(&[args, &["--json"]].concat())?;
        let list: Value = serde_json::from_slice(&output.stdout).with_context(|| text(&output))?;
        Ok(list.as_array().context("no list")?.clone())
    }
}

#[test]
fn a_database_that_no_server_has_used_is_neither_made_nor_managed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for args in [&["user", "disable", "alice"][..], &["user", "list"], &["client", "remove", "x"], &["consent", "list"]]
    {
        let output = command("auth-server")?.args(args).current_dir(folder.path()).output()?;
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]), "{args:?}: {output:?}");
        let said = text(&output);
        assert!(said.starts_with("error: there is no database data/auth.db: "), "{args:?}: {said}");
        assert!(std::fs::read_dir(folder.path())?.next().is_none(), "{args:?}: something was made");
    }
    let empty = folder.path().join("empty.db");
    std::fs::File::options().create_new(true).write(true).mode(0o600).open(&empty)?;
    let output =
        command("auth-server")?.arg("--auth-database").arg(&empty).args(["user", "passwd", "alice"]).output()?;
    assert!(text(&output).contains("no server has used it yet"), "{output:?}");
    Ok(())
}

/// A person who is logged in lets the client in: the code.
async fn code(browser: &Browser<'_>, client: &str) -> Result<String> {
    let consent = browser.open(&browser.request(client, &[])).await?;
    let form = [("csrf", consent.csrf.as_str()), ("decision", "allow"), ("scope", "mcp:read"), ("scope", "mcp:tools")];
    let reply = browser.send(browser.post(&consent.action, &form)).await?;
    let answer = integration_tests::browser::parameters(reply.header("location"))?;
    answer.get("code").cloned().with_context(|| format!("{reply:?}"))
}

async fn redeem(browser: &Browser<'_>, client: &str, code: &str) -> Result<Reply> {
    browser.token(&redemption(client, code)).await
}

async fn refresh(browser: &Browser<'_>, client: &str, token: &str) -> Result<Reply> {
    browser.token(&[("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)]).await
}

fn refresh_token(granted: &Reply) -> Result<String> {
    granted.json()["refresh_token"].as_str().map(str::to_owned).with_context(|| format!("{granted:?}"))
}

fn error(reply: &Reply) -> String {
    reply.json()["error"].as_str().unwrap_or_default().to_owned()
}

/// A browser in which a person is logged in, with an unused code and a refresh token of this client.
async fn let_in<'a>(server: &'a Server, name: &str, client: &str) -> Result<(Browser<'a>, String, String)> {
    let browser = Browser::new(server)?;
    let reply = browser.log_in(&browser.request(client, &[]), name, PASSWORD).await?;
    ensure!(reply.status == 303, "{reply:?}");
    let redeemed = code(&browser, client).await?;
    let token = refresh_token(&redeem(&browser, client, &redeemed).await?)?;
    let unused = code(&browser, client).await?;
    Ok((browser, unused, token))
}

async fn register(server: &Server) -> Result<String> {
    Browser::new(server)?.register(&["http://localhost/callback"]).await
}

fn is_log_in_page(page: &Page) -> bool {
    page.action.contains("/login") && page.reply.text.contains("type=\"password\"")
}

#[tokio::test]
async fn who_is_disabled_is_out_at_once_until_they_are_enabled() -> Result<()> {
    let managed = Managed::start()?;
    let server = &managed.server;
    let client = register(server).await?;
    let (alice, unused, token) = let_in(server, "alice", &client).await?;
    let (bob, bobs_code, bobs_token) = let_in(server, "bob", &client).await?;
    let path = alice.request(&client, &[]);
    assert!(!is_log_in_page(&alice.open(&path).await?));

    let said = managed.must(&["user", "disable", "alice"])?;
    assert!(said.contains("event=\"user_disabled\" user=\"user_alice\""), "{said}");
    assert!(is_log_in_page(&alice.open(&path).await?), "the session has ended");
    assert_eq!(error(&redeem(&alice, &client, &unused).await?), "invalid_grant");
    assert_eq!(error(&refresh(&alice, &client, &token).await?), "invalid_grant");
    // Right and wrong passwords of hers have one answer, but for the form's token.
    let stranger = Browser::new(server)?;
    let refused = stranger.log_in(&path, "alice", PASSWORD).await?;
    assert_eq!(refused.status, 401, "{refused:?}");
    let login = stranger.open(&path).await?;
    let form = [("username", "alice"), ("password", "a wrong password"), ("csrf", &login.csrf)];
    let wrong = stranger.send(stranger.post(&login.action, &form)).await?;
    assert_eq!((wrong.status, &wrong.text), (refused.status, &refused.text));
    let state = |name: &str| -> Result<Value> {
        let people = managed.list(&["user", "list"])?;
        people.into_iter().find(|person| person["name"] == name).context("not there")
    };
    assert_eq!(state("alice")?["disabled"], true);
    let table = managed.must(&["user", "list"])?;
    assert!(table.lines().any(|line| line.contains("user_alice") && line.contains("  disabled  ")), "{table}");

    // Nobody else is.
    assert!(!is_log_in_page(&bob.open(&path).await?));
    assert_eq!(redeem(&bob, &client, &bobs_code).await?.status, 200);
    assert_eq!(refresh(&bob, &client, &bobs_token).await?.status, 200);

    let said = managed.must(&["user", "enable", "alice"])?;
    assert!(said.contains("event=\"user_enabled\" user=\"user_alice\""), "{said}");
    assert!(is_log_in_page(&alice.open(&path).await?), "what has ended stays so");
    assert_eq!(error(&refresh(&alice, &client, &token).await?), "invalid_grant");
    let (_, unused, token) = let_in(server, "alice", &client).await?;
    assert_eq!(redeem(&alice, &client, &unused).await?.status, 200);
    assert_eq!(refresh(&alice, &client, &token).await?.status, 200);
    let last = state("alice")?["last_log_in"].as_str().context("no log-in")?.to_owned();
    assert!(last.ends_with('Z') && state("guest")?["last_log_in"].is_null(), "{last}");
    let log = server.stderr()?;
    let why = "why=\"the person is disabled\"";
    assert!(log.lines().any(|line| line.contains("event=\"log_in_failed\"") && line.contains(why)), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_role_that_was_taken_away_is_in_no_token_from_the_next_refresh_on() -> Result<()> {
    let managed = Managed::start()?;
    let client = register(&managed.server).await?;
    let (admin, _, token) = let_in(&managed.server, "admin", &client).await?;
    let granted = refresh(&admin, &client, &token).await?;
    let roles = |reply: &Reply| -> Result<Value> {
        Ok(claims(reply.json()["access_token"].as_str().context("no token")?)?["roles"].clone())
    };
    assert_eq!((roles(&granted)?, &granted.json()["scope"]), (json!(["admin", "user"]), &json!("mcp:read mcp:tools")));

    let said = managed.must(&["user", "roles", "admin", "guest"])?;
    assert!(said.contains("event=\"roles_changed\" user=\"user_admin\" roles=\"guest\""), "{said}");
    let narrowed = refresh(&admin, &client, &refresh_token(&granted)?).await?;
    assert_eq!((roles(&narrowed)?, &narrowed.json()["scope"]), (json!(["guest"]), &json!("mcp:read")));
    let page = admin.open(&admin.request(&client, &[])).await?;
    assert!(page.reply.text.contains("value=\"mcp:tools\" disabled"), "{page:?}");
    let (code, said) = managed.run(&["user", "roles", "admin", "root"])?;
    assert!(code == Some(1) && said.contains("the roles are one or more of admin, user, guest"), "{said}");
    managed.must(&["user", "roles", "admin", "user", "guest"])?;
    let again = refresh(&admin, &client, &refresh_token(&narrowed)?).await?;
    assert_eq!(roles(&again)?, json!(["user", "guest"]));
    Ok(())
}

#[tokio::test]
async fn who_is_removed_is_gone_with_everything_and_nobody_gets_the_sub() -> Result<()> {
    let managed = Managed::start()?;
    let server = &managed.server;
    let client = register(server).await?;
    let (bob, unused, token) = let_in(server, "bob", &client).await?;
    let path = bob.request(&client, &[]);
    assert_eq!(managed.list(&["consent", "list"])?.len(), 1);
    let said = managed.must(&["user", "remove", "bob"])?;
    assert!(said.contains("event=\"user_removed\" user=\"user_bob\""), "{said}");
    assert!(is_log_in_page(&bob.open(&path).await?));
    assert_eq!(error(&redeem(&bob, &client, &unused).await?), "invalid_grant");
    assert_eq!(error(&refresh(&bob, &client, &token).await?), "invalid_grant");
    assert_eq!(bob.log_in(&path, "bob", PASSWORD).await?.status, 401);
    assert!(managed.list(&["consent", "list"])?.is_empty());
    for name in ["alice", "guest"] {
        managed.must(&["user", "remove", name])?;
    }
    let (code, said) = managed.run(&["user", "remove", "admin"])?;
    assert!(code == Some(1) && said.contains("admin is the only person"), "{said}");
    let left = managed.list(&["user", "list"])?;
    assert_eq!(left.iter().map(|person| &person["sub"]).collect::<Vec<_>>(), ["user_admin"]);
    Ok(())
}

#[tokio::test]
async fn a_consent_that_is_withdrawn_and_a_client_that_is_removed_have_no_tokens_any_more() -> Result<()> {
    let managed = Managed::start()?;
    let server = &managed.server;
    let (one, other) = (register(server).await?, register(server).await?);
    let (alice, unused, token) = let_in(server, "alice", &one).await?;
    let (_, _, kept) = let_in(server, "alice", &other).await?;
    let (_, bobs_code, bobs_token) = let_in(server, "bob", &one).await?;
    let consents = managed.list(&["consent", "list", "--user", "alice"])?;
    assert_eq!(consents.len(), 2);
    for consent in &consents {
        let resource = format!("{}/mcp", server.url());
        assert_eq!((&consent["user"], &consent["resource"]), (&json!("alice"), &json!(resource)));
        assert_eq!(consent["scopes"], json!(["mcp:read", "mcp:tools"]));
        assert_eq!(consent["client_name"], "a test");
    }
    assert_eq!(managed.list(&["consent", "list"])?.len(), 3);

    let said = managed.must(&["consent", "withdraw", "--user", "alice", "--client", &one])?;
    let event = format!("event=\"consent_withdrawn\" user=\"user_alice\" client=\"{one}\"");
    assert!(said.contains(&event), "{said}");
    assert_eq!(error(&redeem(&alice, &one, &unused).await?), "invalid_grant");
    assert_eq!(error(&refresh(&alice, &one, &token).await?), "invalid_grant");
    for (client, before) in [(&one, false), (&other, true)] {
        let page = alice.open(&alice.request(client, &[])).await?;
        assert!(page.reply.text.contains("Allow access?"), "{page:?}");
        assert_eq!(page.reply.text.contains("You have let it in before."), before, "{page:?}");
    }
    let kept = refresh_token(&refresh(&alice, &other, &kept).await?)?;
    let bobs_token = refresh_token(&refresh(&alice, &one, &bobs_token).await?)?;
    assert_eq!(managed.list(&["consent", "list", "--user", "alice"])?.len(), 1);

    let clients = managed.list(&["client", "list"])?;
    assert_eq!(clients.iter().map(|client| &client["client_id"]).filter(|id| **id == one || **id == other).count(), 2);
    let table = managed.must(&["client", "list"])?;
    assert!(table.contains(&format!("{one}  \"a test\"")), "{table}");
    let said = managed.must(&["client", "remove", &one])?;
    assert!(said.contains(&format!("event=\"client_removed\" client=\"{one}\"")), "{said}");
    assert_eq!(error(&redeem(&alice, &one, &bobs_code).await?), "invalid_client");
    assert_eq!(error(&refresh(&alice, &one, &bobs_token).await?), "invalid_client");
    assert_eq!(alice.send(alice.get(&alice.request(&one, &[]))).await?.status, 400);
    assert_eq!(managed.list(&["client", "list"])?.len(), 1);
    assert_eq!(managed.list(&["consent", "list"])?.len(), 1);
    assert_eq!(refresh(&alice, &other, &kept).await?.status, 200);
    Ok(())
}

#[test]
fn what_is_not_there_is_said_and_each_command_has_an_example() -> Result<()> {
    let managed = Managed::start()?;
    let nobody = "there is no account named \"nobody\"";
    for (args, says) in [
        (&["user", "disable", "nobody"][..], nobody),
        (&["user", "enable", "nobody"], nobody),
        (&["user", "remove", "nobody"], nobody),
        (&["user", "roles", "nobody", "user"], nobody),
        (&["consent", "list", "--user", "nobody"], nobody),
        (&["consent", "withdraw", "--user", "nobody", "--client", "x"], nobody),
        (&["consent", "withdraw", "--user", "alice", "--client", "x"], "alice has let in no client \"x\""),
        (&["client", "remove", "x\u{1b}[31m"], "no client has registered itself as \"x\\u{1b}[31m\""),
    ] {
        let (code, said) = managed.run(args)?;
        assert!(code == Some(1) && said.contains(&format!("error: {says}")), "{args:?}: {said}");
        assert!(!said.contains("event="), "{args:?}: {said}");
        let help = managed.must(&[&args[..2], &["--help"]].concat())?;
        assert!(help.contains(&format!("Example: auth-server {}", args[..2].join(" "))), "{args:?}: {help}");
    }
    Ok(())
}

#[allow(clippy::too_many_lines)] // one visit to the page
#[tokio::test]
async fn a_person_sees_what_they_have_allowed_withdraws_it_and_logs_out() -> Result<()> {
    let managed = Managed::start()?;
    let server = &managed.server;
    let hostile = "<script>alert(1)</script>\"><b>";
    let metadata = json!({
        "client_name": hostile, "redirect_uris": ["http://localhost/callback"], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    let registered = Browser::new(server)?.register_as(&metadata).await?.json();
    let client = registered["client_id"].as_str().with_context(|| registered.to_string())?;
    let (_, unused, token) = let_in(server, "alice", client).await?;
    let (bob, _, bobs_token) = let_in(server, "bob", client).await?;

    // Who is not logged in does so, and comes back.
    let alice = Browser::new(server)?;
    let login = alice.open("/account").await?;
    assert!(is_log_in_page(&login) && !login.reply.text.contains("asks for access"), "{login:?}");
    let refused = alice.send(alice.post(&login.action, &[("username", "alice"), ("password", PASSWORD)])).await?;
    assert_eq!(refused.status, 403, "{refused:?}");
    let wrong = [("username", "alice"), ("password", "a wrong password"), ("csrf", &login.csrf)];
    assert_eq!(alice.send(alice.post(&login.action, &wrong)).await?.status, 401);
    let welcome = alice.log_in("/account", "alice", PASSWORD).await?;
    assert_eq!((welcome.status.as_u16(), welcome.header("location")), (303, "/account"));
    let page = alice.open("/account").await?;
    let shown = &page.reply.text;
    assert!(!shown.contains("<script") && !shown.contains("<b>"), "{shown}");
    assert!(shown.contains("&#60;script&#62;alert(1)&#60;/script&#62;&#34;&#62;&#60;b&#62;"), "{shown}");
    assert!(shown.contains("not checked, because the program registered itself"), "{shown}");
    assert!(shown.contains("See which tools and prompts there are; Run tools for you"), "{shown}");
    assert_eq!(page.reply.header("cache-control"), "no-store");
    assert_eq!(page.reply.header("x-frame-options"), "DENY");
    assert!(page.reply.header("content-security-policy").contains("frame-ancestors 'none'"), "{page:?}");

    // Forms that our page did not make for this browser, and one that asks for nothing.
    let theirs = bob.open("/account").await?.csrf;
    let consent = alice.open(&alice.request(client, &[])).await?.csrf;
    let own = page.csrf.as_str();
    let withdraw = |csrf| [("action", "withdraw"), ("client", client), ("csrf", csrf)];
    for csrf in ["", "nonsense", &theirs, &consent, &login.csrf] {
        for form in [&withdraw(csrf)[..], &[("action", "log_out"), ("csrf", csrf)]] {
            let reply = alice.send(alice.post("/account", form)).await?;
            assert_eq!(reply.status, 403, "{form:?}: {reply:?}");
        }
    }
    let elsewhere = alice.post("/account", &withdraw(own)).header("Origin", "https://evil.example");
    assert_eq!(alice.send(elsewhere).await?.status, 403);
    assert_eq!(alice.send(alice.post("/account", &[("csrf", own)])).await?.status, 400);
    let token = refresh_token(&refresh(&alice, client, &token).await?)?;
    // What Bob withdraws is his own, also if he names the client that Alice has let in.
    let reply = bob.send(bob.post("/account", &withdraw(&theirs))).await?;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/account"));
    assert_eq!(error(&refresh(&bob, client, &bobs_token).await?), "invalid_grant");
    let token = refresh_token(&refresh(&alice, client, &token).await?)?;

    assert_eq!(alice.send(alice.post("/account", &withdraw(own))).await?.status, 303);
    assert_eq!(error(&redeem(&alice, client, &unused).await?), "invalid_grant");
    assert_eq!(error(&refresh(&alice, client, &token).await?), "invalid_grant");
    let page = alice.open("/account").await?;
    assert!(page.reply.text.contains("No program may act for you.") && !page.reply.text.contains(client), "{page:?}");
    assert_eq!(alice.send(alice.post("/account", &withdraw(own))).await?.status, 303, "there is nothing left");

    // The session ends in the database, not in the browser alone.
    let before = alice.cookies.lock().unwrap().clone();
    let reply = alice.send(alice.post("/account", &[("action", "log_out"), ("csrf", own)])).await?;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/account"));
    assert!(reply.header("set-cookie").starts_with("mcp_session_") && reply.header("set-cookie").contains("Max-Age=0"));
    *alice.cookies.lock().unwrap() = before;
    assert!(is_log_in_page(&alice.open("/account").await?));
    assert_eq!(alice.send(alice.post("/account", &withdraw(own))).await?.status, 401);

    let log = server.stderr()?;
    let lines = |event: &str| -> Vec<&str> {
        let event = format!("event=\"{event}\"");
        log.lines().filter(|line| line.contains(&event)).collect()
    };
    for (event, user) in
        [("consent_withdrawn", "user_bob"), ("consent_withdrawn", "user_alice"), ("log_out", "user_alice")]
    {
        let user = format!("user=\"{user}\"");
        let found: Vec<_> = lines(event).into_iter().filter(|line| line.contains(&user)).collect();
        assert_eq!(found.len(), 1, "{event} {user}: {log}");
        assert!(found[0].contains("correlation_id=") && found[0].contains("peer=127.0.0.1"), "{found:?}");
        assert!(event == "log_out" || found[0].contains(&format!("client=\"{client}\"")), "{found:?}");
    }
    for secret in [own, &theirs, &token, &bobs_token, PASSWORD] {
        assert!(!log.contains(secret), "{secret:?} is in the log");
    }
    Ok(())
}
