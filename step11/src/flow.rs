//! The authorization flow (MCP 2026-07-28 "Authorization Flow Steps"): from a request that is turned away to one that is
//! let through, by whatever way the two servers and the settings allow.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use url::Url;

use crate::{
    authorize::{Loopback, Question, ToldApartBy, authorize, redirect_uri_for, require_pkce},
    challenge::Challenges,
    dpop::{self, Dpop},
    failure::{Failure, Kind, Result},
    http::{Answer, Body, Http, Request, parse_url},
    metadata::{self, AuthorizationServer, ProtectedResource},
    registration::{Authentication, Client, register},
    settings::{Grant as GrantKind, Settings, default_redirect_uri},
    store::{Credentials, Entry, Grant, Lock},
    terminal,
    token::{
        AUTHORIZATION_CODE, CLIENT_CREDENTIALS, JWT_BEARER, REFRESH_TOKEN, TokenEndpoint, Tokens, identity_assertion,
    },
    words::Words,
};

/// How often one run lets itself be sent to the authorization server by a 401.
const MAX_AUTHORIZATIONS: u8 = 2;
/// How often one run asks for more scopes ("Step-Up Authorization Flow", step 4).
const MAX_STEP_UPS: u8 = 2;
/// A token is renewed this long before it expires: it must still be good when it arrives.
const AHEAD: TimeDelta = TimeDelta::seconds(30);
/// More scopes than this, and longer ones, are no longer a question that a person could answer.
const MAX_SCOPES: usize = 100;
const MAX_SCOPE_LENGTH: usize = 4_096;

/// One run's way through authorization.
pub struct Flow {
    pub http: Http,
    pub settings: Settings,
    /// `None`: the person has a token, and nothing is kept.
    entry: Option<Entry>,
    credentials: Credentials,
    dpop: Option<Dpop>,
    /// Whether the token was got in this run: then it is used, however short its life is.
    fresh: bool,
    /// Whether the token has expired, and nobody is where it could be renewed: then it is not sent, but stays.
    withheld: bool,
    authorizations: u8,
    step_ups: u8,
}

/// The two servers, as they describe themselves.
struct Discovered {
    resource: String,
    scopes_supported: Option<Vec<String>>,
    dpop_required: bool,
    server: AuthorizationServer,
}

impl Flow {
    /// # Errors
    /// If the stored credentials cannot be used.
    pub fn new(http: Http, settings: Settings, entry: Option<Entry>) -> Result<Self> {
        let stored = entry.as_ref().map(Entry::load).transpose()?.unwrap_or_default();
        http.secrets.add(settings.token.as_deref().unwrap_or_default(), "access token");
        if let Some(client) = &settings.client {
            http.secrets.add(client.secret.as_deref().unwrap_or_default(), "client secret");
        }
        match &settings.grant {
            GrantKind::JwtBearer { assertion } => http.secrets.add(assertion, "assertion"),
            GrantKind::IdentityAssertion { id_token, .. } => http.secrets.add(id_token, "ID token"),
            _ => {}
        }
        let credentials = Credentials::default();
        let mut flow = Flow {
            http,
            settings,
            entry,
            credentials,
            dpop: None,
            fresh: false,
            withheld: false,
            authorizations: 0,
            step_ups: 0,
        };
        flow.adopt(stored)?;
        Ok(flow)
    }

