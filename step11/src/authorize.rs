//! The part that a person has in it: the browser goes to the authorization server, and comes back with a code
//! (OAuth 2.1 §4.1, RFC 7636, RFC 8252, RFC 9207).

use std::{
    io::{BufRead, IsTerminal, Read, Write},
    net::TcpListener,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::ServerHandle,
    http::{StatusCode, header},
    web,
};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oauth2::{
    AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, basic::BasicClient,
};
use tokio::sync::{mpsc, watch};
use url::{Position, Url};

use crate::{
    failure::{Failure, Result},
    http::{Http, Request, parse_url, without},
    metadata::AuthorizationServer,
    settings::{CLIENT_SECRET, UserAgent, default_redirect_uri},
    terminal,
};

/// How long the page that says how it went may take to reach the browser, in seconds.
const LAST_PAGE_SECONDS: u64 = 2;
/// The longest line that is pasted, in bytes.
const LONGEST_PASTE: u64 = 8_192;
/// Nobody tries longer than that.
const MOST_PASTES: usize = 100;

/// A redirect URI for one authorization server alone: a hostile one that sends the browser on to another's log-in gets no
/// code from there, as that one knows another redirect URI (mix-up attack, RFC 9700 §4.4.2).
pub fn redirect_uri_for(issuer: &str) -> Url {
    let digest = digest(&SHA256, issuer.as_bytes());
    let mut url = default_redirect_uri();
    url.set_path(&format!("{}/{}", url.path(), URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16])));
    url
}

/// What tells an authorization server's answer from another's where it has no `iss` (RFC 9700 §4.4.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ToldApartBy {
    /// It came back to [`redirect_uri_for`] this server.
    RedirectUri,
    /// The person named this server, and no other is asked.
    Person,
    Nothing,
}

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
    pub told_apart_by: ToldApartBy,
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

/// The browser's last page, which is sent when it is known what to say: to whoever loads it until then.
struct Page {
    outcome: watch::Sender<Option<bool>>,
    server: Option<ServerHandle>,
}

impl Page {
    async fn show(self, went_well: bool) {
        self.outcome.send_replace(Some(went_well));
        if let Some(server) = self.server {
            server.stop(true).await;
        }
    }
}

/// An authorization response: its parameters, as they came.
type Parameters = Vec<(String, String)>;

