//! Gets a token with the grant that the settings choose, once the two servers are known, and stores it.

use oauth::{
    identifiers::{Issuer, Resource, Scope},
    secret::ExposeSecret,
};
use url::Url;

use crate::{
    authentication::Identity,
    authorization::{Question, ToldApartBy, authorize, redirect_uri_for, require_pkce},
    credentials::{Credentials, Grant},
    discovery::Discovered,
    dpop::Dpop,
    failure::Result,
    http::Http,
    identity::{client_for, described_at, preregistered},
    identity_assertion::identity_assertion,
    kept::{Kept, lock},
    settings::GrantType,
    token::{AUTHORIZATION_CODE, CLIENT_CREDENTIALS, JWT_BEARER, TokenEndpoint, Tokens},
};

/// What is asked for, and of whom.
pub struct Wanted<'a> {
    pub found: &'a Discovered,
    /// Separated by spaces; empty if the server should choose.
    pub scope: String,
    pub token_endpoint: Url,
}

impl Wanted<'_> {
    /// Gets a token. If the authorization server has forgotten our registration, we register again.
    ///
    /// # Errors
    /// If no server gives one.
    pub async fn get(&self, http: &Http, kept: &mut Kept) -> Result<()> {
        let issuer = &Issuer::new(self.found.server.issuer.as_str());
        let settings = &http.settings;
        let registers = settings.client.is_none() && described_at(settings, &self.found.server).is_none();
        let registered = |credentials: &Credentials| Some(credentials.registrations.get(issuer)?.client_id.clone());
        let known = registered(&kept.credentials);
        match self.try_to_get(http, kept).await {
            Err(failure) if failure.is_oauth("invalid_client") && registers => {
                let used = registered(&kept.credentials);
                kept.update(http, |credentials| {
                    // Another process may have registered meanwhile.
                    if registered(credentials) == used {
                        credentials.registrations.remove(issuer);
                    }
                })
                .await?;
                // A client that registered a moment ago is not forgotten but refused: another registration would not
                // help.
                if used.is_none() || used != known {
                    return Err(failure);
                }
                http.note("The authorization server does not know us any more. We register again.");
                self.try_to_get(http, kept).await
            }
            outcome => outcome,
        }
    }

    async fn try_to_get(&self, http: &Http, kept: &mut Kept) -> Result<()> {
        let Discovered { server, resource, .. } = self.found;
        let settings = &http.settings;
        let (client, tokens) = match &settings.grant_type {
            GrantType::AuthorizationCode => self.log_in(http, kept).await?,
            GrantType::ClientCredentials => {
                let client = preregistered(settings, server)?;
                let why = "Get a token with the client's own credentials (RFC 6749 §4.4)";
                let form = [("grant_type", CLIENT_CREDENTIALS)];
                let tokens = self.endpoint(http, kept, &client).request(why, &self.with_scope(&form)).await?;
                (client, tokens)
            }
            GrantType::JwtBearer { assertion } => {
                let client = preregistered(settings, server)?;
                let why = "Get a token with the workload's JWT (RFC 7523)";
                let form = [("grant_type", JWT_BEARER), ("assertion", assertion.expose_secret())];
                let tokens = self.endpoint(http, kept, &client).request(why, &self.with_scope(&form)).await?;
                (client, tokens)
            }
            GrantType::IdentityAssertion { id_token, idp_token_endpoint, idp_client_id } => {
                let client = preregistered(settings, server)?;
                let about = (server.issuer.as_str(), resource.as_str(), self.scope.as_str());
                let grant = identity_assertion(http, idp_token_endpoint, idp_client_id, id_token, about).await?;
                let why = "Get a token with that grant (RFC 7523)";
                let form = [("grant_type", JWT_BEARER), ("assertion", grant.as_str())];
                let tokens = self.endpoint(http, kept, &client).request(why, &self.with_scope(&form)).await?;
                (client, tokens)
            }
        };
        let requested_scope: Vec<Scope> = self.scope.split_whitespace().map(Scope::new).collect();
        let own = client.authentication.shared().filter(|_| settings.client.is_none());
        let grant = Grant {
            issuer: Issuer::new(server.issuer.as_str()),
            resource: Resource::new(resource.as_str()),
            client_id: client.id,
            token_endpoint: self.token_endpoint.to_string(),
            token_endpoint_auth_method: client.authentication.method().to_owned(),
            client_secret: own.cloned(),
            revocation_endpoint: server.revocation_endpoint.clone(),
            access_token: tokens.access_token.clone(),
            refresh_token: None,
            expires_at: None,
            requested_scope: requested_scope.clone(),
            scope: requested_scope,
            dpop_key: kept.dpop.as_ref().map(|dpop| dpop.pkcs8().clone()),
        };
        let store = kept.store();
        let held = lock(&*store, &http.settings).await?;
        // Another process may have registered meanwhile; only the tokens are ours to replace.
        kept.credentials = kept.load(http)?;
        kept.keep(http, &*held, grant, tokens)?;
        http.note("The token is kept, for this server only.");
        Ok(())
    }

    /// A person logs in and consents.
    async fn log_in(&self, http: &Http, kept: &mut Kept) -> Result<(Identity, Tokens)> {
        let Discovered { server, resource, .. } = self.found;
        require_pkce(server)?;
        let (client, loopback) = client_for(http, kept, server).await?;
        let settings = &http.settings;
        let question = Question {
            client_id: &client.id,
            resource,
            scope: &self.scope,
            dpop_jkt: kept.dpop.as_ref().map(Dpop::thumbprint).transpose()?,
            told_apart_by: if redirect_uri_for(&server.issuer).path() == loopback.redirect_uri.path() {
                ToldApartBy::RedirectUri
            } else if settings.issuer.is_some() || settings.any_issuer {
                ToldApartBy::Person
            } else {
                ToldApartBy::Nothing
            },
        };
        let code = authorize(http, server, &question, loopback).await?;
        let redirect_uri = code.redirect_uri.to_string();
        let form = [
            ("grant_type", AUTHORIZATION_CODE),
            ("code", code.value.as_str()),
            ("redirect_uri", redirect_uri.as_str()),
            ("code_verifier", code.verifier.secret().as_str()),
        ];
        let why = "Exchange the code for a token (RFC 6749 §4.1.3)";
        let outcome = self.endpoint(http, kept, &client).request(why, &form).await;
        code.tell(outcome.is_ok()).await;
        Ok((client, outcome?))
    }

    /// The grant's parameters, and the scope, if there is any to ask for.
    fn with_scope<'a>(&'a self, grant: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
        let mut form = grant.to_vec();
        form.extend((!self.scope.is_empty()).then_some(("scope", self.scope.as_str())));
        form
    }

    fn endpoint<'a>(&'a self, http: &'a Http, kept: &'a Kept, client: &'a Identity) -> TokenEndpoint<'a> {
        TokenEndpoint {
            http,
            url: self.token_endpoint.clone(),
            issuer: &self.found.server.issuer,
            client,
            resource: &self.found.resource,
            dpop: kept.dpop.as_ref(),
        }
    }
}
