//! Turns `name=value` on the command line into what a tool's `inputSchema` asks for.

use client::{Failure, Result};
use serde_json::{Map, Value};

/// Integers beyond this lose digits in JavaScript and in many others' JSON, and may not be headers ("Custom Headers from
/// Tool Parameters").
const SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Splits `key=value`.
///
/// # Errors
/// If there is no `=`, or a key comes twice.
pub fn pairs(arguments: &[String]) -> Result<Vec<(&str, &str)>> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for argument in arguments {
        let Some((key, value)) = argument.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("{argument:?} is not an argument: write name=value")));
        };
        if pairs.iter().any(|(known, _)| *known == key) {
            return Err(Failure::usage(format!("{key} appears twice")));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// The arguments as the schema types them. What does not fit is said here, before anything is sent; the finer points are
/// the server's to judge.
///
/// # Errors
/// If an argument is unknown, missing or of another type.
pub fn typed(tool: &str, schema: &Value, pairs: &[(&str, &str)]) -> Result<Map<String, Value>> {
    let usage = |why: String| Err(Failure::usage(format!("{why}. {tool} takes: {}", describe(schema))));
    let properties = schema["properties"].as_object();
    let mut arguments = Map::new();
    for (key, text) in pairs {
        let value = match properties.and_then(|properties| properties.get(*key)) {
            Some(property) => value(text, property),
            None if schema["additionalProperties"] == Value::Bool(false) => {
                return usage(format!("{key} is not an argument of {tool}"));
            }
            None => Some(Value::String((*text).to_owned())),
        };
        match value {
            Some(value) => arguments.insert((*key).to_owned(), value),
            None if text.parse().is_ok_and(|number: f64| number.abs() > 9e15) => {
                return usage(format!("{key}={text} is too large, as integers go up to 2^53 - 1 only"));
            }
            None => return usage(format!("{key}={text} is not what it should be")),
        };
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required {
        if !arguments.contains_key(name) {
            return usage(format!("{name} is missing"));
        }
    }
    Ok(arguments)
}

/// A text as one of the values or types that the schema allows, the narrowest first; `None` if it matches no type or value.
fn value(text: &str, schema: &Value) -> Option<Value> {
    // What is listed is meant literally: `1` and `"1"` are two values.
    let listed = schema["enum"].as_array().cloned().or_else(|| schema.get("const").map(|one| vec![one.clone()]));
    if let Some(listed) = listed {
        let as_text = Value::String(text.to_owned());
        let as_json = || serde_json::from_str(text).ok().filter(|json: &Value| listed.contains(json));
        return if listed.contains(&as_text) { Some(as_text) } else { as_json() };
    }
    if let Some(choice) = ["anyOf", "oneOf"].iter().find_map(|name| schema[*name].as_array()) {
        let mut values: Vec<Value> = choice.iter().filter_map(|schema| value(text, schema)).collect();
        values.sort_by_key(Value::is_string);
        return values.into_iter().next();
    }
    let allowed: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        // Anything, or a reference: JSON if it is JSON, else text.
        _ => return Some(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))),
    };
    let json: Option<Value> = serde_json::from_str(text).ok();
    let fits = |kind: &str| match kind {
        "null" => matches!(json, Some(Value::Null)),
        "boolean" => matches!(json, Some(Value::Bool(_))),
        // 2.0 is an integer, as JSON Schema says.
        "integer" => json.as_ref().is_some_and(|json| integer(json).is_some()),
        "number" => matches!(json, Some(Value::Number(_))),
        "object" => matches!(json, Some(Value::Object(_))),
        "array" => matches!(json, Some(Value::Array(_))),
        _ => false,
    };
    if allowed.iter().any(|kind| fits(kind)) {
        let number = allowed.contains(&"number");
        return json.map(|json| integer(&json).filter(|_| !number).map_or(json, Value::from));
    }
    allowed.contains(&"string").then(|| Value::String(text.to_owned()))
}

/// A number that is an integer, as JSON Schema sees it (`2.0` is one), and that every reader of JSON reads as the same.
fn integer(json: &Value) -> Option<i64> {
    // Exact up to that bound, and what is beyond it stays beyond.
    #[allow(clippy::cast_possible_truncation, reason = "an integer within the bound")]
    let whole = |f: f64| (f.fract() == 0.0 && f.abs() <= 9_007_199_254_740_991.0).then_some(f as i64);
    let found = json.as_i64().or_else(|| json.as_f64().filter(|_| json.is_f64()).and_then(whole))?;
    (found.unsigned_abs() <= SAFE_INTEGER).then_some(found)
}

