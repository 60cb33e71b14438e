//! What makes a token good (RFC 9068 §4, RFC 8725): each check sends the rows of the table of hostile tokens that have
//! its id.

use super::token_trials;
use crate::{
    check::{Check, MUST, Run, SHOULD, run},
    model::{Clause, Level, Needs, Revision},
};

const VALIDATE: Clause = Clause {
    text: "RFC 9068 §4: the signature of a token MUST be validated, and tokens with `none` MUST be rejected",
    link: "https://www.rfc-editor.org/rfc/rfc9068#section-4",
};
const AUDIENCE: Clause = Clause {
    text: "MCP authorization, \"Token Handling\": servers MUST validate that tokens were issued specifically for them",
    link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#token-handling",
};
const ISSUER: Clause = Clause {
    text: "RFC 9068 §4: `iss` MUST exactly match the authorization server's issuer identifier",
    link: "https://www.rfc-editor.org/rfc/rfc9068#section-4",
};
const ALGORITHM: Clause = Clause {
    text: "RFC 8725 §3.1: only allowed algorithms are used, and each key with exactly one",
    link: "https://www.rfc-editor.org/rfc/rfc8725#section-3.1",
};
const RECEIVED: Clause = Clause {
    text: "RFC 8725 §3.10: received header members (`kid`, `jku`, `x5u`) are not to be trusted; §3.8: keys must belong to the issuer",
    link: "https://www.rfc-editor.org/rfc/rfc8725#section-3.10",
};

/// A check that sends hostile tokens.
const fn hostile(
    id: &'static str,
    title: &'static str,
    levels: &'static [(Revision, Level)],
    needs: Needs,
    clause: Clause,
    fix: &'static str,
) -> Check {
    const REFUSED: Run = |context, id| Box::pin(token_trials::refused(context, id));
    Check { id, title, levels, clause, fix, needs, after: &["TOK-01"], run: REFUSED }
}

