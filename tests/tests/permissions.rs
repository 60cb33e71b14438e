//! The permission table, in full: every operation × every set of scopes × every set of roles, each
//! compared with the table of the design, which is written once, here.

use std::fs;

use anyhow::Result;
use integration_tests::{Reply, Server};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

const READ: &str = "mcp:read";
const TOOLS: &str = "mcp:tools";
const PROMPTS: &str = "mcp:prompts";

/// An operation: method, name, scopes of which one is needed (none: no scope), roles of which one is.
type Row = (&'static str, Option<&'static str>, &'static [&'static str], &'static [&'static str]);

const TABLE: [Row; 8] = [
    ("initialize", None, &[], &[]),
    ("ping", None, &[], &[]),
    ("tools/list", None, &[READ, TOOLS], &["admin", "user", "guest"]),
    ("tools/call", Some("echo"), &[TOOLS], &["admin", "user"]),
    ("tools/call", Some("get_time"), &[TOOLS], &["admin", "user"]),
    ("prompts/list", None, &[READ, PROMPTS], &["admin", "user", "guest"]),
    ("prompts/get", Some("help"), &[READ, PROMPTS], &["admin", "user", "guest"]),
    ("tools/call", Some("list_users"), &[TOOLS], &["admin"]),
];

/// `None`: no `roles` claim at all, which counts as `user`.
fn role_sets() -> Vec<Option<Vec<&'static str>>> {
    vec![
        None,
        Some(vec![]),
        Some(vec!["root"]),
        Some(vec!["Admin"]),
        Some(vec!["guest"]),
        Some(vec!["user"]),
        Some(vec!["admin"]),
        Some(vec!["admin", "user"]),
        Some(vec!["guest", "user"]),
        Some(vec!["guest", "root"]),
    ]
}

fn scope_sets() -> Vec<Vec<&'static str>> {
    let pick =
        |set: usize| [READ, TOOLS, PROMPTS].into_iter().enumerate().filter(move |(bit, _)| set & (1 << bit) != 0);
    let mut sets: Vec<Vec<_>> = (0..8).map(|set| pick(set).map(|(_, scope)| scope).collect()).collect();
    sets.push(vec!["mcp:toolsets", "MCP:TOOLS", "mcp"]); // near misses are misses
    sets
}

fn token(server: &Server, scopes: &[&str], roles: Option<&[&str]>) -> Result<String> {
    let key = EncodingKey::from_rsa_pem(&fs::read(server.keys().join("mcp_private_key.pem"))?)?;
    let mut claims = json!({
        "iss": server.url(), "aud": format!("{}/mcp", server.url()), "sub": "user_test", "exp": 4_000_000_000_u64,
        "scope": scopes.join(" "),
    });
    if let Some(roles) = roles {
        claims["roles"] = json!(roles);
    }
    Ok(encode(&Header::new(Algorithm::RS256), &claims, &key)?)
}

async fn run_table(step: &str, rows: &[Row]) -> Result<()> {
    let server = Server::start(step)?;
    let mut checked = 0;
    for roles in role_sets() {
        for scopes in scope_sets() {
            let token = token(&server, &scopes, roles.as_deref())?;
            for (method, name, any_scope, any_role) in rows {
                let params = match *method {
                    "initialize" => json!({ "protocolVersion": "2025-11-25" }),
                    "tools/call" if *name == Some("echo") => json!({ "name": "echo", "arguments": { "message": "x" } }),
                    _ => name.map_or(json!({}), |name| json!({ "name": name })),
                };
                let reply = Reply::of(server.legacy(method, params).bearer_auth(&token)).await?;
                let case = format!("{step}: {method} {name:?}, scopes {scopes:?}, roles {roles:?}: {reply:?}");
                let role_ok = any_role.is_empty()
                    || roles.as_deref().unwrap_or(&["user"]).iter().any(|role| any_role.contains(role));
                let scope_ok = any_scope.is_empty() || scopes.iter().any(|scope| any_scope.contains(scope));
                let challenge = reply.headers.get("www-authenticate").map(|value| value.to_str()).transpose()?;
                let body: Value = reply.json();
                match (role_ok, scope_ok) {
                    (true, true) => {
                        assert_eq!(reply.status, 200, "{case}");
                        assert!(body["result"].is_object(), "{case}");
                    }
                    (true, false) => {
                        let challenge = challenge.unwrap_or_default();
                        assert_eq!(reply.status, 403, "{case}");
                        assert!(challenge.contains("error=\"insufficient_scope\""), "{case}");
                        assert!(challenge.contains(&format!("scope=\"{}\"", any_scope[0])), "{case}");
                        assert!(challenge.contains("resource_metadata=\""), "{case}");
                        assert_eq!(body["error"], "insufficient_scope", "{case}");
                    }
                    (false, _) => {
                        assert_eq!(reply.status, 403, "{case}");
                        assert_eq!(challenge, None, "{case}");
                        assert!(body["error_description"].is_string(), "{case}");
                    }
                }
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 10 * 9 * rows.len());
    Ok(())
}

#[tokio::test]
async fn step_8_keeps_to_the_table() -> Result<()> {
    run_table("step8", &TABLE[..7]).await
}

#[tokio::test]
async fn step_9_keeps_to_the_table_with_its_admin_tool() -> Result<()> {
    run_table("step9", &TABLE).await
}

#[tokio::test]
async fn the_tool_list_hides_what_the_role_forbids_and_shows_what_lacks_a_scope() -> Result<()> {
    let server = Server::start("step9")?;
    for (roles, shown) in [(["user"], false), (["admin"], true)] {
        let token = token(&server, &[READ], Some(&roles))?;
        let reply = Reply::of(server.modern("tools/list", json!({})).bearer_auth(&token)).await?;
        let body: Value = reply.json();
        let names: Vec<_> = body["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
        assert_eq!(names.contains(&&json!("list_users")), shown, "{body}");
        assert!(names.contains(&&json!("save_note")), "{body}");
        assert_eq!(body["result"]["cacheScope"], "private");
    }
    Ok(())
}
