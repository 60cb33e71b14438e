//! `refresh_token`: a family's current token becomes an access token and its next refresh token.

use oauth::secret::{Digest, ExposeSecret};
use uuid::Uuid;

use super::{
    access_token::{self, Granted},
    parameters::{asked_scope, same_resource},
};
use crate::{client::Client, events, failure::Failure, params::Params, state::State};

/// The error for a refused refresh token. It is the same for every reason.
const NO_REFRESH_TOKEN: &str = "The refresh token is not known, was used, or has ended.";

/// `refresh_token` (OAuth 2.1 §4.3): each works once. If a used one comes again, two parties have it, so the family
/// ends.
pub(super) async fn refresh(state: &State, client: &Client, form: &Params) -> Result<Granted, Failure> {
    let invalid = || {
        tracing::warn!(event = "refresh_refused", "a refresh token is not known, or has ended");
        Failure::bad("invalid_grant", NO_REFRESH_TOKEN)
    };
    let token =
        form.get("refresh_token").ok_or_else(|| Failure::bad("invalid_request", "refresh_token is missing."))?;
    let Some(id) = state.refresh_tokens.family(token) else { return Err(invalid()) };
    let family = state.store.family(id).await?.filter(|family| family.client_id == client.id && !family.revoked);
    let Some(family) = family else { return Err(invalid()) };
    events::user(family.user.as_str());
    let used = Digest::of(token);
    if family.refresh_digest.as_ref() != Some(&used) {
        return Err(reused(state, id).await?);
    }
    same_resource(form, &family.resource)?;
    let scope = asked_scope(form, &family.scope, "A refresh may ask for less than was granted, not for more.")?;
    let person = access_token::person(state, &family, &scope).await?;
    let refresh_token = state.refresh_tokens.issue(id)?;
    if !state.store.rotate(id, &used, &Digest::of(refresh_token.expose_secret())).await? {
        return Err(reused(state, id).await?);
    }
    access_token::for_person(state, client, &family, &person, Some(refresh_token))
}

/// Ends the family, and answers as for any other refused token.
async fn reused(state: &State, family: Uuid) -> anyhow::Result<Failure> {
    tracing::warn!(event = "refresh_token_reused", "a used refresh token came again: its family has ended");
    state.store.revoke_family(family).await?;
    Ok(Failure::bad("invalid_grant", NO_REFRESH_TOKEN))
}
