//! The person's part: the browser goes to the authorization server, and comes back with a code (OAuth 2.1 §4.1, RFC
//! 7636, RFC 8252, RFC 9207).

mod callback;
mod loopback;
mod response;

use std::sync::Arc;

use oauth::{identifiers, metadata::AuthorizationServerMetadata};
use oauth2::{
    AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, basic::BasicClient,
};
use tokio::sync::mpsc;
use url::Url;

use self::{
    callback::{Callbacks, Page},
    response::{Parameters, check, names, parse_answer},
};
pub use self::{
    loopback::{Loopback, default_redirect_uri, redirect_uri_for},
    response::ToldApartBy,
};
use crate::{
    endpoints::{endpoint, lists},
    exchange::Request,
    failure::{Failure, Result},
    http::Http,
    person::Person,
    urls::without,
};

/// The request to the authorization server.
pub struct Question<'a> {
    pub client_id: &'a identifiers::ClientId,
    pub resource: &'a str,
    pub scope: &'a str,
    /// The thumbprint of the key that the code must be bound to (RFC 9449 §10).
    pub dpop_jkt: Option<String>,
    pub told_apart_by: ToldApartBy,
}

/// The code, and the browser page that waits for the outcome.
pub struct Code {
    pub value: String,
    pub verifier: PkceCodeVerifier,
    pub redirect_uri: Url,
    page: Page,
}

impl Code {
    /// Tells the person at the browser how it went.
    pub async fn tell(self, went_well: bool) {
        self.page.show(went_well).await;
    }
}

/// Checks that a log-in at this server is safe. This comes first, so that nobody registers at a server that is not.
///
/// # Errors
/// If the server does not do PKCE.
pub fn require_pkce(server: &AuthorizationServerMetadata) -> Result<()> {
    // Without PKCE, a stolen code can be used (OAuth 2.1 §7.5).
    if !lists(server.code_challenge_methods_supported.as_ref(), "S256") {
        return Err(Failure::authorization(
            "the authorization server does not say that it does PKCE with S256 (code_challenge_methods_supported)",
        )
        .advice("No safe log-in is possible there; its operator must enable PKCE."));
    }
    Ok(())
}

/// Sends the person to the authorization server, and waits for the code.
///
/// # Errors
/// If the person does not come back in time, or the answer is not for us, not from the
/// server that was asked, or a refusal.
pub async fn authorize(
    http: &Http,
    server: &AuthorizationServerMetadata,
    question: &Question<'_>,
    loopback: Loopback,
) -> Result<Code> {
    let endpoint = endpoint(server, "authorization_endpoint", server.authorization_endpoint.as_deref())?;
    http.check(&endpoint)
        .map_err(|why| Failure::authorization(format!("the authorization_endpoint is refused: {why}")))?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    http.secrets.add(verifier.secret(), "code verifier");
    let mut ours = vec![
        "response_type",
        "client_id",
        "state",
        "code_challenge",
        "code_challenge_method",
        "redirect_uri",
        "resource",
    ];
    ours.extend((!question.scope.is_empty()).then_some("scope"));
    ours.extend(question.dpop_jkt.as_ref().map(|_| "dpop_jkt"));
    let endpoint = without(&endpoint, &ours);
    let client = BasicClient::new(ClientId::new(question.client_id.to_string()))
        .set_auth_uri(AuthUrl::from_url(endpoint))
        .set_redirect_uri(RedirectUrl::from_url(loopback.redirect_uri.clone()));
    let mut request = client
        .authorize_url(CsrfToken::new_random)
        .add_scopes(question.scope.split_whitespace().map(|scope| Scope::new(scope.to_owned())))
        .set_pkce_challenge(challenge)
        .add_extra_param("resource", question.resource);
    if let Some(thumbprint) = &question.dpop_jkt {
        request = request.add_extra_param("dpop_jkt", thumbprint);
    }
    let (url, state) = request.url();
    http.secrets.add(state.secret(), "state");

    let redirect_uri = loopback.redirect_uri.clone();
    let exchange = http.next();
    let why = "The browser goes to the authorization server, and comes back with a code";
    http.trace.browser_leaves(exchange, why, &url);
    let (parameters, page) = match &http.settings.person {
        None => (without_a_browser(http, url, &redirect_uri).await?, Page::default()),
        Some(person) => with_a_person(http, (&url, state.secret()), loopback, person)
            .await
            .map_err(|failure| failure.at(exchange))?,
    };
    match check(&parameters, state.secret(), server, question.told_apart_by) {
        Ok((code, compared)) => {
            http.secrets.add(&code, "code");
            let mut arrived = redirect_uri.clone();
            arrived.query_pairs_mut().extend_pairs(&parameters);
            http.trace.browser_returns(&arrived);
            http.checked(&format!("`state` is ours, and {compared}: the code may be used, with the code_verifier."));
            Ok(Code { value: code, verifier, redirect_uri, page })
        }
        Err(failure) => {
            // The sender of these words is unknown, so they are not shown.
            http.note(&format!("The browser came back with {}.", names(&parameters)));
            page.show(false).await;
            Err(failure.at(exchange))
        }
    }
}

/// Where nobody has to consent, the redirect itself is the answer.
async fn without_a_browser(http: &Http, url: Url, redirect_uri: &Url) -> Result<Parameters> {
    let answer = http.send("Ask as the browser would", &Request::get(url)).await?;
    let location = answer.header_values("location").next().unwrap_or_default();
    parse_answer(location, redirect_uri).ok_or_else(|| {
        Failure::authorization("the authorization server does not redirect to us; a person would have to log in")
            .at(answer.exchange)
    })
}

async fn with_a_person(
    http: &Http,
    (url, state): (&Url, &str),
    loopback: Loopback,
    person: &Arc<dyn Person>,
) -> Result<(Parameters, Page)> {
    let redirect_uri = loopback.redirect_uri.clone();
    let Callbacks { mut answers, page } = callback::listen(loopback, state, person.clone())?;
    let (paste, mut pasted) = mpsc::channel::<String>(1);
    person.show_log_in(url, paste);
    let end = tokio::time::Instant::now() + http.settings.login_timeout;
    loop {
        tokio::select! {
            Some(parameters) = answers.recv() => return Ok((parameters, page)),
            Some(line) = pasted.recv() => match parse_answer(&line, &redirect_uri) {
                Some(parameters) => return Ok((parameters, page)),
                None if line.trim().is_empty() => {}
                None => person.tell(&format!("That is not the address that the browser was sent to: it begins with {redirect_uri}?")),
            },
            () = tokio::time::sleep_until(end) => {
                http.note("Nobody came back.");
                return Err(Failure::authorization("the browser did not come back in time").advice(
                    "Run the command again. If the browser showed an error, the authorization server may not know this \
                     client any more: `Client::log_out` makes it register anew.",
                ));
            }
        }
    }
}
