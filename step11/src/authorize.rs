//! The part that a person has in it: the browser goes to the authorization server, and comes back with a code
//! (OAuth 2.1 §4.1, RFC 7636, RFC 8252, RFC 9207).

use std::{
    io::{BufRead, Write},
    net::TcpListener,
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, http::header, web};
use oauth2::{
    AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, basic::BasicClient,
};
use tokio::sync::{mpsc, oneshot};
use url::Url;

use crate::{
    failure::{Failure, Result},
    http::{Http, Request, parse_url},
    metadata::AuthorizationServer,
    settings::UserAgent,
    terminal,
};

/// How long the page that says how it went may take to reach the browser, in seconds.
const LAST_PAGE_SECONDS: u64 = 2;

/// A place on this computer that the browser can be sent back to.
pub struct Loopback {
    pub redirect_uri: Url,
    sockets: Vec<TcpListener>,
}

impl Loopback {
    /// Takes the port of the redirect URI; without one, or with 0, any that is free.
    ///
    /// # Errors
    /// If it is taken.
    pub fn bind(redirect_uri: &Url) -> Result<Self> {
        let port = redirect_uri.port().unwrap_or(0);
        let fail = |error: std::io::Error| {
            Failure::local(format!("cannot listen for the browser on port {port}: {error}"))
                .advice("Name another with --redirect-uri; it must be one that the client is registered with.")
        };
        let bind = |port| match redirect_uri.host_str() {
            Some("[::1]") => Ok(vec![TcpListener::bind(("::1", port))?]),
            Some("127.0.0.1") => Ok(vec![TcpListener::bind(("127.0.0.1", port))?]),
            // The browser may take either for localhost, and whoever held the other would get the code.
            _ => {
                let v4 = TcpListener::bind(("127.0.0.1", port))?;
                match TcpListener::bind(("::1", v4.local_addr()?.port())) {
                    Ok(v6) => Ok(vec![v4, v6]),
                    Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error),
                    Err(_) => Ok(vec![v4]), // a computer without IPv6
                }
            }
        };
        // A free port on one address may be taken on the other; then it is another's turn.
        let mut sockets = bind(port);
        for _ in 0..8 {
            if port != 0 || sockets.is_ok() {
                break;
            }
            sockets = bind(port);
        }
        let sockets: Vec<TcpListener> = sockets.map_err(fail)?;
        let port = sockets[0].local_addr().map_err(fail)?.port();
        let mut redirect_uri = redirect_uri.clone();
        // It is http on loopback, so a port can be set.
        let _ = redirect_uri.set_port(Some(port));
        Ok(Loopback { redirect_uri, sockets })
    }
}

/// What is asked of the authorization server.
pub struct Question<'a> {
    pub client_id: &'a str,
    pub resource: &'a str,
    pub scope: &'a [String],
    /// The thumbprint of the key that the code shall be bound to (RFC 9449 §10).
    pub dpop_jkt: Option<String>,
}

/// The code, and who waits to hear what became of it.
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

/// The browser's last request, which is answered when it is known what to say.
struct Page {
    answer: Option<oneshot::Sender<bool>>,
    server: Option<ServerHandle>,
}

impl Page {
    async fn show(self, went_well: bool) {
        if let Some(answer) = self.answer {
            let _ = answer.send(went_well);
        }
        if let Some(server) = self.server {
            server.stop(true).await;
        }
    }
}

/// An authorization response: its parameters, as they came.
type Parameters = Vec<(String, String)>;

/// Sends the person to the authorization server, and waits for the code.
///
/// # Errors
/// If the server does not do PKCE, the person does not come back in time, or the answer is not for us, not from the
/// server that was asked, or a refusal.
pub async fn authorize(
    http: &Http,
    server: &AuthorizationServer,
    question: &Question<'_>,
    loopback: Loopback,
    (user_agent, patience): (UserAgent, Duration),
) -> Result<Code> {
    // Without PKCE, whoever steals the code can use it (OAuth 2.1 §7.5.2).
    if !server.code_challenge_methods_supported.iter().any(|method| method == "S256") {
        return Err(Failure::authorization(
            "the authorization server does not say that it does PKCE with S256 (code_challenge_methods_supported)",
        )
        .advice("No safe log-in is possible there; its operator must enable PKCE."));
    }
    let endpoint = server.endpoint("authorization_endpoint", server.authorization_endpoint.as_deref())?;
    http.check(&endpoint)
        .map_err(|why| Failure::authorization(format!("the authorization_endpoint is refused: {why}")))?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    http.secrets.add(verifier.secret(), "code verifier");
    let client = BasicClient::new(ClientId::new(question.client_id.to_owned()))
        .set_auth_uri(AuthUrl::from_url(endpoint))
        .set_redirect_uri(RedirectUrl::from_url(loopback.redirect_uri.clone()));
    let mut request = client
        .authorize_url(CsrfToken::new_random)
        .add_scopes(question.scope.iter().cloned().map(Scope::new))
        .set_pkce_challenge(challenge)
        .add_extra_param("resource", question.resource);
    if let Some(thumbprint) = &question.dpop_jkt {
        request = request.add_extra_param("dpop_jkt", thumbprint);
    }
    let (url, state) = request.url();
    http.secrets.add(state.secret(), "state");

    let redirect_uri = loopback.redirect_uri.clone();
    let exchange = http.next();
    http.trace.browser(exchange, "The browser goes to the authorization server, and comes back with a code", '>', &url);
    let (parameters, page) = match user_agent {
        UserAgent::None => (without_a_browser(http, url, &redirect_uri).await?, Page { answer: None, server: None }),
        UserAgent::Browser | UserAgent::Print => {
            with_a_person(http, &url, loopback, user_agent, patience).await.map_err(|failure| failure.at(exchange))?
        }
    };
    let mut arrived = redirect_uri.clone();
    arrived.query_pairs_mut().extend_pairs(&parameters);
    http.trace.browser(exchange, "", '<', &arrived);
    match check(&parameters, state.secret(), server) {
        Ok(code) => {
            http.secrets.add(&code, "code");
            http.note(
                "`state` is ours and `iss` is the server that was asked: the code may be used, with the code_verifier.",
            );
            Ok(Code { value: code, verifier, redirect_uri, page })
        }
        Err(failure) => {
            page.show(false).await;
            Err(failure.at(exchange))
        }
    }
}

