//! The page where a person sees what they have allowed, withdraws it, and logs out.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use anyhow::Result;
use oauth::{
    identifiers::ClientId,
    secret::{Digest, ExposeSecret},
};

use crate::{
    answers::{error_page, internal},
    body::{Body, BodyError},
    cimd, clock, events,
    login::{self, Entry, own_form, see_other},
    pages::{self, AccountPage, Allowed},
    session::Form,
    state::State,
    store::Consent,
};

const PAGE: &str = "/account";
const ENTRY: Entry<'_> = Entry { client: None, action: "/account/login", next: PAGE, query: "" };

/// `GET /account`: for somebody who is not logged in, the log-in page.
pub(crate) async fn show(state: web::Data<State>, http: HttpRequest) -> HttpResponse {
    account_page(&state, &http).await.unwrap_or_else(|cause| internal(&cause))
}

async fn account_page(state: &State, http: &HttpRequest) -> Result<HttpResponse> {
    let Some((account, session)) = state.session(http).await? else {
        return Ok(login::page(state, http, &ENTRY, StatusCode::OK, "", None));
    };
    let consents = state.store.consents(&account.sub).await?;
    let page = AccountPage {
        user: account.name,
        action: state.at(PAGE),
        csrf: state.form_token(Form::Account, &session, ""),
        allowed: consents.into_iter().map(|consent| allowed(state, consent)).collect(),
    };
    Ok(pages::respond(&page, StatusCode::OK, None))
}

/// The document of a client that describes itself is not fetched for this: its URL says who it is.
fn allowed(state: &State, consent: Consent) -> Allowed {
    let listed = state.listed.get(&ClientId::new(consent.client_id.as_str())).map(|client| client.name().to_owned());
    Allowed {
        client_id_host: cimd::is_client_id_url(&consent.client_id).and_then(|url| url.host_str().map(str::to_owned)),
        checked: listed.is_some(),
        client: listed.or(consent.client_name).unwrap_or_else(|| consent.client_id.clone()),
        client_id: consent.client_id,
        resource: consent.resource,
        words: consent.scopes.into_iter().map(pages::words).collect(),
        given_at: clock::date(consent.given_at),
    }
}

/// `GET /account/login`: reloading the page after a wrong password starts again.
pub(crate) async fn start_again(state: web::Data<State>) -> HttpResponse {
    see_other(&state.at(PAGE)).finish()
}

/// `POST /account/login`: back to the page, with a session.
pub(crate) async fn log_in(state: web::Data<State>, http: HttpRequest, body: Result<Body, BodyError>) -> HttpResponse {
    login::log_in(&state, &http, body, &ENTRY).await
}

/// `POST /account`: the person withdraws what a client may do, or logs out.
pub(crate) async fn change(state: web::Data<State>, http: HttpRequest, body: Result<Body, BodyError>) -> HttpResponse {
    let (account, session) = match state.session(&http).await {
        Ok(Some(known)) => known,
        Ok(None) => {
            return login::page(&state, &http, &ENTRY, StatusCode::UNAUTHORIZED, "", Some("Log in first."));
        }
        Err(cause) => return internal(&cause),
    };
    let form = match own_form(&state, &http, body, Form::Account) {
        Ok(form) => form,
        Err(answer) => return answer,
    };
    events::user(account.sub.as_str());
    match (form.get("action"), form.get("client")) {
        (Some("log_out"), _) => match state.store.end_session(&Digest::of(session.expose_secret())).await {
            Ok(()) => {
                tracing::info!(event = "log_out", "the person has ended the session");
                see_other(&state.at(PAGE)).cookie(state.no_session()).finish()
            }
            Err(cause) => internal(&cause),
        },
        (Some("withdraw"), Some(client)) => match state.store.withdraw(&account.sub, client).await {
            Ok(ended) => {
                if ended {
                    events::client(client);
                    tracing::info!(event = "consent_withdrawn", "the client's codes and refresh tokens have ended");
                }
                see_other(&state.at(PAGE)).finish()
            }
            Err(cause) => internal(&cause),
        },
        _ => error_page(StatusCode::BAD_REQUEST, "The form does not say what to do.", "Go back and start again."),
    }
}
