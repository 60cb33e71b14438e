//! Who may do what: [`check`] stands before every method of the table.
//!
//! A role is the ceiling of what a person may do; a scope is what they let this client do. Both must
//! allow it. A role that forbids is final. A missing scope is not: the answer names the scope, so that
//! the client can ask the person for it (MCP 2026-07-28 "Scope Challenge Handling").

use actix_web::HttpResponse;
use common::claims::Role::{self, Admin, Guest, User};
use resource_server::{Refusal, ResourceServer};

use crate::{auth::Caller, methods::Call};

/// What a caller must have: one of the scopes, and one of the roles.
#[derive(Clone, Copy)]
pub struct Requirement {
    pub scopes: &'static [&'static str],
    pub roles: &'static [Role],
}

/// For tools without a requirement of their own: the same as `tools/call`.
pub const CALL_TOOLS: Requirement = Requirement { scopes: &["mcp:tools"], roles: &[Admin, User] };

/// The table of the methods. A method that is not in it is forbidden to everybody.
fn of_method(method: &str) -> Option<Requirement> {
    Some(match method {
        "tools/list" => Requirement { scopes: &["mcp:read", "mcp:tools"], roles: &[Admin, User, Guest] },
        "tools/call" => CALL_TOOLS,
        "prompts/list" => Requirement { scopes: &["mcp:read", "mcp:prompts"], roles: &[Admin, User, Guest] },
        "prompts/get" => Requirement { scopes: &["mcp:prompts"], roles: &[Admin, User, Guest] },
        _ => return None,
    })
}

/// Whether the caller's role meets all of these requirements. `tools/list` shows only such tools; one that only lacks a
/// scope is shown, so that the client can ask for it.
pub fn role_allows(caller: &Caller, requirements: &[Requirement]) -> bool {
    let roles = caller.roles();
    requirements.iter().all(|required| roles.iter().any(|role| required.roles.contains(role)))
}

/// Lets the call pass, or answers 403. `tool`: the requirement of the tool that the call names, in addition to the
/// method's. `server`: writes the refusal.
pub fn check(call: &Call<'_>, tool: Option<Requirement>, server: &ResourceServer) -> Result<(), HttpResponse> {
    let refuse = |refusal| Err(server.answer(&refusal, Some(call.id)).into());
    if matches!(&*call.method, "initialize" | "server/discover" | "ping") {
        return Ok(()); // a valid token is enough to ask what there is
    }
    let Some(method) = of_method(&call.method) else {
        return refuse(Refusal::forbidden("method_forbidden", "Nobody is permitted to call this method."));
    };
    let requirements = [method, tool.unwrap_or(method)];
    // The role comes first: a client must not ask for scopes that would not help.
    if !role_allows(call.caller, &requirements) {
        return refuse(server.role_missing(call.caller.verified()));
    }
    let granted = |required: &Requirement| required.scopes.iter().any(|scope| call.caller.scope.contains(scope));
    if !requirements.iter().all(granted) {
        // All that the call needs, granted or not: a client may ask for exactly this.
        return refuse(Refusal::insufficient_scope(&requirements.map(|required| required.scopes)));
    }
    Ok(())
}
