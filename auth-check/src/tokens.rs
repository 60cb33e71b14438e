//! The ways to tokens: those that the person gives, a log-in, and those that are signed here.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use anyhow::{Context as _, Result, ensure};
use oauth::{
    scope::Scopes,
    secret::{ExposeSecret, SecretString},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    jose::{Algorithm, RsaKey, now},
    login::Login,
};

/// How many tokens' claims were made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Tokens that the person gives: the form of `--token-file`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    tokens: Vec<GivenToken>,
}

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenToken {
    token: SecretString,
    /// What it was granted, if that is known.
    scopes: Option<Scopes>,
    /// The other resource that it is for; if absent, the server under test.
    audience: Option<String>,
}

impl Given {
    /// Reads the file's text.
    ///
    /// # Errors
    /// If it has another form, or no token for the server.
    pub fn read(text: &str) -> Result<Self> {
        // The library's own message may quote the text, which is secret.
        let given: Given = serde_json::from_str(text).map_err(|error| {
            anyhow::anyhow!("it is not as --help says (line {}, column {})", error.line(), error.column())
        })?;
        ensure!(given.own().next().is_some(), "it has no token for this server: one without `audience`");
        let with_scheme = |one: &GivenToken| one.token.expose_secret().to_ascii_lowercase().starts_with("bearer ");
        ensure!(!given.tokens.iter().any(with_scheme), "write each token without the word Bearer in front of it");
        let fits = |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(given.tokens.iter().all(|one| fits(one.token.expose_secret())), "a token is not printable ASCII");
        Ok(given)
    }

    fn own(&self) -> impl Iterator<Item = &GivenToken> {
        self.tokens.iter().filter(|token| token.audience.is_none())
    }
}

/// Signs tokens that the server under test believes, for as long as they are good.
pub struct Mint {
    /// The key that the server trusts.
    pub key: Arc<RsaKey>,
    /// What `iss` says.
    pub issuer: String,
}

/// Where tokens come from.
#[derive(Default)]
pub struct Tokens {
    /// From the person.
    pub given: Given,
    /// From here.
    pub mint: Option<Mint>,
    /// From an authorization server at which somebody logs in.
    pub login: Option<Box<Login>>,
}

/// The audience and the scopes of tokens.
pub struct Purpose {
    /// What `aud` says.
    pub audience: String,
    /// All scopes that the server names.
    pub scopes: String,
}

impl Tokens {
    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.mint.is_some() || self.login.is_some() || self.given.own().next().is_some()
    }

    /// A token that the server should accept, with as many scopes as possible; `None` if it takes a log-in.
    pub fn good(&self, purpose: &Purpose) -> Option<String> {
        if let Some(mint) = &self.mint {
            return Some(mint.token(&mint.claims(purpose)));
        }
        let count = |token: &GivenToken| token.scopes.as_ref().map_or(0, |scopes| scopes.iter().count());
        // The first of those with the most scopes.
        let best = self.given.own().reduce(|best, other| if count(other) > count(best) { other } else { best });
        best.map(|token| token.token.expose_secret().to_owned())
    }

    /// A token with exactly these scopes.
    pub fn with_scopes(&self, purpose: &Purpose, scopes: &str) -> Option<String> {
        if let Some(mint) = &self.mint {
            let mut claims = mint.claims(purpose);
            claims["scope"] = json!(scopes);
            if let Some(members) = claims.as_object_mut().filter(|_| scopes.is_empty()) {
                members.remove("scope");
            }
            return Some(mint.token(&claims));
        }
        let wanted = Scopes::parse(scopes).ok()?;
        let same =
            |has: &Scopes| has.iter().all(|one| wanted.contains(one)) && wanted.iter().all(|one| has.contains(one));
        let found = self.given.own().find(|token| token.scopes.as_ref().is_some_and(same));
        found.map(|token| token.token.expose_secret().to_owned())
    }

    /// Given tokens that are for other resources.
    pub fn foreign(&self) -> impl Iterator<Item = (&str, &str)> {
        let foreign = self.given.tokens.iter();
        foreign.filter_map(|one| one.audience.as_deref().map(|audience| (audience, one.token.expose_secret())))
    }
}

impl Mint {
    /// The header of its tokens (RFC 9068 §2.1).
    pub fn header(&self) -> Value {
        json!({ "alg": "RS256", "typ": "at+jwt", "kid": self.key.kid() })
    }

    /// The claims of a good token (RFC 9068 §2.2).
    pub fn claims(&self, purpose: &Purpose) -> Value {
        let now = now();
        json!({
            "iss": self.issuer, "aud": purpose.audience, "sub": "auth-check", "client_id": "auth-check",
            "scope": purpose.scopes, "exp": now + 570,
            // The server's clock may be a little behind ours, and some servers allow for no difference.
            "iat": now - 30,
            // No two tokens have the same (RFC 7519 §4.1.7), also if they are made in one second.
            "jti": format!("auth-check-{now}-{}-{}", process::id(), MADE.fetch_add(1, Relaxed)),
        })
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.key.sign(&self.header(), claims.to_string().as_bytes(), Algorithm::Rs256)
    }
}

/// Reads a private key from a file.
///
/// # Errors
/// If there is none.
pub fn read_key(path: &std::path::Path) -> Result<RsaKey> {
    let shown = path.display();
    let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    RsaKey::from_pem(&pem).with_context(|| format!("cannot use {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_have_the_same_jti() {
        let mint = Mint { key: Arc::new(RsaKey::generate().unwrap()), issuer: "https://login.example".to_owned() };
        let purpose = Purpose { audience: "https://mcp.example/mcp".to_owned(), scopes: "a".to_owned() };
        let [one, other] = [(); 2].map(|()| mint.claims(&purpose));
        assert!(one["jti"].is_string() && one["jti"] != other["jti"], "{one} {other}");
    }

    #[test]
    fn a_token_file_is_read_strictly_and_its_complaints_have_no_secret() {
        let purpose = Purpose { audience: "https://mcp.example/mcp".to_owned(), scopes: "a b".to_owned() };
        let text = r#"{"tokens":[{"token":"one","scopes":"a"},{"token":"two","scopes":"b a"},
            {"token":"three","audience":"https://other.example"},{"token":"four","scopes":""}]}"#;
        let tokens = Tokens { given: Given::read(text).unwrap(), ..Tokens::default() };
        assert_eq!(tokens.good(&purpose).as_deref(), Some("two"));
        assert_eq!(tokens.with_scopes(&purpose, "").as_deref(), Some("four"));
        assert_eq!(tokens.with_scopes(&purpose, "a b").as_deref(), Some("two"));
        assert_eq!(tokens.with_scopes(&purpose, "b"), None);
        assert_eq!(tokens.foreign().collect::<Vec<_>>(), [("https://other.example", "three")]);
        let with_scheme = Given::read(r#"{"tokens":[{"token":"Bearer secret"}]}"#).unwrap_err().to_string();
        assert!(with_scheme.contains("without the word Bearer"), "{with_scheme}");
        for bad in [r#"{"tokens":["secret"]}"#, "secret", r#"{"tokens":[]}"#, r#"{"tokens":[{"token":"a secret"}]}"#] {
            assert!(!Given::read(bad).unwrap_err().to_string().contains("secret"), "{bad}");
        }
    }
}
