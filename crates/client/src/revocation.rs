//! Withdrawing tokens (RFC 7009).
use oauth::secret::ExposeSecret;

use crate::{
    credentials::Grant,
    exchange::{Body, Request},
    failure::{Failure, Result},
    http::Http,
    identity::client_of,
    oauth_error::oauth_failure,
    urls::parse_url,
};

/// Withdraws tokens at the authorization server that issued them, bound to a key or not.
///
/// # Errors
/// If the server cannot do that, or not for us, does not answer, or refuses.
pub async fn revoke(http: &Http, grant: &Grant) -> Result<()> {
    let Some(endpoint) = &grant.revocation_endpoint else {
        return Err(Failure::authorization("the authorization server offers no way to"));
    };
    let endpoint = parse_url(endpoint)
        .map_err(|why| Failure::authorization(format!("the revocation_endpoint is refused: {why}")))?;
    // Withdrawing the refresh token withdraws the whole grant (RFC 7009 §2.1).
    let (token, hint) = match &grant.refresh_token {
        Some(token) => (token, "refresh_token"),
        None => (&grant.access_token, "access_token"),
    };
    let form = vec![("token", token.expose_secret().to_owned()), ("token_type_hint", hint.to_owned())];
    let mut request = Request::post(endpoint, Body::Form(form));
    let client = client_of(&http.settings, grant).ok_or_else(|| {
        Failure::authorization(format!(
            "only the client {} of {} may do that; name it with `Settings::client` and `Settings::issuer`, and its secret or key",
            grant.client_id, grant.issuer
        ))
    })?;
    client.authenticate(&http.secrets, grant.issuer.as_str(), &mut request)?;
    let answer = http.send("Withdraw the tokens (RFC 7009)", &request).await?;
    if !answer.status.is_success() {
        return Err(oauth_failure(&answer, "the authorization server refuses"));
    }
    Ok(())
}
