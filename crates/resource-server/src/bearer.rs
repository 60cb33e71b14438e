//! Where a token may be: in one `Authorization` header, after `Bearer` (RFC 6750 §2.1). Query, body and cookies are not
//! looked at.

use crate::refusal::Refusal;

/// The token in the values of a request's `Authorization` headers.
///
/// # Errors
/// If there is none, or what is there is not one token.
pub fn token<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<&'a str, Refusal> {
    let malformed = |why| Refusal::new(400, Some("invalid_request"), "request_malformed", why);
    let value = match (values.next(), values.next()) {
        (None, _) => return Err(Refusal::token_missing()),
        (Some(value), None) => value.trim_ascii(),
        (Some(_), Some(_)) => return Err(malformed("Send one Authorization header, not several.")),
    };
    let (scheme, token) = value.split_at(value.iter().position(|byte| *byte == b' ').unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Err(Refusal::token_missing());
    }
    match std::str::from_utf8(token.trim_ascii()) {
        Ok("") => Err(malformed("There is no token after Bearer.")),
        Ok(token) if is_b64token(token) => Ok(token),
        _ => Err(malformed("What comes after Bearer is not one token.")),
    }
}

/// The characters of RFC 6750 §2.1. It always looks at all of them, so that the compiler can check many at a time.
fn is_b64token(token: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
    token.bytes().fold(true, |good, byte| good & allowed(byte))
}
