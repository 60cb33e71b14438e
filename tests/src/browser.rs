//! A browser without a screen: it keeps cookies, sends forms, and looks at redirects instead of following them.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Url, redirect::Policy};
use serde_json::{Value, json};

use crate::{Reply, Server};

/// The password of all users of a server started by [`start`].
pub const PASSWORD: &str = "correct horse battery staple";
/// Where the clients of the tests are called back.
pub const CALLBACK: &str = "http://localhost:1/callback";
/// A PKCE pair (RFC 7636 appendix B).
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The form with which a client that asked with [`CHALLENGE`] redeems its code.
pub fn redemption<'a>(client: &'a str, code: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ]
}

/// Starts a step with an authorization server in it, whose users all have [`PASSWORD`].
///
/// # Errors
/// If it does not come up.
pub fn start(package: &str) -> Result<Server> {
    Server::start_in_env(package, &[], &[("MCP_DEV_PASSWORD", PASSWORD)])
}

/// One browser, or one program that sends requests without a browser.
pub struct Browser<'a> {
    urls: Vec<&'a str>,
    requests: AtomicUsize,
    client: reqwest::Client,
    pub cookies: Mutex<BTreeMap<String, String>>,
}

/// A page with a form.
#[derive(Debug)]
pub struct Page {
    pub reply: Reply,
    pub action: String,
    pub csrf: String,
}

impl<'a> Browser<'a> {
    /// # Errors
    /// If there is no HTTP client.
    pub fn new(server: &'a Server) -> Result<Self> {
        Self::at(vec![server.url()])
    }

    /// One that goes to the next of these servers with each request, as a proxy without stickiness sends it.
    ///
    /// # Errors
    /// If there is no HTTP client.
    pub fn at(urls: Vec<&'a str>) -> Result<Self> {
        // No connection is kept: while a test waits for another program, the server may close it, and the test would not see it.
        let client =
            reqwest::Client::builder().no_proxy().redirect(Policy::none()).pool_max_idle_per_host(0).build()?;
        Ok(Self::with(client, urls))
    }

    /// The same with a client's connections. The client follows no redirects.
    #[must_use]
    pub fn with(client: reqwest::Client, urls: Vec<&'a str>) -> Self {
        Browser { urls, requests: AtomicUsize::default(), client, cookies: Mutex::default() }
    }

