//! Arguments of a tool that a request repeats in headers (MCP 2026-07-28 "Custom Headers from Tool Parameters").

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

/// The headers `Mcp-Param-…` that a call of this tool needs.
///
/// # Errors
/// If the tool's definition breaks the rules for `x-mcp-header`: such a tool must not be used.
pub fn param_headers(
    schema: &Value,
    arguments: &Map<String, Value>,
) -> std::result::Result<Vec<(String, String)>, &'static str> {
    let mut marked = Vec::new();
    let all = count_marks(schema);
    find_marks(schema, &mut Vec::new(), &mut marked)?;
    if marked.len() != all {
        return Err("x-mcp-header stands where no parameter is");
    }
    let mut names: Vec<String> = marked.iter().map(|(_, name)| name.to_ascii_lowercase()).collect();
    names.sort();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("an x-mcp-header appears twice");
    }
    let mut headers = Vec::new();
    for (path, name) in marked {
        let value = path.iter().try_fold(None, |at: Option<&Value>, key| {
            Some(Some(match at {
                None => arguments.get(*key)?,
                Some(value) => value.get(*key)?,
            }))
        });
        let text = match value.flatten() {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(value)) => value.to_string(),
            Some(Value::Number(number)) => number.to_string(),
            _ => continue,
        };
        headers.push((format!("Mcp-Param-{name}"), header_value(&text)));
    }
    Ok(headers)
}

/// A value as a header may carry it ("Value Encoding").
pub fn header_value(text: &str) -> String {
    let plain = text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
        && text.trim_matches([' ', '\t']) == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    if plain { text.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(text)) }
}

type Mark<'a> = (Vec<&'a str>, &'a str);

/// Marks are valid only on primitive parameters that are reached through `properties` alone.
fn find_marks<'a>(
    schema: &'a Value,
    path: &mut Vec<&'a str>,
    marks: &mut Vec<Mark<'a>>,
) -> std::result::Result<(), &'static str> {
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    for (key, property) in properties {
        path.push(key);
        if let Some(name) = property.get("x-mcp-header") {
            let name =
                name.as_str().filter(|name| is_field_name(name)).ok_or("an x-mcp-header is not a valid header name")?;
            let kind = property["type"].as_str().filter(|kind| ["string", "integer", "boolean"].contains(kind));
            kind.ok_or("an x-mcp-header is on a parameter of another type")?;
            marks.push((path.clone(), name));
        }
        find_marks(property, path, marks)?;
        path.pop();
    }
    Ok(())
}

/// Counts all marks, but not properties that merely have this name.
fn count_marks(value: &Value) -> usize {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                if name == "properties" {
                    value.as_object().into_iter().flat_map(Map::values).map(count_marks).sum()
                } else {
                    usize::from(name == "x-mcp-header") + count_marks(value)
                }
            })
            .sum(),
        Value::Array(items) => items.iter().map(count_marks).sum(),
        _ => 0,
    }
}

fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_in_headers() {
        let schema = json!({ "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "deep": { "type": "object", "properties": { "n": { "type": "integer", "x-mcp-header": "N" } } },
            "absent": { "type": "string", "x-mcp-header": "Absent" },
        } });
        let arguments = json!({ "region": "Zürich", "deep": { "n": 7 }, "absent": null });
        let headers_of = |schema: &Value| param_headers(schema, arguments.as_object().unwrap());
        let mut found = headers_of(&schema).unwrap();
        found.sort();
        assert_eq!(
            found,
            [("Mcp-Param-N".into(), "7".into()), ("Mcp-Param-Region".into(), "=?base64?WsO8cmljaA==?=".into())]
        );
        for bad in [
            json!({ "properties": { "a": { "type": "number", "x-mcp-header": "A" } } }),
            json!({ "properties": { "a": { "type": "string", "x-mcp-header": "" } } }),
            json!({ "properties": { "a": { "type": "string", "x-mcp-header": "A\r\nB" } } }),
            json!({ "properties": { "a": { "type": "string", "x-mcp-header": "A" }, "b": { "type": "string", "x-mcp-header": "a" } } }),
            json!({ "properties": { "a": { "type": "array", "items": { "type": "string", "x-mcp-header": "A" } } } }),
            json!({ "anyOf": [{ "properties": { "a": { "type": "string", "x-mcp-header": "A" } } }] }),
        ] {
            assert!(headers_of(&bad).is_err(), "{bad}");
        }
        for (text, encoded) in [
            ("us-west1", "us-west1"),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(header_value(text), encoded);
        }
    }
}
