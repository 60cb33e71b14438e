//! What makes a token good (RFC 9068 §4, RFC 8725 §3): its issuer's own key and algorithm, and claims that are meant
//! for this server. The issuer is asked for what only it knows. A token that was verified before is not verified again.

use jsonwebtoken::decode;
use oauth::claims::{Claims, JoseHeader};

use crate::{
    bearer,
    caller::Caller,
    issuers::Issuers,
    json::{Members, unverified},
    keys::NoKey,
    provider::Provider,
    refusal::{self, Refusal},
};

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

impl Issuers {
    /// The caller whose token is in these `Authorization` headers.
    ///
    /// # Errors
    /// If there is no good token.
    pub async fn authenticate<'a>(&self, authorization: impl Iterator<Item = &'a [u8]>) -> Result<Caller, Refusal> {
        let refusal = match bearer::token(authorization) {
            Ok(token) => match self.caller(token).await {
                Ok(caller) => return Ok(caller),
                Err(refusal) => refusal,
            },
            Err(refusal) => refusal,
        };
        // While no token can be checked, no other token would help.
        if self.any_ready() || refusal.is_ours() { Err(refusal) } else { Err(Refusal::no_keys(self.problem())) }
    }

    /// The caller for whom a token speaks, if we or its issuer find the token good.
    pub async fn caller(&self, token: &str) -> Result<Caller, Refusal> {
        match self.verify_once(token) {
            Ok(caller) => Ok(caller),
            Err(refusal) => self.ask_issuer(token, refusal).await,
        }
    }

    /// Asks for what only the issuer knows: whether it has made a key since, or whether an opaque token is good.
    /// Requests with a known key do not come here.
    async fn ask_issuer(&self, token: &str, refusal: Refusal) -> Result<Caller, Refusal> {
        if matches!(refusal.reason, refusal::KEYS_MISSING | refusal::KEY_AMBIGUOUS) {
            let provider = self.issuer(token)?;
            // Its tokens may look like JWTs and still be readable by the issuer only.
            if let Some((provider, opaque)) = self.of_opaque().filter(|(opaque, _)| opaque.issuer == provider.issuer)
                && !provider.keys.has_keys()
            {
                return opaque.caller(token, provider).await;
            }
        }
        match refusal.reason {
            refusal::KEY_UNKNOWN | refusal::KEYS_MISSING => match self.issuer(token)?.keys.look_again().await {
                None => self.verify_once(token),
                Some(wait) => {
                    let wait = (wait.as_secs() + 1).max(refusal.retry_after.unwrap_or_default());
                    Err(Refusal { retry_after: Some(wait), ..refusal })
                }
            },
            // The key that we know may not be the issuer's latest: requests after the cool-down will find out.
            refusal::SIGNATURE_WRONG | refusal::KEY_AMBIGUOUS | refusal::ALGORITHM_OTHER => {
                self.issuer(token)?.keys.look_again_later();
                Err(refusal)
            }
            refusal::TOKEN_MALFORMED if token.split('.').count() != 3 => match self.of_opaque() {
                Some((provider, opaque)) => opaque.caller(token, provider).await,
                None => Err(refusal),
            },
            _ => Err(refusal),
        }
    }

    /// The same as [`Issuers::verify`], but not again for a token that was verified before.
    fn verify_once(&self, token: &str) -> Result<Caller, Refusal> {
        self.verified().cache().get_or_verify(token, |token| self.verify(token).map(Caller::new))
    }

    /// The token's claims, if every check passes; else which one did not.
    fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::token("token_too_long", "The token is longer than 16 KiB."));
        }
        // Until the signature is checked, the header is only the sender's claim: it may only narrow the choice of keys.
        let description = "The token is not a JWT with a signature that we check.";
        let malformed = || Refusal::token(refusal::TOKEN_MALFORMED, description);
        let header = JoseHeader::of(token).filter(|_| token.split('.').count() == 3).ok_or_else(malformed)?;
        let typ = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        if !matches!(typ.as_str(), "jwt" | "at+jwt" | "application/at+jwt") {
            return Err(Refusal::other_type());
        }
        if header.crit.is_some() {
            let description = "The token has critical headers (crit) that are not understood.";
            return Err(Refusal::token("crit_unknown", description));
        }
        // So is the issuer's name: it only chooses the keys that the signature must fit.
        let provider = self.issuer(token)?;
        let validation = provider.validation(header.alg);
        let validation = validation.ok_or_else(|| Refusal::no_key(provider, NoKey::Algorithm))?;
        let key = provider.keys.key(header.kid.as_deref(), header.alg).map_err(|why| Refusal::no_key(provider, why))?;
        let decoded = decode::<Members>(token, &key.decoding, &validation);
        let members = decoded.map_err(|error| Refusal::of(error.kind(), token, provider))?.claims;
        provider.claims(members)
    }

    /// The issuer whose token this claims to be, if it is one that we trust.
    fn issuer(&self, token: &str) -> Result<&Provider, Refusal> {
        let unverified = unverified(token).ok_or_else(Refusal::malformed)?;
        let iss = unverified
            .get("iss")
            .ok_or_else(|| Refusal::token("issuer_missing", "The token lacks iss, its issuer."))?;
        let iss = iss.as_str().ok_or_else(|| Refusal::mistyped("iss"))?;
        self.of(iss).ok_or_else(|| {
            let trusted: Vec<_> = self.iter().map(|provider| provider.issuer.as_str()).collect();
            let description = format!(
                "The token is from another issuer (iss). This server trusts {}, to the letter.",
                trusted.join(" and ")
            );
            Refusal::token("issuer_unknown", description).with("iss", iss)
        })
    }
}
