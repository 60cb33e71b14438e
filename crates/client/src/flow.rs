//! The authorization flow (MCP 2026-07-28 "Authorization Flow Steps"): from a refused request to an accepted one.

use std::{collections::BTreeSet, sync::Arc};

use oauth::{challenge::Challenges, identifiers::Scope, secret::ExposeSecret};
use serde_json::Value;

use crate::{
    credentials::Grant,
    discovery::{choose_dpop, discover},
    endpoints::endpoint,
    escape,
    exchange::{Answer, Request},
    failure::{Failure, Kind, Result},
    grant::Wanted,
    http::Http,
    kept::Kept,
    refresh::{go_without, refresh, refresh_ahead},
    scopes::{self, Choice},
    settings::{GrantType, Settings},
    store::Store,
    words::Words,
};

/// How many times one run goes to the authorization server because of a 401.
const MAX_AUTHORIZATIONS: u8 = 2;
/// How often one run asks for more scopes ("Step-Up Authorization Flow", step 4).
const MAX_STEP_UPS: u8 = 2;

/// One run's way through authorization.
pub struct Flow {
    pub http: Http,
    kept: Kept,
    authorizations: u8,
    step_ups: u8,
}

/// What has been done about a request that was answered with 401. Each is done once, in this order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Tried {
    Nothing,
    Refresh,
    Authorization,
}

impl Flow {
    /// # Errors
    /// If the stored credentials cannot be used.
    pub fn new(http: Http, store: Arc<dyn Store>) -> Result<Self> {
        let kept = Kept::open(store, &http)?;
        Ok(Flow { http, kept, authorizations: 0, step_ups: 0 })
    }

    pub fn settings(&self) -> &Settings {
        &self.http.settings
    }

    /// The tokens that are kept for the server.
    pub fn grant(&self) -> Option<&Grant> {
        self.kept.grant()
    }

    /// Begins without the stored tokens. They stay until new ones replace them.
    pub fn start_over(&mut self) {
        self.kept.start_over();
    }

    /// Sends a request to the MCP server with the token at hand, and does what authorization needs: renews the token,
    /// asks the person to log in, or asks for more scopes. The answer that it returns is not about authorization.
    ///
    /// # Errors
    /// If there is no answer, or the server still refuses.
    pub async fn send(&mut self, why: &str, request: &Request, id: &Value) -> Result<Answer> {
        if self.settings().token.is_some() {
            return self.send_with_token_at_hand(why, request, id).await;
        }
        let (mut tried, mut proven) = (Tried::Nothing, false);
        refresh_ahead(&self.http, &mut self.kept).await?;
        loop {
            let token = self.kept.token().cloned();
            let (answer, challenge) = self.ask(why, request, id).await?;
            let error = challenge.error("error");
            let new_nonce = self.kept.dpop.as_ref().is_some_and(|dpop| dpop.remember(&request.url, &answer.headers));
            match answer.status.as_u16() {
                401 if error == Some("use_dpop_nonce") && new_nonce && !proven => {
                    self.http.note("The MCP server wants its nonce in the proof. Once more, with it.");
                    proven = true;
                }
                401 => {
                    if let Some(token) = token
                        && tried < Tried::Refresh
                    {
                        tried = Tried::Refresh;
                        match refresh(&self.http, &mut self.kept, &token).await {
                            Ok(true) => continue,
                            Ok(false) => {}
                            Err(failure) if failure.is_nowhere() => go_without(&self.http, &mut self.kept, &failure),
                            Err(failure) => return Err(failure),
                        }
                    }
                    if tried == Tried::Authorization || self.authorizations == MAX_AUTHORIZATIONS {
                        return Err(refusal(&answer, &challenge, "the MCP server refuses the token that it asked for"));
                    }
                    self.authorizations += 1;
                    tried = Tried::Authorization;
                    let where_to = match challenge.param("resource_metadata") {
                        Some(_) => "Its challenge says where to learn more.",
                        None => "It does not say where to learn more.",
                    };
                    self.http.note(&format!("The server wants a token. {where_to}"));
                    self.authorize(&challenge, &BTreeSet::new()).await?;
                }
                403 if error == Some("insufficient_scope") => self.step_up(&answer, &challenge).await?,
                403 => return Err(refusal(&answer, &challenge, "the MCP server does not allow this")),
                _ => return Ok(answer),
            }
        }
    }

    /// With a ready-made token from the person, the first answer is final.
    async fn send_with_token_at_hand(&self, why: &str, request: &Request, id: &Value) -> Result<Answer> {
        let (answer, challenge) = self.ask(why, request, id).await?;
        let (what, advice) = match (answer.status.as_u16(), challenge.error("error")) {
            (401, _) => (
                "the MCP server refuses the token",
                "It came from `Settings::token`. Give another, or none: then you can log in.",
            ),
            (403, Some("insufficient_scope")) => (
                "the token is not enough",
                "It came from `Settings::token`. Give one with these scopes, or none: then you can log in.",
            ),
            (403, _) => return Err(refusal(&answer, &challenge, "the MCP server does not allow this")),
            _ => return Ok(answer),
        };
        Err(refusal(&answer, &challenge, what).advice(advice))
    }

