//! The token endpoint (RFC 6749 §3.2): all grants are one request with different parameters.

use oauth2::{Scope, TokenResponse as _, basic::BasicTokenResponse};
use serde_json::Value;
use url::Url;

use crate::{
    document::{Document, says_nothing, seconds},
    dpop::Dpop,
    failure::{Failure, Result},
    http::{Answer, Body, Http, Request, without},
    registration::Client,
    terminal,
};

pub const AUTHORIZATION_CODE: &str = "authorization_code";
pub const REFRESH_TOKEN: &str = "refresh_token";
pub const CLIENT_CREDENTIALS: &str = "client_credentials";
/// RFC 7523 §2.1.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// RFC 8693 §2.1.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// draft-ietf-oauth-identity-assertion-authz-grant.
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// Where tokens come from, and for what.
pub struct TokenEndpoint<'a> {
    pub http: &'a Http,
    pub url: Url,
    pub issuer: &'a str,
    pub client: &'a Client,
    pub resource: &'a str,
    pub dpop: Option<&'a Dpop>,
}

/// Tokens that have just arrived.
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: Option<String>,
    /// In seconds. `None`: the server did not say.
    pub expires_in: Option<u64>,
    /// `None`: what was asked for (RFC 6749 §5.1).
    pub scope: Option<Vec<String>>,
}

/// A token response that has not been judged yet.
pub struct TokenResponse {
    response: BasicTokenResponse,
    token_type: &'static str,
    exchange: u32,
}

