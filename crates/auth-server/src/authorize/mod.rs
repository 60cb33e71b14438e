//! The authorization endpoint (OAuth 2.1 §4.1.1, RFC 7636, RFC 8707, RFC 9207), in a person's browser.
//!
//! The server keeps nothing between the pages: the request stays in the URL's query, is checked again at every step
//! ([`request`]), and each form is bound to it and to the browser ([`crate::session`]).

mod answers;
mod request;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError,
    http::{StatusCode, header::LOCATION},
    web,
};
use anyhow::Result;
use oauth::{
    scope::Scopes,
    secret::{Digest, ExposeSecret, SecretString, random},
};

use self::{
    answers::{error_page, internal},
    request::{Asked, read, redirect},
};
use crate::{
    body::{Body, BodyError},
    cimd, events,
    pages::{self, ConsentPage, LoginPage, ScopeChoice},
    params::{self, Params},
    peer,
    session::Form,
    state::State,
    store::Grant,
    users::{Account, LONGEST_NAME, LogIn, Origin},
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
        Ok(None) => login_page(&state, &http, &asked, StatusCode::OK, "", None),
        Err(cause) => internal(&cause),
    }
}

fn login_page(
    state: &State,
    http: &HttpRequest,
    asked: &Asked,
    status: StatusCode,
    username: &str,
    problem: Option<&'static str>,
) -> HttpResponse {
    let Ok(cookie) = state.cookie_value(http, Form::LogIn).map_or_else(random, Ok) else {
        return internal(&anyhow::anyhow!("no randomness"));
    };
    let page = LoginPage {
        server: state.issuer.as_str().split_once("://").map_or(state.issuer.as_str(), |(_, host)| host).to_owned(),
        username: username.chars().take(LONGEST_NAME).collect(),
        client: asked.client.name().to_owned(),
        action: format!("/login?{}", http.query_string()),
        csrf: state.form_token(Form::LogIn, &cookie, http.query_string()),
        problem,
    };
    let mut response = pages::respond(&page, status, None);
    if response.add_cookie(&state.cookie(Form::LogIn, &cookie)).is_err() {
        return internal(&anyhow::anyhow!("a cookie could not be set"));
    }
    response
}

/// `GET /login`: reloading the page after a wrong password starts the log-in again.
pub(crate) async fn start_again(http: HttpRequest) -> HttpResponse {
    to_authorize(&http).finish()
}

fn to_authorize(http: &HttpRequest) -> HttpResponseBuilder {
    let mut response = HttpResponse::SeeOther();
    response.insert_header((LOCATION, format!("/authorize?{}", http.query_string())));
    response.insert_header(("Cache-Control", "no-store"));
    response
}

/// `POST /login`: back to the authorization endpoint, with a session.
pub(crate) async fn log_in(state: web::Data<State>, http: HttpRequest, body: Result<Body, BodyError>) -> HttpResponse {
    let asked = match read(&state, &http).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let form = match own_form(&state, &http, body, Form::LogIn) {
        Ok(form) => form,
        Err(answer) => return answer,
    };
    let (name, password) = (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default());
    let from = Origin { address: peer::address(&http), device: state.device(&http, name) };
    match state.users.log_in(name, password, &from).await {
        Ok(LogIn::Welcome(account)) => {
            let cookies = async {
                let session = state.begin_session(&http, &account).await?;
                Ok((session, state.remember_browser(&http, &account).await?))
            };
            match cookies.await {
                Ok((session, device)) => to_authorize(&http).cookie(session).cookie(device).finish(),
                Err(cause) => internal(&cause),
            }
        }
        Ok(LogIn::Wrong) => {
            let problem = Some("The name or the password is wrong.");
            login_page(&state, &http, &asked, StatusCode::UNAUTHORIZED, name, problem)
        }
        Ok(LogIn::Wait { seconds }) => {
            let problem = Some("There were too many attempts. Wait a little, then try again.");
            let mut page = login_page(&state, &http, &asked, StatusCode::TOO_MANY_REQUESTS, name, problem);
            page.headers_mut().insert(actix_web::http::header::RETRY_AFTER, seconds.into());
            page
        }
        Err(cause) => internal(&cause),
    }
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
        action: format!("/authorize?{}", http.query_string()),
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
    let account = match state.session(&http).await {
        Ok(Some((account, _))) => account,
        Ok(None) => return login_page(&state, &http, &asked, StatusCode::UNAUTHORIZED, "", Some("Log in first.")),
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
    match issue_code(&state, &asked, &account, &scopes.join(" ")).await {
        Ok(code) => {
            tracing::info!(event = "consent", scope = scopes.join(" "), "the person let the client in");
            redirect(&state, &asked.redirect_uri, asked.state.as_deref(), &[("code", code.expose_secret())])
        }
        Err(cause) => internal(&cause),
    }
}

async fn issue_code(state: &State, asked: &Asked, account: &Account, scope: &str) -> Result<SecretString> {
    let code = random()?;
    state.store.remove_expired().await?;
    let grant = Grant {
        client_id: &asked.client.id,
        user: &account.sub,
        scope: &Scopes::parse(scope).map_err(anyhow::Error::msg)?,
        resource: &asked.resource,
        redirect_uri: &asked.redirect_uri,
        code_challenge: &asked.code_challenge,
    };
    state.store.add_grant(&Digest::of(code.expose_secret()), &grant).await?;
    Ok(code)
}

/// The form, if it was made for this browser and this request.
fn own_form(
    state: &State,
    http: &HttpRequest,
    body: Result<Body, BodyError>,
    form: Form,
) -> Result<Params, HttpResponse> {
    const AGAIN: &str = "Go back to the program and start again.";
    let body = body.map_err(|error| error_page(error.status_code(), &error.to_string(), AGAIN))?.0;
    if body.len() > params::MAX {
        return Err(error_page(StatusCode::PAYLOAD_TOO_LARGE, "The form may have at most 16 KiB.", AGAIN));
    }
    let own = || {
        let params = Params::parse(std::str::from_utf8(&body).ok()?)?;
        let cookie = state.cookie_value(http, form)?;
        let fits = state.form_token_fits(params.get("csrf")?, form, &cookie, http.query_string());
        (fits && state.is_own_page(http)).then_some(params)
    };
    own().ok_or_else(|| {
        tracing::warn!(event = "foreign_form", "a form was not made for the browser or the request it came with");
        error_page(StatusCode::FORBIDDEN, "This form was not made for this browser.", AGAIN)
    })
}