    /// The URL of the server whose turn it is.
    fn url(&self) -> &'a str {
        self.urls[self.requests.fetch_add(1, Relaxed) % self.urls.len()]
    }

    /// A request with the cookies there are.
    ///
    /// # Errors
    /// If a test has panicked with them.
    pub fn with_cookies(&self, request: reqwest::RequestBuilder) -> Result<reqwest::RequestBuilder> {
        let cookies = self.cookies.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        let jar = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        Ok(if jar.is_empty() { request } else { request.header("Cookie", jar) })
    }

    /// Sends a request with the cookies there are, and keeps those that come back.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Reply> {
        let reply = Reply::of(self.with_cookies(request)?).await?;
        for cookie in reply.headers.get_all("set-cookie") {
            let (name, value) =
                cookie.to_str()?.split(';').next().unwrap_or_default().split_once('=').context("no cookie")?;
            self.cookies.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.insert(name.to_owned(), value.to_owned());
        }
        Ok(reply)
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.url()))
    }

    pub fn post(&self, path: &str, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.client
            .post(format!("{}{path}", self.url()))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body)
    }

    /// Opens a page and reads its form.
    ///
    /// # Errors
    /// If there is no answer, or no form in it.
    pub async fn open(&self, path: &str) -> Result<Page> {
        let reply = self.send(self.get(path)).await?;
        page(reply)
    }

    /// Opens a log-in page, and sends its form: the answer.
    ///
    /// # Errors
    /// If there is no answer, or no form.
    pub async fn log_in(&self, path: &str, user: &str, password: &str) -> Result<Reply> {
        let login = self.open(path).await?;
        let form = [("username", user), ("password", password), ("csrf", &login.csrf)];
        self.send(self.post(&login.action, &form)).await
    }

    /// A person logs in and allows these scopes. Returns the redirect's parameters.
    ///
    /// # Errors
    /// If a page is not what it should be.
    pub async fn consent(&self, path: &str, user: &str, scopes: &[&str]) -> Result<BTreeMap<String, String>> {
        let reply = self.log_in(path, user, PASSWORD).await?;
        ensure!(reply.status == 303, "{reply:?}");
        let consent = self.open(reply.header("location")).await?;
        let mut form = vec![("csrf", consent.csrf.as_str()), ("decision", "allow")];
        form.extend(scopes.iter().map(|scope| ("scope", *scope)));
        let reply = self.send(self.post(&consent.action, &form)).await?;
        ensure!(reply.status == 303, "{reply:?}");
        parameters(reply.header("location"))
    }

    /// `POST /token`.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn token(&self, form: &[(&str, &str)]) -> Result<Reply> {
        Reply::of(self.post("/token", form)).await
    }

    /// Registers a public client that is called back at these URIs.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn register(&self, redirect_uris: &[&str]) -> Result<String> {
        let metadata = json!({
            "client_name": "a test", "redirect_uris": redirect_uris, "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        });
        let reply = self.register_as(&metadata).await?;
        ensure!(reply.status == 201, "{reply:?}");
        reply.json()["client_id"].as_str().map(str::to_owned).context("no client_id")
    }

    /// # Errors
    /// If there is no answer.
    pub async fn register_as(&self, metadata: &Value) -> Result<Reply> {
        let url = format!("{}/register", self.url());
        Reply::of(self.client.post(url).header("Content-Type", "application/json").body(metadata.to_string())).await
    }

    /// The query of a complete authorization request; `change` replaces or (with "") removes parameters.
    pub fn request(&self, client_id: &str, change: &[(&str, &str)]) -> String {
        let resource = format!("{}/mcp", self.url());
        let mut params = BTreeMap::from([
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", CALLBACK),
            ("state", "the state"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", resource.as_str()),
            ("scope", "mcp:read mcp:tools"),
        ]);
        params.extend(change.iter().copied());
        let params = params.iter().filter(|(_, value)| !value.is_empty());
        format!("/authorize?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish())
    }
}

/// The parameters in a URL's query.
///
/// # Errors
/// If it is no URL.
pub fn parameters(url: &str) -> Result<BTreeMap<String, String>> {
    Ok(Url::parse(url).with_context(|| url.to_owned())?.query_pairs().into_owned().collect())
}

/// The claims in a token, unverified.
///
/// # Errors
/// If it is no JWT.
pub fn claims(token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("no JWT")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}

/// The name of the key that signed a token.
///
/// # Errors
/// If it is no JWT, or names no key.
pub fn kid(token: &str) -> Result<String> {
    jsonwebtoken::decode_header(token)?.kid.context("no kid")
}

/// That one of the tries to use something that works once was granted, and all others were refused.
///
/// # Panics
/// If it is not so.
pub fn assert_one_is_granted(round: usize, replies: &[Reply]) {
    let granted = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(granted, 1, "round {round}: {replies:?}");
    assert!(replies.iter().all(|reply| reply.status == 200 || reply.status == 400), "round {round}: {replies:?}");
}

/// Reads a page's form.
///
/// # Errors
/// If it has none.
pub fn page(reply: Reply) -> Result<Page> {
    let between = |start: &str, end: &str| -> Option<String> {
        let rest = reply.text.split_once(start)?.1;
        Some(unescaped(rest.split_once(end)?.0))
    };
    let action = between("action=\"", "\"").with_context(|| format!("no form: {reply:?}"))?;
    let csrf = reply
        .text
        .split("<input")
        .find(|input| input.contains("name=\"csrf\""))
        .and_then(|input| input.split_once("value=\"")?.1.split_once('"').map(|(value, _)| value.to_owned()))
        .with_context(|| format!("no csrf: {reply:?}"))?;
    Ok(Page { reply, action, csrf })
}

fn unescaped(text: &str) -> String {
    text.replace("&#38;", "&").replace("&amp;", "&").replace("&#x3D;", "=").replace("&#61;", "=").replace("&#43;", "+")
}
