//! The metadata documents: what a protected resource (RFC 9728) and an authorization server (RFC 8414, OpenID Connect
//! Discovery) say about themselves. Both can be written and read.
//!
//! Reading is lenient where nobody is hurt: a member that says nothing (`null`, or empty) counts as absent, as does one
//! of a list that is not a text; members without a field here are kept as they are. A member of another type than its
//! own makes the document unreadable. The caller must check that a document is about the server that was asked.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::document::{Document, Malformed};

/// What a protected resource says about itself (RFC 9728 §2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct ProtectedResourceMetadata {
    /// The resource identifier: an https URL without fragment.
    pub resource: String,
    /// The issuers whose tokens it accepts. Optional in RFC 9728, but not in MCP ("Authorization Server Location").
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_servers: Option<Vec<String>>,
    /// The scopes that basic use needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes_supported: Option<Vec<String>>,
    /// How a token may be sent: `header`, `body`, `query` (RFC 6750 §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_methods_supported: Option<Vec<String>>,
    /// What to call it, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// The URL of a page for developers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_documentation: Option<String>,
    /// Whether it accepts only tokens that are bound to a key (RFC 9449).
    #[serde(skip_serializing_if = "is_false")]
    pub dpop_bound_access_tokens_required: bool,
    /// All other members.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl ProtectedResourceMetadata {
    /// Reads a document.
    ///
    /// # Errors
    /// If it is not a JSON object, `resource` is missing, or a member is of another type than its own.
    pub fn read(json: &[u8]) -> Result<Self, Malformed> {
        Document::read(json)?.try_into()
    }
}

impl TryFrom<Document> for ProtectedResourceMetadata {
    type Error = Malformed;

    fn try_from(document: Document) -> Result<Self, Malformed> {
        Ok(ProtectedResourceMetadata {
            resource: document.required_text("resource")?,
            authorization_servers: document.texts("authorization_servers")?,
            scopes_supported: document.texts("scopes_supported")?,
            bearer_methods_supported: document.texts("bearer_methods_supported")?,
            resource_name: document.text("resource_name")?,
            resource_documentation: document.text("resource_documentation")?,
            dpop_bound_access_tokens_required: document.flag("dpop_bound_access_tokens_required")?,
            other: document.without(&[
                "resource",
                "authorization_servers",
                "scopes_supported",
                "bearer_methods_supported",
                "resource_name",
                "resource_documentation",
                "dpop_bound_access_tokens_required",
            ]),
        })
    }
}

impl TryFrom<Map<String, Value>> for ProtectedResourceMetadata {
    type Error = Malformed;

    fn try_from(members: Map<String, Value>) -> Result<Self, Malformed> {
        Document::from(members).try_into()
    }
}

/// What an authorization server says about itself (RFC 8414 §2). It names only what it has.
///
/// A list that is absent may promise a default ([`Self::auth_methods`]); an empty one promises nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct AuthorizationServerMetadata {
    /// The issuer identifier: what `iss` says in its tokens.
    pub issuer: String,
    /// Where its keys are (RFC 7517 §5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// The scopes that it knows and names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes_supported: Option<Vec<String>>,
    /// What the authorization endpoint can give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_types_supported: Option<Vec<String>>,
    /// What the token endpoint takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_types_supported: Option<Vec<String>>,
    /// How clients prove who they are at the token endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Where a person's browser goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_endpoint: Option<String>,
    /// Where clients get tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    /// RFC 7591.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<String>,
    /// RFC 7009.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// RFC 7662.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<String>,
    /// With which algorithms a client may sign its proof, at the token endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    /// How clients prove who they are at the revocation endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// With which algorithms a client may sign its proof, at the revocation endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    /// RFC 7636.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_challenge_methods_supported: Option<Vec<String>>,
    /// RFC 9207.
    #[serde(skip_serializing_if = "is_false")]
    pub authorization_response_iss_parameter_supported: bool,
    /// draft-ietf-oauth-client-id-metadata-document.
    #[serde(skip_serializing_if = "is_false")]
    pub client_id_metadata_document_supported: bool,
    /// RFC 9449.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpop_signing_alg_values_supported: Option<Vec<String>>,
    /// All other members.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl AuthorizationServerMetadata {
    /// Reads a document.
    ///
    /// # Errors
    /// If it is not a JSON object, `issuer` is missing, or a member is of another type than its own.
    pub fn read(json: &[u8]) -> Result<Self, Malformed> {
        Document::read(json)?.try_into()
    }

    /// How clients may prove who they are at the token endpoint. RFC 8414 §2 defines the default for a document that
    /// does not say it.
    pub fn auth_methods(&self) -> Vec<&str> {
        match &self.token_endpoint_auth_methods_supported {
            Some(methods) => methods.iter().map(String::as_str).collect(),
            None => vec!["client_secret_basic"],
        }
    }
}

