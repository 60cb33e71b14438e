//! Masks what its name marks as secret when an exchange is shown.

use serde_json::Value;
use url::Url;

/// The names of OAuth parameters that nobody else may see (RFC 6749, 7009, 7521, 7591, 8693; OpenID Connect), without
/// the underscores, which some servers leave out.
const SECRET: [&str; 16] = [
    "accesstoken",
    "actortoken",
    "assertion",
    "clientassertion",
    "clientsecret",
    "code",
    "codeverifier",
    "devicecode",
    "dpop",
    "idtoken",
    "password",
    "refreshtoken",
    "registrationaccesstoken",
    "state",
    "subjecttoken",
    "token",
];
/// Those that hardly stand for anything else: in a page, or in the description of a tool.
const UNMISTAKABLE: [&str; 3] = ["accesstoken", "clientsecret", "refreshtoken"];

/// Names are compared without letter case and underscores.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "")
}

fn is_secret(name: &str) -> bool {
    SECRET.contains(&plain(name).as_str())
}

/// A body that is not JSON. A secret in it cannot be told from the rest, so if it may have one, nothing of it is shown.
pub fn masked_text(text: &str) -> String {
    let names = plain(text);
    if UNMISTAKABLE.iter().any(|name| names.contains(name)) {
        return format!("‹{} characters that are not JSON and may have a secret in them›", text.chars().count());
    }
    text.to_owned()
}

pub fn masked(name: &str, value: &str) -> String {
    if is_secret(name) { format!("‹{name}, {} characters›", value.chars().count()) } else { value.to_owned() }
}

pub fn masked_header(name: &str, value: &str) -> String {
    if name.eq_ignore_ascii_case("authorization") {
        let (scheme, credentials) = value.split_once(' ').unwrap_or(("", value));
        return format!("{scheme} ‹{} characters›", credentials.len());
    }
    match name.to_ascii_lowercase().as_str() {
        "dpop" => format!("‹proof, {} characters›", value.len()),
        "mcp-session-id" => format!("‹session, {} characters›", value.len()),
        "location" => Url::parse(value).map_or_else(|_| value.to_owned(), |url| masked_url(&url)),
        _ => value.to_owned(),
    }
}

pub fn masked_url(url: &Url) -> String {
    let mut shown = url.clone();
    if url.query_pairs().any(|(name, _)| is_secret(&name)) {
        shown.set_query(None);
        let pairs: Vec<String> =
            url.query_pairs().map(|(name, value)| format!("{name}={}", masked(&name, &value))).collect();
        return format!("{shown}?{}", pairs.join("&"));
    }
    shown.to_string()
}

pub fn masked_json(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    // The same in every request, and no part of this flow.
                    _ if name == "_meta" => Value::String("…".to_owned()),
                    Value::String(text) => Value::String(masked(name, text)),
                    Value::Array(_) | Value::Object(_) if UNMISTAKABLE.contains(&plain(name).as_str()) => {
                        Value::String(masked(name, &value.to_string()))
                    }
                    other => masked_json(other),
                };
                (name.clone(), value)
            })
            .collect(),
        Value::Array(items) => items.iter().map(masked_json).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_secret_is_masked_wherever_it_is() {
        assert_eq!(masked_header("Authorization", "Bearer abc"), "Bearer ‹3 characters›");
        let url = Url::parse("http://localhost/callback?code=abc&iss=http%3A%2F%2Flocalhost&state=x").unwrap();
        assert_eq!(
            masked_url(&url),
            "http://localhost/callback?code=‹code, 3 characters›&iss=http://localhost&state=‹state, 1 characters›"
        );
        let shown = masked_json(&json!({ "access_token": "abc", "deep": [{ "refresh_token": "def" }], "scope": "s" }));
        assert!(!shown.to_string().contains("abc") && !shown.to_string().contains("def"), "{shown}");
        for other in [
            json!({ "accessToken": "secret" }),
            json!({ "token": "secret" }),
            json!({ "access_token": { "value": "secret" } }),
            json!({ "refresh_token": ["secret"] }),
        ] {
            assert!(!masked_json(&other).to_string().contains("secret"), "{other}");
        }
        // A number is no secret, nor is what a tool takes.
        let others = json!({ "code": -32601, "properties": { "code": { "type": "string" } } });
        assert_eq!(masked_json(&others), others);
        for text in [
            "access_token=secret&token_type=bearer",
            "\u{feff}{\"access_token\":\"secret\"}",
            "{\"refresh_token\":\"secret\",}",
            "client_secret: secret",
        ] {
            assert!(masked_text(text).starts_with('‹'), "{text}");
        }
        assert_eq!(masked_text("<p>invalid_token, code=1</p>"), "<p>invalid_token, code=1</p>");
    }
}
