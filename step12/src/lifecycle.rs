//! How a conversation begins (MCP 2025-11-25 "Lifecycle"): client and server agree on a version of the protocol, and
//! say what they can do.

use common::{
    jsonrpc::ErrorObject,
    mcp::{EmptyResult, Era, InitializeParams, InitializeResult, LEGACY},
};

use crate::methods::{Call, server_info};

/// For the model that uses this server.
pub const INSTRUCTIONS: &str = "This is a small teaching server. See each tool's and prompt's description.";

/// `initialize`: the version that the client asks for if we serve it, else our newest.
pub async fn initialize(call: &Call<'_>) -> Result<InitializeResult, ErrorObject> {
    call.only_in(Era::Legacy)?;
    let asked: InitializeParams = call.params()?;
    Ok(InitializeResult {
        protocol_version: LEGACY.into_iter().find(|version| *version == asked.protocol_version).unwrap_or(LEGACY[0]),
        capabilities: call.methods.capabilities(),
        server_info: server_info(),
        instructions: INSTRUCTIONS,
    })
}

/// `ping` (MCP 2025-11-25 "Ping"): are you there?
pub async fn ping(call: &Call<'_>) -> Result<EmptyResult, ErrorObject> {
    call.only_in(Era::Legacy)?;
    Ok(EmptyResult {})
}
