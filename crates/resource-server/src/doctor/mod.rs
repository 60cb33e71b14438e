//! Can an MCP server trust this provider, and if not, what must change? The doctor sends the requests that the server
//! and MCP clients would send, in their order. The sentences name the options of step 10's command line: `--issuer`,
//! `--profile` and `--audience` are [`Issuer::new`], [`Issuer::profile`] and [`Issuer::audience`].

mod finding;

use std::collections::BTreeSet;

use anyhow::Result;
use jsonwebtoken::Algorithm;
use oauth::{
    fetch::{Fetcher, url::of_server},
    jwks::KeySet,
    well_known,
};
use reqwest::{
    Method, Request,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    },
};
use serde_json::Value;
use url::Url;

use self::finding::Findings;
pub use self::finding::{Finding, Verdict};
use crate::{
    discovery::{self, Metadata, is_template},
    error::ConfigError,
    fetch::{self, Problem},
    introspection::{Introspection, Settings},
    issuer::{Issuer, issuer_url},
    profile::Profile,
};

/// The origin of the MCP Inspector, as an example of a client that runs in a browser.
const BROWSER: &str = "http://localhost:6274";

/// What is known about an issuer after it was asked.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The name of the profile by which its tokens would be read.
    pub profile: String,
    /// What was found, in the order in which a client would meet it.
    pub findings: Vec<Finding>,
}

/// Asks an issuer. `scopes`: those that the server knows.
///
/// # Errors
/// If the issuer must not be trusted at all.
pub async fn examine(issuer: &Issuer, scopes: &[&str]) -> Result<Examination, ConfigError> {
    let profile = issuer.resolved_profile()?;
    let mut findings = Findings::default();
    provider(issuer.url(), &profile, scopes, &mut findings).await?;
    Ok(Examination { profile: profile.name, findings: findings.list() })
}

async fn provider(issuer: &str, profile: &Profile, scopes: &[&str], findings: &mut Findings) -> Result<()> {
    let url = match issuer_url(issuer) {
        Ok(url) => url,
        Err(error) => {
            findings.bad("issuer", format_args!("{error}."), "Nothing was asked.");
            return Ok(());
        }
    };
    let http = fetch::client(&url)?;
    let (metadata, place) = match discovery::discover(&http, issuer, &url).await {
        Ok(found) => found,
        Err(problem) => {
            let tried = well_known::of_issuer(&url).iter().map(Url::to_string).collect::<Vec<_>>().join(", ");
            let what = match problem {
                Problem::OtherIssuer | Problem::Template => other_name(&http, &url).await,
                _ if issuer.contains("/.well-known/") => {
                    "An issuer's URL ends before /.well-known/: give it without that and what follows.".to_owned()
                }
                _ => format!("Looked at {tried}."),
            };
            findings.bad("metadata", problem, what);
            return Ok(());
        }
    };
    findings.good("metadata", format_args!("at {place}"));
    findings.good("issuer", "the metadata names it exactly so");
    endpoints(&metadata, findings);
    cors(&http, &place, &metadata, findings).await;
    keys(&http, &metadata, &url, profile, findings).await;
    if let Some(settings) = &profile.introspection {
        introspection(settings, &metadata, &url, findings).await;
    }
    registration(&metadata, findings);
    self::scopes(&metadata, scopes, findings);
    let what = "Metadata does not tell whether resource (RFC 8707) gets into aud: check a token with --token-file.";
    findings.unsure("audience", what, &profile.advice.audience);
    Ok(())
}

/// How the metadata spells the issuer, from whichever place has one.
async fn other_name(http: &Fetcher, url: &Url) -> String {
    for place in well_known::of_issuer(url) {
        let Ok((_, body)) = fetch::get(http, place).await else { continue };
        let Ok(metadata) = serde_json::from_slice::<Metadata>(&body) else { continue };
        let name = short(&metadata.issuer);
        let named = of_server(&metadata.issuer, false).ok();
        return match named {
            _ if is_template(&metadata.issuer) => format!(
                "The metadata says {name:?}, which is a template for many tenants and no issuer: give the URL of one \
                 tenant as --issuer, with its id in the place that is left for it."
            ),
            None => format!("The metadata says {name:?}, which is not the URL of an issuer: correct the provider."),
            Some(named) if named.origin() != url.origin() => {
                format!("The metadata says {name:?}: use that as --issuer, if that other host is whom you mean.")
            }
            Some(_) => format!("The metadata says {name:?}: use that as --issuer."),
        };
    }
    String::new()
}

