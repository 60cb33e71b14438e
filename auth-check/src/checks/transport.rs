//! Ways of sending a request that may get around the token check.

use oauth::address;

use crate::{
    check::{Check, MUST, SHOULD, run},
    context::{Context, GARBAGE, busy},
    mask,
    message::{Exchange, Request},
    model::{Clause, Finding, Judged, Level, Needs, Revision, Unmet},
};

const ORIGIN: Clause = Clause {
    text: "MCP transports, Streamable HTTP, \"Security & Endpoint\": an invalid Origin MUST be answered with 403 (before 2025-11-25: MUST be validated)",
    link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#security-%26-endpoint",
};
const EVERY_REQUEST: Clause = Clause {
    text: "MCP authorization, \"Token Requirements\": authorization is included in every HTTP request",
    link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#token-requirements",
};

pub const CHECKS: &[Check] = &[
    Check {
        id: "TRAN-01",
        title: "A request from another website is refused.",
        levels: &[(Revision::R2025_03_26, Level::Must)],
        clause: ORIGIN,
        fix: "Compare Origin with a list of allowed origins and answer 403 to all others, before the token is looked at.",
        needs: Needs::Nothing,
        after: &[],
        run: run!(foreign_origin),
    },
    Check {
        id: "TRAN-02",
        title: "An origin that only looks like an allowed one is refused.",
        levels: MUST,
        clause: ORIGIN,
        fix: "Parse Origin and compare scheme, host and port: not prefixes, not parts; and do not allow `null`.",
        needs: Needs::Nothing,
        after: &["TRAN-01"],
        run: run!(similar_origin),
    },
    Check {
        id: "TRAN-03",
        title: "A local server refuses a Host that is not its own.",
        levels: SHOULD,
        clause: Clause {
            text: "MCP transports, Streamable HTTP, \"Security & Endpoint\": protection from DNS rebinding",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#security-%26-endpoint",
        },
        fix: "Compare Host with localhost, 127.0.0.1, [::1] and the public URL's host, and refuse all others.",
        needs: Needs::Nothing,
        after: &[],
        run: run!(foreign_host),
    },
    Check {
        id: "TRAN-04",
        title: "A preflight from another website allows nothing.",
        levels: SHOULD,
        clause: Clause {
            text: "Fetch, \"CORS protocol and credentials\": reflecting every origin lets every website read the answers",
            link: "https://fetch.spec.whatwg.org/#cors-protocol-and-credentials",
        },
        fix: "Answer `Access-Control-Allow-Origin` with allowed origins only, not with whatever Origin says.",
        needs: Needs::Nothing,
        after: &[],
        run: run!(preflight),
    },
    Check {
        id: "TRAN-05",
        title: "The MCP endpoint does not redirect.",
        levels: SHOULD,
        clause: Clause {
            text: "RFC 9110 §15.4: clients change POST to GET at a redirect, and leave Authorization out at another host",
            link: "https://www.rfc-editor.org/rfc/rfc9110#section-15.4",
        },
        fix: "Serve the endpoint at the URL that you publish, with or without its slash, and on https from the start.",
        needs: Needs::Nothing,
        after: &[],
        run: run!(redirect),
    },
    Check {
        id: "TRAN-06",
        title: "TRACE does not repeat the token.",
        levels: SHOULD,
        clause: Clause {
            text: "RFC 9110 §9.3.8: the recipient of TRACE SHOULD exclude fields that are likely to contain sensitive data",
            link: "https://www.rfc-editor.org/rfc/rfc9110#section-9.3.8",
        },
        fix: "Refuse TRACE.",
        needs: Needs::Nothing,
        after: &[],
        run: run!(trace),
    },
    Check {
        id: "TRAN-07",
        title: "No other spelling of the path goes round the token check.",
        levels: MUST,
        clause: EVERY_REQUEST,
        fix: "Put the token check before the handler itself, not before a list of paths.",
        needs: Needs::Nothing,
        after: &["CHAL-01", "CHAL-15"],
        run: run!(spelling),
    },
    Check {
        id: "TRAN-08",
        title: "A header that only a proxy may set opens nothing.",
        levels: MUST,
        clause: EVERY_REQUEST,
        fix: "Do not believe X-Forwarded-*, X-Original-URL or Remote-User from callers; let the proxy remove them.",
        needs: Needs::Nothing,
        after: &["CHAL-01", "CHAL-15"],
        run: run!(proxy_headers),
    },
    Check {
        id: "TRAN-09",
        title: "A huge token is refused, and the server lives on.",
        levels: SHOULD,
        clause: Clause {
            text: "RFC 9110 §5.4: fields that are larger than the server wishes are answered with a 4xx status",
            link: "https://www.rfc-editor.org/rfc/rfc9110#section-5.4",
        },
        fix: "Limit the size of headers and tokens, and answer 401 or 431.",
        needs: Needs::Nothing,
        after: &["CHAL-01"],
        run: run!(huge_token),
    },
];

/// A request without a token, with an Origin.
fn from(context: &Context, origin: &str) -> Request {
    context.legacy("initialize").header("Origin", origin)
}

async fn foreign_origin(context: &Context) -> Judged {
    let exchange = context.send(from(context, "https://evil.example")).await?;
    let status = exchange.came.status;
    Ok(exchange.found_if(status != 403, format!("Origin https://evil.example is answered with {status}, not 403.")))
}

