//! Tokens with chosen scopes, and what the server says to one that lacks what it needs.

use oauth::scope::is_scope;
use serde_json::Value;

use crate::{
    access::{first_scopes, lasting},
    context::{Context, Operation, Tried},
    message::Exchange,
    model::Unmet,
};

/// The longest name of a tool that is called.
const MAX_NAME: usize = 128;
/// How many log-ins look for a token that lacks a scope.
const MAX_FEWER: usize = 3;
/// They are about the log-in itself (OpenID Connect Core §3.1.2.1, §5.4, §11), so no resource needs them.
const OF_NO_RESOURCE: [&str; 4] = ["offline_access", "openid", "profile", "email"];

/// The operation with a token that has exactly these scopes.
pub(super) async fn with(context: &Context, operation: &Operation, scopes: &str) -> Result<Exchange, Unmet> {
    context.operate(operation, &token(context, scopes).await?).await
}

async fn token(context: &Context, scopes: &str) -> Result<String, Unmet> {
    match context.tokens.with_scopes(&context.purpose().await?, scopes) {
        Some(token) => lasting(token),
        None if context.tokens.login.is_some() && !scopes.is_empty() => context.logged_in_with(scopes).await,
        None => Err(Unmet(format!("a token with exactly the scopes {scopes:?} (--token-file, or a key)"))),
    }
}

/// What is tried with a token that has no scopes; or, as a log-in always asks for some, with others than those that the
/// request needs.
pub(super) async fn lacking(context: &Context) -> Result<&Tried, Unmet> {
    let find = async || {
        let mut unmet = match token(context, "").await {
            Ok(token) => return tried(context, "", &token).await,
            Err(unmet) => unmet,
        };
        for scopes in fewer(context).await? {
            match token(context, &scopes).await {
                Ok(token) => {
                    let tried = tried(context, &scopes, &token).await?;
                    if !tried.exchange.came.is_success() || OF_NO_RESOURCE.contains(&&*scopes) {
                        return Ok(tried);
                    }
                    // One scope may stand for others, so this one may be enough.
                    unmet = Unmet("a log-in whose scopes are not enough for tools/list or a call".to_owned());
                }
                Err(why) => unmet = why,
            }
        }
        Err(unmet)
    };
    context.lacking.get_or_try_init(find).await
}

/// The operation that needs a scope, and the answer: to see the tools may take none; then it is a call.
async fn tried(context: &Context, scopes: &str, token: &str) -> Result<Tried, Unmet> {
    let of = |operation, exchange| Tried { operation, scopes: scopes.to_owned(), exchange };
    let listed = context.operate(&Operation::List, token).await?;
    if let Some(call) = reading_tool(&listed).map(Operation::Call) {
        let called = context.operate(&call, token).await?;
        // Any other answer is about the call itself.
        if called.came.is_success() || matches!(called.came.status, 401 | 403) {
            return Ok(of(call, called));
        }
    }
    Ok(of(Operation::List, listed))
}

/// What a log-in can ask for that may lack something: scopes that are of no resource, others than those of the 401, and
/// each of these alone.
async fn fewer(context: &Context) -> Result<Vec<String>, Unmet> {
    if context.tokens.login.is_none() {
        return Ok(Vec::new());
    }
    let endpoints = context.endpoints().await?;
    let challenge = context.anonymous().await?.came.challenge("scope").unwrap_or_default();
    let asked = first_scopes(&challenge);
    let known = endpoints.json["scopes_supported"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let all = context.purpose().await?.scopes;
    let mut others: Vec<&str> =
        first_scopes(&all).into_iter().chain(known).filter(|one| !asked.contains(one)).collect();
    others.sort_unstable_by_key(|one| (!OF_NO_RESOURCE.contains(one), *one));
    others.dedup();
    let each = asked.iter().copied().filter(|_| asked.len() > 1);
    Ok(others.into_iter().chain(each).filter(|one| is_scope(one)).take(MAX_FEWER).map(str::to_owned).collect())
}

/// The first tool in a list that changes nothing, as the server says.
fn reading_tool(listed: &Exchange) -> Option<String> {
    let answer = listed.json().filter(|_| listed.came.is_success())?;
    let mut tools = answer["result"]["tools"].as_array()?.iter();
    let reading = tools.find(|tool| tool["annotations"]["readOnlyHint"] == true)?["name"].as_str()?;
    let is_name = reading.len() <= MAX_NAME && reading.bytes().all(|byte| byte.is_ascii_graphic());
    is_name.then(|| reading.to_owned())
}
