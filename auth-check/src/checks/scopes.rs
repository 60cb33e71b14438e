//! Scopes, and how a client learns that it needs more of them (MCP "Scope Challenge Handling").

use super::scoped_tokens::{lacking, with};
use crate::{
    access::first_scopes,
    check::{Check, MUST, SHOULD_2025_11, run},
    context::{Context, Operation, Tried},
    message::Exchange,
    model::{Clause, Judged, Needs, Unmet},
};

const INSUFFICIENT: Clause = Clause {
    text: "MCP authorization, \"Runtime Insufficient Scope Errors\": 403 with `insufficient_scope`, `scope` and `resource_metadata`",
    link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#runtime-insufficient-scope-errors",
};
const SELECTION: Clause = Clause {
    text: "MCP authorization, \"Scope Selection Strategy\": the challenge's scopes are those that the current request needs",
    link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#scope-selection-strategy",
};
/// How many of the scopes that a 403 names are left out, one at a time.
const MAX_TRIED: usize = 10;

/// What a scope is turned into.
type Change = fn(&str) -> String;

pub const CHECKS: &[Check] = &[
    Check {
        id: "SCOPE-01",
        title: "Without the scopes that the challenge asks for, the answer is 403.",
        levels: MUST,
        clause: Clause {
            text: "MCP authorization, \"Error Handling\": 403 for invalid scopes or insufficient permissions",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#error-handling",
        },
        fix: "Compare the token's scopes with those that the operation needs, and answer 403; or do not ask for scopes that you do not check.",
        needs: Needs::Token,
        after: &["CHAL-06", "TOK-01"],
        run: run!(enforced),
    },
    Check {
        id: "SCOPE-02",
        title: "The 403 says insufficient_scope.",
        levels: SHOULD_2025_11,
        clause: INSUFFICIENT,
        fix: "Send `WWW-Authenticate: Bearer error=\"insufficient_scope\", …` with the 403.",
        needs: Needs::Token,
        after: &["SCOPE-01"],
        run: run!(error),
    },
    Check {
        id: "SCOPE-03",
        title: "The 403 says which scopes are needed.",
        levels: SHOULD_2025_11,
        clause: INSUFFICIENT,
        fix: "Add `scope=\"…\"` to the challenge of the 403.",
        needs: Needs::Token,
        after: &["SCOPE-02"],
        run: run!(named),
    },
    Check {
        id: "SCOPE-04",
        title: "The 403 says where the resource's metadata is.",
        levels: SHOULD_2025_11,
        clause: INSUFFICIENT,
        fix: "Add `resource_metadata=\"…\"` to the challenge of the 403.",
        needs: Needs::Token,
        after: &["SCOPE-02"],
        run: run!(metadata),
    },
    Check {
        id: "SCOPE-05",
        title: "With the scopes that the 403 names, the operation is allowed.",
        levels: SHOULD_2025_11,
        clause: Clause {
            text: "MCP authorization, \"Runtime Insufficient Scope Errors\": all scopes that are required, in a single challenge",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#runtime-insufficient-scope-errors",
        },
        fix: "Name every scope that the operation needs in one challenge: else clients ask for ever.",
        needs: Needs::Token,
        after: &["SCOPE-03"],
        run: run!(no_circles),
    },
    Check {
        id: "SCOPE-06",
        title: "The 403 asks for no more than the operation needs.",
        levels: SHOULD_2025_11,
        clause: Clause {
            text: "MCP authorization, \"Runtime Insufficient Scope Errors\": `scope` specifies the minimum scopes needed for the operation",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#runtime-insufficient-scope-errors",
        },
        fix: "Name the scopes of this operation in the challenge, not all scopes that there are.",
        needs: Needs::Token,
        after: &["SCOPE-05"],
        run: run!(precise),
    },
    Check {
        id: "SCOPE-07",
        title: "Scopes are compared as a whole.",
        levels: MUST,
        clause: Clause {
            text: "RFC 6749 §3.3: scopes are case-sensitive strings, separated by spaces",
            link: "https://www.rfc-editor.org/rfc/rfc6749#section-3.3",
        },
        fix: "Split the token's scopes at spaces and compare each: not a part of the text, not without letter case.",
        needs: Needs::Key,
        after: &["SCOPE-03"],
        run: run!(whole),
    },
    Check {
        id: "SCOPE-08",
        title: "With the scopes that the 401 names, the request is allowed.",
        levels: SHOULD_2025_11,
        clause: SELECTION,
        fix: "Name every scope that the request needs in the challenge of the 401.",
        needs: Needs::Token,
        after: &["CHAL-07", "TOK-01"],
        run: run!(sufficient),
    },
];