impl TokenEndpoint<'_> {
    /// Asks for tokens by a grant: its parameters, the resource (RFC 8707), and who is asking.
    ///
    /// # Errors
    /// If they are missing, or cannot be used.
    pub async fn request(&self, why: &str, grant: &[(&'static str, &str)]) -> Result<Tokens> {
        self.ask(why, grant).await?.tokens()
    }

    /// The same, but for the judgement.
    ///
    /// # Errors
    /// If there is no token response.
    pub async fn ask(&self, why: &str, grant: &[(&'static str, &str)]) -> Result<TokenResponse> {
        let answer = self.send(why, grant).await?;
        // 200 is the rule (RFC 6749 §5.1, §5.2); some servers say 201, and some say 200 to an error.
        if !answer.status.is_success() || has_error(&answer.body) {
            let failure = oauth_failure(&answer, "the authorization server gives no token");
            return Err(match failure.oauth_error.as_deref() {
                Some("invalid_scope") => failure.advice("Name the scopes that this client may have with --scope."),
                _ => failure,
            });
        }
        let tokens = read(&answer.body).ok_or_else(|| {
            Failure::authorization("the authorization server's answer is no token response").at(answer.exchange)
        })?;
        self.http.secrets.add(tokens.access_token().secret(), "access token");
        if let Some(token) = tokens.refresh_token() {
            self.http.secrets.add(token.secret(), "refresh token");
        }
        let token_type = if self.dpop.is_some() { "DPoP" } else { "Bearer" };
        Ok(TokenResponse { response: tokens, token_type, exchange: answer.exchange })
    }

    /// Sends the request; and once more, if the server wants its nonce in the DPoP proof (RFC 9449 §8).
    async fn send(&self, why: &str, grant: &[(&'static str, &str)]) -> Result<Answer> {
        let mut form: Vec<_> = grant.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        form.push(("resource", self.resource.to_owned()));
        let mut request = Request::post(self.url.clone(), Body::Form(form));
        self.client.authenticate(self.http, self.issuer, &mut request)?;
        if let Body::Form(form) = &request.body {
            let names: Vec<&str> = form.iter().map(|(name, _)| *name).collect();
            request.url = without(&request.url, &names);
        }
        let Some(dpop) = self.dpop else { return self.http.send(why, &request).await };
        let headers = request.headers.len();
        request.headers.push(("DPoP".to_owned(), dpop.proof(&request.method, &request.url, None)?));
        let answer = self.http.send(why, &request).await?;
        let new_nonce = dpop.remember(&request.url, &answer.headers);
        if answer.status.is_client_error() && new_nonce && oauth_failure(&answer, "").is_oauth("use_dpop_nonce") {
            self.http.note("The authorization server wants its nonce in the proof. Once more, with it.");
            request.headers[headers].1 = dpop.proof(&request.method, &request.url, None)?;
            return self.http.send(why, &request).await;
        }
        Ok(answer)
    }
}

impl TokenResponse {
    pub fn refresh_token(&self) -> Option<&str> {
        self.response.refresh_token().map(|token| token.secret().as_str())
    }

    /// The tokens, if they can be used.
    ///
    /// # Errors
    /// If the access token is not valid, of another type, or has expired.
    pub fn tokens(self) -> Result<Tokens> {
        let TokenResponse { response: tokens, token_type: expected, exchange } = self;
        let access_token = tokens.access_token().secret().clone();
        let refresh_token = tokens.refresh_token().map(|token| token.secret().clone());
        let fail = |why: &str| Err(Failure::authorization(why).at(exchange));
        // `b64token` (RFC 6750 §2.1): what else could stand in a header, or end it?
        if access_token.is_empty() || !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return fail("the access token is empty, or has characters that no token may have");
        }
        if !tokens.token_type().as_ref().eq_ignore_ascii_case(expected) {
            return fail(&format!(
                "the access token is of type {:?} instead of {expected}",
                terminal::line(tokens.token_type().as_ref())
            ));
        }
        let expires_in = tokens.expires_in().map(|lifetime| lifetime.as_secs());
        if expires_in == Some(0) {
            return fail("the access token had expired when it arrived");
        }
        let scope = tokens.scopes().map(|scopes| {
            scopes.iter().map(|scope: &Scope| scope.to_string()).filter(|scope| !scope.is_empty()).collect()
        });
        Ok(Tokens { access_token, refresh_token, expires_in, scope })
    }
}

/// Reads a token response. A lifetime is any number, and what says nothing is absent: there is no empty refresh token
/// (RFC 6749 §A.17).
fn read(body: &[u8]) -> Option<BasicTokenResponse> {
    let mut document: Value = serde_json::from_slice(body).ok()?;
    let members = document.as_object_mut()?;
    for optional in ["expires_in", "refresh_token", "scope"] {
        if members.get(optional).is_some_and(says_nothing) {
            members.remove(optional);
        }
    }
    if let Some(lifetime) = members.get_mut("expires_in") {
        *lifetime = Value::from(seconds(lifetime)?);
    }
    serde_json::from_value(document).ok()
}

/// Exchanges the identity that a person has at their company for a grant that is good at the MCP server's authorization
/// server (Enterprise-Managed Authorization §4).
///
/// # Errors
/// If the identity provider refuses.
pub async fn identity_assertion(
    http: &Http,
    idp: &Url,
    client_id: &str,
    id_token: &str,
    (issuer, resource, scope): (&str, &str, Option<&str>),
) -> Result<String> {
    let mut form = vec![
        ("grant_type", TOKEN_EXCHANGE.to_owned()),
        ("requested_token_type", ID_JAG.to_owned()),
        ("audience", issuer.to_owned()),
        ("resource", resource.to_owned()),
        ("subject_token", id_token.to_owned()),
        ("subject_token_type", ID_TOKEN.to_owned()),
        ("client_id", client_id.to_owned()),
    ];
    form.extend(scope.map(|scope| ("scope", scope.to_owned())));
    let why = "Exchange the ID token at the identity provider for a grant (RFC 8693)";
    let answer = http.send(why, &Request::post(idp.clone(), Body::Form(form))).await?;
    if !answer.status.is_success() || has_error(&answer.body) {
        return Err(oauth_failure(&answer, "the identity provider gives no grant for this server"));
    }
    let at = |failure: Failure| failure.at(answer.exchange);
    // The grant is called `access_token`, but it is not an access token (RFC 8693 §2.2.1).
    let exchanged = Document::read("the identity provider's answer", &answer.body).map_err(at)?;
    let grant = exchanged.required_text("access_token").map_err(at)?;
    http.secrets.add(&grant, "assertion");
    if exchanged.required_text("issued_token_type").map_err(at)? != ID_JAG {
        return Err(at(Failure::authorization("the identity provider gave another token than an ID-JAG")));
    }
    Ok(grant)
}

/// The error that a body names (RFC 6749 §5.2), whatever its status.
fn error(body: &Value) -> Option<&str> {
    body["error"].as_str().filter(|error| !error.is_empty())
}

/// Whether an answer is an error, although its status is that of a success.
pub fn has_error(body: &[u8]) -> bool {
    serde_json::from_slice(body).is_ok_and(|body: Value| error(&body).is_some())
}

/// A refusal in the words of the server (RFC 6749 §5.2, RFC 7591 §3.2.2).
pub fn oauth_failure(answer: &Answer, what: &str) -> Failure {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = match (error(&body), body["error_description"].as_str().filter(|text| !text.is_empty())) {
        (None, _) => format!("it answers {}", answer.status),
        (Some(error), None) => terminal::line(error),
        (Some(error), Some(description)) => format!("{}, {}", terminal::line(error), terminal::line(description)),
    };
    let kind = if answer.status.is_server_error() { Failure::network } else { Failure::authorization };
    let mut failure = kind(format!("{what}: {said}")).at(answer.exchange);
    failure.oauth_error = error(&body).map(str::to_owned);
    failure.status = Some(answer.status.as_u16());
    failure
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_says_nothing_in_a_token_response_is_absent() {
        for nothing in [json!(null), json!("")] {
            let response = json!({
                "access_token": "a", "token_type": "Bearer", "refresh_token": nothing, "expires_in": nothing, "scope": nothing,
            });
            let response = read(response.to_string().as_bytes()).unwrap();
            assert!(
                response.refresh_token().is_none() && response.expires_in().is_none() && response.scopes().is_none()
            );
        }
        // These two must be there.
        for (name, value) in [("access_token", json!(null)), ("token_type", json!(null)), ("access_token", json!(5))] {
            let mut response = json!({ "access_token": "a", "token_type": "Bearer" });
            response[name] = value;
            assert!(read(response.to_string().as_bytes()).is_none(), "{response}");
        }
    }

    #[test]
    fn an_error_is_a_text_and_not_empty() {
        for (body, is_error) in [
            (json!({ "error": "bad_verification_code" }), true),
            (json!({ "ok": false, "error": "invalid_code" }), true),
            (json!({ "error": null, "access_token": "a" }), false),
            (json!({ "error": "", "access_token": "a" }), false),
            (json!(["error"]), false),
            (json!("error"), false),
        ] {
            assert_eq!(has_error(body.to_string().as_bytes()), is_error, "{body}");
        }
    }
}
