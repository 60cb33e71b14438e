//! The authorization endpoint (OAuth 2.1 §4.1.1, RFC 7636, RFC 8707, RFC 9207), in a person's browser.
//!
//! Nothing is kept between the pages: the request stays in the URL's query, is checked again at every
//! step, and each form is bound to it and to the browser ([`crate::session`]).

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError,
    http::{
        StatusCode,
        header::{LOCATION, RETRY_AFTER},
    },
    web,
};
use anyhow::Result;
use common::{
    claims::SCOPES,
    http::{Body, HttpError},
    network::is_localhost,
};
use oauth::redirect_uri::{self, without_loopback_port};
use url::{Url, form_urlencoded};

use crate::{
    State,
    cimd::{self, Problem},
    clients::{Client, ClientProblem},
    events,
    pages::{self, ConsentPage, ErrorPage, LoginPage, ScopeChoice},
    params::{self, Params, known_scopes},
    peer, resource,
    session::Form,
    store::{self, CONSENT_LIFETIME, digest, random},
    users::{Account, LONGEST_NAME, LogIn, Origin},
};

/// How long a code is good for, in seconds (OAuth 2.1 §4.1.2: ten minutes at most).
const CODE_LIFETIME: i64 = 60;
/// How long a person need not consent again, while the client keeps refreshing: thirty days.
pub(crate) const FAMILY_LIFETIME: i64 = 30 * 24 * 3600;

/// What a client asks a person for, checked.
struct Asked {
    client: Client,
    redirect_uri: String,
    state: Option<String>,
    code_challenge: String,
    scopes: Vec<&'static str>,
    resource: String,
}

impl Asked {
    /// Whether the code would go to a program on the person's own computer, which could be any.
    fn loopback_only(&self) -> bool {
        Url::parse(&self.redirect_uri).is_ok_and(|url| is_localhost(&url) || !matches!(url.scheme(), "http" | "https"))
    }

    /// The scheme of the app that the code would go to, if it is one that apps claim for themselves.
    fn app_scheme(&self) -> Option<String> {
        let url = Url::parse(&self.redirect_uri).ok()?;
        (!matches!(url.scheme(), "http" | "https")).then(|| format!("{}:", url.scheme()))
    }

    /// Where the code would go, in the person's words: a host, or an app by its scheme, since what
    /// looks like a host in such a URI is not a host.
    fn destination(&self) -> String {
        let host = |url: Url| url.host_str().unwrap_or_default().to_owned();
        self.app_scheme().unwrap_or_else(|| Url::parse(&self.redirect_uri).map(host).unwrap_or_default())
    }
}

