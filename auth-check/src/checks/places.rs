//! Where in a request a token counts (RFC 6750 §2): in one Authorization header, and nowhere else.

use serde_json::json;

use crate::{
    check::{Check, MUST, SHOULD, run},
    context::{Context, GARBAGE},
    message::{Exchange, Request},
    model::{Clause, Judged, Needs},
};

const HEADER: Clause = Clause {
    text: "MCP authorization, \"Token Requirements\": the Authorization header MUST be used, and the query MUST NOT",
    link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#token-requirements",
};
const SCHEME: Clause = Clause {
    text: "RFC 9110 §11.1: the scheme is a token of its own, in any letter case",
    link: "https://www.rfc-editor.org/rfc/rfc9110#section-11.1",
};

pub const CHECKS: &[Check] = &[
    Check {
        id: "PLACE-01",
        title: "A token in the query does not count.",
        levels: MUST,
        clause: HEADER,
        fix: "Do not look for tokens in the query: it is in logs, in browsers' histories and in Referer.",
        needs: Needs::Token,
        after: &["CHAL-01", "CHAL-15", "TOK-01"],
        run: run!(query),
    },
    Check {
        id: "PLACE-02",
        title: "A token in the body does not count.",
        levels: SHOULD,
        clause: HEADER,
        fix: "Do not look for tokens in the body.",
        needs: Needs::Token,
        after: &["CHAL-01", "CHAL-15", "TOK-01"],
        run: run!(body),
    },
    Check {
        id: "PLACE-03",
        title: "A token in a cookie does not count.",
        levels: SHOULD,
        clause: HEADER,
        fix: "Do not look for tokens in cookies: a browser sends them for every website.",
        needs: Needs::Token,
        after: &["CHAL-01", "CHAL-15", "TOK-01"],
        run: run!(cookie),
    },
    Check {
        id: "PLACE-04",
        title: "A token in another header does not count.",
        levels: SHOULD,
        clause: HEADER,
        fix: "Look for tokens in Authorization only.",
        needs: Needs::Token,
        after: &["CHAL-01", "CHAL-15", "TOK-01"],
        run: run!(other_header),
    },
    Check {
        id: "PLACE-05",
        title: "Two Authorization headers are refused.",
        levels: MUST,
        clause: Clause {
            text: "RFC 6750 §3.1, `invalid_request`: a request that uses more than one method, or repeats a parameter, is malformed; RFC 9110 §5.3",
            link: "https://www.rfc-editor.org/rfc/rfc6750#section-3.1",
        },
        fix: "Answer 400 if there are several Authorization headers: a proxy may have checked another one than you.",
        needs: Needs::Token,
        after: &["TOK-01"],
        run: run!(two_headers),
    },
    Check {
        id: "PLACE-06",
        title: "The scheme may be in any letter case.",
        levels: MUST,
        clause: SCHEME,
        fix: "Compare the scheme without letter case.",
        needs: Needs::Token,
        after: &["TOK-01"],
        run: run!(letter_case),
    },
    Check {
        id: "PLACE-07",
        title: "A token under another scheme does not count.",
        levels: SHOULD,
        clause: SCHEME,
        fix: "Compare the whole scheme with Bearer, and require it.",
        needs: Needs::Token,
        after: &["CHAL-01", "CHAL-15", "TOK-01"],
        run: run!(other_scheme),
    },
    Check {
        id: "PLACE-08",
        title: "A session is no token.",
        levels: MUST,
        clause: Clause {
            text: "MCP security best practices 2025-11-25, \"Session Hijacking\": servers MUST verify all requests and MUST NOT use sessions for authentication (2026-07-28: nor state handles)",
            link: "https://modelcontextprotocol.io/docs/2025-11-25/tutorials/security/security_best_practices#session-hijacking",
        },
        fix: "Check the token of every request, also of those with an Mcp-Session-Id.",
        needs: Needs::Token,
        after: &["CHAL-01", "TOK-01"],
        run: run!(session),
    },
    Check {
        id: "PLACE-09",
        title: "A good token does not open the server to other websites.",
        levels: MUST,
        clause: Clause {
            text: "MCP transports, Streamable HTTP, \"Security & Endpoint\": Origin is validated on all incoming connections",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#security-%26-endpoint",
        },
        fix: "Look at Origin before the token, whether there is one or not.",
        needs: Needs::Token,
        after: &["TRAN-01", "TOK-01"],
        run: run!(other_website),
    },
];

/// The probe, sent with the token in a place where it must not count.
async fn misplaced(context: &Context, places: Vec<(&str, Request)>) -> Judged {
    let wrong = |place, exchange: &Exchange| exchange.came.is_success().then(|| format!("A token counts {place}."));
    context.each(places, wrong).await
}

