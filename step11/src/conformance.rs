//! `step11 conformance URL`: the official conformance suite takes the place of both servers. Its environment variables
//! make the choices of a person; everything else is the usual code.
//!
//! There is one exception: the suite names no issuer where a person must (`--issuer`). A person must name one for
//! `client_credentials` and similar grants, because otherwise any server could ask for the secret; and for a client
//! that is described at a URL, because it is the same everywhere, and nothing tells two servers apart if their answers
//! have no `iss`. Here, the issuer that the suite's MCP server names is accepted.

use std::{env, sync::Arc};

use client::{
    Client, ClientId, Failure, Issuer, Result, SecretString,
    private_key::PrivateKey,
    secrets::Secrets,
    settings::{GrantType, Preregistered, Settings, server_url},
};
use serde::Deserialize;
use url::Url;

use crate::options::application;

/// The document that the suite knows this client by.
const CLIENT_METADATA: &str = "https://conformance-test.local/client-metadata.json";

/// `MCP_CONFORMANCE_CONTEXT`. Its members depend on the scenario, and show which grant it is about.
#[derive(Default, Deserialize)]
struct Context {
    client_id: Option<String>,
    client_secret: Option<String>,
    issuer: Option<String>,
    private_key_pem: Option<String>,
    idp_client_id: Option<String>,
    idp_id_token: Option<String>,
    idp_token_endpoint: Option<String>,
    valid_jwt: Option<String>,
}

/// Logs in without a person, lists the tools, and calls each.
///
/// # Errors
/// Where a client must refuse: some scenarios test this.
pub async fn run(url: &str, secrets: &Arc<Secrets>) -> Result<()> {
    let missing = |what: &str| Failure::usage(format!("{what} is for the conformance suite to set"));
    let context = match env::var("MCP_CONFORMANCE_CONTEXT") {
        Ok(json) => serde_json::from_str(&json).map_err(|_| missing("MCP_CONFORMANCE_CONTEXT"))?,
        Err(_) => Context::default(),
    };
    let mut settings = Settings::new(server_url(url)?, application());
    settings.client_metadata = Some(ClientId::new(CLIENT_METADATA));
    settings.protocol_version = env::var("MCP_CONFORMANCE_PROTOCOL_VERSION").ok();
    settings.issuer = context.issuer.as_deref().map(Issuer::new);
    settings.grant_type = grant_type(&context)?;
    let key = context.private_key_pem.map(|pem| PrivateKey::from_pem(pem.as_bytes())).transpose()?;
    settings.client = context.client_id.map(|id| Preregistered {
        id: ClientId::new(id),
        secret: context.client_secret.map(SecretString::from),
        key,
    });
    settings.any_issuer = true;

    // Nothing is stored: one scenario must not affect the next.
    let mut session = Client::new(settings)?.secrets(secrets.clone()).connect().await?;
    let (tools, _) = session.tools().await?;
    for tool in tools {
        session.call_tool(&tool, &serde_json::json!({})).await?;
    }
    session.close().await;
    Ok(())
}

fn grant_type(context: &Context) -> Result<GrantType> {
    let of = |value: &Option<String>| value.clone().unwrap_or_default();
    Ok(if context.valid_jwt.is_some() {
        GrantType::JwtBearer { assertion: SecretString::from(of(&context.valid_jwt)) }
    } else if let Some(endpoint) = &context.idp_token_endpoint {
        GrantType::IdentityAssertion {
            id_token: SecretString::from(of(&context.idp_id_token)),
            idp_token_endpoint: Url::parse(endpoint).map_err(|_| Failure::usage("idp_token_endpoint is no URL"))?,
            idp_client_id: ClientId::new(of(&context.idp_client_id)),
        }
    } else if context.client_id.is_some() && context.issuer.is_none() {
        GrantType::ClientCredentials
    } else {
        GrantType::AuthorizationCode
    })
}
