//! The token endpoint (OAuth 2.1 §3.2, §4): codes, refresh tokens and client credentials become access
//! tokens (RFC 9068); and the end of a refresh family (RFC 7009).

use std::borrow::Cow;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{AUTHORIZATION, CONTENT_TYPE},
    web,
};
use aws_lc_rs::{constant_time, digest as sha};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use common::{
    claims::{Audience, Claims, JoseHeader, NumericDate, SCOPES, Scopes},
    http::{Body, HttpError},
};
use jsonwebtoken::{Algorithm, Header, Validation, decode, encode};
use oauth::{client_metadata::Jwks, jwk::Key};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;
use uuid::Uuid;

use crate::{
    State,
    cimd::{self, Problem},
    clients::{Client, ClientProblem},
    events,
    failure::Failure,
    params::{Params, known_scopes},
    resource,
    store::digest,
};

/// How long an access token is good for, in seconds: ten minutes.
const ACCESS_LIFETIME: i64 = 600;
/// By how many seconds a client's clock may differ from ours.
const ASSERTION_LEEWAY: i64 = 30;
/// What is said of a refresh token that gives nothing, whatever the reason.
const NO_REFRESH_TOKEN: &str = "The refresh token is not known, was used, or has ended.";
/// Whether somebody let a client in whose consent still holds.
pub(crate) const HAS_FAMILY: &str = "SELECT EXISTS (SELECT 1 FROM families WHERE client_id = ? AND expires_at > ?)";

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

/// RFC 6749 §5.1.
#[derive(Serialize)]
struct Granted {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    scope: String,
}

/// One consent, and all the tokens that follow from it.
struct Family {
    id: Uuid,
    client_id: String,
    user: String,
    scope: String,
    resource: String,
    revoked: bool,
    /// Of its refresh token, if it has one: the used ones are known by their signature ([`crate::refresh_token`]).
    refresh_digest: Option<String>,
}

/// `POST /token`.
pub(crate) async fn token(state: web::Data<State>, http: HttpRequest, body: Result<Body, HttpError>) -> HttpResponse {
    let answer = async {
        let form = form(&http, &body.as_ref().map_err(Failure::body)?.0)?;
        state.store.remove_expired().await?;
        let client = state.authenticate(&http, &form).await?;
        match form.get("grant_type") {
            Some("authorization_code") => state.redeem(&client, &form).await,
            Some("refresh_token") => state.refresh(&client, &form).await,
            Some("client_credentials") => state.client_credentials(&client, &form),
            Some(_) => Err(Failure::bad("unsupported_grant_type", "This grant_type is not known here.")),
            None => Err(Failure::bad("invalid_request", "grant_type is missing.")),
        }
    };
    match answer.await {
        Ok(granted) => HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(granted),
        Err(failure) => failure.respond(),
    }
}

/// `POST /revoke` (RFC 7009): ends the refresh family. It tells nobody whether the token was one.
pub(crate) async fn revoke(state: web::Data<State>, http: HttpRequest, body: Result<Body, HttpError>) -> HttpResponse {
    let answer = async {
        let form = form(&http, &body.as_ref().map_err(Failure::body)?.0)?;
        let client = state.authenticate(&http, &form).await?;
        let token = form.get("token").ok_or_else(|| Failure::bad("invalid_request", "token is missing."))?;
        let Some(family) = state.refresh_tokens.family(token) else { return Ok(()) };
        let revoked = sqlx::query("UPDATE families SET revoked = 1 WHERE client_id = ? AND id = ?")
            .bind(&client.id)
            .bind(family.to_string())
            .execute(&state.store.0)
            .await?;
        if revoked.rows_affected() > 0 {
            tracing::info!(event = "revoked", "a client ended what it was given");
        }
        Ok::<_, Failure>(())
    };
    match answer.await {
        Ok(()) => HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).finish(),
        Err(failure) => failure.respond(),
    }
}

