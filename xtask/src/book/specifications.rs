//! The specifications that the sources cite: their titles, and where they can be read.

/// The titles of the RFCs.
const RFCS: [(u16, &str); 41] = [
    (3339, "Date and Time on the Internet: Timestamps"),
    (3986, "Uniform Resource Identifier (URI): Generic Syntax"),
    (4291, "IP Version 6 Addressing Architecture"),
    (6265, "HTTP State Management Mechanism"),
    (6454, "The Web Origin Concept"),
    (6749, "The OAuth 2.0 Authorization Framework"),
    (6750, "The OAuth 2.0 Authorization Framework: Bearer Token Usage"),
    (6890, "Special-Purpose IP Address Registries"),
    (7009, "OAuth 2.0 Token Revocation"),
    (7239, "Forwarded HTTP Extension"),
    (7515, "JSON Web Signature (JWS)"),
    (7517, "JSON Web Key (JWK)"),
    (7518, "JSON Web Algorithms (JWA)"),
    (7519, "JSON Web Token (JWT)"),
    (7521, "Assertion Framework for OAuth 2.0 Client Authentication and Authorization Grants"),
    (7523, "JSON Web Token (JWT) Profile for OAuth 2.0 Client Authentication and Authorization Grants"),
    (7591, "OAuth 2.0 Dynamic Client Registration Protocol"),
    (7617, "The 'Basic' HTTP Authentication Scheme"),
    (7636, "Proof Key for Code Exchange by OAuth Public Clients"),
    (7638, "JSON Web Key (JWK) Thumbprint"),
    (7662, "OAuth 2.0 Token Introspection"),
    (7800, "Proof-of-Possession Key Semantics for JSON Web Tokens (JWTs)"),
    (8037, "CFRG Elliptic Curve Diffie-Hellman (ECDH) and Signatures in JOSE"),
    (8252, "OAuth 2.0 for Native Apps"),
    (8259, "The JavaScript Object Notation (JSON) Data Interchange Format"),
    (8414, "OAuth 2.0 Authorization Server Metadata"),
    (8615, "Well-Known Uniform Resource Identifiers (URIs)"),
    (8693, "OAuth 2.0 Token Exchange"),
    (8705, "OAuth 2.0 Mutual-TLS Client Authentication and Certificate-Bound Access Tokens"),
    (8707, "Resource Indicators for OAuth 2.0"),
    (8725, "JSON Web Token Best Current Practices"),
    (9068, "JSON Web Token (JWT) Profile for OAuth 2.0 Access Tokens"),
    (9106, "Argon2 Memory-Hard Function for Password Hashing and Proof-of-Work Applications"),
    (9110, "HTTP Semantics"),
    (9111, "HTTP Caching"),
    (9112, "HTTP/1.1"),
    (9207, "OAuth 2.0 Authorization Server Issuer Identification"),
    (9449, "OAuth 2.0 Demonstrating Proof of Possession (DPoP)"),
    (9700, "Best Current Practice for OAuth 2.0 Security"),
    (9728, "OAuth 2.0 Protected Resource Metadata"),
    (
        9864,
        "Fully-Specified Algorithms for JSON Object Signing and Encryption (JOSE) and CBOR Object Signing and Encryption (COSE)",
    ),
];

