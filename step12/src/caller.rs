//! How the server tells callers who they are to it: briefly in every answer, and in full with the tool `whoami`.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, SecondsFormat};
use common::{
    claims::{Claims, Role},
    jsonrpc::written,
    mcp::ToolResult,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{json, value::RawValue};

/// What every answer says: in `_meta` and in headers. It is written once for each token, not for each request.
pub struct Naming {
    /// For the `_meta` of results.
    pub meta: Box<RawValue>,
    /// The name may be in any script, so it is percent-encoded UTF-8.
    name: HeaderValue,
    scopes: HeaderValue,
}

impl Naming {
    pub fn new(claims: &Claims) -> Self {
        let name = utf8_percent_encode(claims.username(), NON_ALPHANUMERIC).to_string();
        let value = |text: String| text.try_into().expect("the text is ASCII"); // so are scopes (RFC 6749 §3.3)
        Naming {
            meta: written(&json!({
                "sub": claims.sub, "username": claims.username(), "scopes": claims.scope.iter().collect::<Vec<_>>(),
                "roles": claims.roles(),
            })),
            name: value(name),
            scopes: value(claims.scope.to_string()),
        }
    }

    /// Puts the caller's name and scopes into a response's headers.
    pub fn put_into(&self, headers: &mut HeaderMap) {
        headers.insert(HeaderName::from_static("x-mcp-user"), self.name.clone());
        headers.insert(HeaderName::from_static("x-mcp-scopes"), self.scopes.clone());
    }
}

/// What the tool `whoami` says.
#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    iss: String,
    sub: String,
    username: String,
    client_id: Option<String>,
    scopes: Vec<String>,
    #[schemars(with = "Vec<String>")]
    roles: Vec<Role>,
    #[schemars(extend("format" = "date-time"))]
    expires_at: Option<String>,
}

impl ToolResult for Identity {}

impl Identity {
    pub fn new(claims: &Claims) -> Self {
        let expires_at = DateTime::from_timestamp(claims.exp.seconds(), 0);
        Identity {
            iss: claims.iss.clone(),
            sub: claims.sub.clone(),
            username: claims.username().to_owned(),
            client_id: claims.client_id.clone(),
            scopes: claims.scope.iter().map(str::to_owned).collect(),
            roles: claims.roles(),
            expires_at: expires_at.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)),
        }
    }
}
