//! What may be seen of an exchange. Of what OAuth's endpoints take and give, only what is known to be harmless; of other
//! messages, all but what is known to be secret; and nothing moves the cursor of the terminal.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use url::form_urlencoded;

use super::{Headers, Kept, json::Json};

/// Lines that are shown of a body that is JSON, and of another.
const JSON_LINES: usize = 50;
const TEXT_LINES: usize = 8;
/// Characters that are shown of a line, and of a text in JSON.
const WIDTH: usize = 400;
const TEXT_WIDTH: usize = 120;

/// Parameters of OAuth whose values anybody may see (RFC 6749, 6750, 7009, 7591, 7636, 8707, 9207; JSON-RPC's own are not
/// needed here).
const HARMLESS: [&str; 39] = [
    "advice",
    "application_type",
    "client_assertion_type",
    "client_id",
    "client_id_issued_at",
    "client_name",
    "client_secret_expires_at",
    "client_uri",
    "code_challenge",
    "code_challenge_method",
    "correlation_id",
    "decision",
    "error",
    "error_description",
    "error_uri",
    "expires_in",
    "grant_type",
    "grant_types",
    "iss",
    "jsonrpc",
    "jwks_uri",
    "logo_uri",
    "message",
    "policy_uri",
    "prompt",
    "reason",
    "redirect_uri",
    "redirect_uris",
    "resource",
    "response_type",
    "response_types",
    "scope",
    "software_id",
    "software_version",
    "token_endpoint_auth_method",
    "token_endpoint_auth_signing_alg",
    "token_type",
    "token_type_hint",
    "tos_uri",
];
/// Those whose names may be seen, but not their values.
const SECRET: [&str; 18] = [
    "access_token",
    "assertion",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "csrf",
    "id_token",
    "id_token_hint",
    "jwks",
    "login_hint",
    "nonce",
    "password",
    "refresh_token",
    "registration_access_token",
    "state",
    "token",
    "username",
];
/// Names of secrets in other messages; compared in lower case and without `_` and `-`.
const UNMISTAKABLE: [&str; 17] = [
    "accesstoken",
    "apikey",
    "assertion",
    "authorization",
    "clientassertion",
    "clientsecret",
    "code",
    "codeverifier",
    "cookie",
    "csrf",
    "idtoken",
    "password",
    "privatekey",
    "refreshtoken",
    "registrationaccesstoken",
    "secret",
    "token",
];
/// What a token says of itself that is shown.
const CLAIMS: [&str; 7] = ["iss", "sub", "aud", "client_id", "scope", "roles", "exp"];

fn characters(text: &str) -> String {
    match text.chars().count() {
        1 => "1 character".to_owned(),
        count => format!("{count} characters"),
    }
}

fn hidden(text: &str) -> String {
    format!("‹{}›", characters(text))
}

/// A text that may be shown, on one line: without tokens in it, not too long, and with all that a terminal would obey, or
/// not show at all, as `\u{1b}`.
pub(super) fn line(text: &str) -> String {
    let mut safe = String::new();
    let text = without_tokens(text);
    let mut rest = text.chars();
    for c in rest.by_ref().take(WIDTH) {
        if c == ' ' || c.escape_debug().len() == 1 || matches!(c, '\'' | '"' | '\\') {
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
            shown.push_str(token)
        } else {
            shown += &format!("‹JWT, {}›", characters(token))
        }
        rest = after;
    }
    shown + rest
}

/// What a token says, as lines of their own; `None` if it is no JWT.
fn claims(token: &str) -> Option<Vec<String>> {
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
    Some(lines.iter().take(JSON_LINES).map(|text| line(text)).collect())
}

/// `Name: value`, masked.
pub(super) fn headers(headers: &Headers) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in &headers.0 {
        match *name {
            "Content-Length" | "Transfer-Encoding" => {} // the body shows it
            "Authorization" => lines.extend(authorization(value)),
            "DPoP" | "Mcp-Session-Id" => lines.push(format!("{name}: {}", hidden(value))),
            "Cookie" => {
                let cookies: Vec<_> = value.split(';').map(|pair| cookie(pair.trim())).collect();
                lines.push(format!("{name}: {}", line(&cookies.join("; "))));
            }
            "Set-Cookie" => lines.push(format!("{name}: {}", line(&set_cookie(value)))),
            "Location" => {
                let (place, pairs) = url(value);
                lines.push(format!("{name}: {}", line(&place)));
                lines.extend(pairs.iter().map(|pair| format!("  {}", line(pair))));
            }
            _ => lines.push(format!("{name}: {}", line(value))),
        }
    }
    lines
}

fn authorization(value: &str) -> Vec<String> {
    let (scheme, credentials) = value.split_once(' ').unwrap_or((value, ""));
    if !["bearer", "basic", "dpop"].contains(&&*scheme.to_ascii_lowercase()) {
        return vec![format!("Authorization: {}", hidden(value))];
    }
    let Some(said) = claims(credentials.trim()) else {
        return vec![format!("Authorization: {scheme} {}", hidden(credentials))];
    };
    std::iter::once(format!("Authorization: {scheme} ‹JWT, {}›", characters(credentials))).chain(said).collect()
}

