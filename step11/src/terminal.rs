//! What reaches the person's eyes. A server chooses many of these texts: names of tools, results, errors. None of them
//! may move the cursor, paint over the screen or turn the reading direction round.

use std::fmt::Write;

use common::text::is_invisible;
use serde_json::Value;

/// What moves the cursor, turns the direction of writing, or is not seen. A line break and a tab may stand in a text,
/// and so may what chooses the colour of the emoji before it.
fn is_unsafe(c: char) -> bool {
    is_invisible(c) && !matches!(c, '\n' | '\t' | '\u{fe0e}' | '\u{fe0f}')
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
        assert_eq!(escape("a\u{61c}b\u{180e}\u{ad}"), "a\\u{61c}b\\u{180e}\\u{ad}");
        assert_eq!(escape("a\u{3164}b\u{2764}\u{fe0f}"), "a\\u{3164}b\u{2764}\u{fe0f}");
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