/// The form of a request that is one: everything is in the body, and each parameter there once.
fn form(http: &HttpRequest, body: &[u8]) -> Result<Params, Failure> {
    let invalid = |why| Failure::bad("invalid_request", why);
    let mut types = http.headers().get_all(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let media_type = types.next().and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if types.next().is_some() || !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(invalid("Send Content-Type: application/x-www-form-urlencoded."));
    }
    if !http.query_string().is_empty() {
        return Err(invalid("Parameters belong into the body, not into the URL."));
    }
    let text = std::str::from_utf8(body).map_err(|_| invalid("The body is not UTF-8."))?;
    let params = Params::parse(text).ok_or_else(Failure::too_large)?;
    if params.repeats(&ONCE) {
        return Err(invalid("A parameter is there more than once."));
    }
    Ok(params)
}

impl State {
    /// Which client this is, and that it is the one: by one method, and by the one it registered.
    async fn authenticate(&self, http: &HttpRequest, form: &Params) -> Result<Client, Failure> {
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
        // A client that is its own URL is looked up only if somebody ever let it in: nobody makes us fetch.
        if cimd::is_client_id_url(&id).is_some() && !self.listed.contains_key(&id) && !self.has_family(&id).await? {
            return Err(wrong());
        }
        let client = match self.client(&id).await {
            Ok(Some(client)) => client,
            Err(ClientProblem::Document(Problem::Busy | Problem::TooSlow | Problem::Unreachable)) => {
                let why = "The client's metadata document cannot be had at the moment.";
                return Err(Failure::unavailable(why, cimd::RETRY_AFTER));
            }
            Ok(None) | Err(ClientProblem::Document(_)) => return Err(wrong()),
            Err(ClientProblem::Internal(cause)) => return Err(cause.into()),
        };
        events::client(&client.id);
        let secret_fits = |secret: &str| {
            let known = client.secret_digest.as_ref().map_or("", |digest| digest.expose_secret());
            constant_time::verify_slices_are_equal(known.as_bytes(), digest(secret).as_bytes()).is_ok()
        };
        let proven = match (client.auth_method(), &basic, form.get("client_secret"), assertion) {
            ("none", None, None, None) => true,
            ("client_secret_basic", Some((_, secret)), None, None) => secret_fits(secret),
            ("client_secret_post", None, Some(secret), None) => secret_fits(secret),
            ("private_key_jwt", None, None, Some(assertion)) => self.assertion_fits(&client, form, assertion).await?,
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
    async fn assertion_fits(&self, client: &Client, form: &Params, assertion: &str) -> Result<bool, Failure> {
        if form.get("client_assertion_type") != Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer") {
            return Ok(false);
        }
        let Some(header) = JoseHeader::of(assertion) else { return Ok(false) };
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) || header.crit.is_some() {
            return Ok(false);
        }
        // Only keys that can be meant count among the five: others of that name take no place (RFC 7517 §4.2, §4.5).
        let keys = client.metadata.jwks.iter().flat_map(Jwks::usable);
        let meant = |key: &Key| (header.kid.is_none() || key.kid == header.kid) && key.algorithms.contains(&header.alg);
        let mut validation = Validation::new(header.alg);
        validation.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
        validation.set_issuer(&[&client.id]);
        let us = [self.issuer.clone(), format!("{}/token", self.issuer)];
        validation.set_audience(&us);
        validation.sub = Some(client.id.clone());
        validation.validate_exp = false; // with our clock, below
        for key in keys.filter(meant).take(5) {
            let Ok(token) = decode::<Assertion>(assertion, &key.decoding, &validation) else { continue };
            // One that is for somebody else as well, they could use here (CVE-2025-27370).
            let for_us_alone = match &token.claims.aud {
                Audience::One(audience) => us.contains(audience),
                Audience::Several(all) => all.iter().all(|audience| us.contains(audience)),
            };
            if !for_us_alone || token.claims.iss != client.id {
                return Ok(false);
            }
            let (expires_at, now) = (token.claims.exp.seconds(), self.store.now());
            let early = token.claims.nbf.is_some_and(|nbf| nbf.seconds() > now + ASSERTION_LEEWAY);
            if early || expires_at <= now - ASSERTION_LEEWAY || expires_at > now + 3600 {
                return Ok(false);
            }
            if token.claims.jti.is_empty() || token.claims.jti.len() > 256 {
                return Ok(false);
            }
            let first = sqlx::query("INSERT OR IGNORE INTO assertions (digest, expires_at) VALUES (?, ?)")
                .bind(digest(&format!("{}\0{}", client.id, token.claims.jti)))
                .bind(expires_at + ASSERTION_LEEWAY)
                .execute(&self.store.0)
                .await?;
            return Ok(first.rows_affected() == 1);
        }
        Ok(false)
    }

