//! How the server under test is asked with a token.

use oauth::scope::Scopes;
use serde_json::Value;

use crate::{
    context::{Context, Era, Operation},
    documents::Document,
    jose,
    message::{Exchange, Request},
    model::{Needs, Unmet},
    tokens::Purpose,
};

/// The most scopes that a token is asked for.
const MAX_SCOPES: usize = 100;

/// The first scopes of a text: a server may name any number.
pub(crate) fn first_scopes(text: &str) -> Vec<&str> {
    text.split(' ').filter(|scope| !scope.is_empty()).take(MAX_SCOPES).collect()
}

/// A given token, unless it has expired: what it is answered with then says nothing.
pub(crate) fn lasting(token: String) -> Result<String, Unmet> {
    if jose::ends(&token).is_some_and(jose::is_over) {
        return Err(Unmet("a token that has not expired".to_owned()));
    }
    Ok(token)
}

impl Context {
    /// A token that the server should accept.
    ///
    /// # Errors
    /// If there is no way to one.
    pub async fn token(&self) -> Result<String, Unmet> {
        match self.tokens.good(&self.purpose().await?) {
            Some(token) => lasting(token),
            None if self.tokens.login.is_some() => self.good_token().await,
            None => Err(Unmet(Needs::Token.as_str().to_owned())),
        }
    }

    /// The audience and the scopes that tokens need: the resource and all scopes that the server names.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn purpose(&self) -> Result<Purpose, Unmet> {
        let document = self.resource().await.ok().map(Document::resource);
        let document = document.and_then(Result::ok);
        let named = document.as_ref().map(|document| document.resource.clone());
        let audience = self.audience.clone().or(named).unwrap_or_else(|| self.target.to_string());
        let challenged = self.anonymous().await?.came.challenge("scope");
        let listed = document.and_then(|document| document.scopes_supported).unwrap_or_default();
        let all = challenged.into_iter().chain(listed).collect::<Vec<_>>().join(" ");
        let scopes = Scopes::parse(&first_scopes(&all).join(" ")).map(|scopes| scopes.as_str().to_owned());
        Ok(Purpose { audience, scopes: scopes.unwrap_or_default() })
    }

    /// In which era a good token is let in; or the last answer to one that was not.
    ///
    /// # Errors
    /// If there is no token, or no answer.
    pub async fn era(&self) -> Result<&Result<Era, Exchange>, Unmet> {
        self.era
            .get_or_try_init(async || {
                let token = self.token().await?;
                let legacy = self.ask(self.legacy("initialize").bearer(&token)).await?;
                if legacy.came.is_success() {
                    return Ok(Ok(Era::Legacy { session: legacy.came.header("mcp-session-id").is_some() }));
                }
                let modern = self.ask(self.modern("server/discover").bearer(&token)).await?;
                // A refusal with 401 says more about the token than the other one.
                let refused = if legacy.came.status == 401 { legacy } else { modern.clone() };
                Ok(if modern.came.is_success() { Ok(Era::Modern) } else { Err(refused) })
            })
            .await
    }

    /// A request that every good token lets in, without one.
    ///
    /// # Errors
    /// If a good token was not let in.
    pub async fn probe(&self) -> Result<Request, Unmet> {
        match self.era().await? {
            Ok(Era::Legacy { .. }) => Ok(self.legacy("initialize")),
            Ok(Era::Modern) => Ok(self.modern("server/discover")),
            Err(_) => Err(Unmet("a token that the server accepts".to_owned())),
        }
    }

    /// Does this with a token, in a session of that token's if the server has sessions.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn operate(&self, operation: &Operation, token: &str) -> Result<Exchange, Unmet> {
        let era = self.era().await?.as_ref().copied().unwrap_or(Era::Legacy { session: false });
        let mut request = match (operation, era) {
            (Operation::Call(tool), era) => self.call(era, tool),
            (Operation::List, Era::Modern) => self.modern("tools/list"),
            (Operation::List, Era::Legacy { .. }) => self.legacy("tools/list"),
        };
        if era == (Era::Legacy { session: true }) {
            let begun = self.send(self.legacy("initialize").bearer(token)).await?;
            let Some(id) = begun.came.header("mcp-session-id") else { return Ok(begun) };
            request = request.header("Mcp-Session-Id", id).secret(id);
        }
        self.send(request.bearer(token)).await
    }

    /// The header and the claims of a good token.
    ///
    /// # Errors
    /// If there is none, or it is not a JWT.
    pub async fn jwt(&self) -> Result<(String, Value, Value), Unmet> {
        let token = self.token().await?;
        let (header, claims) = jose::taken_apart(&token).ok_or_else(|| Unmet(Needs::Jwt.as_str().to_owned()))?;
        Ok((token, header, claims))
    }
}
