//! What the server says to those who have no good token (RFC 6750 §3).

use super::refusals;
use crate::{
    check::{Check, MUST, SHOULD, SHOULD_2025_11, SHOULD_2026_07, run},
    model::{Clause, Level, Needs, Revision},
};

const UNAUTHORIZED: Clause = Clause {
    text: "MCP authorization, \"Error Handling\": 401 if authorization is required or the token is invalid",
    link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#error-handling",
};
const BEARER: Clause = Clause {
    text: "RFC 6750 §3: a refusal has a WWW-Authenticate header with the scheme Bearer",
    link: "https://www.rfc-editor.org/rfc/rfc6750#section-3",
};
const CODES: Clause = Clause {
    text: "RFC 6750 §3.1: no error code without a token, `invalid_token` with a bad one, `invalid_request` for a malformed request",
    link: "https://www.rfc-editor.org/rfc/rfc6750#section-3.1",
};
const SCOPE: Clause = Clause {
    text: "MCP authorization, \"Scope Selection Strategy\": servers SHOULD include a `scope` parameter",
    link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#scope-selection-strategy",
};

pub const CHECKS: &[Check] = &[
    Check {
        id: "CHAL-01",
        title: "A request without a token is answered with 401.",
        levels: MUST,
        clause: UNAUTHORIZED,
        fix: "Put the token check before the MCP endpoint and answer 401 if there is no token.",
        needs: Needs::Nothing,
        after: &[],
        run: run!(refusals::no_token),
    },
    Check {
        id: "CHAL-02",
        title: "The 401 has a Bearer challenge.",
        levels: MUST,
        clause: BEARER,
        fix: "Send `WWW-Authenticate: Bearer …` with each 401.",
        needs: Needs::Nothing,
        after: &["CHAL-01"],
        run: run!(refusals::bearer),
    },
    Check {
        id: "CHAL-03",
        title: "The challenge can be read by the grammar of HTTP.",
        levels: MUST,
        clause: Clause {
            text: "RFC 9110 §11.6.1: WWW-Authenticate is a list of challenges with quoted parameters",
            link: "https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1",
        },
        fix: "Separate the challenge's parameters by commas, quote their values, and name each once.",
        needs: Needs::Nothing,
        after: &["CHAL-01"],
        run: run!(refusals::grammar),
    },
    Check {
        id: "CHAL-04",
        title: "The challenge says where the resource's metadata is.",
        levels: &[(Revision::R2025_06_18, Level::Must), (Revision::R2025_11_25, Level::Should)],
        clause: Clause {
            text: "MCP authorization, \"Protected Resource Metadata Discovery Requirements\"; RFC 9728 §5.1 (2025-06-18: MUST; since then one of two ways)",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/authorization-server-discovery#protected-resource-metadata-discovery-requirements",
        },
        fix: "Add `resource_metadata=\"https://…/.well-known/oauth-protected-resource…\"` to the challenge.",
        needs: Needs::Nothing,
        after: &["CHAL-02", "CHAL-03"],
        run: run!(refusals::resource_metadata),
    },
    Check {
        id: "CHAL-05",
        title: "Without a token the challenge names no error.",
        levels: SHOULD,
        clause: CODES,
        fix: "Leave `error` out of the challenge if the request has no token.",
        needs: Needs::Nothing,
        after: &["CHAL-02", "CHAL-03"],
        run: run!(refusals::no_error),
    },
    Check {
        id: "CHAL-06",
        title: "The challenge says which scopes the request needs.",
        levels: SHOULD_2025_11,
        clause: SCOPE,
        fix: "Add `scope=\"…\"` to the challenge, with the scopes that basic use needs.",
        needs: Needs::Nothing,
        after: &["CHAL-02", "CHAL-03"],
        run: run!(refusals::scope),
    },
    Check {
        id: "CHAL-07",
        title: "The challenge's scopes are scopes.",
        levels: MUST,
        clause: Clause {
            text: "RFC 6749 §3.3: scopes are printable ASCII without quotes and backslashes, separated by single spaces",
            link: "https://www.rfc-editor.org/rfc/rfc6749#section-3.3",
        },
        fix: "Separate the scopes in the challenge by one space, not by commas, and use only the allowed characters.",
        needs: Needs::Nothing,
        after: &["CHAL-06"],
        run: run!(refusals::scope_grammar),
    },
    Check {
        id: "CHAL-08",
        title: "The challenge does not ask for offline_access.",
        levels: SHOULD_2026_07,
        clause: Clause {
            text: "MCP authorization, \"Refresh Tokens\": servers SHOULD NOT include `offline_access` in the challenge's scope",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#refresh-tokens",
        },
        fix: "Leave `offline_access` out of the challenge, because a resource does not need refresh tokens.",
        needs: Needs::Nothing,
        after: &["CHAL-06"],
        run: run!(refusals::offline_access),
    },
    Check {
        id: "CHAL-09",
        title: "A token that no server has issued is answered with 401.",
        levels: MUST,
        clause: UNAUTHORIZED,
        fix: "Answer 401 to every token that cannot be verified, not 400, 403 or 500.",
        needs: Needs::Nothing,
        after: &["CHAL-01"],
        run: run!(refusals::garbage),
    },
    Check {
        id: "CHAL-10",
        title: "The challenge to a bad token says invalid_token.",
        levels: SHOULD,
        clause: CODES,
        fix: "Add `error=\"invalid_token\"` to the challenge if a token was sent and is not valid.",
        needs: Needs::Nothing,
        after: &["CHAL-09", "CHAL-02", "CHAL-03"],
        run: run!(refusals::invalid_token),
    },
    Check {
        id: "CHAL-11",
        title: "The token is not repeated in the answer.",
        levels: SHOULD,
        clause: Clause {
            text: "RFC 6750 §5.3: bearer tokens are safeguarded; an answer may be logged or shown",
            link: "https://www.rfc-editor.org/rfc/rfc6750#section-5.3",
        },
        fix: "Say what is wrong with a token without quoting it.",
        needs: Needs::Nothing,
        after: &[],
        run: run!(refusals::repeated),
    },
    Check {
        id: "CHAL-12",
        title: "A refusal shows nothing of the program's inside.",
        levels: SHOULD,
        clause: Clause {
            text: "OWASP ASVS 5.0 V16.5.1: errors show no stack traces and no internals",
            link: "https://github.com/OWASP/ASVS/blob/v5.0.0/5.0/en/0x25-V16-Security-Logging-and-Error-Handling.md",
        },
        fix: "Answer with a short sentence, and keep stack traces and file names in the log.",
        needs: Needs::Nothing,
        after: &[],
        run: run!(refusals::internals),
    },
    Check {
        id: "CHAL-13",
        title: "Another authentication scheme is challenged like no token.",
        levels: MUST,
        clause: UNAUTHORIZED,
        fix: "Treat an Authorization header of another scheme than Bearer as if it were absent: 401 with a Bearer challenge.",
        needs: Needs::Nothing,
        after: &["CHAL-01", "CHAL-02", "CHAL-03"],
        run: run!(refusals::other_scheme),
    },
    Check {
        id: "CHAL-14",
        title: "A malformed Authorization header is answered with 400 or 401.",
        levels: MUST,
        clause: Clause {
            text: "MCP authorization, \"Error Handling\": 400 for a malformed authorization request; RFC 6750 §3.1",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#error-handling",
        },
        fix: "Answer 400 (`invalid_request`) if nothing usable follows `Bearer`, and never fail on it.",
        needs: Needs::Nothing,
        after: &["CHAL-01"],
        run: run!(refusals::malformed),
    },
    Check {
        id: "CHAL-15",
        title: "No MCP method is open without a token.",
        levels: SHOULD,
        clause: Clause {
            text: "MCP authorization, \"Token Requirements\": authorization is included in every HTTP request",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#token-requirements",
        },
        fix: "Ask for a token before the message is read, so that no method is forgotten.",
        needs: Needs::Nothing,
        after: &["CHAL-01"],
        run: run!(refusals::every_method),
    },
    Check {
        id: "CHAL-16",
        title: "GET and DELETE give nothing without a token.",
        levels: MUST,
        clause: Clause {
            text: "MCP authorization, \"Token Requirements\": authorization is included in every HTTP request",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#token-requirements",
        },
        fix: "Ask for a token at GET and DELETE of the MCP endpoint too, or answer 405.",
        needs: Needs::Nothing,
        after: &[],
        run: run!(refusals::other_methods),
    },
];
