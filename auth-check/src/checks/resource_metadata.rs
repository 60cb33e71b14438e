//! What the resource says of itself (RFC 9728).

use super::resource_document;
use crate::{
    check::{Check, MUST_2025_06, SHOULD_2025_06, SHOULD_2026_07, run},
    model::{Clause, Needs},
};

const LOCATION: Clause = Clause {
    text: "MCP authorization, \"Authorization Server Location\": servers MUST implement RFC 9728, with `authorization_servers`",
    link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/authorization-server-discovery#authorization-server-location",
};
const MEMBERS: Clause = Clause {
    text: "RFC 9728 §2: `resource` is required, and each member has its type",
    link: "https://www.rfc-editor.org/rfc/rfc9728#section-2",
};
const RESPONSE: Clause = Clause {
    text: "RFC 9728 §3.2: 200 with application/json; a member without a value is left out",
    link: "https://www.rfc-editor.org/rfc/rfc9728#section-3.2",
};

pub const CHECKS: &[Check] = &[
    Check {
        id: "PRM-01",
        title: "A client finds the resource's metadata.",
        levels: MUST_2025_06,
        clause: LOCATION,
        fix: "Serve the document at /.well-known/oauth-protected-resource followed by the MCP endpoint's path, without a token.",
        needs: Needs::Nothing,
        after: &[],
        run: run!(resource_document::found),
    },
    Check {
        id: "PRM-02",
        title: "The place that the challenge names has the document.",
        levels: MUST_2025_06,
        clause: Clause {
            text: "RFC 9728 §5.1: `resource_metadata` is the URL of the document",
            link: "https://www.rfc-editor.org/rfc/rfc9728#section-5.1",
        },
        fix: "Make `resource_metadata` an absolute URL at which the document is served.",
        needs: Needs::Nothing,
        after: &["CHAL-04"],
        run: run!(resource_document::challenged),
    },
    Check {
        id: "PRM-03",
        title: "The document is sent as application/json.",
        levels: MUST_2025_06,
        clause: RESPONSE,
        fix: "Send the document with `Content-Type: application/json`.",
        needs: Needs::Nothing,
        after: &["PRM-01"],
        run: run!(resource_document::content_type),
    },
    Check {
        id: "PRM-04",
        title: "The document has its required members, of their types.",
        levels: MUST_2025_06,
        clause: MEMBERS,
        fix: "Give the document a `resource` (a string), and make lists lists of strings.",
        needs: Needs::Nothing,
        after: &["PRM-01"],
        run: run!(resource_document::members),
    },
    Check {
        id: "PRM-05",
        title: "The document is about the URL that the client uses.",
        levels: MUST_2025_06,
        clause: Clause {
            text: "RFC 9728 §3.3: `resource` is identical to the identifier that the client started from, else the document MUST NOT be used",
            link: "https://www.rfc-editor.org/rfc/rfc9728#section-3.3",
        },
        fix: "Make `resource` the MCP endpoint's URL, letter for letter: with its path, and without a slash that is not there.",
        needs: Needs::Nothing,
        after: &["PRM-04"],
        run: run!(resource_document::identical),
    },
    Check {
        id: "PRM-06",
        title: "The document names an authorization server.",
        levels: MUST_2025_06,
        clause: LOCATION,
        fix: "List at least one issuer in `authorization_servers`.",
        needs: Needs::Nothing,
        after: &["PRM-01"],
        run: run!(resource_document::names_a_server),
    },
    Check {
        id: "PRM-07",
        title: "The document is at a well-known place.",
        levels: SHOULD_2025_06,
        clause: Clause {
            text: "RFC 9728 §3: the document is at a URL made from the resource's by inserting the well-known path",
            link: "https://www.rfc-editor.org/rfc/rfc9728#section-3",
        },
        fix: "Serve the document at the well-known place too, for clients that do not read the challenge.",
        needs: Needs::Nothing,
        after: &["PRM-01"],
        run: run!(resource_document::well_known),
    },
    Check {
        id: "PRM-08",
        title: "The document has no empty members.",
        levels: MUST_2025_06,
        clause: RESPONSE,
        fix: "Leave a member out instead of sending null, an empty list or an empty string.",
        needs: Needs::Nothing,
        after: &["PRM-01"],
        run: run!(resource_document::empty),
    },
    Check {
        id: "PRM-09",
        title: "The document does not list offline_access.",
        levels: SHOULD_2026_07,
        clause: Clause {
            text: "MCP authorization, \"Refresh Tokens\": servers SHOULD NOT include `offline_access` in `scopes_supported`",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#refresh-tokens",
        },
        fix: "Leave `offline_access` out of `scopes_supported`.",
        needs: Needs::Nothing,
        after: &["PRM-01"],
        run: run!(resource_document::offline_access),
    },
    Check {
        id: "PRM-10",
        title: "The document does not offer tokens in the query.",
        levels: MUST_2025_06,
        clause: Clause {
            text: "MCP authorization, \"Token Requirements\": access tokens MUST NOT be in the URI's query",
            link: "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#token-requirements",
        },
        fix: "Make `bearer_methods_supported` `[\"header\"]`.",
        needs: Needs::Nothing,
        after: &["PRM-01"],
        run: run!(resource_document::query),
    },
    Check {
        id: "PRM-11",
        title: "The resource is an https URL without a fragment.",
        levels: MUST_2025_06,
        clause: MEMBERS,
        fix: "Make `resource` an https URL without a fragment (http is for loopback).",
        needs: Needs::Nothing,
        after: &["PRM-04"],
        run: run!(resource_document::url),
    },
    Check {
        id: "PRM-12",
        title: "The document's scopes are scopes.",
        levels: MUST_2025_06,
        clause: Clause {
            text: "RFC 9728 §2: `scopes_supported` is a list of scopes (RFC 6749 §3.3: no spaces, quotes and backslashes)",
            link: "https://www.rfc-editor.org/rfc/rfc9728#section-2",
        },
        fix: "List each scope by itself, not several in one text.",
        needs: Needs::Nothing,
        after: &["PRM-04"],
        run: run!(resource_document::scopes),
    },
    Check {
        id: "PRM-13",
        title: "The document names authorization servers by their issuer URLs.",
        levels: MUST_2025_06,
        clause: Clause {
            text: "RFC 8414 §2: an issuer is an https URL without query and fragment",
            link: "https://www.rfc-editor.org/rfc/rfc8414#section-2",
        },
        fix: "List issuers (https URLs without query and fragment), not endpoints or names.",
        needs: Needs::Nothing,
        after: &["PRM-06"],
        run: run!(resource_document::issuers),
    },
    Check {
        id: "PRM-14",
        title: "A caller cannot change the document by a header.",
        levels: SHOULD_2025_06,
        clause: Clause {
            text: "RFC 9728 §7.3: whoever changes the document sends clients to another authorization server",
            link: "https://www.rfc-editor.org/rfc/rfc9728#section-7.3",
        },
        fix: "Build the document's URLs from the configured public URL, never from Host, Forwarded or X-Forwarded-Host.",
        needs: Needs::Nothing,
        after: &["PRM-01"],
        run: run!(resource_document::forwarded),
    },
];
