//! The way of a code: from the authorization endpoint, over a browser, to the token endpoint.

use super::{endpoints, log_in};
use crate::{
    check::{Check, MUST, SHOULD, SHOULD_2025_06, run},
    model::{Clause, Needs},
};

const TOKEN_ANSWER: Clause = Clause {
    text: "OAuth 2.1 §3.2.3: `token_type` is REQUIRED, `expires_in` RECOMMENDED; an answer with tokens MUST have Cache-Control: no-store",
    link: "https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-3.2.3",
};
const CODE: Clause = Clause {
    text: "OAuth 2.1 §4.1.3: the server MUST verify `code_verifier`, which is there if and only if there was a `code_challenge`",
    link: "https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.1.3",
};
const TWICE: Clause = Clause {
    text: "OAuth 2.1 §4.1.3: a second request with the same code MUST be denied and SHOULD end the tokens of the first",
    link: "https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.1.3",
};
const AUDIENCE: Clause = Clause {
    text: "RFC 8707 §2: the server SHOULD audience-restrict tokens to the `resource` that was asked for, and may use a more general name for it",
    link: "https://www.rfc-editor.org/rfc/rfc8707#section-2",
};

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
        run: run!(endpoints::open_redirector),
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
        run: run!(endpoints::token_error),
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
        run: run!(endpoints::token_get),
    },
    Check::of_a_log_in(
        ("FLOW-04", "A log-in ends with a token."),
        MUST,
        Clause {
            text: "RFC 6749 §4.1.2 and §5.1: the browser comes back with a code, for which the token endpoint gives a token",
            link: "https://www.rfc-editor.org/rfc/rfc6749#section-5.1",
        },
        "Answer the request that is shown as the specification says; clients send just such ones.",
        &["ASM-01", "ASM-06"],
        run!(log_in::ends_with_a_token),
    ),
    Check::of_a_log_in(
        ("FLOW-05", "The client's `state` comes back unchanged."),
        MUST,
        Clause {
            text: "RFC 6749 §4.1.2: `state` is REQUIRED if it was in the request, with the exact value received",
            link: "https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2",
        },
        "Send `state` back letter for letter.",
        &["FLOW-04"],
        run!(log_in::state),
    ),
    Check::of_a_log_in(
        ("FLOW-06", "The answer says who it comes from, as the metadata promises."),
        MUST,
        Clause {
            text: "RFC 9207 §2: `iss` is in every authorization response of a server that supports it, and is the issuer of its metadata",
            link: "https://www.rfc-editor.org/rfc/rfc9207#section-2",
        },
        "Add `iss` with the issuer's identifier to every authorization response.",
        &["ASM-04", "FLOW-04"],
        run!(log_in::issuer),
    ),
    Check::of_a_log_in(
        ("FLOW-07", "A request without a code_challenge is refused."),
        MUST,
        Clause {
            text: "OAuth 2.1 §4.1.2.1: requests without a `code_challenge` from public clients MUST be rejected",
            link: "https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.1.2.1",
        },
        "Require `code_challenge` of every public client: else a stolen code can be used.",
        &["FLOW-04"],
        run!(log_in::without_challenge),
    ),
    Check::of_a_log_in(
        ("FLOW-08", "A challenge of the method plain is refused where it is not offered."),
        MUST,
        Clause {
            text: "RFC 7636 §4.4.1: a server that does not support the method MUST answer with `invalid_request`",
            link: "https://www.rfc-editor.org/rfc/rfc7636#section-4.4.1",
        },
        "Take S256 only: whoever sees the request has the verifier of a plain one.",
        &["ASM-10", "FLOW-04"],
        run!(log_in::plain_challenge),
    ),
    Check::of_a_log_in(
        ("FLOW-09", "A code with another code_verifier is refused."),
        MUST,
        CODE,
        "Compare the hash of `code_verifier` with the `code_challenge` of the code.",
        &["FLOW-04"],
        run!(log_in::other_verifier),
    ),
    Check::of_a_log_in(
        ("FLOW-10", "A code without its code_verifier is refused."),
        MUST,
        CODE,
        "Require `code_verifier` if there was a `code_challenge`.",
        &["FLOW-04"],
        run!(log_in::no_verifier),
    ),
    Check::of_a_log_in(
        ("FLOW-11", "Nobody is sent to another place on this computer than the registered one."),
        MUST,
        Clause {
            text: "OAuth 2.1 §2.3.1: redirect URIs match exactly; on loopback, but for the port",
            link: "https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-2.3.1",
        },
        "Compare redirect URIs letter for letter, on loopback all but the port.",
        &["FLOW-01", "FLOW-04"],
        run!(log_in::other_place),
    ),
    Check::of_a_log_in(
        ("FLOW-12", "A code with another redirect_uri is refused."),
        // OAuth 2.1 has no such parameter, since PKCE does the same.
        SHOULD,
        Clause {
            text: "RFC 6749 §4.1.3: the values of `redirect_uri` MUST be identical (OAuth 2.1 §10.2: whoever takes the parameter enforces this)",
            link: "https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3",
        },
        "Compare `redirect_uri` in the token request, if it is there, with that of the authorization request.",
        &["FLOW-04"],
        run!(log_in::other_redirect_uri),
    ),
    Check::of_a_log_in(
        ("FLOW-13", "A code works once."),
        MUST,
        TWICE,
        "Mark a code as used in the same step that looks it up.",
        &["FLOW-04"],
        run!(log_in::twice),
    ),
    Check::of_a_log_in(
        ("FLOW-14", "A code that comes twice ends the tokens of the first time."),
        SHOULD,
        TWICE,
        "Remember which tokens a code gave, and revoke them if a good request comes with it again: one of the two is a thief's.",
        &["FLOW-13"],
        run!(log_in::twice_ends_tokens),
    ),
    Check::of_a_log_in(
        ("FLOW-15", "Another client's code is refused."),
        MUST,
        Clause {
            text: "OAuth 2.1 §4.1.3: the server MUST ensure that the code was issued to the client of the request",
            link: "https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.1.3",
        },
        "Compare the client of the token request with the one that the code was issued to.",
        &["FLOW-04"],
        run!(log_in::other_client),
    ),
    Check::of_a_log_in(
        ("FLOW-16", "A token is for the resource that was asked for."),
        SHOULD_2025_06,
        AUDIENCE,
        "Put the `resource` of the request into `aud`, or what stands for it.",
        &["FLOW-04"],
        run!(log_in::audience),
    ),
    Check::of_a_log_in(
        ("FLOW-17", "A code gives no token for this server if another is asked for."),
        SHOULD_2025_06,
        AUDIENCE,
        "Look at `resource` in token requests: answer `invalid_target`, or with a token that is good there only.",
        &["FLOW-04"],
        run!(log_in::other_resource),
    ),
    Check::of_a_log_in(
        ("FLOW-18", "The answer with a token says of which type it is."),
        MUST,
        TOKEN_ANSWER,
        "Add `\"token_type\": \"Bearer\"` to the answer.",
        &["FLOW-04"],
        run!(log_in::token_type),
    ),
    Check::of_a_log_in(
        ("FLOW-19", "The answer with a token is kept in no cache."),
        MUST,
        TOKEN_ANSWER,
        "Send `Cache-Control: no-store` with every answer of the token endpoint.",
        &["FLOW-04"],
        run!(log_in::no_store),
    ),
    Check::of_a_log_in(
        ("FLOW-20", "The answer with a token says when it expires."),
        SHOULD,
        TOKEN_ANSWER,
        "Add `expires_in`, in seconds: else clients find out by failing.",
        &["FLOW-04"],
        run!(log_in::expires_in),
    ),
];