pub const CHECKS: &[Check] = &[
    Check {
        id: "TOK-01",
        title: "A good token is let in.",
        levels: MUST,
        clause: Clause {
            text: "MCP authorization, \"Token Handling\": servers validate access tokens as OAuth 2.1 §5.2 says",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#token-handling",
        },
        fix: "Accept tokens of the authorization server that the metadata names, for the resource that it names (or tell auth-check the right one with --audience).",
        needs: Needs::Token,
        after: &[],
        run: run!(token_trials::good),
    },
    hostile(
        "TOK-02",
        "A token that an unknown key signed is refused.",
        MUST,
        Needs::Jwt,
        VALIDATE,
        "Verify the signature with a key of the issuer's key set.",
    ),
    hostile(
        "TOK-03",
        "An unsigned token (alg none) is refused.",
        MUST,
        Needs::Jwt,
        VALIDATE,
        "Accept a list of algorithms that does not have `none`, in any spelling.",
    ),
    hostile(
        "TOK-04",
        "A token that is signed with a public or guessable secret is refused.",
        MUST,
        Needs::Key,
        ALGORITHM,
        "Accept only the algorithm that the key is for: a public RSA key is not an HMAC secret.",
    ),
    hostile(
        "TOK-05",
        "A token whose claims were changed is refused.",
        MUST,
        Needs::Jwt,
        VALIDATE,
        "Verify the signature over the very header and claims that you use.",
    ),
    hostile(
        "TOK-06",
        "An expired token is refused.",
        MUST,
        Needs::Key,
        Clause {
            text: "RFC 7519 §4.1.4: after `exp` a token MUST NOT be accepted, with a leeway of a few minutes at most",
            link: "https://www.rfc-editor.org/rfc/rfc7519#section-4.1.4",
        },
        "Compare `exp` with the clock.",
    ),
    hostile(
        "TOK-07",
        "A token that never expires is refused.",
        MUST,
        Needs::Key,
        Clause {
            text: "RFC 9068 §2.2: `exp` is required", link: "https://www.rfc-editor.org/rfc/rfc9068#section-2.2"
        },
        "Require `exp`.",
    ),
    hostile(
        "TOK-08",
        "A token that is not valid yet is refused.",
        MUST,
        Needs::Key,
        Clause {
            text: "RFC 7519 §4.1.5: before `nbf` a token MUST NOT be accepted",
            link: "https://www.rfc-editor.org/rfc/rfc7519#section-4.1.5",
        },
        "Compare `nbf`, if it is there, with the clock.",
    ),
    hostile(
        "TOK-09",
        "A token for another server is refused.",
        MUST,
        Needs::Token,
        AUDIENCE,
        "Compare `aud` with your own resource identifier.",
    ),
    hostile(
        "TOK-10",
        "A token for nobody in particular is refused.",
        MUST,
        Needs::Key,
        AUDIENCE,
        "Require `aud`, and one that is not empty.",
    ),
    hostile(
        "TOK-11",
        "A token whose audience only resembles the server's is refused.",
        MUST,
        Needs::Key,
        AUDIENCE,
        "Compare `aud` as a whole: not a prefix, not a part.",
    ),
    hostile(
        "TOK-12",
        "A token of another issuer is refused.",
        MUST,
        Needs::Key,
        ISSUER,
        "Compare `iss` with the issuer whose keys you use.",
    ),
    hostile("TOK-13", "A token without an issuer is refused.", MUST, Needs::Key, ISSUER, "Require `iss`."),
    hostile(
        "TOK-14",
        "A token about nobody is refused.",
        SHOULD,
        Needs::Key,
        Clause {
            text: "RFC 9068 §2.2: `sub` is required", link: "https://www.rfc-editor.org/rfc/rfc9068#section-2.2"
        },
        "Require `sub`, and one that is not empty.",
    ),
    hostile(
        "TOK-15",
        "A JWT of another kind is refused.",
        MUST,
        Needs::Key,
        Clause {
            text: "RFC 9068 §4: `typ` is at+jwt or application/at+jwt; RFC 8725 §3.11 (JWT or no typ is tolerated here)",
            link: "https://www.rfc-editor.org/rfc/rfc9068#section-4",
        },
        "Compare `typ` with `at+jwt`.",
    ),
    hostile(
        "TOK-16",
        "A token with a critical extension that nobody knows is refused.",
        MUST,
        Needs::Key,
        Clause {
            text: "RFC 7515 §4.1.11: if an extension in `crit` is not understood, the JWS is invalid",
            link: "https://www.rfc-editor.org/rfc/rfc7515#section-4.1.11",
        },
        "Refuse tokens whose header has `crit`.",
    ),
    hostile(
        "TOK-17",
        "A token that brings its own key is refused.",
        MUST,
        Needs::Jwt,
        RECEIVED,
        "Take keys from the issuer's key set only, never from a token's header.",
    ),
    hostile(
        "TOK-18",
        "A token's header does not make the server fetch an address.",
        MUST,
        Needs::Jwt,
        RECEIVED,
        "Ignore `jku` and `x5u`, and do not treat `kid` as an address.",
    ),
    hostile(
        "TOK-19",
        "A key's name cannot be used to reach into the server.",
        MUST,
        Needs::Key,
        RECEIVED,
        "Look `kid` up in the key set in memory: not in the file system, not in a query.",
    ),
    hostile(
        "TOK-20",
        "A claim of a wrong type is refused and does no harm.",
        SHOULD,
        Needs::Key,
        Clause {
            text: "RFC 7519 §4.1 and §7.2: each claim has its type, and the claims set is a JSON object",
            link: "https://www.rfc-editor.org/rfc/rfc7519#section-7.2",
        },
        "Read claims into types and answer 401 if that fails.",
    ),
    hostile(
        "TOK-21",
        "A token that is bound to a key is refused without a proof.",
        SHOULD,
        Needs::Key,
        Clause {
            text: "RFC 9449 §7.1 and RFC 8705 §3: a bound token without proof of the key is not accepted",
            link: "https://www.rfc-editor.org/rfc/rfc9449#section-7.1",
        },
        "Check the proof if the token has `cnf`, or refuse such tokens.",
    ),
    hostile(
        "TOK-22",
        "A token in another encoding is refused.",
        MUST,
        Needs::Jwt,
        Clause {
            text: "RFC 7515 §5.2: a JWS has exactly three parts, in base64url without padding and white space",
            link: "https://www.rfc-editor.org/rfc/rfc7515#section-5.2",
        },
        "Verify the whole of what follows `Bearer`, not the first part that fits.",
    ),
    hostile(
        "TOK-23",
        "A token that is signed with another algorithm than the key's is refused.",
        SHOULD,
        Needs::Key,
        ALGORITHM,
        "Accept the algorithm that the key set names for the key (`alg`), and no other.",
    ),
    Check {
        id: "TOK-24",
        title: "An expired token is answered with 401 and invalid_token.",
        levels: MUST,
        clause: Clause {
            text: "MCP authorization, \"Token Handling\": invalid or expired tokens MUST receive a 401 (RFC 6750 §3.1: `invalid_token`)",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#token-handling",
        },
        fix: "Answer 401 with `error=\"invalid_token\"`, so that clients fetch a new token.",
        needs: Needs::Key,
        after: &["CHAL-10", "TOK-01", "TOK-06", "CHAL-17"],
        run: run!(token_trials::expired_status),
    },
    Check {
        id: "TOK-25",
        title: "After hostile tokens a good one is still let in.",
        levels: SHOULD,
        clause: Clause {
            text: "RFC 8725 §3.10: what a token says of keys must not change which keys are used",
            link: "https://www.rfc-editor.org/rfc/rfc8725#section-3.10",
        },
        fix: "Keep the keys that you have when a token names an unknown one, and limit how often you fetch the key set.",
        needs: Needs::Token,
        after: &["TOK-01"],
        run: run!(token_trials::still_good),
    },
];
