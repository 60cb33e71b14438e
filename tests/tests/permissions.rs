//! The permission table, in full: every operation × every set of scopes × every set of roles.

use std::fs;

use anyhow::Result;
use integration_tests::{
    Reply, Server,
    permissions::{PROMPTS, READ, Row, TABLE, TOOLS, check},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

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
            for row in rows {
                check(&server, row, &token, &scopes, roles.as_deref()).await?;
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
async fn steps_9_and_10_keep_to_the_table_with_the_admin_tool() -> Result<()> {
    run_table("step9", &TABLE).await?;
    run_table("step10", &TABLE).await
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
