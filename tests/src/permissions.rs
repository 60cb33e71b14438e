//! The permission table of the design, which is written once, here, and the check of a server's answer against it.

use anyhow::Result;
use serde_json::json;

use crate::{Reply, Server};

pub const READ: &str = "mcp:read";
pub const TOOLS: &str = "mcp:tools";
pub const PROMPTS: &str = "mcp:prompts";

/// An operation: method, name, scopes of which one is needed (none: no scope), roles of which one is.
pub type Row = (&'static str, Option<&'static str>, &'static [&'static str], &'static [&'static str]);

pub const TABLE: [Row; 8] = [
    ("initialize", None, &[], &[]),
    ("ping", None, &[], &[]),
    ("tools/list", None, &[READ, TOOLS], &["admin", "user", "guest"]),
    ("tools/call", Some("echo"), &[TOOLS], &["admin", "user"]),
    ("tools/call", Some("get_time"), &[TOOLS], &["admin", "user"]),
    ("prompts/list", None, &[READ, PROMPTS], &["admin", "user", "guest"]),
    ("prompts/get", Some("help"), &[PROMPTS], &["admin", "user", "guest"]),
    ("tools/call", Some("list_users"), &[TOOLS], &["admin"]),
];

/// Asks for an operation with a token of these scopes and roles, and compares the answer with the table. A token without
/// any `roles` counts as that of a `user`.
///
/// # Errors
/// If there is no answer.
///
/// # Panics
/// If it is not as the table says.
pub async fn check(server: &Server, row: &Row, token: &str, scopes: &[&str], roles: Option<&[&str]>) -> Result<()> {
    let (method, name, any_scope, any_role) = row;
    let reply = Reply::of(operation(server, row).bearer_auth(token)).await?;
    let case = format!("{method} {name:?}, scopes {scopes:?}, roles {roles:?}: {reply:?}");
    let role_ok = any_role.is_empty() || roles.unwrap_or(&["user"]).iter().any(|role| any_role.contains(role));
    let scope_ok = any_scope.is_empty() || scopes.iter().any(|scope| any_scope.contains(scope));
    let challenge = reply.headers.get("www-authenticate").map(|value| value.to_str()).transpose()?;
    match (role_ok, scope_ok) {
        (true, true) => {
            assert_eq!(reply.status, 200, "{case}");
            assert!(reply.json()["result"].is_object(), "{case}");
        }
        (true, false) => {
            let challenge = challenge.unwrap_or_default();
            assert_eq!(reply.status, 403, "{case}");
            assert!(challenge.contains("error=\"insufficient_scope\""), "{case}");
            assert!(challenge.contains(&format!("scope=\"{}\"", any_scope[0])), "{case}");
            assert!(challenge.contains("resource_metadata=\""), "{case}");
            let said = reply.refusal(&json!(1));
            assert_eq!(said["error"], "insufficient_scope", "{case}");
            let description = said["error_description"].as_str().unwrap_or_default();
            assert!(challenge.contains(&format!("error_description=\"{description}\"")), "{case}");
        }
        (false, _) => {
            assert_eq!(reply.status, 403, "{case}");
            assert_eq!(challenge, None, "{case}");
            assert_eq!(reply.refusal(&json!(1))["error"], "forbidden", "{case}");
        }
    }
    Ok(())
}

/// The request of a row, without a token.
pub fn operation(server: &Server, (method, name, ..): &Row) -> reqwest::RequestBuilder {
    let params = match *method {
        "initialize" => json!({ "protocolVersion": "2025-11-25" }),
        "tools/call" if *name == Some("echo") => json!({ "name": "echo", "arguments": { "message": "x" } }),
        _ => name.map_or(json!({}), |name| json!({ "name": name })),
    };
    server.legacy(method, params)
}
