//! JSON on a terminal, which no server may use to move the cursor.

use std::fmt::Write;

use client::escape::is_unsafe;
use serde_json::Value;

/// JSON on several lines. What is unsafe on a terminal is escaped JSON's own way, so that it stays the same JSON.
pub fn terminal_json(value: &Value) -> String {
    let mut safe = String::new();
    for c in format!("{value:#}").chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn escaped_json_is_the_same_json() {
        let value = json!({ "text": "\u{1b}]0;title\u{7} \u{9b} \u{202e} \u{e0041} ä\n" });
        let shown = terminal_json(&value);
        assert!(!shown.chars().any(is_unsafe));
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
    }
}
