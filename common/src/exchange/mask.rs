//! What may be seen of an exchange. Of what OAuth's endpoints take and give, only what is known to be harmless; of other
//! messages, all but what is known to be secret; and nothing moves the cursor of the terminal.

use std::ops::RangeInclusive;

use super::{
    json::Json,
    names::{HARMLESS, SECRET, UNMISTAKABLE},
    parameters::{harmless, in_query, listed, pairs, url},
    seen::{Headers, Kept},
    text::{characters, claims, hidden, line, short},
};

/// Lines that are shown of a body that is JSON.
const JSON_LINES: usize = 50;
/// The codes that JSON-RPC 2.0 §5.1 keeps for its own errors.
const ERROR_CODES: RangeInclusive<i64> = -32768..=-32000;

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
                let (place, query) = url(value);
                lines.push(format!("{name}: {}", line(&place)));
                lines.extend(query.into_iter().flat_map(in_query));
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

/// Whether what is sent and answered at a path is for everybody who may ask. Of all others, the default is to show nothing.
fn is_open(path: &str) -> bool {
    matches!(path, "/mcp" | "/health" | "/docs") || path.starts_with("/.well-known/")
}

/// A body, masked.
pub(super) fn body(path: &str, headers: &Headers, kept: &Kept, json: Option<&Json>) -> Vec<String> {
    if kept.length == 0 {
        return Vec::new();
    }
    if headers.announce("text/html") {
        let text = String::from_utf8_lossy(&kept.bytes);
        let title = text.split_once("<title>").and_then(|(_, rest)| Some(rest.split_once("</title>")?.0));
        return vec![line(&format!("‹a page, {} bytes: {}›", kept.length, title.unwrap_or("without a title")))];
    }
    if let Some(json) = json {
        let (mut lines, mut said) = (Vec::new(), Vec::new());
        let open = is_open(path);
        shown(json, open, open, &mut said).write("", 0, "", &mut lines);
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
    // In the half of a message, or in another encoding, nobody can tell the secrets from the rest.
    if form.is_empty() { vec![format!("‹{} bytes›", kept.length)] } else { listed(&form) }
}

/// Whether a name in an open message says that its value is secret.
fn is_secret(name: &str, value: &Json) -> bool {
    let plain = name.to_ascii_lowercase().replace(['_', '-'], "");
    let error = || matches!(value, Json::Other(code) if code.parse().is_ok_and(|code| ERROR_CODES.contains(&code)));
    UNMISTAKABLE.iter().any(|end| plain.ends_with(end))
        && plain != "progresstoken" // by it a client knows which request is making progress
        && !(name == "code" && error())
}

/// JSON without what is secret in it. `seen`: it stands where values may be seen. `said`: what the tokens in it say.
fn shown(json: &Json, open: bool, seen: bool, said: &mut Vec<String>) -> Json {
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
                let seen = if open { !is_secret(name, value) } else { HARMLESS.contains(&&**name) };
                let known = open || seen || SECRET.contains(&&**name);
                let name = if known { name.clone() } else { hidden(name) };
                let value = match value {
                    Json::Items(_) | Json::Members(_) if !seen => Json::Text("‹…›".to_owned()),
                    value => shown(value, open, seen, said),
                };
                (name, value)
            });
            Json::Members(members.collect())
        }
        Json::Items(items) => Json::Items(items.iter().map(|item| shown(item, open, seen, said)).collect()),
        Json::Text(text) if !seen => Json::Text(hidden(text)),
        Json::Other(_) if !seen => Json::Text("‹…›".to_owned()),
        Json::Text(text) if !open => short(&Json::Text(harmless(text))),
        Json::Text(_) | Json::Other(_) => short(json),
    }
}