/// Whether a log-in is safe there; nobody need be registered to find out that it is not.
///
/// # Errors
/// If the server does not do PKCE.
pub fn require_pkce(server: &AuthorizationServer) -> Result<()> {
    // Without PKCE, whoever steals the code can use it (OAuth 2.1 §7.5.2).
    if !server.code_challenge_methods_supported.iter().any(|method| method == "S256") {
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
    server: &AuthorizationServer,
    question: &Question<'_>,
    loopback: Loopback,
    (user_agent, patience): (UserAgent, Duration),
) -> Result<Code> {
    let endpoint = server.endpoint("authorization_endpoint", server.authorization_endpoint.as_deref())?;
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
    http.trace.browser(
        &http.secrets,
        exchange,
        "The browser goes to the authorization server, and comes back with a code",
        '>',
        &url,
    );
    let (parameters, page) = match user_agent {
        UserAgent::None => {
            let page = Page { outcome: watch::Sender::new(None), server: None };
            (without_a_browser(http, url, &redirect_uri).await?, page)
        }
        UserAgent::Browser | UserAgent::Print | UserAgent::Paste => {
            with_a_person(http, (&url, state.secret()), loopback, user_agent, patience)
                .await
                .map_err(|failure| failure.at(exchange))?
        }
    };
    match check(&parameters, state.secret(), server, question.told_apart_by) {
        Ok((code, compared)) => {
            http.secrets.add(&code, "code");
            let mut arrived = redirect_uri.clone();
            arrived.query_pairs_mut().extend_pairs(&parameters);
            http.trace.browser(&http.secrets, exchange, "", '<', &arrived);
            http.note(&format!("`state` is ours, and {compared}: the code may be used, with the code_verifier."));
            Ok(Code { value: code, verifier, redirect_uri, page })
        }
        Err(failure) => {
            // Whose words these are is not known; so none of them is shown.
            http.note(&format!("The browser came back with {}.", names(&parameters)));
            page.show(false).await;
            Err(failure.at(exchange))
        }
    }
}

/// Judges an authorization response, before anything in it is used or shown: is it the answer to our question (`state`),
/// from the server that was asked (`iss`, RFC 9207 §2.4), and is it a code? Says, too, how it knows the server.
fn check(
    parameters: &Parameters,
    state: &str,
    server: &AuthorizationServer,
    told_apart_by: ToldApartBy,
) -> Result<(String, &'static str)> {
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
    let compared = match (one("iss")?, told_apart_by) {
        (Some(iss), _) if iss == server.issuer => "`iss` is the server that was asked",
        (Some(_), _) => {
            return Err(Failure::authorization(
                "the authorization response comes from another issuer than was asked (iss)",
            )
            .advice(unknown));
        }
        (None, _) if server.authorization_response_iss_parameter_supported => {
            return Err(Failure::authorization(
                "the authorization response does not say who it comes from (iss), though the server's metadata says that it does",
            )
            .advice(unknown));
        }
        (None, ToldApartBy::RedirectUri) => {
            "it came to the redirect URI that this server alone knows (there is no `iss`)"
        }
        (None, ToldApartBy::Person) => "you named this server (there is no `iss`)",
        (None, ToldApartBy::Nothing) => {
            return Err(Failure::authorization(
                "the authorization response does not say who it comes from (iss), and nothing else tells",
            )
            .advice("Nothing was sent on. If you trust this authorization server, name it with --issuer."));
        }
    };
    if let Some(error) = one("error")?.filter(|error| !error.is_empty()) {
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
        Some(code) if !code.is_empty() => Ok((code.to_owned(), compared)),
        _ => Err(Failure::authorization("the authorization response has no code")),
    }
}

/// The parameters that there are, as far as an authorization response may have them (RFC 6749 §4.1.2, RFC 9207).
fn names(parameters: &Parameters) -> String {
    let known = ["code", "state", "iss", "error", "error_description", "error_uri"];
    let there = known.into_iter().filter(|name| parameters.iter().any(|(one, _)| one == name));
    there.collect::<Vec<_>>().join(", ")
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
    (url, state): (&Url, &str),
    loopback: Loopback,
    user_agent: UserAgent,
    patience: Duration,
) -> Result<(Parameters, Page)> {
    let redirect_uri = loopback.redirect_uri.clone();
    let (sender, mut callbacks) = mpsc::channel::<Parameters>(1);
    let path = redirect_uri.path().to_owned();
    let outcome = watch::Sender::new(None);
    let expected = web::Data::new(Expected {
        state: state.to_owned(),
        host: redirect_uri[Position::BeforeHost..Position::AfterPort].to_owned(),
        sender,
        outcome: outcome.subscribe(),
        warned: AtomicBool::new(false),
    });
    let mut server =
        HttpServer::new(move || App::new().app_data(expected.clone()).route(&path, web::get().to(callback)))
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

    let may_paste = may_paste(user_agent);
    invite(url, user_agent, may_paste);
    // What is pasted comes from a thread of its own, which ends with the program: there is no taking back a read.
    let (paste, mut pasted) = mpsc::channel::<String>(1);
    if may_paste {
        std::thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            let mut line = String::new();
            // A line that is longer than any address is read in pieces, none of which is one.
            for _ in 0..MOST_PASTES {
                let read = (&mut input).take(LONGEST_PASTE).read_line(&mut line);
                if !read.is_ok_and(|read| read > 0) || paste.blocking_send(std::mem::take(&mut line)).is_err() {
                    break;
                }
            }
        });
    }
    let end = tokio::time::Instant::now() + patience;
    loop {
        tokio::select! {
            Some(parameters) = callbacks.recv() => return Ok((parameters, Page { outcome, server: Some(handle) })),
            Some(line) = pasted.recv() => match parse_answer(&line, &redirect_uri) {
                Some(parameters) => return Ok((parameters, Page { outcome, server: Some(handle) })),
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
fn invite(url: &Url, user_agent: UserAgent, may_paste: bool) {
    let opened = matches!(user_agent, UserAgent::Browser) && open_browser(url);
    let hint = if opened { "Your browser should show the log-in. If it does not, open:" } else { "To log in, open:" };
    say(&format!("{hint}\n\n  {url}\n"));
    if !opened {
        let how =
            if may_paste { "paste that page's address here" } else { "with --paste, its address can be given here" };
        say(&format!("If the browser runs on another computer, its last page will not load: {how}."));
    }
}

/// Whether standard input is ours to read: it is a terminal, and we are in its foreground. Else it may be another
/// program's list, or reading would stop us; unless the person says so.
fn may_paste(user_agent: UserAgent) -> bool {
    let foreground =
        || rustix::termios::tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp());
    user_agent == UserAgent::Paste || (std::io::stdin().is_terminal() && foreground())
}

/// Opens a URL without a shell: the launcher gets it as one argument, which begins with `http`.
fn open_browser(url: &Url) -> bool {
    // What is in our environment is not the browser's business: a secret least of all.
    let spawn = |mut launcher: Command| {
        launcher.env_remove(CLIENT_SECRET).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        launcher.process_group(0).spawn().is_ok()
    };
    parse_url(url.as_str()).is_ok() && open::commands(url.as_str()).into_iter().any(spawn)
}

/// To standard error: standard output is for results.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What the browser brings back when it has been where it was sent; and what its last page shall say.
struct Expected {
    state: String,
    host: String,
    sender: mpsc::Sender<Parameters>,
    outcome: watch::Receiver<Option<bool>>,
    warned: AtomicBool,
}

/// The browser is back; or somebody else is, as any page and any program can send a request here. What has not our
/// `state` is turned away, and the wait goes on (MCP 2026-07-28 "Open Redirection").
async fn callback(request: HttpRequest, expected: web::Data<Expected>) -> HttpResponse {
    let parameters: Parameters = url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect();
    let mut states = parameters.iter().filter(|(name, _)| name == "state").map(|(_, value)| value);
    let ours = states.next() == Some(&expected.state) && states.next().is_none();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !ours || !host.eq_ignore_ascii_case(&expected.host) {
        if !expected.warned.swap(true, Ordering::Relaxed) {
            say("A request came that is not the answer to ours (state). It was turned away, and the wait goes on.");
        }
        let text = "This is not the answer to the log-in that the terminal waits for.";
        return page(StatusCode::BAD_REQUEST, "Not this one", text);
    }
    // The first answer counts. Whoever loads the page again hears the same.
    let _ = expected.sender.try_send(parameters);
    let mut outcome = expected.outcome.clone();
    if outcome.wait_for(Option::is_some).await.is_ok_and(|outcome| *outcome == Some(true)) {
        let text = "All went well. You can close this page and go back to the terminal.";
        page(StatusCode::OK, "You are logged in", text)
    } else {
        page(StatusCode::OK, "You are not logged in", "The terminal says what went wrong.")
    }
}

fn page(status: StatusCode, title: &str, text: &str) -> HttpResponse {
    let colour = if title == "You are logged in" { "#176f3d" } else { "#a3241c" };
    HttpResponse::build(status)
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

    fn outcome(
        query: &str,
        iss_supported: bool,
        told_apart_by: ToldApartBy,
    ) -> std::result::Result<(String, &'static str), String> {
        let mut server = endpoints_of_2025_03_26(&Url::parse(ISSUER).unwrap());
        server.authorization_response_iss_parameter_supported = iss_supported;
        let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        check(&parameters, "our state", &server, told_apart_by).map_err(|failure| failure.message)
    }

    #[test]
    fn an_answer_is_judged_before_it_is_used() {
        use ToldApartBy::{Nothing, Person, RedirectUri};
        let good = format!("code=abc&state=our+state&iss={ISSUER}");
        for (query, iss_supported, told_apart_by, compared) in [
            (good.as_str(), true, Nothing, "`iss` is"),
            (&good, false, Nothing, "`iss` is"),
            (&good, false, RedirectUri, "`iss` is"),
            ("code=abc&state=our+state", false, RedirectUri, "redirect URI"),
            ("code=abc&state=our+state", false, Person, "you named"),
        ] {
            let (code, why) = outcome(query, iss_supported, told_apart_by).unwrap();
            assert!(code == "abc" && why.contains(compared), "{query}: {why}");
        }
        for (query, iss_supported, told_apart_by, why) in [
            ("code=abc&state=our+state", true, RedirectUri, "does not say who"),
            ("code=abc&state=our+state", true, Person, "does not say who"),
            ("code=abc&state=our+state", false, Nothing, "nothing else tells"),
            ("code=abc&state=other&iss=https://as.example", true, RedirectUri, "not the answer"),
            ("code=abc&iss=https://as.example", true, RedirectUri, "not the answer"),
            ("code=abc&state=our+state&iss=https://as.example/", true, RedirectUri, "another issuer"),
            ("code=abc&state=our+state&iss=https://AS.example", false, RedirectUri, "another issuer"),
            ("code=abc&state=our+state&iss=", false, RedirectUri, "another issuer"),
            ("code=abc&state=our+state&iss=https://evil.example", false, Person, "another issuer"),
            ("code=abc&state=our+state&iss=https://as.example&iss=https://as.example", true, Nothing, "iss twice"),
            ("code=abc&code=def&state=our+state&iss=https://as.example", true, Nothing, "code twice"),
            ("state=our+state&iss=https://as.example", true, Nothing, "no code"),
            ("code=&state=our+state&iss=https://as.example", true, Nothing, "no code"),
            ("error=access_denied&state=our+state&iss=https://as.example", true, Nothing, "access_denied"),
        ] {
            let failure = outcome(query, iss_supported, told_apart_by).unwrap_err();
            assert!(failure.contains(why), "{query}: {failure}");
        }
        // Of another issuer's error nothing is shown.
        let failure = outcome(
            "error=look+here&error_description=call+0800&state=our+state&iss=https://evil.example",
            true,
            Nothing,
        );
        assert!(!failure.unwrap_err().contains("look here"));
    }

    #[test]
    fn each_issuer_has_a_redirect_uri_of_its_own() {
        let [a, again, b] = ["https://a.example", "https://a.example", "https://b.example"].map(redirect_uri_for);
        assert!(a == again && a != b, "{a} {b}");
        assert!(a.path().starts_with("/callback/") && a.path().len() == "/callback/".len() + 22, "{a}");
        assert_eq!((a.host_str(), a.port(), a.query()), (Some("127.0.0.1"), Some(0), None));
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
