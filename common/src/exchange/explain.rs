//! What an exchange is, in one sentence for the request and one for the answer, and where that is specified.

use actix_web::http::{Method, StatusCode};

use super::{json::Json, seen::Seen};

/// An exchange, and what its bodies are.
pub(super) struct Exchange<'a> {
    pub(super) seen: &'a Seen,
    pub(super) form: &'a [(String, String)],
    pub(super) asked: Option<&'a Json>,
    pub(super) answered: Option<&'a Json>,
}

impl Exchange<'_> {
    fn parameter(&self, name: &str) -> &str {
        self.form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// What is asked for.
    pub(super) fn request(&self) -> String {
        let preflight = self.seen.asked.get("Access-Control-Request-Method");
        if self.seen.method == Method::OPTIONS && !preflight.is_empty() {
            let origin = self.seen.asked.get("Origin");
            return format!("A preflight: the browser asks whether a page of {origin} may send such a request (CORS)");
        }
        let what = match (self.seen.method.as_str(), &*self.seen.path) {
            ("POST", "/mcp") => return self.message(),
            ("GET", "/mcp") => "The client asks for an event stream (MCP, Streamable HTTP)",
            ("DELETE", "/mcp") => "The client ends a session (MCP, Streamable HTTP)",
            ("GET" | "HEAD", "/health") => "The health check: is the server there?",
            ("GET", "/docs") => "The documentation of the server, for people",
            ("GET", "/.well-known/jwks.json") => "The public keys that tokens are verified with (RFC 7517 §5)",
            ("GET", path) if path.starts_with("/.well-known/oauth-protected-resource") => {
                "Discovery: which authorization server issues tokens for this server? (RFC 9728 §3)"
            }
            ("GET", path) if path.starts_with("/.well-known/oauth-authorization-server") => {
                "Discovery: where are the endpoints of the authorization server? (RFC 8414 §3)"
            }
            ("GET", path) if path.starts_with("/.well-known/openid-configuration") => {
                "Discovery in the way of OpenID Connect, which says the same as RFC 8414"
            }
            ("GET", "/authorize") => {
                "The authorization request, which the client has the browser make (RFC 6749 §4.1.1, RFC 7636 §4.3)"
            }
            ("POST", "/authorize") if self.parameter("decision") == "deny" => {
                "The person denies what the client asks for"
            }
            ("POST", "/authorize") => "The person decides what the client may do: consent",
            ("GET", "/login") => "The log-in page",
            ("POST", "/login") => "The person logs in",
            ("POST", "/register") => "The client registers itself (RFC 7591 §3.1)",
            ("POST", "/revoke") => "The client withdraws a token (RFC 7009 §2.1)",
            ("POST", "/token") => match self.parameter("grant_type") {
                "authorization_code" => {
                    "The client exchanges the code for a token, and shows its code_verifier (RFC 6749 §4.1.3, RFC 7636 §4.5)"
                }
                "refresh_token" => "The client exchanges its refresh token for a new access token (RFC 6749 §6)",
                "client_credentials" => "The client asks for a token of its own: no person takes part (RFC 6749 §4.4)",
                _ => "The client asks for a token (RFC 6749 §3.2)",
            },
            _ => "Another request",
        };
        what.to_owned()
    }

    /// A message to the MCP server.
    fn message(&self) -> String {
        // Headers repeat what is in the body, which may not have been read.
        let header = |name| Some(self.seen.asked.get(name)).filter(|value| !value.is_empty());
        let method = self.asked.and_then(|json| json.text("method")).or_else(|| header("Mcp-Method"));
        let named = |kind: &str, rest: &str| {
            let name = self.asked.and_then(|json| json.get("params")?.text("name")).or_else(|| header("Mcp-Name"));
            match name {
                Some(name) => format!("the {kind} `{}`{rest}", name.chars().take(60).collect::<String>()),
                None => format!("a {kind} without a name"),
            }
        };
        let sent = self.seen.sent.borrow();
        let unseen = sent.length == 0 || !sent.is_whole();
        let what = match method {
            Some("initialize") => "client and server agree on a version of the protocol".to_owned(),
            Some("server/discover") => "what does the server offer, in which versions of the protocol?".to_owned(),
            Some("tools/list") => "which tools are there?".to_owned(),
            Some("tools/call") => format!("the client calls {}", named("tool", "")),
            Some("prompts/list") => "which prompts are there?".to_owned(),
            Some("prompts/get") => format!("the client asks for {}", named("prompt", ", filled in")),
            Some("ping") => "does the server answer?".to_owned(),
            Some(method) if method.starts_with("notifications/") => {
                "a notification, to which there is no response".to_owned()
            }
            Some(_) => "a JSON-RPC request".to_owned(),
            None if unseen => return "A message to the MCP server".to_owned(),
            None => return "Something that is no JSON-RPC request".to_owned(),
        };
        let method: String = method.unwrap_or_default().chars().take(60).collect();
        format!("`{method}`: {what}")
    }

    /// What the answer means.
    pub(super) fn answer(&self, status: StatusCode) -> Option<String> {
        let challenge = self.seen.answered.get("WWW-Authenticate");
        let error = self.error();
        let what = match (status.as_u16(), &*self.seen.path) {
            (401, "/token" | "/revoke") => "The client could not be authenticated (RFC 6749 §5.2).",
            (401, _) if challenge.contains("error=\"") => {
                "The token is refused; the challenge says why (RFC 6750 §3.1)."
            }
            (401, _) if challenge.contains("resource_metadata=") => {
                "No access token came with the request. The challenge says where to learn how to get one (RFC 9728 §5.1)."
            }
            (401, _) => "No access token came with the request. The challenge says which kind is needed (RFC 6750 §3).",
            (400, _) if !challenge.is_empty() => "The Authorization header cannot be understood (RFC 6750 §3.1).",
            (403, _) if challenge.contains("insufficient_scope") => {
                "The token is good, but a scope is missing. The challenge names it, so that the client can ask the person for it (RFC 6750 §3.1)."
            }
            (403, _) if error == "forbidden_origin" => "Pages of this origin may not call the server.",
            (403, _) if error == "forbidden_host" => {
                "The request names another host: this is how DNS rebinding is stopped."
            }
            (403, "/mcp") => {
                "The person's role does not allow it. Another token would not help, so there is no challenge."
            }
            (300..=399, _) => return Some(self.redirect()),
            (200, "/token") => "The access token is for the resource that its `aud` names (RFC 6749 §5.1).",
            (201, "/register") => "The client is known by this client_id from now on (RFC 7591 §3.2.1).",
            (200, "/revoke") => {
                "The token is not valid any more. The answer is the same if it never was (RFC 7009 §2.2)."
            }
            (400, "/token" | "/register" | "/revoke") => {
                return Some(format!("An error response: `{error}` (RFC 6749 §5.2)."));
            }
            (202, "/mcp") => "The notification is accepted; there is no response to it.",
            (200..=204, _) if self.seen.method == Method::OPTIONS => "The page may send what the answer allows.",
            (200, "/mcp") => return self.result(),
            _ => return None,
        };
        Some(what.to_owned())
    }

    /// The word in a refusal: in the body itself, or in the data of a JSON-RPC error.
    fn error(&self) -> &str {
        let Some(body) = self.answered else { return "" };
        let inner = || body.get("error")?.get("data")?.text("error");
        body.text("error").or_else(inner).unwrap_or_default()
    }

    fn redirect(&self) -> String {
        let location = self.seen.answered.get("Location");
        let query = location.split_once('?').map_or("", |(_, query)| query);
        let has = |name: &str| url::form_urlencoded::parse(query.as_bytes()).any(|(known, _)| known == name);
        let what = if has("code") {
            "The browser takes a code to the client, by the redirect URI (RFC 6749 §4.1.2, RFC 9207)."
        } else if has("error") {
            "The browser takes an error to the client, by the redirect URI (RFC 6749 §4.1.2.1)."
        } else {
            "The browser goes on to another page."
        };
        what.to_owned()
    }

    fn result(&self) -> Option<String> {
        let answered = self.answered?;
        if let Some(Json::Other(text)) = answered.get("result").and_then(|result| result.get("isError"))
            && text == "true"
        {
            return Some(
                "The tool reports an error in its result, where the model can read it and try again.".to_owned(),
            );
        }
        answered
            .get("error")
            .map(|_| "A JSON-RPC error: the request was understood as HTTP, but not carried out.".to_owned())
    }
}
