//! Renewing a token (RFC 6749 §6): by one process at a time, and only where it came from.

use chrono::{TimeDelta, Utc};
use oauth::secret::{ExposeSecret, SecretString};

use crate::{
    credentials::Grant,
    failure::{Failure, Kind, Result},
    http::Http,
    identity::client_of,
    kept::{Kept, lock},
    token::{REFRESH_TOKEN, TokenEndpoint},
    urls::parse_url,
};

/// How long before its end a token is renewed: it must still be good when it arrives.
const AHEAD: TimeDelta = TimeDelta::seconds(30);

/// Renews a token that is about to expire. One that cannot be renewed is tried until the server refuses it.
///
/// # Errors
/// If the authorization server is there, and neither renews it nor says that it never will.
pub async fn refresh_ahead(http: &Http, kept: &mut Kept) -> Result<()> {
    let Some(grant) = kept.grant().filter(|_| !kept.is_fresh()) else { return Ok(()) };
    let Some(expires_at) = grant.expires_at.filter(|at| *at < Utc::now() + AHEAD) else { return Ok(()) };
    let token = grant.access_token.clone();
    match refresh(http, kept, &token).await {
        // The old token may still be accepted.
        Err(failure) if failure.kind == Kind::Network && Utc::now() < expires_at => {
            http.note("The token cannot be renewed just now; it is good for another moment.");
            Ok(())
        }
        Err(failure) if failure.is_nowhere() => {
            go_without(http, kept, &failure);
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}

/// Makes the MCP server say again where tokens come from.
pub fn go_without(http: &Http, kept: &mut Kept, failure: &Failure) {
    kept.withhold();
    http.note(&format!("The token cannot be renewed where it came from: {}.", failure.message));
}

/// Exchanges the refresh token, which may work only once: so one process does it, and the others use what it got.
/// `false`: there is nothing to refresh, or no longer.
///
/// # Errors
/// If the authorization server is not there, or gives no token.
pub async fn refresh(http: &Http, kept: &mut Kept, used: &SecretString) -> Result<bool> {
    let store = kept.store();
    let held = lock(&*store, &http.settings).await?;
    kept.reload(http)?;
    let Some(grant) = kept.grant().cloned() else { return Ok(false) };
    if grant.access_token.expose_secret() != used.expose_secret() {
        http.note("Another process has renewed the token meanwhile.");
        return Ok(true);
    }
    let (Some(refresh_token), Some(client)) = (&grant.refresh_token, client_of(&http.settings, &grant)) else {
        return Ok(false);
    };
    let url = parse_url(&grant.token_endpoint)
        .map_err(|why| Failure::authorization(format!("the token_endpoint is refused: {why}")))?;
    let endpoint = TokenEndpoint {
        http,
        url,
        issuer: grant.issuer.as_str(),
        client: &client,
        resource: grant.resource.as_str(),
        dpop: kept.dpop.as_ref(),
    };
    let form = [("grant_type", REFRESH_TOKEN), ("refresh_token", refresh_token.expose_secret())];
    match endpoint.ask("Renew the token (RFC 6749 §6)", &form).await {
        Ok(response) => {
            // The old refresh token may be used up by now, whatever the access token turns out to be.
            if let Some(rotated) = response.refresh_token() {
                kept.credentials.grant = Some(Grant { refresh_token: Some(rotated.clone()), ..grant.clone() });
                held.save(&kept.credentials)?;
            }
            let tokens = response.tokens()?;
            kept.keep(http, &*held, grant, tokens)?;
            Ok(true)
        }
        // Only these two say that it will never be renewed (RFC 6749 §5.2).
        Err(failure) if failure.is_oauth("invalid_grant") || failure.is_oauth("invalid_client") => {
            http.note("It cannot be renewed. There must be another authorization.");
            let registered = kept.credentials.registrations.get(&grant.issuer);
            if failure.is_oauth("invalid_client") && registered.is_some_and(|one| one.client_id == grant.client_id) {
                kept.credentials.registrations.remove(&grant.issuer);
            }
            kept.start_over();
            held.save(&kept.credentials)?;
            Ok(false)
        }
        Err(failure) if failure.is_nowhere() => Err(failure),
        Err(failure) => {
            Err(failure.advice("The tokens are kept: try again later, or log in anew with `Client::log_in`."))
        }
    }
}
