//! How a client proves who it is (OAuth 2.1 §2.4): by a secret, by a signature (RFC 7523), or not at all.

use std::borrow::Cow;

use actix_web::{HttpRequest, http::header::AUTHORIZATION};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, Validation, decode};
use oauth::{
    claims::{Audience, JoseHeader, NumericDate},
    client_metadata::Jwks,
    identifiers::ClientId,
    jwk::Key,
    secret::{Digest, ExposeSecret, SecretString},
};
use serde::Deserialize;
use url::form_urlencoded;

use crate::{
    cimd::{self, Problem},
    client::Client,
    events,
    failure::Failure,
    params::Params,
    state::{ClientProblem, State},
};

/// By how many seconds a client's clock may differ from ours.
const ASSERTION_LEEWAY: i64 = 30;

/// Identifies and authenticates the client: by exactly one method, the one that it registered.
pub(super) async fn authenticate(state: &State, http: &HttpRequest, form: &Params) -> Result<Client, Failure> {
    state.store.remove_expired().await?; // each assertion leaves a row
    let basic = basic_credentials(http)?;
    let assertion = form.get("client_assertion");
    let used = usize::from(basic.is_some())
        + usize::from(form.get("client_secret").is_some())
        + usize::from(assertion.is_some());
    if used > 1 {
        return Err(Failure::bad("invalid_request", "Authenticate in one way, not in several."));
    }
    let refused = |why: Cow<'static, str>| {
        tracing::warn!(event = "client_refused", why = &*why, "a client did not prove who it is");
        Failure::client(why, basic.is_some())
    };
    let wrong = || refused("The client is not known, or it is not the one it says.".into());
    let claimed = match (&basic, assertion) {
        (Some((id, _)), _) => Some(id.clone()),
        (None, Some(assertion)) => subject(assertion),
        (None, None) => form.get("client_id").map(str::to_owned),
    };
    let Some(id) = claimed else {
        return Err(refused("The request does not say which client it comes from: client_id is missing.".into()));
    };
    if form.get("client_id").is_some_and(|other| other != id) {
        return Err(wrong());
    }
    // A client that is its own URL is looked up only if somebody has ever let it in, so that nobody can make us fetch.
    if cimd::is_client_id_url(&id).is_some()
        && !state.listed.contains_key(&ClientId::new(id.as_str()))
        && !state.store.has_family(&id).await?
    {
        return Err(wrong());
    }
    let client = match state.client(&id).await {
        Ok(Some(client)) => client,
        Err(ClientProblem::Document(Problem::Busy | Problem::TooSlow | Problem::Unreachable)) => {
            let why = "The client's metadata document cannot be had at the moment.";
            return Err(Failure::unavailable(why, cimd::RETRY_AFTER));
        }
        Ok(None) | Err(ClientProblem::Document(_)) => return Err(wrong()),
        Err(ClientProblem::Internal(cause)) => return Err(cause.into()),
    };
    events::client(client.id.as_str());
    let secret_fits = |secret: &str| client.secret_digest.as_ref().is_some_and(|digest| digest.fits(secret));
    let proven = match (client.auth_method(), &basic, form.get("client_secret"), assertion) {
        ("none", None, None, None) => true,
        ("client_secret_basic", Some((_, secret)), None, None) => secret_fits(secret.expose_secret()),
        ("client_secret_post", None, Some(secret), None) => secret_fits(secret),
        ("private_key_jwt", None, None, Some(assertion)) => assertion_fits(state, &client, form, assertion).await?,
        ("none", ..) => {
            let why = "This client is registered for none: it has no secret, and says its client_id alone.";
            return Err(refused(why.into()));
        }
        (method, ..) => {
            let why = format!("This client is registered for {method}, and has to authenticate so.");
            return Err(refused(why.into()));
        }
    };
    if proven { Ok(client) } else { Err(wrong()) }
}

/// `private_key_jwt` (RFC 7523 §3): signed with a key of the client's, for us, fresh, and only once.
async fn assertion_fits(state: &State, client: &Client, form: &Params, assertion: &str) -> Result<bool, Failure> {
    if form.get("client_assertion_type") != Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer") {
        return Ok(false);
    }
    let Some(header) = JoseHeader::of(assertion) else { return Ok(false) };
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) || header.crit.is_some() {
        return Ok(false);
    }
    // Only keys that this signature could mean count towards the five; others of the same name do not (RFC 7517 §4.2,
    // §4.5).
    let keys = client.metadata.jwks.iter().flat_map(Jwks::usable);
    let meant = |key: &Key| (header.kid.is_none() || key.kid == header.kid) && key.algorithms.contains(&header.alg);
    let mut validation = Validation::new(header.alg);
    validation.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
    validation.set_issuer(&[client.id.as_str()]);
    let us = [state.issuer.to_string(), format!("{}/token", state.issuer)];
    validation.set_audience(&us);
    validation.sub = Some(client.id.to_string());
    validation.validate_exp = false; // with our clock, below
    for key in keys.filter(meant).take(5) {
        let Ok(token) = decode::<Assertion>(assertion, &key.decoding, &validation) else { continue };
        // If an assertion had another audience as well, that audience could use it here (CVE-2025-27370).
        let for_us_alone = match &token.claims.aud {
            Audience::One(audience) => us.contains(audience),
            Audience::Several(all) => all.iter().all(|audience| us.contains(audience)),
        };
        if !for_us_alone || token.claims.iss != client.id.as_str() {
            return Ok(false);
        }
        let (expires_at, now) = (token.claims.exp.seconds(), state.store.now());
        let early = token.claims.nbf.is_some_and(|nbf| nbf.seconds() > now + ASSERTION_LEEWAY);
        if early || expires_at <= now - ASSERTION_LEEWAY || expires_at > now + 3600 {
            return Ok(false);
        }
        if token.claims.jti.is_empty() || token.claims.jti.len() > 256 {
            return Ok(false);
        }
        let digest = Digest::of(&format!("{}\0{}", client.id, token.claims.jti));
        return Ok(state.store.is_first_use(&digest, expires_at + ASSERTION_LEEWAY).await?);
    }
    Ok(false)
}

/// The claims that a client signs to prove who it is.
#[derive(Deserialize)]
struct Assertion {
    /// Must be exactly one: the library would accept a list that contains the client.
    iss: String,
    aud: Audience,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    jti: String,
}

/// The client that an assertion claims to be from. Nothing is verified yet.
fn subject(assertion: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        sub: String,
    }
    let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claimed>(&claims).ok().map(|claimed| claimed.sub)
}

/// `client_secret_basic` (RFC 6749 §2.3.1): id and secret, form-encoded, then base64.
fn basic_credentials(http: &HttpRequest) -> Result<Option<(String, SecretString)>, Failure> {
    let mut values = http.headers().get_all(AUTHORIZATION);
    let malformed = || Failure::client("The Authorization header is not HTTP Basic.", true);
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().map_err(|_| malformed())?,
        (Some(_), Some(_)) => return Err(malformed()),
    };
    let (scheme, encoded) = value.split_once(' ').ok_or_else(malformed)?;
    let decoded = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((id, secret)) if scheme.eq_ignore_ascii_case("Basic") => {
            Ok(Some((form_decoded(id), form_decoded(secret).into())))
        }
        _ => Err(malformed()),
    }
}

fn form_decoded(text: &str) -> String {
    form_urlencoded::parse(format!("x={}", text.replace('&', "%26")).as_bytes())
        .map(|(_, value)| value.into_owned())
        .next()
        .unwrap_or_default()
}
