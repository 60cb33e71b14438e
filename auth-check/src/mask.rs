//! What a report must not show: secrets, by their text and by the name under which an answer gives them.

use oauth::text::is_invisible;
use serde_json::Value;
use url::{Url, form_urlencoded};

/// How much of a request, of an answer and of a sentence a report shows, in characters.
const SHOWN: usize = 800;
/// Shorter texts are not replaced: they are not secrets, and may be a part of any word.
const SHORTEST: usize = 6;
/// The members of an answer that are secrets (RFC 6749 §5.1, RFC 7591 §3.2.1, OpenID Connect Core §3.1.3.3).
const NAMES: [&str; 5] = ["access_token", "refresh_token", "id_token", "client_secret", "registration_access_token"];
/// The members of a key that are private (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// The most secrets of an answer that are looked for elsewhere in it; hidden under their names are all.
const MAX_SECRETS: usize = 100;
/// The longest URL that is quoted.
const MAX_URL: usize = 200;
const HIDDEN: &str = "‹not shown›";

/// An answer's body as a report may show it, and the secrets that are in it.
pub fn body(text: &str) -> (String, Vec<String>) {
    let mut secrets = Vec::new();
    if text.contains("PRIVATE KEY-----") {
        return ("(not shown: it has a private key)".to_owned(), secrets);
    }
    match serde_json::from_str::<Value>(text) {
        Ok(mut json) => {
            if hide(&mut json, false, &mut secrets) {
                return (json.to_string(), secrets);
            }
        }
        // It is not JSON, so nobody can say where a secret in it ends.
        Err(_) if NAMES.iter().chain(&["kty"]).any(|name| gives(text, name)) => {
            return ("(not shown: it may have secrets)".to_owned(), secrets);
        }
        Err(_) => {}
    }
    (text.to_owned(), secrets)
}

/// Hides secret members at any depth; whether there were any. `is_key`: the value is in a key set.
fn hide(json: &mut Value, is_key: bool, secrets: &mut Vec<String>) -> bool {
    let mut hid = false;
    match json {
        Value::Array(items) => {
            for item in items {
                hid |= hide(item, is_key, secrets);
            }
        }
        Value::Object(members) => {
            let is_key = is_key || members.contains_key("kty");
            for (name, value) in members {
                let is_secret = NAMES.contains(&name.as_str()) || is_key && PRIVATE.contains(&name.as_str());
                if is_secret && !value.is_null() {
                    secrets.extend(value.as_str().filter(|_| secrets.len() < MAX_SECRETS).map(str::to_owned));
                    *value = HIDDEN.into();
                    hid = true;
                } else {
                    hid |= hide(value, name == "keys", secrets);
                }
            }
        }
        _ => {}
    }
    hid
}

/// Whether a text that is no JSON gives something this name.
fn gives(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let rest = text[at + name.len()..].trim_start_matches(['"', '\'', '\\', ' ', '\t', '\r', '\n']);
        rest.starts_with([':', '='])
    })
}

/// The beginning of a text, line by line, without these secrets.
pub fn masked(text: &str, secrets: &[String]) -> String {
    let mut masks: Vec<(&str, String)> = Vec::new();
    for secret in secrets {
        masks.push((secret, format!("‹token, {} characters›", secret.len())));
        // A part of a JWT is a secret too, and a server may have taken it apart.
        let parts = secret.split('.').filter(|part| part.len() > 20 && *part != secret);
        masks.extend(parts.map(|part| (part, "‹part of the token›".to_owned())));
    }
    masks.retain(|(secret, _)| secret.len() >= SHORTEST);
    // One may be a part of another.
    masks.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
    let text = masks.iter().fold(text.to_owned(), |text, (secret, mask)| text.replace(secret, mask));
    cut(&text)
}

/// A sentence that may quote a server: its beginning, on one line.
pub fn sentence(text: &str) -> String {
    line(&cut(text))
}

/// A URL that a server may have named: without what may be secret in it.
pub fn url(url: &Url) -> String {
    let mut shown = url.clone();
    // Only a URL that has no host has no place for them.
    let _ = (shown.set_username(""), shown.set_password(None));
    shown.set_query(None);
    shown.set_fragment(None);
    let shown = if shown.path().len() > MAX_URL { shown.origin().ascii_serialization() } else { shown.to_string() };
    shown.chars().take(MAX_URL).collect()
}

