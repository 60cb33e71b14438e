//! The browser's way to the authorization server and back.

use std::{sync::atomic::Ordering, time::Instant};

use oauth::secret::random_bytes;
use url::Url;

use super::{
    MAX_ROUNDS, Visit,
    outcome::{Question, Round, param},
};
use crate::{
    access::first_scopes,
    context::Context,
    jose::{b64, hash},
    message::{Exchange, Reply, Request},
    model::Unmet,
};

/// The longest address that the browser is given, in bytes.
const MAX_ADDRESS: usize = 8192;

/// A text that nobody can guess: 43 characters of base64url.
///
/// # Errors
/// If the system has no randomness.
pub fn random() -> Result<String, Unmet> {
    random_bytes().map(|bytes: [u8; 32]| b64(bytes)).map_err(|_| Unmet("a computer with randomness".to_owned()))
}

impl Context {
    /// An authorization request. `change` replaces parameters, or removes those that it makes empty.
    ///
    /// # Errors
    /// If there is no client to make it, or nobody to make it to.
    pub async fn question(&self, change: &[(&str, &str)]) -> Result<Question, Unmet> {
        let (endpoints, client, purpose) = (self.endpoints().await?, self.own_client().await?, self.purpose().await?);
        let (state, verifier) = (random()?, random()?);
        let mut scope = purpose.scopes;
        if endpoints.lists("scopes_supported", "offline_access") && !first_scopes(&scope).contains(&"offline_access") {
            scope += " offline_access";
        }
        let (challenge, redirect_uri) = (hash(&verifier), self.login()?.browser.redirect_uri().to_string());
        let mut params = vec![
            ("response_type", "code"),
            ("client_id", &client.id),
            ("redirect_uri", &redirect_uri),
            ("scope", scope.trim()),
            ("state", &state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", &purpose.audience),
        ];
        for (name, value) in &mut params {
            if let Some((_, other)) = change.iter().find(|(changed, _)| changed == name) {
                *value = other;
            }
        }
        params.retain(|(_, value)| !value.is_empty());
        let asked = params.iter().find(|(name, _)| *name == "redirect_uri").map_or(&*redirect_uri, |(_, uri)| uri);
        let redirect_uri = Url::parse(asked).map_err(|_| Unmet("a redirect URI that is a URL".to_owned()))?;
        let mut url = endpoints.authorization.clone();
        url.query_pairs_mut().extend_pairs(&params);
        let request = self.hide(Request::new("GET", &url).header("Accept", "text/html"));
        Ok(Question { request, redirect_uri, state, verifier })
    }

    /// Sends the browser there; `None` if it stayed.
    ///
    /// # Errors
    /// If it was opened often enough, or nobody logs in.
    pub async fn visit(&self, question: Question, why: &str, may_stay: bool) -> Result<Option<Round>, Unmet> {
        let login = self.login()?;
        // After one log-in that did not end, the run does not wait for another.
        if let Some(unmet) = login.ended.get() {
            return Err(unmet.clone());
        }
        let number = login.rounds.fetch_add(1, Ordering::Relaxed) + 1;
        if number > MAX_ROUNDS {
            return Err(Unmet(format!("more than {MAX_ROUNDS} log-ins")));
        }
        let (url, redirect_uri) = (&question.request.url, &question.redirect_uri);
        if url.as_str().len() > MAX_ADDRESS {
            return Err(Unmet("an authorization_endpoint that a browser takes".to_owned()));
        }
        let started = Instant::now();
        let visited = login.browser.visit(Visit { url, redirect_uri, number, why, may_stay }).await;
        // The person's time is not the server's.
        self.http.do_not_count(started.elapsed());
        let place = match visited {
            Ok(Some(place)) => place,
            Ok(None) => return Ok(None),
            Err(unmet) => return Err(login.ended.get_or_init(|| unmet).clone()),
        };
        let headers = vec![("Location".to_owned(), place.to_string().into_bytes())];
        let came = Reply { status: 302, headers, body: Vec::new() };
        let exchange = Exchange { sent: question.request.clone(), came };
        Ok(Some(Round { question, exchange }))
    }

    /// One log-in: a code.
    ///
    /// # Errors
    /// If nobody comes back.
    pub async fn round(&self, why: &str) -> Result<Round, Unmet> {
        self.round_for(&[], why).await
    }

    /// One log-in, for an authorization request that was [changed](Self::question).
    ///
    /// # Errors
    /// If nobody comes back.
    pub async fn round_for(&self, change: &[(&str, &str)], why: &str) -> Result<Round, Unmet> {
        let round = self.visit(self.question(change).await?, why, false).await?;
        round.ok_or_else(|| Unmet("a log-in that comes back to the client".to_owned()))
    }

    /// Makes an authorization request that a good server refuses. What sends the browser back with a code, or, if the
    /// redirect URI is wrong, at all; `None` if nothing does.
    ///
    /// # Errors
    /// If it cannot be tried.
    pub async fn accepted(&self, change: &[(&str, &str)], why: &str) -> Result<Option<Exchange>, Unmet> {
        let wrong_place = change.iter().any(|(name, _)| *name == "redirect_uri");
        let question = self.question(change).await?;
        let leads_there = |place: &Url| {
            let same = place.origin() == question.redirect_uri.origin() && place.path() == question.redirect_uri.path();
            same.then(|| wrong_place || param(place, "code").is_some())
        };
        // Most servers look at the request before they ask who is there: then it takes no browser.
        let exchange = self.send(question.request.clone()).await?;
        if let Some(accepted) = exchange.location().and_then(|place| leads_there(&place)) {
            return Ok(accepted.then_some(exchange));
        }
        if exchange.came.status >= 400 {
            return Ok(None);
        }
        let round = self.visit(question, why, true).await?;
        let accepts = |round: &Round| wrong_place || round.param("code").is_some();
        Ok(round.filter(accepts).map(|round| round.exchange))
    }
}