/// Reads and checks the request. While the client or where to send the answer is in doubt, the answer
/// is a page, never a redirect (RFC 6749 §4.1.2.1).
async fn read(state: &State, http: &HttpRequest) -> Result<Asked, HttpResponse> {
    const ONCE: [&str; 7] =
        ["response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"];
    let page = |problem: &str, hint| {
        tracing::warn!(event = "authorization_refused", why = problem, "a browser was not sent on");
        Err(error_page(StatusCode::BAD_REQUEST, problem, hint))
    };
    let Some(params) = Params::parse(http.query_string()) else {
        return page("The request is too long.", "The program that sent you here is at fault.");
    };
    let Some(client_id) = params.get("client_id") else {
        return page("The request does not say which program sent you.", "It needs one client_id.");
    };
    let client = match state.client(client_id).await {
        Ok(Some(client)) => client,
        Ok(None) => return page("The program that sent you is not known here.", "It may have to register again."),
        Err(ClientProblem::Document(problem)) => {
            let said = format!("The program that sent you could not be looked up. {problem}");
            if matches!(problem, Problem::Busy | Problem::TooSlow) {
                tracing::warn!(event = "authorization_throttled", why = said, "a browser has to come again");
                return Err(busy_page(&said, cimd::RETRY_AFTER));
            }
            return page(&said, "Its client_id must be the URL of its metadata document.");
        }
        Err(ClientProblem::Internal(cause)) => return Err(internal(&cause)),
    };
    events::client(&client.id);
    let Some(redirect_uri) = state.redirect_uri(&client, &params) else {
        if params.all("redirect_uri").all(str::is_empty) {
            return page("The program does not say where the answer goes.", "It needs one redirect_uri.");
        }
        return page("The program wants the answer sent to an address that is not its own.", "Do not go on.");
    };

    // Anybody can register a client, and so a redirect URI: nothing but a person's decision sends a browser there. An
    // error goes to a program on this computer, or to a client of the operator's (RFC 9700 §4.11.2).
    let loopback = Url::parse(&redirect_uri).is_ok_and(|url| is_localhost(&url));
    let back = |error, description| {
        if !client.listed && !loopback {
            return page(description, "The program that sent you is at fault.");
        }
        let state_param = params.get("state").filter(|_| params.all("state").count() == 1);
        Err(state.redirect(&redirect_uri, state_param, &[("error", error), ("error_description", description)]))
    };
    if params.repeats(&ONCE) {
        return back("invalid_request", "A parameter is there more than once.");
    }
    match params.get("response_type") {
        Some("code") => {}
        Some(_) => return back("unsupported_response_type", "response_type must be code."),
        None => return back("invalid_request", "response_type is missing."),
    }
    if !client.may_use("authorization_code") {
        return back("unauthorized_client", "This client may not use authorization codes.");
    }
    if params.get("code_challenge_method") != Some("S256") {
        return back("invalid_request", "PKCE is required: code_challenge_method must be S256.");
    }
    let challenge = params.get("code_challenge").unwrap_or_default();
    if challenge.len() != 43 || !challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        return back("invalid_request", "PKCE is required: code_challenge must be 43 characters of base64url.");
    }
    if params.all("resource").count() > 1 {
        return back("invalid_target", "Ask for one resource at a time.");
    }
    let Some(resource) = state.resource(params.get("resource")).map(str::to_owned) else {
        return back(
            "invalid_target",
            "The parameter resource must name a server that tokens are issued for (RFC 8707).",
        );
    };
    let mut scopes = params.get("scope").map_or(SCOPES.to_vec(), known_scopes);
    // What a client says that it will ask for is no limit: it could say otherwise, and the person decides each time.
    if let Some(limit) = client.metadata.scope.as_deref().filter(|_| client.listed) {
        scopes.retain(|scope| limit.split(' ').any(|one| one == *scope));
    }
    if scopes.is_empty() {
        return back("invalid_scope", "None of these scopes is known here.");
    }
    let (state_param, code_challenge) = (params.get("state").map(str::to_owned), challenge.to_owned());
    Ok(Asked { client, redirect_uri, state: state_param, code_challenge, scopes, resource })
}

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
        server: state.issuer.split_once("://").map_or(state.issuer.as_str(), |(_, host)| host).to_owned(),
        username: username.chars().take(LONGEST_NAME).collect(),
        client: asked.client.name().to_owned(),
        action: format!("/login?{}", http.query_string()),
        csrf: state.form_token(Form::LogIn, &cookie, http.query_string()),
        problem,
    };
    let mut response = pages::respond(&page, status, None);
    if response.add_cookie(&state.cookie(Form::LogIn, cookie)).is_err() {
        return internal(&anyhow::anyhow!("a cookie could not be set"));
    }
    response
}

/// `GET /login`: who reloads the page after a wrong password starts again.
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
pub(crate) async fn log_in(state: web::Data<State>, http: HttpRequest, body: Result<Body, HttpError>) -> HttpResponse {
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
    session: &str,
) -> Result<HttpResponse> {
    let grantable = account.grantable();
    let before: Option<(String,)> =
        sqlx::query_as("SELECT scope FROM consents WHERE user = ? AND client_id = ? AND resource = ? AND given_at > ?")
            .bind(&account.sub)
            .bind(&asked.client.id)
            .bind(&asked.resource)
            .bind(state.store.now() - CONSENT_LIFETIME)
            .fetch_optional(&state.store.0)
            .await?;
    let page = ConsentPage {
        client: asked.client.name().to_owned(),
        client_id_host: cimd::is_client_id_url(&asked.client.id).and_then(|url| url.host_str().map(str::to_owned)),
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
        resource: asked.resource.clone(),
        given_before: before.is_some(),
    };
    Ok(pages::respond(&page, StatusCode::OK, Some(&asked.redirect_uri)))
}

/// `POST /authorize`: the person has decided.
pub(crate) async fn decide(state: web::Data<State>, http: HttpRequest, body: Result<Body, HttpError>) -> HttpResponse {
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
    events::user(&account.sub);
    let denied = |why| {
        tracing::info!(event = "consent_refused", why);
        let error = [("error", "access_denied"), ("error_description", why)];
        state.redirect(&asked.redirect_uri, asked.state.as_deref(), &error)
    };
    if form.get("decision") != Some("allow") {
        return denied("The person said no.");
    }
    let grantable = account.grantable();
    let ticked = |scope: &&&str| form.all("scope").any(|one| one == **scope) && grantable.contains(*scope);
    let scopes: Vec<_> = asked.scopes.iter().filter(ticked).copied().collect();
    if scopes.is_empty() {
        return denied("The person allowed none of the scopes.");
    }
    match state.issue_code(&asked, &account, &scopes.join(" ")).await {
        Ok(code) => {
            tracing::info!(event = "consent", scope = scopes.join(" "), "the person let the client in");
            state.redirect(&asked.redirect_uri, asked.state.as_deref(), &[("code", &code)])
        }
        Err(cause) => internal(&cause),
    }
}

