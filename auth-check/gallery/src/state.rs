//! What the server knows: its fault, its URLs, whom it trusts.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU32},
};

use anyhow::{Context as _, Result};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rsa::PublicKeyComponents,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::Value;

use crate::{faults::Fault, grants::Grants};

/// Whose tokens are accepted.
pub struct Trust {
    /// The issuer; if empty, there is none but the server's own.
    pub issuer: String,
    /// Its key set.
    pub keys: Value,
}

/// Everything that a request needs.
pub struct State {
    /// The server's origin.
    pub base: String,
    fault: Option<&'static Fault>,
    /// Whose tokens are accepted.
    pub trust: Trust,
    /// The name of the trusted key.
    pub kid: String,
    /// The trusted key.
    pub key: PublicKeyComponents<Vec<u8>>,
    /// Whether the keys were forgotten.
    pub forgotten: AtomicBool,
    /// How many requests have come.
    pub requests: AtomicU32,
    /// What the authorization server gave.
    pub grants: Mutex<Grants>,
}

impl State {
    /// For a server at this origin.
    ///
    /// # Errors
    /// If the issuer's key is not an RSA key.
    pub fn new(base: String, fault: Option<&'static Fault>, trust: Trust) -> Result<Self> {
        let jwk = &trust.keys["keys"][0];
        let kid = jwk["kid"].as_str().context("the key has no kid")?.to_owned();
        let key = components(jwk).context("the key is not an RSA key")?;
        let (forgotten, requests) = (AtomicBool::new(false), AtomicU32::new(1));
        Ok(State { base, fault, trust, kid, key, forgotten, requests, grants: Mutex::default() })
    }

    /// Whether the server has this fault.
    pub fn has(&self, name: &str) -> bool {
        self.fault.is_some_and(|fault| fault.name == name)
    }

    /// Whether it allows this origin: its own, and loopback.
    pub fn allows(&self, origin: &str) -> bool {
        let allowed = [self.base.as_str(), "http://localhost", "http://127.0.0.1"];
        self.has("any-origin")
            || self.has("origin-by-prefix") && allowed.iter().any(|one| origin.starts_with(one))
            || self.has("null-origin") && origin == "null"
            || allowed.contains(&origin)
    }

    /// What `resource` says, and what tokens must be for.
    pub fn resource(&self) -> String {
        let more = if self.has("resource-with-slash") {
            "/"
        } else if self.has("resource-with-fragment") {
            "#main"
        } else {
            ""
        };
        format!("{}/mcp{more}", self.base)
    }

    /// The trusted key as a file would have it.
    pub fn public_pem(&self) -> String {
        let der: Result<PublicKeyX509Der<'_>, _> = self.key.as_der();
        let text = der.map(|der| STANDARD.encode(der.as_ref())).unwrap_or_default();
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }
}

/// An RSA key from its JWK.
pub fn components(jwk: &Value) -> Option<PublicKeyComponents<Vec<u8>>> {
    let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok();
    Some(PublicKeyComponents { n: number("n")?, e: number("e")? })
}
