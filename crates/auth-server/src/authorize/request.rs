//! What a client asks a person for (OAuth 2.1 §4.1.1, RFC 7636, RFC 8707), and the way back to the client (RFC 9207).

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::LOCATION},
};
use oauth::{
    address::is_localhost,
    claims::SCOPES,
    identifiers::{RedirectUri, Resource},
    redirect_uri::{self, without_loopback_port},
};
use url::{Url, form_urlencoded};

use crate::{
    answers::{busy_page, error_page, internal},
    cimd::{self, Problem},
    client::Client,
    events,
    params::{Params, known_scopes},
    state::{ClientProblem, State},
};

/// A client's authorization request, checked.
pub(super) struct Asked {
    pub client: Client,
    pub redirect_uri: RedirectUri,
    pub state: Option<String>,
    pub code_challenge: String,
    pub scopes: Vec<&'static str>,
    pub resource: Resource,
}

impl Asked {
    /// Whether the code would go to a program on the person's own computer. That could be any program.
    pub fn loopback_only(&self) -> bool {
        Url::parse(self.redirect_uri.as_str())
            .is_ok_and(|url| is_localhost(&url) || !matches!(url.scheme(), "http" | "https"))
    }

    /// The scheme, if the code would go to an app with a URI scheme of its own.
    pub fn app_scheme(&self) -> Option<String> {
        let url = Url::parse(self.redirect_uri.as_str()).ok()?;
        (!matches!(url.scheme(), "http" | "https")).then(|| format!("{}:", url.scheme()))
    }

    /// Where the code would go, in words for the person: a host, or the scheme of an app, since the part of such a URI
    /// that looks like a host is not a host.
    pub fn destination(&self) -> String {
        let host = |url: Url| url.host_str().unwrap_or_default().to_owned();
        self.app_scheme().unwrap_or_else(|| Url::parse(self.redirect_uri.as_str()).map(host).unwrap_or_default())
    }
}

/// Reads and checks the request. Until the client and its redirect URI are verified, the answer is a page, never a
/// redirect (RFC 6749 §4.1.2.1).
pub(super) async fn read(state: &State, http: &HttpRequest) -> Result<Asked, HttpResponse> {
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
    events::client(client.id.as_str());
    let Some(redirect_uri) = redirect_uri(state, &client, &params) else {
        if params.all("redirect_uri").all(str::is_empty) {
            return page("The program does not say where the answer goes.", "It needs one redirect_uri.");
        }
        return page("The program wants the answer sent to an address that is not its own.", "Do not go on.");
    };

    // Anybody can register a client and thus a redirect URI, so only a person's decision sends a browser there. Errors
    // are redirected only to a program on this computer, or to one of the operator's clients (RFC 9700 §4.11.2).
    let loopback = Url::parse(redirect_uri.as_str()).is_ok_and(|url| is_localhost(&url));
    let back = |error, description| {
        if !client.listed && !loopback {
            return page(description, "The program that sent you is at fault.");
        }
        let state_param = params.get("state").filter(|_| params.all("state").count() == 1);
        Err(redirect(state, &redirect_uri, state_param, &[("error", error), ("error_description", description)]))
    };
    if params.repeats(&ONCE) {
        return back("invalid_request", "A parameter appears more than once.");
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
    let Some(resource) = state.resource(params.get("resource")).cloned() else {
        return back(
            "invalid_target",
            "The parameter resource must name a server that tokens are issued for (RFC 8707).",
        );
    };
    let mut scopes = params.get("scope").map_or(SCOPES.to_vec(), known_scopes);
    // The scopes in a client's metadata are no limit: the client could have listed others, and the person decides each
    // time.
    if let Some(limit) = client.metadata.scope.as_deref().filter(|_| client.listed) {
        scopes.retain(|scope| limit.split(' ').any(|one| one == *scope));
    }
    if scopes.is_empty() {
        return back("invalid_scope", "None of these scopes is known here.");
    }
    let (state_param, code_challenge) = (params.get("state").map(str::to_owned), challenge.to_owned());
    Ok(Asked { client, redirect_uri, state: state_param, code_challenge, scopes, resource })
}

/// Where the answer goes: a URI that the client registered, and that is still acceptable. A client with only one may
/// leave it out (OAuth 2.1 §4.1.1). The port of a loopback URI may differ.
fn redirect_uri(state: &State, client: &Client, params: &Params) -> Option<RedirectUri> {
    let registered = &client.metadata.redirect_uris[..];
    let uri = match (params.get("redirect_uri"), registered) {
        _ if params.repeats(&["redirect_uri"]) => return None,
        (Some(asked), _) => registered.iter().any(|known| redirect_uri::matches(known, asked)).then_some(asked)?,
        (None, [only, same @ ..]) if without_loopback_port(only).is_none() && same.iter().all(|one| one == only) => {
            only
        }
        (None, _) => return None,
    };
    state.schemes.accept(uri).then(|| RedirectUri::new(uri))
}

/// Sends the browser back to the client, always with `iss` (RFC 9207 §2) and its `state`. The URI stays byte for byte
/// as the client gave it; only the query grows.
pub(super) fn redirect(
    state: &State,
    uri: &RedirectUri,
    echoed: Option<&str>,
    params: &[(&str, &str)],
) -> HttpResponse {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(params);
    if let Some(echoed) = echoed {
        query.append_pair("state", echoed);
    }
    query.append_pair("iss", state.issuer.as_str());
    let mark = if uri.as_str().contains('?') { '&' } else { '?' };
    HttpResponse::SeeOther()
        .insert_header((LOCATION, format!("{uri}{mark}{}", query.finish())))
        .insert_header(("Cache-Control", "no-store"))
        .insert_header(("Referrer-Policy", "no-referrer"))
        .finish()
}
