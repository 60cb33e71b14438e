//! Whether the resource and its authorization server say the same.

use std::collections::HashSet;

use url::Url;

use crate::{
    check::{Check, MUST_2025_06, SHOULD, SHOULD_2025_06, run},
    context::Context,
    model::{Clause, Judged, Needs},
};

pub const CHECKS: &[Check] = &[
    Check {
        id: "AGR-01",
        title: "The authorization server knows the scopes that the resource asks for.",
        levels: SHOULD_2025_06,
        clause: Clause {
            text: "RFC 8414 §2, `scopes_supported`: the scopes that the server supports (it may leave some out)",
            link: "https://www.rfc-editor.org/rfc/rfc8414#section-2",
        },
        fix: "Add the resource's scopes to the authorization server's `scopes_supported`, or correct the resource.",
        needs: Needs::Nothing,
        after: &["PRM-01", "ASM-01"],
        run: run!(scopes),
    },
    Check {
        id: "AGR-02",
        title: "The challenge leads to a document on the resource's own host.",
        levels: SHOULD_2025_06,
        clause: Clause {
            text: "RFC 9728 §7.3: a document from elsewhere can be about another resource; many clients do not fetch it",
            link: "https://www.rfc-editor.org/rfc/rfc9728#section-7.3",
        },
        fix: "Serve the resource's metadata on the MCP endpoint's own origin.",
        needs: Needs::Nothing,
        after: &["CHAL-04"],
        run: run!(same_origin),
    },
    Check {
        id: "AGR-03",
        title: "The resource's documents say the same at each place.",
        levels: MUST_2025_06,
        clause: Clause {
            text: "RFC 9728 §3.3: each document is about the identifier that the client started from",
            link: "https://www.rfc-editor.org/rfc/rfc9728#section-3.3",
        },
        fix: "Serve one document at all places.",
        needs: Needs::Nothing,
        after: &["PRM-01"],
        run: run!(same_resource),
    },
    Check {
        id: "AGR-04",
        title: "The authorization server's list of resources has this one.",
        levels: SHOULD_2025_06,
        clause: Clause {
            text: "RFC 9728 §4, `protected_resources`: the resources that can be used with the authorization server",
            link: "https://www.rfc-editor.org/rfc/rfc9728#section-4",
        },
        fix: "Add the resource to `protected_resources`, or leave the member out.",
        needs: Needs::Nothing,
        after: &["PRM-04", "ASM-01"],
        run: run!(protected_resources),
    },
    Check {
        id: "AGR-05",
        title: "The authorization server's two documents name the same endpoints.",
        levels: SHOULD,
        clause: Clause {
            text: "RFC 9068 §4: a server that publishes both OAuth's and OpenID Connect's document MUST have consistent values in them",
            link: "https://www.rfc-editor.org/rfc/rfc9068#section-4",
        },
        fix: "Serve the same members in both documents.",
        needs: Needs::Nothing,
        after: &["ASM-01"],
        run: run!(same_server),
    },
];

async fn scopes(context: &Context) -> Judged {
    let exchange = context.anonymous().await?;
    let challenged = exchange.came.challenge("scope").unwrap_or_default();
    let document = context.resource().await?;
    // offline_access is a matter of the authorization server, and another check's.
    let wanted = challenged
        .split([' ', ','])
        .chain(document.texts("scopes_supported").into_iter().flat_map(|one| one.split(' ')));
    let wanted: Vec<_> = wanted.filter(|scope| !scope.is_empty() && *scope != "offline_access").collect();
    let mut found = Vec::new();
    for (server, document) in context.server_metadata().await? {
        let known: HashSet<_> = document.texts("scopes_supported").into_iter().collect();
        let unknown = wanted.iter().find(|scope| !known.is_empty() && !known.contains(*scope));
        let what = format!("{} does not list the scope {:?}.", server.issuer, unknown.unwrap_or(&""));
        found.extend(document.exchange.found_if(unknown.is_some(), what));
    }
    Ok(found)
}

async fn same_origin(context: &Context) -> Judged {
    let exchange = context.anonymous().await?;
    let named = exchange.came.challenge("resource_metadata").and_then(|url| Url::parse(&url).ok());
    let elsewhere = named.filter(|url| url.origin() != context.target.origin());
    let what = format!("The document is at {}.", elsewhere.as_ref().map_or("", Url::as_str));
    Ok(exchange.found_if(elsewhere.is_some(), what))
}

async fn same_resource(context: &Context) -> Judged {
    let all = context.places().await?.iter().filter_map(|place| Some((place, place.answer.as_ref().ok()?)));
    let all: Vec<_> = all.collect();
    let mut found = Vec::new();
    for (place, document) in all.iter().skip(1) {
        let (first, first_document) = &all[0];
        for member in ["resource", "authorization_servers"] {
            let differs = document.json[member] != first_document.json[member];
            let what = format!("`{member}` is another at {} than at {}.", place.url, first.url);
            found.extend(document.exchange.found_if(differs, what));
        }
    }
    Ok(found)
}

async fn protected_resources(context: &Context) -> Judged {
    let resource = context.resource().await?.json["resource"].as_str().unwrap_or_default();
    let mut found = Vec::new();
    for (server, document) in context.server_metadata().await? {
        let missing = document.json.get("protected_resources").is_some()
            && !document.texts("protected_resources").contains(&resource);
        let what = format!("{} lists resources, but not {resource:?}.", server.issuer);
        found.extend(document.exchange.found_if(missing, what));
    }
    Ok(found)
}

async fn same_server(context: &Context) -> Judged {
    const SAME: [&str; 4] = ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"];
    let mut found = Vec::new();
    for server in context.servers().await? {
        let Ok([first, others @ ..]) = server.documents.as_deref() else { continue };
        for other in others {
            let differs = SAME.into_iter().find(|member| other.json[*member] != first.json[*member]);
            let what = format!(
                "`{}` is another at {} than at {}.",
                differs.unwrap_or_default(),
                other.exchange.sent.url,
                first.exchange.sent.url
            );
            found.extend(other.exchange.found_if(differs.is_some(), what));
        }
    }
    Ok(found)
}
