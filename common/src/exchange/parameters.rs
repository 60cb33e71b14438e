//! Parameters, in the query of a URL and in a form: each on a line of its own, and the values of those that are harmless.

use url::form_urlencoded;

use super::{
    names::{HARMLESS, SECRET},
    seen::{Headers, Kept},
    text::{hidden, line},
};

/// Parameters that are shown of a query or a form: a client may send thousands.
const SHOWN: usize = 50;

/// The request line, and each parameter of the query on a line of its own.
pub(super) fn target(method: &str, path: &str, query: Option<&str>) -> Vec<String> {
    let more = if query.is_some() { "?…" } else { "" };
    let mut lines = vec![line(&format!("{method} {}{more} HTTP/1.1", place(path)))];
    lines.extend(query.into_iter().flat_map(in_query));
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

/// A URL, or what comes behind a server's name: its query apart, and no user in it.
pub(super) fn url(text: &str) -> (String, Option<&str>) {
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
    let more = if query.is_some() { "?…" } else { "" };
    (format!("{server}{path}{more}{fragment}"), query)
}

/// The parameters of a query, as they are listed below what it belongs to.
pub(super) fn in_query(query: &str) -> Vec<String> {
    listed(&parameters(query.as_bytes())).iter().map(|text| format!("  {text}")).collect()
}

/// Parameters, each on a line of its own; of many, the first.
pub(super) fn listed(pairs: &[(String, String)]) -> Vec<String> {
    let mut lines: Vec<_> = pairs.iter().take(SHOWN).map(|(name, value)| line(&pair(name, value))).collect();
    if pairs.len() > SHOWN {
        lines.push(format!("… ({} more)", pairs.len() - SHOWN));
    }
    lines
}

fn parameters(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

/// `name=value` of a form or a query. A name that is not known may be a secret by itself.
fn pair(name: &str, value: &str) -> String {
    if HARMLESS.contains(&name) {
        return format!("{name}={}", harmless(value));
    }
    let name = if SECRET.contains(&name) { name.to_owned() } else { hidden(name) };
    format!("{name}={}", hidden(value))
}

/// A harmless value; but a URL in it may have a secret in its query. It may be of any scheme (RFC 8252 §7.1), or of none.
pub(super) fn harmless(value: &str) -> String {
    let shown = |word: &str| if word.contains([':', '/']) { url(word).0 } else { word.to_owned() };
    value.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

/// The pairs of a body that is a form, as they came.
pub(super) fn pairs(headers: &Headers, kept: &Kept) -> Vec<(String, String)> {
    let form = headers.announce("application/x-www-form-urlencoded") && kept.is_whole();
    if form { parameters(&kept.bytes) } else { Vec::new() }
}
