//! The endpoints, mounted; and the documents that say where they are.

use actix_web::{
    HttpResponse,
    middleware::from_fn,
    web::{self, ServiceConfig},
};
use anyhow::Result;
use jsonwebtoken::{EncodingKey, jwk::JwkSet};
use oauth::{claims::SCOPES, metadata::AuthorizationServerMetadata, well_known};

use crate::{account, authorize, events, registration, state::State, token};

/// An authorization server, ready to be mounted; or a disabled one, if another issuer is trusted.
#[derive(Clone)]
pub struct AuthServer {
    state: Option<web::Data<State>>,
    metadata: AuthorizationServerMetadata,
}

impl AuthServer {
    /// A server that is open.
    pub(crate) fn opened(state: State) -> Self {
        let metadata = metadata(state.issuer.as_str(), true);
        AuthServer { state: Some(web::Data::new(state)), metadata }
    }

    /// A disabled one: nothing is mounted at this URL, because another issuer is trusted or there is no key to sign
    /// with.
    pub fn elsewhere(public_url: &str) -> Self {
        AuthServer { state: None, metadata: metadata(public_url, false) }
    }

    /// Whether the database can be written, without which nobody can log in.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn check(&self) -> Result<()> {
        match &self.state {
            Some(state) => state.store.check().await,
            None => Ok(()),
        }
    }

    /// Replaces the keys: all are published from now on, and of those whose time has come, the newest signs. Each comes with
    /// the Unix time from which on it signs. Whoever checks tokens must have had time to learn a key before it signs, and a key
    /// must stay for as long as its tokens are good: ten minutes after its last signature.
    ///
    /// # Errors
    /// If there is none, one is given twice, or one is no RSA key: then nothing has changed.
    pub fn replace_keys(&self, keys: impl IntoIterator<Item = (i64, EncodingKey)>) -> Result<()> {
        self.state.as_ref().map_or(Ok(()), |state| state.keys.replace(keys))
    }

    /// The document of `/.well-known/jwks.json` (RFC 7517 §5): the public halves of all keys, the newest first.
    pub fn jwks(&self) -> JwkSet {
        self.state.as_ref().map_or(JwkSet { keys: Vec::new() }, |state| state.keys.jwks())
    }

    /// Mounts the endpoints that [`AuthServer::metadata`] names, and the pages for people.
    pub fn configure(&self, app: &mut ServiceConfig) {
        let Some(state) = &self.state else { return };
        app.app_data(state.clone())
            .service(
                web::resource("/authorize")
                    .wrap(from_fn(events::request))
                    .get(authorize::authorize)
                    .post(authorize::decide),
            )
            .service(
                web::resource("/login")
                    .wrap(from_fn(events::request))
                    .get(authorize::start_again)
                    .post(authorize::log_in),
            )
            .service(web::resource("/account").wrap(from_fn(events::request)).get(account::show).post(account::change))
            .service(
                web::resource("/account/login")
                    .wrap(from_fn(events::request))
                    .get(account::start_again)
                    .post(account::log_in),
            )
            .service(web::resource("/token").wrap(from_fn(events::request)).post(token::token))
            .service(web::resource("/register").wrap(from_fn(events::request)).post(registration::register))
            .service(web::resource("/revoke").wrap(from_fn(events::request)).post(token::revoke));
    }

    /// The same, and the documents about it: its metadata (RFC 8414), and its keys (RFC 7517). For an application that has
    /// none of its own at these paths, and an issuer without a path: one with a path has its metadata elsewhere (§3.1).
    pub fn configure_all(&self, app: &mut ServiceConfig) {
        self.configure(app);
        let (metadata, keys) = (self.metadata.clone(), self.clone());
        // Public keys are public: anyone may read and keep them for five minutes.
        let jwks = move || HttpResponse::Ok().insert_header(("Cache-Control", "public, max-age=300")).json(keys.jwks());
        app.route(
            well_known::AUTHORIZATION_SERVER,
            web::get().to(move || std::future::ready(HttpResponse::Ok().json(&metadata))),
        )
        .route(JWKS, web::get().to(move || std::future::ready(jwks())));
    }

    /// The state that the endpoints share, for tests.
    #[cfg(test)]
    pub(crate) fn state(&self) -> web::Data<State> {
        self.state.clone().expect("it is mounted")
    }

    /// The document of `/.well-known/oauth-authorization-server` (RFC 8414): it names what is mounted.
    pub fn metadata(&self) -> AuthorizationServerMetadata {
        self.metadata.clone()
    }
}

/// Where the keys are, below the issuer's URL.
const JWKS: &str = "/.well-known/jwks.json";

fn metadata(issuer: &str, mounted: bool) -> AuthorizationServerMetadata {
    let at = |path: &str| Some(format!("{issuer}{path}"));
    // If nothing is mounted, lists are empty rather than absent: an absent list would promise a default (RFC 8414 §2).
    let texts = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
    let offered = |values: &[&str]| if mounted { texts(values) } else { Some(Vec::new()) };
    let methods = offered(&["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]);
    let algorithms = offered(&["RS256", "ES256"]);
    let document = AuthorizationServerMetadata {
        issuer: issuer.to_owned(),
        jwks_uri: at(JWKS),
        scopes_supported: texts(&SCOPES),
        response_types_supported: offered(&["code"]),
        grant_types_supported: offered(&["authorization_code", "refresh_token", "client_credentials"]),
        token_endpoint_auth_methods_supported: methods.clone(),
        ..AuthorizationServerMetadata::default()
    };
    if !mounted {
        return document;
    }
    AuthorizationServerMetadata {
        authorization_endpoint: at("/authorize"),
        token_endpoint: at("/token"),
        registration_endpoint: at("/register"),
        revocation_endpoint: at("/revoke"),
        token_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
        revocation_endpoint_auth_methods_supported: methods,
        revocation_endpoint_auth_signing_alg_values_supported: algorithms,
        code_challenge_methods_supported: texts(&["S256"]),
        authorization_response_iss_parameter_supported: true,
        client_id_metadata_document_supported: true,
        ..document
    }
}
