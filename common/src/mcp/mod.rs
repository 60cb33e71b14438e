//! The MCP messages this server speaks (MCP 2026-07-28 and 2025-11-25, "Schema Reference").

mod lifecycle;
mod prompts;
mod results;
mod tools;

pub use self::{
    lifecycle::{DiscoverResult, Implementation, InitializeParams, InitializeResult, ServerCapabilities},
    prompts::{GetPromptParams, GetPromptResult, ListPromptsResult, Prompt, PromptArgument, PromptMessage},
    results::{CacheScope, Caching, Content, EmptyResult, ListParams, McpResult},
    tools::{CallToolParams, CallToolResult, ListToolsResult, Tool, ToolError, ToolResult},
};

/// The version whose requests carry everything with them, in `_meta`.
pub const MODERN: &str = "2026-07-28";
/// The versions that begin with `initialize`, newest first.
pub const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// Which of the two protocols a request speaks (MCP 2026-07-28 "Versioning", Terminology).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2025-11-25 and before: `initialize` comes first.
    Legacy,
    /// 2026-07-28: every request carries its version and capabilities in `_meta`.
    Modern,
}