    /// Sends a request to the MCP server with whatever token there is, and answers for it: renews the token, has the
    /// person log in, asks for more scopes. What comes back is no longer about authorization.
    ///
    /// # Errors
    /// If there is no answer, or the server lets nobody through.
    pub async fn send(&mut self, why: &str, request: &Request, id: &serde_json::Value) -> Result<Answer> {
        let (mut refreshed, mut authorized, mut proven) = (false, false, false);
        self.refresh_ahead().await?;
        loop {
            let token = self.token().map(str::to_owned);
            let answer = self.http.send_message(why, request, id, |request| self.with_token(request)).await?;
            let scheme = if self.dpop.is_some() { "DPoP" } else { "Bearer" };
            let (challenge, malformed) = Challenges::read(answer.header_values("www-authenticate"), scheme);
            if let Some(why) = malformed {
                self.http.note(&format!("The WWW-Authenticate header breaks RFC 9110 and is ignored: {why}."));
            }
            let error = challenge.error("error");
            let new_nonce = self.dpop.as_ref().is_some_and(|dpop| dpop.remember(&request.url, &answer.headers));
            match answer.status.as_u16() {
                401 if error == Some("use_dpop_nonce") && new_nonce && !proven => {
                    self.http.note("The MCP server wants its nonce in the proof. Once more, with it.");
                    proven = true;
                }
                401 if self.settings.token.is_some() => {
                    let advice = "It came from --token-file or MCP_TOKEN. Give another, or none: then you can log in.";
                    return Err(refusal(&answer, &challenge, "the MCP server refuses the token").advice(advice));
                }
                401 => {
                    if let Some(token) = token
                        && !refreshed
                        && !authorized
                    {
                        refreshed = true;
                        match self.refresh(&token).await {
                            Ok(true) => continue,
                            Ok(false) => {}
                            Err(failure) if failure.is_nowhere() => self.go_without(&failure),
                            Err(failure) => return Err(failure),
                        }
                    }
                    if authorized || self.authorizations == MAX_AUTHORIZATIONS {
                        return Err(refusal(&answer, &challenge, "the MCP server refuses the token that it asked for"));
                    }
                    self.authorizations += 1;
                    authorized = true;
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

    /// Sends a last request, whose answer matters to nobody: whatever it says, there is no log-in for it.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send_last(&self, why: &str, request: &Request) -> Result<()> {
        self.http.send(why, &self.with_token(request)?).await.map(drop)
    }

    /// The request with the token, which goes to the server that it is for, and in the header only (RFC 6750 §2.1).
    fn with_token(&self, request: &Request) -> Result<Request> {
        let mut request = request.clone();
        let Some(token) = self.token() else { return Ok(request) };
        if request.url != self.settings.server {
            return Err(Failure::local("a token is only sent to the server that it is for"));
        }
        let scheme = match &self.dpop {
            Some(dpop) => {
                let proof = dpop.proof(&request.method, &request.url, Some(token))?;
                request.headers.push(("DPoP".to_owned(), proof));
                "DPoP"
            }
            None => "Bearer",
        };
        request.headers.push(("Authorization".to_owned(), format!("{scheme} {token}")));
        Ok(request)
    }

    /// The token that is sent.
    fn token(&self) -> Option<&str> {
        let kept = self.credentials.grant.as_ref().filter(|_| !self.withheld);
        self.settings.token.as_deref().or(kept.map(|grant| grant.access_token.as_str()))
    }

    /// Where tokens and registrations are kept.
    fn entry(&self) -> Result<&Entry> {
        self.entry.as_ref().ok_or_else(|| Failure::local("nothing is kept for a token that is at hand"))
    }

    /// Has the server say anew where tokens come from. What is kept stays, until there is something to replace it.
    fn go_without(&mut self, failure: &Failure) {
        self.withheld = true;
        self.http.note(&format!("The token cannot be renewed where it came from: {}.", failure.message));
    }

    /// Begins as if nobody were logged in. What is kept stays, until there is something to replace it.
    pub fn start_over(&mut self) {
        self.credentials.grant = None;
        self.dpop = None;
    }

    pub fn grant(&self) -> Option<&Grant> {
        self.credentials.grant.as_ref()
    }

    /// Withdraws the tokens at the authorization server (RFC 7009), whatever they are bound to. The lock is held, so that
    /// no other process renews them meanwhile.
    ///
    /// # Errors
    /// If it cannot do that, or not for us, does not answer, or refuses.
    pub async fn revoke(&self, _lock: &Lock) -> Result<()> {
        let Some(grant) = &self.entry()?.load()?.grant else { return Ok(()) };
        let Some(endpoint) = &grant.revocation_endpoint else {
            return Err(Failure::authorization("the authorization server offers no way to"));
        };
        let endpoint = parse_url(endpoint)
            .map_err(|why| Failure::authorization(format!("the revocation_endpoint is refused: {why}")))?;
        // Who withdraws the refresh token withdraws the whole grant (RFC 7009 §2.1).
        let (token, hint) = match &grant.refresh_token {
            Some(token) => (token, "refresh_token"),
            None => (&grant.access_token, "access_token"),
        };
        let form = vec![("token", token.clone()), ("token_type_hint", hint.to_owned())];
        let mut request = Request::post(endpoint, Body::Form(form));
        let client = self.client_of(grant).ok_or_else(|| {
            Failure::authorization(format!(
                "only the client {} of {} may do that; name it with --client-id and --issuer, and its secret or key",
                grant.client_id, grant.issuer
            ))
        })?;
        client.authenticate(&self.http, &grant.issuer, &mut request)?;
        let answer = self.http.send("Withdraw the tokens (RFC 7009)", &request).await?;
        if !answer.status.is_success() {
            return Err(crate::token::oauth_failure(&answer, "the authorization server refuses"));
        }
        Ok(())
    }

    /// Makes the credentials that were read the ones that are used. A grant that the settings exclude is as good as
    /// none: one of another issuer than the person names, or one without a key, where they want one.
    fn adopt(&mut self, stored: Credentials) -> Result<()> {
        self.credentials = stored;
        for registration in self.credentials.registrations.values() {
            self.http.secrets.add(registration.client_secret.as_deref().unwrap_or_default(), "client secret");
        }
        if let Some(grant) = &self.credentials.grant {
            self.http.secrets.add(&grant.access_token, "access token");
            self.http.secrets.add(grant.refresh_token.as_deref().unwrap_or_default(), "refresh token");
            self.http.secrets.add(grant.client_secret.as_deref().unwrap_or_default(), "client secret");
        }
        let Settings { issuer, dpop, .. } = &self.settings;
        let usable = |grant: &Grant| {
            issuer.as_ref().is_none_or(|issuer| *issuer == grant.issuer) && (!dpop || grant.dpop_key.is_some())
        };
        self.credentials.grant.take_if(|grant| !usable(grant));
        let key = self.credentials.grant.as_ref().and_then(|grant| grant.dpop_key.clone());
        // A key that is in use stays as it is, with the nonces that it has learnt.
        if self.dpop.as_ref().map(Dpop::pkcs8) != key.as_deref() {
            self.dpop = key.map(Dpop::from_pkcs8).transpose()?;
        }
        Ok(())
    }

    /// Renews a token that is about to expire. One that cannot be renewed is tried until the server refuses it.
    async fn refresh_ahead(&mut self) -> Result<()> {
        let Some(grant) = self.credentials.grant.as_ref().filter(|_| !self.fresh) else { return Ok(()) };
        let Some(expires_at) = grant.expires_at.filter(|at| *at < Utc::now() + AHEAD) else { return Ok(()) };
        let token = grant.access_token.clone();
        match self.refresh(&token).await {
            // The old one may still do.
            Err(failure) if failure.kind == Kind::Network && Utc::now() < expires_at => {
                self.http.note("The token cannot be renewed just now; it is good for another moment.");
                Ok(())
            }
            Err(failure) if failure.is_nowhere() => {
                self.go_without(&failure);
                Ok(())
            }
            outcome => outcome.map(drop),
        }
    }

    /// Exchanges the refresh token, which may work only once: so one process does it, and the others use what it got.
    /// `false`: there is nothing to refresh, or no longer.
    async fn refresh(&mut self, used: &str) -> Result<bool> {
        let lock = self.entry()?.lock().await?;
        self.adopt(self.entry()?.load()?)?;
        let Some(grant) = self.credentials.grant.clone() else { return Ok(false) };
        if grant.access_token != used {
            self.http.note("Another process has renewed the token meanwhile.");
            return Ok(true);
        }
        let (Some(refresh_token), Some(client)) = (grant.refresh_token.clone(), self.client_of(&grant)) else {
            return Ok(false);
        };
        let url = parse_url(&grant.token_endpoint)
            .map_err(|why| Failure::authorization(format!("the token_endpoint is refused: {why}")))?;
        let endpoint = self.token_endpoint(url, (&grant.issuer, &grant.resource), &client);
        let form = [("grant_type", REFRESH_TOKEN), ("refresh_token", refresh_token.as_str())];
        match endpoint.ask("Renew the token (RFC 6749 §6)", &form).await {
            Ok(response) => {
                // The old refresh token may be used up by now, whatever the access token turns out to be.
                if let Some(rotated) = response.refresh_token() {
                    let grant = Grant { refresh_token: Some(rotated.to_owned()), ..grant.clone() };
                    self.credentials.grant = Some(grant);
                    self.entry()?.save(&lock, &self.credentials)?;
                }
                let tokens = response.tokens()?;
                self.keep(&lock, grant, tokens)?;
                Ok(true)
            }
            // Only these two say that it will never be renewed (RFC 6749 §5.2).
            Err(failure) if failure.is_oauth("invalid_grant") || failure.is_oauth("invalid_client") => {
                self.http.note("It cannot be renewed. There must be another authorization.");
                self.credentials.grant = None;
                let registered = self.credentials.registrations.get(&grant.issuer);
                if failure.is_oauth("invalid_client") && registered.is_some_and(|one| one.client_id == grant.client_id)
                {
                    self.credentials.registrations.remove(&grant.issuer);
                }
                self.entry()?.save(&lock, &self.credentials)?;
                self.dpop = None;
                Ok(false)
            }
            Err(failure) if failure.is_nowhere() => Err(failure),
            Err(failure) => {
                Err(failure.advice("The tokens are kept: try again later, or log in anew with `step11 login`."))
            }
        }
    }

    /// Writes tokens down. A refresh token that is not replaced stays good (RFC 6749 §6).
    fn keep(&mut self, lock: &Lock, before: Grant, tokens: Tokens) -> Result<()> {
        let lifetime =
            tokens.expires_in.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX).min(10 * 365 * 86_400));
        let grant = Grant {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token.or(before.refresh_token.clone()),
            expires_at: lifetime.map(|seconds| Utc::now() + TimeDelta::seconds(seconds)),
            scope: tokens.scope.unwrap_or_else(|| before.scope.clone()),
            ..before
        };
        self.credentials.grant = Some(grant);
        (self.fresh, self.withheld) = (true, false);
        self.entry()?.save(lock, &self.credentials)?;
        self.adopt(self.credentials.clone())
    }

    /// Asks for the scopes that are missing, together with those that were asked for before.
    async fn step_up(&mut self, answer: &Answer, challenge: &Challenges) -> Result<()> {
        let what = "the token is not enough";
        if self.settings.token.is_some() {
            let advice =
                "It came from --token-file or MCP_TOKEN. Give one with these scopes, or none: then you can log in.";
            return Err(refusal(answer, challenge, what).advice(advice));
        }
        let wanted =
            scopes(challenge.error("scope").unwrap_or_default()).map_err(|failure| failure.at(answer.exchange))?;
        let grant = self.credentials.grant.as_ref();
        let has_all = |scopes: &[String]| wanted.iter().all(|scope| scopes.contains(scope));
        if wanted.is_empty() {
            let advice = "The server does not say which scopes it wants. If you know them, name them with --scope.";
            return Err(refusal(answer, challenge, what).advice(advice));
        }
        if grant.is_some_and(|grant| has_all(&grant.scope)) {
            let advice = "The token has what the server asks for, so another log-in would not help.";
            return Err(refusal(answer, challenge, what).advice(advice));
        }
        if let Some(chosen) = &self.settings.scope {
            if !has_all(chosen) {
                let union: BTreeSet<&String> = chosen.iter().chain(&wanted).collect();
                let union = union.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ");
                let advice = format!("Run it with --scope '{union}', or leave --scope out.");
                return Err(refusal(answer, challenge, what).advice(advice));
            }
            if grant.is_some_and(|grant| grant.requested_scope == *chosen) {
                let advice = "They were asked for with --scope, and the authorization server did not give them.";
                return Err(refusal(answer, challenge, what).advice(advice));
            }
        }
        if self.step_ups == MAX_STEP_UPS {
            return Err(refusal(answer, challenge, &format!("{what}, though more was asked for {MAX_STEP_UPS} times")));
        }
        self.step_ups += 1;
        let requested = self.credentials.grant.as_ref().map(|grant| grant.requested_scope.clone()).unwrap_or_default();
        let union: BTreeSet<String> = requested.into_iter().chain(wanted).collect();
        self.http.note("The token is not enough for this. Back to the authorization server, for more scopes.");
        self.authorize(challenge, &union).await
    }

    /// The way to a token, from the challenge on. What fails between two exchanges is the earlier one's fault: it is what
    /// a server said there.
    async fn authorize(&mut self, challenge: &Challenges, step_up: &BTreeSet<String>) -> Result<()> {
        let outcome = Box::pin(self.try_to_authorize(challenge, step_up)).await;
        outcome.map_err(|failure| if failure.kind == Kind::Local { failure } else { failure.at(self.http.last()) })
    }

    async fn try_to_authorize(&mut self, challenge: &Challenges, step_up: &BTreeSet<String>) -> Result<()> {
        let found = self.discover(challenge).await?;
        let scope = self.choose_scope(challenge, step_up, &found)?;
        self.choose_dpop(challenge, &found)?;
        let issuer = &found.server.issuer;
        let registers = self.settings.client.is_none() && self.described_at(&found.server).is_none();
        let known = self.credentials.registrations.get(issuer).map(|registration| registration.client_id.clone());
        match self.get_token(&found, &scope).await {
            Err(failure) if failure.is_oauth("invalid_client") && registers => {
                let mut used = None;
                let stored =
                    self.entry()?.update(|credentials| used = credentials.registrations.remove(issuer)).await?;
                self.credentials.registrations = stored.registrations;
                // Who was registered a moment ago is not forgotten, but refused: another registration would not help.
                if used.is_none() || used.map(|registration| registration.client_id) != known {
                    return Err(failure);
                }
                self.http.note("The authorization server does not know us any more. We register again.");
                self.get_token(&found, &scope).await
            }
            outcome => outcome,
        }
    }

    /// Who protects the server, and how to reach them.
    async fn discover(&self, challenge: &Challenges) -> Result<Discovered> {
        let server = &self.settings.server;
        let challenged = challenge.param("resource_metadata");
        let not_the_chosen = |issuer: &str| {
            if self.settings.issuer.as_ref().is_none_or(|chosen| chosen == issuer) {
                return Ok(());
            }
            Err(Failure::authorization(format!(
                "the MCP server relies on the authorization server {}, which is not the one of --issuer",
                terminal::line(issuer)
            ))
            .advice("What is registered with one authorization server must not be shown to another."))
        };
        let (document, metadata) = match metadata::protected_resource(&self.http, server, challenged).await? {
            Ok(document) => {
                let issuer = self.choose_issuer(&document)?;
                not_the_chosen(&issuer)?;
                let metadata = metadata::authorization_server(&self.http, &issuer, false).await?;
                let nowhere = format!(
                    "the authorization server {} has no metadata that can be used at any of its well-known URLs",
                    terminal::line(&issuer)
                );
                (Some(document), metadata.map_err(|not_found| not_found.failure(&nowhere))?)
            }
            Err(not_found) if not_found.is_withheld() => {
                return Err(not_found.failure("the MCP server's metadata cannot be used"));
            }
            Err(not_found) => {
                // Before 2025-06-18 there was no such document: the MCP server's origin was the authorization server.
                self.http.note("The server does not say who protects it. In 2025-03-26, it did so itself.");
                let origin = server.origin().ascii_serialization();
                let metadata = match metadata::authorization_server(&self.http, &origin, true).await? {
                    Ok(metadata) => metadata,
                    Err(none)
                        if self.settings.protocol_version.as_deref() == Some("2025-03-26") && !none.is_withheld() =>
                    {
                        self.http.note("Nor does it describe itself: the endpoints are where 2025-03-26 had them.");
                        metadata::endpoints_of_2025_03_26(server)
                    }
                    Err(none) => {
                        let nowhere = "the server wants a token, but says nowhere who gives it";
                        return Err(not_found.and(none).failure(nowhere).advice(
                            "An old server may be reachable with --protocol-version 2025-03-26; a newer one must publish RFC 9728 metadata.",
                        ));
                    }
                };
                not_the_chosen(&metadata.issuer)?;
                (None, metadata)
            }
        };
        Ok(Discovered {
            resource: document.as_ref().map_or_else(|| server.to_string(), |document| document.resource.clone()),
            dpop_required: document.as_ref().is_some_and(|document| document.dpop_bound_access_tokens_required),
            scopes_supported: document.and_then(|document| document.scopes_supported),
            server: metadata,
        })
    }

    /// The one that the person named, or that we were with before, or the first that may be asked (RFC 9728 §7.6).
    fn choose_issuer(&self, document: &ProtectedResource) -> Result<String> {
        let servers = &document.authorization_servers;
        let known = self.settings.issuer.as_ref().or(self.credentials.grant.as_ref().map(|grant| &grant.issuer));
        known
            .filter(|known| servers.contains(known))
            .or_else(|| servers.iter().find(|server| parse_url(server).is_ok()))
            .or(servers.first())
            .cloned()
            .ok_or_else(|| Failure::authorization("the MCP server's metadata names no authorization server"))
    }

    /// "Scope Selection Strategy": what the challenge names, else what the metadata names, else nothing.
    fn choose_scope(
        &self,
        challenge: &Challenges,
        step_up: &BTreeSet<String>,
        found: &Discovered,
    ) -> Result<Vec<String>> {
        let supported = found.scopes_supported.as_ref().map(|scopes| scopes.join(" "));
        let mut chosen: Vec<String> = match (&self.settings.scope, challenge.param("scope")) {
            (Some(scope), _) => scope.clone(),
            _ if !step_up.is_empty() => step_up.iter().cloned().collect(),
            (None, Some(scope)) => scopes(scope)?,
            (None, None) => scopes(&supported.unwrap_or_default())?,
        };
        // What was granted before must not get lost with a new token.
        if self.settings.scope.is_none()
            && let Some(grant) = self.credentials.grant.as_ref().filter(|grant| grant.issuer == found.server.issuer)
        {
            chosen.extend(
                grant.requested_scope.iter().filter(|scope| !chosen.contains(scope)).cloned().collect::<Vec<_>>(),
            );
        }
        // A refresh token has to be asked for where the server has a scope for it ("Refresh Tokens").
        let offline = "offline_access".to_owned();
        let person = matches!(self.settings.grant, GrantKind::AuthorizationCode);
        if person
            && self.settings.scope.is_none()
            && !chosen.is_empty()
            && found.server.scopes_supported.contains(&offline)
            && !chosen.contains(&offline)
        {
            chosen.push(offline);
        }
        Ok(chosen)
    }

    /// DPoP where both servers do it, or where the person insists.
    fn choose_dpop(&mut self, challenge: &Challenges, found: &Discovered) -> Result<()> {
        let offered = found.server.dpop_signing_alg_values_supported.iter().any(|one| one == dpop::ALGORITHM);
        let wanted = self.settings.dpop || found.dpop_required || challenge.offers_dpop(dpop::ALGORITHM);
        if (self.settings.dpop || found.dpop_required) && !offered {
            return Err(Failure::authorization(
                "tokens shall be bound to a key (DPoP), which the authorization server does not do",
            ));
        }
        self.dpop = if offered && wanted { Some(Dpop::generate()?) } else { None };
        Ok(())
    }

    /// From the discovered servers to a token that is written down.
    async fn get_token(&mut self, found: &Discovered, scope: &[String]) -> Result<()> {
        let url = found.server.token_endpoint()?;
        let joined = scope.join(" ");
        let scope_form = (!scope.is_empty()).then_some(("scope", joined.as_str()));
        let issuer = &found.server.issuer;
        let endpoint = |client| self.token_endpoint(url.clone(), (issuer, &found.resource), client);
        let (client, tokens) = match &self.settings.grant {
            GrantKind::AuthorizationCode => self.log_in(found, scope, &url).await?,
            GrantKind::ClientCredentials => {
                let client = self.preregistered(&found.server)?;
                let mut form = vec![("grant_type", CLIENT_CREDENTIALS)];
                form.extend(scope_form);
                let tokens = endpoint(&client)
                    .request("Get a token with the client's own credentials (RFC 6749 §4.4)", &form)
                    .await?;
                (client, tokens)
            }
            GrantKind::JwtBearer { assertion } => {
                let client = self.preregistered(&found.server)?;
                let mut form = vec![("grant_type", JWT_BEARER), ("assertion", assertion.as_str())];
                form.extend(scope_form);
                let tokens = endpoint(&client).request("Get a token with the workload's JWT (RFC 7523)", &form).await?;
                (client, tokens)
            }
            GrantKind::IdentityAssertion { id_token, idp_token_endpoint, idp_client_id } => {
                let client = self.preregistered(&found.server)?;
                let about = (issuer.as_str(), found.resource.as_str(), scope_form.map(|(_, scope)| scope));
                let grant = identity_assertion(&self.http, idp_token_endpoint, idp_client_id, id_token, about).await?;
                let mut form = vec![("grant_type", JWT_BEARER), ("assertion", grant.as_str())];
                form.extend(scope_form);
                let tokens = endpoint(&client).request("Get a token with that grant (RFC 7523)", &form).await?;
                (client, tokens)
            }
        };
        let grant = Grant {
            issuer: issuer.clone(),
            resource: found.resource.clone(),
            client_id: client.id,
            token_endpoint: url.to_string(),
            token_endpoint_auth_method: client.authentication.method().to_owned(),
            client_secret: client.authentication.shared().filter(|_| self.settings.client.is_none()).map(str::to_owned),
            revocation_endpoint: found.server.revocation_endpoint.clone(),
            access_token: String::new(),
            refresh_token: None,
            expires_at: None,
            requested_scope: scope.to_vec(),
            scope: scope.to_vec(),
            dpop_key: self.dpop.as_ref().map(|dpop| dpop.pkcs8().to_owned()),
        };
        let lock = self.entry()?.lock().await?;
        // Another process may have registered meanwhile; only the tokens are ours to replace.
        self.credentials = self.entry()?.load()?;
        self.keep(&lock, grant, tokens)?;
        self.http.note("The token is kept, for this server only.");
        Ok(())
    }

    fn token_endpoint<'a>(
        &'a self,
        url: Url,
        (issuer, resource): (&'a str, &'a str),
        client: &'a Client,
    ) -> TokenEndpoint<'a> {
        TokenEndpoint { http: &self.http, url, issuer, client, resource, dpop: self.dpop.as_ref() }
    }

    /// A person logs in and consents.
    async fn log_in(&self, found: &Discovered, scope: &[String], url: &Url) -> Result<(Client, Tokens)> {
        require_pkce(&found.server)?;
        let (client, loopback) = self.client_for(&found.server).await?;
        let question = Question {
            client_id: &client.id,
            resource: &found.resource,
            scope,
            dpop_jkt: self.dpop.as_ref().map(Dpop::thumbprint).transpose()?,
            told_apart_by: if redirect_uri_for(&found.server.issuer).path() == loopback.redirect_uri.path() {
                ToldApartBy::RedirectUri
            } else if self.settings.issuer.is_some() || self.settings.any_issuer {
                ToldApartBy::Person
            } else {
                ToldApartBy::Nothing
            },
        };
        let how = (self.settings.user_agent, self.settings.login_timeout);
        let code = authorize(&self.http, &found.server, &question, loopback, how).await?;
        let redirect_uri = code.redirect_uri.to_string();
        let form = [
            ("grant_type", AUTHORIZATION_CODE),
            ("code", code.value.as_str()),
            ("redirect_uri", redirect_uri.as_str()),
            ("code_verifier", code.verifier.secret().as_str()),
        ];
        let endpoint = self.token_endpoint(url.clone(), (&found.server.issuer, &found.resource), &client);
        let outcome = endpoint.request("Exchange the code for a token (RFC 6749 §4.1.3)", &form).await;
        code.tell(outcome.is_ok()).await;
        Ok((client, outcome?))
    }

    /// Who we are to this authorization server, by the specification's priority; and where its answer shall go.
    async fn client_for(&self, server: &AuthorizationServer) -> Result<(Client, Loopback)> {
        let chosen = self.settings.redirect_uri.clone();
        // What is registered beforehand, or stands in a document, is the same for all servers.
        let shared = || Loopback::bind(&chosen.clone().unwrap_or_else(default_redirect_uri));
        if self.settings.client.is_some() {
            return Ok((self.preregistered(server)?, shared()?));
        }
        if let Some(id) = self.described_at(server) {
            self.http.note("The authorization server takes the URL of a document about us as our client_id.");
            return Ok((Client { id: id.clone(), authentication: Authentication::None }, shared()?));
        }
        let redirect_uri = chosen.clone().unwrap_or_else(|| redirect_uri_for(&server.issuer));
        let known = self.credentials.registrations.get(&server.issuer);
        let fresh = known.filter(|known| {
            known.client_secret_expires_at.is_none_or(|at| Utc::now() < at)
                && is_redirect_uri(&known.redirect_uri, &redirect_uri)
        });
        if let Some(known) = fresh
            && let Some(authentication) =
                Authentication::secret(known.client_secret.as_deref(), &known.token_endpoint_auth_method)
            && let Ok(registered) = Url::parse(&known.redirect_uri)
            // Some servers compare the port with the one that was registered; if it is taken, we register another.
            && let Ok(loopback) = Loopback::bind(&registered)
        {
            self.http.note(&format!("We are registered there already, as {}.", known.client_id));
            return Ok((Client { id: known.client_id.clone(), authentication }, loopback));
        }
        let Some(endpoint) = &server.registration_endpoint else {
            return Err(Failure::authorization(format!(
                "the authorization server {} knows no client by itself (neither metadata documents nor registration)",
                terminal::line(&server.issuer)
            ))
            .advice("Register a client there yourself, and name it with --client-id and --issuer."));
        };
        let loopback = Loopback::bind(&redirect_uri)?;
        let endpoint = server.endpoint("registration_endpoint", Some(endpoint))?;
        let registration = register(&self.http, server, endpoint, &loopback.redirect_uri).await?;
        let authentication =
            Authentication::secret(registration.client_secret.as_deref(), &registration.token_endpoint_auth_method)
                .unwrap_or(Authentication::None);
        let client = Client { id: registration.client_id.clone(), authentication };
        let issuer = server.issuer.clone();
        self.entry()?.update(|credentials| drop(credentials.registrations.insert(issuer, registration))).await?;
        Ok((client, loopback))
    }

    /// The URL of a document about us, where the server takes one.
    fn described_at(&self, server: &AuthorizationServer) -> Option<&String> {
        self.settings.client_metadata.as_ref().filter(|_| server.client_id_metadata_document_supported)
    }

    /// The client of the settings, authenticated in a way that the server knows.
    fn preregistered(&self, server: &AuthorizationServer) -> Result<Client> {
        let methods = &server.token_endpoint_auth_methods_supported;
        let Some(client) = &self.settings.client else {
            return Ok(Client { id: String::new(), authentication: Authentication::None });
        };
        let authentication = match (&client.key, &client.secret) {
            (Some((key, algorithm)), _) => Authentication::PrivateKey(key.clone(), *algorithm),
            (None, Some(secret)) => ["client_secret_basic", "client_secret_post"]
                .into_iter()
                .find(|method| methods.iter().any(|one| one == method))
                .and_then(|method| Authentication::secret(Some(secret), method))
                .ok_or_else(|| Failure::authorization("the authorization server does not take a client's secret"))?,
            (None, None) => Authentication::None,
        };
        Ok(Client { id: client.id.clone(), authentication })
    }

    /// Who got these tokens, and therefore may renew them.
    fn client_of(&self, grant: &Grant) -> Option<Client> {
        let method = grant.token_endpoint_auth_method.as_str();
        // A secret belongs to a client at one issuer: the same client_id may be another client elsewhere.
        let same_issuer = self.settings.issuer.as_ref() == Some(&grant.issuer);
        let preregistered = self.settings.client.as_ref().filter(|client| same_issuer && client.id == grant.client_id);
        let authentication = match (preregistered, method) {
            (Some(client), "private_key_jwt") => {
                client.key.as_ref().map(|(key, algorithm)| Authentication::PrivateKey(key.clone(), *algorithm))
            }
            (Some(client), method) => Authentication::secret(client.secret.as_deref(), method),
            (None, method) => Authentication::secret(grant.client_secret.as_deref(), method),
        }?;
        Some(Client { id: grant.client_id.clone(), authentication })
    }
}