/// Judges an authorization response, before anything in it is used or shown: is it the answer to our question (`state`),
/// from the server that was asked (`iss`, RFC 9207 §2.4), and is it a code?
fn check(parameters: &Parameters, state: &str, server: &AuthorizationServer) -> Result<String> {
    let one = |name: &str| -> Result<Option<&str>> {
        let mut values = parameters.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(Failure::authorization(format!("the authorization response has {name} twice"))),
        }
    };
    let unknown = "Nothing was sent on. Try again; if it happens again, do not trust this authorization server.";
    if one("state")? != Some(state) {
        return Err(Failure::authorization("the authorization response is not the answer to our request (state)")
            .advice(unknown));
    }
    match one("iss")? {
        Some(iss) if iss != server.issuer => {
            return Err(Failure::authorization(
                "the authorization response comes from another issuer than was asked (iss)",
            )
            .advice(unknown));
        }
        None if server.authorization_response_iss_parameter_supported => {
            return Err(Failure::authorization(
                "the authorization response does not say who it comes from (iss), though the server says that its do",
            )
            .advice(unknown));
        }
        _ => {}
    }
    if let Some(error) = one("error")? {
        let description = one("error_description")?.map_or(String::new(), |text| format!(", {}", terminal::line(text)));
        let mut failure =
            Failure::authorization(format!("the authorization server says: {}{description}", terminal::line(error)));
        failure.oauth_error = Some(error.to_owned());
        return Err(match error {
            "access_denied" => {
                failure.advice("The access was denied in the browser. Run the command again to be asked again.")
            }
            _ => failure,
        });
    }
    match one("code")? {
        Some(code) if !code.is_empty() => Ok(code.to_owned()),
        _ => Err(Failure::authorization("the authorization response has no code")),
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

/// Reads what the person pasted, or a `Location`: it must lead to our redirect URI.
fn parse_answer(text: &str, redirect_uri: &Url) -> Option<Parameters> {
    let url = Url::parse(text.trim()).ok()?;
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    (bare == *redirect_uri).then(|| url.query_pairs().into_owned().collect())
}

async fn with_a_person(
    http: &Http,
    url: &Url,
    loopback: Loopback,
    user_agent: UserAgent,
    patience: Duration,
) -> Result<(Parameters, Page)> {
    let redirect_uri = loopback.redirect_uri.clone();
    let (sender, mut callbacks) = mpsc::channel::<(Parameters, oneshot::Sender<bool>)>(1);
    let path = redirect_uri.path().to_owned();
    let app_sender = sender.clone();
    let mut server = HttpServer::new(move || {
        App::new().app_data(web::Data::new(app_sender.clone())).route(&path, web::get().to(callback))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(LAST_PAGE_SECONDS);
    for socket in loopback.sockets {
        server =
            server.listen(socket).map_err(|error| Failure::local(format!("cannot listen for the browser: {error}")))?;
    }
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);

    invite(url, user_agent);
    // What is pasted comes from a thread of its own, which ends with the program: there is no taking back a read.
    let (paste, mut pasted) = mpsc::channel::<String>(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
            if paste.blocking_send(line).is_err() {
                break;
            }
        }
    });
    let end = tokio::time::Instant::now() + patience;
    loop {
        tokio::select! {
            Some((parameters, answer)) = callbacks.recv() => {
                return Ok((parameters, Page { answer: Some(answer), server: Some(handle) }));
            }
            Some(line) = pasted.recv() => match parse_answer(&line, &redirect_uri) {
                Some(parameters) => return Ok((parameters, Page { answer: None, server: Some(handle) })),
                None if line.trim().is_empty() => {}
                None => say(&format!("That is not the address that the browser was sent to: it begins with {redirect_uri}?")),
            },
            () = tokio::time::sleep_until(end) => {
                handle.stop(false).await;
                http.note("Nobody came back.");
                return Err(Failure::authorization("nobody came back from the browser in time").advice(
                    "Run the command again. If the browser showed an error, the authorization server may not know this \
                     client any more: `step11 logout` makes it register anew.",
                ));
            }
        }
    }
}

