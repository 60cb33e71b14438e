//! Text that a server chose and a person reads: names of tools, results, errors. None of it may move the cursor, paint over
//! the screen or turn the reading direction round.

use oauth::text::is_invisible;

/// Characters that move the cursor, turn the direction of writing, or are invisible. A text may have line breaks and
/// tabs, and characters that choose the colour of the emoji before them.
pub fn is_unsafe(c: char) -> bool {
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

/// The beginning of a text. Secrets must be removed before: half of one would not be found any more.
pub fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
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
}