async fn similar_origin(context: &Context) -> Judged {
    let own = context.target.origin().ascii_serialization();
    let host = context.target.host_str().unwrap_or_default();
    let requests = [
        "null".to_owned(),
        format!("{own}.evil.example"),
        "http://localhost.evil.example".to_owned(),
        format!("https://evil.example/{host}"),
        format!("https://evil{host}"),
        format!("{own}@evil.example"),
    ]
    .map(|origin| (origin.clone(), from(context, &origin)));
    context
        .each(requests, |origin, exchange| {
            let status = exchange.came.status;
            // A value that is not an origin may be answered with 400.
            let taken = !matches!(status, 400 | 403);
            taken.then(|| format!("Origin {origin} is answered with {status}, not 403."))
        })
        .await
}

async fn foreign_host(context: &Context) -> Judged {
    if !address::is_loopback(&context.target) {
        return Err(Unmet("a server on this machine: elsewhere, the proxy looks at Host".to_owned()));
    }
    // A server may look at the token first, and at Host only where there is a good one.
    let good = match context.probe().await {
        Ok(probe) => Some(probe.bearer(&context.token().await?)),
        Err(_) => None,
    };
    let request = good.clone().unwrap_or_else(|| context.legacy("initialize"));
    let mut found = Vec::new();
    for host in ["evil.example", "localhost.evil.example"] {
        let exchange = match context.send(request.clone().header("Host", host)).await {
            Ok(exchange) => exchange,
            Err(unmet) => return unmet.after(found),
        };
        if good.is_none() && exchange.came.status == 401 {
            return Err(Unmet(Needs::Token.as_str().to_owned()));
        }
        let what = format!("A request for the host {host} is treated like one's own.");
        found.extend(exchange.found_if(exchange.came.is_success(), what));
    }
    Ok(found)
}

async fn preflight(context: &Context) -> Judged {
    let request = Request::new("OPTIONS", &context.target)
        .header("Origin", "https://evil.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization,content-type");
    let exchange = context.send(request).await?;
    let allowed = exchange.came.header("access-control-allow-origin") == Some("https://evil.example");
    Ok(exchange.found_if(allowed, "The preflight allows https://evil.example."))
}

async fn redirect(context: &Context) -> Judged {
    let exchange = context.anonymous().await?;
    let status = exchange.came.status;
    Ok(exchange.found_if((300..400).contains(&status), format!("The endpoint answers {status}.")))
}

async fn trace(context: &Context) -> Judged {
    let exchange = context.send(Request::new("TRACE", &context.target).bearer(GARBAGE)).await?;
    let repeated = exchange.came.text().contains(GARBAGE);
    Ok(exchange.found_if(repeated, "TRACE repeats the Authorization header."))
}

async fn spelling(context: &Context) -> Judged {
    let path = context.target.path().trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    let encoded = last.chars().next().map(|first| format!("%{:02x}{}", u32::from(first), &last[first.len_utf8()..]));
    let parent = &path[..path.len() - last.len()];
    let requests = [
        format!("{path}/"),
        format!("/{path}"),
        format!("{parent}./{last}"),
        format!("{parent}x/../{last}"),
        format!("{parent}{}", last.to_uppercase()),
        format!("{parent}{}", encoded.unwrap_or_default()),
        format!("{path};x=1"),
        format!("{path}?x=1"),
        format!("{path}%20"),
        format!("{}{path}", &context.target[..url::Position::BeforePath]),
    ]
    .map(|target| (target.clone(), context.legacy("initialize").target(target)));
    context
        .each(requests, |target, exchange| is_result(exchange).then(|| format!("Without a token, {target} is let in.")))
        .await
}

/// Whether a JSON-RPC request was carried out.
fn is_result(exchange: &Exchange) -> bool {
    exchange.came.is_success() && exchange.json().is_some_and(|json| json.get("result").is_some())
}

async fn proxy_headers(context: &Context) -> Judged {
    let requests = [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-User", "admin"),
        ("X-Forwarded-Email", "admin@localhost"),
        ("Remote-User", "admin"),
        ("X-Remote-User", "admin"),
        ("X-Authenticated-User", "admin"),
        ("X-Original-URL", "/health"),
        ("X-Rewrite-URL", "/health"),
        ("X-HTTP-Method-Override", "OPTIONS"),
    ]
    .map(|(name, value)| ((name, value), context.legacy("initialize").header(name, value)));
    context
        .each(requests, |(name, value), exchange| {
            is_result(exchange).then(|| format!("Without a token, a request with `{name}: {value}` is let in."))
        })
        .await
}

async fn huge_token(context: &Context) -> Judged {
    let small = context.legacy("initialize");
    // Only who answers now can be killed.
    context.send(small.clone()).await?;
    let token = "a".repeat(48 * 1024);
    let huge = small.clone().bearer(&token);
    let sent = format!("{} {} with a token of 48 KiB", huge.method, huge.url.path());
    match context.ask(huge).await {
        Ok(exchange) => {
            let status = exchange.came.status;
            let what = format!("A token of 48 KiB is answered with {status}.");
            return Ok(exchange.found_if(!(400..500).contains(&status), what));
        }
        Err(unmet) if unmet == busy(429) => return Err(unmet),
        // A server may close the connection on it, if it goes on.
        Err(_) => {}
    }
    match context.http.send(&small).await {
        Ok(came) if !came.is_failure() => Ok(Vec::new()),
        Ok(came) => {
            let what = format!("After a token of 48 KiB the server answers with {}.", came.status);
            Ok(vec![Exchange { sent: small, came }.finding(what)])
        }
        Err(Unmet(why)) => {
            let what = "After a token of 48 KiB the server no longer answers.".to_owned();
            Ok(vec![Finding { what, sent, came: format!("nothing: this needs {}", mask::sentence(&why)) }])
        }
    }
}
