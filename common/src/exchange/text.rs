//! Text that others chose, made fit to be seen, and what a token says of itself.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::json::Json;

/// Characters that are shown of a line, and of a text in JSON.
const WIDTH: usize = 400;
const TEXT_WIDTH: usize = 120;
/// Characters that look like spaces, though Unicode has them for letters and symbols.
const BLANK: [char; 5] = ['\u{115f}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{ffa0}'];
/// Lines that are shown of a token's claims.
const CLAIM_LINES: usize = 20;
/// What a token says of itself that is shown.
const CLAIMS: [&str; 7] = ["iss", "sub", "aud", "client_id", "scope", "roles", "exp"];

pub(super) fn characters(text: &str) -> String {
    match text.chars().count() {
        1 => "1 character".to_owned(),
        count => format!("{count} characters"),
    }
}

pub(super) fn hidden(text: &str) -> String {
    format!("‹{}›", characters(text))
}

/// A text that may be shown, on one line: without tokens in it, not too long, and with all that a terminal would obey, or
/// not show at all, as `\u{1b}`.
pub(super) fn line(text: &str) -> String {
    let mut safe = String::new();
    let text = without_tokens(text);
    let mut rest = text.chars();
    for c in rest.by_ref().take(WIDTH) {
        let printable = c == ' ' || c.escape_debug().len() == 1 || matches!(c, '\'' | '"' | '\\');
        if printable && !BLANK.contains(&c) {
            safe.push(c);
        } else {
            safe.extend(c.escape_unicode());
        }
    }
    if rest.next().is_some() {
        safe.push('…');
    }
    safe
}

/// A JWT is no more to be seen where nobody expects one. A half is enough for one.
fn without_tokens(text: &str) -> String {
    let mut rest = text;
    let mut shown = String::new();
    while let Some(start) = rest.find("eyJ") {
        let (before, from) = rest.split_at(start);
        let end =
            from.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))).unwrap_or(from.len());
        let (token, after) = from.split_at(end);
        shown.push_str(before);
        if token.len() < 20 {
            shown.push_str(token);
        } else {
            shown.extend(["‹JWT, ", &characters(token), "›"]);
        }
        rest = after;
    }
    shown + rest
}

/// What a token says, as lines of their own; `None` if it is no JWT.
pub(super) fn claims(token: &str) -> Option<Vec<String>> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let Json::Members(said) = Json::read(&URL_SAFE_NO_PAD.decode(payload).ok()?)? else { return None };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let expires =
        said.iter().find(|(name, _)| name == "exp").and_then(|(_, value)| value.compact().parse::<u64>().ok());
    let expiry = expires.map_or(String::new(), |expires| match expires.checked_sub(now) {
        Some(left) => format!(", and it expires in {left} seconds"),
        None => format!(", and it expired {} seconds ago", now - expires),
    });
    let shown =
        said.into_iter().filter(|(name, _)| CLAIMS.contains(&&**name)).map(|(name, value)| (name, short(&value)));
    let mut lines = vec![format!("  its claims, which are not verified here{expiry}:")];
    Json::Members(shown.collect()).write("", 1, "", &mut lines);
    Some(lines.iter().take(CLAIM_LINES).map(|text| line(text)).collect())
}

/// A value whose texts are not too long.
pub(super) fn short(json: &Json) -> Json {
    match json {
        Json::Members(members) => {
            Json::Members(members.iter().map(|(name, value)| (name.clone(), short(value))).collect())
        }
        Json::Items(items) => Json::Items(items.iter().map(short).collect()),
        Json::Text(text) => {
            let text = without_tokens(text);
            match text.char_indices().nth(TEXT_WIDTH) {
                Some((end, _)) => Json::Text(format!("{}…", &text[..end])),
                None => Json::Text(text),
            }
        }
        Json::Other(text) => Json::Other(text.clone()),
    }
}