fn endpoints(metadata: &Metadata, findings: &mut Findings) {
    for name in ["authorization_endpoint", "token_endpoint"] {
        match metadata.rest.get(name).and_then(Value::as_str) {
            Some(text) if fetch::web_url(text).is_some() => findings.good(name, "is there"),
            Some(_) => {
                findings.bad(name, "This is not an https URL.", "Clients refuse it: have the provider use https.");
            }
            None => findings.bad(name, "It is missing.", "Nobody can log in without: is this the right issuer?"),
        }
    }
    let has = |list: &str, name: &str| {
        metadata.rest.get(list).and_then(Value::as_array).is_some_and(|names| names.iter().any(|found| found == name))
    };
    if has("code_challenge_methods_supported", "S256") {
        findings.good("PKCE", "S256 is offered");
    } else {
        let what = "MCP clients refuse to log in: turn PKCE on, or have the metadata say so.";
        findings.bad("PKCE", "code_challenge_methods_supported does not name S256.", what);
    }
    if !has("response_types_supported", "code") {
        findings.bad("code", "response_types_supported does not name code.", "Allow the authorization code flow.");
    }
    if metadata.rest.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)) {
        findings.good("iss", "comes back with the code (RFC 9207)");
    } else {
        let what = "Clients of several providers cannot tell mixed-up answers apart; turn it on if the provider can.";
        findings.unsure("iss", "It does not come back with the code (RFC 9207).", what);
    }
}

