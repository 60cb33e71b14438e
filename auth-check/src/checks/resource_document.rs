//! How the resource's document is looked at.

use oauth::{address, scope::is_scope};
use url::Url;

use crate::{context::Context, documents::Document, mask, message::Request, model::Judged};

/// What is wrong with the document.
async fn judged(context: &Context, wrong: impl Fn(&Document) -> Option<String>) -> Judged {
    let document = context.resource().await?;
    Ok(wrong(document).map(|what| document.exchange.finding(what)).into_iter().collect())
}

pub async fn found(context: &Context) -> Judged {
    let places = context.places().await?;
    if places.iter().any(|place| place.answer.is_ok()) {
        return Ok(Vec::new());
    }
    let first = places.iter().find_map(|place| place.answer.as_ref().err());
    let tried: Vec<_> = places.iter().map(|place| mask::url(&place.url)).collect();
    let what = format!("There is no JSON document at {}.", tried.join(" or "));
    Ok(first.map(|exchange| exchange.finding(what)).into_iter().collect())
}

pub async fn challenged(context: &Context) -> Judged {
    let exchange = context.anonymous().await?;
    let named = exchange.came.challenge("resource_metadata").unwrap_or_default();
    let Ok(url) = Url::parse(&named) else {
        return Ok(vec![exchange.finding("`resource_metadata` is not an absolute URL.")]);
    };
    context.http.allows(&url)?;
    let places = context.places().await?.iter();
    let refusal = places.filter(|place| place.challenged).find_map(|place| place.answer.as_ref().err());
    Ok(refusal
        .map(|exchange| exchange.finding("There is no JSON document at `resource_metadata`."))
        .into_iter()
        .collect())
}

pub async fn content_type(context: &Context) -> Judged {
    judged(context, Document::bad_type).await
}

pub async fn members(context: &Context) -> Judged {
    let document = context.resource().await?;
    let why = document.resource().err().map(|why| why.to_string());
    Ok(document.exchange.found_if(why.is_some(), format!("The document cannot be used: {}.", why.unwrap_or_default())))
}

pub async fn identical(context: &Context) -> Judged {
    let document = context.resource().await?;
    let resource = document.json["resource"].as_str().unwrap_or_default();
    let target = context.target.as_str();
    // A URL without a path is parsed to one with `/`: both are letter for letter what people write.
    let same = resource == target || format!("{resource}/") == target && context.target.path() == "/";
    Ok(document.exchange.found_if(!same, format!("`resource` is {resource:?}, but the client uses {target:?}.")))
}

pub async fn names_a_server(context: &Context) -> Judged {
    let document = context.resource().await?;
    let none = document.texts("authorization_servers").is_empty();
    Ok(document.exchange.found_if(none, "`authorization_servers` is missing or names nobody."))
}

pub async fn well_known(context: &Context) -> Judged {
    let places = context.places().await?;
    let usual = oauth::well_known::of_resource(&context.target);
    let at_usual = || places.iter().filter(|place| usual.contains(&place.url));
    if at_usual().any(|place| place.answer.is_ok()) {
        return Ok(Vec::new());
    }
    let refusal = at_usual().find_map(|place| place.answer.as_ref().err());
    let what = "The document is only where the challenge says, not at a well-known place.";
    Ok(refusal.map(|exchange| exchange.finding(what)).into_iter().collect())
}

pub async fn empty(context: &Context) -> Judged {
    judged(context, Document::empty_members).await
}

pub async fn offline_access(context: &Context) -> Judged {
    let document = context.resource().await?;
    let listed = document.texts("scopes_supported").contains(&"offline_access");
    Ok(document.exchange.found_if(listed, "`scopes_supported` lists offline_access."))
}

pub async fn query(context: &Context) -> Judged {
    let document = context.resource().await?;
    let offered = document.texts("bearer_methods_supported").contains(&"query");
    Ok(document.exchange.found_if(offered, "`bearer_methods_supported` offers the query."))
}

pub async fn url(context: &Context) -> Judged {
    let document = context.resource().await?;
    let resource = document.json["resource"].as_str().unwrap_or_default();
    let good = Url::parse(resource).is_ok_and(|url| is_secure(&url) && url.fragment().is_none());
    Ok(document.exchange.found_if(!good, format!("`resource` is {resource:?}.")))
}

pub async fn scopes(context: &Context) -> Judged {
    let document = context.resource().await?;
    let bad = document.texts("scopes_supported").into_iter().find(|scope| !is_scope(scope));
    Ok(document.exchange.found_if(bad.is_some(), format!("{:?} is not a scope.", bad.unwrap_or_default())))
}

pub async fn issuers(context: &Context) -> Judged {
    let document = context.resource().await?;
    let listed = document.texts("authorization_servers");
    let bad = listed.into_iter().find(|issuer| {
        !Url::parse(issuer).is_ok_and(|url| is_secure(&url) && url.query().is_none() && url.fragment().is_none())
    });
    Ok(document.exchange.found_if(bad.is_some(), format!("{:?} is not an issuer.", bad.unwrap_or_default())))
}

pub async fn forwarded(context: &Context) -> Judged {
    let url = &context.resource().await?.exchange.sent.url;
    let requests = [
        ("Host", "evil.example"),
        ("X-Forwarded-Host", "evil.example"),
        ("Forwarded", "host=evil.example;proto=https"),
        ("X-Original-Host", "evil.example"),
    ]
    .map(|(name, value)| ((name, value), Request::get(url).header(name, value)));
    context
        .each(requests, |(name, value), exchange| {
            let changed = exchange.came.is_success() && exchange.came.text().contains("evil.example");
            changed.then(|| format!("`{name}: {value}` changes the document."))
        })
        .await
}

/// https; on this machine http will do.
pub fn is_secure(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && address::is_loopback(url)
}
