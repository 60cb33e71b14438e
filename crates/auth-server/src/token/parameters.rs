//! The parameters that several grants have in common.

use actix_web::HttpRequest;
use oauth::{identifiers::Resource, scope::Scopes};

use crate::{
    body::sends,
    failure::Failure,
    params::{Params, known_scopes},
    resource,
};

/// Parameters that may be there once (RFC 6749 §3.2).
const ONCE: [&str; 12] = [
    "grant_type",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "token",
    "resource",
];

/// The form of a well-formed request: everything is in the body, and each parameter is there once.
pub(super) fn form(http: &HttpRequest, body: &[u8]) -> Result<Params, Failure> {
    let invalid = |why| Failure::bad("invalid_request", why);
    if !sends(http, "application/x-www-form-urlencoded") {
        return Err(invalid("Send Content-Type: application/x-www-form-urlencoded."));
    }
    if !http.query_string().is_empty() {
        return Err(invalid("Parameters belong into the body, not into the URL."));
    }
    let text = std::str::from_utf8(body).map_err(|_| invalid("The body is not UTF-8."))?;
    let params = Params::parse(text).ok_or_else(Failure::too_large)?;
    if params.repeats(&ONCE) {
        return Err(invalid("A parameter appears more than once."));
    }
    Ok(params)
}

/// The scopes that a token request asks for; without the parameter, all that are allowed. Unknown scopes are left out,
/// as at the authorization endpoint; at least one must remain, and all must be allowed (RFC 6749 §6).
pub(super) fn asked_scope(form: &Params, allowed: &Scopes, too_much: &'static str) -> Result<Scopes, Failure> {
    let Some(asked) = form.get("scope") else { return Ok(allowed.clone()) };
    let known = known_scopes(asked);
    if known.is_empty() {
        return Err(Failure::bad("invalid_scope", "None of these scopes is known here."));
    }
    if !known.iter().all(|scope| allowed.contains(scope)) {
        return Err(Failure::bad("invalid_scope", too_much));
    }
    Ok(Scopes::parse(&known.join(" ")).map_err(anyhow::Error::msg)?)
}

/// RFC 8707 §2.2: a token request may name the resource again, but no other.
pub(super) fn same_resource(form: &Params, granted: &Resource) -> Result<(), Failure> {
    if form.get("resource").is_some_and(|asked| !resource::is_same(granted.as_str(), asked)) {
        return Err(Failure::bad("invalid_target", "The resource is not that of the authorization request."));
    }
    Ok(())
}
