//! Who may do what: [`check`] stands before every method of the table.
//!
//! A role is the ceiling of what a person may do; a scope is what they let this client do. Both must
//! allow it. A role that forbids is final. A missing scope is not: the answer names the scope, so that
//! the client can ask the person for it (MCP 2026-07-28 "Scope Challenge Handling").

use actix_web::{HttpResponse, http::StatusCode};
use common::claims::Role::{self, Admin, Guest, User};

use crate::{
    auth::{Auth, Caller},
    methods::Call,
    reasons::Refusal,
};

/// What a caller must have: one of the scopes, and one of the roles.
#[derive(Clone, Copy)]
pub struct Requirement {
    pub scopes: &'static [&'static str],
    pub roles: &'static [Role],
}

/// For tools that are everybody's who may call tools at all.
pub const CALL_TOOLS: Requirement = Requirement { scopes: &["mcp:tools"], roles: &[Admin, User] };

/// The table of the methods. One that is not in it is nobody's.
fn of_method(method: &str) -> Option<Requirement> {
    Some(match method {
        "tools/list" => Requirement { scopes: &["mcp:read", "mcp:tools"], roles: &[Admin, User, Guest] },
        "tools/call" => CALL_TOOLS,
        "prompts/list" => Requirement { scopes: &["mcp:read", "mcp:prompts"], roles: &[Admin, User, Guest] },
        "prompts/get" => Requirement { scopes: &["mcp:prompts"], roles: &[Admin, User, Guest] },
        _ => return None,
    })
}

/// Whether the caller's role allows what has all of these requirements. `tools/list` shows only such tools; one that only
/// lacks a scope is shown, so that the client can ask for it.
pub fn role_allows(caller: &Caller, requirements: &[Requirement]) -> bool {
    let roles = caller.roles();
    requirements.iter().all(|required| roles.iter().any(|role| required.roles.contains(role)))
}

/// Lets the call pass, or answers 403. `tool`: what the tool that it names requires, which narrows what the method does.
pub fn check(call: &Call<'_>, tool: Option<Requirement>, auth: &Auth) -> Result<(), HttpResponse> {
    let forbidden = |reason, why| Refusal::forbidden(reason, why);
    if matches!(&*call.method, "initialize" | "server/discover" | "ping") {
        return Ok(()); // a valid token is enough to ask what there is
    }
    let Some(method) = of_method(&call.method) else {
        return Err(forbidden("method_forbidden", "Nobody is permitted to call this method.").respond(Some(call.id)));
    };
    let requirements = [method, tool.unwrap_or(method)];
    // The role comes first: a client must not ask for scopes that would not help.
    if !role_allows(call.caller, &requirements) {
        let advice = auth.providers.of(&call.caller.iss).map_or("", |provider| provider.advice(|advice| &advice.roles));
        let names = call.caller.roles.iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        let refusal = forbidden("roles_missing", "Your role does not allow this.").advise(advice);
        return Err(refusal.with("sub", &call.caller.sub).with("roles", &names).respond(Some(call.id)));
    }
    let granted = |required: &Requirement| required.scopes.iter().any(|scope| call.caller.scope.contains(scope));
    if let Some(Requirement { scopes, .. }) = requirements.iter().find(|required| !granted(required)) {
        let description = format!("This needs the scope {}.", scopes.join(" or "));
        let refusal = Refusal::new(StatusCode::FORBIDDEN, Some("insufficient_scope"), "scope_missing", description);
        return Err(Auth::clone(auth).challenge("scope", scopes[0]).refuse(&refusal, Some(call.id)));
    }
    Ok(())
}
