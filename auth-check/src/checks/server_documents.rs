//! How the documents of authorization servers come, and the key sets that they name.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oauth::jwks::KeySet;
use serde_json::Value;

use crate::{
    context::Context,
    documents::Document,
    model::{Finding, Judged},
};

/// What is wrong with the document of each authorization server.
pub async fn each(context: &Context, wrong: impl Fn(&Document) -> Option<String>) -> Judged {
    let found = |document: &Document| -> Option<Finding> { Some(document.exchange.finding(wrong(document)?)) };
    Ok(context.server_metadata().await?.into_iter().filter_map(|(_, document)| found(document)).collect())
}

pub async fn found(context: &Context) -> Judged {
    let servers = context.servers().await?.iter();
    let refused = servers.filter_map(|server| Some((&server.issuer, server.documents.as_ref().err()?)));
    Ok(refused.map(|(issuer, exchange)| exchange.finding(format!("{issuer} has no metadata document."))).collect())
}

pub async fn content_type(context: &Context) -> Judged {
    each(context, Document::bad_type).await
}

pub async fn members(context: &Context) -> Judged {
    each(context, |document| document.server().err().map(|why| format!("The document cannot be used: {why}."))).await
}

pub async fn identical(context: &Context) -> Judged {
    let mut found = Vec::new();
    for (server, document) in context.server_metadata().await? {
        // A missing issuer is another check's.
        let Some(issuer) = document.json["issuer"].as_str() else { continue };
        let what = format!("`issuer` is {issuer:?}, but the resource names {:?}.", server.issuer);
        found.extend(document.exchange.found_if(issuer != server.issuer, what));
    }
    Ok(found)
}

pub async fn empty(context: &Context) -> Judged {
    each(context, Document::empty_members).await
}

pub async fn key_set(context: &Context) -> Judged {
    let mut found = Vec::new();
    for set in context.key_sets().await? {
        let document = match set {
            Ok(document) => document,
            Err(exchange) => {
                found.push(exchange.finding("There is no JSON document at `jwks_uri`."));
                continue;
            }
        };
        match KeySet::parse(document.json.to_string().as_bytes()) {
            Err(why) => found.push(document.exchange.finding(format!("The key set cannot be used: {why}."))),
            // Other checks look at what is wrong with a single key.
            Ok(set) if !set.names_keys => found.push(document.exchange.finding("The key set has no keys.")),
            Ok(_) => {}
        }
    }
    Ok(found)
}

pub async fn leaked(context: &Context) -> Judged {
    let mut found = Vec::new();
    for document in context.key_sets().await?.iter().flatten() {
        let keys = document.json["keys"].as_array().into_iter().flatten();
        let private = keys.filter(|key| ["d", "p", "q", "k"].iter().any(|member| key.get(member).is_some())).count();
        let what = format!("{private} keys have their private half in the set.");
        found.extend(document.exchange.found_if(private > 0, what));
    }
    Ok(found)
}

pub async fn short_keys(context: &Context) -> Judged {
    let mut found = Vec::new();
    for document in context.key_sets().await?.iter().flatten() {
        let keys = document.json["keys"].as_array().into_iter().flatten();
        let bits = keys.filter(|key| key["kty"] == "RSA").filter_map(|key| bits(&key["n"]));
        let short = bits.min().filter(|bits| *bits < 2048);
        let what = format!("An RSA key has {} bits.", short.unwrap_or_default());
        found.extend(document.exchange.found_if(short.is_some(), what));
    }
    Ok(found)
}

/// The length of a number, in bits.
fn bits(n: &Value) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(n.as_str()?).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    Some((bytes.len() - first) * 8 - bytes[first].leading_zeros() as usize)
}
