//! `step11 conformance URL`: the official conformance suite is on the other side, in the place of both servers. It tells
//! in the environment what a person would choose; the rest is the same code as ever.
//!
//! With one exception: the suite names no issuer where a person must (`--issuer`). For `client_credentials` and its like,
//! any server could else ask for the secret; and for a client that is described at a URL, and so is the same everywhere,
//! nothing tells the servers apart where their answers have no `iss`. Here, the one that the suite's MCP server names will do.

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

/// `MCP_CONFORMANCE_CONTEXT`. Which members there are depends on the scenario, and tells which grant it is about.
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

/// Logs in without anybody, lists the tools, and calls each.
///
/// # Errors
/// Where a client must refuse, which some scenarios are about.
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

    // It keeps nothing: nothing of one scenario may reach the next.
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
