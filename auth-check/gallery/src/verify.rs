//! Which token is good (RFC 9068 §4).

use std::{
    sync::atomic::Ordering,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    hmac,
    rsa::PublicKeyComponents,
    signature::{
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
        RsaParameters,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use url::Url;

use crate::{
    es256,
    state::{State, components},
};

/// Why a token is refused.
pub enum Refused {
    /// It is not good.
    Bad,
    /// It was good.
    Expired,
    /// The server fails on it.
    Failure,
}

/// The claims of a good token; `key` is the thumbprint of the key that has signed a proof for it.
///
/// # Errors
/// If it is not good.
pub async fn claims(token: &str, key: Option<&str>, state: &State) -> Result<Map<String, Value>, Refused> {
    if token.len() > 16 * 1024 {
        return Err(if state.has("huge-token-fails") { Refused::Failure } else { Refused::Bad });
    }
    let parts: Vec<_> = token.split('.').collect();
    if state.has("refuses-all") || parts.len() < 3 || parts.len() > 3 && !state.has("first-three-parts") {
        return Err(Refused::Bad);
    }
    let object =
        |part: &str| -> Option<Map<String, Value>> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let header = object(parts[0]).ok_or(Refused::Bad)?;
    if state.has("fetches-jku") {
        fetch(header.get("jku")).await;
    }
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).map_err(|_| Refused::Bad)?;
    let message = format!("{}.{}", parts[0], parts[1]);
    // Two issuers are trusted, each with its own key: the one that is given, and the server's own.
    let own = header.get("alg").is_some_and(|alg| alg == "ES256");
    let signed =
        if own { es256::is_own(&message, &signature) } else { is_signed(&header, &message, &signature, state) };
    if !signed {
        return Err(Refused::Bad);
    }
    let claims = object(parts[1]).ok_or(Refused::Bad)?;
    check_claims(&claims, if own { &state.base } else { &state.trust.issuer }, state)?;
    let bound = claims.get("cnf");
    let proven = bound.is_some_and(|cnf| key.is_some_and(|key| cnf["jkt"] == key || state.has("proof-of-any-key")));
    if bound.is_some() && !proven && !state.has("ignores-cnf") {
        return Err(Refused::Bad);
    }
    // The next request after an unknown key pays for it.
    if state.has("forgets-keys") && state.forgotten.swap(false, Ordering::Relaxed) {
        return Err(Refused::Bad);
    }
    Ok(claims)
}

fn is_signed(header: &Map<String, Value>, message: &str, signature: &[u8], state: &State) -> bool {
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    let alg = text("alg").unwrap_or_default();
    let none = state.has("alg-none") && alg == "none";
    let any_case = state.has("alg-none-any-case") && alg != "none" && alg.eq_ignore_ascii_case("none");
    if none || any_case {
        return true;
    }
    let typ = header.get("typ").map(|typ| typ.as_str().unwrap_or("?").to_ascii_lowercase());
    let is_access_token =
        typ.is_none_or(|typ| matches!(&*typ, "at+jwt" | "application/at+jwt" | "jwt")) || state.has("any-typ");
    if !is_access_token || header.contains_key("crit") && !state.has("ignores-crit") {
        return false;
    }
    if alg == "HS256" || alg == "HS512" {
        return secret(text("kid"), state).is_some_and(|secret| {
            let algorithm = if alg == "HS512" { hmac::HMAC_SHA512 } else { hmac::HMAC_SHA256 };
            hmac::verify(&hmac::Key::new(algorithm, &secret), message.as_bytes(), signature).is_ok()
        });
    }
    if state.has("key-from-header") && header.contains_key("jwk") {
        let key = header.get("jwk").and_then(components);
        return key.is_some_and(|key| verifies(&key, &RSA_PKCS1_2048_8192_SHA256, message, signature));
    }
    let known = match header.get("kid") {
        None if state.has("no-kid-no-check") => return true,
        None => true,
        Some(Value::String(kid)) => *kid == state.kid,
        Some(_) => state.has("kid-of-any-type"),
    };
    if !known {
        state.forgotten.store(true, Ordering::Relaxed);
    }
    let unsigned = state.has("no-signature-check") || state.has("empty-signature") && signature.is_empty();
    let more: &[(&str, &RsaParameters)] = &[
        ("RS384", &RSA_PKCS1_2048_8192_SHA384),
        ("RS512", &RSA_PKCS1_2048_8192_SHA512),
        ("PS256", &RSA_PSS_2048_8192_SHA256),
    ];
    let parameters = match more.iter().find(|(name, _)| *name == alg) {
        Some((_, parameters)) if state.has("any-rsa-algorithm") => *parameters,
        None if alg == "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        _ => return false,
    };
    known && (unsigned || verifies(&state.key, parameters, message, signature))
}

fn verifies(key: &PublicKeyComponents<Vec<u8>>, parameters: &RsaParameters, message: &str, signature: &[u8]) -> bool {
    key.verify(parameters, message.as_bytes(), signature).is_ok()
}

/// A secret that no good server would use.
fn secret(kid: Option<&str>, state: &State) -> Option<Vec<u8>> {
    if state.has("public-key-as-secret") {
        return Some(state.public_pem().into_bytes());
    }
    if state.has("guessable-secret") && kid == Some(&state.kid) {
        return Some(b"secret".to_vec());
    }
    if state.has("kid-is-a-file") {
        return std::fs::read(format!("/tmp/{}", kid?)).ok();
    }
    None
}

fn check_claims(claims: &Map<String, Value>, trusted: &str, state: &State) -> Result<(), Refused> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let bad = |is_bad: bool| if is_bad { Err(Refused::Bad) } else { Ok(()) };
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    match claims.get("exp") {
        None | Some(Value::Null) => bad(!state.has("exp-optional"))?,
        Some(Value::Number(exp)) => {
            let expired = exp.as_f64().is_none_or(|exp| exp < now - 30.0);
            if expired && !state.has("no-exp-check") {
                return Err(Refused::Expired);
            }
        }
        Some(_) if state.has("mistyped-claim-fails") => return Err(Refused::Failure),
        Some(_) => return Err(Refused::Bad),
    }
    match claims.get("nbf") {
        None => {}
        Some(Value::Number(nbf)) => {
            bad(nbf.as_f64().is_none_or(|nbf| nbf > now + 30.0) && !state.has("no-nbf-check"))?;
        }
        Some(_) => bad(!state.has("mistyped-claim-ignored"))?,
    }
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err(Refused::Bad),
    };
    let resource = state.resource();
    let nobody = audiences.iter().all(|one| one.is_empty());
    let fits = |one: &&str| {
        **one == resource
            || state.has("no-aud-check") && !one.is_empty()
            || state.has("aud-by-prefix") && one.starts_with(&resource)
            || state.has("aud-by-part") && one.contains(&resource)
    };
    bad(!(audiences.iter().any(fits) || nobody && state.has("aud-optional")))?;
    bad(claims.get("iss").is_some_and(|iss| !iss.is_string() && !iss.is_null()))?;
    let issuer = text("iss");
    let known = issuer == trusted
        || state.has("no-iss-check") && !issuer.is_empty()
        || state.has("iss-optional") && issuer.is_empty();
    bad(!known)?;
    let sub = claims.get("sub");
    bad(sub.is_some_and(|sub| !sub.is_string() && !sub.is_null())
        || text("sub").is_empty() && !state.has("sub-optional"))
}

/// Asks for an address, as no server should whom a token tells to.
async fn fetch(address: Option<&Value>) {
    let Some(url) = address.and_then(Value::as_str).and_then(|url| Url::parse(url).ok()) else { return };
    let Some(port) = url.port() else { return };
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", url.path());
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await
    };
    // The answer does not matter. The fault is that the server asks.
    let _ = timeout(Duration::from_secs(2), ask).await;
}
