//! How a log-in is looked at: the browser's answer, the token endpoint's, and what bad requests get.

use serde_json::Value;
use url::Url;

use crate::{
    context::Context,
    jose,
    login::rounds::random,
    message::Exchange,
    model::{Finding, Judged, Needs, Unmet},
};

/// What the first log-in got from the token endpoint.
async fn answer(context: &Context) -> Result<&Exchange, Unmet> {
    let exchange = context.first().await?.exchange.as_ref();
    exchange.ok_or_else(|| Unmet("a log-in that gives a code".to_owned()))
}

pub async fn ends_with_a_token(context: &Context) -> Judged {
    let first = context.first().await?;
    let Some(exchange) = &first.exchange else {
        let error = first.round.param("error").unwrap_or_default();
        if error == "access_denied" {
            return Err(Unmet("somebody who allows it at the log-in".to_owned()));
        }
        let what = format!("The browser comes back without a code (error {error:?}).");
        return Ok(vec![first.round.exchange.finding(what)]);
    };
    let what = format!("For a code, the token endpoint answers {} without a token.", exchange.came.status);
    Ok(exchange.found_if(context.granted().await.is_err(), what))
}

pub async fn state(context: &Context) -> Judged {
    let round = &context.first().await?.round;
    let state = round.param("state");
    let what = match &state {
        Some(_) => "`state` comes back as another.",
        None => "`state` does not come back.",
    };
    Ok(round.exchange.found_if(state.as_ref() != Some(&round.question.state), what))
}

pub async fn issuer(context: &Context) -> Judged {
    let (round, endpoints) = (&context.first().await?.round, context.endpoints().await?);
    let promised = endpoints.json["authorization_response_iss_parameter_supported"] == true;
    let what = match round.param("iss") {
        Some(iss) if iss != endpoints.issuer => format!("`iss` is {iss:?}, not {:?}.", endpoints.issuer),
        None if promised => "The answer has no `iss`, though the metadata says that it has.".to_owned(),
        _ => return Ok(Vec::new()),
    };
    Ok(vec![round.exchange.finding(what)])
}

pub async fn without_challenge(context: &Context) -> Judged {
    if !context.own_client().await?.is_public() {
        return Err(Unmet("a client without a secret".to_owned()));
    }
    let change = [("code_challenge", ""), ("code_challenge_method", "")];
    let accepted = context.accepted(&change, "without a code_challenge").await?;
    Ok(found(accepted, "The browser comes back with a code, though there was no code_challenge."))
}

pub async fn plain_challenge(context: &Context) -> Judged {
    let verifier = random()?;
    let change = [("code_challenge", verifier.as_str()), ("code_challenge_method", "plain")];
    let accepted = context.accepted(&change, "with a plain code_challenge").await?;
    Ok(found(accepted, "The browser comes back with a code, though its challenge was plain, which is not offered."))
}

pub async fn other_place(context: &Context) -> Judged {
    let registered = context.login()?.browser.redirect_uri();
    let with_path = |path: String| -> Url {
        let mut other = registered.clone();
        other.set_path(&path);
        other
    };
    let path = registered.path();
    // The path and the port are others in each run, so the sentences have none: a baseline compares them.
    let others = [
        (format!("{path}x"), "the registered redirect URI with an x behind it"),
        (format!("{path}/more"), "a path below the registered redirect URI"),
        ("/auth-check/elsewhere".to_owned(), "another path of the registered redirect URI's origin"),
    ];
    let mut all = Vec::new();
    for (path, which) in others {
        let other = with_path(path);
        let accepted = context.accepted(&[("redirect_uri", other.as_str())], "with another redirect URI").await?;
        all.extend(found(accepted, &format!("The browser is sent to {which}.")));
    }
    Ok(all)
}

fn found(accepted: Option<Exchange>, what: &str) -> Vec<Finding> {
    accepted.map(|exchange| exchange.finding(what)).into_iter().collect()
}

/// Finds a token that a bad request got.
async fn refused(context: &Context, check: &str, what: &str) -> Judged {
    Ok(found(context.attempted(check).await?, what))
}

pub async fn other_verifier(context: &Context) -> Judged {
    refused(context, "FLOW-09", "A code gives a token for another code_verifier than that of its challenge.").await
}

pub async fn no_verifier(context: &Context) -> Judged {
    refused(context, "FLOW-10", "A code gives a token without a code_verifier.").await
}

pub async fn other_redirect_uri(context: &Context) -> Judged {
    refused(context, "FLOW-12", "A code gives a token for another redirect_uri than it was sent to.").await
}

pub async fn other_client(context: &Context) -> Judged {
    refused(context, "FLOW-15", "A code gives a token to another client than it was issued to.").await
}

pub async fn other_resource(context: &Context) -> Judged {
    let Some(exchange) = context.attempted("FLOW-17").await? else { return Ok(Vec::new()) };
    let json = exchange.json().unwrap_or_default();
    let token = json["access_token"].as_str().unwrap_or_default();
    let used = context.send(context.probe().await?.bearer(token)).await?;
    Ok(used.found_if(used.came.is_success(), "A token that was asked for another resource is good here."))
}

pub async fn twice(context: &Context) -> Judged {
    let again = &context.trials().await?.replayed.as_ref().map_err(Clone::clone)?.again;
    Ok(again.found_if(again.came.is_success(), "A code gives a token a second time."))
}

pub async fn twice_ends_tokens(context: &Context) -> Judged {
    let replayed = context.trials().await?.replayed.as_ref().map_err(Clone::clone)?;
    let refreshed = replayed.refreshed.as_ref().map_err(Clone::clone)?;
    let what = "After a code came twice, the refresh token of the first time is still good.";
    Ok(refreshed.found_if(refreshed.came.is_success(), what))
}

pub async fn audience(context: &Context) -> Judged {
    let (exchange, granted) = (answer(context).await?, context.granted().await?);
    let (_, claims) = jose::taken_apart(&granted.access_token).ok_or_else(|| Unmet(Needs::Jwt.as_str().to_owned()))?;
    let resource = context.purpose().await?.audience;
    let audience = &claims["aud"];
    // `aud` may be more general than the resource, or a name on which the two servers have agreed.
    let fits = |one: &str| resource.starts_with(one) && !one.is_empty() || !one.starts_with("http");
    let all = audience.as_array().map_or(std::slice::from_ref(audience), Vec::as_slice);
    let fits = all.iter().filter_map(Value::as_str).any(fits);
    Ok(exchange.found_if(!fits, format!("The token's `aud` is {audience}, but {resource:?} was asked for.")))
}

pub async fn token_type(context: &Context) -> Judged {
    let exchange = answer(context).await?;
    let missing = exchange.json().is_none_or(|json| json["token_type"].as_str().is_none_or(str::is_empty));
    Ok(exchange.found_if(missing, "The answer with a token has no `token_type`."))
}

pub async fn no_store(context: &Context) -> Judged {
    let exchange = answer(context).await?;
    let directives = exchange.came.all("cache-control").map(String::from_utf8_lossy);
    let directives: Vec<_> = directives.map(|value| value.to_ascii_lowercase()).collect();
    let kept = !directives.iter().any(|value| value.split(',').any(|one| one.trim() == "no-store"));
    Ok(exchange.found_if(kept, "The answer with a token does not say Cache-Control: no-store."))
}

pub async fn expires_in(context: &Context) -> Judged {
    let exchange = answer(context).await?;
    let missing = exchange.json().is_none_or(|json| !json["expires_in"].is_number());
    Ok(exchange.found_if(missing, "The answer with a token has no `expires_in` that is a number."))
}
