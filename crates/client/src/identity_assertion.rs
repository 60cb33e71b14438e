//! A person whose company vouches for them (Enterprise-Managed Authorization, RFC 8693).

use oauth::{
    document::{Document, Malformed},
    identifiers::ClientId,
    secret::{ExposeSecret, SecretString},
};
use url::Url;

use crate::{
    exchange::{Body, Request},
    failure::{Failure, Result},
    http::Http,
    oauth_error::{has_error, oauth_failure},
};

/// RFC 8693 §2.1.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// draft-ietf-oauth-identity-assertion-authz-grant.
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// Exchanges the identity that a person has at their company for a grant that is good at the MCP server's authorization
/// server (Enterprise-Managed Authorization §4).
///
/// # Errors
/// If the identity provider refuses.
pub async fn identity_assertion(
    http: &Http,
    idp: &Url,
    client_id: &ClientId,
    id_token: &SecretString,
    (issuer, resource, scope): (&str, &str, &str),
) -> Result<String> {
    let mut form = vec![
        ("grant_type", TOKEN_EXCHANGE.to_owned()),
        ("requested_token_type", ID_JAG.to_owned()),
        ("audience", issuer.to_owned()),
        ("resource", resource.to_owned()),
        ("subject_token", id_token.expose_secret().to_owned()),
        ("subject_token_type", ID_TOKEN.to_owned()),
        ("client_id", client_id.to_string()),
    ];
    form.extend((!scope.is_empty()).then(|| ("scope", scope.to_owned())));
    let why = "Exchange the ID token at the identity provider for a grant (RFC 8693)";
    let answer = http.send(why, &Request::post(idp.clone(), Body::Form(form))).await?;
    if !answer.status.is_success() || has_error(&answer.body) {
        return Err(oauth_failure(&answer, "the identity provider gives no grant for this server"));
    }
    let at = |why: Malformed| Failure::malformed("the identity provider's answer", &why).at(answer.exchange);
    // The grant is called `access_token`, but it is not an access token (RFC 8693 §2.2.1).
    let exchanged = Document::read(&answer.body).map_err(at)?;
    let grant = exchanged.required_text("access_token").map_err(at)?;
    http.secrets.add(&grant, "assertion");
    if exchanged.required_text("issued_token_type").map_err(at)? != ID_JAG {
        return Err(
            Failure::authorization("the identity provider gave another token than an ID-JAG").at(answer.exchange)
        );
    }
    Ok(grant)
}
