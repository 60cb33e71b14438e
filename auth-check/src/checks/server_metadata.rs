//! What the authorization server says of itself (RFC 8414, OpenID Connect Discovery).

use super::{server_documents, server_members};
use crate::{
    check::{Check, MUST, Run, SHOULD, SHOULD_2025_11, SHOULD_2026_07, run},
    model::{Clause, Level, Needs, Revision},
};

const METADATA: Clause = Clause {
    text: "RFC 8414 §2: which members are required, and what each says",
    link: "https://www.rfc-editor.org/rfc/rfc8414#section-2",
};
const RESPONSE: Clause = Clause {
    text: "RFC 8414 §3.2: 200 with application/json; a member without a value is left out",
    link: "https://www.rfc-editor.org/rfc/rfc8414#section-3.2",
};
const HTTPS: Clause = Clause {
    text: "MCP authorization, \"Communication Security\": all endpoints MUST be served over HTTPS",
    link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/security-considerations#communication-security",
};
const PKCE: Clause = Clause {
    text: "MCP authorization, \"Authorization Code Protection\": without `code_challenge_methods_supported` clients MUST refuse to proceed",
    link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/security-considerations#authorization-code-protection",
};

/// A check of this group, which needs nothing but the document.
const fn of_document(
    id: &'static str,
    title: &'static str,
    levels: &'static [(Revision, Level)],
    clause: Clause,
    fix: &'static str,
    run: Run,
) -> Check {
    Check { id, title, levels, clause, fix, needs: Needs::Nothing, after: &["ASM-01"], run }
}

