//! Characters that a person cannot see, or that change how others look.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{BidiControl, DefaultIgnorableCodePoint, GeneralCategory},
};

/// Whether a character turns the direction of writing (UAX #9), begins a new line, or controls a terminal. Nothing that
/// is said on one line needs it.
pub fn is_control(c: char) -> bool {
    matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::Control | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator
    ) || CodePointSetData::new::<BidiControl>().contains(c)
}

/// Whether a character is invisible: control characters, and those that hide in a text without a trace, such as soft
/// hyphens, joiners, fillers, variation selectors and tags (Unicode's `Default_Ignorable_Code_Point` and `Cf`), and the
/// two symbols that are drawn as nothing. White space is not among them.
pub fn is_invisible(c: char) -> bool {
    const BLANK: [char; 2] = ['\u{2800}', '\u{1d159}'];
    is_control(c)
        || CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::Format
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || BLANK.contains(&c)
}

/// Whether a character draws something by itself: no white space, nothing invisible, no mark that needs another character
/// to sit on, and no code point to which Unicode gives no meaning.
pub fn is_drawn(c: char) -> bool {
    let nothing = matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::NonspacingMark
            | GeneralCategory::SpacingMark
            | GeneralCategory::EnclosingMark
            | GeneralCategory::PrivateUse
            | GeneralCategory::Unassigned
    );
    !(nothing || c.is_whitespace() || is_invisible(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen() {
        for c in "\0\n\t\u{7f}\u{9b}\u{2028}\u{2029}\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}".chars() {
            assert!(is_control(c) && is_invisible(c), "{c:?}");
        }
        for c in "\u{ad}\u{34f}\u{115f}\u{17b4}\u{180e}\u{200b}\u{200d}\u{2060}\u{206f}\u{2800}\u{3164}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{1d159}\u{e0041}".chars() {
            assert!(!is_control(c) && is_invisible(c), "{c:?}");
        }
        for c in "aé名א❤👍-\u{e9}".chars() {
            assert!(is_drawn(c), "{c:?}");
        }
        for c in " \u{a0}\u{3000}\u{ad}\u{3164}\u{301}\u{489}\u{20dd}\u{e000}\u{fffe}\u{10ffff}".chars() {
            assert!(!is_drawn(c), "{c:?}");
        }
        for c in "aé名א \u{a0}\u{3000}❤👍\u{301}".chars() {
            assert!(!is_invisible(c), "{c:?}");
        }
    }
}
