//! How hostile tokens are tried.

use oauth::address;

use crate::{
    context::Context,
    hostile::{Forge, TABLE},
    jose::now,
    message::Exchange,
    model::{Judged, Needs, Unmet},
};

pub async fn good(context: &Context) -> Judged {
    let refused = context.era().await?.as_ref().err();
    let server = &context.attacker.server;
    let mock = context.tokens.mint.as_ref().is_some_and(|mint| mint.issuer == server.url());
    let hint = if mock && !server.was_asked() {
        format!(" Your server never asked {} for its keys: tell it to trust that issuer.", server.url())
    } else {
        String::new()
    };
    let what = |exchange: &Exchange| {
        exchange.finding(format!("A token that should be good is answered with {}.{hint}", exchange.came.status))
    };
    Ok(refused.map(what).into_iter().collect())
}

/// Sends the rows of the table that have this id.
pub async fn refused(context: &Context, id: &'static str) -> Judged {
    let probe = context.probe().await?;
    let foreign = context.tokens.foreign().filter(|_| id == "TOK-09");
    let mut tokens: Vec<_> =
        foreign.map(|(audience, token)| (format!("a token for {audience}"), token.to_owned())).collect();
    match forged(context, id).await {
        Ok(forged) => tokens.extend(forged.into_iter().map(|(name, token)| (name.to_owned(), token))),
        Err(unmet) if tokens.is_empty() => return Err(unmet),
        Err(_) => {}
    }
    if tokens.is_empty() {
        return Err(Unmet(Needs::Key.as_str().to_owned()));
    }
    let requests = tokens.into_iter().map(|(name, token)| (name, probe.clone().bearer(&token)));
    let wrong = |name, exchange: &Exchange| match exchange.came.status {
        200..300 => Some(format!("Accepted: {name}.")),
        status @ 500.. => Some(format!("The server fails ({status}): {name}.")),
        _ => None,
    };
    let mut found = context.each(requests, wrong).await?;
    if id == "TOK-18" && found.is_empty() {
        let server = &context.attacker.server;
        if server.was_fetched(id) {
            let exchange = context.send(probe).await?;
            found.push(
                exchange
                    .finding("The server fetched an address that a hostile token named, though it refused the token."),
            );
        } else if address::is_loopback(&server.bait(id)) && !address::is_loopback(&context.target) {
            return Err(Unmet("--mock-issuer=URL, with a URL that the server reaches".to_owned()));
        }
    }
    Ok(found)
}

/// The rows of the table that have this id, as far as there is a key for them.
async fn forged(context: &Context, id: &str) -> Result<Vec<(&'static str, String)>, Unmet> {
    let (good, header, claims) = context.jwt().await?;
    let bait = context.attacker.server.bait(id);
    let trusted = context.tokens.mint.as_ref().map(|mint| &*mint.key);
    let forge = Forge { good: &good, header, claims, trusted, foreign: &context.attacker.key, bait: &bait };
    let rows = TABLE.iter().filter(|row| row.check == Some(id));
    Ok(rows.filter_map(|row| Some((row.name, (row.make)(&forge)?))).collect())
}

/// What is said of tokens that were good once, or are good elsewhere: it may be in the words of a library.
pub async fn readable(context: &Context) -> Judged {
    let mut tokens = forged(context, "TOK-05").await?;
    tokens.extend(forged(context, "TOK-06").await?);
    let foreign = context.tokens.foreign().map(|(_, token)| ("for another server", token.to_owned()));
    let requests = tokens.into_iter().chain(foreign);
    let requests = requests.map(|(name, token)| (name, context.legacy("tools/list").bearer(&token)));
    let wrong = |name, exchange: &Exchange| {
        let what = exchange.came.unreadable_challenge()?;
        Some(format!("In the answer to this token: {name}. {what}"))
    };
    context.each(requests, wrong).await
}

pub async fn expired_status(context: &Context) -> Judged {
    let probe = context.probe().await?;
    let purpose = context.purpose().await?;
    let Some(mint) = &context.tokens.mint else { return Err(Unmet(Needs::Key.as_str().to_owned())) };
    let mut claims = mint.claims(&purpose);
    claims["exp"] = (now() - 3600).into();
    let exchange = context.send(probe.bearer(&mint.token(&claims))).await?;
    let status = exchange.came.status;
    let error = exchange.came.challenge("error").unwrap_or_default();
    let what = format!("An expired token is answered with {status} and error {error:?}.");
    Ok(exchange.found_if(status != 401 || error != "invalid_token", what))
}

pub async fn still_good(context: &Context) -> Judged {
    let exchange = context.ask(context.probe().await?.bearer(&context.token().await?)).await?;
    let what = format!("A good token is now answered with {}.", exchange.came.status);
    Ok(exchange.found_if(!exchange.came.is_success(), what))
}