async fn query(context: &Context) -> Judged {
    let (probe, token) = (context.probe().await?, context.token().await?);
    let with = |name: &str| {
        let target = format!("{}?{name}={token}", context.target.path());
        probe.clone().target(target).secret(&token)
    };
    misplaced(
        context,
        vec![("in the query (access_token)", with("access_token")), ("in the query (token)", with("token"))],
    )
    .await
}

async fn body(context: &Context) -> Judged {
    let token = context.token().await?;
    context.probe().await?;
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize", "access_token": token,
        "params": {
            "access_token": token, "_meta": { "access_token": token, "authorization": format!("Bearer {token}") },
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "auth-check", "version": "1" },
        },
    });
    let form = Request::new("POST", &context.target).header("Accept", "application/json, text/event-stream");
    let form = form.body("application/x-www-form-urlencoded", format!("access_token={token}")).secret(&token);
    misplaced(context, vec![("in the JSON body", context.post(&message).secret(&token)), ("in a form", form)]).await
}

async fn cookie(context: &Context) -> Judged {
    let (probe, token) = (context.probe().await?, context.token().await?);
    let value = format!("access_token={token}; token={token}; Authorization=Bearer {token}");
    misplaced(context, vec![("in a cookie", probe.header("Cookie", &value).secret(&token))]).await
}

async fn other_header(context: &Context) -> Judged {
    let (probe, token) = (context.probe().await?, context.token().await?);
    let with = |name: &str, value: &str| probe.clone().header(name, value).secret(&token);
    let bearer = format!("Bearer {token}");
    let places = vec![
        ("in X-Access-Token", with("X-Access-Token", &token)),
        ("in X-API-Key", with("X-API-Key", &token)),
        ("in X-Forwarded-Access-Token", with("X-Forwarded-Access-Token", &token)),
        ("in Proxy-Authorization", with("Proxy-Authorization", &bearer)),
        ("in X-Authorization", with("X-Authorization", &bearer)),
    ];
    misplaced(context, places).await
}

async fn two_headers(context: &Context) -> Judged {
    let (probe, token) = (context.probe().await?, context.token().await?);
    let places = vec![
        ("in front of a bad one", probe.clone().bearer(&token).bearer(GARBAGE)),
        ("behind a bad one", probe.clone().bearer(GARBAGE).bearer(&token)),
        ("twice", probe.bearer(&token).bearer(&token)),
    ];
    misplaced(context, places).await
}

async fn letter_case(context: &Context) -> Judged {
    let (probe, token) = (context.probe().await?, context.token().await?);
    let requests = ["bearer", "BEARER"]
        .map(|scheme| (scheme, probe.clone().header("Authorization", &format!("{scheme} {token}")).secret(&token)));
    context
        .each(requests, |scheme, exchange| {
            let status = exchange.came.status;
            (!exchange.came.is_success()).then(|| format!("The scheme {scheme:?} is answered with {status}."))
        })
        .await
}

async fn other_scheme(context: &Context) -> Judged {
    let (probe, token) = (context.probe().await?, context.token().await?);
    let with = |value: String| probe.clone().header("Authorization", &value).secret(&token);
    let places = vec![
        ("without a scheme", with(token.clone())),
        ("under the scheme Token", with(format!("Token {token}"))),
        ("under the scheme BearerX", with(format!("BearerX {token}"))),
        ("under the scheme Basic", with(format!("Basic {token}"))),
    ];
    misplaced(context, places).await
}

async fn session(context: &Context) -> Judged {
    let token = context.token().await?;
    let begun = context.send(context.legacy("initialize").bearer(&token)).await?;
    // A server without sessions may believe one that was invented.
    let id = begun.came.header("mcp-session-id").unwrap_or("auth-check-session");
    let requests =
        [("no token", context.legacy("tools/list")), ("a bad token", context.legacy("tools/list").bearer(GARBAGE))]
            .map(|(name, request)| (name, request.header("Mcp-Session-Id", id).secret(id)));
    context
        .each(requests, |name, exchange| {
            exchange.came.is_success().then(|| format!("In a session, a request with {name} is let in."))
        })
        .await
}

async fn other_website(context: &Context) -> Judged {
    let (probe, token) = (context.probe().await?, context.token().await?);
    let exchange = context.send(probe.header("Origin", "https://evil.example").bearer(&token)).await?;
    let status = exchange.came.status;
    Ok(exchange.found_if(status != 403, format!("With a good token, a foreign Origin is answered with {status}.")))
}
