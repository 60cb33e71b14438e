//! Taking tokens back (RFC 7009).

use crate::{
    check::{Check, MUST, run},
    context::Context,
    login::rounds::random,
    model::{Clause, Judged, Needs},
};

pub const CHECKS: &[Check] = &[
    Check {
        id: "REV-01",
        title: "To take back an unknown token is no error.",
        levels: MUST,
        clause: Clause {
            text: "RFC 7009 §2.2: the server responds with 200 also if the token is invalid",
            link: "https://www.rfc-editor.org/rfc/rfc7009#section-2.2",
        },
        fix: "Answer 200 where there is nothing to revoke: the client has what it wants.",
        needs: Needs::Login,
        after: &["ASM-07", "FLOW-04"],
        run: run!(unknown),
    },
    Check {
        id: "REV-02",
        title: "Another client's token cannot be taken back.",
        levels: MUST,
        clause: Clause {
            text: "RFC 7009 §2.1: the server verifies whether the token was issued to the client making the request",
            link: "https://www.rfc-editor.org/rfc/rfc7009#section-2.1",
        },
        fix: "Compare the client of the request with the one that the token was issued to.",
        needs: Needs::Login,
        after: &["ASM-07", "FLOW-04"],
        run: run!(other_client),
    },
    Check {
        id: "REV-03",
        title: "A refresh token that was taken back does not work.",
        levels: MUST,
        clause: Clause {
            text: "RFC 7009 §2: a server with the endpoint MUST support the revocation of refresh tokens, and it takes place immediately (§2.1)",
            link: "https://www.rfc-editor.org/rfc/rfc7009#section-2",
        },
        fix: "End the refresh token, and all that it led to, in the request that revokes it.",
        needs: Needs::Login,
        after: &["ASM-07", "FLOW-04"],
        run: run!(revoked),
    },
];

async fn unknown(context: &Context) -> Judged {
    let exchange = context.revoke(context.own_client().await?, &random()?).await?;
    let status = exchange.came.status;
    Ok(exchange.found_if(status != 200, format!("To revoke an unknown token is answered with {status}, not 200.")))
}

async fn other_client(context: &Context) -> Judged {
    let (exchange, ended) = context.revocations().await?.other.as_ref().map_err(Clone::clone)?;
    Ok(exchange.found_if(*ended, "A client has ended another one's refresh token."))
}

async fn revoked(context: &Context) -> Judged {
    let (exchange, refreshed) = context.revocations().await?.own.as_ref().map_err(Clone::clone)?;
    if !exchange.came.is_success() {
        let what = format!("To revoke one's own refresh token is answered with {}.", exchange.came.status);
        return Ok(vec![exchange.finding(what)]);
    }
    Ok(refreshed.found_if(refreshed.came.is_success(), "A refresh token works after it was revoked."))
}
