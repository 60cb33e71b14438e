//! The authorization server's endpoints, as far as they can be tried without a client of one's own.

use url::Url;

use crate::{
    check::{Check, MUST, run},
    context::Context,
    message::Request,
    model::{Clause, Judged, Needs, Unmet},
};

const UNKNOWN_CLIENT: &str = "auth-check-is-not-registered";

pub const CHECKS: &[Check] = &[
    Check {
        id: "FLOW-01",
        title: "Nobody is sent to the redirect URI of an unknown client.",
        levels: MUST,
        clause: Clause {
            text: "RFC 6749 §4.1.2.1: with an invalid redirect URI or client the user-agent MUST NOT be redirected",
            link: "https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1",
        },
        fix: "Show an error page if the client is unknown or the redirect URI is not registered, and never redirect to it.",
        needs: Needs::Nothing,
        after: &["ASM-01", "ASM-06"],
        run: run!(open_redirector),
    },
    Check {
        id: "FLOW-02",
        title: "The token endpoint answers a bad request with a JSON error.",
        levels: MUST,
        clause: Clause {
            text: "RFC 6749 §5.2: 400 (or 401) with a JSON object that has `error`",
            link: "https://www.rfc-editor.org/rfc/rfc6749#section-5.2",
        },
        fix: "Answer 400 with `{\"error\": …}` as application/json, never HTML, a form or a 500.",
        needs: Needs::Nothing,
        after: &["ASM-01", "ASM-06"],
        run: run!(token_error),
    },
    Check {
        id: "FLOW-03",
        title: "The token endpoint gives nothing to GET.",
        levels: MUST,
        clause: Clause {
            text: "RFC 6749 §3.2: the client MUST use POST at the token endpoint; a GET has its secrets in logs",
            link: "https://www.rfc-editor.org/rfc/rfc6749#section-3.2",
        },
        fix: "Answer 405 to GET at the token endpoint.",
        needs: Needs::Nothing,
        after: &["ASM-01", "ASM-06"],
        run: run!(token_get),
    },
];

/// An endpoint of each authorization server.
async fn endpoints(context: &Context, member: &str) -> Result<Vec<Url>, Unmet> {
    let all = context.server_metadata().await?.into_iter();
    Ok(all.filter_map(|(_, document)| Url::parse(document.json[member].as_str()?).ok()).collect())
}

async fn open_redirector(context: &Context) -> Judged {
    let mut found = Vec::new();
    for mut url in endpoints(context, "authorization_endpoint").await? {
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", UNKNOWN_CLIENT),
            ("redirect_uri", "https://evil.example/callback"),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
            ("state", "auth-check"),
            ("resource", context.target.as_str()),
        ]);
        let exchange = context.send(Request::new("GET", &url).header("Accept", "text/html")).await?;
        let place = exchange.came.header("location").and_then(|place| url.join(place).ok());
        let evil = place.is_some_and(|place| place.host_str() == Some("evil.example"));
        found.extend(exchange.found_if(evil, "The browser is sent to an address that no client has registered."));
    }
    Ok(found)
}

async fn token_error(context: &Context) -> Judged {
    let mut found = Vec::new();
    for url in endpoints(context, "token_endpoint").await? {
        let body = format!(
            "grant_type=authorization_code&code=auth-check&code_verifier={0}{0}&client_id={UNKNOWN_CLIENT}",
            "auth-check-auth-check-"
        );
        let request = Request::new("POST", &url).header("Accept", "application/json");
        let exchange = context.send(request.body("application/x-www-form-urlencoded", body)).await?;
        let error = exchange.json().is_some_and(|json| json["error"].is_string());
        let status = exchange.came.status;
        let what = format!(
            "A code that was never issued is answered with {status}, {} JSON error.",
            if error { "with a" } else { "without a" }
        );
        found.extend(exchange.found_if(!error || !matches!(status, 400 | 401), what));
    }
    Ok(found)
}

async fn token_get(context: &Context) -> Judged {
    let mut found = Vec::new();
    for mut url in endpoints(context, "token_endpoint").await? {
        let pairs = [("grant_type", "authorization_code"), ("code", "auth-check"), ("client_id", UNKNOWN_CLIENT)];
        url.query_pairs_mut().extend_pairs(pairs);
        let exchange = context.send(Request::get(&url)).await?;
        // Who says what is wrong with the code has looked at it.
        let looked = exchange.json().is_some_and(|json| json["error"] == "invalid_grant");
        let what = format!("GET is answered with {}, as if it were POST.", exchange.came.status);
        found.extend(exchange.found_if(exchange.came.is_success() || looked, what));
    }
    Ok(found)
}