/// Titles of pages, and of headings in them, of MCP's specification, with their addresses below a version's.
const MCP: [(&str, &str); 29] = [
    ("Authorization Flow Steps", "basic/authorization#authorization-flow-steps"),
    ("Authorization Server Binding", "basic/authorization/client-registration#authorization-server-binding"),
    ("Authorization Server Discovery", "basic/authorization/authorization-server-discovery"),
    (
        "Authorization Server Location",
        "basic/authorization/authorization-server-discovery#authorization-server-location",
    ),
    (
        "Authorization Server Metadata Discovery",
        "basic/authorization/authorization-server-discovery#authorization-server-metadata-discovery",
    ),
    ("Base Protocol", "basic"),
    ("Canonical Server URI", "basic/authorization#canonical-server-uri"),
    ("Client Registration", "basic/authorization/client-registration"),
    ("Custom Headers from Tool Parameters", "basic/transports/streamable-http#custom-headers-from-tool-parameters"),
    ("Discovery", "server/discover"),
    ("Lifecycle", "basic/lifecycle"),
    ("Open Redirection", "basic/authorization/security-considerations#open-redirection"),
    ("Pagination", "server/utilities/pagination"),
    ("Ping", "basic/utilities/ping"),
    ("Prompts", "server/prompts"),
    (
        "Protected Resource Metadata Discovery Requirements",
        "basic/authorization/authorization-server-discovery#protected-resource-metadata-discovery-requirements",
    ),
    ("Protocol Version Negotiation", "basic/versioning#protocol-version-negotiation"),
    ("Schema Reference", "schema"),
    ("Scope Challenge Handling", "basic/authorization#scope-challenge-handling"),
    ("Scope Minimization", "docs/tutorials/security/security_best_practices#scope-minimization"),
    ("Scope Selection Strategy", "basic/authorization#scope-selection-strategy"),
    ("Security Best Practices", "docs/tutorials/security/security_best_practices"),
    ("Sending Messages to the Server", "basic/transports#sending-messages-to-the-server"),
    ("Server Validation", "basic/transports/streamable-http#server-validation"),
    ("Step-Up Authorization Flow", "basic/authorization#step-up-authorization-flow"),
    ("Streamable HTTP", "basic/transports/streamable-http"),
    ("Tools", "server/tools"),
    ("Versioning", "basic/versioning"),
    ("Versioning and Compatibility", "basic/versioning"),
];

/// A place in a specification.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A page or a heading of MCP's, and its version.
    Mcp { title: String, version: String },
    /// A section of OAuth 2.1, which is a draft.
    OAuth { section: Section },
    /// A section of an RFC, or the RFC as a whole.
    Rfc { number: u16, section: Section },
}

/// "4.1.11" or "B.2", in its parts, so that 4.10 comes after 4.9. Nothing in it: the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Section(Vec<Result<u16, String>>);

impl Section {
    pub fn new(text: &str) -> Self {
        let part = |part: &str| part.parse().map_err(|_| part.to_owned());
        Section(text.split('.').filter(|part| !part.is_empty()).map(part).collect())
    }

    fn text(&self) -> String {
        let part = |part: &Result<u16, String>| part.as_ref().map_or_else(Clone::clone, u16::to_string);
        self.0.iter().map(part).collect::<Vec<_>>().join(".")
    }

    /// "#section-4.1", as rfc-editor.org and datatracker.ietf.org have it.
    fn anchor(&self) -> String {
        match self.0.first() {
            None => String::new(),
            Some(Ok(_)) => format!("#section-{}", self.text()),
            Some(Err(_)) => format!("#appendix-{}", self.text()),
        }
    }
}

impl Place {
    /// The title of the document, if we know it.
    pub fn document(&self) -> Option<String> {
        match self {
            Place::Mcp { .. } => Some("Model Context Protocol".to_owned()),
            Place::OAuth { .. } => Some("The OAuth 2.1 Authorization Framework (draft)".to_owned()),
            Place::Rfc { number, .. } => {
                let title = RFCS.iter().find(|(known, _)| known == number)?.1;
                Some(format!("RFC {number}: {title}"))
            }
        }
    }

    /// The title of the section.
    pub fn title(&self) -> String {
        match self {
            Place::Mcp { title, version } if version == "2026-07-28" => title.clone(),
            Place::Mcp { title, version } => format!("{title} ({version})"),
            Place::OAuth { section } | Place::Rfc { section, .. } if section.0.is_empty() => "as a whole".to_owned(),
            Place::OAuth { section } | Place::Rfc { section, .. } => format!("§{}", section.text()),
        }
    }

    /// Where to read it, if we know it.
    pub fn url(&self) -> Option<String> {
        match self {
            Place::Mcp { title, version } => {
                let path = MCP.iter().find(|(known, _)| known == title)?.1;
                let site = "https://modelcontextprotocol.io";
                Some(match path.strip_prefix("docs/") {
                    Some(page) => format!("{site}/docs/{version}/{page}"),
                    None => format!("{site}/specification/{version}/{path}"),
                })
            }
            Place::OAuth { section } => {
                Some(format!("https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13{}", section.anchor()))
            }
            Place::Rfc { number, section } => {
                Some(format!("https://www.rfc-editor.org/rfc/rfc{number}{}", section.anchor()))
            }
        }
    }
}
