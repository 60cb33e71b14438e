//! Who is at the browser: the session cookie, a random value whose digest is in the database; the tokens that bind each
//! form to its browser and to the request it answers; and the device cookie, which marks a browser in which somebody
//! has logged in before.

use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
    http::header,
};
use anyhow::Result;
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oauth::secret::{Digest, ExposeSecret, SecretString};

use crate::{
    state::State,
    users::{Account, BROWSER_LIFETIME, Welcome},
};

/// How long a log-in lasts, in seconds: eight hours.
const LIFETIME: i64 = 8 * 3600;

/// The purpose of a form: a token for one purpose is worthless for another.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    LogIn,
    Consent,
    Account,
}

impl State {
    /// The cookie's name carries a digest of the issuer: cookies ignore ports (RFC 6265 §8.5), and
    /// another server on this host must not overwrite ours.
    fn cookie_name(&self, kind: &str) -> String {
        // `__Host-`: no other host of the domain, and no plain http, can set it (RFC 6265bis §4.1.3.2). It goes to all paths of
        // the host. A narrower one could be set from other hosts, and would hide nothing from other applications on this
        // one: their scripts have our origin, and can open our pages with it (§8.5).
        let prefix = if self.issuer.as_str().starts_with("https:") { "__Host-" } else { "" };
        format!("{prefix}{kind}_{}", short(self.issuer.as_str()))
    }

    fn form_cookie_name(&self, form: Form) -> String {
        self.cookie_name(match form {
            Form::LogIn => "mcp_login",
            Form::Consent | Form::Account => "mcp_session",
        })
    }

    /// Several people may use one browser, so the name of each is in the name of their cookie.
    fn device_cookie_name(&self, user: &str) -> String {
        self.cookie_name(&format!("mcp_device_{}", short(user)))
    }

    fn build_cookie(&self, name: String, value: &SecretString, lifetime: i64) -> Cookie<'static> {
        Cookie::build(name, value.expose_secret().to_owned())
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.issuer.as_str().starts_with("https:"))
            .max_age(Duration::seconds(lifetime))
            .finish()
    }

    pub(crate) fn cookie(&self, form: Form, value: &SecretString) -> Cookie<'static> {
        self.build_cookie(self.form_cookie_name(form), value, LIFETIME)
    }

    pub(crate) fn cookie_value(&self, http: &HttpRequest, form: Form) -> Option<SecretString> {
        cookie_value(http, &self.form_cookie_name(form))
    }

    /// The browser's device cookie for a name. It shows that the name's owner has logged in here before, so
    /// strangers' failures do not count against them here. It is proof of nothing else, and replaces no password.
    pub(crate) fn device(&self, http: &HttpRequest, user: &str) -> Option<SecretString> {
        cookie_value(http, &self.device_cookie_name(user))
    }

    /// A new device cookie after a log-in. `None`: as [`State::begin_session`].
    pub(crate) async fn remember_browser(
        &self,
        http: &HttpRequest,
        welcome: &Welcome,
    ) -> Result<Option<Cookie<'static>>> {
        let name = &welcome.account.name;
        let value = self.users.remember_browser(welcome, self.device(http, name).as_ref()).await?;
        Ok(value.map(|value| self.build_cookie(self.device_cookie_name(name), &value, BROWSER_LIFETIME)))
    }

    /// Begins a session with a new value, so that a session from before the log-in is worthless after it. `None`: the
    /// person was disabled meanwhile, or has a new password.
    pub(crate) async fn begin_session(&self, http: &HttpRequest, welcome: &Welcome) -> Result<Option<Cookie<'static>>> {
        let old = self.cookie_value(http, Form::Consent);
        let value = self.users.begin_session(welcome, old.as_ref(), LIFETIME).await?;
        Ok(value.map(|value| self.cookie(Form::Consent, &value)))
    }

    /// What takes the session's cookie away from a browser.
    pub(crate) fn no_session(&self) -> Cookie<'static> {
        self.build_cookie(self.form_cookie_name(Form::Consent), &String::new().into(), 0)
    }

    /// The person who is logged in, and the session's value.
    pub(crate) async fn session(&self, http: &HttpRequest) -> Result<Option<(Account, SecretString)>> {
        let Some(value) = self.cookie_value(http, Form::Consent) else { return Ok(None) };
        let user = self.store.session(&Digest::of(value.expose_secret())).await?;
        let Some(user) = user else { return Ok(None) };
        Ok(self.users.find(&user).await?.map(|account| (account, value)))
    }

    /// The token that a form must carry. It is computed from the browser's cookie and the authorization request, so
    /// that no other browser can send the form, and this browser can send it for no other request.
    pub(crate) fn form_token(&self, form: Form, cookie: &SecretString, query: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.form_key, &form_message(form, cookie, query)))
    }

    pub(crate) fn form_token_fits(&self, token: &str, form: Form, cookie: &SecretString, query: &str) -> bool {
        let message = form_message(form, cookie, query);
        URL_SAFE_NO_PAD.decode(token).is_ok_and(|token| hmac::verify(&self.form_key, &message, &token).is_ok())
    }

    /// Whether a form comes from one of our own pages. Browsers say so in `Origin` (and modern ones in
    /// `Sec-Fetch-Site`); the token decides anyway.
    pub(crate) fn is_own_page(&self, http: &HttpRequest) -> bool {
        let own = |value: &str| {
            url::Url::parse(self.issuer.as_str()).is_ok_and(|url| url.origin().ascii_serialization() == value)
        };
        let origin = http.headers().get(header::ORIGIN).is_none_or(|value| value.to_str().is_ok_and(own));
        let site = http.headers().get("sec-fetch-site").is_none_or(|value| value == "same-origin");
        origin && site
    }
}

