//! How refusals are looked at: those without a token, and those with a bad one.

use oauth::scope::is_scope;

use crate::{
    context::{Context, GARBAGE},
    message::{Exchange, Request},
    model::Judged,
};

pub async fn no_token(context: &Context) -> Judged {
    let exchange = context.anonymous().await?;
    let status = exchange.came.status;
    let what = match status {
        200..300 => "The request was let in without a token.".to_owned(),
        404 | 405 => format!("The answer to a request without a token is {status}, not 401. Is this the MCP endpoint?"),
        _ => format!("The answer to a request without a token is {status}, not 401."),
    };
    Ok(exchange.found_if(status != 401, what))
}

pub async fn bearer(context: &Context) -> Judged {
    let exchange = context.anonymous().await?;
    // A header that breaks the grammar is another check's.
    let missing = exchange.came.challenges().is_ok_and(|challenges| challenges.is_empty());
    Ok(exchange.found_if(missing, "The 401 has no Bearer challenge, so a client does not learn what to do."))
}

pub async fn grammar(context: &Context) -> Judged {
    let mut found = Vec::new();
    for (name, exchange) in
        [("without a token", context.anonymous().await?), ("with a bad one", context.garbage().await?)]
    {
        let what =
            exchange.came.unreadable_challenge().map(|what| format!("In the answer to a request {name}: {what}"));
        found.extend(what.map(|what| exchange.finding(what)));
    }
    Ok(found)
}

pub async fn resource_metadata(context: &Context) -> Judged {
    let exchange = context.anonymous().await?;
    let missing = exchange.came.challenge("resource_metadata").is_none();
    Ok(exchange.found_if(missing, "The challenge has no resource_metadata."))
}

pub async fn no_error(context: &Context) -> Judged {
    let exchange = context.anonymous().await?;
    let error = exchange.came.challenge("error");
    let what = format!("The challenge says {:?}, though no token was sent.", error.as_deref().unwrap_or_default());
    Ok(exchange.found_if(error.is_some(), what))
}

pub async fn scope(context: &Context) -> Judged {
    let exchange = context.anonymous().await?;
    Ok(exchange.found_if(exchange.came.challenge("scope").is_none(), "The challenge has no scope."))
}

pub async fn scope_grammar(context: &Context) -> Judged {
    let exchange = context.anonymous().await?;
    let scope = exchange.came.challenge("scope").unwrap_or_default();
    // A comma is allowed in a scope, but nobody means it: it stands where a space should.
    let bad = scope.split(' ').find(|one| !is_scope(one) || one.contains(','));
    let what = format!("{:?} in the challenge is not a scope.", bad.unwrap_or_default());
    Ok(exchange.found_if(bad.is_some(), what))
}

pub async fn offline_access(context: &Context) -> Judged {
    let exchange = context.anonymous().await?;
    let scope = exchange.came.challenge("scope").unwrap_or_default();
    Ok(exchange.found_if(scope.split(' ').any(|one| one == "offline_access"), "The challenge asks for offline_access."))
}

pub async fn garbage(context: &Context) -> Judged {
    let exchange = context.garbage().await?;
    let status = exchange.came.status;
    let what = format!("The answer to a token that no server has issued is {status}, not 401.");
    Ok(exchange.found_if(status != 401, what))
}

pub async fn invalid_token(context: &Context) -> Judged {
    let exchange = context.garbage().await?;
    let error = exchange.came.challenge("error");
    let what = match &error {
        Some(error) => format!("The challenge says {error:?}, not \"invalid_token\"."),
        None => "The challenge does not say what is wrong with the token.".to_owned(),
    };
    Ok(exchange.found_if(error.as_deref() != Some("invalid_token"), what))
}

pub async fn repeated(context: &Context) -> Judged {
    let exchange = context.garbage().await?;
    let mut headers = exchange.came.headers.iter().map(|(_, value)| String::from_utf8_lossy(value));
    let repeated = exchange.came.text().contains(GARBAGE) || headers.any(|value| value.contains(GARBAGE));
    Ok(exchange.found_if(repeated, "The answer repeats the token."))
}

pub async fn internals(context: &Context) -> Judged {
    const SIGNS: [&str; 7] = [
        "Traceback (most recent call last)",
        "panicked at",
        "node_modules/",
        "site-packages/",
        "\tat java.",
        "goroutine ",
        ".rs:",
    ];
    let mut found = Vec::new();
    for exchange in [context.anonymous().await?, context.garbage().await?] {
        let text = exchange.came.text();
        if let Some(sign) = SIGNS.iter().find(|sign| text.contains(**sign)) {
            found.push(exchange.finding(format!("The refusal shows the program's inside ({sign:?}).")));
        }
    }
    Ok(found)
}

pub async fn other_scheme(context: &Context) -> Judged {
    let request = context.legacy("tools/list").header("Authorization", "Basic YXV0aC1jaGVjazphdXRoLWNoZWNr");
    let exchange = context.send(request).await?;
    let bearer = exchange.came.challenges().is_ok_and(|challenges| !challenges.is_empty());
    let status = exchange.came.status;
    let what =
        format!("The scheme Basic is answered with {status} and {} Bearer challenge.", if bearer { "a" } else { "no" });
    Ok(exchange.found_if(status != 401 || !bearer, what))
}

pub async fn malformed(context: &Context) -> Judged {
    let requests = ["Bearer", "Bearer ", "Bearer a b", "Bearer \u{e9}\u{e9}", "Bearer {\"a\":1}"]
        .map(|value| (value, context.legacy("tools/list").header("Authorization", value)));
    context
        .each(requests, |value, exchange| {
            let status = exchange.came.status;
            let bad = !matches!(status, 400 | 401);
            bad.then(|| format!("`Authorization: {value}` is answered with {status}, not 400 or 401."))
        })
        .await
}

/// Finds what is let in without a token.
fn let_in(name: &str, exchange: &Exchange) -> Option<String> {
    exchange.came.is_success().then(|| format!("Without a token, {name} is let in."))
}

pub async fn every_method(context: &Context) -> Judged {
    let modern = context.modern("server/discover");
    let notification = context.post(&serde_json::json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    let legacy =
        ["initialize", "ping", "prompts/list", "resources/list"].map(|method| (method, context.legacy(method)));
    let requests = legacy.into_iter().chain([("server/discover", modern), ("a notification", notification)]);
    context.each(requests, let_in).await
}

pub async fn other_methods(context: &Context) -> Judged {
    let request = |method| Request::new(method, &context.target).header("Accept", "text/event-stream");
    context.each(["GET", "DELETE"].map(|method| (method, request(method))), let_in).await
}
