//! Where the authorization server gives tokens, and takes them back.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::{
    es256::{self, Proof, hash},
    grants::{Asked, Code, Family, Grants, lock, now},
    state::State,
};

/// The parameters of a request.
struct Form(HashMap<String, String>);

impl Form {
    fn read(body: &[u8]) -> Self {
        Form(form_urlencoded::parse(body).into_owned().collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// Why there is no token.
type Refused = &'static str;

/// `POST /token`.
pub fn token(request: &HttpRequest, body: &[u8], state: &State) -> HttpResponse {
    let (form, mut grants) = (Form::read(body), lock(&state.grants));
    let proof = request.headers().get("dpop").and_then(|proof| proof.to_str().ok());
    let key = match proof.map(|proof| Proof::read(proof, state.has("unsigned-proof"))) {
        Some(None) => return refuse("invalid_dpop_proof", state),
        Some(Some(proof)) => Some(proof.thumbprint),
        _ => None,
    };
    let granted = match form.get("grant_type") {
        "authorization_code" => redeem(&form, &mut grants, key, state),
        "refresh_token" => refresh(&form, &mut grants, state),
        _ => Err("unsupported_grant_type"),
    };
    let mut answer = match granted {
        Ok(answer) => answer,
        Err(error) => return refuse(error, state),
    };
    for (fault, member) in
        [("no-token-type", "token_type"), ("no-expires-in", "expires_in"), ("no-refresh-tokens", "refresh_token")]
    {
        if state.has(fault) {
            answer.as_object_mut().map(|members| members.remove(member));
        }
    }
    let mut response = HttpResponse::Ok();
    if !state.has("tokens-in-caches") {
        response.insert_header((CACHE_CONTROL, "no-store"));
    }
    response.json(answer)
}

fn refuse(error: Refused, state: &State) -> HttpResponse {
    if state.has("token-error-as-html") {
        return HttpResponse::BadRequest().content_type("text/html").body("<p>No.</p>");
    }
    HttpResponse::BadRequest().json(json!({ "error": error }))
}

fn redeem(form: &Form, grants: &mut Grants, key: Option<String>, state: &State) -> Result<Value, Refused> {
    let code = form.get("code");
    let Some(Code { asked, family }) = grants.codes.get(code) else { return Err("invalid_grant") };
    let (asked, family) = (asked.clone(), *family);
    if state.has("no-code-works") {
        return Err("invalid_grant");
    }
    if let Err(error) = fits(form, &asked, state) {
        if state.has("drops-codes") {
            grants.codes.remove(code);
        }
        return Err(error);
    }
    if let Some(family) = family.filter(|_| !state.has("code-works-twice")) {
        grants.families[family].ended |= !state.has("replay-keeps-tokens");
        return Err("invalid_grant");
    }
    let family = grants.families.len();
    let Asked { client, scope, .. } = asked;
    grants.families.push(Family { client, scope: scope.clone(), key, refresh: Vec::new(), ended: false });
    if let Some(code) = grants.codes.get_mut(code) {
        code.family = Some(family);
    }
    Ok(answer(grants, family, &scope, form, state))
}

/// Whether a token request is that of the code's owner.
fn fits(form: &Form, asked: &Asked, state: &State) -> Result<(), Refused> {
    if form.get("client_id") != asked.client && !state.has("code-of-another-client") {
        return Err("invalid_grant");
    }
    let (uri, verifier, resource) = (form.get("redirect_uri"), form.get("code_verifier"), form.get("resource"));
    if !uri.is_empty() && uri != asked.redirect_uri && !state.has("any-redirect-uri-for-code") {
        return Err("invalid_grant");
    }
    let proven = match &asked.challenge {
        None => true,
        Some(_) if verifier.is_empty() => state.has("no-verifier-needed"),
        Some(challenge) => hash(verifier) == *challenge || verifier == challenge || state.has("any-verifier"),
    };
    if !proven {
        return Err("invalid_grant");
    }
    if !resource.is_empty() && resource != state.resource() && !state.has("resource-ignored") {
        return Err("invalid_target");
    }
    Ok(())
}

fn refresh(form: &Form, grants: &mut Grants, state: &State) -> Result<Value, Refused> {
    let token = form.get("refresh_token");
    let known = |family: &Family| family.refresh.iter().any(|one| one == token);
    let Some(index) = grants.families.iter().position(known) else { return Err("invalid_grant") };
    let family = &mut grants.families[index];
    if family.ended || form.get("client_id") != family.client && !state.has("refresh-of-another-client") {
        return Err("invalid_grant");
    }
    let age = family.refresh.iter().rev().position(|one| one == token).unwrap_or_default();
    let accepts_old = state.has("old-refresh-tokens") || state.has("race") && age <= 4;
    if age > 0 && !accepts_old {
        family.ended |= !state.has("reuse-keeps-family");
        return Err("invalid_grant");
    }
    let asked = form.get("scope");
    let has = |scope: &str| family.scope.split(' ').any(|one| one == scope);
    let widens = asked.split(' ').any(|scope| !scope.is_empty() && !has(scope));
    if widens && !state.has("refresh-widens") || !asked.is_empty() && state.has("refresh-takes-no-scope") {
        return Err("invalid_scope");
    }
    let narrows = !asked.is_empty() && !state.has("refresh-ignores-scope");
    let scope = if narrows { asked.to_owned() } else { family.scope.clone() };
    Ok(answer(grants, index, &scope, form, state))
}

/// An access token, and the family's next refresh token.
fn answer(grants: &mut Grants, index: usize, scope: &str, form: &Form, state: &State) -> Value {
    let jti = grants.name("token");
    let next = grants.name("refresh");
    let family = &mut grants.families[index];
    let mut claims = json!({
        "iss": state.base, "aud": state.resource(), "sub": "alice", "client_id": form.get("client_id"),
        "scope": scope, "iat": now(), "exp": now() + 600, "jti": jti,
    });
    if state.has("tokens-for-another-server") {
        claims["aud"] = json!("https://another.example/mcp");
    }
    if let Some(key) = family.key.as_ref().filter(|_| !state.has("says-bound")) {
        claims["cnf"] = json!({ "jkt": key });
    }
    if family.refresh.is_empty() || !state.has("no-rotation") {
        family.refresh.push(next);
    }
    json!({
        "access_token": es256::sign(&claims), "token_type": if family.key.is_some() { "DPoP" } else { "Bearer" },
        "expires_in": 600, "refresh_token": family.refresh.last(), "scope": scope,
    })
}

/// `POST /revoke` (RFC 7009).
pub fn revoke(body: &[u8], state: &State) -> HttpResponse {
    let (form, mut grants) = (Form::read(body), lock(&state.grants));
    let token = form.get("token");
    let known = grants.families.iter_mut().find(|family| family.refresh.iter().any(|one| one == token));
    match known {
        None if state.has("unknown-token-is-an-error") => {
            return HttpResponse::BadRequest().json(json!({ "error": "invalid_token" }));
        }
        Some(family) if family.client == form.get("client_id") || state.has("anybody-revokes") => {
            family.ended |= !state.has("revokes-nothing");
        }
        _ => {}
    }
    HttpResponse::Ok().finish()
}