impl TryFrom<Document> for AuthorizationServerMetadata {
    type Error = Malformed;

    fn try_from(document: Document) -> Result<Self, Malformed> {
        Ok(AuthorizationServerMetadata {
            issuer: document.required_text("issuer")?,
            jwks_uri: document.text("jwks_uri")?,
            scopes_supported: document.texts("scopes_supported")?,
            response_types_supported: document.texts("response_types_supported")?,
            grant_types_supported: document.texts("grant_types_supported")?,
            token_endpoint_auth_methods_supported: document.texts("token_endpoint_auth_methods_supported")?,
            authorization_endpoint: document.text("authorization_endpoint")?,
            token_endpoint: document.text("token_endpoint")?,
            registration_endpoint: document.text("registration_endpoint")?,
            revocation_endpoint: document.text("revocation_endpoint")?,
            introspection_endpoint: document.text("introspection_endpoint")?,
            token_endpoint_auth_signing_alg_values_supported: document
                .texts("token_endpoint_auth_signing_alg_values_supported")?,
            revocation_endpoint_auth_methods_supported: document.texts("revocation_endpoint_auth_methods_supported")?,
            revocation_endpoint_auth_signing_alg_values_supported: document
                .texts("revocation_endpoint_auth_signing_alg_values_supported")?,
            code_challenge_methods_supported: document.texts("code_challenge_methods_supported")?,
            authorization_response_iss_parameter_supported: document
                .flag("authorization_response_iss_parameter_supported")?,
            client_id_metadata_document_supported: document.flag("client_id_metadata_document_supported")?,
            dpop_signing_alg_values_supported: document.texts("dpop_signing_alg_values_supported")?,
            other: document.without(&[
                "issuer",
                "jwks_uri",
                "scopes_supported",
                "response_types_supported",
                "grant_types_supported",
                "token_endpoint_auth_methods_supported",
                "authorization_endpoint",
                "token_endpoint",
                "registration_endpoint",
                "revocation_endpoint",
                "introspection_endpoint",
                "token_endpoint_auth_signing_alg_values_supported",
                "revocation_endpoint_auth_methods_supported",
                "revocation_endpoint_auth_signing_alg_values_supported",
                "code_challenge_methods_supported",
                "authorization_response_iss_parameter_supported",
                "client_id_metadata_document_supported",
                "dpop_signing_alg_values_supported",
            ]),
        })
    }
}

impl TryFrom<Map<String, Value>> for AuthorizationServerMetadata {
    type Error = Malformed;

