//! Who may do what: [`check_permission`] stands between the method table and the methods.
//!
//! A role is the ceiling of what a person may do; a scope is what they let this client do. Both must
//! allow it. A role that forbids is final. A missing scope is not: the answer names the scope, so that
//! the client can ask the person for it (MCP 2026-07-28 "Scope Challenge Handling").

use actix_web::{HttpResponse, web};
use common::claims::{
    Role,
    Role::{Admin, Guest, User},
};

use crate::{auth::Auth, rpc::Call};

/// One row of the table: one of the scopes, and one of the roles.
struct Rule {
    scopes: &'static [&'static str],
    roles: &'static [Role],
}

/// The table. What is not in it needs a valid token and no more.
fn rule(method: &str) -> Option<Rule> {
    Some(match method {
        "tools/list" => Rule { scopes: &["mcp:read", "mcp:tools"], roles: &[Admin, User, Guest] },
        "tools/call" => Rule { scopes: &["mcp:tools"], roles: &[Admin, User] },
        "prompts/list" | "prompts/get" => Rule { scopes: &["mcp:read", "mcp:prompts"], roles: &[Admin, User, Guest] },
        _ => return None,
    })
}

/// Lets the call pass, or answers 403.
pub fn check_permission(call: &Call<'_>) -> Result<(), HttpResponse> {
    let Some(rule) = rule(&call.method) else { return Ok(()) };
    let Some(auth) = call.http.app_data::<web::Data<Auth>>() else {
        return Err(HttpResponse::InternalServerError().finish());
    };
    let claims = call.user.claims();
    // The role comes first: a client must not ask for scopes that would not help.
    if !claims.roles().iter().any(|role| rule.roles.contains(role)) {
        return Err(auth.forbid(None, "Your role does not allow this."));
    }
    if !rule.scopes.iter().any(|scope| claims.scope.contains(scope)) {
        let description = format!("This needs the scope {}.", rule.scopes.join(" or "));
        return Err(auth.forbid(Some(rule.scopes[0]), &description));
    }
    Ok(())
}
