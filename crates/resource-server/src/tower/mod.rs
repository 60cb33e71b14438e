//! For tower, and so for axum and for rmcp's server: [`Authenticate`] is the layer that lets only good tokens through,
//! [`Permissions`] the one that says which scopes an MCP tool needs, and [`Document`] the service that answers with the
//! protected-resource document.

mod authenticate;
mod body;
mod document;
mod message;
mod permissions;
mod service;

pub use self::{
    authenticate::{Authenticate, AuthenticateService},
    document::Document,
    permissions::{Permissions, PermissionsService},
    service::{Answering, Body},
};
