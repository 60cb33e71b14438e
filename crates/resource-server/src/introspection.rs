//! Opaque tokens, which only their issuer can check (RFC 7662): the request, with this server's credentials at the
//! issuer. For the limits on these requests, see `opaque.rs`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use oauth::{
    fetch::Fetcher,
    files,
    secret::{ExposeSecret, SecretString},
};
use reqwest::{
    Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde::Deserialize;
use serde_json::Value;
use url::{Url, form_urlencoded::byte_serialize};

use crate::{
    discovery::Metadata,
    fetch::{self, Problem},
    json::Members,
};

/// The credentials: the table `[introspection]` of a profile, or what the program gives.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    client_id: String,
    /// A file (mode 0600; the path begins at the profile's folder) with the secret and nothing else, or the name of an
    /// environment variable that holds it.
    client_secret_file: Option<PathBuf>,
    client_secret_env: Option<String>,
    #[serde(skip)]
    client_secret: Option<SecretString>,
    /// Instead of the metadata's, which counts only if it is at the issuer's own origin.
    endpoint: Option<String>,
}

/// One issuer's introspection endpoint.
pub struct Introspection {
    http: Fetcher,
    /// The header with the credentials (RFC 6749 §2.3.1, RFC 7617 §2).
    authorization: HeaderValue,
    endpoint: Option<Url>,
    issuer: Url,
}

impl Settings {
    /// These credentials.
    pub fn new(client_id: String, client_secret: SecretString) -> Self {
        let client_secret = Some(client_secret);
        Settings { client_id, client_secret_file: None, client_secret_env: None, client_secret, endpoint: None }
    }

    /// The profile is in this folder.
    pub fn look_in(&mut self, folder: &Path) {
        self.client_secret_file = self.client_secret_file.take().map(|file| folder.join(file));
    }
}

impl Introspection {
    /// # Errors
    /// If the secret or the endpoint cannot be used.
    pub fn new(settings: &Settings, issuer: &Url) -> Result<Self> {
        let secret = match (&settings.client_secret, &settings.client_secret_file, &settings.client_secret_env) {
            (Some(secret), None, None) => secret.expose_secret().to_owned(),
            (None, Some(file), None) => {
                let cannot = || format!("introspection: cannot read the secret {}", file.display());
                files::read_secret(file).with_context(cannot)?.trim_end_matches(['\r', '\n']).to_owned()
            }
            (None, None, Some(name)) => {
                std::env::var(name).with_context(|| format!("introspection: the variable {name} is not set"))?
            }
            _ => bail!("introspection: give one of client_secret_file and client_secret_env"),
        };
        let endpoint = match &settings.endpoint {
            Some(text) => {
                let url =
                    fetch::web_url(text).with_context(|| format!("introspection: {text:?} is not an https URL"))?;
                Some(url)
            }
            None => None,
        };
        let credentials = format!("{}:{}", encode(&settings.client_id), encode(&secret));
        let mut authorization = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials)))?;
        authorization.set_sensitive(true);
        Ok(Introspection { http: fetch::client(issuer)?, authorization, endpoint, issuer: issuer.clone() })
    }

    /// Asks the issuer whether a made-up token is active. So `doctor` sees whether the issuer accepts our credentials.
    pub async fn probe(&self, metadata: &Metadata) -> Result<bool, Problem> {
        let body = self.ask(&uuid::Uuid::new_v4().to_string(), Some(metadata)).await?;
        let answer: Members = serde_json::from_slice(&body).map_err(|_| Problem::NotJson)?;
        answer.0.get("active").and_then(Value::as_bool).ok_or(Problem::NotJson)
    }

    /// The endpoint in the metadata. Our credentials go only to the issuer's own origin.
    fn find_endpoint(&self, metadata: Option<&Metadata>) -> Result<Url, Problem> {
        let metadata = metadata.ok_or(Problem::NoMetadata)?;
        let named = metadata.rest.get("introspection_endpoint").and_then(Value::as_str);
        let named = named.and_then(|text| fetch::named_url(text, &self.issuer));
        let own = named.filter(|url| url.origin() == self.issuer.origin());
        own.ok_or(Problem::ForbiddenUrl("introspection_endpoint, at its own origin,"))
    }

    /// The request (RFC 7662 §2.1): the body of its answer.
    ///
    /// # Errors
    /// Says why there is none.
    pub async fn ask(&self, token: &str, metadata: Option<&Metadata>) -> Result<Vec<u8>, Problem> {
        let endpoint = self.endpoint.clone().map_or_else(|| self.find_endpoint(metadata), Ok)?;
        let form = [("token", token), ("token_type_hint", "access_token")];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::new(Method::POST, endpoint);
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        *request.body_mut() = Some(body.into());
        Ok(fetch::json(&self.http, request).await?.1)
    }
}

/// As RFC 6749 §2.3.1 wants client credentials before they are put into the header.
fn encode(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}
