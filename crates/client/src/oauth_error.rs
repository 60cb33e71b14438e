//! A refusal of an authorization server, in its words (RFC 6749 §5.2, RFC 7591 §3.2.2).

use serde_json::Value;

use crate::{escape, exchange::Answer, failure::Failure};

/// An error in the words of the server: `error` and `error_description` (RFC 6749 §5.2), in JSON or in a form; or an `error`
/// that is an object, with a message.
struct Refusal {
    /// The OAuth error code.
    code: Option<String>,
    description: Option<String>,
}

impl Refusal {
    /// What a body says, with any status.
    fn of(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).unwrap_or_else(|_| form(body));
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let error = &body["error"];
        match text(error) {
            Some(code) => Some(Refusal { code: Some(code), description: text(&body["error_description"]) }),
            None => text(&error["message"]).map(|message| Refusal { code: None, description: Some(message) }),
        }
    }
}

/// The members of a form. A page is not a form, though it may have `&error=` in it.
fn form(body: &[u8]) -> Value {
    let body = body.trim_ascii();
    if body.iter().any(|byte| !byte.is_ascii_graphic() || b"<>\"".contains(byte)) {
        return Value::Null;
    }
    url::form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), Value::from(value))).collect()
}

/// Whether an answer is an error, although its status is that of a success.
pub fn has_error(body: &[u8]) -> bool {
    Refusal::of(body).is_some()
}

/// A refusal in the words of the server (RFC 6749 §5.2, RFC 7591 §3.2.2).
pub fn oauth_failure(answer: &Answer, what: &str) -> Failure {
    let refusal = Refusal::of(&answer.body);
    let said = match &refusal {
        None => format!("it answers {}", answer.status),
        Some(Refusal { code, description }) => {
            let parts: Vec<String> = [code, description].into_iter().flatten().map(|text| escape::line(text)).collect();
            parts.join(", ")
        }
    };
    let kind = if answer.status.is_server_error() { Failure::network } else { Failure::authorization };
    let mut failure = kind(format!("{what}: {said}")).at(answer.exchange);
    failure.oauth_error = refusal.and_then(|refusal| refusal.code);
    failure.status = Some(answer.status.as_u16());
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_text_or_has_a_message_in_json_or_in_a_form() {
        for (body, is_error) in [
            (r#"{ "error": "bad_verification_code" }"#, true),
            (r#"{ "ok": false, "error": "invalid_code" }"#, true),
            (r#"{ "error": { "code": 400, "message": "No." } }"#, true),
            ("error=bad_verification_code&error_description=It+is+old.", true),
            (r#"{ "error": null, "access_token": "a" }"#, false),
            (r#"{ "error": "", "access_token": "a" }"#, false),
            (r#"{ "error": {}, "access_token": "a" }"#, false),
            (r#"["error"]"#, false),
            (r#""error""#, false),
            ("<a href=\"?a=b&error=c&d=e\">", false),
            ("error=", false),
        ] {
            assert_eq!(has_error(body.as_bytes()), is_error, "{body}");
        }
        let refusal = Refusal::of(b"error=bad_verification_code&error_description=It+is+old.").unwrap();
        assert_eq!(
            (refusal.code.as_deref(), refusal.description.as_deref()),
            (Some("bad_verification_code"), Some("It is old."))
        );
    }
}
