//! Access tokens (RFC 9068), and the answer that has one (RFC 6749 §5.1).

use oauth::{
    claims::{Audience, Claims, NumericDate},
    identifiers::{Resource, Subject},
    scope::Scopes,
    secret::{ExposeSecret, SecretString},
};
use serde::Serialize;

use crate::{client::Client, failure::Failure, state::State, store::Family, users::Account};

/// How long an access token is good for, in seconds: ten minutes.
const ACCESS_LIFETIME: i64 = 600;

/// RFC 6749 §5.1.
#[derive(Serialize)]
pub(super) struct Granted {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    scope: Scopes,
}

/// The person who consented, and what their role still lets them grant.
pub(super) struct Person {
    account: Account,
    scope: Scopes,
}

/// Reads the person of a family. This comes before a code or a refresh token is taken: if the database fails here, the
/// client may try again with the same one.
pub(super) async fn person(state: &State, family: &Family, scope: &Scopes) -> Result<Person, Failure> {
    let gone = || Failure::bad("invalid_grant", "The person may not grant this any more.");
    let account = state.users.find(&family.user).await?.ok_or_else(gone)?;
    let grantable = account.grantable();
    let kept: Vec<_> = scope.iter().filter(|scope| grantable.contains(scope)).collect();
    if kept.is_empty() {
        return Err(gone());
    }
    let scope = Scopes::parse(&kept.join(" ")).map_err(anyhow::Error::msg)?;
    Ok(Person { account, scope })
}

/// An access token for the person who consented.
pub(super) fn for_person(
    state: &State,
    client: &Client,
    family: &Family,
    person: &Person,
    refresh_token: Option<SecretString>,
) -> Result<Granted, Failure> {
    let Account { sub, name, roles, .. } = &person.account;
    let about = About { subject: sub, username: Some(name), roles };
    sign(state, client, &about, &person.scope, &family.resource, refresh_token)
}

/// Whom an access token is about: a person, or the client itself.
pub(super) struct About<'a> {
    pub subject: &'a Subject,
    pub username: Option<&'a str>,
    pub roles: &'a [String],
}

/// Signs an access token, and makes the answer.
pub(super) fn sign(
    state: &State,
    client: &Client,
    about: &About<'_>,
    scope: &Scopes,
    resource: &Resource,
    refresh_token: Option<SecretString>,
) -> Result<Granted, Failure> {
    let at = state.store.now();
    #[allow(clippy::cast_precision_loss)] // exact up to the year 285 million
    let date = |seconds: i64| NumericDate(seconds as f64);
    let claims = Claims {
        iss: state.issuer.as_str().to_owned(),
        aud: Audience::One(resource.as_str().to_owned()),
        sub: about.subject.as_str().to_owned(),
        preferred_username: about.username.map(str::to_owned),
        client_id: Some(client.id.as_str().to_owned()),
        scope: scope.clone(),
        roles: Some(about.roles.to_vec()),
        iat: Some(date(at)),
        exp: date(at + ACCESS_LIFETIME),
        nbf: None,
        jti: Some(uuid::Uuid::new_v4().to_string()),
        cnf: None,
    };
    let access_token = state.keys.sign(&claims, at)?;
    tracing::info!(event = "token_issued", %scope, %resource, jti = claims.jti, "an access token was issued");
    Ok(Granted {
        access_token,
        token_type: "Bearer",
        expires_in: ACCESS_LIFETIME,
        refresh_token: refresh_token.map(|token| token.expose_secret().to_owned()),
        scope: scope.clone(),
    })
}
