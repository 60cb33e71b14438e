//! Who may do what: [`check_permission`] stands before every method of the table.
//!
//! A role is the ceiling of what a person may do; a scope is what they let this client do. Both must
//! allow it. A role that forbids is final. A missing scope is not: the answer names the scope, so that
//! the client can ask the person for it (MCP 2026-07-28 "Scope Challenge Handling").

use actix_web::{HttpResponse, http::StatusCode, web};
use common::claims::Role::{self, Admin, Guest, User};

use crate::{auth::Auth, reasons::Refusal, rpc::Call};

/// One row of the table: one of the scopes, and one of the roles.
struct Rule {
    scopes: &'static [&'static str],
    roles: &'static [Role],
}

impl Rule {
    fn allows_role_of(&self, user: &crate::auth::User) -> bool {
        user.roles().iter().any(|role| self.roles.contains(role))
    }
}

/// The table. A method that is not in it is nobody's.
fn rule(method: &str, name: Option<&str>) -> Option<Rule> {
    Some(match method {
        "tools/list" => Rule { scopes: &["mcp:read", "mcp:tools"], roles: &[Admin, User, Guest] },
        "tools/call" if name == Some("list_users") => Rule { scopes: &["mcp:tools"], roles: &[Admin] },
        "tools/call" => Rule { scopes: &["mcp:tools"], roles: &[Admin, User] },
        "prompts/list" => Rule { scopes: &["mcp:read", "mcp:prompts"], roles: &[Admin, User, Guest] },
        "prompts/get" => Rule { scopes: &["mcp:prompts"], roles: &[Admin, User, Guest] },
        _ => return None,
    })
}

/// Whether the caller's role allows a tool: `tools/list` shows no other. One that only lacks a scope is shown, so that
/// the client can ask for it.
pub fn role_allows(user: &crate::auth::User, tool: &str) -> bool {
    rule("tools/call", Some(tool)).is_some_and(|rule| rule.allows_role_of(user))
}

/// Lets the call pass, or answers 403.
pub fn check_permission(call: &Call<'_>) -> Result<(), HttpResponse> {
    let forbidden = |reason, why| Refusal::forbidden(reason, why).respond(Some(call.id));
    if matches!(&*call.method, "initialize" | "server/discover" | "ping") {
        return Ok(()); // a valid token is enough to ask what there is
    }
    let Some(rule) = rule(&call.method, call.name().as_deref()) else {
        return Err(forbidden("method_forbidden", "Nobody is permitted to call this method."));
    };
    let Some(auth) = call.http.app_data::<web::Data<Auth>>() else {
        return Err(forbidden("method_forbidden", "There is nobody to say who may.")); // main.rs mounts no Auth
    };
    // The role comes first: a client must not ask for scopes that would not help.
    if !rule.allows_role_of(call.user) {
        let advice = auth.providers.of(&call.user.iss).map_or("", |provider| provider.advice(|advice| &advice.roles));
        let names = call.user.roles.iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        let refusal = Refusal::forbidden("roles_missing", "Your role does not allow this.").advise(advice);
        return Err(refusal.with("sub", &call.user.sub).with("roles", &names).respond(Some(call.id)));
    }
    if !rule.scopes.iter().any(|scope| call.user.scope.contains(scope)) {
        let description = format!("This needs the scope {}.", rule.scopes.join(" or "));
        let refusal = Refusal::new(StatusCode::FORBIDDEN, Some("insufficient_scope"), "scope_missing", description);
        return Err(Auth::clone(auth).challenge("scope", rule.scopes[0]).refuse(&refusal, Some(call.id)));
    }
    Ok(())
}
