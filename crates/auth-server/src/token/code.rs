//! `authorization_code`: a code, and the proof (PKCE) that it comes from the client that asked for it.

use oauth::secret::{Digest, ExposeSecret};

use super::{
    access_token::{self, Granted},
    parameters::same_resource,
};
use crate::{client::Client, events, failure::Failure, params::Params, state::State, store::Taken};

/// `authorization_code` (OAuth 2.1 §4.1.3). A code works once. A second request that could have redeemed it ends the tokens
/// that the first one gave, since one of the two must have stolen the code.
pub(super) async fn redeem(state: &State, client: &Client, form: &Params) -> Result<Granted, Failure> {
    let invalid = |why| {
        tracing::warn!(event = "code_refused", why, "a code was not exchanged");
        Failure::bad("invalid_grant", why)
    };
    let replayed = || {
        tracing::warn!(event = "code_replayed", "a code came again: all that it gave has ended");
        Failure::bad("invalid_grant", "The code was used before.")
    };
    let missing = |why| Failure::bad("invalid_request", why);
    let code = form.get("code").ok_or_else(|| missing("code is missing."))?;
    let verifier = form.get("code_verifier").ok_or_else(|| missing("code_verifier is missing."))?;
    let digest = Digest::of(code);
    let Some(code) = state.store.code(&digest).await? else {
        return Err(invalid("The code is not known, or has expired."));
    };
    let family = state.store.family(code.family).await?.filter(|family| family.client_id == client.id);
    let Some(family) = family else { return Err(invalid("The code is not known, or has expired.")) };
    events::user(family.user.as_str());
    // OAuth 2.1 §10.2: OAuth 2.0 clients send it; newer clients need not, because PKCE binds the code to the client
    // that asked for it.
    if form.get("redirect_uri").is_some_and(|redirect_uri| redirect_uri != code.redirect_uri.as_str()) {
        return Err(invalid("redirect_uri is not that of the authorization request."));
    }
    if !verifier_fits(verifier, &code.code_challenge) {
        return Err(invalid("code_verifier does not fit the code_challenge."));
    }
    same_resource(form, &family.resource)?;
    // Only now: somebody who has seen a code, and could not have redeemed it, must not end the tokens that it gave.
    if code.used {
        state.store.revoke_family(family.id).await?;
        return Err(replayed());
    }
    if code.expires_at <= state.store.now() || family.revoked {
        return Err(invalid("The code is not known, or has expired."));
    }
    let person = access_token::person(state, &family, &family.scope).await?;
    let refresh_token =
        if client.may_use("refresh_token") { Some(state.refresh_tokens.issue(family.id)?) } else { None };
    let refresh_digest = refresh_token.as_ref().map(|token| Digest::of(token.expose_secret()));
    match state.store.take_code(&digest, family.id, refresh_digest.as_ref()).await? {
        Taken::Now => access_token::for_person(state, client, &family, &person, refresh_token),
        Taken::Ended => Err(invalid("The code is not known, or has expired.")),
        Taken::Before => {
            state.store.revoke_family(family.id).await?;
            Err(replayed())
        }
    }
}

/// PKCE (RFC 7636 §4.6), S256.
fn verifier_fits(verifier: &str, challenge: &str) -> bool {
    let allowed = verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    (43..=128).contains(&verifier.len()) && allowed && Digest::kept(challenge).fits(verifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_verifier_of_the_challenge_fits_and_only_if_it_is_one() {
        let of = |length| "a".repeat(length);
        for (verifier, fits) in [
            (of(43), true),
            (of(128), true),
            (of(39) + "-._~", true),
            (of(42), false),
            (of(129), false),
            (of(42) + "+", false),
            (of(42) + " ", false),
            (of(42) + "é", false),
        ] {
            assert_eq!(verifier_fits(&verifier, Digest::of(&verifier).as_str()), fits, "{verifier}");
            assert!(!verifier_fits(&verifier, Digest::of(&of(44)).as_str()), "{verifier}");
        }
    }
}