/// Whether what was registered is what the person wants; where they name no port, any will do.
fn is_redirect_uri(registered: &str, wanted: &Url) -> bool {
    let Ok(mut registered) = Url::parse(registered) else { return false };
    if wanted.port().unwrap_or(0) == 0 {
        // It is http on loopback, so a port can be set.
        let _ = registered.set_port(wanted.port());
    }
    registered == *wanted
}

/// The scopes in a space-separated list, each once (RFC 6749 §3.3).
fn scopes(text: &str) -> Result<Vec<String>> {
    let is_scope = |scope: &str| scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    let mut scopes: Vec<String> = Vec::new();
    for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
        if !is_scope(scope) || text.len() > MAX_SCOPE_LENGTH || scopes.len() == MAX_SCOPES {
            return Err(Failure::authorization("the server asks for scopes that are not valid, or for too many"));
        }
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    Ok(scopes)
}

/// A refusal in the words of the MCP server: of its challenge, else of its body, which is a JSON-RPC error, or has `error`
/// and `error_description`.
fn refusal(answer: &Answer, challenge: &Challenges, what: &str) -> Failure {
    let words = Words::of(&answer.body);
    let error = challenge.error("error").map(terminal::line).or(words.error);
    let description = challenge.error("error_description").map(terminal::line).or(words.description);
    let said = error.into_iter().chain(description).collect::<Vec<_>>().join(", ");
    let said = if said.is_empty() { format!("it answers {}", answer.status) } else { said };
    let said = match challenge.error("scope").map(terminal::line) {
        Some(scope) => format!("{}; it wants the scopes: {scope}", said.trim_end_matches('.')),
        None => said,
    };
    let logged = words.correlation_id.map_or(String::new(), |id| format!(" (its log has more: {id})"));
    let mut failure = Failure::authorization(format!("{what}: {said}{logged}")).at(answer.exchange);
    failure.advice = words.advice;
    failure
}