    fn try_from(members: Map<String, Value>) -> Result<Self, Malformed> {
        Document::from(members).try_into()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(clippy::unnecessary_wraps, reason = "so are the members")]
    fn some(texts: &[&str]) -> Option<Vec<String>> {
        Some(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn what_is_written_can_be_read() {
        let resource = ProtectedResourceMetadata {
            resource: "https://mcp.example/mcp".to_owned(),
            authorization_servers: some(&["https://as.example"]),
            scopes_supported: some(&["mcp:read"]),
            bearer_methods_supported: some(&["header"]),
            resource_name: Some("A server".to_owned()),
            resource_documentation: Some("https://mcp.example/docs".to_owned()),
            dpop_bound_access_tokens_required: true,
            other: Map::from_iter([("jwks_uri".to_owned(), json!("https://mcp.example/jwks"))]),
        };
        let written = serde_json::to_vec(&resource).unwrap();
        assert_eq!(ProtectedResourceMetadata::read(&written), Ok(resource.clone()));
        assert_eq!(serde_json::from_slice::<ProtectedResourceMetadata>(&written).unwrap(), resource);

        let text = |name: &str| Some(format!("https://as.example/{name}"));
        let server = AuthorizationServerMetadata {
            issuer: "https://as.example".to_owned(),
            jwks_uri: text("jwks"),
            scopes_supported: some(&["a"]),
            response_types_supported: some(&["code"]),
            grant_types_supported: some(&["authorization_code"]),
            token_endpoint_auth_methods_supported: some(&["none"]),
            authorization_endpoint: text("authorize"),
            token_endpoint: text("token"),
            registration_endpoint: text("register"),
            revocation_endpoint: text("revoke"),
            introspection_endpoint: text("introspect"),
            token_endpoint_auth_signing_alg_values_supported: some(&["RS256"]),
            revocation_endpoint_auth_methods_supported: some(&["none"]),
            revocation_endpoint_auth_signing_alg_values_supported: some(&["ES256"]),
            code_challenge_methods_supported: some(&["S256"]),
            authorization_response_iss_parameter_supported: true,
            client_id_metadata_document_supported: true,
            dpop_signing_alg_values_supported: some(&["ES256"]),
            other: Map::from_iter([("claims_supported".to_owned(), json!(["sub"]))]),
        };
        let written = serde_json::to_vec(&server).unwrap();
        assert_eq!(AuthorizationServerMetadata::read(&written), Ok(server.clone()));
        assert_eq!(serde_json::from_slice::<AuthorizationServerMetadata>(&written).unwrap(), server);
        assert_eq!(serde_json::from_slice::<Map<_, _>>(&written).unwrap().len(), 19, "each member is there once");
    }

    #[test]
    fn what_says_nothing_is_absent_and_what_is_absent_is_not_written() {
        let json = json!({
            "issuer": "https://as.example", "jwks_uri": null, "scopes_supported": [], "token_endpoint": "",
            "grant_types_supported": ["a", 1, null], "authorization_response_iss_parameter_supported": null,
        });
        let server = AuthorizationServerMetadata::read(json.to_string().as_bytes()).unwrap();
        assert_eq!(server.jwks_uri, None);
        assert_eq!((&server.scopes_supported, &server.token_endpoint), (&None, &None));
        assert_eq!(server.grant_types_supported, some(&["a"]));
        assert_eq!(server.auth_methods(), ["client_secret_basic"]);
        let written = serde_json::to_value(&server).unwrap();
        assert_eq!(written, json!({ "issuer": "https://as.example", "grant_types_supported": ["a"] }));
        let nothing = AuthorizationServerMetadata { token_endpoint_auth_methods_supported: some(&[]), ..server };
        assert!(nothing.auth_methods().is_empty());
    }

    #[test]
    fn what_cannot_be_believed_is_refused() {
        for (json, why) in [
            ("<html>", Malformed::NotJson),
            ("[]", Malformed::NotAnObject),
            ("{}", Malformed::Missing("issuer")),
            (r#"{"issuer":""}"#, Malformed::Missing("issuer")),
            (r#"{"issuer":1}"#, Malformed::WrongType("issuer", "a string")),
            (r#"{"issuer":"a","jwks_uri":{}}"#, Malformed::WrongType("jwks_uri", "a string")),
            (
                r#"{"issuer":"a","scopes_supported":"b"}"#,
                Malformed::WrongType("scopes_supported", "an array of strings"),
            ),
        ] {
            assert_eq!(AuthorizationServerMetadata::read(json.as_bytes()), Err(why), "{json}");
        }
        assert_eq!(ProtectedResourceMetadata::read(b"{}"), Err(Malformed::Missing("resource")));
        let flag = br#"{"resource":"a","dpop_bound_access_tokens_required":"true"}"#;
        let why = Malformed::WrongType("dpop_bound_access_tokens_required", "true or false");
        assert_eq!(ProtectedResourceMetadata::read(flag), Err(why));
    }
}