/// What may be secret in a URL's query: the whole of it, and each value, as they are and as another URL has them.
pub fn of_query(url: &Url) -> Vec<String> {
    let query = url.query().unwrap_or_default();
    let written = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value.to_owned());
    let all = written.chain(url.query_pairs().map(|(_, value)| value.into_owned())).chain([query.to_owned()]);
    all.flat_map(|one| [form_urlencoded::byte_serialize(one.as_bytes()).collect(), one]).collect()
}

/// The parameters of a redirect that are secrets (RFC 6749 §4.1.2 and §4.2.2), as they are and as they are written.
pub fn of_redirect(place: &Url) -> Vec<String> {
    let written = [place.query(), place.fragment()].into_iter().flatten().flat_map(|part| part.split('&'));
    let mut secrets = Vec::new();
    let is_secret = |(name, _): &(&str, &str)| *name == "code" || NAMES.contains(name);
    for (_, value) in written.filter_map(|pair| pair.split_once('=')).filter(is_secret).take(MAX_SECRETS) {
        secrets.push(value.to_owned());
        secrets.extend(form_urlencoded::parse(value.as_bytes()).map(|(value, _)| value.into_owned()));
    }
    secrets
}

/// On one line, and without what a terminal would obey.
pub fn line(text: &str) -> String {
    text.chars().map(|c| if is_invisible(c) { '\u{fffd}' } else { c }).collect()
}

/// Its beginning, line by line.
fn cut(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(line).collect();
    let text = lines.join("\n");
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_secret_is_masked_first_and_a_short_one_spoils_nothing() {
        let token = "A-token-that-begins-with-an-id";
        let secrets = ["A", "A-token", token].map(str::to_owned);
        let shown = masked(&format!("Authorization: Bearer {token}\nAccept: A"), &secrets);
        assert_eq!(shown, "Authorization: Bearer ‹token, 30 characters›\nAccept: A");
    }

    #[test]
    fn an_answer_is_shown_without_what_its_members_name_as_secret() {
        let answer = r#"{"client_id":"c","client_secret":"S3","a":[{"registration_access_token":{"t":"S3"}}]}"#;
        let (shown, secrets) = body(answer);
        assert!(!shown.contains("S3") && shown.contains(r#""client_id":"c""#), "{shown}");
        assert_eq!(secrets, ["S3"]);
        for unread in [
            "{\"access_token\": \"S3",
            "access_token=S3&token_type=bearer",
            "data: {\"id_token\":\"S3\"}\n\n",
            "{\\\"refresh_token\\\":\\\"S3\\\"}",
            "{\"keys\":[{\"kty\":\"EC\",\"d\":\"S3\"}",
            "-----BEGIN PRIVATE KEY-----\nS3",
            "[\"-----BEGIN RSA PRIVATE KEY-----\\nS3\"]",
        ] {
            assert!(!body(unread).0.contains("S3"), "{unread}");
        }
        for harmless in ["<p>No access_token.</p>", "{ \"error\": \"invalid_grant\" }", "{\"id_token\":null, \"d\":1}"]
        {
            assert_eq!(body(harmless), (harmless.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn what_a_server_names_is_quoted_without_secrets_and_not_for_ever() {
        let long = format!("https://alice:the-secret@a.example/{}?code=S3#S3", "x".repeat(5000));
        let shown = super::url(&Url::parse(&long).unwrap());
        assert_eq!(shown, "https://a.example");
        let place = Url::parse("http://127.0.0.1/cb?state=s&code=a%2Fb#access_token=S3").unwrap();
        assert_eq!(of_redirect(&place), ["a%2Fb", "a/b", "S3", "S3"]);
        let sentence = sentence(&format!("a\nb\u{1b}{}", "x".repeat(5000)));
        assert!(sentence.chars().count() <= SHOWN + 1 && !sentence.contains(['\n', '\u{1b}']), "{sentence}");
    }

    #[test]
    fn an_answer_of_many_secrets_shows_none() {
        let answer: Vec<_> =
            (0..1000).map(|number| serde_json::json!({ "id_token": format!("S3-{number}") })).collect();
        let (shown, secrets) = body(&serde_json::json!(answer).to_string());
        assert!(!shown.contains("S3") && secrets.len() == MAX_SECRETS, "{shown}");
    }

    #[test]
    fn a_key_is_shown_without_its_private_members() {
        for set in [
            r#"{"keys":[{"kty":"EC","x":"public","d":"S3","k":["S3"]}]}"#,
            r#"{"keys":[{"x":"public","p":"S3"}]}"#,
            r#"[{"kty":"oct","k":"S3","x":"public"}]"#,
        ] {
            let shown = body(set).0;
            assert!(!shown.contains("S3") && shown.contains("public"), "{shown}");
        }
    }
}
