//! Responses.

use anyhow::Result;
use reqwest::{RequestBuilder, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A response, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// If it is missing.
    pub async fn of(request: RequestBuilder) -> Result<Self> {
        let response: Response = request.send().await?;
        Ok(Reply { status: response.status(), headers: response.headers().clone(), text: response.text().await? })
    }

    /// Sends all of these at once.
    ///
    /// # Errors
    /// If an answer is missing.
    pub async fn of_all(requests: impl Iterator<Item = RequestBuilder>) -> Result<Vec<Self>> {
        let mut all = JoinSet::new();
        for request in requests {
            all.spawn(Self::of(request));
        }
        all.join_all().await.into_iter().collect()
    }

    /// The body as JSON; `null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// What a refusal on `/mcp` says: `error`, `error_description` and what else there is, from whichever form its body
    /// must have. `id`: what the server knew of the request's; null if it had not read the message.
    ///
    /// # Panics
    /// If the body has the wrong form.
    pub fn refusal(&self, id: &Value) -> Value {
        let body = self.json();
        let flat = id.is_null() && !matches!(self.status.as_u16(), 401 | 403);
        if flat {
            assert!(body["error"].is_string() && body["error_description"].is_string(), "{self:?}");
            return body;
        }
        let error = &body["error"];
        let mut said = error["data"].clone();
        assert!(said["error"].is_string() && said.get("error_description").is_none(), "{self:?}");
        let whole = json!({ "code": self.status.as_u16(), "message": error["message"], "data": said });
        assert_eq!(body, json!({ "jsonrpc": "2.0", "id": id, "error": whole }), "{self:?}");
        assert!(error["message"].is_string(), "{self:?}");
        said["error_description"] = error["message"].clone();
        said
    }

    /// A header's value; the empty text if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The status and the code of the JSON-RPC error (0: none).
    pub fn outcome(&self) -> (u16, i64) {
        (self.status.as_u16(), self.json()["error"]["code"].as_i64().unwrap_or_default())
    }
}