fn cookie(pair: &str) -> String {
    pair.split_once('=').map_or_else(|| hidden(pair), |(name, value)| format!("{name}={}", hidden(value)))
}

fn set_cookie(value: &str) -> String {
    let known = ["path", "httponly", "samesite", "secure", "max-age", "expires", "domain"];
    let mut parts = value.split(';').map(str::trim);
    let mut shown = vec![cookie(parts.next().unwrap_or_default())];
    shown.extend(parts.map(|part| {
        let name = part.split('=').next().unwrap_or_default().to_ascii_lowercase();
        if known.contains(&&*name) { part.to_owned() } else { hidden(part) }
    }));
    shown.join("; ")
}

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
fn url(text: &str) -> (String, Vec<String>) {
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
fn pair(name: &str, value: &str) -> String {
    if HARMLESS.contains(&name) {
        return format!("{name}={}", harmless(value));
    }
    let name = if SECRET.contains(&name) { name.to_owned() } else { hidden(name) };
    format!("{name}={}", hidden(value))
}

/// A harmless value; but a URL may have a secret in its query.
fn harmless(value: &str) -> String {
    if !value.contains("://") || value.contains(' ') {
        return value.to_owned();
    }
    let (place, pairs) = url(value);
    if pairs.is_empty() { place } else { place.replace("?…", &format!("?{}", pairs.join("&"))) }
}

/// The pairs of a body that is a form, as they came.
pub(super) fn pairs(headers: &Headers, kept: &Kept) -> Vec<(String, String)> {
    let form = is(headers, "application/x-www-form-urlencoded") && kept.is_whole();
    if form { parameters(&kept.bytes) } else { Vec::new() }
}

fn is(headers: &Headers, media_type: &str) -> bool {
    let value = headers.get("Content-Type");
    value.split(';').next().is_some_and(|value| value.trim().eq_ignore_ascii_case(media_type))
}

/// Whether what is sent and answered at a path is for everybody who may ask. Of all others, the default is to show nothing.
fn is_open(path: &str) -> bool {
    matches!(path, "/mcp" | "/health" | "/docs") || path.starts_with("/.well-known/")
}

/// A body, masked.
pub(super) fn body(path: &str, headers: &Headers, kept: &Kept, json: Option<&Json>) -> Vec<String> {
    let (text, open) = (String::from_utf8_lossy(&kept.bytes), is_open(path));
    if kept.length == 0 {
        return Vec::new();
    }
    if is(headers, "text/html") {
        let title = text.split_once("<title>").and_then(|(_, rest)| Some(rest.split_once("</title>")?.0));
        return vec![line(&format!("‹a page, {} bytes: {}›", kept.length, title.unwrap_or("without a title")))];
    }
    if let Some(json) = json {
        let (mut lines, mut said) = (Vec::new(), Vec::new());
        shown(json, open, &mut said).write("", 0, "", &mut lines);
        let more = lines.len().saturating_sub(JSON_LINES);
        lines.truncate(JSON_LINES);
        lines = lines.iter().map(|text| line(text)).collect();
        if more > 0 {
            lines.push(format!("… ({more} more lines)"));
        }
        lines.extend(said);
        return lines;
    }
    let form = pairs(headers, kept);
    if !form.is_empty() {
        return form.iter().take(JSON_LINES).map(|(name, value)| line(&pair(name, value))).collect();
    }
    let plain = plain(&text);
    let secret = || path != "/docs" && UNMISTAKABLE.iter().any(|name| name.len() > 8 && plain.contains(name));
    if !open || secret() {
        return vec![format!("‹{} bytes›", kept.length)];
    }
    let mut lines: Vec<_> = text.lines().take(TEXT_LINES).map(line).collect();
    if !kept.is_whole() || text.lines().count() > TEXT_LINES {
        lines.push(format!("… ({} bytes)", kept.length));
    }
    lines
}

fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '-'], "")
}

/// JSON without what is secret in it. `said`: what the tokens in it say.
fn shown(json: &Json, open: bool, said: &mut Vec<String>) -> Json {
    match json {
        Json::Members(members) => {
            let members = members.iter().map(|(name, value)| {
                if let (true, Json::Text(token)) = (name == "access_token", value)
                    && let Some(claims) = claims(token)
                {
                    said.push("access_token:".to_owned());
                    said.extend(claims);
                    return (name.clone(), Json::Text(format!("‹JWT, {}›", characters(token))));
                }
                let seen = if open { !UNMISTAKABLE.contains(&&*plain(name)) } else { HARMLESS.contains(&&**name) };
                let known = open || seen || SECRET.contains(&&**name);
                let name = if known { name.clone() } else { hidden(name) };
                let value = match value {
                    value if seen => shown(value, open, said),
                    Json::Other(value) if open => Json::Other(value.clone()),
                    Json::Text(value) => Json::Text(hidden(value)),
                    _ => Json::Text("‹…›".to_owned()),
                };
                (name, value)
            });
            Json::Members(members.collect())
        }
        Json::Items(items) => Json::Items(items.iter().map(|item| shown(item, open, said)).collect()),
        Json::Text(text) if !open => short(&Json::Text(harmless(text))),
        Json::Text(_) | Json::Other(_) => short(json),
    }
}

/// A value whose texts are not too long.
fn short(json: &Json) -> Json {
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
