//! The permission table, in full: every operation × every set of scopes × every set of roles.

use std::fs;

use anyhow::Result;
use integration_tests::{
    Reply, Server,
    permissions::{PROMPTS, READ, Row, TABLE, TOOLS, check},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

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
async fn clients_are_told_to_ask_for_the_basic_scopes_and_no_more() -> Result<()> {
    for step in ["step7", "step8", "step9", "step10"] {
        for (option, basic) in [
            (None, vec![READ, TOOLS]),
            (Some("mcp:read"), vec![READ]),
            (Some("mcp:prompts, mcp:read,mcp:read"), vec![READ, PROMPTS]),
            (Some("mcp:read mcp:tools mcp:prompts"), vec![READ, TOOLS, PROMPTS]),
        ] {
            if step == "step7" && option.is_some() {
                continue; // scopes are step 8's
            }
            let args: Vec<_> = option.iter().flat_map(|scopes| ["--basic-scopes", scopes]).collect();
            let server = Server::start_with(step, &args)?;
            for path in ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"] {
                let document = Reply::of(server.get(path)).await?.json();
                assert_eq!(document["scopes_supported"], json!(basic), "{step} {option:?}: {document}");
            }
            let document = Reply::of(server.get("/.well-known/oauth-authorization-server")).await?.json();
            assert_eq!(document["scopes_supported"], json!([READ, TOOLS, PROMPTS]), "{step}: all that there is");
            let nobody = Reply::of(server.legacy("tools/list", json!({}))).await?;
            let challenge = nobody.header("www-authenticate");
            let named = challenge.contains(&format!(", scope=\"{}\"", basic.join(" ")));
            assert_eq!(
                (named, challenge.contains("scope=")),
                (step != "step7", step != "step7"),
                "{step}: {challenge}"
            );
            let token = token(&server, &[READ], Some(&["user"]))?;
            let hello = Reply::of(server.modern("server/discover", json!({})).bearer_auth(&token)).await?.json();
            let oauth = &hello["result"]["_meta"]["io.github.mcp-auth-steps/oauth"];
            assert_eq!(oauth["scopes_supported"], json!(basic), "{step}: {hello}");
            // A refusal names the scope that the operation needs, whatever the basic scopes are.
            let (get, call) = (json!({ "name": "help" }), json!({ "name": "echo", "arguments": { "message": "x" } }));
            for (method, params, scope) in [("prompts/get", get, PROMPTS), ("tools/call", call, TOOLS)] {
                let reply = Reply::of(server.legacy(method, params).bearer_auth(&token)).await?;
                if step == "step7" {
                    assert_eq!(reply.status, 200, "{step}: {reply:?}");
                } else {
                    let challenge = reply.header("www-authenticate");
                    assert_eq!(reply.status, 403, "{step}: {reply:?}");
                    assert!(challenge.contains(&format!(", scope=\"{scope}\"")), "{step}: {challenge}");
                    assert_eq!(challenge.matches(" scope=").count(), 1, "{step}: {challenge}");
                }
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_tool_list_hides_what_the_role_forbids_and_shows_what_lacks_a_scope() -> Result<()> {
    let everybodys = ["echo", "get_time", "whoami", "save_note", "list_notes", "delete_note"];
    let admins: Vec<_> = everybodys.into_iter().chain(["list_users"]).collect();
    for step in ["step9", "step10"] {
        let server = Server::start(step)?;
        for (roles, shown) in [
            (None, &everybodys[..]),
            (Some(&["user"][..]), &everybodys),
            (Some(&["admin"]), &admins),
            (Some(&["admin", "user"]), &admins),
            (Some(&["guest", "user"]), &everybodys),
            (Some(&["guest"]), &[]),
            (Some(&["guest", "root", "Admin"]), &[]),
        ] {
            for scopes in [&[READ][..], &[TOOLS], &[READ, TOOLS, PROMPTS]] {
                let token = token(&server, scopes, roles)?;
                for request in [server.modern("tools/list", json!({})), server.legacy("tools/list", json!({}))] {
                    let reply = Reply::of(request.bearer_auth(&token)).await?;
                    let case = format!("{step} {roles:?} {scopes:?}: {reply:?}");
                    assert_eq!(reply.outcome(), (200, 0), "{case}");
                    let list = reply.json()["result"]["tools"].clone();
                    let names: Vec<_> = list.as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
                    assert_eq!(names, shown, "{case}");
                }
            }
        }
        let token = token(&server, &[READ], Some(&["guest"]))?;
        let reply = Reply::of(server.modern("tools/list", json!({})).bearer_auth(&token)).await?;
        assert_eq!(reply.json()["result"]["cacheScope"], "private", "{step}: {reply:?}");
    }
    Ok(())
}
