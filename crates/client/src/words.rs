//! What a server says when it refuses a request: the body of an error response, for people.

use serde_json::Value;

use crate::escape;

/// The parts of such a body, each on one line and safe to print.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// One word, such as an OAuth error code.
    pub error: Option<String>,
    /// A sentence.
    pub description: Option<String>,
    /// The id of the refusal in the server's log.
    pub correlation_id: Option<String>,
    pub advice: Option<String>,
}

impl Words {
    /// Reads a JSON-RPC error response (whose `data` may have more), or `error` and `error_description` side by side
    /// (RFC 6750 §3.1, RFC 6749 §5.2). Any other body has no words.
    pub fn of(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let (description, more) = match &body["error"] {
            error @ Value::Object(_) => (&error["message"], &error["data"]),
            _ => (&body["error_description"], &body),
        };
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(escape::line);
        Words {
            error: text(&more["error"]),
            description: text(description),
            correlation_id: text(&more["correlation_id"]),
            advice: text(&more["advice"]),
        }
    }

    /// `error, description`, as far as there are such.
    pub fn sentence(&self) -> Option<String> {
        let parts: Vec<&str> = [&self.error, &self.description].into_iter().flatten().map(String::as_str).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_understood_and_nothing_else() {
        let data =
            json!({ "error": "invalid_token", "reason": "expired", "correlation_id": "abc", "advice": "Ask again." });
        let error = json!({ "code": 401, "message": "It has\u{1b}[2J expired.", "data": data });
        let words = Words::of(json!({ "jsonrpc": "2.0", "id": null, "error": error }).to_string().as_bytes());
        assert_eq!(words.sentence().as_deref(), Some("invalid_token, It has\\u{1b}[2J expired."));
        assert_eq!((words.correlation_id.as_deref(), words.advice.as_deref()), (Some("abc"), Some("Ask again.")));
        for (body, sentence) in [
            (json!({ "error": "forbidden", "error_description": "Not here." }), Some("forbidden, Not here.")),
            (json!({ "error": { "code": -32600, "message": "No." } }), Some("No.")),
            (json!({ "error": { "code": 403 } }), None),
            (json!({ "error": "", "error_description": null }), None),
            (json!({ "message": "x" }), None),
            (json!("x"), None),
            (json!(null), None),
        ] {
            assert_eq!(Words::of(body.to_string().as_bytes()).sentence().as_deref(), sentence, "{body}");
        }
        assert_eq!(Words::of(b"<html>"), Words::default());
    }
}
