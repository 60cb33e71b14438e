//! What can be asked of the authorization server's endpoints without a registered client.

use url::Url;

use crate::{
    context::Context,
    message::Request,
    model::{Judged, Unmet},
};

const UNKNOWN_CLIENT: &str = "auth-check-is-not-registered";

/// An endpoint of each authorization server.
async fn endpoints(context: &Context, member: &str) -> Result<Vec<Url>, Unmet> {
    let all = context.server_metadata().await?.into_iter();
    Ok(all.filter_map(|(_, document)| document.url(member)).collect())
}

/// An authorization request, as a browser sends it.
pub fn authorize(context: &Context, endpoint: &Url, client: &str, redirect_uri: &str) -> Request {
    let mut url = endpoint.clone();
    url.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", redirect_uri),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
        ("state", "auth-check"),
        ("resource", context.target.as_str()),
    ]);
    Request::new("GET", &url).header("Accept", "text/html")
}

/// "with a" or "without a".
pub fn with(there: bool) -> &'static str {
    if there { "with a" } else { "without a" }
}

pub async fn open_redirector(context: &Context) -> Judged {
    let endpoints = endpoints(context, "authorization_endpoint").await?;
    let request = |url| authorize(context, url, UNKNOWN_CLIENT, "https://evil.example/callback");
    context
        .each(endpoints.iter().map(|url| ((), request(url))), |(), exchange| {
            let evil = exchange.location().is_some_and(|place| place.host_str() == Some("evil.example"));
            evil.then(|| "The browser is sent to an address that no client has registered.".to_owned())
        })
        .await
}

pub async fn token_error(context: &Context) -> Judged {
    let endpoints = endpoints(context, "token_endpoint").await?;
    let body = format!(
        "grant_type=authorization_code&code=auth-check&code_verifier={0}{0}&client_id={UNKNOWN_CLIENT}",
        "auth-check-auth-check-"
    );
    let request = |url| {
        let request = Request::new("POST", url).header("Accept", "application/json");
        request.body("application/x-www-form-urlencoded", body.clone())
    };
    context
        .each(endpoints.iter().map(|url| ((), request(url))), |(), exchange| {
            let error = exchange.json().is_some_and(|json| json["error"].is_string());
            let status = exchange.came.status;
            let bad = !error || !matches!(status, 400 | 401);
            bad.then(|| format!("A code that was never issued is answered with {status}, {} JSON error.", with(error)))
        })
        .await
}

pub async fn token_get(context: &Context) -> Judged {
    let request = |mut url: Url| {
        let pairs = [("grant_type", "authorization_code"), ("code", "auth-check"), ("client_id", UNKNOWN_CLIENT)];
        url.query_pairs_mut().extend_pairs(pairs);
        Request::get(&url)
    };
    let endpoints = endpoints(context, "token_endpoint").await?;
    context
        .each(endpoints.into_iter().map(|url| ((), request(url))), |(), exchange| {
            // A server that says that the code is wrong has read it from the query.
            let looked = exchange.json().is_some_and(|json| json["error"] == "invalid_grant");
            let answered = exchange.came.is_success() || looked;
            answered.then(|| format!("GET is answered with {}, as if it were POST.", exchange.came.status))
        })
        .await
}
