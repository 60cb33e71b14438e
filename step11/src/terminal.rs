//! What reaches the person's eyes. A server chooses many of these texts: names of tools, results, errors. None of them
//! may move the cursor, paint over the screen or turn the reading direction round.

use std::fmt::Write;

use serde_json::Value;

/// Control characters (all but the line break and the tab), and those that reverse or hide text.
fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text with what is unsafe made visible, as `\u{1b}`.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe
}

/// The same for a text that belongs on one line.
pub fn line(text: &str) -> String {
    escape(&text.replace(['\n', '\t'], " "))
}

/// The beginning of a text. Secrets must be out of it by then: half of one is no longer found.
pub fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// JSON on several lines. The same characters are escaped JSON's own way, so that it stays the same JSON.
pub fn json(value: &Value) -> String {
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
    fn nothing_moves_the_cursor() {
        assert_eq!(escape("a\u{1b}[2Jb\r\n\tc\u{9b}\u{202e}"), "a\\u{1b}[2Jb\\u{d}\n\tc\\u{9b}\\u{202e}");
        assert_eq!(line("a\nb"), "a b");
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("äöü", 3), "äöü");
    }

    #[test]
    fn escaped_json_is_the_same_json() {
        let value = json!({ "text": "\u{1b}]0;title\u{7} \u{9b} \u{202e} \u{e0041} ä\n" });
        let shown = json(&value);
        assert!(!shown.chars().any(is_unsafe));
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
    }
}