    /// `authorization_code` (OAuth 2.1 §4.1.3). A code works once; a second time it ends what the first
    /// one gave, since one of the two who had it stole it.
    async fn redeem(&self, client: &Client, form: &Params) -> Result<Granted, Failure> {
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
        let found: Option<(String, String, String, bool, i64)> =
            sqlx::query_as("SELECT family, redirect_uri, code_challenge, used, expires_at FROM codes WHERE digest = ?")
                .bind(digest(code))
                .fetch_optional(&self.store.0)
                .await?;
        let Some((family, known_uri, challenge, used, expires_at)) = found else {
            return Err(invalid("The code is not known, or has expired."));
        };
        let family = self.family(family.parse()?).await?.filter(|family| family.client_id == client.id);
        let Some(family) = family else { return Err(invalid("The code is not known, or has expired.")) };
        events::user(&family.user);
        if used {
            self.revoke_family(family.id).await?;
            return Err(replayed());
        }
        if expires_at <= self.store.now() || family.revoked {
            return Err(invalid("The code is not known, or has expired."));
        }
        // OAuth 2.1 §10.2: clients of OAuth 2.0 send it, those of 2.1 need not, as PKCE ties the code to who asked for it.
        if form.get("redirect_uri").is_some_and(|redirect_uri| redirect_uri != known_uri) {
            return Err(invalid("redirect_uri is not that of the authorization request."));
        }
        if !verifier_fits(verifier, &challenge) {
            return Err(invalid("code_verifier does not fit the code_challenge."));
        }
        same_resource(form, &family)?;
        // Together, so that a crash in between does not cost the person a log-in.
        let mut redemption = self.store.0.begin().await?;
        let take = "UPDATE codes SET used = 1, expires_at = (SELECT expires_at FROM families WHERE id = family)
             WHERE digest = ? AND used = 0";
        if sqlx::query(take).bind(digest(code)).execute(&mut *redemption).await?.rows_affected() == 0 {
            redemption.rollback().await?;
            self.revoke_family(family.id).await?;
            return Err(replayed());
        }
        let mut refresh_token = None;
        if client.may_use("refresh_token") {
            let token = self.refresh_tokens.issue(family.id)?;
            sqlx::query("UPDATE families SET refresh_digest = ? WHERE id = ?")
                .bind(digest(&token))
                .bind(family.id.to_string())
                .execute(&mut *redemption)
                .await?;
            refresh_token = Some(token);
        }
        redemption.commit().await?;
        let scope = Scopes::parse(&family.scope).map_err(anyhow::Error::msg)?;
        self.grant(client, &family, &scope, refresh_token).await
    }

