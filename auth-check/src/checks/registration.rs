//! Registering a client (RFC 7591), and what such a client may then ask for. It leaves clients behind, so it is done only
//! if the person says so.

use serde_json::{Value, json};
use url::Url;

use super::endpoints::{authorize, with};
use crate::{
    check::{Check, MUST, SHOULD, run},
    context::Context,
    message::Exchange,
    model::{Clause, Judged, Needs, Unmet},
};

/// The redirect URI of a good registration.
const GOOD: &str = "https://auth-check.example/callback";
const REDIRECT: Clause = Clause {
    text: "MCP authorization, \"Communication Security\": all redirect URIs MUST be either localhost or use HTTPS",
    link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/security-considerations#communication-security",
};

pub const CHECKS: &[Check] = &[
    Check {
        id: "REG-01",
        title: "A client can register where the metadata says so.",
        levels: MUST,
        clause: Clause {
            text: "RFC 7591 §3.2.1: 201 with a JSON object that has `client_id`",
            link: "https://www.rfc-editor.org/rfc/rfc7591#section-3.2.1",
        },
        fix: "Answer a good registration with 201 and `client_id`, or leave `registration_endpoint` out of the metadata.",
        needs: Needs::Active,
        after: &["ASM-01"],
        run: run!(registers),
    },
    Check {
        id: "REG-02",
        title: "A script or a document is no redirect URI.",
        levels: MUST,
        clause: REDIRECT,
        fix: "Refuse redirect URIs of the schemes javascript, data, vbscript and file.",
        needs: Needs::Active,
        after: &["REG-01"],
        run: run!(scripts),
    },
    Check {
        id: "REG-03",
        title: "A redirect URI without TLS is refused, but for loopback.",
        levels: MUST,
        clause: REDIRECT,
        fix: "Refuse redirect URIs with http on hosts that are not loopback.",
        needs: Needs::Active,
        after: &["REG-01"],
        run: run!(without_tls),
    },
    Check {
        id: "REG-04",
        title: "A redirect URI with a fragment is refused.",
        levels: MUST,
        clause: Clause {
            text: "RFC 6749 §3.1.2: the redirection endpoint's URI MUST NOT include a fragment",
            link: "https://www.rfc-editor.org/rfc/rfc6749#section-3.1.2",
        },
        fix: "Refuse redirect URIs that have a `#`.",
        needs: Needs::Active,
        after: &["REG-01"],
        run: run!(fragment),
    },
    Check {
        id: "REG-05",
        title: "A refused registration says why in JSON.",
        levels: MUST,
        clause: Clause {
            text: "RFC 7591 §3.2.2: 400 with a JSON object that has `error`",
            link: "https://www.rfc-editor.org/rfc/rfc7591#section-3.2.2",
        },
        fix: "Answer 400 with `{\"error\": \"invalid_redirect_uri\", …}`, not 422, HTML or a 500.",
        needs: Needs::Active,
        after: &["REG-02"],
        run: run!(says_why),
    },
    Check {
        id: "REG-06",
        title: "A client's logo and pages are no scripts.",
        levels: SHOULD,
        clause: Clause {
            text: "RFC 7591 §5: the server takes steps against URLs in a client's metadata that would harm who sees them",
            link: "https://www.rfc-editor.org/rfc/rfc7591#section-5",
        },
        fix: "Refuse or drop `logo_uri`, `client_uri`, `tos_uri` and `policy_uri` that are not https.",
        needs: Needs::Active,
        after: &["REG-01"],
        run: run!(logo),
    },
    Check {
        id: "REG-07",
        title: "Nobody is sent to a redirect URI that the client has not registered.",
        levels: MUST,
        clause: Clause {
            text: "MCP authorization, \"Open Redirection\": servers MUST validate exact redirect URIs against pre-registered values",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/security-considerations#open-redirection",
        },
        fix: "Compare redirect URIs letter for letter with the registered ones: not prefixes, not hosts.",
        needs: Needs::Active,
        after: &["REG-01", "FLOW-01"],
        run: run!(other_redirect),
    },
];

/// What a registration is judged by: the answer, and the server's authorization endpoint.
type Registration<'a> = (&'a Exchange, Option<Url>);

