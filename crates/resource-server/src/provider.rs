//! A trusted issuer: its keys, and what its tokens must satisfy (RFC 9068 §4).

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation};
use oauth::claims::{Audience, Claims};
use serde_json::Value;

use crate::{
    json::Members,
    keys::Keys,
    profile::{Advice, Profile},
    reading::mistyped_own,
    refusal::Refusal,
};

/// How far, in seconds, the issuer's clock may be from ours.
pub const LEEWAY: u64 = 30;
/// The longest claim that is accepted, in bytes: it is remembered, and some are shown in headers.
const MAX_CLAIM: usize = 1024;
/// The same for lists: of audiences and of scopes.
const MAX_LIST: usize = 4096;

/// A trusted issuer.
pub struct Provider {
    /// The exact `iss` of its tokens.
    pub issuer: String,
    /// One of these must be in `aud`.
    pub audience: Vec<String>,
    pub keys: Arc<Keys>,
    /// `None`: we are the issuer, and our claims are as we read them.
    pub profile: Option<Profile>,
    /// Whether it can be asked about opaque tokens.
    pub introspects: bool,
    /// The scopes that this server knows.
    pub scopes: Arc<[String]>,
}

impl Provider {
    /// What a token with this `alg` must satisfy, or `None` if the issuer may not use it.
    pub fn validation(&self, algorithm: Algorithm) -> Option<Validation> {
        let allowed = self.profile.as_ref().map_or(&[Algorithm::RS256][..], |profile| &profile.algorithms);
        if !allowed.contains(&algorithm) {
            return None;
        }
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&self.audience);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        Some(validation)
    }

    /// The claims of a verified token, which must be an access token and say whom it is about.
    pub fn claims(&self, members: Members) -> Result<Claims, Refusal> {
        let claims = match &self.profile {
            // A stolen token must not be usable without the key that it is bound to.
            _ if members.0.contains_key("cnf") => return Err(Refusal::token_bound()),
            Some(profile) if !profile.is_access_token(&members.0) => return Err(Refusal::other_type()),
            Some(profile) => profile.claims(&members.0, &self.scopes),
            None => {
                let wrong = mistyped_own(&members.0).unwrap_or_default();
                serde_json::from_value(members.0.into()).map_err(|_| wrong.to_owned())
            }
        };
        let claims = claims.map_err(|place| Refusal::mistyped(&place).with("iss", &self.issuer))?;
        let words =
            [Some(&claims.sub), claims.preferred_username.as_ref(), claims.client_id.as_ref(), claims.jti.as_ref()];
        let long = words.into_iter().flatten().any(|word| word.len() > MAX_CLAIM);
        let audience = match &claims.aud {
            Audience::One(name) => name.len(),
            Audience::Several(names) => names.iter().map(|name| name.len() + 1).sum(),
        };
        if self.profile.is_some() && (long || audience.max(claims.scope.to_string().len()) > MAX_LIST) {
            return Err(Refusal::token(
                "claim_too_long",
                "A claim of the token is longer than 1 KiB, or a list than 4 KiB.",
            ));
        }
        if claims.sub.is_empty() {
            return Err(Refusal::token("subject_missing", "The token's subject (sub) is empty."));
        }
        Ok(claims)
    }

    /// The refusal of a token for another audience, or for none.
    pub fn wrong_audience(&self, aud: Option<&Value>) -> Refusal {
        let (reason, description) = match aud {
            Some(_) => ("audience_other", "The token is for another audience (aud)."),
            None => ("audience_missing", "The token has no audience (aud)."),
        };
        let refusal = Refusal::token(reason, format!("{description} It must be {}.", self.audience.join(" or ")));
        let refusal = refusal.advise(self.advice(|advice| &advice.audience)).with("iss", &self.issuer);
        aud.map_or(refusal.clone(), |aud| refusal.with("aud", &aud.to_string()))
    }

    /// What to do about a fault of this provider's tokens.
    pub fn advice(&self, of: impl FnOnce(&Advice) -> &String) -> &str {
        self.profile.as_ref().map_or("", |profile| of(&profile.advice))
    }
}

#[cfg(test)]
mod tests {
    use oauth::jwks::KeySet;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_of_our_own_tokens_that_is_of_the_wrong_type_is_named() {
        let provider = Provider {
            issuer: "i".to_owned(),
            audience: Vec::new(),
            keys: Arc::new(Keys::own(KeySet::default())),
            profile: None,
            introspects: false,
            scopes: Arc::new([]),
        };
        let claims = |name: &str, value: Value| {
            let mut token = json!({ "iss": "i", "aud": "a", "sub": "s", "exp": 1, "roles": ["user"] });
            token[name] = value;
            let Value::Object(members) = token else { panic!("not an object") };
            provider.claims(Members(members)).map_err(|refusal| refusal.description)
        };
        assert!(claims("preferred_username", json!("alice")).is_ok());
        for (name, value) in [
            ("preferred_username", Value::Null),
            ("client_id", json!(1)),
            ("scope", json!(["mcp:read"])),
            ("scope", json!("\u{7f}")),
            ("roles", json!({ "admin": {} })),
            ("roles", json!("admin")),
            ("roles", json!([1])),
            ("exp", json!("1")),
        ] {
            let refused = claims(name, value).unwrap_err();
            assert_eq!(refused, format!("The token's claim {name} has the wrong type."));
        }
    }
}
