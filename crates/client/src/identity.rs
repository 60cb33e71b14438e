//! The identity of this client at an authorization server, by the specification's priority: known beforehand, described
//! at a URL, or registered (MCP 2026-07-28 "Client Registration"); and the identity with which it got the stored
//! tokens.

use chrono::Utc;
use oauth::{
    identifiers::{ClientId, Issuer},
    metadata::AuthorizationServerMetadata,
};
use url::Url;

use crate::{
    authentication::{Authentication, Identity},
    authorization::{Loopback, default_redirect_uri, redirect_uri_for},
    credentials::Grant,
    endpoints, escape,
    failure::{Failure, Result},
    http::Http,
    kept::Kept,
    registration::register,
    settings::Settings,
};

/// Which client we are for this authorization server, by the specification's priority; and where its answer should go.
pub async fn client_for(
    http: &Http,
    kept: &mut Kept,
    server: &AuthorizationServerMetadata,
) -> Result<(Identity, Loopback)> {
    let settings = &http.settings;
    let chosen = settings.redirect_uri.clone();
    // A redirect URI that is registered beforehand, or in a document, is the same for all servers.
    let shared = || Loopback::bind(&chosen.clone().unwrap_or_else(default_redirect_uri));
    if settings.client.is_some() {
        return Ok((preregistered(settings, server)?, shared()?));
    }
    if let Some(id) = described_at(settings, server) {
        http.note("The authorization server takes the URL of a document about us as our client_id.");
        return Ok((Identity { id: id.clone(), authentication: Authentication::None }, shared()?));
    }
    let redirect_uri = chosen.clone().unwrap_or_else(|| redirect_uri_for(&server.issuer));
    let issuer = Issuer::new(server.issuer.as_str());
    let known = kept.credentials.registrations.get(&issuer);
    let fresh = known.filter(|known| {
        known.client_secret_expires_at.is_none_or(|at| Utc::now() < at)
            && is_redirect_uri(known.redirect_uri.as_str(), &redirect_uri)
    });
    if let Some(known) = fresh
            && let Some(authentication) =
                Authentication::secret(known.client_secret.as_ref(), &known.token_endpoint_auth_method)
            && let Ok(registered) = Url::parse(known.redirect_uri.as_str())
            // Some servers compare the port with the one that was registered; if it is taken, we register another.
            && let Ok(loopback) = Loopback::bind(&registered)
    {
        http.note(&format!("We are registered there already, as {}.", known.client_id));
        return Ok((Identity { id: known.client_id.clone(), authentication }, loopback));
    }
    let Some(endpoint) = &server.registration_endpoint else {
        return Err(Failure::authorization(format!(
            "the authorization server {} knows no client by itself (neither metadata documents nor registration)",
            escape::line(&server.issuer)
        ))
        .advice("Register a client there yourself, and name it with `Settings::client` and `Settings::issuer`."));
    };
    let loopback = Loopback::bind(&redirect_uri)?;
    let endpoint = endpoints::endpoint(server, "registration_endpoint", Some(endpoint))?;
    let registration =
        register(http, &settings.application.client_name, server, endpoint, &loopback.redirect_uri).await?;
    let authentication =
        Authentication::secret(registration.client_secret.as_ref(), &registration.token_endpoint_auth_method)
            .unwrap_or(Authentication::None);
    let client = Identity { id: registration.client_id.clone(), authentication };
    kept.update(http, |credentials| drop(credentials.registrations.insert(issuer, registration))).await?;
    Ok((client, loopback))
}

/// The URL of a document about us, where the server takes one.
pub fn described_at<'a>(settings: &'a Settings, server: &AuthorizationServerMetadata) -> Option<&'a ClientId> {
    settings.client_metadata.as_ref().filter(|_| server.client_id_metadata_document_supported)
}

/// The client of the settings, authenticated in a way that the server knows.
pub fn preregistered(settings: &Settings, server: &AuthorizationServerMetadata) -> Result<Identity> {
    let methods = server.auth_methods();
    let Some(client) = &settings.client else {
        return Ok(Identity { id: ClientId::new(""), authentication: Authentication::None });
    };
    let authentication = match (&client.key, &client.secret) {
        (Some(key), _) => Authentication::PrivateKey(key.clone()),
        (None, Some(secret)) => ["client_secret_basic", "client_secret_post"]
            .into_iter()
            .find(|method| methods.contains(method))
            .and_then(|method| Authentication::secret(Some(secret), method))
            .ok_or_else(|| Failure::authorization("the authorization server does not take a client's secret"))?,
        (None, None) => Authentication::None,
    };
    Ok(Identity { id: client.id.clone(), authentication })
}

/// The client that got these tokens, and therefore may renew them.
pub fn client_of(settings: &Settings, grant: &Grant) -> Option<Identity> {
    let method = grant.token_endpoint_auth_method.as_str();
    // A secret belongs to a client at one issuer: the same client_id may be another client elsewhere.
    let same_issuer = settings.issuer.as_ref() == Some(&grant.issuer);
    let preregistered = settings.client.as_ref().filter(|client| same_issuer && client.id == grant.client_id);
    let authentication = match (preregistered, method) {
        (Some(client), "private_key_jwt") => client.key.clone().map(Authentication::PrivateKey),
        (Some(client), method) => Authentication::secret(client.secret.as_ref(), method),
        (None, method) => Authentication::secret(grant.client_secret.as_ref(), method),
    }?;
    Some(Identity { id: grant.client_id.clone(), authentication })
}
/// Whether what was registered is what the person wants; where they name no port, any will do.
fn is_redirect_uri(registered: &str, wanted: &Url) -> bool {
    let Ok(mut registered) = Url::parse(registered) else { return false };
    if wanted.port().unwrap_or(0) == 0 {
        // It is http on loopback, so a port can be set.
        let _ = registered.set_port(wanted.port());
    }
    registered == *wanted
}
