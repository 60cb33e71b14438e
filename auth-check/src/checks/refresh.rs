//! Refresh tokens: whose they are, how often they work, and for what.

use crate::{
    check::{Check, MUST, SHOULD, run},
    context::Context,
    jose,
    login::outcome::Granted,
    message::Exchange,
    model::{Clause, Judged, Unmet},
};

const REPLAY: Clause = Clause {
    text: "OAuth 2.1 §4.3.1: for public clients, servers MUST bind refresh tokens to a key or rotate them; a used one ends the whole grant (RFC 9700 §4.14.2)",
    link: "https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.3.1",
};
const SCOPE: Clause = Clause {
    text: "RFC 6749 §6: a refresh may ask for less scopes, and MUST NOT for any that was not granted",
    link: "https://www.rfc-editor.org/rfc/rfc6749#section-6",
};

pub const CHECKS: &[Check] = &[
    Check::of_a_log_in(
        ("REF-01", "A refresh gives a public client a new refresh token."),
        MUST,
        Clause {
            text: "MCP authorization, \"Token Theft\": for public clients, authorization servers MUST rotate refresh tokens",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/security-considerations#token-theft",
        },
        "Answer each refresh with a new refresh token, and end the old one.",
        &["FLOW-04"],
        run!(rotation),
    ),
    Check::of_a_log_in(
        ("REF-02", "A refresh token works once."),
        MUST,
        REPLAY,
        "Refuse a refresh token that was replaced.",
        &["REF-01"],
        run!(reuse),
    ),
    Check::of_a_log_in(
        ("REF-03", "A refresh token that comes twice ends all that it led to."),
        SHOULD,
        REPLAY,
        "Keep all refresh tokens of a grant together, and end the grant if a used one comes again: one of the two is a thief's.",
        &["REF-02"],
        run!(family),
    ),
    Check::of_a_log_in(
        ("REF-04", "Refreshes at the same time leave one refresh token."),
        SHOULD,
        REPLAY,
        "Replace the refresh token in the same step that looks it up, such as one UPDATE … WHERE.",
        &["REF-01"],
        run!(race),
    ),
    Check::of_a_log_in(
        ("REF-05", "A refresh may ask for less."),
        SHOULD,
        SCOPE,
        "Give a token with just the scopes that a refresh asks for, and say so in `scope`.",
        &["FLOW-04"],
        run!(narrowing),
    ),
    Check::of_a_log_in(
        ("REF-06", "A refresh cannot ask for more."),
        MUST,
        SCOPE,
        "Compare the scopes of a refresh with those that the person granted, and answer `invalid_scope`.",
        &["FLOW-04"],
        run!(widening),
    ),
    Check::of_a_log_in(
        ("REF-07", "Another client's refresh token is refused."),
        MUST,
        Clause {
            text: "OAuth 2.1 §4.3.1: the server MUST ensure that the refresh token was issued to the client of the request",
            link: "https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.3.1",
        },
        "Compare the client of the request with the one that the refresh token was issued to.",
        &["FLOW-04"],
        run!(other_client),
    ),
];

async fn rotation(context: &Context) -> Judged {
    let refreshes = context.refreshes().await?;
    let exchange = &refreshes.plain;
    if Granted::of(exchange).is_none() {
        let what = format!("A refresh is answered with {} without a token.", exchange.came.status);
        return Ok(vec![exchange.finding(what)]);
    }
    if !refreshes.rotates && !context.own_client().await?.is_public() {
        return Err(Unmet("a client without a secret".to_owned()));
    }
    Ok(exchange.found_if(!refreshes.rotates, "A refresh gives no new refresh token, though the client has no secret."))
}

/// What came of a refresh token that was used before.
async fn reused(context: &Context) -> Result<&(Exchange, Exchange), Unmet> {
    context.refreshes().await?.reused.as_ref().map_err(Clone::clone)
}

async fn reuse(context: &Context) -> Judged {
    let (again, _) = reused(context).await?;
    Ok(again.found_if(again.came.is_success(), "A refresh token works again long after it was replaced."))
}

async fn family(context: &Context) -> Judged {
    let (_, after) = reused(context).await?;
    Ok(after.found_if(after.came.is_success(), "After a used refresh token came again, the newest one is still good."))
}

async fn race(context: &Context) -> Judged {
    let race = context.race().await?;
    // How many is a matter of chance, and a baseline compares the sentence.
    let what = "Of the refresh tokens that five refreshes at once gave, more than one is good.";
    Ok(race.winner.filter(|_| race.alive > 1).map(|winner| winner.finding(what)).into_iter().collect())
}

/// The scopes that an answer gives.
fn given(exchange: &Exchange) -> Option<String> {
    let granted = Granted::of(exchange)?;
    let claimed = || Some(jose::taken_apart(&granted.access_token)?.1["scope"].as_str()?.to_owned());
    granted.scope.clone().or_else(claimed)
}

async fn narrowing(context: &Context) -> Judged {
    let (exchange, asked) = context.refreshes().await?.narrowed.as_ref().map_err(Clone::clone)?;
    if !exchange.came.is_success() {
        let what = format!("A refresh for the scope {asked:?} is answered with {}.", exchange.came.status);
        return Ok(vec![exchange.finding(what)]);
    }
    // An answer without `scope` grants what was asked for (RFC 6749 §5.1).
    let scopes = given(exchange).unwrap_or_else(|| asked.clone());
    let more = scopes.split(' ').find(|scope| !scope.is_empty() && scope != asked);
    let what = format!("A refresh for the scope {asked:?} gives {:?}, too.", more.unwrap_or_default());
    Ok(exchange.found_if(more.is_some(), what))
}

async fn widening(context: &Context) -> Judged {
    let (exchange, more) = &context.refreshes().await?.widened;
    let gives =
        Granted::of(exchange).is_some() && given(exchange).is_none_or(|all| all.split(' ').any(|one| one == more));
    Ok(exchange.found_if(gives, format!("A refresh gives the scope {more:?}, which was not granted.")))
}

async fn other_client(context: &Context) -> Judged {
    let exchange = context.refreshes().await?.other.as_ref().map_err(Clone::clone)?;
    Ok(exchange.found_if(exchange.came.is_success(), "A refresh token works for another client."))
}
