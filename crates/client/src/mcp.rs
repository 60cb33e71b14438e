//! MCP over Streamable HTTP, in both eras: modern requests carry everything with them; legacy ones come after
//! `initialize` (MCP 2026-07-28 "Versioning and Compatibility").

mod era;
mod message;
mod param_headers;
mod requests;
mod session;

pub use self::session::Session;