/// Registers a client at each authorization server that registers any, judges each answer, and takes the client back,
/// whatever came of it.
async fn registered(context: &Context, metadata: &Value, judge: impl AsyncFn(Registration<'_>) -> Judged) -> Judged {
    let mut found = Vec::new();
    let mut asked = false;
    for (_, document) in context.server_metadata().await? {
        let Some(url) = document.url("registration_endpoint") else { continue };
        asked = true;
        let judged = async {
            let exchange = context.register(&url, metadata).await?;
            let judged = judge((&exchange, document.url("authorization_endpoint"))).await;
            context.unregister(&exchange).await;
            judged
        };
        match judged.await {
            Ok(more) => found.extend(more),
            Err(unmet) => return unmet.after(found),
        }
    }
    if asked { Ok(found) } else { Err(Unmet("a registration_endpoint".to_owned())) }
}

fn client(redirect_uri: &str) -> Value {
    json!({
        "client_name": "auth-check", "redirect_uris": [redirect_uri], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"], "response_types": ["code"], "application_type": "web",
    })
}

async fn registers(context: &Context) -> Judged {
    registered(context, &client(GOOD), async |(exchange, _)| {
        let named = exchange.json().is_some_and(|json| json["client_id"].is_string());
        let status = exchange.came.status;
        let what = format!("A good registration is answered with {status}, {} client_id.", with(named));
        Ok(exchange.found_if(status != 201 || !named, what))
    })
    .await
}

/// Registers clients with these redirect URIs, none of which may be accepted.
async fn refused(context: &Context, uris: &[&str]) -> Judged {
    let mut found = Vec::new();
    for uri in uris {
        let judge = async |(exchange, _): Registration<'_>| {
            // The server may drop the bad URI instead of refusing it. Then the answer does not list it.
            let listed = exchange
                .json()
                .is_some_and(|json| json["redirect_uris"].as_array().is_some_and(|all| all.contains(&json!(uri))));
            let accepted = exchange.came.is_success() && listed;
            Ok(exchange.found_if(accepted, format!("The redirect URI {uri} is registered.")))
        };
        match registered(context, &client(uri), judge).await {
            Ok(more) => found.extend(more),
            Err(unmet) => return unmet.after(found),
        }
    }
    Ok(found)
}

async fn scripts(context: &Context) -> Judged {
    refused(context, &["javascript:alert(1)", "data:text/html,hello", "vbscript:x", "file:///etc/passwd"]).await
}

async fn without_tls(context: &Context) -> Judged {
    refused(context, &["http://auth-check.example/callback", "http://localhost.auth-check.example/callback"]).await
}

async fn fragment(context: &Context) -> Judged {
    refused(context, &["https://auth-check.example/callback#fragment"]).await
}

async fn says_why(context: &Context) -> Judged {
    registered(context, &client("javascript:alert(1)"), async |(exchange, _)| {
        let error = exchange.json().is_some_and(|json| json["error"].is_string());
        let status = exchange.came.status;
        let what = format!("A bad registration is answered with {status}, {} JSON error.", with(error));
        Ok(exchange.found_if(status != 400 || !error, what))
    })
    .await
}

async fn logo(context: &Context) -> Judged {
    const PAGES: [&str; 4] = ["logo_uri", "client_uri", "tos_uri", "policy_uri"];
    let mut metadata = client(GOOD);
    for page in PAGES {
        metadata[page] = json!("javascript:alert(1)");
    }
    registered(context, &metadata, async |(exchange, _)| {
        let answer = exchange.json().filter(|_| exchange.came.is_success()).unwrap_or_default();
        let kept = PAGES.iter().find(|page| answer[**page] == metadata[**page]);
        let what = format!("`{}` is kept, though it is a script.", kept.unwrap_or(&""));
        Ok(exchange.found_if(kept.is_some(), what))
    })
    .await
}

async fn other_redirect(context: &Context) -> Judged {
    registered(context, &client(GOOD), async |(registration, endpoint)| {
        let answer = registration.json().unwrap_or_default();
        let (Some(id), Some(endpoint)) = (answer["client_id"].as_str(), endpoint) else {
            return Err(Unmet("a client_id and an authorization_endpoint".to_owned()));
        };
        let requests = [
            "https://evil.example/callback".to_owned(),
            format!("{GOOD}.evil.example/"),
            format!("{GOOD}/../../evil"),
            format!("{GOOD}?next=https://evil.example"),
            GOOD.replace("auth-check.example", "auth-check.example@evil.example"),
            GOOD.replace("auth-check.example", "auth-check.example.evil.example"),
        ]
        .map(|uri| (uri.clone(), authorize(context, &endpoint, id, &uri)));
        context
            .each(requests, |uri, exchange| {
                // A browser resolves what it is sent to: so must both be here.
                let sent = Url::parse(&uri).ok().zip(exchange.location());
                sent.is_some_and(|(other, place)| place.as_str().starts_with(other.as_str()))
                    .then(|| format!("The browser is sent to {uri}, which is not registered."))
            })
            .await
    })
    .await
}
