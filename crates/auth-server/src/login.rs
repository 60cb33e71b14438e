//! The log-in page, for whatever must know who is at the browser; and the check that each form passes.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError,
    http::{
        StatusCode,
        header::{LOCATION, RETRY_AFTER},
    },
};
use anyhow::Result;
use oauth::secret::random;

use crate::{
    answers::{error_page, internal},
    body::{Body, BodyError},
    pages::{self, LoginPage},
    params::{self, Params},
    peer,
    session::Form,
    state::State,
    users::{LONGEST_NAME, Origin, Refused},
};

/// What a person logs in for.
pub(crate) struct Entry<'a> {
    /// The name that the client gives itself, if one asks for access.
    pub client: Option<&'a str>,
    /// Where the form goes.
    pub action: &'static str,
    /// Where the browser goes next.
    pub next: &'static str,
    /// The query of both.
    pub query: &'a str,
}

impl Entry<'_> {
    fn at(&self, state: &State, path: &str) -> String {
        let path = state.at(path);
        if self.query.is_empty() { path } else { format!("{path}?{}", self.query) }
    }

    /// The answer that sends the browser on.
    pub fn go_on(&self, state: &State) -> HttpResponseBuilder {
        see_other(&self.at(state, self.next))
    }
}

/// The answer that sends the browser to a page of ours.
pub(crate) fn see_other(path: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::SeeOther();
    response.insert_header((LOCATION, path));
    response.insert_header(("Cache-Control", "no-store"));
    response
}

pub(crate) fn page(
    state: &State,
    http: &HttpRequest,
    entry: &Entry<'_>,
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
        client: entry.client.map(str::to_owned),
        action: entry.at(state, entry.action),
        csrf: state.form_token(Form::LogIn, &cookie, entry.query),
        problem,
    };
    let mut response = pages::respond(&page, status, None);
    if response.add_cookie(&state.cookie(Form::LogIn, &cookie)).is_err() {
        return internal(&anyhow::anyhow!("a cookie could not be set"));
    }
    response
}

/// The form of the page: the browser goes on, with a session.
pub(crate) async fn log_in(
    state: &State,
    http: &HttpRequest,
    body: Result<Body, BodyError>,
    entry: &Entry<'_>,
) -> HttpResponse {
    let form = match own_form(state, http, body, Form::LogIn) {
        Ok(form) => form,
        Err(answer) => return answer,
    };
    let (name, password) = (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default());
    match checked(state, http, entry, name, password).await {
        Ok(Ok(welcome)) => welcome,
        Ok(Err(Refused::Wait { seconds })) => {
            let problem = Some("There were too many attempts. Wait a little, then try again.");
            let mut page = page(state, http, entry, StatusCode::TOO_MANY_REQUESTS, name, problem);
            page.headers_mut().insert(RETRY_AFTER, seconds.into());
            page
        }
        Ok(Err(Refused::Wrong)) => {
            let problem = Some("The name or the password is wrong.");
            page(state, http, entry, StatusCode::UNAUTHORIZED, name, problem)
        }
        Err(cause) => internal(&cause),
    }
}

/// The way on, with the cookies of a session and of a browser that is known from now on; or the outcome that was no welcome.
async fn checked(
    state: &State,
    http: &HttpRequest,
    entry: &Entry<'_>,
    name: &str,
    password: &str,
) -> Result<Result<HttpResponse, Refused>> {
    let from = Origin { address: peer::address(http), device: state.device(http, name) };
    let welcome = match state.users.log_in(name, password, &from).await? {
        Ok(welcome) => welcome,
        Err(refused) => return Ok(Err(refused)),
    };
    let Some(session) = state.begin_session(http, &welcome).await? else { return Ok(Err(Refused::Wrong)) };
    let Some(device) = state.remember_browser(http, &welcome).await? else { return Ok(Err(Refused::Wrong)) };
    Ok(Ok(entry.go_on(state).cookie(session).cookie(device).finish()))
}

/// The form, if it was made for this browser and this request.
pub(crate) fn own_form(
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