/// The beginning of a text's digest, to tell it from others.
fn short(text: &str) -> String {
    Digest::of(text).as_str().chars().take(10).collect()
}

/// The value of a browser's cookie; `None` if it sends none, or two of them. It is looked for in the bytes of the
/// headers: other programs on this host set cookies too, and what they write must not hide ours.
fn cookie_value(http: &HttpRequest, name: &str) -> Option<SecretString> {
    let pairs = http.headers().get_all(header::COOKIE).flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let value = str::from_utf8(values.next()?).ok()?;
    (values.next().is_none() && value.len() == 43).then(|| value.into())
}

fn form_message(form: Form, cookie: &SecretString, query: &str) -> Vec<u8> {
    let kind = match form {
        Form::LogIn => "log in",
        Form::Consent => "consent",
        Form::Account => "account",
    };
    [kind, cookie.expose_secret(), query].join("\0").into_bytes()
}

#[cfg(test)]
mod tests {
    use actix_web::{http::header::HeaderValue, test::TestRequest};

    use super::*;

    #[test]
    fn cookies_of_other_programs_do_not_hide_ours() {
        let ours = format!("mcp_login={}", "v".repeat(43));
        let found = |lines: &[&[u8]]| {
            let lines = lines.iter().map(|line| (header::COOKIE, HeaderValue::from_bytes(line).unwrap()));
            let http = lines.fold(TestRequest::default(), TestRequest::append_header).to_http_request();
            cookie_value(&http, "mcp_login").map(|value| value.expose_secret().to_owned())
        };
        let with = |before: &[u8], after: &[u8]| found(&[&[before, ours.as_bytes(), after].concat()]);
        let others: [(&[u8], &[u8]); 4] = [
            (b"", b""),
            (b"theme=\xe9t\xe9; ", b""),
            (b"no value; ;", b" ; =; a=%"),
            (b"mcp_login2=x; ", b"; MCP_LOGIN=x"),
        ];
        for (before, after) in others {
            assert_eq!(with(before, after), Some("v".repeat(43)), "{before:?} {after:?}");
        }
        assert_eq!(found(&[b"theme=\xe9", ours.as_bytes()]), Some("v".repeat(43)));
        // Nobody knows which of two is ours.
        assert_eq!(with(b"mcp_login=\xe9; ", b""), None);
        assert_eq!(found(&[ours.as_bytes(), ours.as_bytes()]), None);
        assert_eq!(found(&[b"mcp_login=short"]), None);
        assert_eq!(found(&[b"theme=x"]), None);
    }
}
