//! Parameters, in the query of a URL and in a form: each on a line of its own, and the values of those that are harmless.

use url::form_urlencoded;

use super::{
    names::{HARMLESS, SECRET},
    seen::{Headers, Kept},
    text::{hidden, line},
};

/// The request line, and each parameter of the query on a line of its own.
pub(super) fn target(method: &str, path: &str, query: Option<&str>) -> Vec<String> {
    let (query, pairs) = match query {
        Some(query) => ("?…", parameters(query.as_bytes())),
        None => ("", Vec::new()),
    };
    let mut lines = vec![line(&format!("{method} {}{query} HTTP/1.1", place(path)))];
    lines.extend(pairs.iter().map(|(name, value)| format!("  {}", line(&pair(name, value)))));
    lines
}

/// A path without what might be a secret in it: of its segments, words are shown.
fn place(path: &str) -> String {
    let is_word = |segment: &str| {
        let letters = segment.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'.'));
        segment.len() <= 20 || letters && segment.len() <= 60
    };
    let shown = |segment| if is_word(segment) { segment.to_owned() } else { hidden(segment) };
    path.split('/').map(shown).collect::<Vec<_>>().join("/")
}

/// A URL, or what comes behind a server's name: its parameters apart, and no user in it.
pub(super) fn url(text: &str) -> (String, Vec<String>) {
    let (text, fragment) = text.split_once('#').map_or((text, ""), |(text, _)| (text, "#…"));
    let (text, query) = text.split_once('?').map_or((text, None), |(text, query)| (text, Some(query)));
    let (server, path) = match text.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(_, host)| ("‹…›@", host));
            (format!("{scheme}://{user}{host}"), path)
        }
        None => (String::new(), text),
    };
    let pairs = query.map(|query| parameters(query.as_bytes())).unwrap_or_default();
    let more = if query.is_some() { "?…" } else { "" };
    let pairs = pairs.iter().map(|(name, value)| pair(name, value)).collect();
    (format!("{server}{path}{more}{fragment}"), pairs)
}

fn parameters(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

/// `name=value` of a form or a query. A name that is not known may be a secret by itself.
pub(super) fn pair(name: &str, value: &str) -> String {
    if HARMLESS.contains(&name) {
        return format!("{name}={}", harmless(value));
    }
    let name = if SECRET.contains(&name) { name.to_owned() } else { hidden(name) };
    format!("{name}={}", hidden(value))
}

/// A harmless value; but a URL may have a secret in its query.
pub(super) fn harmless(value: &str) -> String {
    if !value.contains("://") || value.contains(' ') {
        return value.to_owned();
    }
    let (place, pairs) = url(value);
    if pairs.is_empty() { place } else { place.replace("?…", &format!("?{}", pairs.join("&"))) }
}

/// The pairs of a body that is a form, as they came.
pub(super) fn pairs(headers: &Headers, kept: &Kept) -> Vec<(String, String)> {
    let form = headers.announce("application/x-www-form-urlencoded") && kept.is_whole();
    if form { parameters(&kept.bytes) } else { Vec::new() }
}
