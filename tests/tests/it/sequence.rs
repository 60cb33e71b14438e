//! The sequence in the READMEs of steps 7 to 9 is what really happens: a log-in is played, each exchange
//! written down, and the drawing compared with the README's. `UPDATE=1 cargo test …` writes it there.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use integration_tests::{
    Reply, Server,
    browser::{Browser, PASSWORD, page, parameters, redemption, start},
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

const WHO: &str = "    participant C as Client
    participant B as Browser
    participant M as MCP server
    participant A as Authorization server
";

/// Plays, and writes down what it sees.
struct Play<'a> {
    server: &'a Server,
    browser: Browser<'a>,
    drawing: String,
}

impl Play<'_> {
    fn line(&mut self, from: char, arrow: &str, to: char, says: &str) -> Result<()> {
        let says = says.replace(self.server.url().trim_start_matches("http://"), "localhost:9000");
        Ok(writeln!(self.drawing, "    {from}{arrow}{to}: {says}")?)
    }

    /// One exchange. `says` describes what matters in the answer.
    async fn exchange(
        &mut self,
        (from, to): (char, char),
        request: RequestBuilder,
        asks: &str,
        says: impl Fn(&Reply) -> String,
    ) -> Result<Reply> {
        self.line(from, "->>", to, asks)?;
        let reply = if from == 'B' { self.browser.send(request).await? } else { Reply::of(request).await? };
        let said = format!("{} {}", reply.status.as_u16(), says(&reply));
        self.line(to, "-->>", from, said.trim_end())?;
        Ok(reply)
    }

    /// An MCP request, with a token or without.
    async fn call(&mut self, method: &str, params: Value, token: Option<&str>) -> Result<Reply> {
        let name = params["name"].as_str().map_or(String::new(), |name| format!(" {name}"));
        let request = self.server.modern(method, params);
        let request = token.map_or_else(|| self.server.modern(method, json!({})), |token| request.bearer_auth(token));
        let with = if token.is_some() { " with the token" } else { "" };
        self.exchange(('C', 'M'), request, &format!("POST /mcp {method}{name}{with}"), |reply| {
            let challenge = reply.header("www-authenticate");
            let param = |name: &str| {
                let value = challenge.split_once(&format!("{name}=\""))?.1.split_once('"')?.0;
                Some(format!("{name}={value}"))
            };
            ["error", "scope", "resource_metadata"].into_iter().filter_map(param).collect::<Vec<_>>().join(", ")
        })
        .await
    }

    /// From the client's question to its token.
    async fn authorize(&mut self, client: &str, scope: &str, allow: &[&str]) -> Result<String> {
        let path = self.browser.request(client, &[("scope", scope)]);
        let asks = format!("GET /authorize for {scope}");
        let first = self.browser.get(&path);
        let title = |reply: &Reply| {
            let title = reply.text.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
            title.map_or(String::new(), |(title, _)| format!("({title})"))
        };
        self.line('C', "->>", 'B', "opens the authorization endpoint")?;
        let mut shown = page(self.exchange(('B', 'A'), first, &asks, title).await?)?;
        if shown.action.starts_with("/login") {
            let form = [("username", "alice"), ("password", PASSWORD), ("csrf", &shown.csrf)];
            let request = self.browser.post(&shown.action, &form);
            let reply = self
                .exchange(('B', 'A'), request, "POST /login (alice)", |_| "and a session cookie".to_owned())
                .await?;
            let next = self.browser.get(reply.header("location"));
            shown = page(self.exchange(('B', 'A'), next, "GET /authorize", title).await?)?;
        }
        let mut form = vec![("csrf", shown.csrf.as_str()), ("decision", "allow")];
        form.extend(allow.iter().map(|scope| ("scope", *scope)));
        let request = self.browser.post(&shown.action, &form);
        let asks = format!("POST /authorize (allow {})", allow.join(" "));
        let names =
            |reply: &Reply| -> BTreeMap<String, String> { parameters(reply.header("location")).unwrap_or_default() };
        let reply = self
            .exchange(('B', 'A'), request, &asks, |reply| {
                format!("to the client, with {}", names(reply).into_keys().collect::<Vec<_>>().join(", "))
            })
            .await?;
        let code = names(&reply).remove("code").context("no code")?;
        self.line('B', "->>", 'C', "GET /callback with the code")?;
        let request = self.browser.post("/token", &redemption(client, &code));
        let reply = self
            .exchange(('C', 'A'), request, "POST /token (code, code_verifier)", |reply| {
                let said = |(name, value): (&String, &Value)| match (name.as_str(), value.as_str()) {
                    ("scope" | "token_type", Some(value)) => format!("{name}={value}"),
                    _ => name.clone(), // a secret, or a number
                };
                reply
                    .json()
                    .as_object()
                    .map(|all| all.iter().map(said).collect::<Vec<_>>().join(", "))
                    .unwrap_or_default()
            })
            .await?;
        reply.json()["access_token"].as_str().map(str::to_owned).context("no token")
    }
}

