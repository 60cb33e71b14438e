//! The tokens that are sent: real ones, and what a server that checks must refuse.

use std::{path::PathBuf, sync::Arc, thread};

use anyhow::{Result, anyhow};
use common::{
    claims::{Audience, Claims, NumericDate, Scopes},
    keys::KeyPair,
};
use jsonwebtoken::{Algorithm, Header};

/// The URL that every contender uses as its own, whatever its port, so that one token is valid for all.
pub const SERVER: &str = "https://mcp.bench.example";
/// The number of people. Further tokens belong to the same people.
pub const USERS: usize = 1000;
/// Far enough away for a measurement.
const NEVER: f64 = 4e9;

/// The key pair that all contenders share.
pub struct Issuer {
    name: String,
    /// The URL of the server that its tokens are for.
    server: String,
    folder: PathBuf,
    keys: KeyPair,
}

impl Issuer {
    /// An issuer of this name, with the pair in this folder, made if it does not exist.
    ///
    /// # Errors
    /// If it cannot be read or made.
    pub fn new(folder: PathBuf, name: &str) -> Result<Self> {
        let (name, server) = (name.to_owned(), SERVER.to_owned());
        Ok(Issuer { name, server, keys: KeyPair::load_or_create(&folder)?, folder })
    }

    /// A server that issues its tokens itself.
    ///
    /// # Errors
    /// The same.
    #[cfg(feature = "grants")]
    pub fn of(folder: PathBuf, server: &str) -> Result<Self> {
        Ok(Issuer { server: server.to_owned(), ..Self::new(folder, server)? })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    pub fn public_key(&self) -> PathBuf {
        self.folder.join("mcp_public_key.pem")
    }

    /// The audience that every contender accepts.
    pub fn audience() -> String {
        format!("{SERVER}/mcp")
    }

    /// A token of this number; each differs from all others.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn token(&self, number: usize) -> Result<String> {
        self.sign(&self.claims(number))
    }

    /// So many different tokens, signed on all cores.
    ///
    /// # Errors
    /// If one cannot be signed.
    pub fn tokens(self: &Arc<Self>, count: usize) -> Result<Vec<String>> {
        let workers = thread::available_parallelism()?.get();
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                let issuer = Arc::clone(self);
                thread::spawn(move || (worker..count).step_by(workers).map(|number| issuer.token(number)).collect())
            })
            .collect();
        let mut tokens = Vec::with_capacity(count);
        for thread in threads {
            let some: Result<Vec<_>> = thread.join().map_err(|_| anyhow!("a thread panicked"))?;
            tokens.extend(some?);
        }
        Ok(tokens)
    }

    /// What must be refused, and why.
    ///
    /// # Errors
    /// If one cannot be signed.
    pub fn bad(&self) -> Result<[(&'static str, String); 4]> {
        let good = self.claims(0);
        let (message, _) =
            self.token(0)?.rsplit_once('.').map(|(m, s)| (m.to_owned(), s.to_owned())).unwrap_or_default();
        let other = self.token(1)?.rsplit_once('.').map(|(_, signature)| signature.to_owned()).unwrap_or_default();
        Ok([
            ("another token's signature", format!("{message}.{other}")),
            ("an expired token", self.sign(&Claims { exp: NumericDate(1e9), ..good.clone() })?),
            ("a token from another issuer", self.sign(&Claims { iss: "http://evil.example".into(), ..good.clone() })?),
            ("a token for another audience", self.sign(&Claims { aud: Audience::One(SERVER.into()), ..good })?),
        ])
    }

    /// A token with a wrong signature, in which * stands for 16 digits that may be any.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn forged(&self) -> Result<String> {
        let mut token = self.token(0)?;
        let middle = token.len() - 200; // of the signature, whose last character is not free
        token.replace_range(middle..middle + 16, "*");
        Ok(token)
    }

    fn claims(&self, number: usize) -> Claims {
        let user = number % USERS;
        Claims {
            iss: self.name.clone(),
            aud: Audience::One(format!("{}/mcp", self.server)),
            sub: format!("user_{user}"),
            preferred_username: Some(format!("user{user}")),
            client_id: Some("bench".to_owned()),
            scope: Scopes::parse("mcp:read mcp:tools").unwrap_or_default(),
            roles: Some(vec!["user".to_owned()]),
            iat: Some(NumericDate(1.7e9)),
            exp: NumericDate(NEVER),
            nbf: None,
            jti: Some(number.to_string()),
            cnf: None,
        }
    }

    fn sign(&self, claims: &Claims) -> Result<String> {
        let mut header = Header::new(Algorithm::RS256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.keys.public.kid.clone());
        Ok(jsonwebtoken::encode(&header, claims, &self.keys.encoding_key)?)
    }
}
