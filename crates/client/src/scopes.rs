//! Which scopes are asked for (MCP 2026-07-28 "Scope Selection Strategy", "Step-Up Authorization Flow").

use std::collections::BTreeSet;

use oauth::{identifiers::Scope, scope::is_scope};

use crate::failure::{Failure, Result};

/// More scopes than this, and longer ones, are no longer a question that a person could answer.
const MAX_SCOPES: usize = 100;
const MAX_SCOPE_LENGTH: usize = 4_096;
/// Asks for a refresh token (OpenID Connect Core §11).
const OFFLINE_ACCESS: &str = "offline_access";

/// What there is to choose from.
pub struct Choice<'a> {
    /// What the person named.
    pub named: Option<&'a [Scope]>,
    /// The scopes that a new token needs: those of the earlier one, and the missing ones.
    pub step_up: &'a BTreeSet<Scope>,
    /// The challenge's `scope`.
    pub challenged: Option<&'a str>,
    /// `scopes_supported` of the protected resource's metadata.
    pub resource: Option<&'a [String]>,
    /// `scopes_supported` of the authorization server's metadata.
    pub authorization_server: &'a [String],
    /// What was asked for before, at the same authorization server.
    pub before: &'a [Scope],
    /// Whether a person logs in, who would have to do it again without a refresh token.
    pub person: bool,
}

impl Choice<'_> {
    /// The scopes that the person names; otherwise those of the challenge, then those of the metadata, then none.
    ///
    /// # Errors
    /// If the server names what cannot be asked for.
    pub fn choose(&self) -> Result<Vec<Scope>> {
        if let Some(named) = self.named {
            return Ok(named.to_vec());
        }
        let mut chosen: Vec<Scope> = match (self.challenged, self.resource) {
            _ if !self.step_up.is_empty() => self.step_up.iter().cloned().collect(),
            (Some(scope), _) => parse(scope)?,
            (None, Some(supported)) => parse(&supported.join(" "))?,
            (None, None) => Vec::new(),
        };
        // A new token must not lose what was granted before.
        let lost: Vec<Scope> = self.before.iter().filter(|scope| !chosen.contains(scope)).cloned().collect();
        chosen.extend(lost);
        // A refresh token has to be asked for where the server has a scope for it ("Refresh Tokens").
        let offline = Scope::new(OFFLINE_ACCESS);
        let offered = self.authorization_server.iter().any(|scope| offline == **scope);
        if self.person && !chosen.is_empty() && offered && !chosen.contains(&offline) {
            chosen.push(offline);
        }
        Ok(chosen)
    }
}

/// The scopes in a space-separated list, each once (RFC 6749 §3.3).
///
/// # Errors
/// If one of them is not valid, or there are too many.
pub fn parse(text: &str) -> Result<Vec<Scope>> {
    let mut scopes: Vec<Scope> = Vec::new();
    for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
        if !is_scope(scope) || text.len() > MAX_SCOPE_LENGTH || scopes.len() == MAX_SCOPES {
            return Err(Failure::authorization("the server asks for scopes that are not valid, or for too many"));
        }
        if !scopes.iter().any(|known| *known == *scope) {
            scopes.push(Scope::new(scope));
        }
    }
    Ok(scopes)
}

/// A list of scopes as it is sent.
pub fn written<'a>(scopes: impl IntoIterator<Item = &'a Scope>) -> String {
    scopes.into_iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scopes: &[&str]) -> Vec<String> {
        scopes.iter().map(ToString::to_string).collect()
    }

    fn scopes(scopes: &[&str]) -> Vec<Scope> {
        scopes.iter().copied().map(Scope::new).collect()
    }

    #[test]
    fn the_challenge_comes_before_the_metadata_and_nothing_gets_lost() {
        let (resource, server) = (texts(&["meta"]), texts(&["offline_access"]));
        let (named, before, none) = (scopes(&["named"]), scopes(&["old", "a"]), BTreeSet::new());
        let choice = |named, challenged, before| Choice {
            named,
            step_up: &none,
            challenged,
            resource: Some(&resource),
            authorization_server: &server,
            before,
            person: true,
        };
        let choose = |choice: Choice| written(&choice.choose().unwrap());
        assert_eq!(choose(choice(Some(&named), Some("a"), &before)), "named");
        assert_eq!(choose(choice(None, Some("a b a"), &[])), "a b offline_access");
        assert_eq!(choose(choice(None, Some("a"), &before)), "a old offline_access");
        assert_eq!(choose(choice(None, None, &[])), "meta offline_access");
        let step_up = BTreeSet::from([Scope::new("more")]);
        assert_eq!(choose(Choice { step_up: &step_up, ..choice(None, Some("a"), &[]) }), "more offline_access");
        assert_eq!(choose(Choice { person: false, ..choice(None, Some("a"), &[]) }), "a");
        assert_eq!(choose(Choice { resource: None, ..choice(None, None, &[]) }), "");
    }

    #[test]
    fn a_scope_is_what_rfc_6749_calls_one() {
        assert_eq!(parse(" a  b:c a ").unwrap(), scopes(&["a", "b:c"]));
        for bad in ["a\"b", "a\\b", "a\tb", "ä", &"x".repeat(MAX_SCOPE_LENGTH + 1)] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let many: Vec<String> = (0..=MAX_SCOPES).map(|number| number.to_string()).collect();
        assert!(parse(&many.join(" ")).is_err());
    }
}
