//! What is stored between runs, for one MCP server and one kind of client.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use oauth::{
    identifiers::{ClientId, Issuer, RedirectUri, Resource, Scope},
    secret::{ExposeSecret, SecretString},
};
use serde::{Deserialize, Serialize};

use crate::secrets::Secrets;

/// Everything that is known about one server, for one kind of client.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Credentials {
    /// The MCP server's URL. Nothing in here is ever sent to another server.
    pub server: String,
    /// Dynamic registrations, each good at one authorization server: by its `issuer` (MCP 2026-07-28 "Authorization
    /// Server Binding").
    #[serde(default)]
    pub registrations: BTreeMap<Issuer, Registration>,
    /// The tokens, if somebody has logged in.
    pub grant: Option<Grant>,
}

/// Our registration at an authorization server (RFC 7591 §3.2.1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registration {
    /// The client's id at this server.
    pub client_id: ClientId,
    /// `None`: it has none.
    #[serde(default, with = "optional_secret")]
    pub client_secret: Option<SecretString>,
    /// `None`: it does not expire.
    pub client_secret_expires_at: Option<DateTime<Utc>>,
    /// How it proves who it is (RFC 7591 §2).
    pub token_endpoint_auth_method: String,
    /// With the port that was registered.
    pub redirect_uri: RedirectUri,
}

/// Tokens, and what they are bound to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// The issuer.
    pub issuer: Issuer,
    /// The resource they are for (RFC 8707).
    pub resource: Resource,
    /// The client that got them.
    pub client_id: ClientId,
    /// The endpoint that renews them.
    pub token_endpoint: String,
    /// How the client proves who it is there.
    pub token_endpoint_auth_method: String,
    /// The secret of this registration. It is kept here too, because another log-in may register anew and then fail.
    /// The secret of a client that was registered beforehand is never stored.
    #[serde(default, with = "optional_secret")]
    pub client_secret: Option<SecretString>,
    /// The endpoint that withdraws them, if there is one.
    pub revocation_endpoint: Option<String>,
    /// The token that the MCP server gets.
    #[serde(with = "secret")]
    pub access_token: SecretString,
    /// The refresh token.
    #[serde(default, with = "optional_secret")]
    pub refresh_token: Option<SecretString>,
    /// `None`: the server did not say.
    pub expires_at: Option<DateTime<Utc>>,
    /// The scopes that were asked for. The next token request must ask for at least these.
    pub requested_scope: Vec<Scope>,
    /// The scopes that were granted.
    pub scope: Vec<Scope>,
    /// The key that the tokens are bound to, PKCS#8 in base64 (RFC 9449).
    #[serde(default, with = "optional_secret")]
    pub dpop_key: Option<SecretString>,
}

impl Credentials {
    /// Adds all of them to the secrets that are never shown.
    pub(crate) fn hide(&self, secrets: &Secrets) {
        let hide = |secret: Option<&SecretString>, name| {
            secrets.add(secret.map_or("", |secret| secret.expose_secret()), name);
        };
        for registration in self.registrations.values() {
            hide(registration.client_secret.as_ref(), "client secret");
        }
        if let Some(grant) = &self.grant {
            hide(Some(&grant.access_token), "access token");
            hide(grant.refresh_token.as_ref(), "refresh token");
            hide(grant.client_secret.as_ref(), "client secret");
        }
    }
}

/// Exposes a secret, so that a store can write it down.
mod secret {
    use oauth::secret::{ExposeSecret, SecretString};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
        secret.expose_secret().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
        String::deserialize(deserializer).map(SecretString::from)
    }
}

mod optional_secret {
    use oauth::secret::{ExposeSecret, SecretString};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option, reason = "serde passes it so")]
    pub fn serialize<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(ExposeSecret::expose_secret).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_store_gets_the_secrets_and_a_log_does_not() {
        let stored = json!({
            "server": "https://mcp.example/mcp",
            "registrations": { "https://as.example": {
                "client_id": "c", "client_secret": "s3cr3t", "client_secret_expires_at": null,
                "token_endpoint_auth_method": "client_secret_basic", "redirect_uri": "http://127.0.0.1:1/callback",
            } },
            "grant": {
                "issuer": "https://as.example", "resource": "https://mcp.example/mcp", "client_id": "c",
                "token_endpoint": "https://as.example/token", "token_endpoint_auth_method": "client_secret_basic",
                "client_secret": "s3cr3t", "revocation_endpoint": null, "access_token": "s3cr3t", "refresh_token": "s3cr3t",
                "expires_at": null, "requested_scope": ["a"], "scope": [], "dpop_key": "s3cr3t",
            },
        });
        let credentials: Credentials = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(&credentials).unwrap(), stored);
        assert!(!format!("{credentials:?}").contains("s3cr3t"), "{credentials:?}");
    }
}