pub const CHECKS: &[Check] = &[
    Check {
        id: "ASM-01",
        title: "A client finds the metadata of each authorization server.",
        levels: &[(Revision::R2025_03_26, Level::Should), (Revision::R2025_06_18, Level::Must)],
        clause: Clause {
            text: "MCP authorization, \"Overview\": RFC 8414 or OpenID Connect Discovery, at the places of \"Authorization Server Metadata Discovery\"",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/authorization-server-discovery#authorization-server-metadata-discovery",
        },
        fix: "Serve the document at /.well-known/oauth-authorization-server, followed by the issuer's path if it has one.",
        needs: Needs::Nothing,
        after: &["PRM-01", "PRM-06"],
        run: run!(server_documents::found),
    },
    of_document(
        "ASM-02",
        "The document is sent as application/json.",
        MUST,
        RESPONSE,
        "Send the document with `Content-Type: application/json`.",
        run!(server_documents::content_type),
    ),
    of_document(
        "ASM-03",
        "The document's members have their types.",
        MUST,
        METADATA,
        "Give the document an `issuer` (a string), and make lists lists of strings and flags true or false.",
        run!(server_documents::members),
    ),
    of_document(
        "ASM-04",
        "The document is about the issuer that was asked for.",
        MUST,
        Clause {
            text: "RFC 8414 §3.3: `issuer` is identical to the issuer that the client started from, else the document MUST NOT be used",
            link: "https://www.rfc-editor.org/rfc/rfc8414#section-3.3",
        },
        "Make `issuer` the same text as in the resource's `authorization_servers`, letter for letter.",
        run!(server_documents::identical),
    ),
    of_document(
        "ASM-05",
        "The document has no empty members.",
        MUST,
        RESPONSE,
        "Leave a member out instead of sending null, an empty list or an empty string.",
        run!(server_documents::empty),
    ),
    of_document(
        "ASM-06",
        "The document names the authorization and the token endpoint.",
        MUST,
        METADATA,
        "Add `authorization_endpoint` and `token_endpoint`.",
        run!(server_members::endpoints),
    ),
    of_document(
        "ASM-07",
        "All endpoints are https URLs without a fragment.",
        MUST,
        HTTPS,
        "Make each endpoint an https URL without a fragment (http is for loopback).",
        run!(server_members::secure_endpoints),
    ),
    of_document(
        "ASM-08",
        "The document says that there is a code flow.",
        MUST,
        METADATA,
        "Add `response_types_supported` with `code`.",
        run!(server_members::response_types),
    ),
    of_document(
        "ASM-09",
        "The document says that there is PKCE with S256.",
        &[(Revision::R2025_03_26, Level::Should), (Revision::R2025_11_25, Level::Must)],
        PKCE,
        "Add `code_challenge_methods_supported` with `S256`.",
        run!(server_members::pkce),
    ),
    of_document(
        "ASM-10",
        "The document does not offer PKCE without a hash.",
        SHOULD,
        Clause {
            text: "RFC 9700 §2.1.1: with `plain` whoever sees the request has the verifier; S256 is the method that does not expose it",
            link: "https://www.rfc-editor.org/rfc/rfc9700#section-2.1.1",
        },
        "Leave `plain` out of `code_challenge_methods_supported`, and refuse it.",
        run!(server_members::plain),
    ),
    of_document(
        "ASM-11",
        "The document offers no grant that OAuth 2.1 has removed.",
        MUST,
        Clause {
            text: "OAuth 2.1 draft 13 §10: the implicit grant and the password grant are omitted",
            link: "https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-10",
        },
        "Remove `implicit` and `password` from `grant_types_supported`, and `token` from `response_types_supported`.",
        run!(server_members::removed),
    ),
    of_document(
        "ASM-12",
        "Authorization responses name the issuer.",
        SHOULD_2026_07,
        Clause {
            text: "MCP authorization, \"Authorization Response Validation\": `iss` SHOULD be included, and MUST then be advertised (RFC 9207 §2.3)",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#authorization-response-validation",
        },
        "Send `iss` in authorization responses, and set `authorization_response_iss_parameter_supported` to true.",
        run!(server_members::iss),
    ),
    of_document(
        "ASM-13",
        "Clients can be described by a document of theirs.",
        SHOULD_2025_11,
        Clause {
            text: "MCP authorization, \"Overview\": authorization servers SHOULD support Client ID Metadata Documents",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/client-registration#advertising-cimd-support",
        },
        "Support Client ID Metadata Documents and set `client_id_metadata_document_supported` to true.",
        run!(server_members::client_documents),
    ),
    of_document(
        "ASM-14",
        "Clients that can keep no secret are welcome.",
        &[(Revision::R2025_03_26, Level::May)],
        Clause {
            text: "RFC 8414 §2: without `token_endpoint_auth_methods_supported` the method is client_secret_basic",
            link: "https://www.rfc-editor.org/rfc/rfc8414#section-2",
        },
        "Add `none` to `token_endpoint_auth_methods_supported`: clients on a person's computer have no secret.",
        run!(server_members::public_clients),
    ),
    of_document(
        "ASM-15",
        "The key set can be read.",
        MUST,
        Clause {
            text: "RFC 8414 §2 (`jwks_uri`), RFC 7517 §5: a JSON object with a list `keys`",
            link: "https://www.rfc-editor.org/rfc/rfc7517#section-5",
        },
        "Serve a key set with at least one key for signatures at `jwks_uri`.",
        run!(server_documents::key_set),
    ),
    of_document(
        "ASM-16",
        "The key set has no private key.",
        MUST,
        Clause {
            text: "RFC 7517 §9.2: private key material is protected from being read",
            link: "https://www.rfc-editor.org/rfc/rfc7517#section-9.2",
        },
        "Publish public keys only, and replace the keys that were published.",
        run!(server_documents::leaked),
    ),
    of_document(
        "ASM-17",
        "The key set has no RSA key of fewer than 2048 bits.",
        MUST,
        Clause {
            text: "RFC 7518 §3.3: a key of 2048 bits or larger MUST be used",
            link: "https://www.rfc-editor.org/rfc/rfc7518#section-3.3",
        },
        "Replace the key by one of at least 2048 bits.",
        run!(server_documents::short_keys),
    ),
    of_document(
        "ASM-18",
        "Clients are not invited to sign with `none`.",
        MUST,
        Clause {
            text: "RFC 8414 §2, `token_endpoint_auth_signing_alg_values_supported`: the value `none` MUST NOT be used",
            link: "https://www.rfc-editor.org/rfc/rfc8414#section-2",
        },
        "Remove `none` from `token_endpoint_auth_signing_alg_values_supported`.",
        run!(server_members::alg_none),
    ),
    of_document(
        "ASM-19",
        "Whoever offers signed client authentication says with which algorithms.",
        MUST,
        Clause {
            text: "RFC 8414 §2: with `private_key_jwt` or `client_secret_jwt`, `token_endpoint_auth_signing_alg_values_supported` MUST be there",
            link: "https://www.rfc-editor.org/rfc/rfc8414#section-2",
        },
        "Add `token_endpoint_auth_signing_alg_values_supported`.",
        run!(server_members::signing_algorithms),
    ),
];