    /// `refresh_token` (OAuth 2.1 §4.3): each works once. Who comes with a used one, comes after
    /// somebody else, so the family ends.
    async fn refresh(&self, client: &Client, form: &Params) -> Result<Granted, Failure> {
        let invalid = || {
            tracing::warn!(event = "refresh_refused", "a refresh token is not known, or has ended");
            Failure::bad("invalid_grant", NO_REFRESH_TOKEN)
        };
        let token =
            form.get("refresh_token").ok_or_else(|| Failure::bad("invalid_request", "refresh_token is missing."))?;
        let Some(id) = self.refresh_tokens.family(token) else { return Err(invalid()) };
        let family = self.family(id).await?.filter(|family| family.client_id == client.id && !family.revoked);
        let Some(family) = family else { return Err(invalid()) };
        events::user(&family.user);
        let used = digest(token);
        if family.refresh_digest.as_ref() != Some(&used) {
            return Err(self.refresh_token_reused(id).await?);
        }
        same_resource(form, &family)?;
        let granted = Scopes::parse(&family.scope).map_err(anyhow::Error::msg)?;
        let scope = asked_scope(form, &granted, "A refresh may ask for less than was granted, not for more.")?;
        let refresh_token = self.refresh_tokens.issue(id)?;
        // Only one of several who come at once with the same token finds it there.
        let rotate = "UPDATE families SET refresh_digest = ? WHERE id = ? AND refresh_digest = ? AND NOT revoked";
        let rotated =
            sqlx::query(rotate).bind(digest(&refresh_token)).bind(id.to_string()).bind(used).execute(&self.store.0);
        if rotated.await?.rows_affected() == 0 {
            return Err(self.refresh_token_reused(id).await?);
        }
        self.grant(client, &family, &scope, Some(refresh_token)).await
    }

    /// `client_credentials` (OAuth 2.1 §4.2): a client of the operator's file, on its own behalf.
    fn client_credentials(&self, client: &Client, form: &Params) -> Result<Granted, Failure> {
        if client.auth_method() == "none" || client.roles.is_empty() || !client.may_use("client_credentials") {
            return Err(Failure::bad("unauthorized_client", "This client may not act on its own behalf."));
        }
        let resource = self
            .resource(form.get("resource"))
            .ok_or_else(|| Failure::bad("invalid_target", "resource must be a server that tokens are issued for."))?;
        let allowed = client.metadata.scope.clone().unwrap_or_else(|| SCOPES.join(" "));
        let allowed = Scopes::parse(&allowed).map_err(anyhow::Error::msg)?;
        let scope = asked_scope(form, &allowed, "This client may not have these scopes.")?;
        let access_token = self.sign(&client.id, None, &client.id, &scope, &client.roles, resource)?;
        Ok(Granted {
            access_token,
            token_type: "Bearer",
            expires_in: ACCESS_LIFETIME,
            refresh_token: None,
            scope: scope.to_string(),
        })
    }

    async fn family(&self, id: Uuid) -> sqlx::Result<Option<Family>> {
        let select = "SELECT client_id, user, scope, resource, revoked, refresh_digest FROM families
             WHERE id = ? AND expires_at > ?";
        let row =
            sqlx::query_as(select).bind(id.to_string()).bind(self.store.now()).fetch_optional(&self.store.0).await?;
        Ok(row.map(|(client_id, user, scope, resource, revoked, refresh_digest)| Family {
            id,
            client_id,
            user,
            scope,
            resource,
            revoked,
            refresh_digest,
        }))
    }

    async fn has_family(&self, client_id: &str) -> sqlx::Result<bool> {
        let (found,): (bool,) =
            sqlx::query_as(HAS_FAMILY).bind(client_id).bind(self.store.now()).fetch_one(&self.store.0).await?;
        Ok(found)
    }

    async fn revoke_family(&self, id: Uuid) -> sqlx::Result<()> {
        sqlx::query("UPDATE families SET revoked = 1 WHERE id = ?").bind(id.to_string()).execute(&self.store.0).await?;
        Ok(())
    }

    async fn refresh_token_reused(&self, family: Uuid) -> sqlx::Result<Failure> {
        tracing::warn!(event = "refresh_token_reused", "a used refresh token came again: its family has ended");
        self.revoke_family(family).await?;
        Ok(Failure::bad("invalid_grant", NO_REFRESH_TOKEN))
    }