impl State {
    /// Where the answer goes: to a URI that the client registered, and that is acceptable still. It may be left out where
    /// it can only be one (OAuth 2.1 §4.1.1); a loopback URI varies in its port.
    fn redirect_uri(&self, client: &Client, params: &Params) -> Option<String> {
        let registered = &client.metadata.redirect_uris[..];
        let uri = match (params.get("redirect_uri"), registered) {
            _ if params.repeats(&["redirect_uri"]) => return None,
            (Some(asked), _) => registered.iter().any(|known| redirect_uri::matches(known, asked)).then_some(asked)?,
            (None, [only, same @ ..])
                if without_loopback_port(only).is_none() && same.iter().all(|one| one == only) =>
            {
                only
            }
            (None, _) => return None,
        };
        self.schemes.accept(uri).then(|| uri.to_owned())
    }

    /// The resource that a client means. It may be left out where we know only one (RFC 8707 §2).
    pub(crate) fn resource(&self, asked: Option<&str>) -> Option<&str> {
        let known = match (asked, &self.resources[..]) {
            (Some(asked), all) => all.iter().find(|known| resource::is_same(known, asked)),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        known.map(String::as_str)
    }

    async fn issue_code(&self, asked: &Asked, account: &Account, scope: &str) -> Result<String> {
        let (code, family, at) = (random()?, uuid::Uuid::new_v4().to_string(), self.store.now());
        self.store.remove_expired().await?;
        let mut all = self.store.0.begin().await?;
        sqlx::query("UPDATE clients SET used_at = ? WHERE id = ?")
            .bind(at)
            .bind(&asked.client.id)
            .execute(&mut *all)
            .await?;
        sqlx::query(
            "INSERT INTO families (id, client_id, user, scope, resource, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&family)
        .bind(&asked.client.id)
        .bind(&account.sub)
        .bind(scope)
        .bind(&asked.resource)
        .bind(at + FAMILY_LIFETIME)
        .execute(&mut *all)
        .await?;
        sqlx::query(
            "INSERT INTO codes (digest, family, redirect_uri, code_challenge, expires_at) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(digest(&code))
        .bind(&family)
        .bind(&asked.redirect_uri)
        .bind(&asked.code_challenge)
        .bind(at + CODE_LIFETIME)
        .execute(&mut *all)
        .await?;
        sqlx::query(
            "INSERT OR REPLACE INTO consents (user, client_id, resource, scope, given_at) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&account.sub)
        .bind(&asked.client.id)
        .bind(&asked.resource)
        .bind(scope)
        .bind(at)
        .execute(&mut *all)
        .await?;
        all.commit().await?;
        Ok(code)
    }

    /// Sends the browser back to the client, always with `iss` (RFC 9207 §2) and its `state`. The URI
    /// is the client's, to the byte; only the query grows.
    fn redirect(&self, uri: &str, state: Option<&str>, params: &[(&str, &str)]) -> HttpResponse {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(params);
        if let Some(state) = state {
            query.append_pair("state", state);
        }
        query.append_pair("iss", &self.issuer);
        let mark = if uri.contains('?') { '&' } else { '?' };
        HttpResponse::SeeOther()
            .insert_header((LOCATION, format!("{uri}{mark}{}", query.finish())))
            .insert_header(("Cache-Control", "no-store"))
            .insert_header(("Referrer-Policy", "no-referrer"))
            .finish()
    }
}

/// The form, if it was made for this browser and this request.
fn own_form(
    state: &State,
    http: &HttpRequest,
    body: Result<Body, HttpError>,
    form: Form,
) -> Result<Params, HttpResponse> {
    const AGAIN: &str = "Go back to the program and start again.";
    let body = body.map_err(|error| error_page(error.status_code(), &error.to_string(), AGAIN))?.0;
    if body.len() > params::MAX {
        return Err(error_page(StatusCode::PAYLOAD_TOO_LARGE, "The form has at most 16 KiB.", AGAIN));
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

fn error_page(status: StatusCode, problem: &str, hint: &'static str) -> HttpResponse {
    pages::respond(&ErrorPage { problem: problem.to_owned(), hint }, status, None)
}

/// It is a matter of time.
fn busy_page(problem: &str, retry_after: u64) -> HttpResponse {
    let mut page = error_page(StatusCode::SERVICE_UNAVAILABLE, problem, "Try again in a moment.");
    page.headers_mut().insert(RETRY_AFTER, retry_after.into());
    page
}

fn internal(cause: &anyhow::Error) -> HttpResponse {
    if store::is_busy(cause) {
        tracing::warn!(%cause, "the database is busy");
        return busy_page("The server is busy.", store::RETRY_AFTER);
    }
    tracing::error!(%cause, "a request failed");
    error_page(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here.", "Try again.")
}