/// Whether a page from elsewhere may read the metadata, and may post to where clients post (Fetch, "CORS protocol").
async fn cors(http: &Fetcher, place: &Url, metadata: &Metadata, findings: &mut Findings) {
    let origin = |headers: &HeaderMap| {
        headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_some_and(|value| value == "*" || value == BROWSER)
    };
    let ask = |method, url, headers: &[(HeaderName, &'static str)]| {
        let mut request = Request::new(method, url);
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        request.headers_mut().extend(headers);
        request
    };
    let asked = fetch::json(http, ask(Method::GET, place.clone(), &[(ORIGIN, BROWSER)])).await;
    let (mut may, mut may_not) = (Vec::new(), Vec::new());
    let mut sort = |name, allowed: bool| if allowed { may.push(name) } else { may_not.push(name) };
    sort("the metadata", asked.is_ok_and(|(headers, _)| origin(&headers)));
    // For a form, only the origin must be allowed; for JSON, the header `content-type` must be allowed too.
    for (name, header) in [("token_endpoint", ""), ("registration_endpoint", "content-type")] {
        let Some(url) = metadata.rest.get(name).and_then(Value::as_str).and_then(fetch::web_url) else { continue };
        let mut headers = vec![(ORIGIN, BROWSER), (ACCESS_CONTROL_REQUEST_METHOD, "POST")];
        headers.extend((!header.is_empty()).then_some((ACCESS_CONTROL_REQUEST_HEADERS, header)));
        let preflight = ask(Method::OPTIONS, url, &headers);
        let allowed = http.send(preflight).await.is_ok_and(|response| {
            let lists = response.headers().get_all(ACCESS_CONTROL_ALLOW_HEADERS).iter();
            let mut names = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
            let listed = |name: &str| name.trim() == "*" || name.trim().eq_ignore_ascii_case(header);
            let listed = header.is_empty() || names.any(listed);
            response.status().is_success() && origin(response.headers()) && listed
        });
        sort(name, allowed);
    }
    if may_not.is_empty() {
        findings.good("CORS", format_args!("{BROWSER} may use {}", may.join(", ")));
    } else {
        let what = "Clients that run in a browser cannot log in: allow their origins (in Keycloak, Web origins).";
        findings.unsure("CORS", format_args!("{BROWSER} may not use {}.", may_not.join(", ")), what);
    }
}

async fn keys(http: &Fetcher, metadata: &Metadata, issuer: &Url, profile: &Profile, findings: &mut Findings) {
    let opaque = profile.introspection.is_some();
    let Some(uri) = &metadata.jwks_uri else {
        if opaque {
            return findings.note("keys", "it has no keys: all tokens are checked by introspection");
        }
        let what = "Tokens can only be checked by introspection: see [introspection] in the README.";
        return findings.bad("keys", Problem::NoJwksUri, what);
    };
    let Some(uri) = fetch::named_url(uri, issuer) else {
        return findings.bad("keys", Problem::ForbiddenUrl("jwks_uri"), "Have the provider use https.");
    };
    let set = match fetch::get(http, uri).await {
        Ok((_, body)) => KeySet::parse(&body).map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    let set = match set {
        Ok(set) => set,
        Err(problem) => return findings.bad("keys", problem, "The server could not check any token."),
    };
    let mut names = Vec::new();
    for key in &set.keys {
        let name = short(key.kid.as_deref().unwrap_or_default());
        let (ours, others): (Vec<Algorithm>, Vec<Algorithm>) =
            key.algorithms.iter().copied().partition(|algorithm| profile.algorithms.contains(algorithm));
        if ours.is_empty() {
            findings.note("key", format_args!("{name:?} is not used: the profile does not allow {others:?}"));
        } else {
            names.push(format!("{name:?} for {ours:?}"));
        }
    }
    if !names.is_empty() {
        findings.good("keys", names.join(", "));
    } else if opaque {
        findings.note("keys", "none can be used: all tokens are checked by introspection");
    } else {
        let what = format!("Have the provider sign with one of {:?}.", profile.algorithms);
        findings.bad("keys", Problem::NoUsableKey, what);
    }
    for (name, reason) in &set.unused {
        if set.leaked.contains(name) {
            findings.bad("key", format_args!("{:?}: {reason}.", short(name)), "Withdraw the key at once.");
        } else {
            findings.note("key", format_args!("{:?} is not used: {reason}", short(name)));
        }
    }
    for name in set.ambiguous.iter().collect::<BTreeSet<_>>() {
        let what = format_args!("{:?} is the kid of several different keys, or of one that is malformed.", short(name));
        findings.unsure("key", what, "Tokens that name it are refused: have the provider give each key its own kid.");
    }
}

/// Whether the issuer accepts the credentials of the profile.
async fn introspection(settings: &Settings, metadata: &Metadata, issuer: &Url, findings: &mut Findings) {
    let asked = match Introspection::new(settings, issuer) {
        Ok(introspection) => introspection.probe(metadata).await,
        Err(error) => return findings.bad("introspection", format_args!("{error:#}."), "Correct the profile."),
    };
    let what = "Check client_id and the secret, and that the provider lets this client introspect tokens.";
    match asked {
        Ok(false) => findings.good("introspection", "this server's credentials are accepted"),
        Ok(true) => findings.bad(
            "introspection",
            "A token that was never issued counts as active.",
            "Do not trust this issuer.",
        ),
        Err(problem) => findings.bad("introspection", problem, what),
    }
}

fn registration(metadata: &Metadata, findings: &mut Findings) {
    let documents = metadata.rest.get("client_id_metadata_document_supported") == Some(&Value::Bool(true));
    let dynamic = metadata.rest.get("registration_endpoint").is_some_and(Value::is_string);
    match (documents, dynamic) {
        (true, _) => findings.good("clients", "may describe themselves at a URL (client ID metadata documents)"),
        (false, true) => findings.good("clients", "may register themselves (RFC 7591), as far as policies let them"),
        (false, false) => findings.unsure(
            "clients",
            "They can neither register themselves (RFC 7591) nor describe themselves at a URL.",
            "Register each client by hand, and give it its client_id.",
        ),
    }
}

fn scopes(metadata: &Metadata, scopes: &[&str], findings: &mut Findings) {
    let Some(offered) = metadata.rest.get("scopes_supported").and_then(Value::as_array) else {
        return findings.note("scopes", "the metadata does not list them");
    };
    let missing: Vec<_> =
        scopes.iter().copied().filter(|scope| !offered.iter().any(|offered| offered == scope)).collect();
    if missing.is_empty() {
        findings.good("scopes", format_args!("{} are known", scopes.join(", ")));
    } else {
        let what = "Clients ask for them: define them at the provider, or map its own in [scopes] of a --profile file.";
        findings.unsure("scopes", format_args!("{} are not listed.", missing.join(", ")), what);
    }
}

/// The start of a text that somebody else wrote.
fn short(text: &str) -> &str {
    text.char_indices().nth(100).map_or(text, |(end, _)| &text[..end])
}
