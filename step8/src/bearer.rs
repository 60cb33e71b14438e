//! Bearer tokens (RFC 6750): where in a request a token may be, and how a request without a good one is answered.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE},
    },
};
use common::http::ErrorBody;
use serde_json::value::RawValue;

/// Why a request has no token.
pub enum Missing {
    Token,
    Syntax(&'static str),
}

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1). Query, body and cookies are not looked at.
pub fn bearer_token(headers: &HeaderMap) -> Result<&str, Missing> {
    let mut values = headers.get_all(AUTHORIZATION);
    let value = match (values.next(), values.next()) {
        (None, _) => return Err(Missing::Token),
        (Some(value), None) => value.as_bytes().trim_ascii(),
        (Some(_), Some(_)) => return Err(Missing::Syntax("Send one Authorization header, not several.")),
    };
    let (scheme, token) = value.split_at(value.iter().position(|byte| *byte == b' ').unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Err(Missing::Token);
    }
    match std::str::from_utf8(token.trim_ascii()) {
        Ok("") => Err(Missing::Syntax("There is no token after Bearer.")),
        Ok(token) if is_b64token(token) => Ok(token),
        _ => Err(Missing::Syntax("What comes after Bearer is not one token.")),
    }
}

/// The characters of RFC 6750 §2.1. It does not stop at the first bad one, so that the compiler can check many at once.
fn is_b64token(token: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
    token.bytes().fold(true, |good, byte| good & allowed(byte))
}

/// The parameters of `WWW-Authenticate: Bearer …` (RFC 6750 §3) that every refusal carries.
#[derive(Clone, Default)]
pub struct Challenge(Vec<(&'static str, String)>);

impl Challenge {
    /// The same with this parameter, which replaces one of the same name.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.0.retain(|(other, _)| *other != name);
        self.0.push((name, value.to_owned()));
        self
    }

    /// A refusal: the same in the challenge, for programs, and in the body, for people. `id`: the request's, if it is
    /// known. Without any token there is no `error` to name (§3.1).
    pub fn refuse(
        &self,
        status: StatusCode,
        id: Option<&RawValue>,
        error: Option<&str>,
        description: &str,
    ) -> HttpResponse {
        let mut params: Vec<_> = self.0.iter().map(|(name, value)| quoted(name, value)).collect();
        if let Some(error) = error {
            params.push(quoted("error", error));
            params.push(quoted("error_description", description));
        }
        let challenge = format!("Bearer {}", params.join(", "));
        let mut response = ErrorBody::new(error.unwrap_or("unauthorized"), description).on_mcp(status, id);
        if let Ok(challenge) = challenge.trim_end().parse() {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// A parameter whose value may have any printable ASCII character (RFC 9110 §5.6.4).
fn quoted(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
