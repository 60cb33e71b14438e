//! What is tried with refresh tokens.

use std::collections::HashSet;

use serde_json::Value;

use super::outcome::{Granted, Refreshes};
use crate::{access::first_scopes, context::Context, message::Exchange, model::Unmet};

/// How many requests come with one refresh token at once.
const RACERS: usize = 5;
/// A scope that nobody grants.
const NOBODYS: &str = "auth-check:nobody-grants-this";

/// What came of refreshes at once.
pub struct Race {
    /// One of their answers with a token, if there is one.
    pub winner: Option<Exchange>,
    /// How many of the refresh tokens that they gave are good after it.
    pub alive: usize,
}

/// The chain of refresh tokens: each refresh may give the next.
struct Chain<'a> {
    context: &'a Context,
    current: String,
}

impl Chain<'_> {
    async fn refresh(&mut self, scope: Option<&str>) -> Result<Exchange, Unmet> {
        let exchange = self.context.refresh(self.context.own_client().await?, &self.current, scope).await?;
        self.follow(&exchange);
        Ok(exchange)
    }

    /// Whether a refresh gave a token; then the next goes on from there.
    fn follow(&mut self, exchange: &Exchange) -> bool {
        let granted = Granted::of(exchange);
        if let Some(next) = granted.as_ref().and_then(|granted| granted.refresh_token.clone()) {
            self.current = next;
        }
        granted.is_some()
    }

    /// Makes sure that the chain still works, so that an earlier refusal was not caused by its end.
    async fn is_alive(&mut self) -> Result<(), Unmet> {
        let exchange = self.refresh(None).await?;
        let ended = || Unmet("refresh tokens that outlive a bad request".to_owned());
        Granted::of(&exchange).map(drop).ok_or_else(ended)
    }
}

impl Context {
    /// What came of the first log-in's refresh tokens.
    ///
    /// # Errors
    /// If there are none, or they do not work at all.
    pub async fn refreshes(&self) -> Result<&Refreshes, Unmet> {
        let refreshes = self.login()?.refreshes.get_or_init(|| self.try_refreshes());
        refreshes.await.as_ref().map_err(Clone::clone)
    }

    async fn try_refreshes(&self) -> Result<Refreshes, Unmet> {
        let granted = self.granted().await?;
        let first = granted.refresh_token()?.to_owned();
        let mut chain = Chain { context: self, current: first.clone() };
        let plain = chain.refresh(None).await?;
        let rotates = chain.current != first;
        let scopes = granted.scope.unwrap_or(self.purpose().await?.scopes);
        let has: HashSet<&str> = scopes.split(' ').collect();
        let all = first_scopes(&scopes);
        // `offline_access` may be needed to refresh at all.
        let some: Vec<_> = all.iter().filter(|scope| **scope != "offline_access").collect();
        let narrowed = match some[..] {
            [one, _, ..] => chain.refresh(Some(one)).await.map(|exchange| (exchange, (*one).to_owned())),
            _ => Err(Unmet("a log-in that gives more than one scope".to_owned())),
        };
        let known = self.endpoints().await?.json["scopes_supported"].as_array().cloned().unwrap_or_default();
        let more = known.iter().filter_map(Value::as_str).find(|scope| !has.contains(scope));
        let more = more.unwrap_or(NOBODYS).to_owned();
        let widened = (chain.refresh(Some(&format!("{} {more}", all.join(" ")))).await?, more);
        let other = match (chain.is_alive().await, self.other_client().await) {
            (Ok(()), Ok(client)) => {
                let exchange = self.refresh(client, &chain.current, None).await?;
                let accepted = chain.follow(&exchange);
                if accepted { Ok(exchange) } else { chain.is_alive().await.map(|()| exchange) }
            }
            (Err(unmet), _) | (_, Err(unmet)) => Err(unmet),
        };
        let reused = match chain.is_alive().await {
            Ok(()) if rotates => {
                let again = self.refresh(self.own_client().await?, &first, None).await?;
                Ok((again, chain.refresh(None).await?))
            }
            Ok(()) => Err(Unmet("refresh tokens that change".to_owned())),
            Err(unmet) => Err(unmet),
        };
        Ok(Refreshes { plain, rotates, narrowed, widened, other, reused })
    }

    /// What came of refreshes at once, with the refresh token of one more log-in.
    ///
    /// # Errors
    /// If there is none.
    pub async fn race(&self) -> Result<Race, Unmet> {
        let granted = self.more("for refreshes at the same time").await?;
        let (token, client) = (granted.refresh_token()?, self.own_client().await?);
        let one = || Box::pin(self.refresh(client, token, None));
        let all = tokio::join!(one(), one(), one(), one(), one());
        let answers: [_; RACERS] = [all.0?, all.1?, all.2?, all.3?, all.4?];
        let mut given: Vec<String> =
            answers.iter().filter_map(Granted::of).filter_map(|granted| granted.refresh_token).collect();
        given.sort();
        given.dedup();
        let mut alive = 0;
        for token in &given {
            alive += usize::from(Granted::of(&self.refresh(client, token, None).await?).is_some());
        }
        Ok(Race { winner: answers.into_iter().find(|answer| Granted::of(answer).is_some()), alive })
    }
}
