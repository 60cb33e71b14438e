//! The issuers that are trusted, and the tokens of theirs that were verified. A token's issuer is found by its `iss`,
//! compared exactly; from then on only that issuer's keys, algorithms and audience count.

use std::sync::{Arc, PoisonError, RwLock};

use oauth::token_cache::TokenCache;

use crate::{
    caller::Caller,
    fetch::Problem,
    opaque::OpaqueTokens,
    provider::{LEEWAY, Provider},
};

/// All trusted issuers.
pub struct Issuers {
    list: Vec<Provider>,
    opaque: Option<OpaqueTokens>,
    verified: Arc<Verified>,
}

/// The tokens that were verified.
pub struct Verified(RwLock<TokenCache<Caller>>);

impl Verified {
    /// To be called before the keys are looked at. If a key goes away meanwhile, tokens verified with it are remembered
    /// in the old cache, which goes away with the key.
    pub fn cache(&self) -> TokenCache<Caller> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When a key has gone, the tokens that it verified must be verified again.
    pub fn forget(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = TokenCache::new(LEEWAY);
    }
}

impl Issuers {
    /// `opaque`: for the one issuer that may introspect.
    pub fn new(list: Vec<Provider>, opaque: Option<OpaqueTokens>) -> Self {
        Issuers { list, opaque, verified: Arc::new(Verified(RwLock::new(TokenCache::new(LEEWAY)))) }
    }

    pub fn verified(&self) -> &Arc<Verified> {
        &self.verified
    }

    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.list.iter()
    }

    /// The issuer of exactly this name.
    pub fn of(&self, issuer: &str) -> Option<&Provider> {
        self.iter().find(|provider| provider.issuer == issuer)
    }

    /// The issuer of opaque tokens, if there is one.
    pub fn of_opaque(&self) -> Option<(&Provider, &OpaqueTokens)> {
        Some((self.iter().find(|provider| provider.introspects)?, self.opaque.as_ref()?))
    }

    /// Why no token can be checked: of several reasons, a temporary one.
    pub fn problem(&self) -> Option<Problem> {
        let problems: Vec<_> = self.iter().map(|provider| provider.keys.problem()).collect();
        problems.iter().copied().find(|problem| problem.is_none_or(Problem::may_pass)).or(problems.first().copied())?
    }

    /// Whether any token can be checked.
    pub fn any_ready(&self) -> bool {
        self.iter().any(|provider| provider.keys.is_ready())
    }
}