    /// An access token for the person who consented; with what their role still lets them grant.
    async fn grant(
        &self,
        client: &Client,
        family: &Family,
        scope: &Scopes,
        refresh_token: Option<String>,
    ) -> Result<Granted, Failure> {
        let gone = || Failure::bad("invalid_grant", "The person may not grant this any more.");
        let account = self.users.find(&family.user).await?.ok_or_else(gone)?;
        let grantable = account.grantable();
        let kept: Vec<_> = scope.iter().filter(|scope| grantable.contains(scope)).collect();
        if kept.is_empty() {
            return Err(gone());
        }
        let scope = Scopes::parse(&kept.join(" ")).map_err(anyhow::Error::msg)?;
        let access_token =
            self.sign(&account.sub, Some(&account.name), &client.id, &scope, &account.roles, &family.resource)?;
        Ok(Granted {
            access_token,
            token_type: "Bearer",
            expires_in: ACCESS_LIFETIME,
            refresh_token,
            scope: scope.to_string(),
        })
    }

    fn sign(
        &self,
        subject: &str,
        username: Option<&str>,
        client_id: &str,
        scope: &Scopes,
        roles: &[String],
        resource: &str,
    ) -> Result<String, Failure> {
        let at = self.store.now();
        #[allow(clippy::cast_precision_loss)] // exact up to the year 285 million
        let date = |seconds: i64| NumericDate(seconds as f64);
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: Audience::One(resource.to_owned()),
            sub: subject.to_owned(),
            preferred_username: username.map(str::to_owned),
            client_id: Some(client_id.to_owned()),
            scope: scope.clone(),
            roles: Some(roles.to_vec()),
            iat: Some(date(at)),
            exp: date(at + ACCESS_LIFETIME),
            nbf: None,
            jti: Some(uuid::Uuid::new_v4().to_string()),
            cnf: None,
        };
        let mut header = Header::new(Algorithm::RS256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.keys.public.kid.clone());
        let token = encode(&header, &claims, &self.keys.encoding_key)?;
        tracing::info!(event = "token_issued", %scope, resource, jti = claims.jti, "an access token was issued");
        Ok(token)
    }
}

/// What a token request asks for; without the parameter, all that is allowed. Scopes we do not know are left out, as at
/// the authorization endpoint; what remains must be something, and no more than what is allowed (RFC 6749 §6).
fn asked_scope(form: &Params, allowed: &Scopes, too_much: &'static str) -> Result<Scopes, Failure> {
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
fn same_resource(form: &Params, family: &Family) -> Result<(), Failure> {
    if form.get("resource").is_some_and(|asked| !resource::is_same(&family.resource, asked)) {
        return Err(Failure::bad("invalid_target", "The resource is not that of the authorization request."));
    }
    Ok(())
}

/// What a client signs to prove itself.
#[derive(Deserialize)]
struct Assertion {
    /// One: the library would let a list pass, if the client is in it.
    iss: String,
    aud: Audience,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    jti: String,
}

/// Who an assertion says it is from, before anything of it is believed.
fn subject(assertion: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        sub: String,
    }
    let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claimed>(&claims).ok().map(|claimed| claimed.sub)
}

/// `client_secret_basic` (RFC 6749 §2.3.1): id and secret, form-encoded, then base64.
fn basic_credentials(http: &HttpRequest) -> Result<Option<(String, String)>, Failure> {
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
            Ok(Some((form_decoded(id), form_decoded(secret))))
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

/// PKCE (RFC 7636 §4.6), S256.
fn verifier_fits(verifier: &str, challenge: &str) -> bool {
    let allowed = verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    let computed = URL_SAFE_NO_PAD.encode(sha::digest(&sha::SHA256, verifier.as_bytes()));
    (43..=128).contains(&verifier.len())
        && allowed
        && constant_time::verify_slices_are_equal(computed.as_bytes(), challenge.as_bytes()).is_ok()
}
