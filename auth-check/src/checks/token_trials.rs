//! How hostile tokens are tried.

use crate::{
    context::Context,
    hostile::{Forge, TABLE},
    jose::now,
    message::Exchange,
    model::{Judged, Needs, Unmet},
};

pub async fn good(context: &Context) -> Judged {
    let refused = context.era().await?.as_ref().err();
    let what = |exchange: &Exchange| {
        exchange.finding(format!("A token that should be good is answered with {}.", exchange.came.status))
    };
    Ok(refused.map(what).into_iter().collect())
}

/// Sends the rows of the table that have this id.
pub async fn refused(context: &Context, id: &'static str) -> Judged {
    let probe = context.probe().await?;
    let mut found = Vec::new();
    let mut tried = 0;
    let mut judge = async |name: &str, token: &str| -> Result<(), Unmet> {
        let exchange = context.send(probe.clone().bearer(token)).await?;
        tried += 1;
        found.extend(exchange.found_if(exchange.came.is_success(), format!("Accepted: {name}.")));
        // 503 is an answer: keys cannot be had now.
        let failed = exchange.came.is_failure() && exchange.came.status != 503;
        found.extend(exchange.found_if(failed, format!("The server fails ({}): {name}.", exchange.came.status)));
        Ok(())
    };
    if id == "TOK-09" {
        for (audience, token) in context.tokens.foreign() {
            judge(&format!("a token for {audience}"), token).await?;
        }
    }
    match forged(context, id).await {
        Ok(tokens) => {
            for (name, token) in tokens {
                judge(name, &token).await?;
            }
        }
        Err(unmet) if tried == 0 => return Err(unmet),
        Err(_) => {}
    }
    if tried == 0 {
        return Err(Unmet(Needs::Key.as_str().to_owned()));
    }
    if id == "TOK-18" && found.is_empty() && context.attacker.server.was_fetched(id) {
        let exchange = context.send(probe).await?;
        found.push(
            exchange.finding("The server fetched an address that a hostile token named, though it refused the token."),
        );
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
    let exchange = context.send(context.probe().await?.bearer(&context.token().await?)).await?;
    let what = format!("A good token is now answered with {}.", exchange.came.status);
    Ok(exchange.found_if(!exchange.came.is_success(), what))
}