async fn play(step: u8) -> Result<String> {
    let server = start(&format!("step{step}"))?;
    let mut play =
        Play { server: &server, browser: Browser::new(&server)?, drawing: format!("sequenceDiagram\n{WHO}") };
    let documents = |name: &'static str| {
        move |reply: &Reply| format!("{name}: {}", reply.json()[name].to_string().replace('"', ""))
    };

    play.call("tools/list", json!({}), None).await?;
    let path = "/.well-known/oauth-protected-resource/mcp";
    play.exchange(('C', 'M'), server.get(path), &format!("GET {path}"), documents("authorization_servers")).await?;
    let path = "/.well-known/oauth-authorization-server";
    play.exchange(('C', 'A'), server.get(path), &format!("GET {path}"), documents("authorization_endpoint")).await?;
    let metadata = json!({
        "client_name": "a client", "redirect_uris": ["http://localhost/callback"], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    let request = server.request(reqwest::Method::POST, "/register");
    let request = request.header("Content-Type", "application/json").body(metadata.to_string());
    let reply = play.exchange(('C', 'A'), request, "POST /register", |_| "client_id".to_owned()).await?;
    let client = reply.json()["client_id"].as_str().context("no client_id")?.to_owned();

    let both = ["mcp:read", "mcp:tools"];
    let token = play.authorize(&client, "mcp:read mcp:tools", if step == 7 { &both } else { &both[..1] }).await?;
    let reply = play.call("tools/list", json!({}), Some(&token)).await?;
    assert_eq!(reply.status, 200, "{reply:?}");
    if step > 7 {
        let call = match step {
            8 => json!({ "name": "echo", "arguments": { "message": "hi" } }),
            _ => json!({ "name": "whoami", "arguments": {} }),
        };
        let reply = play.call("tools/call", call.clone(), Some(&token)).await?;
        assert_eq!(reply.status, 403, "{reply:?}");
        let token = play.authorize(&client, "mcp:read mcp:tools", &both).await?;
        let reply = play.call("tools/call", call, Some(&token)).await?;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    Ok(play.drawing)
}

#[tokio::test]
async fn the_sequences_in_the_readmes_are_what_happens() -> Result<()> {
    for step in 7..=9 {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../step{step}/README.md"));
        let readme = fs::read_to_string(&file)?;
        let (before, rest) = readme.split_once("```mermaid\n").with_context(|| format!("no drawing in step {step}"))?;
        let (drawn, after) = rest.split_once("```").context("the drawing has no end")?;
        let seen = play(step).await?;
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, format!("{before}```mermaid\n{seen}```{after}"))?;
        } else {
            assert_eq!(drawn, seen, "step {step}: run this test with UPDATE=1, and read what it changed");
        }
    }
    Ok(())
}
