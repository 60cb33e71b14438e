//! How a session begins and ends. Its beginning shows the server's era.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    era::{Era, LEGACY, MODERN, legacy},
    message::{Wire, client_info, no_message, refused, result},
};
use crate::{
    credentials::Grant,
    escape,
    exchange::{Body, SESSION_ID},
    failure::{Failure, Result},
    flow::Flow,
    settings::Settings,
};

/// `HeaderMismatchError`.
const HEADER_MISMATCH: i32 = -32020;
/// `UnsupportedProtocolVersionError`.
const UNSUPPORTED_PROTOCOL_VERSION: i32 = -32022;

/// `MissingRequiredClientCapabilityError`.
const MISSING_CLIENT_CAPABILITY: i32 = -32021;
/// A session with an MCP server. With a modern server, it is only a sequence of independent requests.
pub struct Session {
    pub(super) wire: Wire,
}

impl Session {
    /// Finds out which era the server is of, and begins. A server that needs a token asks for it here.
    ///
    /// # Errors
    /// If there is no server, no authorization, or no version that both speak.
    pub(crate) async fn connect(flow: Flow) -> Result<Self> {
        let version = flow.settings().protocol_version.clone();
        let mut session = Session { wire: Wire::new(flow) };
        match version {
            Some(version) if version != MODERN => session.initialize(legacy(&version)?).await?,
            chosen => session.discover(chosen.is_some()).await?,
        }
        Ok(session)
    }

    /// Tries the modern way first. Any answer that is not modern comes from a legacy server ("Backward Compatibility").
    async fn discover(&mut self, modern_only: bool) -> Result<()> {
        let (answer, outcome) =
            self.wire.exchange("Ask the MCP server what it can do", "server/discover", json!({}), &[]).await?;
        let supported = match outcome {
            Some(Ok(result)) if result["supportedVersions"].is_array() => result["supportedVersions"].clone(),
            Some(Err(error)) if answer.status == 400 && error.code == i64::from(UNSUPPORTED_PROTOCOL_VERSION) => {
                error.data["supported"].clone()
            }
            Some(Err(error))
                if answer.status == 400
                    && [HEADER_MISMATCH, MISSING_CLIENT_CAPABILITY]
                        .contains(&i32::try_from(error.code).unwrap_or(0)) =>
            {
                return Err(refused(&error, answer.exchange));
            }
            Some(Err(error)) if modern_only && answer.status.is_server_error() => {
                return Err(refused(&error, answer.exchange));
            }
            // A JSON-RPC error with such a status is a legacy server's way to say that it has no such method.
            None if answer.status.is_server_error() => return Err(no_message(&answer)),
            _ if modern_only => {
                return Err(Failure::network(format!("the server does not speak MCP {MODERN}")).at(answer.exchange));
            }
            _ => {
                self.wire.flow.http.note("This is not a modern MCP server. We start as it was done up to 2025-11-25.");
                return self.initialize(LEGACY[0]).await;
            }
        };
        let speaks =
            |version: &str| supported.as_array().is_some_and(|versions| versions.iter().any(|one| one == version));
        if speaks(MODERN) {
            return Ok(());
        }
        match LEGACY.into_iter().find(|version| speaks(version)) {
            Some(version) if !modern_only => self.initialize(version).await,
            _ => Err(Failure::network(format!(
                "the server supports none of our versions of MCP, only {}",
                escape::line(&supported.to_string())
            ))
            .at(answer.exchange)),
        }
    }

    /// The legacy handshake (2025-11-25 "Lifecycle").
    async fn initialize(&mut self, version: &'static str) -> Result<()> {
        self.wire.era = Era::Legacy(version);
        let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client_info(&self.wire.flow.settings().application) });
        let (answer, outcome) = self.wire.exchange("Begin a legacy session", "initialize", params, &[]).await?;
        let result = result(&answer, outcome)?;
        let chosen = result["protocolVersion"].as_str().unwrap_or_default();
        self.wire.era = Era::Legacy(legacy(chosen).map_err(|failure| failure.at(answer.exchange))?);
        let session_id = answer.header_values(SESSION_ID).next().map(str::to_owned);
        if let Some(id) = &session_id {
            self.wire.flow.http.secrets.add(id, "session");
        }
        self.wire.legacy_id = session_id;
        let message = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let request = self.wire.request(message, &[]);
        let answer = self.wire.flow.send("Say that we are ready", &request, &Value::Null).await?;
        if answer.status.is_success() { Ok(()) } else { Err(no_message(&answer)) }
    }

    /// The settings of the session.
    pub fn settings(&self) -> &Settings {
        self.wire.flow.settings()
    }

    /// The tokens that are kept for the server, if there are any.
    pub fn grant(&self) -> Option<&Grant> {
        self.wire.flow.grant()
    }

    /// The number of the latest exchange, as [`observer`](crate::observer) counts them.
    pub fn last_exchange(&self) -> u32 {
        self.wire.flow.http.last()
    }

    /// Ends a legacy session. A server that has no sessions, or does not want to end one, may say so.
    pub async fn close(self) {
        if self.wire.legacy_id.is_some() {
            let mut request = self.wire.request(Value::Null, &[]);
            request.method = Method::DELETE;
            request.body = Body::Empty;
            if let Err(failure) = self.wire.flow.send_last("End the session", &request).await {
                self.wire.flow.http.note(&format!("The session could not be ended: {}.", failure.message));
            }
        }
    }
}
