//! One JSON-RPC message, read to decide who may send it, by the rules of step 2: one object, no batch, and no member
//! twice, at any depth, since the server behind might take the other one. Its header `Mcp-Name` is not looked at.

use serde_json::{Map, Value, json, value::RawValue};

use crate::json::Members;

/// A message that is a request or a notification.
pub struct Message {
    /// The method.
    pub method: String,
    /// `None`: a notification.
    pub id: Option<Box<RawValue>>,
    params: Map<String, Value>,
}

/// A body that is not such a message: the code and the sentence of a JSON-RPC error, and the `id`, if that can be read.
pub struct Malformed {
    pub code: i32,
    pub message: &'static str,
    pub id: Option<Box<RawValue>>,
}

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
pub const INVALID_PARAMS: i32 = -32602;

impl Message {
    /// Reads a body.
    ///
    /// # Errors
    /// If it is not one request or notification.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let bad = |code, message| Malformed { code, message, id: None };
        let mut members = match serde_json::from_slice::<Members>(body) {
            Ok(members) => members.0,
            Err(error) if error.is_syntax() || error.is_eof() => return Err(bad(PARSE_ERROR, "The body is not JSON.")),
            Err(_) => return Err(bad(INVALID_REQUEST, "A message is one JSON object, and names each member once.")),
        };
        let given = members.remove("id");
        let id = given.clone().filter(is_id).map(|id| written(&id));
        let bad = |message| Malformed { code: INVALID_REQUEST, message, id: id.clone() };
        if members.get("jsonrpc") != Some(&json!("2.0")) {
            return Err(bad("The member jsonrpc must be \"2.0\"."));
        }
        let Some(Value::String(method)) = members.remove("method") else {
            return Err(bad("The member method must be a string: this endpoint takes requests and notifications."));
        };
        if given.is_some() && id.is_none() {
            return Err(bad("The member id must be a string or an integer."));
        }
        match members.remove("params") {
            None | Some(Value::Null) => Ok(Message { method, id, params: Map::new() }),
            Some(Value::Object(params)) => Ok(Message { method, id, params }),
            Some(_) => Err(bad("The member params must be an object.")),
        }
    }

    /// The name of the tool or prompt, for methods that have one.
    pub fn name(&self) -> Option<&str> {
        self.params.get("name")?.as_str()
    }
}

fn is_id(id: &Value) -> bool {
    id.is_string() || id.is_i64() || id.is_u64()
}

/// A string or an integer as JSON.
fn written(id: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(id).expect("it is JSON already")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_object_that_names_each_member_once() {
        for (body, code) in [
            ("", PARSE_ERROR),
            ("{", PARSE_ERROR),
            ("{}x", PARSE_ERROR),
            ("\u{feff}{}", PARSE_ERROR),
            ("[]", INVALID_REQUEST),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, INVALID_REQUEST),
            ("{}", INVALID_REQUEST),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"a","n\u0061me":"b"}}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"x":[{"y":1,"y":2}]}}}"#, INVALID_REQUEST),
        ] {
            assert_eq!(Message::read(body.as_bytes()).err().map(|malformed| malformed.code), Some(code), "{body}");
        }
        assert!(Message::read(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}").is_err());
        assert!(Message::read(br#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#).is_err());
        assert!(Message::read("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn what_is_called_is_read_from_the_body() {
        let body = br#"{"id":"a\"b","params":{"name":"\u0065cho","arguments":{"name":"other"}},"method":"tools\/call","jsonrpc":"2.0"}"#;
        let message = Message::read(body).ok().unwrap();
        assert_eq!((&*message.method, message.name()), ("tools/call", Some("echo")));
        assert_eq!(message.id.unwrap().get(), r#""a\"b""#);
        let notification = Message::read(br#"{"jsonrpc":"2.0","method":"notifications/initialized","params":null}"#);
        assert!(notification.ok().unwrap().id.is_none());
    }
}