/// The operation, the 403, and the scopes that it names.
async fn refused(context: &Context) -> Result<(&Operation, &Exchange, Vec<String>), Unmet> {
    let Tried { operation, exchange, .. } = lacking(context).await?;
    let scopes = exchange.came.challenge("scope").unwrap_or_default();
    Ok((operation, exchange, first_scopes(&scopes).into_iter().map(str::to_owned).collect()))
}

async fn enforced(context: &Context) -> Judged {
    let Tried { operation, scopes, exchange } = lacking(context).await?;
    let status = exchange.came.status;
    let tried = match operation {
        Operation::List => "tools/list is".to_owned(),
        Operation::Call(tool) => format!("tools/list and a call of {tool} are"),
    };
    let token =
        if scopes.is_empty() { "token without scopes".to_owned() } else { format!("token for {scopes:?} alone") };
    let what = match status {
        200..300 => format!("{tried} allowed to a {token}, though the 401 asks for others."),
        _ => format!("A {token} is answered with {status}, not 403."),
    };
    Ok(exchange.found_if(status != 403, what))
}

async fn error(context: &Context) -> Judged {
    let (_, exchange, _) = refused(context).await?;
    let error = exchange.came.challenge("error");
    let missing = error.as_deref() != Some("insufficient_scope");
    let what = exchange.came.unreadable_challenge();
    let what = what.unwrap_or_else(|| format!("The challenge of the 403 says {:?}.", error.unwrap_or_default()));
    Ok(exchange.found_if(missing, what))
}

async fn named(context: &Context) -> Judged {
    let (_, exchange, scopes) = refused(context).await?;
    Ok(exchange.found_if(scopes.is_empty(), "The challenge of the 403 has no scope."))
}

async fn metadata(context: &Context) -> Judged {
    let (_, exchange, _) = refused(context).await?;
    let missing = exchange.came.challenge("resource_metadata").is_none();
    Ok(exchange.found_if(missing, "The challenge of the 403 has no resource_metadata."))
}

async fn no_circles(context: &Context) -> Judged {
    let (operation, _, scopes) = refused(context).await?;
    let exchange = with(context, operation, &scopes.join(" ")).await?;
    let what = format!("With exactly the scopes of the challenge, the answer is {}.", exchange.came.status);
    Ok(exchange.found_if(!exchange.came.is_success(), what))
}

/// Finds each of these scopes with which the operation is allowed, and says what is wrong about it.
async fn allowed(
    context: &Context,
    operation: &Operation,
    tries: impl IntoIterator<Item = (Vec<String>, String)>,
) -> Judged {
    let mut found = Vec::new();
    for (scopes, what) in tries {
        match with(context, operation, &scopes.join(" ")).await {
            Ok(exchange) => found.extend(exchange.found_if(exchange.came.is_success(), what)),
            Err(unmet) => return unmet.after(found),
        }
    }
    Ok(found)
}

async fn precise(context: &Context) -> Judged {
    let (operation, _, scopes) = refused(context).await?;
    let without = |scope: &String| {
        let what = format!("The challenge asks for {scope:?}, but the operation is allowed without it.");
        (scopes.iter().filter(|other| *other != scope).cloned().collect(), what)
    };
    allowed(context, operation, scopes.iter().filter(|_| scopes.len() > 1).take(MAX_TRIED).map(without)).await
}

async fn whole(context: &Context) -> Judged {
    let (operation, _, scopes) = refused(context).await?;
    let ways: [(&str, Change); 4] = [
        ("in capitals", |scope| scope.to_uppercase()),
        ("with more behind it", |scope| format!("{scope}x")),
        ("with more in front of it", |scope| format!("x{scope}")),
        ("between commas", |scope| format!("a,{scope},b")),
    ];
    let changed = ways.into_iter().filter_map(|(how, change)| {
        let changed: Vec<_> = scopes.iter().map(|scope| change(scope)).filter(|one| !scopes.contains(one)).collect();
        (!changed.is_empty()).then(|| (changed, format!("A scope counts {how}.")))
    });
    allowed(context, operation, changed).await
}

async fn sufficient(context: &Context) -> Judged {
    let scopes = context.anonymous().await?.came.challenge("scope").unwrap_or_default();
    let exchange = with(context, &Operation::List, &first_scopes(&scopes).join(" ")).await?;
    let what = format!("With exactly the scopes of the 401, the answer is {}.", exchange.came.status);
    Ok(exchange.found_if(!exchange.came.is_success(), what))
}
