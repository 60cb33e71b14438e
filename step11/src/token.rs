//! The token endpoint (RFC 6749 §3.2): all grants are one request with different parameters.

use oauth2::{
    RefreshToken, Scope, TokenResponse as _,
    basic::{BasicErrorResponse, BasicTokenResponse},
};
use serde::Deserialize;
use url::Url;

use crate::{
    dpop::Dpop,
    failure::{Failure, Result},
    http::{Answer, Body, Http, Request},
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

impl TokenEndpoint<'_> {
    /// Asks for tokens by a grant: its parameters, the resource (RFC 8707), and who is asking.
    ///
    /// # Errors
    /// If there are none, or such that cannot be used.
    pub async fn request(&self, why: &str, grant: &[(&'static str, &str)]) -> Result<Tokens> {
        let answer = self.send(why, grant).await?;
        if answer.status != 200 {
            let failure = oauth_failure(&answer, "the authorization server gives no token");
            return Err(match failure.oauth_error.as_deref() {
                Some("invalid_scope") => failure.advice("Name the scopes that this client may have with --scope."),
                _ => failure,
            });
        }
        let tokens: BasicTokenResponse = serde_json::from_slice(&answer.body).map_err(|_| {
            Failure::authorization("the authorization server's answer is no token response").at(answer.exchange)
        })?;
        let access_token = tokens.access_token().secret().clone();
        self.http.secrets.add(&access_token, "access token");
        let refresh_token = tokens.refresh_token().map(RefreshToken::secret).cloned();
        if let Some(token) = &refresh_token {
            self.http.secrets.add(token, "refresh token");
        }
        let fail = |why: &str| Err(Failure::authorization(why).at(answer.exchange));
        // `b64token` (RFC 6750 §2.1): what else could stand in a header, or end it?
        if access_token.is_empty() || !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return fail("the access token is empty, or has characters that no token may have");
        }
        let expected = if self.dpop.is_some() { "DPoP" } else { "Bearer" };
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

    /// Sends the request; and once more, if the server wants its nonce in the DPoP proof (RFC 9449 §8).
    async fn send(&self, why: &str, grant: &[(&'static str, &str)]) -> Result<Answer> {
        let mut form: Vec<_> = grant.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        form.push(("resource", self.resource.to_owned()));
        let mut request = Request::post(self.url.clone(), Body::Form(form));
        self.client.authenticate(self.http, self.issuer, &mut request)?;
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

/// What an identity provider answers (RFC 8693 §2.2.1). The grant it gives is called `access_token`, and is none.
#[derive(Deserialize)]
struct ExchangedToken {
    access_token: String,
    issued_token_type: String,
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
    if answer.status != 200 {
        return Err(oauth_failure(&answer, "the identity provider gives no grant for this server"));
    }
    let exchanged: ExchangedToken = serde_json::from_slice(&answer.body)
        .map_err(|_| Failure::authorization("the identity provider's answer is no token").at(answer.exchange))?;
    http.secrets.add(&exchanged.access_token, "assertion");
    if exchanged.issued_token_type != ID_JAG {
        return Err(
            Failure::authorization("the identity provider gave another token than an ID-JAG").at(answer.exchange)
        );
    }
    Ok(exchanged.access_token)
}

/// A refusal in the words of the server (RFC 6749 §5.2, RFC 7591 §3.2.2).
pub fn oauth_failure(answer: &Answer, what: &str) -> Failure {
    let error: Option<BasicErrorResponse> = serde_json::from_slice(&answer.body).ok();
    let said = error.as_ref().map_or_else(
        || format!("it answers {}", answer.status),
        |error| {
            let description =
                error.error_description().map_or(String::new(), |text| format!(", {}", terminal::line(text)));
            format!("{}{description}", terminal::line(error.error().as_ref()))
        },
    );
    let kind = if answer.status.is_server_error() { Failure::network } else { Failure::authorization };
    let mut failure = kind(format!("{what}: {said}")).at(answer.exchange);
    failure.oauth_error = error.map(|error| error.error().as_ref().to_owned());
    failure
}
