//! Where clients find the metadata documents, if the public URL has a path. A well-known name is in front of a path (RFC 8615):
//! those of `https://gw.example/tools/mcp` are at `https://gw.example/.well-known/…/tools/mcp`, outside of `/tools/`. A proxy
//! must forward them from there, or clients must be told of a place below the path.
//!
//! The server sees each request without the path of its public URL ([`common::proxy`]), so what is served at the root is served
//! below the path as well.

use anyhow::{Result, ensure};
use clap::Args;
use common::{
    config::PublicUrl,
    well_known::{AUTHORIZATION_SERVER, OPENID_CONFIGURATION, PROTECTED_RESOURCE},
};

#[derive(Args, Clone)]
pub struct WellKnownArgs {
    /// If --public-url has a path: tell clients of the metadata below it, for a proxy that forwards nothing else
    #[arg(long, env = "MCP_WELL_KNOWN_BELOW_PATH")]
    well_known_below_path: bool,
}

impl WellKnownArgs {
    /// # Errors
    /// If there is no path to be below, or the path is one that this server has a page at.
    pub fn places(&self, public_url: &PublicUrl) -> Result<Places> {
        let below = self.well_known_below_path;
        // A proxy may take the path off or not, so the server could not tell which page `/account/login` is.
        ensure!(public_url.path() != "/account", "--public-url: /account is the path of a page of this server");
        ensure!(!below || !public_url.path().is_empty(), "--well-known-below-path: --public-url has no path");
        Ok(Places { url: public_url.clone(), below })
    }
}

/// Where the documents are.
#[derive(Clone)]
pub struct Places {
    url: PublicUrl,
    /// Whether clients are told of those below the path.
    pub below: bool,
}

impl Places {
    /// The URL of the protected resource's document (RFC 9728 §3.1). Only the challenge leads to the one below the path.
    pub fn protected_resource(&self) -> String {
        if self.below {
            return self.url.join(PROTECTED_RESOURCE);
        }
        self.url.at_origin(&format!("{PROTECTED_RESOURCE}{}/mcp", self.url.path()))
    }

    /// The URL of the authorization server's document (RFC 8414 §3.1). Below an issuer's path, clients look for no name but
    /// OpenID Connect's (MCP 2026-07-28 "Authorization Server Metadata Discovery").
    pub fn authorization_server(&self) -> String {
        if self.below {
            return self.url.join(OPENID_CONFIGURATION);
        }
        self.url.at_origin(&format!("{AUTHORIZATION_SERVER}{}", self.url.path()))
    }

    /// The paths of the authorization server's document, as they are asked for here.
    pub fn authorization_server_paths(&self) -> Vec<String> {
        let mut paths = vec![AUTHORIZATION_SERVER.to_owned(), format!("{AUTHORIZATION_SERVER}{}", self.url.path())];
        paths.dedup();
        paths
    }
}