/// Tells the person where to go, and opens the browser if there is one.
fn invite(url: &Url, user_agent: UserAgent) {
    let opened = user_agent == UserAgent::Browser && open_browser(url);
    let hint = if opened { "Your browser should show the log-in. If it does not, open:" } else { "To log in, open:" };
    say(&format!("{hint}\n\n  {url}\n"));
    if !opened {
        say("If the browser runs on another computer, its last page will not load: paste that page's address here.");
    }
}

/// Opens a URL without a shell: the launcher gets it as one argument, which begins with `http`.
fn open_browser(url: &Url) -> bool {
    parse_url(url.as_str()).is_ok() && open::that_detached(url.as_str()).is_ok()
}

/// To standard error: standard output is for results.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The browser is back.
async fn callback(
    request: HttpRequest,
    sender: web::Data<mpsc::Sender<(Parameters, oneshot::Sender<bool>)>>,
) -> HttpResponse {
    let parameters = url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect();
    let (answer, went_well) = oneshot::channel();
    // The first answer counts. Whatever else comes here was not asked for.
    let went_well = sender.try_send((parameters, answer)).is_ok() && went_well.await.unwrap_or(false);
    let (title, text) = if went_well {
        ("You are logged in", "All went well. You can close this page and go back to the terminal.")
    } else {
        ("You are not logged in", "The terminal says what went wrong.")
    };
    let colour = if went_well { "#176f3d" } else { "#a3241c" };
    HttpResponse::Ok()
        .content_type(header::ContentType::html())
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ))
        .body(format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title>\
             <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem}}\
             h1{{border-left:.4rem solid {colour};padding-left:.8rem}}</style><h1>{title}</h1><p>{text}</p></html>"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::endpoints_of_2025_03_26;

    const ISSUER: &str = "https://as.example";

    fn outcome(query: &str, iss_supported: bool) -> std::result::Result<String, String> {
        let mut server = endpoints_of_2025_03_26(&Url::parse(ISSUER).unwrap());
        server.authorization_response_iss_parameter_supported = iss_supported;
        let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        check(&parameters, "our state", &server).map_err(|failure| failure.message)
    }

    #[test]
    fn an_answer_is_judged_before_it_is_used() {
        let good = format!("code=abc&state=our+state&iss={ISSUER}");
        assert_eq!(outcome(&good, true).unwrap(), "abc");
        assert_eq!(outcome(&good, false).unwrap(), "abc");
        assert_eq!(outcome("code=abc&state=our+state", false).unwrap(), "abc");
        for (query, iss_supported, why) in [
            ("code=abc&state=our+state", true, "does not say who"),
            ("code=abc&state=other&iss=https://as.example", true, "not the answer"),
            ("code=abc&iss=https://as.example", true, "not the answer"),
            ("code=abc&state=our+state&iss=https://as.example/", true, "another issuer"),
            ("code=abc&state=our+state&iss=https://AS.example", false, "another issuer"),
            ("code=abc&state=our+state&iss=", false, "another issuer"),
            ("code=abc&state=our+state&iss=https://as.example&iss=https://as.example", true, "iss twice"),
            ("code=abc&code=def&state=our+state&iss=https://as.example", true, "code twice"),
            ("state=our+state&iss=https://as.example", true, "no code"),
            ("code=&state=our+state&iss=https://as.example", true, "no code"),
            ("error=access_denied&state=our+state&iss=https://as.example", true, "access_denied"),
        ] {
            let failure = outcome(query, iss_supported).unwrap_err();
            assert!(failure.contains(why), "{query}: {failure}");
        }
        // Of another issuer's error nothing is shown.
        let failure =
            outcome("error=look+here&error_description=call+0800&state=our+state&iss=https://evil.example", true);
        assert!(!failure.unwrap_err().contains("look here"));
    }

    #[test]
    fn what_is_pasted_must_be_our_address() {
        let ours = Url::parse("http://127.0.0.1:4711/callback").unwrap();
        assert!(parse_answer(" http://127.0.0.1:4711/callback?code=a&state=b \r", &ours).is_some());
        for other in [
            "http://127.0.0.1:4712/callback?code=a",
            "http://localhost:4711/callback?code=a",
            "code=a",
            "",
            "https://127.0.0.1:4711/callback?code=a",
        ] {
            assert!(parse_answer(other, &ours).is_none(), "{other}");
        }
    }
}