    /// Sends a last request, whose answer does not matter: it never leads to a log-in.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send_last(&self, why: &str, request: &Request) -> Result<()> {
        self.http.send(why, &self.with_token(request)?).await.map(drop)
    }

    /// One answer, and what it says about authorization.
    async fn ask(&self, why: &str, request: &Request, id: &Value) -> Result<(Answer, Challenges)> {
        let answer = self.http.send_message(why, request, id, |request| self.with_token(request)).await?;
        let scheme = if self.kept.dpop.is_some() { "DPoP" } else { "Bearer" };
        let (challenge, malformed) = Challenges::read(answer.header_bytes("www-authenticate"), scheme);
        if let Some(why) = malformed {
            self.http.note(&format!("The WWW-Authenticate header breaks RFC 9110 and is ignored: {why}."));
        }
        Ok((answer, challenge))
    }

    /// The request with the token. The token goes only to the server that it is for, and only in the header (RFC 6750
    /// §2.1).
    fn with_token(&self, request: &Request) -> Result<Request> {
        let mut request = request.clone();
        let Some(token) = self.settings().token.as_ref().or(self.kept.token()) else { return Ok(request) };
        if request.url != self.settings().server {
            return Err(Failure::local("a token is only sent to the server that it is for"));
        }
        let scheme = match &self.kept.dpop {
            Some(dpop) => {
                let proof = dpop.proof(&request.method, &request.url, Some(token))?;
                request.headers.push(("DPoP".to_owned(), proof));
                "DPoP"
            }
            None => "Bearer",
        };
        request.headers.push(("Authorization".to_owned(), format!("{scheme} {}", token.expose_secret())));
        Ok(request)
    }

    /// Asks for the scopes that are missing, together with those that were asked for before.
    async fn step_up(&mut self, answer: &Answer, challenge: &Challenges) -> Result<()> {
        let what = "the token is not enough";
        let wanted = scopes::parse(challenge.error("scope").unwrap_or_default())
            .map_err(|failure| failure.at(answer.exchange))?;
        let grant = self.kept.grant();
        let has_all = |scopes: &[Scope]| wanted.iter().all(|scope| scopes.contains(scope));
        if wanted.is_empty() {
            let advice =
                "The server does not say which scopes it wants. If you know them, name them with `Settings::scope`.";
            return Err(refusal(answer, challenge, what).advice(advice));
        }
        if grant.is_some_and(|grant| has_all(&grant.scope)) {
            let advice = "The token has what the server asks for, so another log-in would not help.";
            return Err(refusal(answer, challenge, what).advice(advice));
        }
        if let Some(chosen) = &self.settings().scope {
            if !has_all(chosen) {
                let union: BTreeSet<&Scope> = chosen.iter().chain(&wanted).collect();
                let union = scopes::written(union);
                let advice = format!("Run it with `Settings::scope` '{union}', or leave `Settings::scope` out.");
                return Err(refusal(answer, challenge, what).advice(advice));
            }
            if grant.is_some_and(|grant| grant.requested_scope == *chosen) {
                let advice =
                    "They were asked for with `Settings::scope`, and the authorization server did not give them.";
                return Err(refusal(answer, challenge, what).advice(advice));
            }
        }
        if self.step_ups == MAX_STEP_UPS {
            return Err(refusal(answer, challenge, &format!("{what}, though more was asked for {MAX_STEP_UPS} times")));
        }
        self.step_ups += 1;
        let requested = self.kept.grant().map(|grant| grant.requested_scope.clone()).unwrap_or_default();
        let union: BTreeSet<Scope> = requested.into_iter().chain(wanted).collect();
        self.http.note("The token is not enough for this. Back to the authorization server, for more scopes.");
        self.authorize(challenge, &union).await
    }

    /// Gets a token, starting from the challenge. A failure between two exchanges is reported at the earlier one, since
    /// a server's answer there caused it.
    async fn authorize(&mut self, challenge: &Challenges, step_up: &BTreeSet<Scope>) -> Result<()> {
        let outcome = Box::pin(self.try_to_authorize(challenge, step_up)).await;
        outcome.map_err(|failure| if failure.kind == Kind::Local { failure } else { failure.at(self.http.last()) })
    }

    async fn try_to_authorize(&mut self, challenge: &Challenges, step_up: &BTreeSet<Scope>) -> Result<()> {
        let Flow { http, kept, .. } = self;
        let before = kept.grant();
        let found = discover(http, challenge, before.map(|grant| grant.issuer.as_str())).await?;
        let before = before.filter(|grant| grant.issuer == *found.server.issuer);
        let scope = Choice {
            named: http.settings.scope.as_deref(),
            step_up,
            challenged: challenge.param("scope"),
            resource: found.scopes_supported.as_deref(),
            authorization_server: found.server.scopes_supported.as_deref().unwrap_or_default(),
            before: before.map_or(&[], |grant| &grant.requested_scope),
            person: matches!(http.settings.grant_type, GrantType::AuthorizationCode),
        }
        .choose()?;
        kept.dpop = choose_dpop(http.settings.dpop, challenge, &found)?;
        let token_endpoint = endpoint(&found.server, "token_endpoint", found.server.token_endpoint.as_deref())?;
        Wanted { found: &found, scope: scopes::written(&scope), token_endpoint }.get(http, kept).await
    }
}

/// A refusal in the words of the MCP server: those of its challenge, or otherwise of its body, which is a JSON-RPC
/// error, or has `error` and `error_description`.
fn refusal(answer: &Answer, challenge: &Challenges, what: &str) -> Failure {
    let words = Words::of(&answer.body);
    let error = challenge.error("error").map(escape::line).or(words.error);
    let description = challenge.error("error_description").map(escape::line).or(words.description);
    let said = error.into_iter().chain(description).collect::<Vec<_>>().join(", ");
    let said = if said.is_empty() { format!("it answers {}", answer.status) } else { said };
    let said = match challenge.error("scope").map(escape::line) {
        Some(scope) => format!("{}; it wants the scopes: {scope}", said.trim_end_matches('.')),
        None => said,
    };
    let logged = words.correlation_id.map_or(String::new(), |id| format!(" (its log has more: {id})"));
    let mut failure = Failure::authorization(format!("{what}: {said}{logged}")).at(answer.exchange);
    failure.advice = words.advice;
    failure
}