/// The arguments of a tool, in words: `message (string, required), repeat_count (integer)`.
pub fn describe(schema: &Value) -> String {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty()) else {
        return "no arguments".to_owned();
    };
    let one = |(name, property): (&String, &Value)| {
        let kind = match &property["type"] {
            Value::String(kind) => kind.clone(),
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
            _ if property["enum"].is_array() => "one of a list".to_owned(),
            _ if property["anyOf"].is_array() || property["oneOf"].is_array() => "a choice".to_owned(),
            _ => "any".to_owned(),
        };
        let required = if required.contains(&name.as_str()) { ", required" } else { "" };
        format!("{name} ({kind}{required})")
    };
    properties.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_typed_by_the_schema() {
        let schema = json!({
            "type": "object", "required": ["message"], "additionalProperties": false,
            "properties": {
                "message": { "type": "string" }, "count": { "type": "integer" }, "loud": { "type": "boolean" },
                "ratio": { "type": "number" }, "tags": { "type": "array" }, "maybe": { "type": ["string", "null"] }, "any": {},
            },
        });
        let call = |pairs: &[(&str, &str)]| {
            typed("echo", &schema, pairs).map(Value::Object).map_err(|failure| failure.message)
        };
        assert_eq!(
            call(&[
                ("message", "1"),
                ("count", "2"),
                ("loud", "true"),
                ("ratio", "0.5"),
                ("tags", "[1]"),
                ("maybe", "null"),
                ("any", "x")
            ])
            .unwrap(),
            json!({ "message": "1", "count": 2, "loud": true, "ratio": 0.5, "tags": [1], "maybe": null, "any": "x" })
        );
        assert_eq!(call(&[("message", "a=b"), ("count", "2.0")]).unwrap(), json!({ "message": "a=b", "count": 2 }));
        for (pairs, why) in [
            (&[][..], "message is missing"),
            (&[("message", "x"), ("count", "two")], "count=two"),
            (&[("message", "x"), ("count", "1.5")], "count=1.5"),
            (&[("message", "x"), ("loud", "yes")], "loud=yes"),
            (&[("message", "x"), ("count", "9007199254740992")], "count=9007199254740992"),
            (&[("message", "x"), ("count", "-9223372036854775808")], "count=-9223372036854775808"),
            (&[("message", "x"), ("count", "18446744073709551615")], "count=18446744073709551615"),
            (&[("message", "x"), ("count", "12345678901234567890123")], "count=12345678901234567890123"),
            (&[("message", "x"), ("other", "y")], "other is not an argument"),
        ] {
            let failure = call(pairs).unwrap_err();
            assert!(failure.contains(why) && failure.contains("message (string, required)"), "{failure}");
        }
    }

    #[test]
    fn choices_and_lists_of_values() {
        let text_or_null = json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] });
        let number_or_text = json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }] });
        for (text, schema, found) in [
            ("12345", &text_or_null, Some(json!("12345"))),
            ("null", &text_or_null, Some(Value::Null)),
            ("7", &number_or_text, Some(json!(7))),
            ("seven", &number_or_text, Some(json!("seven"))),
            ("1", &json!({ "enum": ["1", "2"] }), Some(json!("1"))),
            ("1", &json!({ "enum": [1, 2] }), Some(json!(1))),
            ("3", &json!({ "enum": [1, 2] }), None),
            ("x", &json!({ "const": "x" }), Some(json!("x"))),
            ("true", &json!({ "type": "boolean", "const": false }), None),
            ("x", &json!({ "anyOf": [{ "type": "integer" }, { "type": "boolean" }] }), None),
            ("9007199254740991", &json!({ "type": "integer" }), Some(json!(9_007_199_254_740_991_i64))),
            ("1.5", &json!({ "type": ["integer", "number"] }), Some(json!(1.5))),
        ] {
            assert_eq!(value(text, schema), found, "{text} {schema}");
        }
    }

    #[test]
    fn pairs_have_a_key_each() {
        let split = |arguments: &[&str]| {
            pairs(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>()).map(|pairs| pairs.len()).is_ok()
        };
        assert!(split(&["a=1", "b="]));
        assert!(!split(&["a"]) && !split(&["=a"]) && !split(&["a=1", "a=2"]));
    }
}
