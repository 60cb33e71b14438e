//! The authorization endpoint (OAuth 2.1 §4.1.1, RFC 7636, RFC 8707, RFC 9207), in a person's browser.
//!
//! The server keeps nothing between the pages: the request stays in the URL's query, is checked again at every step
//! ([`request`]), and each form is bound to it and to the browser ([`crate::session`]).

mod request;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use anyhow::Result;
use oauth::{
    scope::Scopes,
    secret::{Digest, ExposeSecret, SecretString, random},
};

use self::request::{Asked, read, redirect};
use crate::{
    answers::internal,
    body::{Body, BodyError},
    cimd, events,
    login::{self, Entry, own_form},
    pages::{self, ConsentPage, ScopeChoice},
    session::Form,
    state::State,
    store::Grant,
    users::Account,
};

/// `GET /authorize`: the log-in page, or, for somebody who is logged in, the consent page.
pub(crate) async fn authorize(state: web::Data<State>, http: HttpRequest) -> HttpResponse {
    let asked = match read(&state, &http).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    match state.session(&http).await {
        Ok(Some((account, session))) => match consent_page(&state, &http, &asked, &account, &session).await {
            Ok(page) => page,
            Err(cause) => internal(&cause),
        },
        Ok(None) => login_page(&state, &http, &asked, StatusCode::OK, None),
        Err(cause) => internal(&cause),
    }
}

/// `GET /login`: reloading the page after a wrong password starts the log-in again.
pub(crate) async fn start_again(state: web::Data<State>, http: HttpRequest) -> HttpResponse {
    entry(&http, None).go_on(&state).finish()
}

/// `POST /login`: back to the authorization endpoint, with a session.
pub(crate) async fn log_in(state: web::Data<State>, http: HttpRequest, body: Result<Body, BodyError>) -> HttpResponse {
    match read(&state, &http).await {
        Ok(asked) => login::log_in(&state, &http, body, &entry(&http, Some(&asked))).await,
        Err(answer) => answer,
    }
}

/// The log-in for this request.
fn entry<'a>(http: &'a HttpRequest, asked: Option<&'a Asked>) -> Entry<'a> {
    let client = asked.map(|asked| asked.client.name());
    Entry { client, action: "/login", next: "/authorize", query: http.query_string() }
}

fn login_page(
    state: &State,
    http: &HttpRequest,
    asked: &Asked,
    status: StatusCode,
    problem: Option<&'static str>,
) -> HttpResponse {
    login::page(state, http, &entry(http, Some(asked)), status, "", problem)
}

async fn consent_page(
    state: &State,
    http: &HttpRequest,
    asked: &Asked,
    account: &Account,
    session: &SecretString,
) -> Result<HttpResponse> {
    let grantable = account.grantable();
    let given_before = state.store.has_consented(&account.sub, &asked.client.id, &asked.resource).await?;
    let page = ConsentPage {
        client: asked.client.name().to_owned(),
        client_id_host: cimd::is_client_id_url(asked.client.id.as_str())
            .and_then(|url| url.host_str().map(str::to_owned)),
        redirect_host: asked.destination(),
        app_scheme: asked.app_scheme(),
        loopback_only: asked.loopback_only(),
        user: account.name.clone(),
        action: format!("{}?{}", state.at("/authorize"), http.query_string()),
        csrf: state.form_token(Form::Consent, session, http.query_string()),
        scopes: asked
            .scopes
            .iter()
            .map(|scope| ScopeChoice {
                scope: (*scope).to_owned(),
                words: pages::words(scope),
                grantable: grantable.contains(scope),
            })
            .collect(),
        resource: asked.resource.to_string(),
        given_before,
    };
    Ok(pages::respond(&page, StatusCode::OK, Some(asked.redirect_uri.as_str())))
}

/// `POST /authorize`: the person has decided.
pub(crate) async fn decide(state: web::Data<State>, http: HttpRequest, body: Result<Body, BodyError>) -> HttpResponse {
    let asked = match read(&state, &http).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let log_in_first = || login_page(&state, &http, &asked, StatusCode::UNAUTHORIZED, Some("Log in first."));
    let (account, session) = match state.session(&http).await {
        Ok(Some((account, session))) => (account, Digest::of(session.expose_secret())),
        Ok(None) => return log_in_first(),
        Err(cause) => return internal(&cause),
    };
    let form = match own_form(&state, &http, body, Form::Consent) {
        Ok(form) => form,
        Err(answer) => return answer,
    };
    events::user(account.sub.as_str());
    let denied = |why| {
        tracing::info!(event = "consent_refused", why);
        let error = [("error", "access_denied"), ("error_description", why)];
        redirect(&state, &asked.redirect_uri, asked.state.as_deref(), &error)
    };
    if form.get("decision") != Some("allow") {
        return denied("The person denied access.");
    }
    let grantable = account.grantable();
    let ticked = |scope: &&&str| form.all("scope").any(|one| one == **scope) && grantable.contains(*scope);
    let scopes: Vec<_> = asked.scopes.iter().filter(ticked).copied().collect();
    if scopes.is_empty() {
        return denied("The person allowed no scope.");
    }
    match issue_code(&state, &asked, &account, &session, &scopes.join(" ")).await {
        Ok(Some(code)) => {
            tracing::info!(event = "consent", scope = scopes.join(" "), "the person let the client in");
            redirect(&state, &asked.redirect_uri, asked.state.as_deref(), &[("code", code.expose_secret())])
        }
        Ok(None) => log_in_first(),
        Err(cause) => internal(&cause),
    }
}

/// `None`: the session has ended meanwhile.
async fn issue_code(
    state: &State,
    asked: &Asked,
    account: &Account,
    session: &Digest,
    scope: &str,
) -> Result<Option<SecretString>> {
    let code = random()?;
    state.store.remove_expired().await?;
    let grant = Grant {
        client_id: &asked.client.id,
        user: &account.sub,
        session,
        scope: &Scopes::parse(scope).map_err(anyhow::Error::msg)?,
        resource: &asked.resource,
        redirect_uri: &asked.redirect_uri,
        code_challenge: &asked.code_challenge,
    };
    let granted = state.store.add_grant(&Digest::of(code.expose_secret()), &grant).await?;
    Ok(granted.then_some(code))
}
